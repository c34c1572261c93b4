#!/usr/bin/env python3
"""heap_bench.py --build DIR [--heap spans objects managed] [--host cli gdb lldb] [--small]: what looking at a large heap costs

manyspans makes a heap of 10 GiB of address space with over a million spans, and one of 1 GiB of small objects; `mheap
spans -count`, `mheap classes` and `mheap check` are timed on each. On a graph of 10 million managed objects in 1 GiB:
`heap types`, `heap why` (of the object that is farthest from its root), `goroutine leaks` and `heap retained`. Live and on
a core (of `vitrine core`), as inspect_bench.py does it: cold is the first time in a fresh host, warm the second; the
command line's time is that of the whole process; rss_anon_bytes is the peak of what the host allocated. JSON to standard
output: a list of rows. --small: a hundredth of each, to see that everything works.
"""
import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import inspect_bench

COMMANDS = ("mheap spans -count", "mheap classes", "mheap check")
MANAGED = ("heap types", "heap why {deep}", "goroutine leaks", "heap retained -top 10")
SIZES = {"spans": 10 << 17, "objects": 1024, "managed": 10_000_000}


def say(text):
    print(f"heap_bench.py: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def running(program, heap, n):
    with subprocess.Popen([program, heap, str(n)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.pid, json.loads(process.stdout.readline())
        finally:
            process.kill()


def measure(host, build, program, pid, core, command, directory):
    """(cold, warm, last line of the answer, peak RssAnon)."""
    if host == "cli":
        where = ["--core", core, program] if core else ["--pid", str(pid)]
        output, seconds, peak = inspect_bench.run_sampled([os.path.join(build, "bin", "vitrine-inspect"), *where,
                                                           *command.split()], limit=120)
        return seconds, None, output.strip().splitlines()[-1], peak
    script = os.path.join(directory, "measure.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write((inspect_bench.GDB if host == "gdb" else inspect_bench.LLDB).format(command=command))
    if host == "gdb":
        argv = ["gdb", "-q", "-nx", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off", "-x",
                os.path.join(inspect_bench.ROOT, "debugger", "gdb", "vitrine_gdb.py")]
        argv += [program, core] if core else ["-p", str(pid)]
        argv += ["-ex", f"source {script}"]
    else:
        argv = [shutil.which("lldb-19") or "lldb", "-x", "-b", "-o",
                f"command script import {inspect_bench.ROOT}/debugger/lldb/vitrine_lldb.py"]
        argv += [] if core else ["-o", f"process attach -p {pid}"]
        argv += ["-o", f"command script import {script}"]
        argv += ["-c", core, program] if core else ["-o", "detach", program]
    output, _, peak = inspect_bench.run_sampled(argv, limit=240, env=dict(os.environ, VITRINE_HOME=build))
    results = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise RuntimeError(f"{host}: {command}: {output[-800:]}")
    cold, warm, answer = json.loads(results[-1][len("RESULT "):])
    return cold, warm, answer, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--heap", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--host", nargs="+", default=["cli", "gdb", "lldb"], choices=["cli", "gdb", "lldb"])
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    program = os.path.join(build, "bin", "manyspans")
    rows = []
    for heap in options.heap:
        directory = tempfile.mkdtemp(prefix="vitrine-heap-")
        try:
            with running(program, heap, SIZES[heap] // 100 if options.small else SIZES[heap]) as (pid, made):
                say(f"{made}")
                core = os.path.join(directory, "core")
                subprocess.run([os.path.join(build, "bin", "vitrine-inspect"), "--pid", str(pid), "vitrine", "core", core],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
                for what, host, command in ((w, h, c) for w in ("live", "core") for h in options.host for c in
                                            (MANAGED if heap == "managed" else COMMANDS)):
                    command = command.format(**made)
                    cold, warm, answer, peak = measure(host, build, program, pid, core if what == "core" else None,
                                                       command, directory)
                    rows.append({"command": command, "heap": heap, "what": what, "host": host,
                                 "heap_sys": made["heap_sys"], "heap_live": made["heap_live"],
                                 "cold_s": round(cold, 3), "warm_s": warm and round(warm, 3),
                                 "rss_anon_bytes": peak or None, "answer": answer})
                    say(json.dumps(rows[-1]))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    json.dump(rows, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
