#!/usr/bin/env python3
"""What the harness catches: every mutant and every published defect under every detector.

    bazel run //models:scorecard -- [FLAGS]

Builds the sources with each fault of models/mutants and models/published, runs them under each
detector for a fixed time, prints who caught what, and writes docs/scorecard.md. The row
"unmodified" is the same for the sources as they are: nothing must be reported there.

Rows run beside one another (--parallel) while the next ones are built, and a detector ends with its
first report. Every result is kept as soon as it is there (--results). A run that was interrupted
goes on where it ended when it is started again; what was built anew, or with another budget, is run
again.
"""

import argparse
import concurrent.futures
import dataclasses
import difflib
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scorecard_table import (  # pylint: disable=wrong-import-position
    DETECTORS, SCENARIO, SCENARIOS_SHARE, Outcome, cell, document, summary, table)

TSAN_OPTIONS = "detect_deadlocks=1:second_deadlock_stack=1:halt_on_error=1:history_size=5"
CHUNK = 8  # rows built at a time, so that there are results early
# What hatstress says of itself when the kernel, not a check, ended it.
CRASH = "crash"


class UsageError(Exception):
    """A flag that cannot be obeyed."""


# ---- What there is to run.


@dataclasses.dataclass
class Row:
    """A fault, or the sources without one."""

    name: str
    breaks: str
    # Scenario names for the runners; empty if no scenario is about this fault.
    scenario: str
    scenario_args: list
    # Argument lists for hatstress; each has a share of the budget.
    stress: list
    # Build targets by detector: the runner of scenarios, or for stress that and hatstress.
    targets: dict
    published: bool = False
    # The scenario itself promises the violation (a published protocol that can be chosen).
    promised: bool = False
    must_be_clean: bool = False


def load_bzl(path):
    """The names a .bzl file without native rules defines: such a file is Python too."""
    names = {"struct": lambda **fields: types.SimpleNamespace(**fields),
             "__builtins__": {"len": len, "list": list}}

    def load(label, *symbols):
        if label.startswith(":"):  # Another such file, beside this one.
            other = load_bzl(os.path.join(os.path.dirname(path), label[1:]))
            names.update({symbol: other[symbol] for symbol in symbols})

    names["load"] = load
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), names)  # pylint: disable=exec-used
    return names


def first_line(path):
    with open(path, encoding="utf-8") as file:
        return file.readline().strip()


# A stress run begins with all scenarios, on real threads that pause, this long each.
PER_SCENARIO = ["--clean_only", "--executions=1000000000", "--time=20ms"]
# Of every run of hatstress: many threads for few locks and few pages.
STRESS = ["--threads=8", "--focus=4", "--mlist_locks=4", "--hash_locks=4", "--buckets=64",
          "--stuck_after=8s"]
# The design that a file belongs to, where it is not that of the defaults.
DESIGNS = {
    "hat/hment_index_chain.cc": ["--index=chain"],
    "hat/pte_invalidation_captured.cc": ["--invalidation=captured"],
    # Few, so that an owner soon comes to their end.
    "hat/reserve_ownership_thread.cc": ["--reserve_owner=thread", "--htable_reserve=20",
                                        "--hment_reserve=20"],
}
SEGMAP = ["--workload=segmap", "--slots=4", "--io_errors=0.02", "--pause_rate=300"]
SMALL_FILES = ["--files=2", "--file_size=32768"]
HAT = ["--pause_rate=1000"]
WORKLOADS = {
    "mix": ["--workload=mix", "--hats=4", "--pages=8192"] + HAT,
    "churn": ["--workload=churn", "--hats=2", "--steal_rate=0.3", "--fail_rate=0.1",
              "--htable_reserve=20", "--hment_reserve=20"] + HAT,
    "shootdown": ["--workload=shootdown"] + HAT,
    "turnover": ["--workload=turnover"] + HAT,
    "pressure": ["--workload=pressure", "--hats=16", "--pages=4096"] + HAT,
    # Both slots on the two queues of one list: somebody always sleeps.
    "waiting": SEGMAP + SMALL_FILES + ["--slots=2", "--free_lists=1"],
    # All slots in one ring, so that there are neighbours.
    "segmap": SEGMAP + SMALL_FILES + ["--free_lists=1"],
    "kpm": SEGMAP + SMALL_FILES + ["--kpm"],
    "segmap_files": SEGMAP,
    "kpm_files": SEGMAP + ["--kpm"],
}


