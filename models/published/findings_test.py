#!/usr/bin/env python3
"""findings_test.py FINDINGS.MD DEFECTS.BZL TARGET=PROGRAM...: what docs/findings.md says is so.

Every published defect has a section, and every section what it takes: numbered steps, what the
defect does to a running system, what the sources do instead, and a command. A function said to be
in a file is there. Every command is run, with the program for its target; it must end with the
verdict that the section names, in as many steps, and so must the schedule that the steps are from.
"""

import os
import re
import shlex
import subprocess
import sys
import types
import unittest

PARTS = ("In a running system", "Instead", "See it")
COMMAND = re.compile(r"^bazel run (//\S+) -- (.+)$", re.MULTILINE)
VERDICT = re.compile(r"Explorer: `(violated \([a-z -]+\))`, schedule `([a-z0-9=]+)`")
STEP = re.compile(r"(?<=[( ])\d+(?=[,)])")
FUNCTION = re.compile(r"`(\w+)` \(`(\w+/\w+\.cc)`\)")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def defects_of(path):
    """What defects.bzl defines; it is Python too."""
    names = {"struct": lambda **fields: types.SimpleNamespace(**fields)}
    exec(compile(read(path), path, "exec"), names)  # pylint: disable=exec-used
    return names


def sections_of(text):
    """{"S5": text} of the sections; a heading may name a part of a row, "S8, reaping"."""
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        row = re.match(r"(S\d+)\b", part)
        if row:
            found.setdefault(row[1], []).append(part)
    return found


def run(program, arguments):
    done = subprocess.run([program] + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.returncode, done.stdout


class Findings(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.text = read(FILE)
        cls.sections = sections_of(cls.text)
        cls.defects = defects_of(DEFECTS)

    def each_section(self):
        return [text for parts in self.sections.values() for text in parts]

    def test_every_row_has_a_section_or_a_reason(self):
        rows = {"S%d" % number for number in range(1, 27)}
        reasons = set(re.findall(r"^\| (S\d+) \|", self.text, re.MULTILINE))
        self.assertEqual(rows - set(self.sections), reasons)

    def test_every_patch_is_in_the_command_of_its_row(self):
        commands = COMMAND.findall(self.text)
        for name, (scenario, _) in self.defects["SHOWN_BY"].items():
            with self.subTest(name):
                command = ("//models/published:explorer_" + name, "--scenario=" + scenario)
                self.assertTrue(command in commands, "no command for " + " ".join(command))
                row = "S%d" % int(name[1:3])
                self.assertIn(" ".join(command).replace(" --s", " -- --s"),
                              "".join(self.sections[row]))
        self.assertEqual(set(self.defects["DEFECTS"]), set(self.defects["SHOWN_BY"]))
        scenario = self.defects["S17_SCENARIO"]
        self.assertIn(("//models:explorer", "--scenario=" + scenario), commands)

    def test_sections_are_whole(self):
        for text in self.each_section():
            with self.subTest(text.split("\n")[0]):
                self.assertRegex(text, r"(?m)^1\. ")
                self.assertRegex(text, VERDICT)
                for part in PARTS:
                    self.assertIn("**%s.**" % part, text)
                self.assertRegex(text, FUNCTION)

    def test_functions_are_where_the_text_says(self):
        for function, path in FUNCTION.findall(self.text):
            with self.subTest(function):
                found = re.search(r"\b%s\(" % function, read(path))
                self.assertTrue(found, "%s has no %s" % (path, function))

    def test_commands_end_as_the_section_says(self):
        for text in self.each_section():
            with self.subTest(text.split("\n")[0]):
                ((target, arguments),) = COMMAND.findall(text)
                verdict, schedule = VERDICT.search(text).groups()
                self.assertTrue(target in PROGRAMS, "no target " + target)
                scenario = shlex.split(arguments)
                line = scenario[0].removeprefix("--scenario=") + ": " + verdict
                # A violation that the scenario promises is no failure.
                code, output = run(PROGRAMS[target], scenario)
                self.assertEqual(code, 1 if "published:" in target else 0, output)
                self.assertIn(line, output)
                _, output = run(PROGRAMS[target], scenario + ["--replay=" + schedule])
                self.assertIn(line, output)
                last = int(re.search(r"longest (\d+)", output)[1])
                for step in STEP.findall(text.split("**In a")[0]):
                    self.assertLessEqual(int(step), last)


if __name__ == "__main__":
    FILE, DEFECTS = sys.argv[1:3]
    PROGRAMS = dict(argument.split("=") for argument in sys.argv[3:])
    os.environ.pop("HATCHECK_SCENARIO", None)
    unittest.main(argv=sys.argv[:1], verbosity=2)
