#!/usr/bin/env python3
"""trace_bench.py --build DIR [--count N]: what decoding and watching the switch routine costs.

decode   `gotrace gogo` in gdb, the second time: the annotator's time for one routine, with its names and its printing
live     `gotrace gogo -live -n N` in gdb and in LLDB: switches a second that it sustains
plain    the same number of hits of a plain Python breakpoint in gdb whose stop() reads the same two registers
JSON to standard output: a list of rows.
"""
import argparse
import json
import os
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

GDB = """
import gdb, json, time
def timed(command):
    start = time.monotonic(); gdb.execute(command, to_string=True); return time.monotonic() - start
class Plain(gdb.Breakpoint):
    def stop(self):
        frame = gdb.newest_frame(); int(frame.read_register("rdi")); int(frame.read_register("rsp"))
        self.hits += 1
        return self.hits >= {count}
gdb.execute("gotrace gogo", to_string=True)
decode = min(timed("gotrace gogo") for _ in range(5))
live = timed("gotrace gogo -live -n {count}")
plain = Plain("vitrine::rt::gogo", internal=True); plain.hits = 0
spent = timed("continue")
print("RESULT " + json.dumps([decode, live, spent]))
"""
LLDB = """
import json, lldb, time
def timed(command):
    result = lldb.SBCommandReturnObject(); start = time.monotonic()
    lldb.debugger.GetCommandInterpreter().HandleCommand(command, result)
    if not result.Succeeded(): raise SystemExit(result.GetError())
    return time.monotonic() - start
timed("gotrace gogo")
print("RESULT " + json.dumps([min(timed("gotrace gogo") for _ in range(5)), timed("gotrace gogo -live -n {count}")]))
"""


def result(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600,
                          env=dict(os.environ, DEBUGINFOD_URLS=""))
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[len("RESULT "):])
    raise SystemExit(f"{command[0]} said: {(done.stdout + done.stderr)[-2000:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()
    program, count = os.path.join(options.build, "bin", "switching"), options.count
    rows = []

    def row(host, what, seconds, n):
        rows.append({"host": host, "what": what, "count": n, "seconds": round(seconds, 6), "us_each": round(seconds / n * 1e6, 1),
                     "per_second": round(n / seconds)})

    if shutil.which("gdb"):
        decode, live, plain = result(
            ["gdb", "-nx", "-q", "-batch", "-ex", "set auto-load python-scripts off", "-ex", "set pagination off",
             "-ex", "source " + os.path.join(ROOT, "debugger/gdb/vitrine_gdb.py"), "-ex", "break vitrine::rt::gosched",
             "-ex", "run", "-ex", "delete", "-ex", "python " + "exec(%r)" % GDB.format(count=count), "-ex", "kill", program])
        row("gdb", "decode", decode, 1)
        row("gdb", "live", live, count)
        row("gdb", "plain", plain, count)
    lldb = shutil.which("lldb-19") or shutil.which("lldb")
    if lldb:
        decode, live = result(
            [lldb, "--no-lldbinit", "-b", "-o", "command script import " + os.path.join(ROOT, "debugger/lldb/vitrine_lldb.py"),
             "-o", "breakpoint set -n vitrine::rt::gosched -o true", "-o", "process launch",
             "-o", "script exec(%r)" % LLDB.format(count=count), "-o", "process kill", program])
        row("lldb", "decode", decode, 1)
        row("lldb", "live", live, count)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
