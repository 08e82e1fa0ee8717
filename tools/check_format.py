#!/usr/bin/env python3
"""Checks that clang-format 14 would change no C++ file."""

import re
import shutil
import subprocess

import workspace_files

CANDIDATES = ["clang-format-14", "clang-format"]
REPORT = re.compile(r"^(.+?):(\d+):\d+: (?:error|warning): (.*)$", re.MULTILINE)


def check(root):
    tool = next((c for c in CANDIDATES if shutil.which(c)), None)
    if tool is None:
        return [(".clang-format", 1, "clang-format is not installed (apt install clang-format-14)")]
    files = [f for f in workspace_files.list_files(root) if f.endswith((".h", ".cc"))]
    if not files:
        return []
    done = subprocess.run(
        [tool, "--style=file", "--dry-run", "-Werror"] + files,
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    problems = {}
    for match in REPORT.finditer(done.stdout):
        path, line = match.group(1), int(match.group(2))
        problems.setdefault(path, line)  # the first place is enough
    if done.returncode != 0 and not problems:
        return [(".clang-format", 1, f"{tool} failed: {done.stdout.strip()}")]
    return [
        (path, line, f"not formatted; run: clang-format-14 -i {path}")
        for path, line in sorted(problems.items())
    ]


if __name__ == "__main__":
    workspace_files.run(check, __doc__)