def stress_for(path):
    """The workloads that use a file of the sources, in the design that it belongs to."""
    if path.startswith("segmap/"):
        names = ["segmap", "segmap_files", "kpm", "kpm_files", "waiting"]
        if "kpm" in path:
            names = names[2:4] + names[:2]
        elif "smap_" in path:
            names = ["waiting", "segmap", "kpm"]
    elif "kpm" in path:
        names = ["kpm", "kpm_files"]
    elif path.startswith("vm/"):
        names = ["segmap", "segmap_files", "pressure", "shootdown", "mix"]
    else:
        names = ["churn", "turnover", "shootdown", "mix", "pressure"]
    return [WORKLOADS[name] + STRESS + DESIGNS.get(path, []) for name in names]


def runners(package, name):
    runner = "//models/%s:%%s_%s" % (package, name)
    hatstress = "//stress/%s:hatstress_%s" % ({"mutants": "faults"}.get(package, package), name)
    return {
        "explorer": [runner % "explorer"],
        "relacy": [runner % "relacy"],
        "tsan": [runner % "threads"],
        "stress": [runner % "observed", hatstress],
    }


def all_rows(root):
    models = os.path.join(root, "models")
    mutants = load_bzl(os.path.join(models, "mutants", "mutants.bzl"))["MUTANTS"]
    published = load_bzl(os.path.join(models, "published", "defects.bzl"))
    rows = []
    for name, mutant in mutants.items():
        path = mutant.file[2:].replace(":", "/")
        rows.append(Row(name, first_line(os.path.join(models, "mutants", name + ".patch")),
                        mutant.scenario, mutant.args, stress_for(path), runners("mutants", name)))
    for name, (_, files) in published["DEFECTS"].items():
        path = files[0][2:].replace(":", "/")
        scenario = published["SHOWN_BY"].get(name, ("", ""))[0]
        targets = runners("published", name)
        if not scenario:
            targets = {"stress": targets["stress"][1:]}
        rows.append(Row(name, first_line(os.path.join(models, "published", name + ".patch")),
                        scenario, [], stress_for(path), targets, published=True))
    plain = {"explorer": ["//models:explorer"], "relacy": ["//models:relacy"],
             "tsan": ["//models:threads"], "stress": ["//models:observed", "//stress:hatstress"]}
    rows.append(Row(
        "S17", "S17: the published way of waiting for a slot can lose a wake-up.",
        published["S17_SCENARIO"], [],
        [["--workload=segmap", "--waiting=published", "--threads=6", "--slots=2",
          "--free_lists=1"]], dict(plain, stress=plain["stress"][1:]), published=True,
        promised=True))
    scenarios = sorted({row.scenario for row in rows if row.scenario and not row.promised})
    workloads = []
    for row in rows:
        workloads += [args for args in row.stress if not row.promised and args not in workloads]
    return rows + [Row("unmodified", "The sources as they are.", ",".join(scenarios), [], workloads,
                       plain, must_be_clean=True)]


# ---- Results.


def from_runner_json(results, promised):
    """The first violation among the results of a scenario runner, or that there is none."""
    executions = sum(result["executions"] for result in results)
    seconds = sum(result["seconds"] for result in results)
    for result in results:
        match = re.match(r"violated \((.*)\)", result["verdict"])
        if match and (promised or not result["as_expected"]):
            return Outcome(True, match[1], result["executions"], result["seconds"],
                           message=result["scenario"] + ": " + result["message"].split("\n")[0])
    bounded = any(result["verdict"].startswith("bounded") for result in results)
    return Outcome(False, "", executions, seconds, "bounded" if bounded else "exhausted")


def from_output(code, output, seconds):
    """A program that left no JSON: a report of a sanitizer, a crash, or trouble of another kind."""
    report = re.search(r"WARNING: ThreadSanitizer: ([^\n(]+)", output)
    if report:
        return Outcome(True, report[1].strip(), 0, seconds, message=report[0])
    violated = re.search(r"violated \(([^)]*)\)[^\n]*", output)
    if violated:
        return Outcome(True, violated[1], 0, seconds, message=violated[0])
    if code < 0 or code >= 128:
        return Outcome(True, CRASH, 0, seconds, message="exit code %d" % code)
    return Outcome(False, "", 0, seconds, "exit code %d: %s" % (code, output.strip()[-200:]))


