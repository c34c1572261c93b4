#!/usr/bin/env python3
"""truth.py --build DIR [--all | --version V]…: what the inspector says of real Go programs against what Go says of itself.

Each program is built by the oldest and the newest Go toolchain of the machine (--all: by every one), run until it stands still and inspected. Then SIGQUIT makes
Go print all its goroutines (GOTRACEBACK=crash: every frame with pc and sp, inlined ones too) and leave a core, which is
inspected as well. For every goroutine: id, state, wait reason, each frame's function, file, line and pc; in gdb each
frame's pc and sp. What cannot be compared is counted. Ends with `N passed, N failed, N skipped`.
"""

import argparse
import concurrent.futures
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import expressions  # noqa: E402
import toolchains  # noqa: E402
from stops import Wrong, about_to_leave, beside_gos_script, blocks, destroyed, locks_in_gdb, processor_in_syscall  # noqa: E402

HEADING = re.compile(r"goroutine (\d+)(?: gp=\S+ m=\S+(?: mp=\S+)?)? \[([^\]]*)\]:$")
PLACE = re.compile(r"\t(.*):(\d+)(?: \+0x([0-9a-f]+))?(?: fp=0x([0-9a-f]+) sp=0x([0-9a-f]+) pc=0x([0-9a-f]+))?$")


class Frame:
    def __init__(self, function, file, line, pc, sp):
        self.function, self.file, self.line, self.pc, self.sp = function, file, line, pc, sp

    def __repr__(self):
        return "%s at %s:%s pc=%s" % (self.function, self.file, self.line, hex(self.pc) if self.pc else None)


class Goroutine:
    def __init__(self, goid, notes):
        self.goid, self.frames, self.created, self.created_at, self.parent = goid, [], None, None, None
        self.state = notes.split(", ")[0]
        self.locked = "locked to thread" in notes


