#!/usr/bin/env python3
"""What the harness catches: every mutant and every published defect under every detector.

    bazel run //models:scorecard -- [FLAGS]

Builds the sources with each fault of models/mutants and models/published, runs them under each
detector for a fixed time, prints who caught what, and writes docs/scorecard.md. The row
"unmodified" is the same for the sources as they are: nothing must be reported there.

Every result is kept as soon as it is there (--results). A run that was interrupted goes on where it
ended when it is started again; what was built anew, or with another budget, is run again.
"""

import argparse
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
import time
import types

DETECTORS = ("explorer", "relacy", "tsan", "stress")
TITLES = {"explorer": "explorer", "relacy": "Relacy", "tsan": "threads and TSan",
          "stress": "stress, audits, oracle"}
TSAN_OPTIONS = "detect_deadlocks=1:second_deadlock_stack=1:halt_on_error=1:history_size=5"
CHUNK = 8  # rows built at a time, so that there are results early
LOCK_ORDER = re.compile(r"circular|lock.order|inversion", re.I)
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
    # Build targets by detector.
    targets: dict
    published: bool = False
    # The scenario itself promises the violation (a published protocol that can be chosen).
    promised: bool = False
    must_be_clean: bool = False


def load_bzl(path):
    """The names a .bzl file without native rules defines: such a file is Python too."""
    names = {"struct": lambda **fields: types.SimpleNamespace(**fields), "load": lambda *_: None,
             "__builtins__": {"len": len, "list": list}}
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), names)  # pylint: disable=exec-used
    return names


def first_line(path):
    with open(path, encoding="utf-8") as file:
        return file.readline().strip()


def stress_for(path):
    """The workloads to show a fault in a file of the sources."""
    if path.startswith("segmap/"):
        kpm = ["--kpm"] if "kpm" in path else []
        return [["--workload=segmap", "--slots=4", "--threads=6"] + kpm]
    return [["--workload=" + name, "--threads=4"] + args for name, args in [
        ("mix", ["--hats=4", "--pages=4096", "--preempt_rate=5000"]),
        ("churn", ["--hats=2", "--preempt_rate=5000", "--steal_rate=0.3"]),
        ("shootdown", []),
    ]]


def runners(package, name):
    return {
        "explorer": "//models/%s:explorer_%s" % (package, name),
        "relacy": "//models/%s:relacy_%s" % (package, name),
        "tsan": "//models/%s:threads_%s" % (package, name),
    }


def all_rows(root):
    models = os.path.join(root, "models")
    mutants = load_bzl(os.path.join(models, "mutants", "mutants.bzl"))["MUTANTS"]
    published = load_bzl(os.path.join(models, "published", "defects.bzl"))
    planted = load_bzl(os.path.join(root, "stress", "faults", "faults.bzl"))["FAULTS"]

    def stress(name, path):
        fault = planted.get(name)
        if fault is None:
            return stress_for(path)
        return [["--workload=" + fault.workload, "--threads=4"] + fault.args]

    rows = []
    for name, mutant in mutants.items():
        path = mutant.file[2:].replace(":", "/")
        targets = runners("mutants", name)
        targets["stress"] = "//stress/faults:hatstress_" + name
        rows.append(Row(name, first_line(os.path.join(models, "mutants", name + ".patch")),
                        mutant.scenario, mutant.args, stress(name, path), targets))
    for name, (_, files) in published["DEFECTS"].items():
        path = files[0][2:].replace(":", "/")
        scenario = published["SHOWN_BY"].get(name, ("", ""))[0]
        targets = runners("published", name) if scenario else {}
        targets["stress"] = "//stress/published:hatstress_" + name
        rows.append(Row(name, first_line(os.path.join(models, "published", name + ".patch")),
                        scenario, [], stress_for(path), targets, published=True))
    plain = {"explorer": "//models:explorer", "relacy": "//models:relacy",
             "tsan": "//models:threads", "stress": "//stress:hatstress"}
    rows.append(Row(
        "S17", "S17: the published way of waiting for a slot can lose a wake-up.",
        published["S17_SCENARIO"], [],
        [["--workload=segmap", "--waiting=published", "--threads=6", "--slots=2",
          "--free_lists=1"]], plain, published=True, promised=True))
    scenarios = sorted({row.scenario for row in rows if row.scenario and not row.promised})
    workloads = []
    for row in rows:
        workloads += [args for args in row.stress if not row.promised and args not in workloads]
    return rows + [Row("unmodified", "The sources as they are.", ",".join(scenarios), [], workloads,
                       plain, must_be_clean=True)]


