#!/usr/bin/env python3
"""run.py --build DIR [--only PART …] [--quick] [--out FILE]: every benchmark, as one JSON document.

{"machine": {...}, "runtime": [google-benchmark rows], "inspect": [rows of inspect_bench.py],
"net": [rows of net_bench.py], "trace": [rows of trace_bench.py], "sched": [rows of sched_bench.py],
"alloc": [rows of alloc_bench.py], "gc": [rows of gc_bench.py], "heap": [rows of heap_bench.py], "recorder": {what recorder_bench prints}}
--only: some of these parts. --quick leaves out the million goroutines (whose core takes several GB of disk and memory),
and runs each workload of `sched` once and briefly, few of `alloc` and `gc`.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.processor())


def runtime_bench(options):
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        subprocess.run([os.path.join(options.build, "bin", "runtime_bench"), "--benchmark_repetitions=5",
                        "--benchmark_report_aggregates_only=true", f"--benchmark_out={result.name}",
                        "--benchmark_out_format=json"], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)
        rows = json.load(result)["benchmarks"]
    return [{key: row[key] for key in ("name", "aggregate_name", "real_time", "cpu_time", "time_unit") if key in row}
            for row in rows]


def script(name, options, *arguments):
    return json.loads(subprocess.run([sys.executable, "-B", os.path.join(HERE, name), "--build", options.build, *arguments],
                                     stdout=subprocess.PIPE, check=True).stdout)


def recorder_bench(options):
    return json.loads(subprocess.run([os.path.join(options.build, "bin", "recorder_bench"), "20" if options.quick else "200"],
                                     stdout=subprocess.PIPE, check=True).stdout)


PARTS = {
    "runtime": runtime_bench,
    "inspect": lambda o: script("inspect_bench.py", o, "--count", "1000", "100000", *([] if o.quick else ["1000000"])),
    "net": lambda o: script("net_bench.py", o),
    "trace": lambda o: script("trace_bench.py", o),
    "sched": lambda o: script("sched_bench.py", o, *(["--quick"] if o.quick else [])),
    "alloc": lambda o: script("alloc_bench.py", o, *(["--quick"] if o.quick else [])),
    "gc": lambda o: script("gc_bench.py", o, *(["--quick"] if o.quick else [])),
    "heap": lambda o: script("heap_bench.py", o, *(["--small"] if o.quick else [])),
    "recorder": recorder_bench,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", help="a file for the JSON as well")
    options = parser.parse_args()

    document = json.dumps({
        "machine": {"cpu": cpu(), "cpus": os.cpu_count(), "kernel": platform.release(),
                    "gomaxprocs": os.environ.get("GOMAXPROCS", os.cpu_count())},
        **{part: PARTS[part](options) for part in PARTS if part in options.only},
    }, indent=1)
    print(document)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(document + "\n")


if __name__ == "__main__":
    main()
