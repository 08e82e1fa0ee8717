#!/usr/bin/env python3
"""Times segcat against cat, each to a pipe, alternately in one run, and compares the output.

Usage: segcat_speed.py SEGCAT [--mib=N] [--rounds=N] [--folder=PATH] [FLAG...]

Prints each round and the ratio of the best times. Exit code 1 if the output differs from the file,
or if segcat is slower than a third of cat.
"""

import os
import subprocess
import sys
import tempfile
import time

BLOCK = 1 << 20


def option(args, name, default):
    for arg in args:
        if arg.startswith(f"--{name}="):
            args.remove(arg)
            return type(default)(arg.split("=", 1)[1])
    return default


def seconds(command):
    """Runs a command into a pipe that is emptied as fast as it goes."""
    buffer = bytearray(BLOCK)
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as child:
        while child.stdout.readinto(buffer):
            pass
    if child.returncode != 0:
        sys.exit(f"{command[0]} ended with {child.returncode}")
    return time.monotonic() - start


def main():
    args = sys.argv[2:]
    segcat = [os.path.abspath(sys.argv[1])]
    mib, rounds = option(args, "mib", 1024), option(args, "rounds", 3)
    folder = option(args, "folder", "")
    segcat += args
    with tempfile.NamedTemporaryFile(prefix="segcat_speed.", dir=folder or None) as file:
        block = os.urandom(BLOCK)
        for number in range(mib):
            file.write(number.to_bytes(8, "little") + block[8:])
        file.flush()
        compare = f'"$@" "{file.name}" | cmp - "{file.name}"'
        if subprocess.run(["sh", "-c", compare, "sh", *segcat], check=False).returncode != 0:
            print("the output differs from the file")
            return 1
        print(f"{mib} MiB: the output equals the file")
        best = {}
        for number in range(rounds):
            for name, command in (("cat", ["cat"]), ("segcat", segcat)):
                taken = seconds(command + [file.name])
                best[name] = min(best.get(name, taken), taken)
                print(f"round {number + 1}: {name:6} {taken:6.2f} s  {mib / taken:7.0f} MiB/s")
    ratio = best["cat"] / best["segcat"]
    print(f"segcat runs at {ratio:.2f} of the speed of cat (best of {rounds})")
    return 0 if ratio >= 1 / 3 else 1


if __name__ == "__main__":
    sys.exit(main())
