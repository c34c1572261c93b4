#!/usr/bin/env python3
"""The unwinder finds exactly the stacks that bench/manystacks built, at -O2 -fomit-frame-pointer.

1. A core of 20,000 goroutines on more than 10,000 different stacks, 1 to 40 calls deep.
2. `goroutine stacks -json`: as many groups as different stacks, as many goroutines as started, and as many of each depth.
3. The test of the test: who follows frame pointers through the same core counts other depths.
"""
import argparse
import bisect
import collections
import json
import mmap
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
import cores  # noqa: E402

GOROUTINES = 20_000
BUILD = None


class Core:
    """The memory image of an ELF core."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        offset, count = struct.unpack_from("<Q", self.image, 32)[0], struct.unpack_from("<H", self.image, 56)[0]
        self.loads = []
        for i in range(count):
            kind, _, where, address, _, size = struct.unpack_from("<IIQQQQ", self.image, offset + 56 * i)
            if kind == 1 and size:
                self.loads.append((address, address + size, where))
        self.loads.sort()

    def read(self, address, size):
        index = bisect.bisect(self.loads, (address, 1 << 64, 0)) - 1
        if index < 0 or address + size > self.loads[index][1]:
            return None
        low, _, where = self.loads[index]
        return self.image[where + address - low:where + address - low + size]


class ManyStacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="vitrine-test-")
        cls.core, cls.built, _ = cores.make_core(BUILD, GOROUTINES, cls.directory.name)
        cls.program = os.path.join(BUILD, "bin", "manystacks")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def inspect(self, *words):
        argv = [os.path.join(BUILD, "bin", "vitrine-inspect"), "--core", self.core, self.program, *words, "-json"]
        return json.loads(subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout)

    def test_the_program_built_enough(self):
        self.assertGreaterEqual(self.built["stacks"], 10_000)
        self.assertEqual(self.built["goroutines"], GOROUTINES)
        self.assertTrue(all(self.built["depths"][1:]))

    def test_every_stack_is_found_once_and_whole(self):
        stacks, goroutines = set(), 0
        depths = [0] * len(self.built["depths"])
        for group in self.inspect("goroutine", "stacks"):
            steps = [frame for frame in group["frames"] if cores.STEP.search(frame["function"] or "")]
            if not steps:
                continue  # the main goroutine
            stacks.add(tuple(frame["pc"] for frame in group["frames"]))
            goroutines += group["count"]
            depths[len(steps)] += group["count"]
        self.assertEqual(goroutines, GOROUTINES)
        self.assertEqual(len(stacks), self.built["stacks"])
        self.assertEqual(depths, self.built["depths"])

    def test_frame_pointers_would_give_other_depths(self):
        print_offset = ["gdb", "-nx", "-q", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off",
                        "-ex", "set language c++", "-ex", "print (long)&((vitrine::rt::g*)0)->sched.bp",
                        "-ex", "info address main", self.program, self.core]
        output = subprocess.run(print_offset, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
        lines = output.splitlines()
        offset = int(next(line for line in lines if line.startswith("$1")).split("=")[1])
        main_here = int(lines[-1].rstrip(".").split(" at address ")[1].split()[0].rstrip("."), 16)
        ranges, main_there = [], None
        symbols = subprocess.run(["nm", "-S", "-C", self.program], capture_output=True, text=True, check=True).stdout
        for line in symbols.splitlines():
            parts = line.split(maxsplit=3)
            if len(parts) == 4 and parts[3] == "main":
                main_there = int(parts[0], 16)
            if len(parts) == 4 and re.match(rf"\(anonymous namespace\)::{cores.STEP.pattern}\(", parts[3]):
                ranges.append((int(parts[0], 16), int(parts[0], 16) + int(parts[1], 16)))
        self.assertGreaterEqual(len(ranges), len(cores.FUNCTIONS))
        bias = main_here - main_there
        core = Core(self.core)
        depths = collections.Counter()
        for row in self.inspect("info", "goroutines"):
            saved = core.read(int(row["addr"], 16) + offset, 8)
            frame = struct.unpack("<Q", saved)[0] if saved else 0
            depth = seen = 0
            while frame and seen < 200:
                pair = core.read(frame, 16)
                if not pair:
                    break
                frame, pc = struct.unpack("<QQ", pair)
                depth += any(low <= pc - bias < high for low, high in ranges)
                seen += 1
            depths[depth] += 1
        self.assertNotEqual([depths[d] for d in range(1, len(self.built["depths"]))], self.built["depths"][1:])


def main():
    global BUILD
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options, rest = parser.parse_known_args()
    BUILD = os.path.abspath(options.build)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
