#!/usr/bin/env python3
"""How much faster a search is with two processes than with one.

    bazel run //models:jobs_bench [-- --rounds=3 --jobs=2 --scenarios=NAME,NAME]

One search alone, the same search several times at once, and one search with several processes take
turns. Prints for each scenario the counts, which must be the same, the wall clock and CPU times
(medians), their ratios (medians of the ratios of each round), and the load of the machine before.
What independent searches at once gain is what the machine allows: processors that share caches, or
that do other things, are slower together than one of them alone. Exit code 1 if counts differ.
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


def searches(explorer, scenario, jobs, count):
    """The results of so many searches that run at once."""
    running = []
    for _ in range(count):
        results = tempfile.NamedTemporaryFile()
        command = [explorer, "--scenario=" + scenario, "--json=" + results.name]
        command += ["--jobs=%d" % jobs, "--executions=1000000000"]
        running.append((subprocess.Popen(command, stdout=subprocess.DEVNULL), results))
    found = []
    for process, results in running:
        with results:
            status = process.wait()
            text = results.read()
        if status != 0 or not text:
            sys.exit("jobs_bench.py: a search of %s ended with %d" % (scenario, status))
        found += json.loads(text)
    return found


def measure(options, scenario):
    """True if several processes find what one finds."""
    rounds = []
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        (alone,) = searches(options.explorer, scenario, 1, 1)
        at_once = searches(options.explorer, scenario, 1, options.jobs)
        (shared,) = searches(options.explorer, scenario, options.jobs, 1)
        rounds.append((alone, at_once, shared))

    def ratio(what):
        return statistics.median(alone[what] / shared[what] for alone, _, shared in rounds)

    def middle(which, what):
        return statistics.median(results[which][what] for results in rounds)

    ceiling = statistics.median(
        sum(alone["seconds"] / result["seconds"] for result in at_once)
        for alone, at_once, _ in rounds
    )
    one, _, several = rounds[0]
    print(
        "%s, load %.1f:\n"
        "  one process: %d executions, %.2f s, CPU %.2f s\n"
        "  %d processes: %d executions, %d cut short, %.2f s, CPU %.2f s\n"
        "  %.2f times as fast by the clock; CPU time %.2f times that of one\n"
        "  %d independent searches at once: %.2f times as fast as in turn; of that %.2f"
        % (
            scenario,
            load,
            one["executions"],
            middle(0, "seconds"),
            middle(0, "cpu_seconds"),
            options.jobs,
            several["executions"],
            several["cut_short"],
            middle(2, "seconds"),
            middle(2, "cpu_seconds"),
            ratio("seconds"),
            1 / ratio("cpu_seconds"),
            options.jobs,
            ceiling,
            ratio("seconds") / ceiling,
        ),
        flush=True,
    )
    return all(
        result["executions"] == alone["executions"] and result["verdict"] == alone["verdict"]
        for alone, at_once, shared in rounds
        for result in [*at_once, shared]
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