def from_stress_json(result):
    seconds, operations = result.get("elapsed_s", 0.0), result.get("operations", 0)
    violation = result.get("violation")
    if violation is None:
        return Outcome(False, "", operations, seconds, "clean")
    return Outcome(True, violation["kind"], operations, seconds,
                   message=violation["message"].split("\n")[0])


class Results:
    """Outcomes by row and detector, on disk after every one. Any thread."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.all = {}
        if os.path.exists(path):
            try:
                with open(path, encoding="utf-8") as file:
                    self.all = json.load(file)
            except ValueError:
                raise UsageError("%s is not a file of results; delete it or name another one with "
                                 "--results" % path) from None

    def get(self, row, detector, key=None):
        found = self.all.get(row + "/" + detector)
        if found is None or (key is not None and found["key"] != key):
            return None
        return Outcome(**found["outcome"])

    def put(self, row, detector, key, outcome):
        with self.lock:
            self.all[row + "/" + detector] = {"key": key, "outcome": dataclasses.asdict(outcome)}
            with open(self.path + ".new", "w", encoding="utf-8") as file:
                json.dump(self.all, file, indent=1, sort_keys=True)
            os.replace(self.path + ".new", self.path)


# ---- Building and running.


class Progress:
    """What was found, line by line, with how many of how many there are. Any thread."""

    def __init__(self, total):
        self.total = total
        self.count = 0
        self.lock = threading.Lock()

    def done(self, text):
        with self.lock:
            self.count += 1
            print("[%d/%d] %s" % (self.count, self.total, text), flush=True)


def bazel(root, *arguments, **kwargs):
    command = ["bazel"] + os.environ.get("HATCHECK_BAZEL_STARTUP", "").split() + list(arguments)
    return subprocess.run(command, cwd=root, text=True, check=False, **kwargs)


def config_of(detector):
    return ["--config=tsan"] if detector == "tsan" else []


def bin_folder(root, detector):
    done = bazel(root, "info", *config_of(detector), "bazel-bin", stdout=subprocess.PIPE,
                 stderr=subprocess.DEVNULL)
    if done.returncode != 0:
        raise UsageError("bazel info bazel-bin failed: is %s the workspace?" % root)
    return done.stdout.strip()


def build(root, detector, targets, jobs):
    """The targets that could be built."""
    quiet = ["--noshow_progress", "--color=no", "--curses=no", "--ui_event_filters=-info"]
    command = ["build", "--keep_going", "--jobs=%d" % jobs] + quiet + config_of(detector)
    if bazel(root, *command, *targets).returncode == 0:
        return set(targets)
    # Which of them it was; programs of earlier builds may still lie about.
    return {target for target in targets if bazel(root, *command, target).returncode == 0}


def program_of(folder, target):
    return os.path.join(folder, target[2:].replace(":", "/"))


def run_program(command, env, limit, scratch):
    """(exit code, output, seconds); the program's JSON, if any, is in scratch/result.json."""
    started = time.monotonic()
    path = os.path.join(scratch, "output")
    with open(path, "w", encoding="utf-8") as file:
        try:
            code = subprocess.run(command, env=env, stdout=file, stderr=subprocess.STDOUT,
                                  cwd=scratch, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            code = 124
    with open(path, encoding="utf-8", errors="replace") as file:
        output = file.read()
    if code == 124:
        output += "\nstopped after %d s" % limit
    return code, output, time.monotonic() - started


def environment():
    """Of the programs: a relative path is one in the folder they are started in, not in that of
    `bazel run`."""
    env = dict(os.environ, TSAN_OPTIONS=TSAN_OPTIONS)
    env.pop("BUILD_WORKING_DIRECTORY", None)
    return env


def run_detector(root, detector, row, programs, budget):
    runs = commands_of(root, detector, row, programs, budget)
    env = environment()
    total = Outcome(False, verdict="clean")
    for command in runs:
        with tempfile.TemporaryDirectory(prefix="scorecard.") as scratch:
            limit = 60 + 4 * budget * max(1, row.scenario.count(",") + 1)
            code, output, seconds = run_program(command, env, limit, scratch)
            outcome = read_outcome(detector, row, code, output, seconds, scratch)
        if outcome.caught:
            outcome.executions += total.executions
            outcome.seconds += total.seconds
            return outcome
        total.executions += outcome.executions
        total.seconds += outcome.seconds
        total.verdict = outcome.verdict
    return total


def read_outcome(detector, row, code, output, seconds, scratch):
    path = os.path.join(scratch, "result.json")
    if "ThreadSanitizer" in output or not os.path.exists(path):
        return from_output(code, output, seconds)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not text:  # opened, and not written any more
        return from_output(code, output, seconds)
    result = json.loads(text)
    if isinstance(result, dict):
        return from_stress_json(result)
    outcome = from_runner_json(result, row.promised)
    if detector == "stress" and outcome.caught:
        outcome.verdict = SCENARIO
    return outcome


def stress_commands(row, programs, budget):
    runs = []
    if len(programs) > 1:
        going_on = ["--keep_going"] if row.must_be_clean else []
        runs.append([programs[0], "--json=result.json"] + PER_SCENARIO + going_on)
    share = budget  # of each workload, for the sources as they are
    if not row.must_be_clean:
        share = max(1, (budget - SCENARIOS_SHARE * len(runs)) // len(row.stress))
    return runs + [[programs[-1]] + args + ["--duration=%ds" % share, "--audit_interval=200ms",
                                            "--seed=1", "--json=result.json"]
                   for args in row.stress]


def commands_of(root, detector, row, programs, budget):
    if detector == "stress":
        return stress_commands(row, programs, budget)
    command = [programs[0], "--scenario=" + row.scenario, "--json=result.json"]
    if row.must_be_clean:
        command += ["--keep_going", "--clean_only"]
    if detector == "tsan":
        wrapper = os.path.join(root, "tools", "sanitizer_run_under.sh")
        return [[wrapper] + command + ["--time=%ds" % budget, "--executions=1000000000"]]
    return [command + ["--time=%ds" % budget] + row.scenario_args]


def fingerprint(programs, commands):
    digest = hashlib.sha256()
    for program in programs:
        with open(program, "rb") as file:
            digest.update(file.read())
    for command in commands:
        digest.update("\0".join(word for word in command + [""] if word not in programs).encode())
    return digest.hexdigest()


def run_row(options, root, detector, row, programs, results, progress):
    budget = options.budgets[detector]
    key = fingerprint(programs, commands_of(root, detector, row, programs, budget))
    outcome = results.get(row.name, detector, key)
    again = "" if outcome is None else " (kept from an earlier run)"
    if outcome is None:
        outcome = run_detector(root, detector, row, programs, budget)
        if options.interrupted.is_set():
            return
        outcome.budget = budget
        results.put(row.name, detector, key, outcome)
    progress.done("%s %s: %s%s" % (detector, row.name, cell(outcome, detector), again))


def run_rows(options, root, rows, results):
    """Builds chunk after chunk; the rows of those that are there run meanwhile."""
    work = [(detector, row) for detector in options.detectors for row in rows
            if detector in row.targets]
    progress = Progress(len(work))
    with concurrent.futures.ThreadPoolExecutor(options.parallel) as pool:
        running = []
        try:
            for detector in options.detectors:
                folder = bin_folder(root, detector)
                mine = [row for of, row in work if of == detector]
                for start in range(0, len(mine), CHUNK):
                    chunk = mine[start:start + CHUNK]
                    wanted = {target for row in chunk for target in row.targets[detector]}
                    built = build(root, detector, sorted(wanted), options.jobs)
                    for row in chunk:
                        if built.issuperset(row.targets[detector]):
                            programs = [program_of(folder, target)
                                        for target in row.targets[detector]]
                            running.append(pool.submit(run_row, options, root, detector, row,
                                                       programs, results, progress))
                        else:
                            results.put(row.name, detector, "",
                                        Outcome(False, verdict="does not build"))
                            progress.done("%s %s: does not build" % (detector, row.name))
            for row in concurrent.futures.as_completed(running):
                row.result()
        except BaseException:
            options.interrupted.set()
            for row in running:
                row.cancel()
            raise


# ---- Flags.


def seconds_of(text, flag):
    match = re.fullmatch(r"(\d+)(s|m)?", text)
    if not match or int(match[1]) == 0:
        raise UsageError("%s=%s: expected a time like 10s or 2m" % (flag, text))
    return int(match[1]) * (60 if match[2] == "m" else 1)


def nearest(word, words):
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.0)
    return close[0] if close else ""


def select(rows, patterns):
    if not patterns:
        return rows
    names = [row.name for row in rows]
    chosen = set()
    for pattern in patterns.split(","):
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise UsageError("--only=%s: no such mutant or defect; the nearest name is %s"
                             % (pattern, nearest(pattern, names)))
        chosen.update(found)
    return [row for row in rows if row.name in chosen]


def parse_flags(arguments, root):
    parser = argparse.ArgumentParser(prog="scorecard", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="",
                        help="names of mutants and defects, or patterns with * and ?, separated by "
                             "commas; default: all, and the row unmodified")
    parser.add_argument("--detectors", default=",".join(DETECTORS),
                        help="which of %s (default: all)" % ", ".join(DETECTORS))
    parser.add_argument("--budget", default="10s", help="time per detector and row (default: 10s)")
    parser.add_argument("--stress_budget", default="30s", help="the same for stress (default: 30s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of Bazel")
    parser.add_argument("--parallel", type=int, default=max(1, os.cpu_count() // 2),
                        help="rows that run at once (default: half of the processors)")
    parser.add_argument("--results", default=os.path.join(root, ".cache", "scorecard.json"),
                        help="file that keeps the results (default: .cache/scorecard.json)")
    parser.add_argument("--out", default=os.path.join(root, "docs", "scorecard.md"),
                        help="the table (default: docs/scorecard.md)")
    options = parser.parse_args(arguments)
    if options.parallel < 1:
        raise UsageError("--parallel=%d: expected a number from 1" % options.parallel)
    options.interrupted = threading.Event()
    options.detectors = [name for name in options.detectors.split(",") if name]
    for name in options.detectors:
        if name not in DETECTORS:
            raise UsageError("--detectors=%s: expected some of %s; did you mean %s?" % (
                name, ", ".join(DETECTORS), nearest(name, DETECTORS)))
    budget = seconds_of(options.budget, "--budget")
    stress = seconds_of(options.stress_budget, "--stress_budget")
    options.budgets = {detector: stress if detector == "stress" else budget
                       for detector in DETECTORS}
    return options


def verdict(rows, results, detectors):
    """(exit code, lines): faults that nobody caught, and false alarms."""
    problems = []
    for row in rows:
        outcomes = [results.get(row.name, detector) for detector in detectors
                    if detector in row.targets]
        caught = any(outcome is not None and outcome.caught for outcome in outcomes)
        if row.must_be_clean and caught:
            problems.append("false alarm: " + "; ".join(
                outcome.message for outcome in outcomes if outcome and outcome.caught))
        elif not row.must_be_clean and outcomes and not caught:
            problems.append("nothing caught %s: %s" % (row.name, row.breaks))
    return (1 if problems else 0), problems


def main(arguments):
    root = os.environ.get("BUILD_WORKSPACE_DIRECTORY", os.getcwd())
    try:
        options = parse_flags(arguments, root)
        every_row = all_rows(root)
        rows = select(every_row, options.only)
        os.makedirs(os.path.dirname(os.path.abspath(options.results)), exist_ok=True)
        results = Results(options.results)
        run_rows(options, root, rows, results)
    except UsageError as error:
        print("scorecard: %s" % error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; what was found is in %s, and the same command goes on from there"
              % options.results, file=sys.stderr)
        write_document(options, every_row, results)
        return 130
    write_document(options, every_row, results)
    print("\n" + table(rows, results) + "\n\n" + summary(every_row, results))
    code, problems = verdict(rows, results, options.detectors)
    for problem in problems:
        print(problem)
    return code


def write_document(options, rows, results):
    with open(options.out, "w", encoding="utf-8") as file:
        file.write(document(rows, results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
