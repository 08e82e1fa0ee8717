#!/usr/bin/env python3
"""hatstress as its users see it: exit codes, what it prints where, JSON, Ctrl-C, evidence.

Usage: hatstress_test.py HATSTRESS HATSTRESS_PLANTED
The second program has the operations of planted_workloads.cc, which fail on purpose.
"""

import glob
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HATSTRESS, PLANTED = (os.path.abspath(path) for path in sys.argv[1:3])
TSAN = "TSAN_OPTIONS" in os.environ
ASAN = "ASAN_OPTIONS" in os.environ
# No audit but the last one, however slow the host is.
SMALL = ["--threads=2", "--seed=7", "--hats=4", "--pages=8192", "--audit_interval=10m"]


def run(program, *args, **kwargs):
    return subprocess.run(
        [program, *args], capture_output=True, text=True, timeout=240, check=False, **kwargs
    )


class InFolder(unittest.TestCase):
    """Each test runs in an empty folder of its own, where evidence goes too."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="hatstress_test.")
        self.addCleanup(self.folder.cleanup)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder.name)

    def violated(self, workload, kind, *args):
        """Runs a planted workload, which must fail with the kind; returns its standard error."""
        done = run(PLANTED, f"--workload={workload}", *SMALL, *args)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"violated ({kind})", done.stderr)
        self.assertNotIn("clean:", done.stdout)
        return done.stderr


class Usage(InFolder):
    def usage_error(self, *args):
        done = run(HATSTRESS, *args)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Ahatstress: [^\n]+\n\Z")
        return done.stderr

    def test_bad_flags_are_one_line_that_says_what_was_expected(self):
        self.assertIn("nearest: --seed", self.usage_error("--sede=1"))
        self.assertIn("nearest: pressure", self.usage_error("--workload=presure"))
        self.assertIn("a duration like 60s", self.usage_error("--duration=5"))
        self.assertIn("unexpected argument 'mix'", self.usage_error("mix"))

    def test_an_unreadable_maps_folder_is_named(self):
        self.assertIn("/no/such/folder", self.usage_error("--maps=/no/such/folder"))

    def test_a_malformed_maps_line_is_named_with_file_and_line(self):
        os.mkdir("saved")
        with open("saved/one", "w", encoding="ascii") as out:
            out.write("1000-2000 r--p 0 00:00 0\n2000-3000 rwx 0 00:00 0\n")
        self.assertIn("saved/one:2: expected permissions", self.usage_error("--maps=saved"))

    def test_a_json_file_that_cannot_be_written_is_an_error_at_once(self):
        self.assertIn("/no/such/x.json", self.usage_error("--json=/no/such/x.json"))

    def test_help_and_list_end_with_0(self):
        self.assertIn("--audit_interval", run(HATSTRESS, "--help").stdout)
        listed = run(HATSTRESS, "--list")
        self.assertEqual(listed.returncode, 0)
        for name in ("maps", "mix", "share", "churn", "shootdown", "pressure", "pageunload"):
            self.assertRegex(listed.stdout, rf"(?m)^  {name} +\w")


class DumpOps(InFolder):
    def dump(self, *args):
        done = run(HATSTRESS, "--dump_ops", "--ops=50", "--workload=mix", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_is_a_function_of_seed_workload_and_threads_only(self):
        first = self.dump("--seed=5", "--threads=3")
        self.assertEqual(len(first.splitlines()), 150)
        other_options = ("--index=chain", "--pages=8192", "--hats=3", "--fail_rate=0.5")
        self.assertEqual(first, self.dump("--seed=5", "--threads=3", *other_options))
        self.assertNotEqual(first, self.dump("--seed=6", "--threads=3"))
        # A thread's sequence does not depend on how many others there are.
        self.assertTrue(first.startswith(self.dump("--seed=5", "--threads=2")))

    def test_shows_what_a_run_performs(self):
        run(PLANTED, "--workload=panic", "--ops=100000", "--stuck_after=20s", *SMALL)
        with open("hatstress-evidence/operations.txt", encoding="utf-8") as log:
            performed = [line.rsplit("  ", 1)[0] for line in log.read().splitlines()]
        last = max(int(re.search(r"#(\d+)", line).group(1)) for line in performed)
        drawn = run(PLANTED, "--workload=panic", f"--ops={last}", "--dump_ops", *SMALL).stdout
        self.assertLessEqual(set(performed), set(drawn.splitlines()))


class Results(InFolder):
    def test_a_clean_run_prints_options_tables_and_a_verdict(self):
        done = run(PLANTED, "--workload=calm", "--ops=300", *SMALL)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertRegex(lines[0], r"^hatstress: workload calm, seed 7, 2 threads")
        self.assertIn("--seed=7", lines[1])
        self.assertIn("--mlist_locks=2048", lines[1])  # resolved
        self.assertRegex(done.stdout, r"(?m)^  all +600 ")
        self.assertRegex(done.stdout, r"(?m)^  hs_shootdowns +[\d,]+$")
        self.assertRegex(done.stdout, r"(?m)^  mlist +10 +[\d,]+ ")
        self.assertRegex(lines[-1], r"^clean: 600 operations in .* no violation \(seed 7\)$")
        self.assertEqual(done.stderr, "")  # nothing live in a pipe

    def test_json_has_the_same_numbers(self):
        done = run(PLANTED, "--workload=calm", "--ops=300", "--json=out.json", *SMALL)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open("out.json", encoding="utf-8") as file:
            result = json.load(file)
        self.assertEqual(result["verdict"], "clean")
        self.assertEqual(result["seed"], 7)
        self.assertEqual(result["operations"], 600)
        self.assertEqual(sum(op["count"] for op in result["ops"]), 600)
        self.assertEqual(result["audits"]["count"], 1)
        self.assertIn("hs_steals", result["hatstat"])
        self.assertGreater(result["machine"]["accesses"], 0)
        mlist = [c for c in result["locks"] if c["class"] == "mlist"]
        self.assertGreater(mlist[0]["acquisitions"], 0)
        self.assertIn(f"{mlist[0]['acquisitions']:,}", done.stdout)
        command = shlex.split(result["command"])
        self.assertIn("--ops=300", command)

    def test_json_on_standard_output_leaves_the_text_to_standard_error(self):
        done = run(PLANTED, "--workload=calm", "--ops=50", "--json=-", *SMALL)
        self.assertEqual(json.loads(done.stdout)["verdict"], "clean")
        self.assertIn("clean: 100 operations", done.stderr)

    def test_the_live_line_is_for_terminals(self):
        parent, child = pty.openpty()
        args = [PLANTED, "--workload=calm", "--duration=2s", *SMALL]
        with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=child) as process:
            os.close(child)
            seen = b""
            try:
                while piece := os.read(parent, 4096):
                    seen += piece
            except OSError:
                pass  # how a terminal ends
            os.close(parent)
            text = process.stdout.read().decode()
        self.assertEqual(process.returncode, 0)
        self.assertRegex(seen.decode(), r"\r *[\d.]+( k| M)? ops/s +\d+%, \S+ s left")
        self.assertGreaterEqual(seen.count(b"\r"), 3)
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen[-80:])  # and goes away
        self.assertIn("clean:", text)


class Interrupts(InFolder):
    def interrupt(self, number):
        args = [PLANTED, "--workload=calm", "--duration=1h", "--json=out.json", *SMALL]
        with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()  # the threads start right after
            time.sleep(0.3)
            process.send_signal(number)
            text = process.stdout.read()
        self.assertIn("workload calm", first)
        self.assertEqual(process.returncode, 0)
        self.assertRegex(text.splitlines()[-1], r"^interrupted: .* no violation up to here")
        with open("out.json", encoding="utf-8") as file:
            self.assertEqual(json.load(file)["verdict"], "interrupted")

    def test_ctrl_c_ends_with_the_partial_result(self):
        self.interrupt(signal.SIGINT)

    def test_sigterm_does_the_same(self):
        self.interrupt(signal.SIGTERM)


class Violations(InFolder):
    def test_a_violation_is_one_block_with_all_that_is_needed(self):
        text = self.violated("panic", "panic")
        self.assertRegex(text, r"(?m)^violated \(panic\): planted panic on cpu [01]$")
        self.assertRegex(text, r"(?m)^  at +stress/planted_workloads.cc:\d+ \(op_panic\)$")
        self.assertRegex(text, r"(?m)^  operation +panic 0x\w+ .*not ended")
        self.assertRegex(text, r"(?m)^  evidence +/.*/hatstress-evidence$")
        self.assertEqual(text.count("violated ("), 1)

    def test_the_evidence_is_complete_and_old_evidence_is_kept(self):
        self.violated("panic", "panic")
        self.violated("panic", "panic")
        self.assertTrue(os.path.isdir("hatstress-evidence-2"))
        names = sorted(os.listdir("hatstress-evidence"))
        wanted = ["cpus.txt", "failure.txt", "operations.txt", "options.txt", "rerun.sh"]
        self.assertEqual(names, sorted(wanted + ["result.json"]))
        for name in names:
            self.assertGreater(os.path.getsize(f"hatstress-evidence/{name}"), 0, name)
        with open("hatstress-evidence/options.txt", encoding="utf-8") as file:
            self.assertIn("--seed=7\n", file.read())
        with open("hatstress-evidence/result.json", encoding="utf-8") as file:
            result = json.load(file)
        self.assertEqual(result["violation"]["kind"], "panic")

    def test_the_rerun_command_fails_the_same_way(self):
        text = self.violated("panic", "panic")
        command = re.search(r"(?m)^  rerun +(.*)$", text).group(1)
        again = run("/bin/sh", "-c", command)
        self.assertEqual(again.returncode, 1)
        self.assertIn("violated (panic)", again.stderr)
        with open("hatstress-evidence/rerun.sh", encoding="utf-8") as file:
            self.assertIn(command, file.read())

    def test_json_says_violated(self):
        self.violated("panic", "panic", "--json=out.json", "--evidence=")
        with open("out.json", encoding="utf-8") as file:
            result = json.load(file)
        self.assertEqual(result["verdict"], "violated")
        self.assertIn("planted panic", result["violation"]["message"])
        self.assertGreater(result["operations"], 0)
        self.assertEqual(glob.glob("hatstress-evidence*"), [])

    def test_live_maps_are_saved_and_rerun(self):
        text = self.violated("maps", "panic")
        command = shlex.split(re.search(r"(?m)^  rerun +(.*)$", text).group(1))
        folder = os.path.realpath("hatstress-evidence/maps")
        self.assertIn(f"--maps={folder}", command)
        self.assertGreater(len(os.listdir(folder)), 0)
        self.assertEqual(run(*command).returncode, 1)

    def test_evidence_that_cannot_be_written_hides_nothing(self):
        text = self.violated("panic", "panic", "--evidence=/no/such/place")
        self.assertIn("no evidence: cannot make the folder /no/such/place", text)

    def test_a_broken_audit_comes_with_a_dump(self):
        text = self.violated("lie", "panic", "--audit_interval=200ms")
        self.assertRegex(text, r"violated \(panic\): audit (during|at) the .*: .*oracle O3")
        self.assertIn("hats.txt", os.listdir("hatstress-evidence"))

    def test_a_lock_that_an_operation_keeps_is_reported(self):
        self.assertIn("locks are held after keep_lock", self.violated("keep_lock", "panic"))

    @unittest.skipIf(TSAN, "ThreadSanitizer reports the lock inversion first")
    def test_orders_that_could_deadlock_are_reported_with_both_chains(self):
        text = self.violated("cross", "lock order")
        second = r"planted\.second\[0\] is entered with planted\.first\[0\] held"
        first = r"planted\.first\[0\] is entered with planted\.second\[0\] held"
        self.assertRegex(text, rf"(?m)^violated \(lock order\): {first}.*; elsewhere {second}")
        self.assertRegex(text, r"(?m)^  cpu [01] takes planted\.first\[0\] \(place 57\) at ")
        self.assertRegex(text, r"(?m)^    holds planted\.first\[0\] \(place 57\) since ")
        with open("hatstress-evidence/result.json", encoding="utf-8") as file:
            edges = json.load(file)["lock_edges"]
        pairs = {(e["outer"]["class"], e["inner"]["class"]) for e in edges}
        self.assertLessEqual({("planted.first", "planted.second"),
                              ("planted.second", "planted.first")}, pairs)

    @unittest.skipIf(TSAN, "ThreadSanitizer reports the lock inversion first")
    def test_a_deadlock_is_named_with_who_waits_for_whom(self):
        text = self.violated("cross", "deadlock", "--noreport_inversions")
        self.assertRegex(text, r"cpu \d waits for planted\.(first|second)\[0\] held by cpu \d")

    def test_sleeping_for_ever_is_a_lost_wakeup(self):
        # One thread: of two, the later one may be seen to have gone on when the first is stuck.
        text = self.violated("oversleep", "lost wake-up", "--threads=1", "--stuck_after=2s")
        self.assertIn("sleeps on 'never signalled'", text)

    def test_threads_that_do_not_come_back_are_stuck(self):
        text = self.violated("loop", "no progress", "--stuck_after=1s")
        # On a busy host one thread may be seen to hang before the other has begun to.
        self.assertRegex(text, r"no operation has ended for 1s|in one operation for 1s")

    def test_one_thread_that_does_not_come_back_is_stuck(self):
        # Whether the other one is seen to go on is up to the host.
        text = self.violated("loop_alone", "no progress", "--stuck_after=1s")
        self.assertRegex(text, r"stuck: .*cpu 1, loop_alone")

    def test_a_crash_is_a_violation_with_evidence(self):
        for workload, names in (("crash", "SIGSEGV"), ("abort", "SIGABRT")):
            with self.subTest(workload):
                text = self.violated(workload, "crash", f"--evidence={workload}")
                self.assertRegex(text, r"a sanitizer's report" if ASAN else names)
                self.assertRegex(text, rf"(?m)^  operation +{workload} 0x\w+ .*not ended")
                self.assertRegex(text, rf"(?m)^  rerun +\S+ --workload={workload} .*--seed=7")
                self.assertNotIn("LeakSanitizer", text)
                self.assertIn("backtrace.txt", os.listdir(workload))
                self.assertIn("operations.txt", os.listdir(workload))

    @unittest.skipIf(TSAN, "ThreadSanitizer reports it first")
    def test_a_data_race_on_a_field_is_found_without_a_sanitizer(self):
        text = self.violated("field_race", "data race", "--pause_rate=100")
        place = r"stress/planted_workloads.cc:\d+ \(op_field_race\)"
        self.assertRegex(text, rf"a field that cpu [01] \w+ at the same time at {place}")
        self.assertRegex(text, rf"(?m)^  at +{place}$")

    @unittest.skipUnless(TSAN, "needs ThreadSanitizer")
    def test_a_data_race_says_how_to_rerun(self):
        done = run(PLANTED, "--workload=race", *SMALL)
        self.assertEqual(done.returncode, 1)
        self.assertIn("data race", done.stderr)
        self.assertRegex(done.stderr, r"rerun with\n  \S+ --workload=race .*--seed=7")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