# ---- Results.


@dataclasses.dataclass
class Outcome:
    """What one detector said about one row."""

    caught: bool
    kind: str = ""
    executions: int = 0
    seconds: float = 0.0
    # If nothing was caught: exhausted, bounded, or why there is no answer.
    verdict: str = ""
    # The first line of the report.
    message: str = ""
    # Seconds that it was given.
    budget: int = 0


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
    """Outcomes by row and detector, on disk after every one."""

    def __init__(self, path):
        self.path = path
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
        self.all[row + "/" + detector] = {"key": key, "outcome": dataclasses.asdict(outcome)}
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.all, file, indent=1, sort_keys=True)
        os.replace(self.path + ".new", self.path)


# ---- Building and running.


class Progress:
    """A line that is overwritten on a terminal; nothing in a pipe."""

    def __init__(self):
        self.terminal = sys.stderr.isatty()

    def show(self, text):
        if self.terminal:
            sys.stderr.write("\r\033[K" + text[:100])
            sys.stderr.flush()

    def done(self, text):
        if self.terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
        print(text, flush=True)


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


def run_detector(root, detector, row, program, budget):
    runs = commands_of(root, detector, row, program, budget)
    env = dict(os.environ, TSAN_OPTIONS=TSAN_OPTIONS)
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
    if os.path.exists(path) and "ThreadSanitizer" not in output:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        if detector == "stress":
            return from_stress_json(result)
        return from_runner_json(result, row.promised)
    return from_output(code, output, seconds)


