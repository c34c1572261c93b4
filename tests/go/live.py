#!/usr/bin/env python3
"""live.py --build DIR: the start and the switches of real Go programs, watched in gdb and in LLDB.

With the oldest and the newest Go toolchain of the machine: a stop at rt0_go, schedinit and the runtime's main, as in the
walk of the notes; `gotrace gogo -live`, -where, -stacks and -step on two goroutines that hand a number to and fro; the
program checks its numbers and must go on well. Ends with `N passed, N failed, N skipped`.
"""

import argparse
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import toolchains  # noqa: E402
from sessionlib import debuggers  # noqa: E402

CALLED = r"main\.relay at main\.go:\d+"


class Wrong(Exception):
    pass


def need(pattern, text, what):
    found = re.search(pattern, text, re.M)
    if not found:
        raise Wrong("%s: no /%s/ in:\n%s" % (what, pattern, text))
    return found


def start(debugger):
    """To the runtime's main."""
    # LLDB finds no function of Go's assembly by its name; gdb's schedinit is also the assembly's way into it.
    places = ["runtime.rt0_go", "runtime.schedinit", "runtime.main"][debugger.kind != "gdb":]
    debugger.run_to(places[0])
    need(r"not started yet", debugger.command("info goroutines")["err"], places[0])
    for place in places[1:]:
        debugger.must("tbreak " + place)
        for _ in range(3):
            debugger.must("continue")
            frames = debugger.ask("frames")["frames"]
            if frames[0] == place:
                break
        need("^%s$" % re.escape(place), frames[0], "a stop")
    need(r"^\* +1 +running", debugger.must("info goroutines -all")["core"], "in the runtime's main")
    if [f.removesuffix(".abi0") for f in frames[:2]] != ["runtime.main", "runtime.goexit"]:
        raise Wrong("the frames of the runtime's main: %s" % frames)
    debugger.must("tbreak main.tick")
    debugger.must("continue")


def switches(debugger):
    out = debugger.must("gotrace gogo -live -n 40")["core"]
    rows = [line for line in out.splitlines() if "→" in line]
    if len(rows) != 40:
        raise Wrong("forty lines were asked for:\n" + out)
    need(r"^40 switches in .* \(\d+ a second; from one to the next at least \d+ µs, mostly \d+\); the process is stopped", out, "-live")
    need(r"^ +\S+ +\d+ +\d+ .* → +\d+ .*" + CALLED, out, "-live")
    need(r" +\d+ +\d+ +\d+ waiting: chan (?:receive|send), \S+ at main\.go:\d+ +→ \d+", out, "-live")
    relay = need(r"→ (\d+) +" + CALLED, out, "who is relay")[1]
    out = debugger.must("gotrace gogo -live -n 1 -stacks -where 'to = %s'" % relay)["core"]
    need(r"→ %s +%s\n(.*#\d+ .*\n)*.*#\d+ +%s" % (relay, CALLED, CALLED), out, "-where and -stacks")


def step(debugger):
    out = debugger.must("gotrace gogo -step")["core"]
    need(r"── SP on g0's stack of M\d+ ──\n(.*\n)*.*now on that stack\n(.*\n)*.*── SP on the stack of goroutine \d+ ──", out, "-step")
    need(r"^landed after \d+ steps: 0x[0-9a-f]+ \(\S+\)", out, "-step")


def everywhere(debugger):
    """At each instruction of the routines that leave a goroutine's stack and come to it, all of its frames are there."""
    if debugger.kind != "gdb":  # LLDB finds no function of Go's assembly by its name
        return
    for routine in ("runtime.mcall", "gogo", "main.recovers", "gogo", "gogo", "gogo"):
        debugger.must("tbreak *'%s'" % routine)
        debugger.must("continue")
        if routine.startswith("main."):
            continue
        debugger.must("set scheduler-locking on")
        for steps in range(60):
            rows = json.loads(debugger.must("goroutine stacks -all -where 'status = running' -json")["core"])
            for row in rows:
                names = [f["function"] for f in row["frames"]]
                if row["errors"] or names[-1] != "runtime.goexit":
                    raise Wrong("%d instructions into %s: %s %s" % (steps, routine, row["errors"], names))
            if debugger.ask("frames")["frames"][0] != routine:
                break
            debugger.must("stepi")
        if steps < 8:
            raise Wrong("%s has %d instructions" % (routine, steps))
        debugger.must("set scheduler-locking off")


def asks(debugger):
    """At each instruction on the way into the vdso, which works on another stack, the goroutine's frames are all there."""
    if debugger.kind != "gdb":
        return
    for place in ("main.asks", "*'time.now'"):
        debugger.must("tbreak " + place)
        debugger.must("continue")
    debugger.must("set scheduler-locking on")
    for steps in range(60):  # it waits there for a clock that does not stand still, and so may never be done
        rows = json.loads(debugger.must("goroutine stacks -all -where 'status = running' -json")["core"])
        names = [[f["function"] for f in row["frames"]] for row in rows if "main.asks" in [f["function"] for f in row["frames"]]]
        if len(names) != 1 or rows[0]["errors"] or names[0][-1] != "runtime.goexit":
            raise Wrong("%d instructions into time.now: %s" % (steps, rows))
        debugger.must("stepi")
    if "time.now" not in names[0][1:]:
        raise Wrong("never in the vdso: %s" % names)
    need(": no violation, 0 in transit$", debugger.must("info sched -check")["core"], "in the vdso")
    debugger.must("set scheduler-locking off")


def goes_on(debugger):
    debugger.must("delete" if debugger.kind == "gdb" else "breakpoint delete -f")
    if debugger.kind != "gdb":  # lldb-server now and then loses a Go process that ends
        for _ in range(3):
            debugger.must("tbreak main.tick")
            debugger.must("continue")
            need(r"^main\.tick$", debugger.ask("frames")["frames"][0], "going on")
        return
    out = debugger.must("continue")["out"] + debugger.output()
    need(r"exited normally", out, "the program")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    options = parser.parse_args()
    build, counts = os.path.abspath(options.build), {"passed": 0, "failed": 0, "skipped": 0}
    found = toolchains.all_of_them()
    if not found:
        print("skipped: no Go toolchain is installed (golang-go)")
        counts["skipped"] += 1
    for toolchain in found[:1] + found[1:][-1:]:
        program = toolchain.build(build, "turns", "turns")
        for kind in ("gdb", "lldb"):
            label = "go %s in %s" % (toolchain.version, kind)
            if why := debuggers.missing(kind):
                print("skipped: %s: %s" % (label, why))
                counts["skipped"] += 1
                continue
            try:
                with debuggers.Debugger(kind, build, program) as debugger:
                    for part in (start, switches, step, everywhere, asks, goes_on):
                        part(debugger)
                counts["passed"] += 1
            except (Wrong, debuggers.Died) as e:
                counts["failed"] += 1
                print("FAILED: %s: %s" % (label, e))
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % counts)
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
