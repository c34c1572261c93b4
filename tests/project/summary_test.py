#!/usr/bin/env python3
"""The counting of `./dev test` must not turn a missing, broken or empty suite into a success."""
import os
import subprocess
import sys
import tempfile
import unittest

SUMMARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "summary.py")


def case(name, status="run", inner="", output=""):
    return f'<testcase name="{name}" status="{status}">{inner}<system-out>{output}</system-out></testcase>'


class SummaryTest(unittest.TestCase):
    def summarize(self, **suites):
        with tempfile.TemporaryDirectory() as directory:
            for name, text in suites.items():
                extension = "xml" if text.startswith("<") else "broken"
                with open(os.path.join(directory, f"{name}.{extension}"), "w", encoding="utf-8") as file:
                    file.write(text)
            done = subprocess.run([sys.executable, SUMMARY, directory], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    def suite(self, *cases):
        return "<testsuite>" + "".join(cases) + "</testsuite>"

    def test_passes_are_counted_over_suites(self):
        code, lines = self.summarize(default=self.suite(case("a"), case("b")), asan=self.suite(case("a")))
        self.assertEqual((code, lines), (0, ["3 passed, 0 failed, 0 skipped"]))

    def test_no_suite_at_all_fails(self):
        self.assertEqual(self.summarize(), (1, ["0 passed, 0 failed, 0 skipped"]))

    def test_a_suite_without_tests_fails(self):
        code, lines = self.summarize(default=self.suite(case("a")), tsan=self.suite())
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("FAILED: tsan: no test ran", lines)

    def test_a_broken_build_fails(self):
        code, lines = self.summarize(default="the default build failed")
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))

    def test_a_failure_fails(self):
        code, lines = self.summarize(default=self.suite(case("a"), case("b", "fail", "<failure/>")))
        self.assertEqual((code, lines), (1, ["FAILED: default: b", "1 passed, 1 failed, 0 skipped"]))

    def test_a_script_counts_for_its_cases(self):
        script = case("s", output="case x ok\nskipped: no kernel core here\n5 passed, 0 failed, 1 skipped\n")
        code, lines = self.summarize(default=self.suite(script))
        self.assertEqual((code, lines), (0, ["skipped: default: s: no kernel core here", "5 passed, 0 failed, 1 skipped"]))

    def test_a_script_that_dies_after_its_count_fails(self):
        script = case("s", "fail", "<failure/>", "5 passed, 0 failed, 0 skipped\n")
        code, lines = self.summarize(default=self.suite(script))
        self.assertEqual((code, lines[-1]), (1, "5 passed, 1 failed, 0 skipped"))

    def test_a_skip_shows_the_reason_that_gtest_was_given(self):
        text = "x.cc:7: Skipped\nno MADV_GUARD_INSTALL in this kernel\n[  SKIPPED ] A.b (0 ms)"
        skip = case("A.b", "notrun", '<skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>', text)
        code, lines = self.summarize(default=self.suite(case("a"), skip))
        self.assertEqual(code, 0)
        self.assertEqual(lines[0], "skipped: default: A.b: no MADV_GUARD_INSTALL in this kernel")

    def test_a_missing_program_is_a_failure_not_a_skip(self):
        skip = case("A.b", "notrun", '<skipped message="Unable to find executable"/>')
        code, lines = self.summarize(default=self.suite(case("a"), skip))
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
