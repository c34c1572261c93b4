#!/usr/bin/env python3
"""tour.py --build DIR: the main job, done on demos/pipeline, with every command shown as a reader would type it.

1. gdb runs the pipeline and stops it half way: list, grouped stacks, one goroutine, its frames and locals.
2. `vitrine core` writes a core of that very process from within gdb.
3. LLDB opens the core: the same words, the same answers.

gdb is driven through its own prompt, because a command may depend on what an earlier one printed (the number of the
goroutine that is looked at). A debugger's complaint, or an answer that is not there, ends the tour with status 1.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WATCHED = "parse-0007"  # 8 lists deep; half of its text is there, so it waits inside the recursion


class TourError(Exception):
    pass


def title(text):
    print(f"\n=== {text}\n", flush=True)


def trimmed(text):
    """The program's and the debugger's own chatter that says nothing about goroutines."""
    noise = re.compile(r"^(\[New Thread|\[Thread debugging|\[Switching to|Using host libthread|Reading symbols|warning: Error disabling)")
    return "\n".join(line for line in text.splitlines() if not noise.match(line))


class Gdb:
    """gdb behind a pipe. ask() types one command and returns what came until the next prompt; send() shows both."""

    PROMPT = "(gdb) "

    def __init__(self, program, environment=None):
        script = os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py")
        self.intro = f"gdb -q -x {os.path.relpath(script)} {os.path.relpath(program)}"
        options = ["-ex", "set confirm off", "-ex", "set pagination off", "-ex", "set width 0", "-ex", "set style enabled off"]
        options += ["-iex", "set auto-load python-scripts off", "-iex", "set debuginfod enabled off"]
        self.process = subprocess.Popen(
            ["gdb", "-q", "-nx", *options, "-x", script, program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment,
        )
        started = trimmed(self.read_to_prompt())
        if started:
            raise TourError("gdb said at its start: " + started)

    def read_to_prompt(self):
        self.process.stdin.write("echo \\n<<ready>>\\n\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line.endswith("<<ready>>"):
                text = "\n".join(lines)
                return re.sub(r"^(\(gdb\) )+", "", text, flags=re.M).strip("\n")
            lines.append(line)
        raise TourError("gdb ended: " + "\n".join(lines))

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return trimmed(self.read_to_prompt())

    def send(self, command, show=None):
        answer = self.ask(command)
        print(f"{self.PROMPT}{show or command}")
        if answer:
            print(answer)
        print(flush=True)
        return answer

    def close(self):
        try:
            self.process.stdin.write("kill\nquit\n")
            self.process.stdin.close()
            self.process.wait(timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()


def expect(text, pattern, what):
    match = re.search(pattern, text, re.M)
    if not match:
        raise TourError(f"{what}: expected to see /{pattern}/")
    return match


def look(ask, core):
    """The commands that are the same in both debuggers. ask(command) runs one and returns its answer."""
    answer = ask("info goroutines -limit 12")
    expect(answer, r"12 of \d{4,} shown", "info goroutines")
    ask("goroutine stacks -limit 2")
    answer = ask(f"info goroutines -where name={WATCHED}")
    goid = expect(answer, rf"^[* ]+(\d+) .*{WATCHED}", "info goroutines -where")[1]
    ask(f"goroutine {goid}")
    answer = ask("bt")
    expect(answer, r"parse_list.*depth=8\b|parse_list", "bt of a selected goroutine")
    return goid, answer


def frame_number(backtrace, function):
    """The number of the innermost frame of a function in a backtrace of gdb or LLDB."""
    return int(expect(backtrace, rf"^[ *]*(?:#|frame #)(\d+)\D.*{function}", f"a frame of {function}")[1])


def in_gdb(program, core):
    title("A program with a thousand goroutines, stopped in gdb")
    gdb = Gdb(program)
    print(f"$ {gdb.intro}")
    try:
        gdb.send("break half_way")
        expect(gdb.send("run"), r"Breakpoint 1", "run")
        goid, backtrace = look(gdb.send, core)
        gdb.send(f"frame {frame_number(backtrace, 'parse_list')}")
        gdb.send("up")
        expect(gdb.send("info locals"), r"^sum = ", "info locals")
        gdb.send("goroutine off")
        answer = gdb.send(f"vitrine core {core}", show=f"vitrine core {os.path.basename(core)}")
        if not os.path.exists(core):
            raise TourError(f"vitrine core wrote no file: {answer}")
    finally:
        gdb.close()
    return goid


def in_lldb(program, core, goid):
    title("The core of that process, in LLDB")
    lldb = shutil.which("lldb-19") or shutil.which("lldb")
    if not lldb:
        raise TourError("LLDB is not installed")
    script = os.path.join(ROOT, "debugger", "lldb", "vitrine_lldb.py")
    commands = [
        "info goroutines -limit 12",
        "goroutine stacks -limit 2",
        f"goroutine {goid}",
        "bt",
        "frame select --relative 1",
        "up",
        "frame variable depth sum c",
    ]
    print(f"$ {os.path.basename(lldb)} -c {os.path.basename(core)} {os.path.relpath(program)}")
    print(f"(lldb) command script import {os.path.relpath(script)}\n")
    arguments = [lldb, "-x", "-b", "-O", "settings set use-color false", "-o", f"command script import {script}"]
    arguments += ["-c", core, program]
    first = run_lldb(arguments, commands[:4])
    backtrace = first.split("(lldb) bt", 1)[-1]
    commands[4] = f"frame select {frame_number(backtrace, 'parse_list')}"
    answer = run_lldb(arguments, commands)
    start = answer.find("(lldb) info goroutines")
    if start < 0:
        raise TourError("LLDB did not run the commands: " + answer)
    print(answer[start:].rstrip())
    expect(answer, r"12 of \d{4,} shown", "info goroutines in LLDB")
    expect(answer.split("(lldb) frame variable", 1)[-1], r"sum = \d", "frame variable")


def run_lldb(arguments, commands):
    for command in commands:
        arguments = [*arguments[:-3], "-o", command, *arguments[-3:]]
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)
    return done.stdout + done.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options = parser.parse_args()
    program = os.path.join(os.path.abspath(options.build), "bin", "pipeline")
    os.environ["VITRINE_HOME"] = os.path.abspath(options.build)
    directory = tempfile.mkdtemp(prefix="vitrine-demo-")
    core = os.path.join(directory, "pipeline.core")
    try:
        goid = in_gdb(program, core)
        in_lldb(program, core, goid)
    except (TourError, OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"demo: {error}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("\nYour own program: see README.md, \"Your program\". Without a debugger: build/bin/vitrine-inspect --help")


if __name__ == "__main__":
    main()
