#!/usr/bin/env python3
"""`./dev demo` shows what it promises: both debuggers, the same words, a parked goroutine walked into."""
import argparse
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = None


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "demos", "tour.py"), "--build", BUILD], cwd=ROOT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        cls.output, cls.status = done.stdout, done.returncode
        cls.gdb, _, cls.lldb = cls.output.partition("=== The core of that process, in LLDB")

    def rows(self, text):
        """The table after the first `info goroutines`, without what may differ between live and core (AGE)."""
        table = text.split("info goroutines -limit 12\n", 1)[1]
        lines = table[: table.index("shown")].splitlines()
        return [re.sub(r"[<>≥~]?\d+(\.\d+)?(ns|us|µs|ms|s|m|h)\b", "AGE", line).split() for line in lines if line.strip()]

    def test_it_ends_well(self):
        self.assertEqual(self.status, 0, self.output)
        self.assertNotRegex(self.output, r"Traceback|error:|Undefined command|not a valid command")

    def test_both_debuggers_run_the_same_words(self):
        for words in ("info goroutines -limit 12", "goroutine stacks -limit 2", "bt", "up"):
            self.assertIn(f"(gdb) {words}\n", self.gdb)
            self.assertIn(f"(lldb) {words}\n", self.lldb)

    def test_more_than_a_thousand_goroutines_wait_in_every_way(self):
        shown = re.search(r"12 of (\d+) shown", self.gdb)
        self.assertGreater(int(shown[1]), 1000)

    def test_lists_are_equal_in_gdb_and_lldb(self):
        live, core = self.rows(self.gdb), self.rows(self.lldb)
        self.assertGreater(len(live), 10)
        self.assertEqual([row[1:2] for row in live[2:]], [row[1:2] for row in core[2:]])

    def test_the_walk_reaches_the_recursion_and_its_locals(self):
        for text in (self.gdb, self.lldb):
            self.assertGreaterEqual(len(re.findall(r"^.*[#]\d+.*parse_list", text, re.M)), 4)
            self.assertRegex(text, r"\bsum = \d+")


class Start(unittest.TestCase):
    """`./dev demo start`: the boot in both debuggers; the script itself checks each answer."""

    def test_each_step_of_the_boot_is_reached_in_both(self):
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "demos", "start.py"), "--build", BUILD], cwd=ROOT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertNotRegex(done.stdout, r"Traceback|error:|Undefined command|not a valid command")
        gdb, _, lldb = done.stdout.partition("=== The same in LLDB")
        for text in (gdb, lldb):
            places = re.findall(r"(?:breakpoint \d+(?:\.\d+)?, |`)(?:0x\w+ in )?(?:vitrine::rt::)?(\w+) ?\(.*(?:at|in) ", text)
            rest = iter(places)
            for step in ("main", "rt0_go", "args", "osinit", "schedinit", "newproc", "mstart", "main", "run_pipeline"):
                self.assertIn(step, rest, places)  # each behind the one before
            self.assertRegex(text, r"\(lldb\) gotrace gogo -step|\(gdb\) gotrace gogo -step")


def main():
    global BUILD
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options, rest = parser.parse_known_args()
    BUILD = os.path.abspath(options.build)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
