#!/usr/bin/env python3
"""Writes the table of scenarios in models/README.md from what the runners say.

    index.py --list=LIST --results=RELACY.json --results=EXPLORER.json README.md

LIST is the output of a runner's --list; the results are what runners wrote with --json. The table
stands between two marker lines of the README, which this replaces; a scenario that the results of
an engine leave out keeps what the table says of it. With --check nothing is written:
exit code 1 if the table does not have exactly the scenarios of LIST, with their claims.
"""

import argparse
import json
import re
import sys

BEGIN = "<!-- index: written by models/index.py -->"
END = "<!-- end of index -->"


def scenarios_of(text):
    """[(name, threads, claim)] in the order of --list."""
    lines = text.split("\n")
    found = []
    for line, claim in zip(lines, lines[1:]):
        match = re.match(r"(\S+/\S+) +(\d+) threads", line)
        if match:
            found.append((match[1], int(match[2]), claim.strip()))
    return found


def cell(result):
    text = "%s: %s, %s" % (result["search"], result["verdict"], format(result["executions"], ","))
    whole = result.get("estimated", 0)
    # The estimate is no better than its first two digits.
    return text + " of about " + format(int(float("%.1e" % whole)), ",") if whole else text


def table(scenarios, cells_of):
    engines = list(cells_of)
    lines = []
    subject = None
    for name, threads, claim in scenarios:
        if name.split("/")[0] != subject:
            subject = name.split("/")[0]
            lines += ["", "### " + subject, ""]
            lines.append("| scenario | claim | threads | " + " | ".join(engines) + " |")
            lines.append("| --- | --- | --- |" + " --- |" * len(engines))
        cells = [cells_of[engine].get(name, "-") for engine in engines]
        lines.append("| %s | %s | %d | %s |" % (name, claim, threads, " | ".join(cells)))
    return "\n".join(lines[1:])


def split(readme):
    before, found, rest = readme.partition(BEGIN)
    inside, found_end, after = rest.partition(END)
    if not found or not found_end:
        sys.exit("index.py: the README needs the lines '%s' and '%s'" % (BEGIN, END))
    return before, inside, after


def cells_in(inside):
    """{engine: {scenario: cell}} as the table has them."""
    cells_of = {}
    for line in inside.split("\n"):
        fields = [field.strip() for field in line.strip("| ").split(" | ")]
        if fields[0] == "scenario":
            engines = fields[3:]
        elif re.match(r"\| \S+/\S+ \|", line):
            for engine, text in zip(engines, fields[3:]):
                cells_of.setdefault(engine, {})[fields[0]] = text
    return cells_of


def check(scenarios, inside):
    rows = re.findall(r"^\| (\S+/\S+) \| (.*?) \| (\d+) \|", inside, re.MULTILINE)
    listed = {name: (claim, int(threads)) for name, claim, threads in rows}
    problems = []
    for name, threads, claim in scenarios:
        if listed.pop(name, None) != (claim, threads):
            problems.append("%s is missing, or its claim or number of threads is another" % name)
    problems += ["%s is not a scenario" % name for name in listed]
    if problems:
        sys.exit("models/README.md: %s\nrun models/update_index.sh" % "\n  ".join(problems))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", required=True)
    parser.add_argument("--results", action="append", default=[])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("readme")
    options = parser.parse_args()
    with open(options.list) as file:
        scenarios = scenarios_of(file.read())
    if not scenarios:
        sys.exit("index.py: %s lists no scenarios" % options.list)
    with open(options.readme) as file:
        before, inside, after = split(file.read())
    if options.check:
        check(scenarios, inside)
        return
    cells_of = cells_in(inside)
    for path in options.results:
        with open(path) as file:
            for result in json.load(file):
                cells_of.setdefault(result["engine"], {})[result["scenario"]] = cell(result)
    with open(options.readme, "w") as file:
        file.write(before + BEGIN + "\n\n" + table(scenarios, cells_of) + "\n\n" + END + after)


if __name__ == "__main__":
    main()
