"""What can stand in an expression, of a Go program: $goid(), $goroutine(N), $goroutine_name(N), $mspan(ADDR) and $obj(ADDR) in gdb,
`vitrine value` and vitrine_lldb.goid(frame) in LLDB, on a process and on a core, held against what vitrine-inspect says."""

import os
import re
import shutil
import subprocess

DEBUGGER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "debugger")


def lines_of(found, *words, **env):
    """What a debugger printed, by the first word of each line."""
    run = subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, **env})
    lines = dict(line.split(" ", 1) for line in run.stdout.splitlines() if line.split(" ")[0] in found)
    return lines, run.stdout[-3000:] + run.stderr[-2000:]


def wanted_of(inspected):
    """A parked goroutine, the object that it waits for, and the span of that."""
    row = next(r for r in inspected.rows.values() if "main.receives" in [f.function for f in inspected.frames[r["goid"]]])
    at = int(row["waiting_on"], 16)
    where = inspected.ask("obj", hex(at + 9), "-json")[0]
    return row, at, where, inspected.ask("mheap", "span", hex(at), "-json")[0]


def in_gdb(build, path, target, inspected):
    row, at, where, span = wanted_of(inspected)
    asks = (("goid", "%lu", "$goid()"), ("g", "%p", "$goroutine(%d)" % row["goid"]), ("same", "%lu", "$goroutine().goid"),
            ("main", "%lu", "$goroutine(1).goid"), ("object", "%p", "$obj(%#x)" % (at + 9)),
            ("span", "0x%lx", "$mspan(%#x).startAddr" % (at + 9)), ("elements", "%lu", "$mspan(%#x).nelems" % at))
    words = [w for name, form, what in asks for w in ("-ex", 'printf "%s %s\\n", %s' % (name, form, what))]
    words += ["-ex", 'printf "name %d\\n", $_strlen($goroutine_name())', "-ex", "goroutine off", "-ex", 'printf "thread %lu\\n", $goid()']
    found, said = lines_of([a[0] for a in asks] + ["name", "thread"], "gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex",
                           "set auto-load python-scripts off", *(["-p", target] if target.isdigit() else [path, target]), "-x",
                           os.path.join(DEBUGGER, "gdb", "vitrine_gdb.py"), "-ex", "goroutine %d" % row["goid"], *words, VITRINE_HOME=build)
    wanted = {"goid": str(row["goid"]), "g": row["addr"], "same": str(row["goid"]), "main": "1", "object": where["base"],
              "span": span["base"], "elements": str(span["nelems"]), "name": "0"}
    thread = found.pop("thread", None)
    if found != wanted or not thread or int(thread) and int(thread) not in inspected.rows:
        return "gdb: wanted %s, found %s, of the thread %s: %s" % (wanted, found, thread, said)
    return None


def in_lldb(build, path, target, inspected):
    row, at, where, span = wanted_of(inspected)
    lldb = shutil.which("lldb-19") or shutil.which("lldb")
    asks = ("goid", "goroutine", "goroutine %d" % row["goid"], "obj %#x" % (at + 9), "mspan %#x" % (at + 9))
    words = [w for ask in asks for w in ("-o", "vitrine value " + ask)]
    where_to = ["-p", target] if target.isdigit() else ["-c", target, path]
    run = subprocess.run([lldb, "--no-lldbinit", "-b", *where_to, "-o", "command script import " + os.path.join(DEBUGGER, "lldb", "vitrine_lldb.py"),
                          "-o", "goroutine %d" % row["goid"], *words, "-o", "detach" if target.isdigit() else "goroutine off"],
                         capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, "VITRINE_HOME": build})
    found = {}
    for line in run.stdout.splitlines():
        if asked := re.match(r"\(lldb\) vitrine value (.*)$", line):
            name = asked[1]
        elif re.match(r"\d+$|\(.* \*\) 0x[0-9a-f]+$", line):
            found.setdefault(name, line)
    g = "(runtime.g *) " + row["addr"]
    wanted = dict(zip(asks, (str(row["goid"]), g, g, "(void *) " + where["base"], "(runtime.mspan *) " + span["addr"])))
    if found != wanted:
        return "LLDB: wanted %s, found %s: %s" % (wanted, found, run.stdout[-3000:] + run.stderr[-2000:])
    return None
