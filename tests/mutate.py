#!/usr/bin/env python3
"""mutate.py [--keep] [NUMBER...]: breaks the code in one place at a time and checks that a test notices.

The breakages are in mutations.md; this script copies the tracked files into a temporary directory, builds there (ccache
makes that quick), and then

1. runs every test that a breakage names, on the code as it is: all must pass, and each name must match a test;
2. for each breakage: replaces the lines, builds the target, runs the named test. The test must fail (or, where the entry
   says `test: build`, the build must). Then the file is put back.

A breakage whose lines are not found exactly once, or that does not build, is an error in mutations.md, not a success.
The last line counts: `N passed, N failed, N skipped`.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIST = os.path.join(ROOT, "tests", "mutations.md")
ENTRY = re.compile(
    r"^## (?P<number>\d+)\. (?P<title>.+)\n+(?P<fields>(?:- \w+: .+\n)+)\n*```diff\n(?P<diff>(?:[ +-].*\n)+)```$", re.M
)
LIMIT = 300  # seconds a test may take: a breakage may make it hang


class Mutation:
    def __init__(self, match):
        self.number = int(match["number"])
        self.title = match["title"]
        fields = dict(re.findall(r"- (\w+): `?([^`\n]+)`?", match["fields"]))
        unknown = set(fields) - {"file", "target", "test", "preset"}
        if unknown or "file" not in fields or "test" not in fields:
            raise ValueError(f"{self.number}: needs file and test, may have target and preset; has {sorted(fields)}")
        self.file, self.test = fields["file"], fields["test"]
        self.target = fields.get("target", "all")
        self.preset = fields.get("preset", "default")
        lines = match["diff"].splitlines(keepends=True)
        self.old = "".join(line[1:] for line in lines if line[:1] in " -")
        self.new = "".join(line[1:] for line in lines if line[:1] in " +")

    def apply(self, text):
        if text.count(self.old) != 1:
            raise ValueError(f"{self.number}: the lines occur {text.count(self.old)} times in {self.file}, not once")
        if self.old == self.new:
            raise ValueError(f"{self.number}: changes nothing")
        return text.replace(self.old, self.new)


def read_list():
    with open(LIST, encoding="utf-8") as file:
        text = file.read()
    mutations = [Mutation(match) for match in ENTRY.finditer(text)]
    headings = len(re.findall(r"^## \d+\.", text, re.M))
    if headings != len(mutations):
        raise ValueError(f"{headings} headings, but {len(mutations)} entries could be read")
    if [m.number for m in mutations] != list(range(1, len(mutations) + 1)):
        raise ValueError("entries must be numbered 1, 2, 3, …")
    return mutations


def check_list():
    """Every entry still fits the code, without building: what `mutate.py --check` and the test suite do."""
    problems = []
    try:
        mutations = read_list()
    except ValueError as error:
        return [str(error)], 0
    for mutation in mutations:
        try:
            with open(os.path.join(ROOT, mutation.file), encoding="utf-8") as file:
                mutation.apply(file.read())
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if len(mutations) < 20:
        problems.append(f"only {len(mutations)} entries")
    return problems, len(mutations)


class Copy:
    """The tracked files of the work tree in another directory, and its build."""

    def __init__(self, directory):
        self.root = directory
        self.configured = set()
        self.environment = dict(os.environ, CCACHE_BASEDIR=directory, CCACHE_NOHASHDIR="true")
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if os.path.isfile(os.path.join(ROOT, name)):
                os.makedirs(os.path.dirname(os.path.join(directory, name)), exist_ok=True)
                shutil.copy2(os.path.join(ROOT, name), os.path.join(directory, name))
        # The lints and other tests of the project look at tracked files.
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=directory, check=True, capture_output=True)

    def build_directory(self, preset):
        if preset not in self.configured:
            self.run(["cmake", "--preset", preset, "-Wno-dev"], check=True)
            self.configured.add(preset)
        return os.path.join(self.root, "build" if preset == "default" else "build-" + preset)

    def run(self, command, check=False, timeout=None):
        done = subprocess.run(command, cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=timeout)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-3000:]}")
        return done

    def build(self, preset, target, check=False):
        return self.run(["cmake", "--build", self.build_directory(preset), "--target", *target.split(), "--", "--quiet"], check)

    def test(self, preset, pattern):
        """None if a test failed or hung, else the output; raises if no test has such a name."""
        done = self.run(["ctest", "--test-dir", self.build_directory(preset), "-R", pattern, "--timeout", str(LIMIT),
                         "--output-on-failure"])
        if "No tests were found" in done.stdout:
            raise RuntimeError(f"no test is called {pattern}")
        return done.returncode == 0, done.stdout

    def replace(self, name, text):
        path = os.path.join(self.root, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        later = time.time() + 1  # ninja compares times; the copy and the change may fall into one tick
        os.utime(path, (later, later))


def verdict(copy, mutation):
    """None when the breakage was caught, else what went wrong."""
    path = os.path.join(copy.root, mutation.file)
    with open(path, encoding="utf-8") as file:
        original = file.read()
    try:
        copy.replace(mutation.file, mutation.apply(original))
        built = copy.build(mutation.preset, mutation.target)
        if mutation.test == "build":
            return None if built.returncode else "it builds"
        if built.returncode:
            return "it does not build:\n" + built.stdout[-2000:]
        passed, _ = copy.test(mutation.preset, mutation.test)
        return f"{mutation.test} still passes" if passed else None
    finally:
        copy.replace(mutation.file, original)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the copy, and say where it is")
    parser.add_argument("--check", action="store_true", help="only check that mutations.md fits the code")
    parser.add_argument("numbers", type=int, nargs="*")
    options = parser.parse_args()
    problems, count = check_list()
    for problem in problems:
        print(f"mutations.md: {problem}")
    if problems or options.check:
        print(f"{count - len(problems)} passed, {len(problems)} failed, 0 skipped")
        sys.exit(1 if problems else 0)
    mutations = [m for m in read_list() if not options.numbers or m.number in options.numbers]

    directory = tempfile.mkdtemp(prefix="vitrine-mutate-")
    passed = failed = 0
    try:
        print(f"building a copy in {directory}", flush=True)
        copy = Copy(directory)
        if any(m.preset == "default" for m in mutations):
            copy.build("default", "all", check=True)
        for preset, target in sorted({(m.preset, m.target) for m in mutations if m.preset != "default"}):
            copy.build(preset, target, check=True)
        for preset, pattern in sorted({(m.preset, m.test) for m in mutations if m.test != "build"}):
            good, output = copy.test(preset, pattern)
            if not good:
                raise RuntimeError(f"{pattern} fails without any breakage:\n{output[-3000:]}")
        for mutation in mutations:
            start = time.monotonic()
            problem = verdict(copy, mutation)
            passed, failed = passed + (problem is None), failed + (problem is not None)
            print(f"{'caught' if problem is None else 'MISSED'} {mutation.number:3} {mutation.title} "
                  f"({time.monotonic() - start:.0f} s){'' if problem is None else ': ' + problem}", flush=True)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        failed += 1
        print(f"mutate: {error}")
    finally:
        if options.keep:
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
