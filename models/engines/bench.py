#!/usr/bin/env python3
"""Relacy's full search and the explorer on the same programs, in one run.

    bazel run //models:engines_bench [-- --rounds=5]

Three programs are measured: the explorer, the seam's Relacy backend (which adds scheduling points
of its own choice and learns which objects are shared) and Relacy itself, with its own mutex and
scheduler. They take turns, so that what else runs on the machine meets all of them; times are CPU
times, figures are medians of the rounds, and ratios are medians of the ratios of each round.

With --short, as a test: one round, counts must be exact and ratios far from what is measured on a
quiet machine. Exit code 1 if something is not as it must be.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

ITSELF = "Relacy itself"
SEAM = "Relacy on the seam"

# Programs that both exhaust: (scenario, against what, executions there, executions here).
EXHAUSTED = [
    ("locks/two_threads_six_locks", ITSELF, 6339272, 64),
    ("locks/three_threads_hand_over_hand", ITSELF, 2659152, 6),
    ("hment/refault_of_a_listed_mapping_against_unmap", SEAM, None, 9),
    ("unload/pageunload_against_unload_next_door", SEAM, None, 28),
]

# Programs with many executions here, for the time of one: (scenario, against what, executions).
RATES = [
    ("locks/two_threads_ten_locks", ITSELF, 1024),
    ("locks/three_threads_one_lock_four_times", ITSELF, 34650),
    ("locks/four_threads_one_lock_three_times", ITSELF, 369600),
    ("htable/load_against_the_last_unload", SEAM, 61),
    ("segmap/two_releases_with_inval", SEAM, 650),
]

# What the explorer does alone: (scenario, executions, seconds at most).
ALONE = [
    ("locks/three_threads_hand_over_hand", 6, 1),
    ("locks/four_threads_one_lock_three_times", 369600, 1),
    ("hment/three_threads_add_the_first_mapping", 246, 1),
    ("hment/four_threads_add_the_first_mapping", None, 60),
]

LEAST_SPEED_UP = 10000
MOST_PER_EXECUTION = 1.5


class Bench:
    def __init__(self, options):
        self.options = options
        self.problems = []

    def expect(self, true, what):
        if not true:
            self.problems.append(what)

    def run(self, command, scenario):
        completed = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
        if completed.returncode not in (0, 3):
            sys.exit("bench.py: %s ended with %d" % (" ".join(command), completed.returncode))
        return completed.stdout

    def runner(self, program, scenario, *flags):
        """One search by a scenario runner."""
        with tempfile.NamedTemporaryFile() as results:
            flags += ("--executions=100000000", "--json=" + results.name)
            self.run([program, "--scenario=" + scenario, *flags], scenario)
            (result,) = json.load(results)
        return result

    def explorer(self, scenario):
        result = self.runner(self.options.explorer, scenario)
        self.expect(
            result["verdict"] == "exhausted",
            "the explorer on %s: expected exhausted, got %s" % (scenario, result["verdict"]),
        )
        return result

    def other(self, what, scenario, milliseconds):
        if what == SEAM:
            time = "--time=%dms" % milliseconds
            return self.runner(self.options.relacy, scenario, "--search=full", time)
        return json.loads(self.run([self.options.itself, scenario, str(milliseconds)], scenario))

    def count(self, what, scenario, result, expected):
        if expected is None:
            return
        self.expect(
            result["executions"] == expected,
            "%s on %s: expected %d executions, got %d"
            % (what, scenario, expected, result["executions"]),
        )

    def exhausted(self, rounds):
        print("\nTime to exhaust:\n")
        print("| program | Relacy | its executions | time | explorer's | time | times less |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for scenario, what, theirs, ours in EXHAUSTED:
            pairs = []
            for _ in range(rounds):
                relacy = self.other(what, scenario, 600000)
                self.expect(
                    relacy["verdict"] == "exhausted", "%s does not exhaust %s" % (what, scenario)
                )
                explorer = self.explorer(scenario)
                self.count(what, scenario, relacy, theirs)
                self.count("the explorer", scenario, explorer, ours)
                pairs.append((relacy, explorer))
            ratio = statistics.median(
                relacy["cpu_seconds"] / explorer["cpu_seconds"] for relacy, explorer in pairs
            )
            print(
                "| %s | %s | %s | %s | %s | %s | %s |"
                % (
                    scenario,
                    what,
                    format(pairs[0][0]["executions"], ","),
                    median_time(relacy["cpu_seconds"] for relacy, _ in pairs),
                    format(pairs[0][1]["executions"], ","),
                    median_time(explorer["cpu_seconds"] for _, explorer in pairs),
                    format(round(ratio), ","),
                )
            )
            if scenario == "locks/two_threads_six_locks":
                least = LEAST_SPEED_UP / 10 if self.options.short else LEAST_SPEED_UP
                self.expect(
                    ratio >= least,
                    "%s: expected %d times less time, got %.0f" % (scenario, least, ratio),
                )

    def rates(self, rounds):
        print("\nTime per execution:\n")
        print("| program | Relacy | it | explorer | ratio |")
        print("| --- | --- | --- | --- | --- |")
        ratios = []
        for scenario, what, ours in RATES:
            pairs = []
            for _ in range(rounds):
                relacy = self.other(what, scenario, 300 if self.options.short else 1500)
                explorer = self.explorer(scenario)
                self.count("the explorer", scenario, explorer, ours)
                pairs.append((per_execution(relacy), per_execution(explorer)))
            ratio = statistics.median(explorer / relacy for relacy, explorer in pairs)
            ratios.append(ratio)
            print(
                "| %s | %s | %s | %s | %.2f |"
                % (
                    scenario,
                    what,
                    median_time(relacy for relacy, _ in pairs),
                    median_time(explorer for _, explorer in pairs),
                    ratio,
                )
            )
            most = 3 * MOST_PER_EXECUTION if self.options.short else MOST_PER_EXECUTION
            self.expect(
                ratio <= most,
                "%s: expected at most %.1f times %s's time per execution, got %.2f"
                % (scenario, most, what, ratio),
            )
        print("\nMedian of the ratios: %.2f" % statistics.median(ratios))

    def alone(self, rounds):
        print("\nThe explorer alone:\n")
        print("| program | executions | CPU time | at most |")
        print("| --- | --- | --- | --- |")
        for scenario, ours, seconds in ALONE:
            results = [self.explorer(scenario) for _ in range(rounds)]
            for result in results:
                self.count("the explorer", scenario, result, ours)
            time = statistics.median(result["cpu_seconds"] for result in results)
            print(
                "| %s | %s | %s | %s |"
                % (scenario, format(results[0]["executions"], ","), shown(time), shown(seconds))
            )
            most = 4 * seconds if self.options.short else seconds
            what = "%s: expected less than %s, got %s" % (scenario, shown(most), shown(time))
            self.expect(time < most, what)


def per_execution(result):
    return result["cpu_seconds"] / result["executions"]


def shown(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return "%.3g %s" % (seconds * factor, unit)
    return "%.3g us" % (seconds * 1e6)


def median_time(seconds):
    return shown(statistics.median(seconds))


def processor():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for program in ("explorer", "relacy", "itself"):
        parser.add_argument("--" + program, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    rounds = 1 if options.short else options.rounds
    print(
        "%s, %d CPUs, load %.1f; rounds: %d"
        % (processor(), os.cpu_count(), os.getloadavg()[0], rounds)
    )
    bench = Bench(options)
    bench.exhausted(rounds)
    bench.rates(rounds)
    bench.alone(rounds)
    if bench.problems:
        sys.exit("\n" + "\n".join(bench.problems))


if __name__ == "__main__":
    main()
