#!/usr/bin/env python3
"""The order of locks that scenarios and stress runs exercise, as tables and a picture, and whether
it is the one that docs/lock-order.md declares.

    bazel run //models:lock_order [-- FLAGS]

Runs every scenario on the explorer, each for a bounded time, and hatstress if asked to; prints what
differs from the declared order, and writes the graph: lock-order.md, lock-order.dot and
lock-order.svg in --out, or with --update into docs/. Nodes are lock classes with their places;
edges say how many scenarios and pairs of places in the source take one lock with the other held.
Exit codes: 0 as declared, 1 it differs, 2 bad usage, 4 a program failed.
"""

import argparse
import collections
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile

PLACES = ("<!-- places: written by tools/lock_order.py -->", "<!-- end of places -->")
EDGES = ("<!-- edges: written by tools/lock_order.py -->", "<!-- end of edges -->")
PLACES_HEAD = "| place | class | two at a time | what it is for | declared in |"
EDGES_HEAD = "| held | taken | how | scenarios | pairs of places | seen, for example, at |"
ONLY_STRESS = "stress only"

LOCK_CLASS = re.compile(
    r'LockClass k\w+\{"([\w.]+)", (\d+)(?:, Nests::(\w+))?\};')
NESTS = {None: "never", "kLargerNumberFirst": "larger number first"}

# What hatstress runs with --run_stress: between them all designs and every operation.
STRESS_RUNS = [
    ["--workload=mix", "--index=chain", "--invalidation=captured", "--reserve_owner=thread"],
    ["--workload=mix", "--hats=4", "--pages=4096"],
    ["--workload=churn"],
    ["--workload=share", "--hats=40"],
    ["--workload=pressure"],
    ["--workload=segmap", "--slots=4", "--threads=6"],
    ["--workload=segmap", "--slots=4", "--threads=6", "--kpm", "--free_lists=2"],
]

Edge = collections.namedtuple("Edge", "outer inner how")
Place = collections.namedtuple("Place", "place name nests purpose header")


class Seen:
    """Where an edge was seen."""

    def __init__(self):
        self.scenarios = set()
        self.pairs = set()   # (place of the outer lock, place of the inner), in scenarios
        self.stress = set()  # the same in stress runs

    def example(self):
        return sorted(self.pairs or self.stress)[0]


def fail(code, message):
    print("lock_order: " + message, file=sys.stderr)
    sys.exit(code)


# ---- What there is.

def places_in(headers):
    """The lock classes that headers declare, by place."""
    found = []
    for path in headers:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        for number, line in enumerate(lines):
            match = LOCK_CLASS.search(line)
            if not match:
                continue
            first = number
            while lines[first - 1].startswith("//"):
                first -= 1
            comment = " ".join(text[3:] for text in lines[first:number])
            purpose = re.split(r"\.(?= |$)", comment)[0].replace("|", "/")
            if not comment and found and LOCK_CLASS.search(lines[number - 1]):
                purpose = found[-1].purpose  # one comment for both
            header = re.search(r"\w+/\w+\.h$", path).group(0)
            found.append(Place(int(match[2]), match[1], NESTS[match[3]], purpose, header))
    if not found:
        fail(2, "no lock class in the headers given; expected lines like "
                'inline constexpr LockClass kMlistLock{"mlist", 10};')
    return sorted(found)


def add_edges(seen, edges, scenario=None):
    for edge in edges:
        outer, inner = edge["outer"], edge["inner"]
        key = Edge(outer["class"], inner["class"], "tryenter" if inner["by_try"] else "enter")
        pair = (outer["at"], inner["at"])
        if scenario is None:
            seen[key].stress.add(pair)
        else:
            seen[key].scenarios.add(scenario)
            seen[key].pairs.add(pair)


def run(command, good):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False)
    if done.returncode not in good:
        print(done.stdout[-6000:])
        fail(4, "%s ended with exit code %d" % (" ".join(command), done.returncode))
    return done.stdout


