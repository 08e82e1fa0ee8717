#!/usr/bin/env python3
"""segcat as its users see it: what it writes, exit codes, errors.

Usage: segcat_test.py SEGCAT
"""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import unittest

SEGCAT = os.path.abspath(sys.argv[1])
SLOT = 8192


def run(*args, **kwargs):
    return subprocess.run([SEGCAT, *args], capture_output=True, timeout=240, check=False, **kwargs)


class Segcat(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="segcat_test.")
        self.addCleanup(self.folder.cleanup)

    def file(self, name, size):
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as out:
            out.write(random.Random(name).randbytes(size))
        return path

    def check(self, size, *flags):
        path = self.file(f"file{size}", size)
        done = run(*flags, path)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(path, "rb") as file:
            wanted = file.read()
        self.assertEqual(len(done.stdout), size)
        self.assertEqual(
            hashlib.sha256(done.stdout).hexdigest(), hashlib.sha256(wanted).hexdigest()
        )

    def test_files_of_all_kinds_of_sizes_come_out_as_they_are(self):
        for size in (0, 1, 4095, 4096, 4097, SLOT, SLOT + 1, 3 * SLOT - 1, 100000):
            for flags in ((), ("--kpm",)):
                with self.subTest(size=size, flags=flags):
                    self.check(size, *flags)

    def test_a_file_larger_than_all_slots_and_all_memory_comes_out_as_it_is(self):
        # 64 slots are 512 KiB; the machine has 4 MiB, or 8 with kpm.
        self.check((9 << 20) + 4321)
        self.check((9 << 20) + 4321, "--kpm")

    def test_one_slot_is_enough(self):
        self.check(100000, "--slots=1")
        self.check(100000, "--slots=1", "--kpm")

    def test_files_come_one_after_the_other(self):
        one, two = self.file("one", 10000), self.file("two", 5)
        done = run(one, two, one)
        with open(one, "rb") as a, open(two, "rb") as b:
            first, second = a.read(), b.read()
        self.assertEqual(done.stdout, first + second + first)

    def test_a_missing_file_is_told_and_the_others_are_written(self):
        path = self.file("one", 10)
        done = run("/no/such/file", path)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"segcat: cannot open /no/such/file", done.stderr)
        self.assertEqual(len(done.stdout), 10)

    def test_a_folder_cannot_be_read(self):
        done = run(self.folder.name)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot read", done.stderr)

    def test_bad_usage_says_what_was_expected(self):
        done = run()
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"expected the name of a file", done.stderr)
        done = run("--slots=0", "x")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"expected 1 to 2048, nearest: 1", done.stderr)

    def test_an_output_that_cannot_be_written_is_told(self):
        path = self.file("one", 10)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([SEGCAT, path], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write: No space left", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