def bare(function):
    """Go's dump has the arguments behind the name, and `...` where a name's type parameters are."""
    depth = 0
    for i in range(len(function) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(function[i], 0)
        if depth == 0:
            function = function[:i] if function.endswith(")") else function
            break
    return "runtime.gopanic" if function == "panic" else function


def dump(text):
    """Goroutines by id, from a dump of Go's."""
    found, current, function = {}, None, None
    for line in text.splitlines():
        heading = HEADING.match(line)
        if heading:
            # Goroutine 0 is a thread's own stack; a thread that gets the signal as well prints its goroutine again.
            current = Goroutine(int(heading[1]), heading[2])
            if current.goid:
                found.setdefault(current.goid, current)
        elif not line:
            current = None
        elif current is not None and line.startswith("created by "):
            words = re.match(r"created by (.*?)(?: in goroutine (\d+))?$", line)
            current.created, current.parent = words[1], words[2] and int(words[2])
            function = None
        elif current is not None and line[0] != "\t":
            function = line
        elif current is not None and current.created and not current.created_at:
            place = PLACE.match(line)
            current.created_at = (place[1], int(place[2])) if place else None
        elif current is not None and function:
            place = PLACE.match(line)
            if place:
                pc, sp = (int(place[n], 16) if place[n] else None for n in (6, 5))
                current.frames.append(Frame(bare(function), place[1], int(place[2]), pc, sp))
            function = None
    return found


class Inspected:
    """What the inspector says of one target."""

    def __init__(self, tool, *target):
        self.tool, self.target = tool, target
        self.rows = {r["goid"]: r for r in self.ask("info", "goroutines", "-json")}
        self.frames = {}
        for group in self.ask("goroutine", "stacks", "-json"):
            for goid in group["goids"]:
                self.frames[goid] = [Frame(f["function"] or "?", f["file"], f["line"], int(f["pc"], 16), None) for f in group["frames"]]
                if group["errors"]:
                    raise Wrong("goroutine %d: %s" % (goid, group["errors"]))

    def text(self, *words):
        r = subprocess.run([self.tool, *self.target, *words], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        if r.returncode not in (0, 1) or r.returncode == 1 and not r.stdout:
            raise Wrong("%s: %s" % (" ".join(words), r.stderr))
        return r.stdout

    def ask(self, *words):
        return json.loads(self.text(*words))


def same_state(row, wanted):
    if row["status"] == "waiting":
        return row["wait_reason"] == wanted or not row["wait_reason"] and wanted == "waiting"
    return row["status"] == wanted


def compare(inspected, truth, moving=()):
    """Every goroutine and every frame; returns how many frames there were. moving: states whose frames cannot be compared."""
    frames = 0
    if set(inspected.rows) != set(truth):
        raise Wrong("goroutines: Go has %s, the inspector %s" % (sorted(truth), sorted(inspected.rows)))
    for goid, go in truth.items():
        row, ours = inspected.rows[goid], inspected.frames.get(goid, [])
        if row["errors"]:
            raise Wrong("goroutine %d: %s" % (goid, row["errors"]))
        if not same_state(row, go.state):
            raise Wrong("goroutine %d: Go says %s, the inspector %s %s" % (goid, go.state, row["status"], row["wait_reason"]))
        if go.locked != (row["locked_m"] is not None):
            raise Wrong("goroutine %d: locked to a thread: Go says %s" % (goid, go.locked))
        if go.created and row["created_by"] and row["created_by"]["function"] != go.created:
            raise Wrong("goroutine %d: created by %s, not by %s" % (goid, go.created, row["created_by"]["function"]))
        if go.created_at and row["created_by"]:
            by = row["created_by"]
            if (by["file"], by["line"]) != go.created_at or go.parent is not None and by["goid"] not in (go.parent, None):
                raise Wrong("goroutine %d: created at %s by %s, not %s" % (goid, go.created_at, go.parent, by))
        if go.state in moving:
            continue
        if go.state == "syscall":  # Go begins where the call was entered; the thread stands further in
            ours = ours[len(ours) - len(go.frames):]
        if len(ours) != len(go.frames):
            raise Wrong("goroutine %d: Go's frames are\n  %s\nthe inspector's\n  %s" % (
                goid, "\n  ".join(map(repr, go.frames)), "\n  ".join(map(repr, ours))))
        for n, (a, b) in enumerate(zip(ours, go.frames)):
            generic = re.sub(r"\[.*\]", "[...]", a.function)
            if n == 0 and go.state == "syscall":  # the same function, some instructions on
                a = Frame(a.function, a.file, b.line, b.pc, None)
            if b.function == a.function == "runtime.systemstack_switch":  # its first instruction, which Go 1.19 saves as it is
                continue
            if (generic, a.file, os.path.normpath(a.file), a.line) != (b.function, a.file, b.file, b.line) or b.pc and a.pc != b.pc:
                raise Wrong("goroutine %d: Go has %r, the inspector %r" % (goid, b, a))
            frames += 1
    return frames


def main_waits(tool, program, also=lambda rows: True):
    """Once the main goroutine, which says `ready` a moment before, waits too, and the rest of the rows is so."""
    end = time.monotonic() + 60
    while True:
        inspected = Inspected(tool, "--pid", str(program.process.pid))
        if inspected.rows[1]["status"] == "waiting" and also(inspected.rows.values()):
            return inspected
        if time.monotonic() > end:
            raise Wrong("the program did not come to rest in a minute: %s" % inspected.rows)


def at_rest(tool, program):
    return main_waits(tool, program, lambda rows: all(r["status"] in ("waiting", "syscall") for r in rows))


def unlimited():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


class Program:
    def __init__(self, path, *args, **env):
        self.directory = tempfile.mkdtemp(dir=os.path.dirname(path))
        self.log = open(os.path.join(self.directory, "dump"), "w+", errors="replace")
        self.process = subprocess.Popen([path, *args], stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, text=True,
                                        cwd=self.directory, env={**os.environ, "GOTRACEBACK": "crash", **env})
        said = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            said.append(line)
        self.said = "".join(said)

    def quit(self):
        """Ends it with SIGQUIT; what Go then says of its goroutines, and the path of the core, if there is one."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(60)
        self.log.seek(0)
        cores = [f for f in os.listdir(self.directory) if f.startswith("core")]
        return self.log.read(), os.path.join(self.directory, cores[0]) if cores else None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.directory)


def gdb_frames(build, program, target, goids):
    """pc and sp of every frame of each goroutine, as gdb finds them once the goroutine is selected."""
    script = os.path.join(HERE, "gdb_frames.py")
    run = subprocess.run(["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load python-scripts off",
                          "-iex", "set backtrace past-main on", *(["-p", target] if target.isdigit() else [program, target]),
                          "-x", os.path.join(HERE, "..", "..", "debugger", "gdb", "vitrine_gdb.py"), "-x", script],
                         capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                         env={**os.environ, "VITRINE_HOME": build, "FRAMES_OF": " ".join(map(str, goids))})
    lines = [line for line in run.stdout.splitlines() if line.startswith("FRAMES ")]
    if not lines:
        raise Wrong("gdb: %s%s" % (run.stdout[-2000:], run.stderr[-2000:]))
    return {int(k): v for k, v in json.loads(lines[0][len("FRAMES "):]).items()}


# Rows of the core's table that some version of Go has not: what the commands do without.
LACKED = {"gcrash", "g.parentGoid", "g.syscallbp", "schedt.needspinning", "schedt.gFree.n", "timer.pp", "timerWhen.timer", "timerWhen.when",
          "timer.nextwhen", "heapArena.bitmap", "gcControllerState.trigger", "workType.stopped", "workType.assistTime", "g.gcAssistCycle",
          "spanInlineMarkBits.marks", "spanInlineMarkBits.class", "workType.dedicatedMarkTime", "workType.fractionalMarkTime", "workType.idleMarkTime"}


def check_table(inspected):
    text = inspected.text("vitrine", "doctor")
    if not re.search(r"runtime +Go, described by DWARF", text):
        raise Wrong("vitrine doctor: " + text)
    said = re.search(r"^! layout +.*:(.*)$", text, re.M)
    unknown = set(said[1].split() if said else ()) - LACKED
    if unknown:
        raise Wrong("fields that the program does not describe: %s" % " ".join(sorted(unknown)))
    return 0


def check_timers(inspected):
    """One that was stopped is no timer any more; one that was moved is due at its new time. And time stood still as the process did."""
    rows = inspected.ask("info", "timers", "-json")
    due = {row["what"]: row["due_ns"] for row in rows}
    if "main.stopped" in due or sum(row["what"] == "main.later" for row in rows) != 12:
        raise Wrong("info timers: %s" % rows)
    minutes = due["main.sooner"] / 60e9
    if not 20 < minutes < 30 or any(row["due_ns"] < 0 for row in rows):
        raise Wrong("info timers: %s" % rows)
    return 1


def check_chan(inspected):
    sends = [r for r in inspected.rows.values() if r["wait_reason"] == "chan send" and "main.sends" in [f.function for f in inspected.frames[r["goid"]]]]
    text = inspected.text("chan", sends[0]["waiting_on"])
    if "of string, 16 bytes each\n" not in text or '"payload"' not in text or "main.sends at main.go" not in text:
        raise Wrong("chan: " + text)
    # Of which words of an object are pointers nothing is said where no bitmap of them is described.
    if (obj := inspected.ask("obj", sends[0]["waiting_on"], "-json")[0]) and obj["errors"]:
        raise Wrong("obj: %s" % obj)
    # Stacks lie side by side, those of g0s among them.
    for goid in (g for g, row in inspected.rows.items() if row["status"] == "waiting"):
        text = inspected.text("trace", "gogo", str(goid))
        if "(the low end of the stack of goroutine %d)" % goid not in text:
            raise Wrong("gogo, with goroutine %d: %s" % (goid, text))
    full = next(r for r in inspected.rows.values() if "main.signals" in [f.function for f in inspected.frames[r["goid"]]])
    text = inspected.text("chan", full["waiting_on"])
    if "2 of 2 buffered, open\nof struct {}, 0 bytes each\n" not in text or "damaged" in text:
        raise Wrong("chan of struct {}: " + text)
    graph = inspected.text("goroutine", "graph")
    if "send to chan %s (string, 0 of 0 buffered, open)" % sends[0]["waiting_on"] not in graph:
        raise Wrong("goroutine graph: " + graph)
    blocked = re.search(r"goroutine (\d+) \(waiting: [^)]+\) in main.locks .*\n  (?:lock )?(mutex|semaphore) (0x[0-9a-f]+).*holder unknown", graph)
    if not blocked:
        raise Wrong("goroutine graph, of one that waits for a mutex: " + graph)
    text = inspected.text("sync", blocked[2], blocked[3])
    if not re.search(r"^\w+ +%s .*main.locks at main.go" % blocked[1], text, re.MULTILINE):
        raise Wrong("%s, which goroutine %s waits for: %s" % (blocked[2], blocked[1], text))
    goid = next(g for g, frames in inspected.frames.items() if any(f.function == "main.receives" for f in frames))
    locals_ = inspected.text("goroutine", "locals", str(goid))
    if "main.receives at main.go" not in locals_ or "p (parameter) = " not in locals_:
        raise Wrong("goroutine locals: " + locals_)
    goid = next(g for g, frames in inspected.frames.items() if any(f.function == "main.holds" for f in frames))
    locals_ = inspected.text("goroutine", "locals", str(goid))
    for wanted in ('boxed = (main.pair) {name = "inner", n = 7, ', "number = (int) 17", "nothing = nil", 'ages = {len 1 ["one": 1]}', "many = {len 1000 [", 'in = (map[string]int) {len 1 ["one": 1]}', 'name = "pointed", n = 9',
                   "more = {f = main.later, none = nil, named = 0x", ' (chan string, 1 of 3 buffered), three = [1, 2, 3], z = (1-2i), raw = {len 5, cap 5 "bytes"}, empty = nil}',
                   "larges = {len 1 [[1, 0, 0, 0, 0, 0, 0, 0, … (12 more)]: [2, 0, ", 'text = "kept"', "numbers = {len 3, cap 3 [4, 5, 6]}", 'both = {name = "inner", n = 7'):
        if wanted not in locals_:
            raise Wrong("goroutine locals: %s is not in %s" % (wanted, locals_))
    for wanted in (r'failed = \(\*errors\.errorString\) 0x[0-9a-f]+ → {s = "file does not exist"}',
                   r'opened = \(\*fs\.PathError\) 0x[0-9a-f]+ → {Op = "open", Path = "/none", Err = \(syscall\.Errno\) 2}',
                   r'wrapped = \(\*fmt\.wrapError\) 0x[0-9a-f]+ → {msg = "reading: open /none: no such file or directory", err = \(\*fs\.PathError\) 0x[0-9a-f]+}'):
        if not re.search("^" + wanted + "$", locals_, re.M):
            raise Wrong("goroutine locals, what an interface points to: %s is not in %s" % (wanted, locals_))
    goid = next(g for g, frames in inspected.frames.items() if any(f.function == "main.scaled" for f in frames))
    locals_ = inspected.text("goroutine", "locals", str(goid))
    # The inlined function's own variables before its caller's; of the string only the length is left, and not called a string.
    if not re.search(r"frame \d+: main.scaled at main.go:\d+ \(inlined\)\n(?:.*\n)*label \(parameter\) = <partly optimised out>\n(?:.*\n)*"
                     r"in frame \d+: main.callsScaled at main.go:\d+\n(?:.*\n)*base \(parameter\) = 20\n", locals_) or '"' in locals_:
        raise Wrong("goroutine locals, of an inlined function: " + locals_)
    goid = next(g for g, frames in inspected.frames.items() if any(f.function == "main.cuts" for f in frames))
    locals_ = inspected.text("goroutine", "locals", str(goid))
    if "main.cuts at main.go" not in locals_ or "s (parameter) = " not in locals_ or "~r0." in locals_:
        raise Wrong("goroutine locals, of a result without a name: " + locals_)
    if "<0 bytes" in (locals_ := inspected.text("goroutine", "locals", "1")) or "group = {noCopy = {}, " not in locals_:
        raise Wrong("goroutine locals, of what has no size: " + locals_)
    if not re.search(r"^sweep +generation \d+; \d+ pages? swept since", page := inspected.text("mheap"), re.M):
        raise Wrong("mheap: " + page)
    if inspected.rows[1]["created_by"]:
        raise Wrong("nobody created goroutine 1: %s" % inspected.rows[1]["created_by"])
    if (said := inspected.text("vitrine", "doctor")) and "stacks absent" in said:
        raise Wrong("all stacks are there: " + said)
    goid = next(g for g, frames in inspected.frames.items() if any(f.function == "main.labelled" for f in frames))
    pairs = [{"key": "job", "value": "seven"}, {"key": "who", "value": "me"}]
    if inspected.rows[goid]["labels"] != pairs or any(r["labels"] for g, r in inspected.rows.items() if g != goid):
        raise Wrong("labels: %s" % {g: r["labels"] for g, r in inspected.rows.items()})
    stacks = inspected.text("goroutine", "stacks")
    if not re.search(r"main.labelled at main.go:\d+\n(?: .*\n)*    created by main.main at main.go:\d+\n    labels job=seven who=me\n", stacks):
        raise Wrong("goroutine stacks: " + stacks)
    return 1


def check_locks(inspected):
    """Locks and who waits for them, with their states in words; the same of a version that calls every such wait semacquire."""
    def goids(function):
        return [g for g, frames in sorted(inspected.frames.items()) if any(f.function == function for f in frames)]

    def lock(words, first, rows):
        text = inspected.text(*words)
        lines = text.splitlines()
        if not re.fullmatch(first, lines[0]) or [tuple(line.split()[:2]) for line in lines[3:-1]] != rows:
            raise Wrong("%s: %s" % (" ".join(words), text))
        return lines[1]

    (writer,), (reader,), (next_,) = (goids("main." + f) for f in ("writes", "readsBehind", "writesNext"))
    (first,), (second,) = goids("main.locksFirst"), goids("main.locksSecond")
    rows = [("write", str(writer)), ("read", str(reader)), ("write", str(next_))]
    for name in ("main.shared", "main.shared.RWMutex", "&main.shared"):
        said = lock(("sync", name), "rw_mutex 0x[0-9a-f]+: held by 1 reader, a writer is next, 1 reader behind it", rows)
        if said != "holder unknown: readers are not written down":
            raise Wrong("sync %s: %s" % (name, said))
    said = lock(("mutex", "main.busy"), r"mutex 0x[0-9a-f]+: locked, (woken, )?(starving, )?2 waiting", [("lock", str(first)), ("lock", str(second))])
    if said != "holder unknown: the runtime has not written down who locked it":
        raise Wrong("mutex main.busy: " + said)
    lock(("mutex", "main.idle"), r"mutex 0x[0-9a-f]+: free", [])
    found = inspected.ask("mutex", "-json")
    if sorted((r["waiting"], r["holder"]) for r in found) != [(2, None), (2, None)] or not all(r["state"].startswith("locked, ") for r in found):
        raise Wrong("mutex: %s" % found)
    found = inspected.ask("sync", "rw_mutex", "-json")
    if sorted((r["state"], r["waiting"]) for r in found) != [("held by 1 reader, a writer is next, 1 reader behind it", 3), ("held by a writer, 1 reader behind it", 1)]:
        raise Wrong("sync rw_mutex: %s" % found)
    text = subprocess.run([inspected.tool, *inspected.target, "sync", "main.held"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL).stderr
    if not re.search(r"none that goroutines wait on; in it there is one \(sync\.Mutex\) at 0x[0-9a-f]+, two \(sync\.Mutex\) at 0x", text):
        raise Wrong("sync main.held: " + text)
    return len(rows) + 2


def free_page(inspected):
    """Go's free pages are in no span: that is no damage."""
    arena = int(inspected.ask("mheap", "arenas", "-json")[0]["base"], 16)
    taken = {int(s["base"], 16) + n * 8192 for s in inspected.ask("mheap", "spans", "-limit", "0", "-json") for n in range(s["pages"])}
    handed = [page for page in sorted(taken) if arena <= page < arena + (64 << 20)]
    free = next(page for page in range(handed[0], arena + (64 << 20), 8192) if page not in taken)
    text, row = inspected.text("obj", hex(free + 16)), inspected.ask("obj", hex(free + 16), "-json")
    row = row[0] if isinstance(row, list) else row
    if "in pages that are free" not in text or row["state"] != "free" or "damaged" in text:
        raise Wrong("obj of a free page: %s %s" % (text, row))
    if handed[0] > arena:  # Go since 1.26 begins anywhere in it: whether what lies before is free is not known
        text, row = inspected.text("obj", hex(handed[0] - 16)), inspected.ask("obj", hex(handed[0] - 16), "-json")[0]
        if "in pages before the first span" not in text or row["state"]:
            raise Wrong("obj of what lies before the heap: %s %s" % (text, row))
    return 1


def check_stacks(inspected, program):
    """Every stack of the heap's is somebody's, and all together are what Go itself counts; the Ms' are named."""
    rows = inspected.ask("mheap", "stacks", "-json")
    for r in rows:
        if r["rest"] or r["slots"] != r["goroutines"] + r["runtime"] + r["dead"] + r["cached"] + r["free"]:
            raise Wrong("mheap stacks: %s" % r)
    threads, counted = (int(n) for n in re.search(r"^threads (\d+), stacks in use (\d+)$", program.said, re.M).groups())
    # More, if anything: a thread that Go started since has a g0's stack and one for signals; main's stack may have grown.
    more, sum_ = len(inspected.ask("info", "ms", "-json")) - threads, sum(r["bytes"] for r in rows)
    if not counted <= sum_ <= counted + (more + 1) * (64 << 10):
        raise Wrong("mheap stacks has %d bytes, Go's MemStats.StackInuse %d, %d threads since" % (sum_, counted, more))
    if not sum(r["runtime"] for r in rows):
        raise Wrong("mheap stacks: none of Ms: %s" % rows)
    spans = [s for s in inspected.ask("mheap", "spans", "-limit", "0", "-json") if s["owner"] and s["owner"].startswith("signal stack of M ")]
    if not spans or not re.search(r"on the signal stack of M \d+, thread \d+", text := inspected.text("obj", hex(int(spans[0]["base"], 16) + 64))):
        raise Wrong("a signal stack: %s %s" % (spans, text if spans else rows))
    return len(rows)


def ends(inspected):
    """The world of a program that dies of a panic: all Ps are told to stop, by a count that no number of Ps reaches."""
    text = inspected.text("info", "sched")
    if not re.search(r"^world +being stopped for good, as the program ends in a fatal error \(stopwait 0x[0-9a-f]{6,}\)", text, re.M):
        raise Wrong("info sched of a program that panicked: " + text)
    rows = inspected.ask("mheap", "stacks", "-json")  # before the first collection Ps keep some
    if not sum(r["cached"] for r in rows) or any(r["rest"] for r in rows):
        raise Wrong("mheap stacks of a program that panicked: %s" % rows)
    if ": no violation" not in (text := inspected.text("info", "sched", "-check")):
        raise Wrong("info sched -check of a program that panicked: " + text)
    return 1


def cut(tool, path, core):
    """A core that ends too early: said, and nothing of it makes the inspector die. Spoils the core."""
    def heap():
        return subprocess.run([tool, "--core", core, path, "mheap"], capture_output=True, text=True, timeout=60).stdout

    if "could be read" in (text := heap()):
        raise Wrong("a whole core: mheap: " + text)
    for part in (0.9, 0.5, 0.1):
        os.truncate(core, int(os.path.getsize(core) * part))
        for words in (("info", "goroutines"), ("goroutine", "stacks")):
            r = subprocess.run([tool, "--core", core, path, *words], capture_output=True, text=True, timeout=60)
            if r.returncode not in (0, 1) or "truncated" not in r.stdout + r.stderr:
                raise Wrong("a core cut to %s: %s ended with %s: %s" % (part, words, r.returncode, r.stdout[-500:] + r.stderr[-500:]))
    return 0


def cut_short(tool, path, core):
    """A core that ends anywhere in what it has of the runtime: what is missing is not said to be wrong, or not to be. Spoils the core."""
    size, lost = os.path.getsize(core), set()
    for part in range(19, -1, -1):
        os.truncate(core, size // 6 * part // 20 + 500000)  # the program's own data come first
        for words in (("info", "sched"), ("info", "ps"), ("info", "ms"), ("info", "sched", "-check")):
            r = subprocess.run([tool, "--core", core, path, *words], capture_output=True, text=True, timeout=60)
            if r.returncode not in (0, 1) or re.search(r"^violation: |there are no [PM]s yet|^ *\d+ +- +starting", r.stdout, re.M):
                raise Wrong("a core cut short, to %s of 20: %s ended with %s: %s" % (part, words, r.returncode, r.stdout[-1500:] + r.stderr[-500:]))
            lost.update(re.findall("could be read|not certain", r.stdout))
    if len(lost) != 2:
        raise Wrong("a core cut short: nothing was lost: %s" % lost)
    return 0


def check_pie(toolchain, build, tally):
    """Position independent, and DWARF that is not compressed (elsewhere it is)."""
    path = toolchain.build(build, "waits", "waits-pie", "-buildmode=pie", "-ldflags=-compressdwarf=false")
    tool = os.path.join(build, "bin", "vitrine-inspect")
    program = Program(path)
    try:
        live = at_rest(tool, program)
        tally("chan, graph, locals", lambda: check_chan(live))
        text, core = program.quit()
        truth = dump(text)
        tally("live", lambda: compare(live, truth))
        if core is None:
            tally("core", None, "the kernel left no core (core_pattern)")
        else:
            tally("core", lambda: compare(Inspected(tool, "--core", core, path), truth, moving=("running", "runnable")))
            tally("cut core", lambda: cut(tool, path, core))
    finally:
        program.close()


def check_many(toolchain, build, tally):
    path = toolchain.build(build, "faults", "faults")
    tool = os.path.join(build, "bin", "vitrine-inspect")
    for what, check in (("poll", polled), ("collect", collects)):
        program = Program(path, what)
        try:
            tally(what, lambda: check(tool, program))
            if what == "collect":
                tally("mark phase", lambda: marks(tool, program))
        finally:
            program.close()


def polled(tool, program):
    inspected = Inspected(tool, "--pid", str(program.process.pid))
    found = [r for r in inspected.rows.values() if r["wait_reason"] == "IO wait" and not r["errors"]]
    if len(found) != 1000:
        raise Wrong("%d goroutines wait for a descriptor, not 1000" % len(found))
    for r in found:
        if "os.(*File).Read" not in [f.function for f in inspected.frames[r["goid"]]]:
            raise Wrong("goroutine %d: %s" % (r["goid"], inspected.frames[r["goid"]]))
    return sum(len(inspected.frames[r["goid"]]) for r in found)


def collects(tool, program):
    """Stopped anywhere in a collection: the user's goroutines stay what they are."""
    main_waits(tool, program)
    for _ in range(6):
        inspected = Inspected(tool, "--pid", str(program.process.pid))
        wrong = [r for r in inspected.rows.values() if r["errors"]]
        users = sorted(r["goid"] for r in inspected.rows.values() if not r["system"])
        if wrong or len(users) != 3 or inspected.rows[1]["wait_reason"] != "chan receive":
            raise Wrong("in a collection: %s %s" % (users, wrong))
    return 6


def marks(tool, program):
    """Stopped where Go itself says that it marks (SIGSTOP keeps it there from one look to the next)."""
    where = ("--pid", str(program.process.pid))

    def said(*words):
        return subprocess.run([tool, *where, *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL).stdout

    for _ in range(60):
        program.process.send_signal(signal.SIGSTOP)
        try:
            if json.loads(said("gc", "-json"))[0]["phase"] != "mark":
                continue
            gc, inspected = said("gc"), Inspected(tool, *where)
            users = sorted(r["goid"] for r in inspected.rows.values() if not r["system"])
            wrong = [r for r in inspected.rows.values() if r["errors"]]
            if wrong or len(users) != 3 or inspected.rows[1]["wait_reason"] != "chan receive":
                raise Wrong("while Go marks: %s %s" % (users, wrong))
            if not re.search(r"^phase +mark: the program runs meanwhile$", gc, re.M) or not re.search(r"^walk +with doubt: ", gc, re.M) or "workers" in gc:
                raise Wrong("while Go marks: " + gc)
            if not re.search(r"^gc +.*mark", said("mheap"), re.M):
                raise Wrong("while Go marks: " + said("mheap"))
            if ": no violation, " not in (text := said("info", "sched", "-check")):  # those who mark are called waiting
                raise Wrong("while Go marks: " + text)
            nodes = json.loads(said("mheap", "spans", "-json", "-where", "elem = 16 and alloc > 400"))
            states = {o["state"] for s in nodes[-4:] + nodes[::-len(nodes) // 8] for o in json.loads(said("mheap", "span", s["base"], "-json"))[0]["objects"]}
            if "marked" not in states:  # it may just have begun
                continue
            return sum(map(len, inspected.frames.values()))
        finally:
            program.process.send_signal(signal.SIGCONT)
    raise Wrong("sixty stops, none of them in the mark phase")


def lldb_frames(build, program, core, goids, lost=None):
    """pc of every frame of each goroutine, as LLDB's own bt shows them once it is selected. lost: to which those are added of which
    LLDB's frames are said to be wrong."""
    lldb = shutil.which("lldb-19") or shutil.which("lldb")
    script = os.path.join(HERE, "..", "..", "debugger", "lldb", "vitrine_lldb.py")
    words = [word for goid in goids for word in ("-o", "goroutine %d" % goid, "-o", "bt")]
    run = subprocess.run([lldb, "--no-lldbinit", "-b", "-c", core, program, "-o", "command script import " + script, *words],
                         capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, "VITRINE_HOME": build})
    found, goid, listing = {}, 0, False
    for line in run.stdout.splitlines():
        if line.startswith("(lldb) "):
            selected = re.match(r"\(lldb\) goroutine (\d+)$", line)
            goid, listing = int(selected[1]) if selected else goid, line == "(lldb) bt"
        frame = re.match(r"\s*(?:\* )?frame #\d+: 0x([0-9a-f]+) ", line)
        if frame and listing:
            found.setdefault(goid, []).append(int(frame[1], 16))
    if lost is not None:
        lost.update(map(int, re.findall(r"^warning: LLDB loses its way in the frames of goroutine (\d+),", run.stdout + run.stderr, re.M)))
    if not found:
        raise Wrong("LLDB: %s%s" % (run.stdout[-2000:], run.stderr[-2000:]))
    return found


def compare_lldb(found, truth, goids):
    frames = 0
    for goid in goids:
        wanted = [f.pc for f in truth[goid].frames if f.pc]
        if found.get(goid) != wanted:
            raise Wrong("goroutine %d in LLDB: Go has\n  %s\nLLDB\n  %s" % (goid, list(map(hex, wanted)), list(map(hex, found.get(goid, [])))))
        frames += len(wanted)
    return frames


def compare_gdb(found, truth):
    frames = 0
    for goid, theirs in found.items():
        wanted = [(f.pc, f.sp) for f in truth[goid].frames if f.pc]
        got = [tuple(f) for f in theirs]
        if got != wanted:  # nothing above the outermost function either
            raise Wrong("goroutine %d in gdb: Go has\n  %s\ngdb\n  %s" % (goid, wanted, got))
        frames += len(wanted)
    return frames


def refused(tool, core, other):
    r = subprocess.run([tool, "--core", core, other, "info", "goroutines"], capture_output=True, text=True, timeout=60)
    if r.returncode == 0 or "build id" not in r.stderr or "VITRINE_FORCE=1" not in r.stderr:
        raise Wrong("a core of another program: status %d: %s" % (r.returncode, r.stderr))
    r = subprocess.run([tool, "--force", "--core", core, other, "vitrine", "doctor"], capture_output=True, text=True, timeout=60)
    if "read all the same" not in r.stdout:
        raise Wrong("a core of another program, forced: status %d: %s%s" % (r.returncode, r.stdout, r.stderr))
    return 0


def refused_in_gdb(build, core, other):
    """As on the command line: refused, and read when the environment says so."""
    for force, wanted in (("0", "VITRINE_FORCE=1"), ("1", "read all the same")):
        run = subprocess.run(["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load python-scripts off",
                              other, core, "-x", os.path.join(HERE, "..", "..", "debugger", "gdb", "vitrine_gdb.py"), "-ex", "vitrine doctor"],
                             capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                             env={**os.environ, "VITRINE_HOME": build, "VITRINE_FORCE": force})
        if wanted not in run.stdout + run.stderr:
            raise Wrong("gdb, a core of another program, VITRINE_FORCE=%s: %s%s" % (force, run.stdout[-1500:], run.stderr[-1500:]))
    return 0


def check_expressions(build, path, target, inspected, where, tally):
    def check(ask):
        if why := ask(build, path, target, inspected):
            raise Wrong(why)
        return 1

    for debugger, ask in (("gdb", expressions.in_gdb), ("lldb", expressions.in_lldb)):
        there = shutil.which(debugger) or shutil.which(debugger + "-19")
        tally("expressions in %s, %s" % (debugger, where), (lambda: check(ask)) if there else None, "there is no " + debugger)


def check_waits(toolchain, build, tally):
    path = toolchain.build(build, "waits", "waits")
    tool = os.path.join(build, "bin", "vitrine-inspect")
    program = Program(path)
    try:
        live = at_rest(tool, program)
        tally("fields", lambda: check_table(live))
        tally("timers", lambda: check_timers(live))
        tally("chan, graph, locals", lambda: check_chan(live))
        tally("locks", lambda: check_locks(live))
        tally("free page", lambda: free_page(live))
        tally("stacks", lambda: check_stacks(live, program))
        if shutil.which("gdb") and toolchain.ends:
            tally("locks in gdb", lambda: locks_in_gdb(build, path, str(program.process.pid), live))
        if toolchain.ends:
            check_expressions(build, path, str(program.process.pid), live, "live", tally)
        parked = [g for g, row in live.rows.items() if row["status"] == "waiting"]
        in_gdb = gdb_frames(build, path, str(program.process.pid), parked) if shutil.which("gdb") else None
        stack = dump(program.said)
        text, core = program.quit()
        truth = dump(text)
        tally("live", lambda: compare(live, truth))
        # runtime.Stack, of before: all but the one that printed it, and the system's, which it leaves out.
        tally("runtime.Stack", lambda: compare_stack(live, stack))
        if in_gdb is not None:
            tally("gdb's frames, live", lambda: compare_gdb(in_gdb, truth))
        if core is None:
            tally("core", None, "the kernel left no core (core_pattern)")
            return
        tally("another program's core", lambda: refused(tool, core, toolchain.build(build, "faults", "faults")))
        on_core = Inspected(tool, "--core", core, path)
        tally("core", lambda: compare(on_core, truth, moving=("running", "runnable")))
        if toolchain.ends:
            check_expressions(build, path, core, on_core, "core", tally)
        if in_gdb is not None and toolchain.ends:
            tally("another program's core in gdb", lambda: refused_in_gdb(build, core, toolchain.build(build, "faults", "faults")))
            tally("beside runtime-gdb.py", lambda: beside_gos_script(build, toolchain, path, core))
        if in_gdb is not None:
            tally("gdb's frames, core", lambda: compare_gdb(gdb_frames(build, path, core, parked), truth))
        if shutil.which("lldb-19") or shutil.which("lldb"):
            tally("LLDB's frames, core", lambda: compare_lldb(lldb_frames(build, path, core, parked), truth, parked))
        tally("core cut short", lambda: cut_short(tool, path, core))
    finally:
        program.close()


def last_words(toolchain, build, program, path, tally, what):
    """A program that ends by itself: every goroutine of its core but the one that died must be as its last dump says."""
    program.process.wait(60)
    program.log.seek(0)
    text = program.log.read()
    found = [f for f in os.listdir(program.directory) if f.startswith("core")]
    if not found:
        tally(what, None, "the kernel left no core (core_pattern)")
        return
    core = os.path.join(program.directory, found[0])
    inspected = Inspected(os.path.join(build, "bin", "vitrine-inspect"), "--core", core, path)

    def check():
        truth = dump(text)
        running = [g for g, go in truth.items() if go.state.startswith("running")]
        frames = 0
        for goid in running:  # its user's frames, in order; the runtime goes on after the dump
            user = [(f.function, f.file, f.line, f.pc) for f in truth.pop(goid).frames if f.function.startswith("main.")]
            ours = [(f.function, f.file, f.line, f.pc) for f in inspected.frames[goid] if f.function.startswith("main.")]
            if len(user) > 40:  # Go elides the middle of a deep stack
                user, ours = user[:40], ours[:40]
            if user != ours:
                raise Wrong("goroutine %d, which died: Go has %s, the inspector %s" % (goid, user[:6], ours[:6]))
            frames += len(user)
            if inspected.rows.pop(goid)["errors"]:
                raise Wrong("goroutine %d: errors" % goid)
        for goid in set(inspected.rows) - set(truth):
            if not inspected.rows[goid]["system"]:
                raise Wrong("goroutine %d is not in Go's dump" % goid)
            del inspected.rows[goid]
        return frames + compare(inspected, truth, moving=("runnable",))

    def shown():
        """In a debugger, of the goroutine whose thread is in a signal handler: on from where the signal came."""
        died = next(go for go in dump(text).values() if go.state.startswith("running"))
        wanted = [f.pc for f in died.frames if f.function.startswith("main.")]
        found = []
        if shutil.which("gdb"):
            found.append(("gdb", [pc for pc, _ in gdb_frames(build, path, core, [died.goid])[died.goid]]))
        if shutil.which("lldb-19") or shutil.which("lldb"):
            found.append(("LLDB", lldb_frames(build, path, core, [died.goid])[died.goid]))
        for host, pcs_ in found:
            if [pc for pc in pcs_ if pc in wanted] != wanted or pcs_[-1] != died.frames[-1].pc:
                raise Wrong("%s, goroutine %d, which died: Go has %s, %s" % (host, died.goid, list(map(hex, wanted)), list(map(hex, pcs_))))
        return len(found) * len(wanted)

    tally(what, check)
    if what == "nil" and toolchain.ends:
        tally("debuggers' frames of one that died", shown)
    if what == "panic":
        tally("panic's world", lambda: ends(inspected))


def check_faults(toolchain, build, tally):
    path = toolchain.build(build, "faults", "faults")
    if shutil.which("gdb") and toolchain.number[:2] != (1, 22):
        tally("P in a system call", lambda: processor_in_syscall(build, path))
        tally("about to leave a stack", lambda: about_to_leave(build, path))
        tally("a P that goes away", lambda: destroyed(build, path))
        if toolchain.number[:2] == (1, 19):
            tally("on the way into a system call", lambda: blocks(build, path))
    for what in ("nil", "overflow", "panic"):
        program = Program(path, what)
        try:
            last_words(toolchain, build, program, path, tally, what)
        finally:
            program.close()
    program = Program(path, "time")
    try:
        tally("asks the time", lambda: asks_the_time(build, path, program, toolchain.ends))
    finally:
        program.close()
    program = Program(path, "spin")  # one that runs: its thread says where it is
    try:
        inspected = Inspected(os.path.join(build, "bin", "vitrine-inspect"), "--pid", str(program.process.pid))

        def check():
            spinning = [g for g, f in inspected.frames.items() if any(x.function == "main.spins" for x in f)]
            if len(spinning) != 1 or inspected.frames[spinning[0]][-1].function != "runtime.goexit":
                raise Wrong("main.spins: %s" % {g: inspected.frames[g] for g in spinning})
            return 1

        def cached():
            rows = inspected.ask("mheap", "stacks", "-json")
            used = {r["size"]: (r["goroutines"] + r["dead"] + r["cached"] + r["free"], r["slots"]) for r in rows}
            if not sum(r["cached"] for r in rows) or any(n > slots for n, slots in used.values()):
                raise Wrong("mheap stacks: Go takes several at a time into an mcache: %s" % rows)
            return 1

        tally("running", check)
        tally("stacks in mcaches", cached)
    finally:
        program.close()


def asks_the_time(build, path, program, hosts):
    """Its thread is on its scheduling stack, in the vDSO: the goroutine is where it asked, not where it last parked."""
    pid = str(program.process.pid)
    tool = os.path.join(build, "bin", "vitrine-inspect")
    main_waits(tool, program)
    for _ in range(5):
        inspected = Inspected(tool, "--pid", pid)
        goid, frames = next((g, f) for g, f in inspected.frames.items() if any(x.function == "main.asks" for x in f))
        row = inspected.rows[goid]
        if frames[-1].function != "runtime.goexit" or row["status"] != "running" or not row["stack"]["used"]:
            raise Wrong("main.asks: %s %s" % (frames, row))
        if ": no violation" not in (text := inspected.text("info", "sched", "-check")):
            raise Wrong("while the time is asked: " + text)
    if hosts and shutil.which("gdb"):
        for _ in range(8):  # none if its thread is on the goroutine's stack just then, and selected itself
            if found := gdb_frames(build, path, pid, [goid])[goid]:
                break
        if not found or found[-1][0] != frames[-1].pc:
            raise Wrong("main.asks in gdb: %s" % found)
    return 5


def check_fresh(toolchain, build, tally):
    path = toolchain.build(build, "faults", "faults")
    program = Program(path, "fresh", GODEBUG="asyncpreemptoff=1")
    try:
        inspected = Inspected(os.path.join(build, "bin", "vitrine-inspect"), "--pid", str(program.process.pid))

        def check():
            goid = max(g for g, row in inspected.rows.items() if row["status"] == "runnable")
            first = inspected.frames[goid][0].function  # of a wrapper or of the function itself
            if not re.fullmatch(r"main\.(fresh|main\.\w+)", first) or \
                    inspected.rows[goid]["start"]["function"] != first:
                raise Wrong("goroutine %d, which never ran: %s in %s" % (goid, inspected.rows[goid]["status"], inspected.frames[goid]))
            return len(inspected.frames[goid])

        tally("never ran", check)
    finally:
        program.close()


def check_aged(toolchain, build, tally):
    """AGE is said to be about so long: Go dates a wait to the collection before the one that met it. And a core has a clock of sorts."""
    path = toolchain.build(build, "faults", "faults")
    tool, began = os.path.join(build, "bin", "vitrine-inspect"), time.monotonic()
    program = Program(path, "aged")

    def aged(*where):
        inspected = Inspected(tool, *where)
        goid = next(g for g, frames in inspected.frames.items() if any(f.function == "main.fresh" for f in frames))
        age, uptime = inspected.rows[goid]["age_ns"], inspected.ask("info", "sched", "-json")[0]["uptime_ns"]
        text = inspected.text("info", "goroutines", "-where", "goid = %d" % goid)
        if not age or not 400e6 <= age <= uptime <= (time.monotonic() - began) * 1e9 or not re.search(r" ~[0-9.]+m?s ", text):
            raise Wrong("one that began to wait 400 ms after the collection before: age %s of %s: %s" % (age, uptime, text))
        return 1

    try:
        at_rest(tool, program)
        tally("live", lambda: aged("--pid", str(program.process.pid)))
        core = program.quit()[1]
        if core is None:
            tally("core", None, "the kernel left no core (core_pattern)")
        else:
            tally("core", lambda: aged("--core", core, path))
    finally:
        program.close()


def check_cgo(toolchain, build, tally):
    if not shutil.which("gcc"):
        tally("cgo", None, "there is no C compiler")
        return
    path = toolchain.build(build, "cgo", "cgo", CGO_ENABLED="1")
    program = Program(path)
    try:
        tool = os.path.join(build, "bin", "vitrine-inspect")
        live = at_rest(tool, program)
        tally("doctor", lambda: nothing_absent(live))
        tally("locals", lambda: locals_below_c(live))
        text, core = program.quit()
        truth = dump(text)

        def check():
            names = {goid: [f.function for f in frames] for goid, frames in live.frames.items()}
            into = [n for n in names.values() if "main.intoC" in n]
            stays = [n for n in names.values() if "main.staysInC" in n]
            if len(into) != 1 or into[0].index("main.waitsForC") > into[0].index("main.intoC"):
                raise Wrong("a goroutine that C called back: %s" % into)
            if len(stays) != 1:
                raise Wrong("a goroutine in C: %s" % stays)
            if sum("main.waitsForC" in n for n in names.values()) != 2:
                raise Wrong("a thread of C's that called Go: %s" % names)
            return compare(live, {g: go for g, go in truth.items() if g in live.rows}) if set(truth) == set(live.rows) else 1

        def lldb():
            parked, lost = [g for g, row in live.rows.items() if row["status"] == "waiting"], set()
            ours, found = Inspected(tool, "--core", core, path), lldb_frames(build, path, core, parked, lost)
            wrong = {g for g in parked if found[g] != pcs(ours.frames[g])}
            if not wrong or wrong != lost:
                raise Wrong("LLDB's frames are wrong for %s, and said to be for %s" % (wrong, lost))
            return sum(len(found[g]) for g in parked if g not in wrong)

        tally("live", check)
        if core is None:
            tally("core", None, "the kernel left no core (core_pattern)")
        elif toolchain.ends and (shutil.which("lldb-19") or shutil.which("lldb")):
            tally("LLDB's frames, core", lldb)
    finally:
        program.close()


def locals_below_c(inspected):
    """Go inlines what C calls into a function of cgo's own."""
    goids = [g for g, frames in inspected.frames.items() if any(f.function == "main.waitsForC" for f in frames)]
    for goid in goids:
        if ": main.waitsForC at main.go" not in (text := inspected.text("goroutine", "locals", str(goid))):
            raise Wrong("goroutine locals, of a function that C called: " + text)
    return len(goids)


def pcs(frames):
    """One of each function, whatever was inlined into it."""
    found = [f.pc for f in frames]
    return [pc for i, pc in enumerate(found) if i == 0 or pc != found[i - 1]]


def nothing_absent(inspected):
    if "stacks absent" in (said := inspected.text("vitrine", "doctor")):
        raise Wrong("all stacks are there: " + said)
    return 0


def check_stripped(toolchain, build, tally):
    """Neither DWARF nor symbols: goroutines are refused with a word on why, threads' frames come from Go's own table."""
    path = toolchain.build(build, "faults", "faults-s", "-ldflags=-s -w")
    tool = os.path.join(build, "bin", "vitrine-inspect")
    program = Program(path, "panic")
    try:
        program.process.wait(60)
        program.log.seek(0)
        text = program.log.read()
        found = [f for f in os.listdir(program.directory) if f.startswith("core")]
        if not found:
            tally("core", None, "the kernel left no core (core_pattern)")
            return
        core = os.path.join(program.directory, found[0])

        def said():
            r = subprocess.run([tool, "--core", core, path, "info", "goroutines"], capture_output=True, text=True, timeout=60)
            if "this is a Go program without its runtime's DWARF" not in r.stderr:
                raise Wrong("a program without DWARF: %s%s" % (r.stdout, r.stderr))
            return 0

        def threads():
            def users(function):  # and what calls it: before that the runtime went on after the dump
                return function is not None and function.startswith(("main.", "runtime.main", "runtime.goexit"))

            wanted, last = [], None  # Go's frames with those that were inlined taken together
            for f in next(go for go in dump(text).values() if go.state.startswith("running")).frames:
                if not users(f.function):
                    continue
                if f.pc and f.pc == last:
                    wanted[-1] = (f.function, *wanted[-1][1:])
                else:
                    wanted.append((f.function, f.file, f.line, f.pc))
                last = f.pc
            r = subprocess.run([tool, "--core", core, path, "vitrine", "threads", "-json"], capture_output=True, text=True, timeout=60)
            rows = json.loads(r.stdout)
            ours = [[(f["function"], f["file"], f["line"], int(f["pc"], 16)) for f in row["frames"] if users(f["function"])]
                    for row in rows]
            if len(wanted) < 3 or wanted not in ours or not any(wanted == o and not row["errors"] for o, row in zip(ours, rows)):
                raise Wrong("threads of a stripped program: Go has\n  %s\nthe inspector\n  %s" % (wanted, ours))
            return len(wanted)

        tally("said", said)
        tally("threads", threads)
        tally("trace gogo", lambda: routine(tool, core, path))
    finally:
        program.close()


def routine(tool, core, path):
    r = subprocess.run([tool, "--core", core, path, "trace", "gogo"], capture_output=True, text=True, timeout=60)
    if not re.match(r"(runtime\.)?gogo +0x[0-9a-f]+, \d+ bytes, asm_amd64.s:\d+\n", r.stdout):
        raise Wrong("trace gogo: %s%s" % (r.stdout[:200], r.stderr))
    if re.search(r"← *$", r.stdout, re.M):
        raise Wrong("trace gogo leaves a value out:\n" + r.stdout)
    return 1


def compare_stack(inspected, stack):
    users = {goid for goid, row in inspected.rows.items() if not row["system"]}
    if users != set(stack):
        raise Wrong("runtime.Stack has %s, the inspector, without the system's, %s" % (sorted(stack), sorted(users)))
    for goid, go in stack.items():
        if go.state == "running":
            continue
        if not same_state(inspected.rows[goid], go.state):
            raise Wrong("goroutine %d: runtime.Stack says %s" % (goid, go.state))
        names = [f.function for f in inspected.frames[goid]]
        rest = iter(names)
        if not all(f.function in rest for f in go.frames):  # it leaves out some of the runtime's
            raise Wrong("goroutine %d: runtime.Stack has %s, the inspector %s" % (goid, go.frames, names))
    return sum(len(go.frames) for go in stack.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--version", action="append", default=[])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def tally_for(label):
        def tally(what, check, why=""):
            if check is None:
                counts["skipped"] += 1
                print("skipped: %s, %s: %s" % (label, what, why), flush=True)
                return
            try:
                frames = check()
                counts["passed"] += 1
                if options.v:
                    print("ok: %s, %s: %s frames" % (label, what, frames), flush=True)
            except (Wrong, subprocess.TimeoutExpired) as e:
                counts["failed"] += 1
                print("FAILED: %s, %s: %s" % (label, what, e), flush=True)

        return tally

    found = [t for t in toolchains.all_of_them() if not options.version or t.version in options.version]
    if not options.all and not options.version:
        found = found[:1] + found[1:][-1:]
    if not found:
        print("skipped: no Go toolchain is installed (golang-go)")
        counts["skipped"] += 1
    unlimited()

    def all_of(toolchain):
        toolchain.ends = toolchain in (found[0], found[-1])
        checks = [check_waits, check_faults, check_fresh, check_aged, check_cgo, check_stripped, check_many]
        for check in checks + [check_pie] * (toolchain is found[-1]):
            tally = tally_for("go %s %s" % (toolchain.version, check.__name__[len("check_"):]))
            try:
                check(toolchain, os.path.abspath(options.build), tally)
            except (Wrong, RuntimeError) as e:
                tally("as a whole", lambda: (_ for _ in ()).throw(Wrong(str(e))))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # much of the time is spent on waiting
        list(pool.map(all_of, found))
    print("%d passed, %d failed, %d skipped" % (counts["passed"], counts["failed"], counts["skipped"]))
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
