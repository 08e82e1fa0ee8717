#!/usr/bin/env python3
"""Relacy's full search and the explorer must say the same of every scenario that both finish.

    agree.py --least=N [--executions=N] NAME=RELACY=EXPLORER[=SCENARIOS]...

Each triple is one source on both engines: the runners of NAME, which may have a fault planted, and
the scenarios to run, as --scenario takes them (all by default). Relacy searches without reduction,
at most so many executions of a scenario; where it comes to an end, or to a violation, the explorer
searches the same scenario with its own. A disagreement is one that finds a violation where the
other finds none, or a violation of another kind. Exit code 1 then, and if fewer than N scenarios
could be compared.
"""

import argparse
import json
import subprocess
import sys
import tempfile


def search(runner, scenarios, *flags):
    """{scenario: verdict} as the runner says it."""
    with tempfile.NamedTemporaryFile() as results:
        command = [runner, "--scenario=" + scenarios, "--json=" + results.name, "--keep_going"]
        completed = subprocess.run([*command, *flags], stdout=subprocess.DEVNULL, check=False)
        text = results.read()
    if completed.returncode not in (0, 1, 3) or not text:
        sys.exit("agree.py: %s ended with %d" % (" ".join(command), completed.returncode))
    return {result["scenario"]: result["verdict"] for result in json.loads(text)}


def finished(verdict):
    return not verdict.startswith("bounded")


def compare(name, relacy, explorer, scenarios, executions):
    """How many were compared, and what disagrees."""
    theirs = search(relacy, scenarios, "--search=full", "--executions=%d" % executions)
    theirs = {scenario: verdict for scenario, verdict in theirs.items() if finished(verdict)}
    if not theirs:
        return 0, []
    ours = search(explorer, ",".join(theirs), "--executions=100000000", "--time=60s")
    compared = 0
    problems = []
    for scenario, verdict in sorted(theirs.items()):
        if scenario not in ours:
            problems.append("%s %s: the explorer did not run it" % (name, scenario))
        elif finished(ours[scenario]):
            compared += 1
            if ours[scenario] != verdict:
                problems.append(
                    "%s %s: Relacy says %s, the explorer %s"
                    % (name, scenario, verdict, ours[scenario])
                )
    print("%s: %d compared" % (name, compared))
    return compared, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--least", type=int, required=True)
    parser.add_argument("--executions", type=int, default=300)
    parser.add_argument("sources", nargs="+", metavar="NAME=RELACY=EXPLORER[=SCENARIOS]")
    options = parser.parse_args()
    compared = 0
    problems = []
    for source in options.sources:
        name, relacy, explorer, *scenarios = source.split("=")
        count, found = compare(name, relacy, explorer, "".join(scenarios), options.executions)
        compared += count
        problems += found
    print("%d scenarios compared" % compared)
    if compared < options.least:
        problems.append(
            "expected at least %d scenarios that both finish, got %d" % (options.least, compared)
        )
    sys.exit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
    main()
