#!/usr/bin/env python3
"""inspect_bench.py --build DIR [--count N ...] [--host cli gdb lldb]: what listing and grouping goroutines cost.

For each N a core of manystacks is made, read once (so that it is in the page cache), and then `info goroutines -count`
and `goroutine stacks -count` are timed on it:
  cold   the first time in a fresh host process: symbols, layout and unwind rows have to be found
  warm   the second time in the same process
In gdb and LLDB the time is taken inside the host, around the command, not around the start of the debugger. The command
line has no warm time: each run is a process, so its time is that of the whole process.
rss_anon is the peak of RssAnon in /proc/PID/status, sampled every 2 ms: what the host itself allocated, without the
pages of the mapped core. JSON to standard output: a list of rows.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cores  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMMANDS = ("info goroutines -count", "goroutine stacks -count")

# Run inside the hosts; prints one line of JSON: [seconds, seconds, last line of the answer].
GDB = """
import gdb, json, time
def once():
    start = time.monotonic(); text = gdb.execute({command!r}, to_string=True); return time.monotonic() - start, text
(cold, text), (warm, _) = once(), once()
print("RESULT " + json.dumps([cold, warm, text[-400:].strip().splitlines()[-1]]))
"""
LLDB = """
import json, lldb, time
def once():
    result = lldb.SBCommandReturnObject(); start = time.monotonic()
    lldb.debugger.GetCommandInterpreter().HandleCommand({command!r}, result)
    return time.monotonic() - start, (result.GetOutput() or "") + (result.GetError() or "")
(cold, text), (warm, _) = once(), once()
print("RESULT " + json.dumps([cold, warm, text[-400:].strip().splitlines()[-1]]))
"""


def run_sampled(command, limit=None, statuses=(0,), **options):
    """(output, seconds, peak RssAnon in bytes) of a process, which may take limit seconds."""
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options) as process:
        peak = 0
        done = threading.Event()

        def sample():
            nonlocal peak
            while not done.wait(0.002):
                try:
                    with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
                        for line in file:
                            if line.startswith("RssAnon:"):
                                peak = max(peak, int(line.split()[1]) * 1024)
                except OSError:
                    return

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            output = process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()[0]
            statuses = ()
        seconds = time.monotonic() - start
        done.set()
        thread.join()
    if process.returncode not in statuses:
        raise RuntimeError(f"{command[0]}: status {process.returncode} after {seconds:.0f} s, {peak >> 20} MiB: {output[-800:]}")
    return output, seconds, peak


def measure(host, build, core, command, directory):
    program = os.path.join(build, "bin", "manystacks")
    if host == "cli":
        output, seconds, peak = run_sampled([os.path.join(build, "bin", "vitrine-inspect"), "--core", core, program, *command.split()])
        return seconds, None, output.strip().splitlines()[-1], peak
    script = os.path.join(directory, "measure.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write((GDB if host == "gdb" else LLDB).format(command=command))
    environment = dict(os.environ, VITRINE_HOME=build)
    if host == "gdb":
        argv = ["gdb", "-q", "-nx", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off",
                "-x", os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py"), "-ex", f"source {script}", program, core]
    else:
        argv = [shutil.which("lldb-19") or "lldb", "-x", "-b", "-o", f"command script import {ROOT}/debugger/lldb/vitrine_lldb.py",
                "-o", f"command script import {script}", "-c", core, program]
    output, _, peak = run_sampled(argv, env=environment)
    results = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise RuntimeError(f"{host}: {command}: {output[-800:]}")
    cold, warm, answer = json.loads(results[-1][len("RESULT "):])
    return cold, warm, answer, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--count", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--host", nargs="+", default=["cli", "gdb", "lldb"], choices=["cli", "gdb", "lldb"])
    parser.add_argument("--lldb-limit", type=int, default=100_000, help="largest count for LLDB")
    parser.add_argument("--directory", help="where cores are made and deleted (default: a temporary directory)")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    rows = []
    for count in options.count:
        directory = tempfile.mkdtemp(prefix="vitrine-bench-", dir=options.directory)
        try:
            print(f"bench: making a core of {count} goroutines in {directory}", file=sys.stderr, flush=True)
            core, built, writer = cores.make_core(build, count, directory)
            with open(core, "rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass
            for host in options.host:
                if host == "lldb" and count > options.lldb_limit:
                    continue
                for command in COMMANDS:
                    cold, warm, answer, peak = measure(host, build, core, command, directory)
                    rows.append({
                        "command": command, "host": host, "goroutines": count, "stacks": built["stacks"], "core": writer,
                        "cold_s": round(cold, 4), "warm_s": warm and round(warm, 4),
                        "cold_us_per_goroutine": round(cold / count * 1e6, 3), "rss_anon_bytes": peak or None, "answer": answer,
                    })
                    print(f"bench: {json.dumps(rows[-1])}", file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    json.dump(rows, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
