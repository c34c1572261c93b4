#!/usr/bin/env python3
"""start.py --build DIR: how a program with goroutines comes to life, walked through in gdb and then in LLDB.

From the program's entry to its own main, with a stop at each step of the boot (the names are Go's):

    entry → main → rt0_go → args → osinit → schedinit → newproc → mstart → gogo → main of the runtime → your main

At each stop the debuggers are asked what there is by then: no M, an M without a P, a goroutine that nobody runs. The
first switch, from the scheduler's stack onto goroutine 1, is shown instruction by instruction.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tour import ROOT, Gdb, TourError, expect, title  # noqa: E402

RUNTIME = "vitrine::rt::"
NOT_YET = r"the runtime has not started yet"
# Function to stop at, what is new there, commands, and what their answers must have.
STEPS = [
    ("main", "The C library has set up the thread and calls main. The runtime is only data so far.",
     [("info goroutines", NOT_YET)]),
    (RUNTIME + "rt0_go", "vitrine::run makes this thread m0, and its stack that of g0, on which the scheduler will run.",
     [("bt", r"rt0_run")]),
    (RUNTIME + "args", "g0 and m0 know each other, the current-g slot holds g0. Next: the arguments,", []),
    (RUNTIME + "osinit", "the number of processors,", []),
    (RUNTIME + "schedinit", "and the scheduler: stacks, heap, m0, signals, environment, Ps.", [("bt", r"schedinit.*\n.*rt0_go")]),
    (RUNTIME + "newproc", "There are Ps now, m0 holds the first; and no goroutine yet.",
     [("info ps", r"\brunning\b")]),
    (RUNTIME + "mstart", "Goroutine 1 waits in a queue for somebody to run it: this thread, from now on a scheduler.",
     [("info goroutines", r"\b1 +runnable"),
      ("gotrace gogo -step", r"SP on g0's stack of M0(?:.*\n)*.*now on that stack(?:.*\n)*.*landed after \d+ steps: .*goentry")]),
    (RUNTIME + "main", "On goroutine 1's stack: the runtime's main, which starts the monitor thread and calls yours.",
     [("info goroutines", r"\b1 +running"), ("bt", r"goentry(?:.*\n)*.*goexit")]),
    ("run_pipeline", "Your own code, on a goroutine.", [("info sched", r"goroutines +1: 1 running")]),
    (None, "From here on every switch is one gogo.", [("gotrace gogo -live -n 5", r"5 switches in")]),
]


def entry_of(text):
    return expect(text, r"Entry point: (0x[0-9a-f]+)", "info files")[1]


def in_gdb(program):
    title("From the entry to main, in gdb")
    gdb = Gdb(program, dict(os.environ, GODEBUG="asyncpreemptoff=1", GOMAXPROCS="2"))
    print(f"$ {gdb.intro}")
    try:
        gdb.ask("starti")
        entry = entry_of(gdb.ask("info files"))
        print(f"(gdb) info files\n\tEntry point: {entry}\n")
        gdb.send(f"tbreak *{entry}")
        expect(gdb.send("continue"), r"_start", "the entry")
        for function, what, commands in STEPS:
            print(f"# {what}")
            if function:
                gdb.send(f"tbreak -qualified {function}")
                expect(gdb.send("continue"), function.removeprefix(RUNTIME), function)
            for command, wanted in commands:
                expect(gdb.send(command), wanted, command)
    finally:
        gdb.close()


def in_lldb(program):
    title("The same in LLDB")
    lldb = shutil.which("lldb-19") or shutil.which("lldb")
    if not lldb:
        raise TourError("LLDB is not installed")
    script = os.path.join(ROOT, "debugger", "lldb", "vitrine_lldb.py")
    typed = []
    for function, _, commands in STEPS:
        if function:
            # To LLDB both mains are just that; the first one is never reached again.
            typed.append("tbreak " + ("main" if function == RUNTIME + "main" else function))
            typed.append("continue" if typed[1:] else "process launch")
        typed += [command for command, wanted in commands if wanted != NOT_YET]  # a failure ends LLDB's batch
    print(f"$ {os.path.basename(lldb)} {os.path.relpath(program)}")
    print(f"(lldb) command script import {os.path.relpath(script)}\n")
    arguments = [lldb, "-x", "-b", "-O", "settings set use-color false", "-o", f"command script import {script}"]
    for command in [*typed, "process kill"]:
        arguments += ["-o", command]
    done = subprocess.run([*arguments, program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=300,
                          env=dict(os.environ, GODEBUG="asyncpreemptoff=1", GOMAXPROCS="2"))
    answer = done.stdout
    start, end = answer.find("(lldb) tbreak"), answer.rfind("(lldb) process kill")
    if start < 0 or end < 0:
        raise TourError("LLDB did not run the commands: " + answer)
    print(answer[start:end].rstrip())
    for _, _, commands in STEPS:
        for command, wanted in [c for c in commands if c[1] != NOT_YET]:
            expect(answer, wanted, command + " in LLDB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options = parser.parse_args()
    program = os.path.join(os.path.abspath(options.build), "bin", "pipeline")
    os.environ["VITRINE_HOME"] = os.path.abspath(options.build)
    try:
        in_gdb(program)
        in_lldb(program)
    except (TourError, OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"demo: {error}")
    print("\nThe same routine, decoded without a process: build/bin/vitrine-disasm build/bin/pipeline gogo")


if __name__ == "__main__":
    main()
