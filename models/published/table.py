#!/usr/bin/env python3
"""Writes the table of published defects on the explorer in models/README.md.

    bazel run //models/published:table

Runs the scenario of each defect on the explorer, with the defect, and writes what the runner says
about the first violation between two marker lines of the README. Exit code 1 if one is not found.
"""

import json
import os
import subprocess
import sys
import tempfile

BEGIN = "<!-- explorer on published defects: written by models/published/table.py -->"
END = "<!-- end of explorer on published defects -->"

HEAD = """
| defect | scenario | violated | executions | time | preemptions | steps | schedule |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def run(runner, scenario):
    """What the runner says about the scenario: one object of its JSON."""
    with tempfile.NamedTemporaryFile() as results:
        subprocess.run(
            [runner, "--scenario=" + scenario, "--json=" + results.name],
            stdout=subprocess.DEVNULL,
            check=False,
        )
        text = results.read()
    if not text:
        sys.exit("table.py: %s wrote no results for %s" % (runner, scenario))
    (result,) = json.loads(text)
    if not result["verdict"].startswith("violated"):
        sys.exit("table.py: %s: %s is %s" % (runner, scenario, result["verdict"]))
    return result


def row(name, result):
    fewest = "%d, the fewest" if result["fewest"] else "%d or less"
    cells = [
        name,
        result["scenario"],
        result["verdict"].removeprefix("violated (").removesuffix(")"),
        format(result["executions"], ","),
        "%.1f ms" % (1000 * result["seconds"]),
        fewest % result["preemptions"],
        str(result["steps"]),
        "`%s`" % result["replay"],
    ]
    return "| " + " | ".join(cells) + " |\n"


def main():
    """Arguments: NAME=RUNNER=SCENARIO, one for each defect."""
    rows = ""
    for argument in sorted(sys.argv[1:]):
        name, runner, scenario = argument.split("=")
        rows += row("S" + name.lstrip("S0"), run(runner, scenario))
    readme = os.path.join(os.environ.get("BUILD_WORKSPACE_DIRECTORY", "."), "models/README.md")
    with open(readme) as file:
        before, found, rest = file.read().partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found or not found_end:
        sys.exit("table.py: %s needs the lines '%s' and '%s'" % (readme, BEGIN, END))
    with open(readme, "w") as file:
        file.write(before + BEGIN + "\n" + HEAD + rows + "\n" + END + after)
    print("%s: %d defects" % (readme, rows.count("\n")))


if __name__ == "__main__":
    main()