def run_scenarios(seen, explorer, arguments):
    with tempfile.TemporaryDirectory() as folder:
        results = os.path.join(folder, "results.json")
        # 3: some were bounded; 1: also some that must end with a violation, which are looked at.
        said = run([explorer, "--json=" + results, "--keep_going"] + arguments, (0, 1, 3))
        with open(results, encoding="utf-8") as file:
            scenarios = json.load(file)
    for scenario in scenarios:
        if scenario["verdict"].startswith("violated") and not scenario["as_expected"]:
            print(said[-6000:])
            fail(4, "%s is %s" % (scenario["scenario"], scenario["verdict"]))
        # These have locks of their own, to compare engines on.
        if scenario["scenario"].startswith("locks/"):
            continue
        add_edges(seen, scenario["lock_edges"], scenario["scenario"])
    return len(scenarios)


def run_stress(seen, hatstress, duration, threads):
    for arguments in STRESS_RUNS:
        with tempfile.TemporaryDirectory() as folder:
            results = os.path.join(folder, "results.json")
            run([hatstress, "--threads=%d" % threads, "--seed=1", "--duration=" + duration,
                 "--json=" + results, "--evidence="] + arguments, (0,))
            read_stress(seen, results)


def read_stress(seen, path):
    try:
        with open(path, encoding="utf-8") as file:
            add_edges(seen, json.load(file)["lock_edges"])
    except (OSError, ValueError, KeyError) as error:
        fail(2, "%s: expected what hatstress writes with --json (%s)" % (path, error))


# ---- What recording costs.

def cpu_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(command, (0, 3))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def print_cost(options, rounds=7):
    """CPU time of the same work with and without recording, in turn; medians and their ratio."""
    runs = {
        "explorer, 3,000 executions of each scenario of segmap, steal and unload":
            [options.explorer, "--executions=3000", "--keep_going",
             "--scenario=segmap/,steal/,unload/"],
        "hatstress, workload mix, 50,000 operations of each of 2 threads":
            [options.hatstress, "--workload=mix", "--threads=2", "--ops=50000", "--seed=1",
             "--duration=10m", "--audit_interval=10m", "--evidence="],
        "hatstress, workload segmap, 200,000 operations of each of 2 threads":
            [options.hatstress, "--workload=segmap", "--threads=2", "--ops=200000", "--seed=1",
             "--duration=10m", "--audit_interval=10m", "--evidence="],
    }
    for name, command in runs.items():
        times = {True: [], False: []}
        for _ in range(rounds):
            for recording in times:
                flag = "--report_inversions" if recording else "--noreport_inversions"
                times[recording].append(cpu_seconds(command + [flag]))
        on, off = (statistics.median(times[recording]) for recording in (True, False))
        print("%s: %.2f s with, %.2f s without, ratio %.3f (medians of %d, CPU time)" % (
            name, on, off, on / off, rounds))


# ---- What is declared.

def between(text, marks, path):
    before, found, rest = text.partition(marks[0])
    inside, found_end, after = rest.partition(marks[1])
    if not found or not found_end:
        fail(2, "%s needs the lines '%s' and '%s'" % (path, marks[0], marks[1]))
    return before + found, inside, found_end + after


