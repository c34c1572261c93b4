#!/usr/bin/env python3
"""go_bench.py --build DIR [--go GO] [--dlv DLV] [--count N…]: listing and grouping the goroutines of a real Go program,
beside the debuggers that Go has.

bench/goroutines is built by GO and run with N goroutines; once parked, each tool looks at the live process, then at
the core that the kernel writes as it aborts. In gdb the time is taken inside the host, around the command; runtime-gdb.py is
the one of GO's own tree. The command line and Delve are timed as a whole process each. A tool gets --limit seconds. rss_anon is
the peak of RssAnon in /proc/PID/status, sampled every 2 ms. JSON to standard output: a list of rows.
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
from inspect_bench import GDB, run_sampled  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def in_gdb(command, script, program, target, directory, build, limit):
    measure = os.path.join(directory, "measure.py")
    with open(measure, "w", encoding="utf-8") as file:
        file.write(GDB.format(command=command))
    argv = ["gdb", "-q", "-nx", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off",
            *(["-p", target] if target.isdigit() else [program, target]), "-x", script, "-ex", f"source {measure}"]
    output, _, peak = run_sampled(argv, limit, env=dict(os.environ, VITRINE_HOME=build))
    results = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise RuntimeError(f"gdb: {command}: {output[-800:]}")
    cold, warm, answer = json.loads(results[-1][len("RESULT "):])
    return cold, warm, answer, peak


def whole_process(argv, limit):
    output, seconds, peak = run_sampled(argv, limit, statuses=(0, 1))  # Delve ends an attachment with 1
    return seconds, None, output.strip().splitlines()[-1], peak


def tools(options, program, target, directory):
    build, live = os.path.abspath(options.build), target.isdigit()
    where = ["--pid", target] if live else ["--core", target, program]
    ours = os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py")
    theirs = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(options.go))), "src", "runtime", "runtime-gdb.py")
    for command in ("info goroutines -count", "info goroutines -short -limit 0", "goroutine stacks -count"):
        yield "vitrine-inspect", command, lambda c=command: whole_process(
            [os.path.join(build, "bin", "vitrine-inspect"), *where, *c.split()], options.limit)
        yield "vitrine in gdb", command, lambda c=command: in_gdb(c, ours, program, target, directory, build, options.limit)
    if os.path.exists(theirs):
        yield "runtime-gdb.py", "info goroutines", lambda: in_gdb("info goroutines", theirs, program, target, directory, build, options.limit)
    if options.dlv:
        for command in ("goroutines", "goroutines -group userloc"):
            script = os.path.join(directory, "dlv")
            with open(script, "w", encoding="utf-8") as file:
                file.write(command + "\nexit\n" + ("n\n" if live else ""))
            how = ["attach", target] if live else ["core", program, target]
            yield "dlv", command, lambda h=how, s=script: whole_process(
                [options.dlv, "--allow-non-terminal-interactive=true", "--check-go-version=false", *h, "--init", s], options.limit)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--go", default=shutil.which("go"))
    parser.add_argument("--dlv", default=shutil.which("dlv"))
    parser.add_argument("--count", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--live-only", action="store_true")
    options = parser.parse_args()
    rows = []
    directory = tempfile.mkdtemp(prefix="vitrine-bench-")
    try:
        program = os.path.join(directory, "goroutines")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GO")}
        subprocess.run([options.go, "build", "-o", program, "main.go"], check=True, cwd=os.path.join(ROOT, "bench", "goroutines"),
                       env={**environment, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOTOOLCHAIN": "local"})
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
                        row = {"tool": tool, "command": command, "target": kind, "goroutines": count}
                        try:
                            cold, warm, answer, peak = run()
                            row.update(cold_s=round(cold, 4), warm_s=warm and round(warm, 4), rss_anon_bytes=peak or None, answer=answer[:120])
                        except RuntimeError as e:
                            row.update(failed=str(e)[-300:])
                        rows.append(row)
                        print(f"bench: {json.dumps(row)}", file=sys.stderr, flush=True)
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
