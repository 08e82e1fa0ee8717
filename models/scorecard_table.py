"""The table of the scorecard, as text."""

import dataclasses
import os
import re

DETECTORS = ("explorer", "relacy", "tsan", "stress")
TITLES = {"explorer": "explorer", "relacy": "Relacy", "tsan": "threads and TSan",
          "stress": "stress, audits, oracle"}
SCENARIO = "in a scenario"
SCENARIOS_SHARE = 8  # seconds of a stress run for all scenarios together
LOCK_ORDER = re.compile(r"circular|lock.order|inversion", re.I)


@dataclasses.dataclass
class Outcome:
    """What one detector said about one row."""

    caught: bool
    kind: str = ""
    executions: int = 0
    seconds: float = 0.0
    # If nothing was caught: exhausted, bounded, or why there is no answer. Else, of stress: which
    # part of it has caught it, if that was not hatstress.
    verdict: str = ""
    # The first line of the report.
    message: str = ""
    # Seconds that it was given.
    budget: int = 0


def cell(outcome, detector):
    if outcome is None:
        return "not run"
    in_scenario = outcome.verdict == SCENARIO
    unit = "operations" if detector == "stress" and not in_scenario else "executions"
    if outcome.caught:
        count = "%s %s, " % (format(outcome.executions, ","), unit) if outcome.executions else ""
        return "**%s**, %s%.1f s%s" % (outcome.kind, count, outcome.seconds,
                                       ", " + SCENARIO if in_scenario else "")
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


def share(caught, run):
    """How many were caught, and how many of a hundred that is."""
    return "%d caught of %d run%s" % (caught, run, " (%d%%)" % (100 * caught // run) if run else "")


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
            "%s: %s" % (TITLES[detector], share(caught[detector], len(ran[detector])))
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
Explorer, Relacy and TSan run the scenario that is about the fault. Stress does not know it: it runs
all scenarios for %d s together on real threads that pause (a report of that part says `%s`), and
hatstress for the rest.
A bold cell is the kind of the first report, with what it took. `exhausted` and `bounded` mean that
nothing was reported, by all executions or by those there was time for; `not run` means that.
Column *lock order*: whether a detector reported an inversion of the order of locks.

Machine: %s.

%s

%s
""" % (command, budgets, SCENARIOS_SHARE, SCENARIO, machine(), summary(rows, results),
       table(rows, results))