def rows_of(inside, head, path):
    lines = [line.strip() for line in inside.split("\n") if line.strip()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    for line, row in zip(lines[2:], rows):
        if len(row) != head.count("|") - 1:
            fail(2, "%s: expected a row of the table %s, found %s" % (path, head, line))
    return rows


def declared_places(text, path):
    return [Place(int(r[0]), r[1], r[2], r[3], r[4].strip("`"))
            for r in rows_of(between(text, PLACES, path)[1], PLACES_HEAD, path)]


def declared_edges(text, path):
    """{Edge: the cells behind it}"""
    rows = rows_of(between(text, EDGES, path)[1], EDGES_HEAD, path)
    return {Edge(*row[:3]): row[3:] for row in rows}


# ---- The two compared.

def sites(pairs):
    return "".join("\n    %s, held since %s" % (inner, outer)
                   for outer, inner in sorted(pairs)[:5])


def compare_edges(seen, declared, scenarios):
    """What is wrong; `scenarios`: all of them were run, so that what they did not do is known."""
    problems = []
    for edge, where in seen.items():
        if edge not in declared:
            who = ", ".join(sorted(where.scenarios)[:3]) or "stress"
            problems.append("%s -> %s by %s is not declared; seen in %s%s" % (
                *edge, who, sites(where.pairs | where.stress)))
        elif scenarios and where.scenarios and declared[edge][0] == ONLY_STRESS:
            problems.append("%s -> %s by %s is declared as seen in stress only; seen in %s%s" % (
                *edge, ", ".join(sorted(where.scenarios)[:3]), sites(where.pairs)))
    for edge, cells in declared.items():
        exercised = edge in seen and seen[edge].scenarios
        if scenarios and cells[0] != ONLY_STRESS and not exercised:
            problems.append("%s -> %s by %s is declared, but no scenario does it; it was seen at\n"
                            "    %s" % (*edge, cells[-1]))
    return problems


def compare_places(there, declared):
    problems = []
    for place in there:
        if place not in declared:
            problems.append("%s has place %d (%s), two at a time: %s; docs/lock-order.md does not "
                            "say so" % (place.name, place.place, place.header, place.nests))
    names = {place.name for place in there}
    problems += ["%s is declared, but no header has it" % place.name
                 for place in declared if place.name not in names]
    return problems


def edges_in_svg(svg):
    text = svg.replace("&#45;", "-").replace("&gt;", ">")
    return sorted(re.findall(r"<title>([\w.]+->[\w.]+)</title>", text))


def of_the_system(edge, places):
    """Whether neither of its locks is one of hatstress itself: those are not in the picture."""
    own = {place.name for place in places if place.header.startswith("stress/")}
    return edge.outer not in own and edge.inner not in own


def compare_picture(svg, declared, places):
    drawn = edges_in_svg(svg)
    wanted = sorted("%s->%s" % edge[:2] for edge in declared if of_the_system(edge, places))
    if drawn == wanted:
        return []
    return ["docs/lock-order.svg draws other edges: %s; run bazel run //models:lock_order -- "
            "--update" % sorted(set(drawn) ^ set(wanted))]


# ---- Tables and pictures.

def places_table(places):
    lines = [PLACES_HEAD, "| ---: | --- | --- | --- | --- |"]
    lines += ["| %d | %s | %s | %s | `%s` |" % place for place in places]
    return "\n\n" + "\n".join(lines) + "\n\n"


def cells_for(edge, seen, before):
    """(scenarios, pairs, example). Stress runs that were not repeated are taken as before."""
    where = seen.get(edge)
    if where is None:
        return before[edge]
    count = str(len(where.scenarios)) if where.scenarios else ONLY_STRESS
    outer, inner = where.example()
    example = inner if len(outer + inner) > 90 else "%s, held since %s" % (inner, outer)
    return [count, str(len(where.pairs or where.stress)), example]


def edges_table(edges):
    lines = [EDGES_HEAD, "| --- | --- | --- | ---: | ---: | --- |"]
    lines += ["| %s | %s | %s | %s |" % (*edge, " | ".join(cells)) for edge, cells in edges]
    return "\n\n" + "\n".join(lines) + "\n\n"


def dot(edges, places):
    place_of = {place.name: place.place for place in places}
    edges = [(edge, cells) for edge, cells in edges if of_the_system(edge, places)]
    used = sorted({name for edge, _ in edges for name in edge[:2]}, key=place_of.get)
    lines = ["digraph lock_order {", "  rankdir=TB;", "  nodesep=0.35;", "  ranksep=0.7;",
             '  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];',
             '  edge [fontname="Helvetica", fontsize=8];']
    lines += ['  "%s" [label="%s\\n%d"];' % (name, name, place_of[name]) for name in used]
    for edge, (count, pairs, _) in edges:
        text = ["%s %s" % (pairs, "place" if pairs == "1" else "places")]
        style = ["solid"]
        if count == ONLY_STRESS:
            text.insert(0, ONLY_STRESS)
            color = "darkorange3"
        else:
            text.insert(0, "%s %s" % (count, "scenario" if count == "1" else "scenarios"))
            color = "black"
        if edge.how == "tryenter":
            text.insert(0, "tryenter")
            color = color if color != "black" else "steelblue4"
            style = ["dashed"]
        reversed_ = place_of[edge.outer] >= place_of[edge.inner]
        lines.append('  "%s" -> "%s" [label="%s", style="%s", color="%s", fontcolor="%s"%s];' % (
            edge.outer, edge.inner, "\\n".join(text), ",".join(style), color, color,
            ", constraint=false" if reversed_ else ""))
    return "\n".join(lines + ["}"]) + "\n"


def svg_of(text):
    try:
        done = subprocess.run(["dot", "-Tsvg"], input=text, stdout=subprocess.PIPE, text=True,
                              check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        fail(4, "cannot draw the picture with dot, of Debian's package graphviz: %s" % error)
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def from_here(path):
    """As seen from where `bazel run` was called."""
    return os.path.join(os.environ.get("BUILD_WORKING_DIRECTORY", ""), path)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="lock_order", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doc", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--svg", help=argparse.SUPPRESS)
    parser.add_argument("--explorer", help=argparse.SUPPRESS)
    parser.add_argument("--hatstress", help=argparse.SUPPRESS)
    parser.add_argument("--headers", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--time", default="2s", help="for each scenario (default: %(default)s)")
    parser.add_argument("--executions", type=int, default=0,
                        help="for each scenario at most so many; 0: no such bound")
    parser.add_argument("--scenario", default="", help="as in the runners; default: all")
    parser.add_argument("--run_stress", metavar="TIME",
                        help="run hatstress, for so long in each of %d ways" % len(STRESS_RUNS))
    parser.add_argument("--threads", type=int, default=4, help="of hatstress (default: 4)")
    parser.add_argument("--stress", action="append", default=[], metavar="FILE",
                        help="what a run of hatstress has written with --json; may be repeated")
    parser.add_argument("--out", help="folder to write the graph to (default: a new one in /tmp)")
    parser.add_argument("--cost", action="store_true",
                        help="measure what recording the orders costs, and do nothing else")
    parser.add_argument("--update", action="store_true", help="write docs/lock-order.*")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    if options.cost:
        print_cost(options)
        return 0
    with open(options.doc, encoding="utf-8") as file:
        doc = file.read()
    seen = collections.defaultdict(Seen)
    whole = options.explorer is not None and not options.scenario
    if options.explorer:
        limits = ["--time=" + options.time] if options.time else []
        if options.executions:
            limits.append("--executions=%d" % options.executions)
        if options.scenario:
            limits.append("--scenario=" + options.scenario)
        count = run_scenarios(seen, options.explorer, limits)
        print("%d scenarios: %d orders of two classes, %d pairs of places in the source" % (
            count, len(seen), sum(len(where.pairs) for where in seen.values())))
    for path in options.stress:
        read_stress(seen, from_here(path))
    if options.run_stress:
        run_stress(seen, options.hatstress, options.run_stress, options.threads)
    declared = declared_edges(doc, options.doc)
    problems = compare_edges(seen, declared, whole)
    places = declared_places(doc, options.doc)
    if options.svg and not options.update:
        with open(options.svg, encoding="utf-8") as file:
            problems += compare_picture(file.read(), declared, places)
    if options.headers:
        there = places_in(options.headers)
        problems += compare_places(there, places)
        places = there
    if not options.check:
        keep = {edge for edge, cells in declared.items() if cells[0] == ONLY_STRESS}
        all_edges = set(seen) | (keep if whole else set(declared))
        place_of = {place.name: place.place for place in places}
        in_order = sorted(all_edges, key=lambda e: (place_of[e.outer], place_of[e.inner], e.how))
        edges = [(edge, cells_for(edge, seen, declared)) for edge in in_order]
        write_graph(options, doc, places, edges)
    for problem in problems:
        print(problem)
    print("as docs/lock-order.md declares it" if not problems
          else "%d differences from docs/lock-order.md" % len(problems))
    return 1 if problems and not options.update else 0


def write_graph(options, doc, places, edges):
    picture = dot(edges, places)
    tables = {PLACES: places_table(places), EDGES: edges_table(edges)}
    if options.update:
        for marks, table in tables.items():
            before, _, after = between(doc, marks, options.doc)
            doc = before + table + after
        write(options.doc, doc)
        write(options.svg, svg_of(picture))
        print("written: %s and %s" % (options.doc, options.svg))
    if options.out or not options.update:
        folder = from_here(options.out) if options.out else tempfile.mkdtemp(prefix="lock-order.")
        os.makedirs(folder, exist_ok=True)
        write(os.path.join(folder, "lock-order.md"), "".join(tables.values()).strip() + "\n")
        write(os.path.join(folder, "lock-order.dot"), picture)
        write(os.path.join(folder, "lock-order.svg"), svg_of(picture))
        print("written: %s/lock-order.{md,dot,svg}" % folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
