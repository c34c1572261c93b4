#!/usr/bin/env python3
"""run.py --build DIR [--quick] [--out FILE]: every benchmark, as one JSON document.

{"machine": {...}, "runtime": [google-benchmark rows], "inspect": [rows of inspect_bench.py],
"net": [rows of net_bench.py]}
--quick leaves out the million goroutines (whose core takes several GB of disk and memory).
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", help="a file for the JSON as well")
    options = parser.parse_args()

    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        subprocess.run([os.path.join(options.build, "bin", "runtime_bench"), "--benchmark_repetitions=5",
                        "--benchmark_report_aggregates_only=true", f"--benchmark_out={result.name}",
                        "--benchmark_out_format=json"], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)
        runtime = json.load(result)["benchmarks"]
    counts = ["1000", "100000"] + ([] if options.quick else ["1000000"])
    inspect = json.loads(subprocess.run([sys.executable, "-B", os.path.join(HERE, "inspect_bench.py"), "--build", options.build,
                                         "--count", *counts], stdout=subprocess.PIPE, check=True).stdout)
    network = json.loads(subprocess.run([sys.executable, "-B", os.path.join(HERE, "net_bench.py"), "--build", options.build],
                                        stdout=subprocess.PIPE, check=True).stdout)
    document = json.dumps({
        "machine": {"cpu": cpu(), "cpus": os.cpu_count(), "kernel": platform.release(),
                    "gomaxprocs": os.environ.get("GOMAXPROCS", os.cpu_count())},
        "runtime": [{key: row[key] for key in ("name", "aggregate_name", "real_time", "cpu_time", "time_unit") if key in row}
                    for row in runtime],
        "inspect": inspect,
        "net": network,
    }, indent=1)
    print(document)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(document + "\n")


if __name__ == "__main__":
    main()
