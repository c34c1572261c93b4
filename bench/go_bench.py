#!/usr/bin/env python3
"""go_bench.py --build DIR [--go GO] [--dlv DLV] [--count N…] [--viewcore VIEWCORE --heap MIB]: listing and grouping the goroutines of a real Go program,
beside the debuggers that Go has.

bench/goroutines is built by GO and run with N goroutines; once parked, each tool looks at the live process, then at
the core that the kernel writes as it aborts. In gdb and LLDB the time is taken inside the host, around the command;
runtime-gdb.py is the one of GO's own tree, and runs once. The command line and Delve are timed as a whole process each, and
Delve does nothing once as well (`exit`), so that the time of the command alone is known. A tool gets --limit seconds.
rss_anon is the peak of RssAnon in /proc/PID/status, sampled every 2 ms. With --heap a core of bench/goheap is looked at too: its
heap by objects, by ours and by golang/debug's viewcore. JSON to standard output: a list of rows.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cores  # noqa: E402
from inspect_bench import LLDB, run_sampled  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


# What a command prints goes where it would without a script, and is not gathered in memory first.
GDB = """
import gdb, json, time
def once():
    start = time.monotonic(); gdb.execute({command!r}); return time.monotonic() - start
print("RESULT " + json.dumps([once(), once() if {twice} else None]))
"""


def in_gdb(command, script, program, target, directory, build, limit, twice=True):
    measure = os.path.join(directory, "measure.py")
    with open(measure, "w", encoding="utf-8") as file:
        file.write(GDB.format(command=command, twice=twice))
    argv = ["gdb", "-q", "-nx", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off",
            *(["-p", target] if target.isdigit() else [program, target]), "-x", script, "-ex", f"source {measure}"]
    output, _, peak = run_sampled(argv, limit, env=dict(os.environ, VITRINE_HOME=build))
    said, result, times = output.rpartition("RESULT ")
    if not result:
        raise RuntimeError(f"gdb: {command}: {output[-800:]}")
    cold, warm = json.loads(times.splitlines()[0])
    return cold, warm, said[-400:].strip().splitlines()[-1], peak


def in_lldb(command, program, target, directory, build, limit):
    measure = os.path.join(directory, "measure.py")
    with open(measure, "w", encoding="utf-8") as file:
        file.write(LLDB.format(command=command))
    argv = [shutil.which("lldb-19") or "lldb", "-x", "-b", *(["-p", target] if target.isdigit() else ["-c", target, program]),
            "-o", f"command script import {ROOT}/debugger/lldb/vitrine_lldb.py", "-o", f"command script import {measure}"]
    output, _, peak = run_sampled(argv, limit, env=dict(os.environ, VITRINE_HOME=build))
    results = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise RuntimeError(f"lldb: {command}: {output[-800:]}")
    cold, warm, answer = json.loads(results[-1][len("RESULT "):])
    return cold, warm, answer, peak


def whole_process(argv, limit):
    output, seconds, peak = run_sampled(argv, limit, statuses=(0, 1, 2))  # Delve ends an attachment with 1 or 2
    return seconds, None, output[-400:].strip().splitlines()[-1], peak


def tools(options, program, target, directory):
    build, live = os.path.abspath(options.build), target.isdigit()
    where = ["--pid", target] if live else ["--core", target, program]
    ours = os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py")
    theirs = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(options.go))), "src", "runtime", "runtime-gdb.py")
    for command in ("info goroutines -count", "info goroutines -cols goid,status,wait -limit 0", "info goroutines -limit 0",
                    "goroutine stacks -count"):
        yield "vitrine-inspect", command, lambda c=command: whole_process(
            [os.path.join(build, "bin", "vitrine-inspect"), *where, *c.split()], options.limit)
        yield "vitrine in gdb", command, lambda c=command: in_gdb(c, ours, program, target, directory, build, options.limit)
        if shutil.which("lldb-19") or shutil.which("lldb"):
            yield "vitrine in LLDB", command, lambda c=command: in_lldb(c, program, target, directory, build, options.limit)
    if os.path.exists(theirs):
        yield "runtime-gdb.py", "info goroutines", lambda: in_gdb("info goroutines", theirs, program, target, directory, build,
                                                                      options.limit, twice=False)
    if options.dlv:
        for command in ("", "goroutines", "goroutines -group userloc"):
            script = os.path.join(directory, "dlv")
            with open(script, "w", encoding="utf-8") as file:
                file.write(command + "\nexit\n" + ("n\n" if live else ""))
            how = ["attach", target] if live else ["core", program, target]
            yield "dlv", command or "exit", lambda h=how, s=script: whole_process(
                [options.dlv, "--allow-non-terminal-interactive=true", "--check-go-version=false", *h, "--init", s], options.limit)


def heap_rows(options, directory, environment, add):
    program, core = os.path.join(directory, "goheap"), os.path.join(directory, "core")
    subprocess.run([options.go, "build", "-o", program, "main.go"], check=True, cwd=os.path.join(ROOT, "bench", "goheap"), env=environment)
    subprocess.run([program, str(options.heap)], cwd=directory, preexec_fn=lambda: __import__("resource").setrlimit(4, (-1, -1)),
                   stderr=subprocess.DEVNULL, check=False)
    os.replace(os.path.join(directory, next(f for f in os.listdir(directory) if f.startswith("core"))), core)
    with open(core, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass
    inspect = [os.path.join(os.path.abspath(options.build), "bin", "vitrine-inspect"), "--core", core, program]
    for command in ("mheap", "mheap spans -count", "mheap classes"):
        add({"tool": "vitrine-inspect", "command": command}, lambda c=command: whole_process([*inspect, *c.split()], options.limit))
        add({"tool": "vitrine in gdb", "command": command}, lambda c=command: in_gdb(
            c, os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py"), program, core, directory, os.path.abspath(options.build), options.limit))
    for command in ("breakdown", "histogram"):
        if options.viewcore:
            add({"tool": "viewcore", "command": command}, lambda c=command: whole_process(
                [options.viewcore, core, "--exe", program, c], options.limit))
    os.unlink(core)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--go", default=shutil.which("go"))
    parser.add_argument("--dlv", default=shutil.which("dlv"))
    parser.add_argument("--count", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--live-only", action="store_true")
    parser.add_argument("--viewcore", default=shutil.which("viewcore"))
    parser.add_argument("--heap", type=int, default=0, help="MiB of a heap to walk; 0: none")
    options = parser.parse_args()
    rows = []
    directory = tempfile.mkdtemp(prefix="vitrine-bench-")
    try:
        program = os.path.join(directory, "goroutines")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GO")}
        environment.update(CGO_ENABLED="0", GO111MODULE="off", GOTOOLCHAIN="local")

        def add(row, run):
            try:
                cold, warm, answer, peak = run()
                row.update(cold_s=round(cold, 4), warm_s=warm and round(warm, 4), rss_anon_bytes=peak or None, answer=answer[:120])
            except RuntimeError as e:
                row.update(failed=str(e)[-300:])
            rows.append(row)
            print(f"bench: {json.dumps(row)}", file=sys.stderr, flush=True)

        if options.heap:
            heap_rows(options, directory, environment, add)
        subprocess.run([options.go, "build", "-o", program, "main.go"], check=True, cwd=os.path.join(ROOT, "bench", "goroutines"),
                       env=environment)
        for count in options.count:
            with subprocess.Popen([program, str(count)], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  preexec_fn=lambda: __import__("resource").setrlimit(4, (-1, -1))) as process:
                process.stdout.readline()
                targets = [("live", str(process.pid))]
                if not options.live_only and cores.kernel_core_is_a_file_here():
                    targets.append(("core", os.path.join(directory, "core")))
                for kind, target in targets:
                    if kind == "core":
                        process.stdin.write("abort\n")
                        process.stdin.flush()
                        process.wait()
                        made = [f for f in os.listdir(directory) if f.startswith("core")]
                        os.replace(os.path.join(directory, made[0]), target)
                        with open(target, "rb", buffering=0) as file:
                            while file.read(1 << 24):
                                pass
                    for tool, command, run in tools(options, program, target, directory):
                        add({"tool": tool, "command": command, "target": kind, "goroutines": count}, run)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                for name in os.listdir(directory):
                    if name.startswith("core"):
                        os.unlink(os.path.join(directory, name))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    json.dump(rows, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
