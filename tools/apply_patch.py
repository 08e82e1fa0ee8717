#!/usr/bin/env python3
"""Copies files and applies a patch to the copies; any doubt is an error.

    apply_patch.py --patch=FILE --out=FOLDER PATH=SOURCE...

SOURCE is copied to FOLDER/PATH, then the patch is applied there. On top of what patch(1) checks
with --fuzz=0, each hunk must match at exactly one place of the file, so that it cannot slip to a
similar passage; the patch must change exactly the listed files; and text before the first hunk must
say what the patch changes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys


class PatchError(Exception):
    """The patch cannot be applied safely."""


def parse(text):
    """Returns (description, {path: [(line number in the patch, lines before the change)]})."""
    description, hunks = [], {}
    path = before = None
    old_left = new_left = 0
    for number, line in enumerate(text.split("\n"), 1):
        if before is not None and (old_left > 0 or new_left > 0):
            kind, body = line[:1], line[1:]
            if kind in (" ", "", "-"):
                before.append(body)
                old_left -= 1
            if kind in (" ", "", "+"):
                new_left -= 1
            continue
        header = re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)
        if header:
            if path is None:
                raise PatchError(f"line {number}: a hunk before any '+++ b/...' line")
            old_left, new_left = (int(n) if n else 1 for n in header.groups())
            before = []
            hunks[path].append((number, before))
        elif line.startswith("+++ "):
            name = line[4:].split("\t")[0].strip()
            if not name.startswith("b/"):
                raise PatchError(f"line {number}: expected '+++ b/PATH', got '{line}'")
            path = name[2:]
            hunks.setdefault(path, [])
        elif not re.match(r"(--- |diff |index |\\ )", line) and path is None and line.strip():
            description.append(line)
    return description, hunks


def check_unique(path, content, hunks):
    """Every hunk's old text must occur in the file exactly once."""
    lines = content.split("\n")
    for number, before in hunks:
        size = len(before)
        places = [i + 1 for i in range(len(lines) - size + 1) if lines[i : i + size] == before]
        if not places:
            raise PatchError(f"line {number}: this hunk no longer matches {path}")
        if len(places) > 1:
            raise PatchError(
                f"line {number}: this hunk matches {path} at lines {places}; give it more context"
            )


def apply(patch_file, out, sources):
    with open(patch_file, encoding="utf-8") as stream:
        description, hunks = parse(stream.read())
    if not description:
        raise PatchError("say before the first hunk what this patch changes")
    if set(hunks) != set(sources):
        raise PatchError(
            f"it changes {sorted(hunks)}, but the build file lists {sorted(sources)}"
        )
    for path, source in sources.items():
        with open(source, encoding="utf-8") as stream:
            check_unique(path, stream.read(), hunks[path])
        copy = os.path.join(out, path)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        if os.path.lexists(copy):
            os.remove(copy)
        shutil.copyfile(source, copy)
    command = ["patch", "-p1", "--fuzz=0", "--force", "--no-backup-if-mismatch"]
    command += ["--reject-file=-", "-d", out, "-i", os.path.abspath(patch_file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise PatchError("patch(1) failed:\n" + done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("files", nargs="+", metavar="PATH=SOURCE")
    args = parser.parse_args()
    try:
        apply(args.patch, args.out, dict(item.split("=", 1) for item in args.files))
    except PatchError as error:
        sys.exit(f"{args.patch}: {error}")


if __name__ == "__main__":
    main()