def commands_of(root, detector, row, program, budget):
    if detector == "stress":
        share = max(1, budget // len(row.stress)) if not row.must_be_clean else budget
        return [[program] + args + ["--duration=%ds" % share, "--audit_interval=1s", "--seed=1",
                                    "--json=result.json"] for args in row.stress]
    command = [program, "--scenario=" + row.scenario, "--json=result.json"]
    if row.must_be_clean:
        command.append("--keep_going")
    if detector == "tsan":
        wrapper = os.path.join(root, "tools", "sanitizer_run_under.sh")
        return [[wrapper] + command + ["--time=%ds" % budget, "--executions=1000000000"]]
    return [command + ["--time=%ds" % budget] + row.scenario_args]


def fingerprint(program, command):
    digest = hashlib.sha256()
    with open(program, "rb") as file:
        digest.update(file.read())
    digest.update("\0".join(argument for argument in command if argument != program).encode())
    return digest.hexdigest()


def run_chunk(options, root, folder, detector, rows, results, progress, counter):
    targets = sorted({row.targets[detector] for row in rows})
    progress.show("building %d programs for %s" % (len(targets), detector))
    print("building for %s: %s" % (detector, " ".join(row.name for row in rows)), flush=True)
    built = build(root, detector, targets, options.jobs)
    for row in rows:
        counter[0] += 1
        where = "[%d/%d] %s %s" % (counter[0], counter[1], detector, row.name)
        program = program_of(folder, row.targets[detector])
        if row.targets[detector] not in built:
            results.put(row.name, detector, "", Outcome(False, verdict="does not build"))
            progress.done(where + ": does not build")
            continue
        budget = options.budgets[detector]
        key = fingerprint(program, commands_of(root, detector, row, program, budget)[0])
        outcome = results.get(row.name, detector, key)
        again = "" if outcome is None else " (kept from an earlier run)"
        if outcome is None:
            progress.show(where)
            outcome = run_detector(root, detector, row, program, budget)
            outcome.budget = budget
            results.put(row.name, detector, key, outcome)
        progress.done("%s: %s%s" % (where, cell(outcome, detector), again))


def run_rows(options, root, rows, results):
    progress = Progress()
    work = {detector: [row for row in rows if detector in row.targets]
            for detector in options.detectors}
    counter = [0, sum(len(of) for of in work.values())]
    for detector in options.detectors:
        folder = bin_folder(root, detector)
        for start in range(0, len(work[detector]), CHUNK):
            run_chunk(options, root, folder, detector, work[detector][start:start + CHUNK], results,
                      progress, counter)


# ---- The table.


def cell(outcome, detector):
    if outcome is None:
        return "not run"
    unit = "operations" if detector == "stress" else "executions"
    if outcome.caught:
        count = "%s %s, " % (format(outcome.executions, ","), unit) if outcome.executions else ""
        return "**%s**, %s%.1f s" % (outcome.kind, count, outcome.seconds)
    return outcome.verdict


def lock_order_cell(outcomes):
    """Which detectors reported an inversion of the lock order: whatever they are about."""
    seen = [detector for detector, outcome in outcomes.items()
            if outcome is not None and outcome.caught
            and LOCK_ORDER.search(outcome.kind + " " + outcome.message)]
    if seen:
        return "**inversion** (%s)" % ", ".join(seen)
    return "-" if any(outcome is not None for outcome in outcomes.values()) else "not run"


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return "%s, %d CPUs" % (model, len(os.sched_getaffinity(0)))


def summary(rows, results):
    faults = [row for row in rows if not row.must_be_clean]
    lines = []
    for title, published in [("mutants", False), ("published defects", True)]:
        group = [row for row in faults if row.published == published]
        ran = {detector: [row for row in group if results.get(row.name, detector)]
               for detector in DETECTORS}
        caught = {detector: sum(results.get(row.name, detector).caught for row in of)
                  for detector, of in ran.items()}
        lines.append("* %d %s. %s." % (len(group), title, "; ".join(
            "%s: %d caught of %d run" % (TITLES[detector], caught[detector], len(ran[detector]))
            for detector in DETECTORS)))
        models = [row for row in group if any(
            (results.get(row.name, detector) or Outcome(False)).caught
            for detector in ("explorer", "relacy"))]
        lines.append("  Caught by a scenario on the explorer or Relacy: %d." % len(models))
    return "\n".join(lines)


def table(rows, results):
    lines = ["| fault | what it breaks | scenario | "
             + " | ".join(TITLES[detector] for detector in DETECTORS) + " | lock order |",
             "| --- | --- | --- |" + " --- |" * (len(DETECTORS) + 1)]
    for row in rows:
        outcomes = {detector: results.get(row.name, detector) for detector in DETECTORS}
        cells = [cell(outcomes[detector], detector) if detector in row.targets else "no scenario"
                 for detector in DETECTORS]
        scenario = "all of them" if row.must_be_clean else row.scenario or "-"
        lines.append("| %s | %s | %s | %s | %s |" % (
            row.name, row.breaks.replace("|", "\\|"), scenario, " | ".join(cells),
            lock_order_cell(outcomes)))
    return "\n".join(lines)


def budgets_of(rows, results, detector):
    used = {outcome.budget for outcome in (results.get(row.name, detector) for row in rows)
            if outcome is not None and outcome.budget}
    return " or ".join("%d s" % budget for budget in sorted(used)) or "not run"


def document(rows, results):
    command = "bazel run //models:scorecard"
    budgets = ", ".join("%s %s" % (TITLES[d], budgets_of(rows, results, d)) for d in DETECTORS)
    return """# Scorecard

Written by `%s` (flags: `-- --help`). Each row is one fault in otherwise unmodified sources, each
column a detector with a fixed time for it: %s (the explorer and Relacy per scenario).
A bold cell is the kind of the first report, with what it took. `exhausted` and `bounded` mean that
nothing was reported, by all executions or by those there was time for; `not run` means that.
Column *lock order*: whether a detector reported an inversion of the order of locks.

Machine: %s.

%s

%s
""" % (command, budgets, machine(), summary(rows, results), table(rows, results))


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
    parser.add_argument("--stress_budget", default="",
                        help="the same for stress; default: that of --budget")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of Bazel")
    parser.add_argument("--results", default=os.path.join(root, ".cache", "scorecard.json"),
                        help="file that keeps the results (default: .cache/scorecard.json)")
    parser.add_argument("--out", default=os.path.join(root, "docs", "scorecard.md"),
                        help="the table (default: docs/scorecard.md)")
    options = parser.parse_args(arguments)
    options.detectors = [name for name in options.detectors.split(",") if name]
    for name in options.detectors:
        if name not in DETECTORS:
            raise UsageError("--detectors=%s: expected some of %s; did you mean %s?" % (
                name, ", ".join(DETECTORS), nearest(name, DETECTORS)))
    budget = seconds_of(options.budget, "--budget")
    stress = budget
    if options.stress_budget:
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
