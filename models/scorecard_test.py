#!/usr/bin/env python3
"""Tests of scorecard.py: tables, reports of detectors, flags, going on after an interruption."""

import contextlib
import io
import json
import os
import sys
import tempfile
import threading
import unittest
import unittest.mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scorecard  # pylint: disable=wrong-import-position
import scorecard_table  # pylint: disable=wrong-import-position

ROOT = os.getcwd()


def flags(*arguments):
    return scorecard.parse_flags(list(arguments), ROOT)


class Tables(unittest.TestCase):
    def setUp(self):
        self.rows = {row.name: row for row in scorecard.all_rows(ROOT)}

    def test_every_mutant_and_defect_is_a_row(self):
        patches = 0
        for folder in ("mutants", "published"):
            for name in os.listdir(os.path.join(ROOT, "models", folder)):
                if name.endswith(".patch"):
                    self.assertTrue(name[:-6] in self.rows, name)
                    patches += 1
        self.assertGreater(patches, 100)
        self.assertEqual(len(self.rows), patches + 2)  # and S17, and unmodified

    def test_a_mutant_knows_its_programs_scenario_and_fault(self):
        row = self.rows["chain_insert_unlocked"]
        self.assertEqual(row.targets["explorer"],
                         ["//models/mutants:explorer_chain_insert_unlocked"])
        self.assertEqual(row.targets["stress"],
                         ["//models/mutants:observed_chain_insert_unlocked",
                          "//stress/faults:hatstress_chain_insert_unlocked"])
        self.assertEqual(row.scenario, "hment/two_records_in_one_bucket_chain")
        self.assertIn("without the lock", row.breaks)

    def test_stress_runs_the_design_and_the_workload_that_a_fault_is_in(self):
        def all_of(name):
            return [argument for run in self.rows[name].stress for argument in run]
        self.assertIn("--index=chain", all_of("chain_insert_unlocked"))
        self.assertNotIn("--index=chain", all_of("avl_insert_unlocked"))
        self.assertIn("--invalidation=captured", all_of("S02"))
        self.assertEqual(self.rows["kpm_hint_no_recheck"].stress[0][-1:], ["--stuck_after=8s"])
        self.assertIn("--kpm", self.rows["kpm_hint_no_recheck"].stress[0])
        # Faults of one file are looked for in one way.
        self.assertEqual(self.rows["hment_leak"].stress, self.rows["kernel_hment_stolen"].stress)

    def test_every_defect_has_a_scenario(self):
        for row in self.rows.values():
            if row.published:
                self.assertTrue(row.scenario, row.name)
                self.assertEqual(set(row.targets), set(scorecard.DETECTORS), row.name)

    def test_the_unmodified_sources_run_all_scenarios_and_must_be_clean(self):
        row = self.rows["unmodified"]
        self.assertTrue(row.must_be_clean)
        self.assertIn("hment/two_records_in_one_bucket_chain", row.scenario.split(","))
        self.assertNotIn("published", row.scenario)


class Reports(unittest.TestCase):
    @staticmethod
    def result(verdict, as_expected, executions=7):
        return {"scenario": "a/b", "verdict": verdict, "executions": executions, "seconds": 0.5,
                "message": "first\nsecond", "as_expected": as_expected}

    def test_a_violation_is_caught_with_its_kind(self):
        outcome = scorecard.from_runner_json([self.result("violated (data race)", False)], False)
        self.assertEqual((outcome.caught, outcome.kind, outcome.executions),
                         (True, "data race", 7))
        self.assertEqual(outcome.message, "a/b: first")

    def test_a_violation_that_the_scenario_promises_counts_only_where_it_is_the_defect(self):
        results = [self.result("violated (panic)", True)]
        self.assertFalse(scorecard.from_runner_json(results, False).caught)
        self.assertTrue(scorecard.from_runner_json(results, True).caught)

    def test_bounded_is_not_exhausted(self):
        clean = self.result("exhausted", True)
        bounded = self.result("bounded (by 5 ms)", True)
        self.assertEqual(scorecard.from_runner_json([clean], False).verdict, "exhausted")
        self.assertEqual(scorecard.from_runner_json([clean, bounded], False).verdict, "bounded")

    def test_a_report_of_tsan_is_caught(self):
        outcome = scorecard.from_output(66, "WARNING: ThreadSanitizer: data race (pid=1)\n", 1.0)
        self.assertEqual((outcome.caught, outcome.kind), (True, "data race"))

    def test_a_crash_is_caught_and_bad_usage_is_not(self):
        self.assertTrue(scorecard.from_output(-11, "", 1.0).caught)
        self.assertFalse(scorecard.from_output(2, "unknown flag", 1.0).caught)

    def test_a_program_that_left_an_empty_file_is_known_by_its_output(self):
        row = scorecard.Row("fault", "", "", [], [], {})
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "result.json"), "w", encoding="utf-8"):
                pass
            outcome = scorecard.read_outcome("stress", row, 124, "stopped after 9 s", 9.0, folder)
        self.assertEqual((outcome.caught, outcome.verdict),
                         (False, "exit code 124: stopped after 9 s"))

    def test_stress_counts_operations(self):
        outcome = scorecard.from_stress_json({"elapsed_s": 2.0, "operations": 9, "violation": {
            "kind": "assertion", "message": "invariant 3"}})
        self.assertEqual(scorecard.cell(outcome, "stress"), "**assertion**, 9 operations, 2.0 s")

    def test_an_inversion_fills_the_column_of_the_lock_order(self):
        report = scorecard.Outcome(True, "possible circular locking dependency")
        self.assertEqual(scorecard_table.lock_order_cell({"stress": report, "tsan": None}),
                         "**inversion** (stress)")
        self.assertEqual(scorecard_table.lock_order_cell({"stress": None}), "not run")


    def test_a_share_of_nothing_is_none(self):
        self.assertEqual(scorecard_table.share(7, 9), "7 caught of 9 run (77%)")
        self.assertEqual(scorecard_table.share(0, 0), "0 caught of 0 run")


