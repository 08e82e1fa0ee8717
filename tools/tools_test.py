"""Each check reports a planted violation with file and line, and accepts what is right."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

import check_format
import check_layering
import lock_order
import summary
import tidy

HERE = os.path.dirname(os.path.abspath(__file__))


class TreeTest(unittest.TestCase):
    """Builds small workspaces in a temporary folder."""

    def setUp(self):
        self.root = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.root)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as stream:
            stream.write(text)
        return full

    def expect(self, check, path, line, words):
        problems = check(self.root)
        hits = [p for p in problems if p[0] == path and p[1] == line and words in p[2]]
        self.assertTrue(hits, f"no '{words}' at {path}:{line} in {problems}")


class LayeringTest(TreeTest):
    def planted(self, path, text, line, words):
        self.write(path, text)
        self.expect(check_layering.check, path, line, words)

    def test_upward_include(self):
        text = '#include "vm/page.h"\n#include "hat/hat.h"\n'
        self.planted("vm/page.cc", text, 2, "vm/ must not include hat/")

    def test_models_and_stress_are_apart(self):
        self.planted("models/a.h", '\n#include "stress/ops.h"\n', 2, "must not include stress/")
        self.planted("stress/a.cc", '#include "models/a.h"\n', 1, "must not include models/")

    def test_relacy_and_explorer_have_one_door(self):
        self.planted("models/b.h", "#include <relacy/relacy.hpp>\n", 1, "includes Relacy")
        self.planted("hat/b.h", '#include "explorer/event.h"\n', 1, "only platform/explorer/")

    def test_code_above_the_platform_is_blind_to_backends(self):
        self.planted("hat/c.cc", '#include "platform/threads/sync.h"\n', 1, "a backend")
        self.planted("vm/c.cc", "\n#ifdef HATCHECK_OBSERVE\n#endif\n", 2, "the backend it is on")
        text = "#if defined(A) && \\\n    HATCHECK_ON_THREADS\n#endif\n"
        self.planted("segmap/c.cc", text, 1, "the backend it is on")

    def test_relative_include(self):
        self.planted("hat/d.cc", '#include "hat.h"\n', 1, "from the workspace root")

    def test_what_is_right(self):
        self.write("platform/relacy/sync.h", "#include <relacy/relacy.hpp>\n")
        self.write("platform/explorer/sync.h", '#include "explorer/event.h"\n')
        self.write("platform/platform.h", '#if HATCHECK_ON_THREADS\n#endif\n#include <vector>\n')
        self.write("hat/hat.cc", '#include "hat/hat.h"\n#include "absl/strings/str_cat.h"\n')
        self.write("models/a.cc", '#include "segmap/audit.h"\n')
        self.write("stress/a.cc", '#include "platform/threads/sync.h"\n')
        self.assertEqual(check_layering.check(self.root), [])


class TidyTest(TreeTest):
    def planted(self, path, text, line, words):
        self.write(path, text)
        self.expect(tidy.check, path, line, words)

    def test_text(self):
        self.planted("hat/a.cc", "int a;\n\tint b;\n", 2, "tab")
        self.planted("hat/a.cc", "int a; \n", 1, "trailing space")
        self.planted("hat/a.cc", "// " + "x" * 98 + "\n", 1, "101 columns")
        self.planted("hat/a.cc", "int a;", 1, "no newline")
        self.planted("hat/a.cc", "\n// TO" "DO: later\n", 2, "needs a reason")
        self.planted("hat/a.cc", "int a;\n" * 601, 601, "601 lines")

    def test_banned_names(self):
        self.planted("hat/a.cc", "\nstd::atomic<int> a;\n", 2, "std::atomic")
        self.planted("hat/a.cc", "std::mutex m;\n", 1, "std::mutex")
        self.planted("hat/a.cc", "volatile int v;\n", 1, "volatile")
        self.planted("platform/a.cc", "using namespace std;\n", 1, "using namespace")
        self.planted("stress/a.cc", "f();\nstd::atomic_thread_fence(x);\n", 2, "fence")

    def test_mutable_statics(self):
        text = "int f() {\n  static int n = 0;\n  return ++n;\n}\n"
        self.planted("hat/a.cc", text, 2, "static")
        self.planted("vm/a.cc", "static std::map<int, int*> m;\n", 1, "static")
        self.planted("vm/a.cc", "static int counts[3];\n", 1, "static")

    def test_mutable_globals(self):
        self.planted("hat/a.cc", "namespace n {\nint counts[2];\n}\n", 2, "mutable global")
        self.planted("hat/a.cc", "inline std::vector<int> v = {1, 2};\n", 1, "mutable global")

    def test_long_function(self):
        body = "  g();\n" * 79
        text = "namespace n {\n\nvoid f(int a) {\n" + body + "}\n}\n"
        self.planted("hat/a.cc", text, 3, "81 lines")
        text = "struct A {\n  A()\n      : a_{1}, b_{2} {\n" + body + "  }\n};\n"
        self.planted("hat/b.cc", text, 2, "function A: 82 lines")

    def test_header_guard(self):
        self.planted("hat/a.h", "#ifndef A_H\n#define A_H\n#endif\n", 1, "HATCHECK_HAT_A_H_")
        self.planted("hat/b.h", "int a;\n", 1, "no header guard")

    def test_unlisted_file(self):
        self.write("hat/BUILD.bazel", 'hc_library(name = "x", srcs = ["b.cc"])\n')
        self.planted("hat/a.cc", "int a;\n", 1, "not listed in hat/BUILD.bazel")

    def test_dead_paths_in_documents(self):
        self.planted("README.md", "x\nsee `hat/gone.cc`.\n", 2, "'hat/gone.cc' does not exist")
        self.planted("README.md", "see [this](docs/gone.md)\n", 1, "does not exist")
        self.planted("README.md", "run `bazel test //gone/...`\n", 1, "'gone' does not exist")
        self.planted("README.md", "in `gone.cc`\n", 1, "does not exist")

    def test_what_is_right(self):
        self.write("hat/BUILD.bazel", 'x(hdrs = glob(["*.h"]), srcs = ["a.cc"])\n')
        guard = "HATCHECK_HAT_A_H_"
        body = (
            "// std::mutex; volatile\n"
            "class A {\n  static int f();\n  static const int k = 1;\n};\n"
        )
        self.write("hat/a.h", f"#ifndef {guard}\n#define {guard}\n{body}#endif  // {guard}\n")
        code = (
            'const char* s = "std::mutex";\nstatic constexpr int k = 1\'000;\n'
            "static int f(int a) { return a; }\nstatic Foo<int> g() {\n  return {};\n}\n"
            "// TO" "DO(big pages): count them\n"
            "inline constexpr int kA = 1;\nclass B;\nusing C = int;\nenum class D : int;\n"
            "int h(int a);\ninline A* const kP = nullptr;\nconst int kE[] = {1, 2};\n"
            "struct F {\n  int a = 0;\n};\n"
        )
        self.write("hat/a.cc", code)
        text = "`hat/a.cc`, `a.cc`, `//hat:a`, `hat/*.cc`, `--x=/tmp/y`, [h](hat/)\n"
        self.write("README.md", text)
        self.assertEqual(tidy.check(self.root), [])


class FormatTest(TreeTest):
    def test_unformatted_line(self):
        shutil.copy(os.path.join(os.path.dirname(HERE), ".clang-format"), self.root)
        self.write("hat/good.cc", "int a = 1;\n")
        self.assertEqual(check_format.check(self.root), [])
        self.write("hat/bad.cc", "int a = 1;\nint  b=2;\n")
        self.expect(check_format.check, "hat/bad.cc", 2, "not formatted")


class ExpectCaughtTest(TreeTest):
    def run_it(self, code, regex, script, *arguments):
        program = self.write("program.sh", "#!/bin/bash\n" + script)
        os.chmod(program, 0o755)
        command = [os.path.join(HERE, "expect_caught.sh"), program, str(code), regex, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        return done.returncode, done.stdout

    def test_caught(self):
        script = 'echo "invariant Q7 ($1)"; exit 1'
        code, output = self.run_it(1, r"invariant Q[0-9] \(x\)", script, "x")
        self.assertEqual((code, output), (0, "caught: invariant Q7 (x)\n"))

    def test_not_caught(self):
        code, output = self.run_it(1, "Q7", "echo all fine")
        self.assertEqual(code, 1)
        self.assertIn("was NOT caught: the program ended with exit code 0", output)
        self.assertIn("| all fine", output)

    def test_wrong_name_or_code(self):
        code, output = self.run_it(1, "Q7", "echo Q8; exit 1")
        self.assertEqual(code, 1)
        self.assertIn("was NOT caught under the expected name", output)
        code, output = self.run_it(1, "Q7", "echo Q7; exit 3")
        self.assertEqual(code, 1)
        self.assertIn("wrong exit code", output)


class SetupTest(TreeTest):
    """Runs tools/setup.sh with stand-ins for the programs that it calls."""

    def setup_on(self, system, installed):
        release = self.write("os-release", system)
        log = os.path.join(self.root, "log")
        status = "install ok installed" if installed else "unknown"
        for name, body in {
            "dpkg-query": f"echo -n '{status}'",
            "apt-get": f'echo "apt-get $*" >> {log}',
            "sudo": '"$@"',
            "bazel": "true",
        }.items():
            os.chmod(self.write("bin/" + name, "#!/bin/bash\n" + body + "\n"), 0o755)
        path = os.path.join(self.root, "bin") + ":" + os.environ["PATH"]
        script = f"set -euo pipefail; . {HERE}/setup.sh; hatcheck_setup run; echo ready"
        done = subprocess.run(
            ["bash", "-c", script],
            env=dict(os.environ, PATH=path, HATCHECK_OS_RELEASE=release),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        calls = ""
        if os.path.exists(log):
            with open(log, encoding="utf-8") as stream:
                calls = stream.read()
        return done.returncode, done.stdout, calls

    def test_all_there(self):
        self.assertEqual(self.setup_on("ID=debian\nVERSION_ID=12\n", True), (0, "ready\n", ""))

    def test_installs_what_is_missing(self):
        code, output, calls = self.setup_on("ID=debian\nVERSION_ID=12\n", False)
        self.assertEqual(code, 0, output)
        self.assertRegex(calls, r"^apt-get update.*\napt-get install .*bazel-boot.* relacy-dev")

    def test_another_system(self):
        code, output, calls = self.setup_on("ID=ubuntu\nVERSION_ID=24.04\n", True)
        self.assertEqual((code, calls), (2, ""))
        self.assertIn("apt-get install bazel-bootstrap", output)


class SummaryTest(TreeTest):
    def events(self, *events):
        lines = [json.dumps(event) + "\n" for event in events]
        return self.write("events.json", "".join(lines))

    def result(self, label, status, xml):
        uri = "file://" + self.write(label.replace(":", "/") + "/test.xml", xml)
        outputs = [{"name": "test.xml", "uri": uri}]
        return {
            "id": {"testResult": {"label": label}},
            "testResult": {"status": status, "testActionOutput": outputs},
        }

    FINISHED = {"id": {"buildFinished": {}}, "buildFinished": {"exitCode": {"code": 0}}}

    def test_counts_cases(self):
        xml = (
            '<testsuites><testsuite><testcase name="a" status="run" result="completed"/>'
            '<testcase name="b"><failure/></testcase>'
            '<testcase name="c" status="notrun"/></testsuite></testsuites>'
        )
        path = self.events(self.result("//a:t", "FAILED", xml), self.FINISHED)
        result = summary.read_pass(path, 3)
        self.assertEqual((result.passed, result.failed), (1, 1))

    def test_a_program_that_fails_after_its_cases_counts(self):
        xml = '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'
        path = self.events(self.result("//a:t", "FAILED", xml), self.FINISHED)
        result = summary.read_pass(path, 3)
        self.assertEqual((result.passed, result.failed), (1, 1))

    def test_build_failure_counts(self):
        self.assertEqual(summary.read_pass(os.path.join(self.root, "none"), 1).failed, 1)
        aborted = {"id": {"testSummary": {"label": "//a:t"}}, "aborted": {}}
        path = self.events(aborted, self.FINISHED)
        self.assertEqual(summary.read_pass(path, 1).failed, 1)

    def test_no_tests_at_all_is_no_success(self):
        self.assertEqual(summary.read_pass(self.events(self.FINISHED), 4).failed, 1)


class LockOrderTest(TreeTest):
    DOC = "\n".join([
        lock_order.PLACES[0], "", lock_order.PLACES_HEAD, "| ---: | --- | --- | --- | --- |",
        "| 1 | outer | never | first | `hat/locking.h` |",
        "| 2 | inner | larger number first | second | `hat/locking.h` |", "", lock_order.PLACES[1],
        lock_order.EDGES[0], "", lock_order.EDGES_HEAD, "| --- | --- | --- | ---: | ---: | --- |",
        "| outer | inner | enter | 3 | 1 | b.cc:2 (g) |",
        "| inner | inner | enter | stress only | 1 | c.cc:3 (h) |", "", lock_order.EDGES[1]])

    def compare(self, edges, scenarios=True):
        seen = lock_order.collections.defaultdict(lock_order.Seen)
        for outer, inner, by_try in edges:
            lock_order.add_edges(seen, [{
                "outer": {"class": outer, "by_try": False, "at": "a.cc:1 (f)"},
                "inner": {"class": inner, "by_try": by_try, "at": "b.cc:2 (g)"}}],
                "s/one" if scenarios else None)
        declared = lock_order.declared_edges(self.DOC, "doc")
        return "\n".join(lock_order.compare_edges(seen, declared, scenarios))

    def test_what_is_declared_and_exercised_is_right(self):
        self.assertEqual(self.compare([("outer", "inner", False)]), "")

    def test_an_order_that_is_not_declared_is_named_with_its_places(self):
        problem = self.compare([("outer", "inner", False), ("inner", "outer", False)])
        self.assertIn("inner -> outer by enter is not declared; seen in s/one", problem)
        self.assertIn("b.cc:2 (g), held since a.cc:1 (f)", problem)
        self.assertIn("by tryenter is not declared",
                      self.compare([("outer", "inner", False), ("outer", "inner", True)]))

    def test_a_declared_order_that_no_scenario_exercises_is_named_with_its_places(self):
        problem = self.compare([])
        self.assertIn("outer -> inner by enter is declared, but no scenario does it", problem)
        self.assertIn("b.cc:2 (g)", problem)

    def test_stress_runs_need_not_do_everything_but_nothing_else(self):
        self.assertEqual(self.compare([("inner", "inner", False)], scenarios=False), "")
        self.assertIn("seen in stress", self.compare([("inner", "outer", False)], scenarios=False))
        self.assertIn("as seen in stress only",
                      self.compare([("outer", "inner", False), ("inner", "inner", False)]))

    def test_places_are_those_of_the_headers(self):
        header = self.write("hat/locking.h", "// First. More.\n"
                            'inline constexpr LockClass kOuter{"outer", 1};\n\n// Second.\n'
                            'inline constexpr LockClass kInner{"inner", 2, '
                            "Nests::kLargerNumberFirst};\n")
        declared = lock_order.declared_places(self.DOC, "doc")
        there = lock_order.places_in([header])
        self.assertEqual([(p.place, p.name, p.nests) for p in there],
                         [(1, "outer", "never"), (2, "inner", "larger number first")])
        self.assertEqual(there[0].purpose, "First")
        problems = lock_order.compare_places(there, declared)
        self.assertIn("outer has place 1", problems[0])  # its purpose is told otherwise
        self.assertIn("is declared, but no header has it",
                      lock_order.compare_places([], declared)[0])

    def test_the_picture_draws_the_declared_orders(self):
        declared = lock_order.declared_edges(self.DOC, "doc")
        places = lock_order.declared_places(self.DOC, "doc")
        svg = "<title>outer&#45;&gt;inner</title><title>inner&#45;&gt;inner</title>"
        self.assertEqual(lock_order.compare_picture(svg, declared, places), [])
        self.assertIn("outer->inner", lock_order.compare_picture(
            "<title>inner&#45;&gt;inner</title>", declared, places)[0])

    def test_reversed_orders_are_dashed_and_those_of_stress_are_marked(self):
        edges = [(lock_order.Edge("inner", "outer", "tryenter"), ["2", "1", "a.cc:1 (f)"]),
                 (lock_order.Edge("outer", "inner", "enter"), ["stress only", "1", "a.cc:1 (f)"])]
        text = lock_order.dot(edges, lock_order.declared_places(self.DOC, "doc"))
        self.assertRegex(text, '"inner" -> "outer".*tryenter.*2 scenarios.*style="dashed"')
        self.assertRegex(text, '"outer" -> "inner".*stress only.*darkorange3')


if __name__ == "__main__":
    unittest.main()
