"""What truth.py has done in gdb: stops of Go programs at moments that last some instructions, and what is said there; Go's own script beside
ours; locks by their names."""

import json
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class Wrong(Exception):
    pass


SYSCALLS = ("internal/runtime/syscall/linux.Syscall6", "internal/runtime/syscall.Syscall6", "runtime/internal/syscall.Syscall6")


def in_gdb(build, words, *target):
    return subprocess.run(["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load python-scripts off", *target,
                           "-x", os.path.join(HERE, "..", "..", "debugger", "gdb", "vitrine_gdb.py"), *(w for word in words for w in ("-ex", word))],
                          capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, "VITRINE_HOME": build})


def processor_in_syscall(build, path):
    """A goroutine enters a system call while no other thread runs: it keeps its P, which Go 1.26 goes on calling running."""
    words = ["break main.calls", "run calls", "delete", "set scheduler-locking on", *("tbreak " + name for name in SYSCALLS), "continue",
             "info goroutines -json -where 'status = syscall'", "info ps -json", "info sched -check", "kill"]
    run = in_gdb(build, words, path)
    rows = [json.loads(line.rstrip(",")) for line in run.stdout.splitlines() if line.startswith("{")]
    calling, ps = [r for r in rows if r.get("current")], [r for r in rows if "schedtick" in r]
    if len(calling) != 1 or len(ps) != 4 or not re.search(": no violation, 0 in transit$", run.stdout, re.M):
        raise Wrong("a P in a system call: %s%s" % (run.stdout[-3000:], run.stderr[-1000:]))
    kept = [p for p in ps if (p["status"], p["goid"], p["m"]) == ("running", calling[0]["goid"], calling[0]["m"])]
    if not kept and not any(p["status"] == "syscall" for p in ps):
        raise Wrong("a P in a system call: %s %s" % (ps, calling))
    return 1


def about_to_leave(build, path):
    """systemstack notes where it is before it leaves the goroutine's stack: until then its callers are seen."""
    words = ["break main.main", "run calls", "set scheduler-locking on", "break gosave_systemstack_switch", "continue",
             "goroutine stacks -where current -json", "info sched -check", "kill"]
    run = in_gdb(build, words, path)
    rows = [json.loads(line.rstrip(",")) for line in run.stdout.splitlines() if line.startswith("{")]
    names = [f["function"] for f in rows[0]["frames"]] if len(rows) == 1 else []
    if names[:2] != ["gosave_systemstack_switch", "runtime.systemstack"] or "main.main" not in names or names[-1] != "runtime.goexit" or \
            not re.search(": no violation, ", run.stdout):
        raise Wrong("about to leave a stack: %s: %s%s" % (names, run.stdout[-2000:], run.stderr[-1000:]))
    return len(names)


def blocks(build, path):
    """A goroutine enters a system call that will block: its P is given away some instructions after it is said to be in one. (Go 1.19's
    collector does so as it starts.)"""
    words = ["break runtime.entersyscallblock", "run collect", "set scheduler-locking on", *(["stepi 8", "info sched -check"] * 13), "kill"]
    run = in_gdb(build, words, path)
    if run.stdout.count(": no violation, ") != 13 or "is in runtime.entersyscallblock" not in run.stdout:
        raise Wrong("on the way into a system call: %s%s" % (run.stdout[-2000:], run.stderr[-1000:]))
    return 13


def destroyed(build, path):
    """A P goes away whose next goroutine is in the global queue already, for some instructions. (Its other ones are moved by the first of
    the two places that the function was inlined into.)"""
    words = ["break runtime.globrunqputhead", "disable 1.1", "run shrinks", "set scheduler-locking on", *(["stepi 3", "info sched -check"] * 12), "kill"]
    run = in_gdb(build, words, path)
    if run.stdout.count(": no violation, ") != 12 or not re.search(r"runnext: M \d+ .* is in runtime", run.stdout):
        raise Wrong("a P that goes away: %s%s" % (run.stdout[-2000:], run.stderr[-1000:]))
    return 12


def beside_gos_script(build, toolchain, program, core):
    """Whichever of the two scripts is loaded last, `info goroutines` is ours and `goroutine N CMD` works."""
    ours = os.path.join(HERE, "..", "..", "debugger", "gdb", "vitrine_gdb.py")
    theirs = os.path.join(os.path.dirname(os.path.dirname(toolchain.go)), "src", "runtime", "runtime-gdb.py")
    for scripts in ((ours, theirs), (theirs, ours)):
        run = subprocess.run(["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load python-scripts off",
                              program, core, *(w for s in scripts for w in ("-x", s)), "-ex", "info goroutines -limit 3",
                              "-ex", "goroutine 1 bt"], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                             env={**os.environ, "VITRINE_HOME": build})
        if not re.search(r"^ *\*? *GOID +STATUS ", run.stdout, re.M) or not re.search(r"^#\d+ .*main\.main ", run.stdout, re.M):
            raise Wrong("gdb with %s last: %s%s" % (os.path.basename(scripts[1]), run.stdout[-2000:], run.stderr[-2000:]))
    return 1


def locks_in_gdb(build, path, pid, inspected):
    """By the names of variables of a frame, which Go has moved to the heap."""
    frames = [f.function for f in inspected.frames[1]]
    run = in_gdb(build, ["goroutine 1", "frame %d" % (frames.index("main.main") + 1), "sync &rw", "mutex (mutex)"], "-p", pid)
    if not re.search(r"^rw_mutex 0x[0-9a-f]+: held by a writer, 1 reader behind it\n(?:.*\n){2}read .* main\.readLocks at ", run.stdout, re.M) or \
            not re.search(r"^mutex 0x[0-9a-f]+: locked, .*2 waiting\n(?:.*\n)+lock .* main\.locks at ", run.stdout, re.M):
        raise Wrong("sync in gdb: %s%s" % (run.stdout[-2000:], run.stderr[-2000:]))
    return 2
