#!/usr/bin/env python3
"""readme_check.py --build DIR: README.md's programs build, its commands run, and their output is what it quotes.

1. The ```cpp block is the program prog.cc.
2. In each ```console block, `$ …` is a shell command, `(gdb) …` goes to the gdb that the last `$ gdb …` started and
   `(lldb) …` to the LLDB of the last `$ lldb…`; other lines are expected output. A line `…` stands for any lines, `…`
   within a line for any text. `./dev …` and `git clone …` are not run (CI runs ./dev).
3. Both sides are compared after normalizing what differs from run to run: addresses, ages, paths of the source tree,
   widths of columns. GOMAXPROCS is 1, so that goroutine numbers are the same each time.
4. Every command that README.md names in `backquotes` with the words of ours is one that `vitrine-inspect help` knows.

--print shows each block as it would be now: to renew README.md.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "demos"))
import tour  # noqa: E402

ANY = "…"


def normal(line):
    line = line.replace(ROOT + "/", "").replace("\t", " ")
    line = re.sub(r"(?:\.\./)+(?=demos/|runtime/)", "", line)  # as ccache's base_dir leaves them
    line = re.sub(r"0x[0-9a-f]+", "ADDR", line)
    line = re.sub(r"\b\d+(\.\d+)?(ns|us|µs|ms|s|m|h)\+?(?=\s|$)", "AGE", line)
    line = re.sub(r"\b\d+(\.\d+)?[KM]?/\d+K\b", "STACK", line)
    line = re.sub(r"\brunning +- +\d+ +\d+ ", "running - M P ", line)  # where the scheduler has put it
    return re.sub(r" +", " ", line).strip()


def fits(expected, actual):
    """Whether the actual lines are the expected ones, where a line … takes any number of lines."""
    if not expected:
        return not actual
    if expected[0] == ANY:
        return any(fits(expected[1:], actual[i:]) for i in range(len(actual) + 1))
    if not actual:
        return False
    pattern = ".*".join(re.escape(part.strip()) for part in expected[0].split(ANY))
    return re.fullmatch(pattern.replace(r"\ ", " ?"), actual[0]) is not None and fits(expected[1:], actual[1:])


class Runner:
    def __init__(self, build, directory):
        self.build, self.directory = build, directory
        self.gdb = None
        self.lldb = None  # the command line of the last `$ lldb`
        self.environment = dict(os.environ, GOMAXPROCS="1", VITRINE_HOME=build, HOME=directory, DEBUGINFOD_URLS="")

    def local(self, command):
        command = re.sub(r"(?<![\w/])build/", self.build + "/", command)
        command = re.sub(r"-Lbuild/lib", f"-L{self.build}/lib", command)
        command = re.sub(r"(?<![\w/.])(?:\./)?prog(\.cc)?\b", lambda m: os.path.join(self.directory, "prog" + (m[1] or "")), command)
        return re.sub(r"(?<![\w/.])(pipeline\.core)\b", os.path.join(self.directory, "pipeline.core"), command)

    def foreign(self, text):
        return text.replace(self.directory + "/", "").replace(self.build + "/", "build/")

    def run(self, prompt, command):
        """The lines that the command prints, or None when it is not to be run."""
        if prompt == "$":
            self.close()
            if command.startswith(("./dev", "git clone")):
                return None
            words = self.local(command).split()
            if words[0] == "gdb":
                self.gdb = tour.Gdb(words[-1], environment=self.environment)
                return []
            if words[0].startswith("lldb"):
                self.lldb = [*words, "-x", "-b", "-O", "settings set use-color false"]
                self.lldb_commands = []
                return None
            done = subprocess.run(["bash", "-c", self.local(command)], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
            return self.foreign(done.stdout).splitlines()
        if prompt == "(gdb)":
            return self.foreign(self.gdb.ask(self.local(command))).splitlines()
        self.lldb_commands.append(command)
        argv = list(self.lldb)
        for one in self.lldb_commands:
            argv += ["-o", one]
        done = subprocess.run(argv, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
        output = self.foreign(done.stdout)
        return output.rpartition(f"(lldb) {command}\n")[2].splitlines()

    def close(self):
        if self.gdb:
            self.gdb.close()
            self.gdb = None


def console_blocks(text):
    """For each block: (line number, [(prompt, command, expected lines)])."""
    for match in re.finditer(r"^```console\n(.*?)^```$", text, re.M | re.S):
        number = text.count("\n", 0, match.start()) + 2
        steps = []
        for line in match[1].splitlines():
            prompt = re.match(r"(\$|\(gdb\)|\(lldb\)) (.+)", line)
            if prompt:
                steps.append((prompt[1], prompt[2].split("  #")[0].strip(), []))
            else:
                steps[-1][2].append(line)
        yield number, steps


def known_words(build):
    done = subprocess.run([os.path.join(build, "bin", "vitrine-inspect"), "help"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    passed, problems = 0, []
    with tempfile.TemporaryDirectory(prefix="vitrine-readme-") as directory:
        program = re.search(r"^```cpp\n(.*?)^```$", text, re.M | re.S)
        with open(os.path.join(directory, "prog.cc"), "w", encoding="utf-8") as file:
            file.write(program[1] if program else "")
        runner = Runner(os.path.abspath(options.build), directory)
        try:
            for number, steps in console_blocks(text):
                for prompt, command, expected in steps:
                    lines = runner.run(prompt, command)
                    if lines is None:
                        continue
                    if options.print:
                        print(f"{prompt} {command}", *lines, sep="\n")
                    wanted = [normal(line) for line in expected if line.strip()]
                    if fits(wanted, [normal(line) for line in lines if line.strip()]):
                        passed += 1
                    else:
                        problems.append(f"README.md, block at line {number}: {prompt} {command}\n  quoted:\n    " +
                                        "\n    ".join(expected) + "\n  printed:\n    " + "\n    ".join(lines))
        except (tour.TourError, OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"README.md: {error}")
        finally:
            runner.close()
    table = known_words(os.path.abspath(options.build))
    for words in sorted(set(re.findall(r"`((?:info goroutines|goroutine [a-z]+|vitrine [a-z]+)\b)", text))):
        if words in table:
            passed += 1
        else:
            problems.append(f"README.md names `{words}`, which vitrine-inspect help does not know")
    for problem in problems:
        print(problem)
    print(f"{passed} passed, {len(problems)} failed, 0 skipped")
    sys.exit(1 if problems or not passed else 0)


if __name__ == "__main__":
    main()
