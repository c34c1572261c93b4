#!/usr/bin/env python3
"""A user's program builds in each way that the README names, and runs.

1. By one line of g++ against the build tree.      2. As a CMake subdirectory.
3. With find_package(vitrine) after an install into a temporary prefix, by a relocated prefix too.
The program checks that its goroutine ran; each build treats warnings as errors.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = None
PROGRAM = """
#include <vitrine/vitrine.h>
#include <cstdio>
int main() {
  return vitrine::run([] {
    vitrine::chan<int> answer;
    vitrine::go({.name = "worker"}, [&] { answer.send(42); });
    std::printf("%d\\n", answer.recv().value_or(0));
  });
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.22)
project(user CXX)
{find}
add_executable(prog prog.cc)
target_compile_options(prog PRIVATE -Wall -Wextra -Werror)
target_link_libraries(prog PRIVATE vitrine::vitrine)
"""


def run(*argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


class UserProgram(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="vitrine-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        with open(os.path.join(self.directory, "prog.cc"), "w", encoding="utf-8") as file:
            file.write(PROGRAM)

    def cmake(self, find, *options):
        with open(os.path.join(self.directory, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(CMAKE.format(find=find))
        out = os.path.join(self.directory, "out")
        run("cmake", "-G", "Ninja", "-S", self.directory, "-B", out, "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache", *options)
        run("cmake", "--build", out, "--target", "prog")
        return os.path.join(out, "prog")

    def test_one_line(self):
        prog = os.path.join(self.directory, "prog")
        run("g++", "-std=c++20", "-g", os.path.join(self.directory, "prog.cc"), "-Iruntime/include",
            f"-L{os.path.join(BUILD, 'lib')}", "-lvitrine", "-pthread", "-o", prog, cwd=ROOT)
        self.assertEqual(run(prog), "42\n")

    def test_add_subdirectory(self):
        self.assertEqual(run(self.cmake(f"add_subdirectory({ROOT} vitrine)")), "42\n")

    def test_find_package_after_install(self):
        prefix = os.path.join(self.directory, "prefix")
        run("cmake", "--install", BUILD, "--prefix", prefix)
        moved = os.path.join(self.directory, "moved")
        os.rename(prefix, moved)
        prog = self.cmake("find_package(vitrine 0.1 REQUIRED)", f"-DCMAKE_PREFIX_PATH={moved}")
        self.assertEqual(run(prog), "42\n")
        listing = run(os.path.join(moved, "bin", "vitrine-inspect"), "--help")
        self.assertIn("info goroutines", listing)
        for script in ("gdb/vitrine_gdb.py", "lldb/vitrine_lldb.py", "python/vitrine_inspect.py"):
            self.assertTrue(os.path.exists(os.path.join(moved, "share", "vitrine", script)), script)

    def test_installed_gdb_script_finds_its_library(self):
        prefix = os.path.join(self.directory, "prefix")
        run("cmake", "--install", BUILD, "--prefix", prefix)
        prog = os.path.join(self.directory, "prog")
        run("g++", "-std=c++20", "-g", os.path.join(self.directory, "prog.cc"), f"-I{prefix}/include",
            f"-L{prefix}/lib", "-lvitrine", "-pthread", "-o", prog)
        script = os.path.join(prefix, "share", "vitrine", "gdb", "vitrine_gdb.py")
        environment = {name: value for name, value in os.environ.items() if name != "VITRINE_HOME"}
        output = run("gdb", "-nx", "-q", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off", "-x", script,
                     "-ex", "break vitrine::rt::newproc", "-ex", "run", "-ex", "info goroutines", prog, env=environment)
        self.assertIn("GOID", output)


def main():
    global BUILD
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options, rest = parser.parse_known_args()
    BUILD = os.path.abspath(options.build)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