class Judgement(unittest.TestCase):
    def test_a_fault_that_nobody_caught_and_a_false_alarm_are_problems(self):
        targets = {"explorer": ["//a:b"]}
        fault = scorecard.Row("fault", "breaks it", "a/b", [], [], targets)
        plain = scorecard.Row("unmodified", "", "a/b", [], [], targets, must_be_clean=True)
        with tempfile.TemporaryDirectory() as folder:
            results = scorecard.Results(os.path.join(folder, "results.json"))
            results.put("fault", "explorer", "k", scorecard.Outcome(False, verdict="exhausted"))
            results.put("unmodified", "explorer", "k", scorecard.Outcome(True, "panic"))
            code, problems = scorecard.verdict([fault, plain], results, ["explorer"])
        self.assertEqual((code, len(problems)), (1, 2))


class Resuming(unittest.TestCase):
    def test_a_result_is_kept_and_found_again_unless_the_program_changed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.json")
            scorecard.Results(path).put("a", "relacy", "key", scorecard.Outcome(True, "panic"))
            again = scorecard.Results(path)
            self.assertEqual(again.get("a", "relacy", "key").kind, "panic")
            self.assertIsNone(again.get("a", "relacy", "another key"))

    def test_a_file_that_is_no_results_is_named(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("{")
            file.flush()
            with self.assertRaisesRegex(scorecard.UsageError, "not a file of results"):
                scorecard.Results(file.name)


class Running(unittest.TestCase):
    """Rows run beside one another, with programs that nobody builds."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.options = flags("--detectors=stress", "--only=*_unlocked", "--parallel=3")
        self.rows = scorecard.select(scorecard.all_rows(ROOT), self.options.only)
        self.results = scorecard.Results(os.path.join(folder.name, "results.json"))
        replaced = {"bin_folder": lambda *_: folder.name, "fingerprint": lambda *_: "key",
                    "build": lambda root, detector, targets, jobs: set(targets[1:])}
        for name, value in replaced.items():
            patch = unittest.mock.patch.object(scorecard, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def run_all(self, run_detector):
        with unittest.mock.patch.object(scorecard, "run_detector", run_detector):
            with contextlib.redirect_stdout(io.StringIO()):
                scorecard.run_rows(self.options, ROOT, self.rows, self.results)

    def test_all_that_were_built_have_a_result(self):
        barrier = threading.Barrier(3)  # three at a time, or this fails

        def detect(*_):
            barrier.wait(timeout=60)
            return scorecard.Outcome(True, "panic")
        # As many as go up in threes; the first of each chunk is not built.
        self.rows = self.rows[:8 + 8]
        self.rows = self.rows[:-2]
        self.run_all(detect)
        found = [self.results.get(row.name, "stress") for row in self.rows]
        self.assertEqual(sum(outcome.caught for outcome in found), 12)
        self.assertEqual(sum(outcome.verdict == "does not build" for outcome in found), 2)

    def test_what_was_interrupted_has_none(self):
        def detect(options, *_):
            raise KeyboardInterrupt
        with self.assertRaises(KeyboardInterrupt):
            self.run_all(detect)
        self.assertTrue(self.options.interrupted.is_set())
        self.assertFalse(any(outcome["outcome"]["caught"] for outcome in self.results.all.values()))


class Programs(unittest.TestCase):
    def test_their_results_are_found_whoever_started_the_scorecard(self):
        with tempfile.TemporaryDirectory() as folder:
            # Puts a relative path where the runners of scenarios put it.
            program = os.path.join(folder, "program")
            with open(program, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\ncat > ${BUILD_WORKING_DIRECTORY:-.}/result.json <<'end'\n"
                           "[%s]\nend\n" % json.dumps(Reports.result("exhausted", True)))
            os.chmod(program, 0o755)
            row = scorecard.select(scorecard.all_rows(ROOT), "get_relaxed")[0]
            with unittest.mock.patch.dict(os.environ, BUILD_WORKING_DIRECTORY=folder):
                outcome = scorecard.run_detector(ROOT, "explorer", row, [program], budget=1)
        self.assertEqual((outcome.verdict, outcome.executions), ("exhausted", 7))


class Flags(unittest.TestCase):
    def test_unknown_names_are_answered_with_the_nearest(self):
        with self.assertRaisesRegex(scorecard.UsageError, "did you mean relacy"):
            flags("--detectors=relcy")
        with self.assertRaisesRegex(scorecard.UsageError, "nearest name is hment_leak"):
            scorecard.select(scorecard.all_rows(ROOT), "hmnt_leak")

    def test_times(self):
        with self.assertRaisesRegex(scorecard.UsageError, "expected a number from 1"):
            flags("--parallel=0")
        self.assertEqual(flags("--budget=2m").budgets["relacy"], 120)
        self.assertEqual(flags("--budget=2s", "--stress_budget=30s").budgets["stress"], 30)
        with self.assertRaisesRegex(scorecard.UsageError, "expected a time"):
            flags("--budget=soon")

    def test_bad_usage_ends_with_2(self):
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            self.assertEqual(scorecard.main(["--detectors=x"]), 2)
        self.assertIn("expected some of explorer", errors.getvalue())


if __name__ == "__main__":
    unittest.main()
