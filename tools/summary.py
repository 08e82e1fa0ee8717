#!/usr/bin/env python3
"""Counts the tests of one or more Bazel runs from their build event files.

    summary.py NAME=EVENTS.json:EXIT_CODE...

Counted are single GoogleTest cases, or one for a test program that does not report cases. A test
that cannot be built, crashes, times out, or fails after its cases passed counts as one failure, and
so does a run that built or found nothing. Prints a line per run, the failures, and as its last line
`N passed, N failed`; exits 1 if anything failed.
"""

import dataclasses
import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

NO_TESTS_FOUND = 4


@dataclasses.dataclass
class Pass:
    """The counts of one Bazel run."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    programs: int = 0
    problems: list = dataclasses.field(default_factory=list)

    def fail(self, message):
        self.failed += 1
        self.problems.append(message)


def read_cases(path):
    """(passed, names of the failed, skipped) of a test.xml, or None if it cannot be read."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    passed = skipped = 0
    failed = []
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(case.get("classname", "") + "." + case.get("name", "?"))
        elif case.get("status") == "notrun" or case.get("result") in ("skipped", "suppressed"):
            skipped += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def add_result(result, label, event):
    """Adds one run of one test program (or one shard of it)."""
    result.programs += 1
    status = event.get("status", "NO_STATUS")
    cases = None
    for output in event.get("testActionOutput", []):
        if output.get("name") == "test.xml":
            cases = read_cases(urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path))
    good = status in ("PASSED", "FLAKY")
    if cases is None or cases == (0, [], 0):
        if good:
            result.passed += 1
        else:
            result.fail(f"{label}: {status}")
        return
    passed, failed, skipped = cases
    result.passed += passed
    result.skipped += skipped
    for name in failed:
        result.fail(f"{label}: {name.strip('.')}")
    if not good and not failed:
        result.fail(f"{label}: {status} outside of its cases (sanitizer, crash or time-out)")


def read_pass(path, exit_code):
    """Reads one build event file; exit_code is what Bazel ended with."""
    result = Pass()
    seen = set()
    stopped = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                ident = event.get("id", {})
                if "testResult" in ident and "testResult" in event:
                    label = ident["testResult"]["label"]
                    seen.add(label)
                    add_result(result, label, event["testResult"])
                if "testSummary" in ident:
                    label = ident["testSummary"]["label"]
                    if "aborted" in event or "overallStatus" in event.get("testSummary", {}):
                        stopped.append(label)
                if "targetCompleted" in ident and not event.get("completed", {}).get("success"):
                    stopped.append(ident["targetCompleted"]["label"])
    for label in sorted(set(stopped) - seen):
        result.fail(f"{label}: not built or not run")
    if result.failed == 0 and exit_code == NO_TESTS_FOUND:
        result.fail("no tests found")
    if result.failed == 0 and exit_code != 0:
        result.fail(f"the build failed (Bazel's exit code {exit_code})")
    return result


def main():
    total = Pass()
    for argument in sys.argv[1:]:
        name, rest = argument.split("=", 1)
        path, code = rest.rsplit(":", 1)
        result = read_pass(path, int(code))
        skipped = f", {result.skipped} skipped" if result.skipped else ""
        print(
            f"{name:12} {result.passed:5} passed, {result.failed:3} failed{skipped}"
            f"  ({result.programs} programs)"
        )
        for problem in result.problems:
            print(f"  FAILED {problem}")
        total.passed += result.passed
        total.failed += result.failed
    if len(sys.argv) < 2:
        total.fail("nothing was run")
    print(f"{total.passed} passed, {total.failed} failed", flush=True)
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
