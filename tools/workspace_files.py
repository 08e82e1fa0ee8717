"""The files of the workspace and the parts of C++ text that the checks share."""

import argparse
import os
import re
import subprocess
import sys

SKIPPED = {".git", "__pycache__"}


def list_files(root):
    """Paths of all files that belong to the workspace, relative to it, sorted."""
    if os.path.isdir(os.path.join(root, ".git")) or os.path.isfile(os.path.join(root, ".git")):
        command = ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "-co"]
        listed = subprocess.run(
            command + ["--exclude-standard"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if listed.returncode == 0:
            names = listed.stdout.decode().split("\0")
            return sorted({n for n in names if n and os.path.isfile(os.path.join(root, n))})
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in SKIPPED and not f.startswith("bazel-")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def strip_cpp(text):
    """C++ text with comments and literals blanked; line numbers and columns stay."""
    token = re.compile(
        r"//[^\n]*|/\*.*?\*/"
        r'|R"(?P<tag>[^\s()\\]*)\(.*?\)(?P=tag)"'
        r'|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'",
        re.DOTALL,
    )

    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return token.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def run(check, describe):
    """Runs `check(root) -> [(path, line, message)]` as a program."""
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description=describe, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default=os.path.dirname(here))
    root = parser.parse_args().root
    problems = check(root)
    for path, line, message in problems:
        print(f"{path}:{line}: {message}")
    print(f"{len(problems)} problem(s)" if problems else "clean")
    sys.exit(1 if problems else 0)
