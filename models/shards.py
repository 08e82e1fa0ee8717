#!/usr/bin/env python3
"""Puts the shards of searches together.

    shards.py SHARD.json SHARD.json ...

Each file is what the explorer's runner wrote with --json in one shard (TEST_TOTAL_SHARDS,
TEST_SHARD_INDEX). Prints a line per scenario: the verdict of the whole and its executions. Orders
of locks that only different shards have seen are judged here: a cycle of them is a violation.

Exit code 0 if all are exhausted, 1 if some are violated, 3 if some are bounded, a shard that is
missing included, 2 if the files are none of one search.
"""

import json
import re
import sys

CLEAN, VIOLATED, USAGE, BOUNDED = 0, 1, 2, 3
FIELDS = ("scenario", "verdict", "executions", "covered", "lock_edges")


def usage(message):
    print("shards.py: " + message, file=sys.stderr)
    sys.exit(USAGE)


def read(path):
    try:
        with open(path) as file:
            results = json.load(file)
        kept = [{field: result[field] for field in FIELDS} for result in results]
        return {result["scenario"]: result for result in kept}
    except OSError as error:
        usage("cannot read %s: %s" % (path, error.strerror))
    except (ValueError, KeyError, TypeError):
        usage("%s: expected what the explorer's runner writes with --json" % path)


def name(lock):
    no_number = lock["number"] >= 0xFFFFFFFE
    return lock["class"] if no_number else "%s[%d]" % (lock["class"], lock["number"])


def cycle(edges):
    """Edges of which each takes what the next one holds, the last what the first does; or none."""
    after = {}
    for edge in edges:
        # Who tries does not wait, and objects of one name are not told apart.
        if not edge["inner"]["by_try"] and name(edge["inner"]) != name(edge["outer"]):
            after.setdefault(name(edge["outer"]), []).append(edge)
    done = set()

    def search(path, held):
        """The same, of the path of edges that leads to a lock and of what leads on from there."""
        for edge in after.get(held, []):
            taken = name(edge["inner"])
            on_path = [name(before["outer"]) for before in path + [edge]]
            if taken in on_path:
                return (path + [edge])[on_path.index(taken) :]
            found = [] if taken in done else search(path + [edge], taken)
            if found:
                return found
        done.add(held)
        return []

    return next(filter(None, (search([], held) for held in after)), [])


def shards_of(results):
    """({index: result}, number of shards), or the end of the program."""
    found = {}
    total = 0
    for result in results:
        match = re.match(r"shard (\d+) of (\d+):", result["covered"])
        if not match or (total and int(match[2]) != total) or int(match[1]) in found:
            usage("%s: expected each shard of one search once" % result["scenario"])
        found[int(match[1])] = result
        total = int(match[2])
    return found, total


def whole(scenario, results):
    """Prints what the shards say together; the exit code for that."""
    found, total = shards_of(results)
    executions = sum(result["executions"] for result in results)
    verdicts = [result["verdict"] for result in results]
    violated = [verdict for verdict in verdicts if verdict.startswith("violated")]
    bounded = [verdict for verdict in verdicts if verdict.startswith("bounded")]
    missing = sorted(set(range(1, total + 1)) - set(found))
    circle = cycle([edge for result in results for edge in result["lock_edges"]])
    if violated:
        verdict, code = violated[0], VIOLATED
    elif circle:
        verdict, code = "violated (possible circular locking dependency)", VIOLATED
    elif missing:
        verdict = "bounded (by shards that are missing: %s)" % ", ".join(map(str, missing))
        code = BOUNDED
    elif bounded:
        verdict, code = bounded[0], BOUNDED
    else:
        verdict, code = "exhausted", CLEAN
    counts = "%d executions in %d of %d shards" % (executions, len(found), total)
    print("%s: %s, %s" % (scenario, verdict, counts))
    for edge in circle:
        inner, outer = edge["inner"], edge["outer"]
        print("  %s is taken at %s" % (name(inner), inner["at"]))
        print("    with %s held, taken at %s" % (name(outer), outer["at"]))
    return code


def main():
    if len(sys.argv) < 2:
        usage("expected files that the explorer's runner wrote with --json")
    files = [read(path) for path in sys.argv[1:]]
    for path, results in zip(sys.argv[1:], files):
        if results.keys() != files[0].keys():
            usage("%s has other scenarios than %s" % (path, sys.argv[1]))
    codes = [whole(scenario, [results[scenario] for results in files]) for scenario in files[0]]
    for code in (VIOLATED, BOUNDED):
        if code in codes:
            sys.exit(code)


if __name__ == "__main__":
    main()
