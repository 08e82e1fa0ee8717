#!/usr/bin/env python3
"""How much faster a search is with two processes than with one.

    bazel run //models:jobs_bench [-- --rounds=3 --jobs=2 --scenarios=NAME,NAME]

One process and several take turns. Prints for each scenario the counts, which must be the same, the
wall clock and CPU times (medians), their ratios (medians of the ratios of each round), and the load
of the machine before: on one that does other things the wall clock shows less than there is, and
the CPU time what the division itself costs. Exit code 1 if counts differ.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

SCENARIOS = [
    "locks/four_threads_one_lock_three_times",
    "hment/four_threads_add_the_first_mapping",
    "segmap/three_getmaps_of_one_piece",
    "segmap/two_pagecreates_of_one_page",
]


def search(explorer, scenario, jobs):
    with tempfile.NamedTemporaryFile() as results:
        command = [explorer, "--scenario=" + scenario, "--json=" + results.name]
        command += ["--jobs=%d" % jobs, "--executions=1000000000"]
        completed = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        text = results.read()
    if completed.returncode != 0 or not text:
        sys.exit("jobs_bench.py: %s ended with %d" % (" ".join(command), completed.returncode))
    (result,) = json.loads(text)
    return result


def measure(options, scenario):
    """True if several processes find what one finds."""
    pairs = []
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        alone = search(options.explorer, scenario, 1)
        pairs.append((alone, search(options.explorer, scenario, options.jobs)))
    one, several = pairs[0]

    def ratio(what):
        return statistics.median(alone[what] / shared[what] for alone, shared in pairs)

    def middle(which, what):
        return statistics.median(pair[which][what] for pair in pairs)

    print(
        "%s, load %.1f:\n"
        "  one process: %d executions, %.2f s, CPU %.2f s\n"
        "  %d processes: %d executions, %d cut short, %.2f s, CPU %.2f s\n"
        "  %.2f times as fast by the clock; CPU time %.2f times that of one"
        % (
            scenario,
            load,
            one["executions"],
            middle(0, "seconds"),
            middle(0, "cpu_seconds"),
            options.jobs,
            several["executions"],
            several["cut_short"],
            middle(1, "seconds"),
            middle(1, "cpu_seconds"),
            ratio("seconds"),
            1 / ratio("cpu_seconds"),
        ),
        flush=True,
    )
    return all(
        alone["executions"] == shared["executions"] and alone["verdict"] == shared["verdict"]
        for alone, shared in pairs
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--explorer", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    options = parser.parse_args()
    same = [measure(options, scenario) for scenario in options.scenarios.split(",")]
    if not all(same):
        sys.exit("the counts are not the same")


if __name__ == "__main__":
    main()
