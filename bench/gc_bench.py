#!/usr/bin/env python3
"""gc_bench.py --build DIR [--only REGEX] [--rounds 3] [--procs 1 2] [--seconds 0.5] [--quick] [--table] [--huge]

The collector's workloads (bench/gc/README.md) on this runtime beside Go, as many releases as are found, and bdwgc. In each
round, and for each workload, the programs run one after the other, each in a process of its own. Prints JSON rows like
sched_bench.py, whose "value" is the median of the rounds' ratios; below 1 vitrine needs less. --table prints Markdown
instead. --quick: one round of the small ones, briefly. --huge: the heaps of 4 GiB as well.
SIGINT ends the measuring early, with what there is.
"""
import argparse
import json
import os
import re
import sys
import tempfile

from alloc_bench import listed
from sched_bench import go_build, go_compilers, measure, short, summary

HERE = os.path.dirname(os.path.abspath(__file__))
QUICK = r"^trees/16|^mark/.*/100$|^barrier|^pause|^stacks"
FIGURES = ("pause_p50_us", "pause_p99_us", "pause_max_us")


def say(text):
    print(f"gc_bench.py: {text}", file=sys.stderr, flush=True)


def table(rows, peers):
    """A line a workload: ns_per_op and, in brackets, CPU time; behind each peer's the ratio of wall (CPU) time. A second
    table has the pauses."""
    value = {(r["workload"], r["procs"], r["peer"]): r for r in rows if r.get("rounds")}
    ratio = {(r["workload"], r["procs"], r["ratio"].split("/")[1], r["figure"]): r["value"] for r in rows if "ratio" in r}
    others = [peer for peer in peers if peer != "vitrine"]

    def time(row):
        return short(row["ns_per_op"]) + (f" ({short(row['cpu_ns'])})" if "cpu_ns" in row else "")

    def cells(row, name, procs, peer):
        if row is None:
            return "– | –"
        by = [ratio.get((name, procs, peer, key)) for key in ("ns_per_op", "cpu_ns")]
        return f"{time(row)} | " + (f"{by[0]:.2f}" if by[0] is not None else "–") + (f" ({by[1]:.2f})" if by[1] else "")

    lines = ["| workload | P | vitrine | " + " | ".join(f"{peer} | ratio" for peer in others) + " |",
             "|---|---:|---:|" + "---:|" * (2 * len(others))]
    keys = dict.fromkeys((name, procs) for name, procs, _ in value)
    for name, procs in keys:
        if (name, procs, "vitrine") in value:
            lines.append(f"| `{name}` | {procs} | {time(value[name, procs, 'vitrine'])} | " + " | ".join(
                cells(value.get((name, procs, peer)), name, procs, peer) for peer in others) + " |")
    lines += ["", "| pauses, µs: p50, p99, max | P | " + " | ".join(peers) + " |", "|---|---:|" + "---:|" * len(peers)]
    for name, procs in keys:
        row = [value.get((name, procs, peer)) for peer in peers]
        if any(r is not None and "pause_p50_us" in r for r in row):
            lines.append(f"| `{name}` | {procs} | " + " | ".join(
                "–" if r is None else ", ".join(short(r[key]) for key in FIGURES) for r in row) + " |")
    row = {peer: [value.get(("pause/256", p, peer)) for p in (1, 2)] for peer in peers}
    lines += ["", "| `pause/256` | P | " + " | ".join(peers) + " |", "|---|---:|" + "---:|" * len(peers)]
    for key in ("mb_per_s", "cycles", "rss_mib", "chunk_p50_us", "chunk_p99_us", "chunk_max_us"):
        for index, procs in enumerate((1, 2)):
            if any(row[peer][index] for peer in peers):
                lines.append(f"| {key} | {procs} | " + " | ".join(
                    short(row[peer][index][key]) if row[peer][index] else "–" for peer in peers) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", help="a regular expression on the names of workloads")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--procs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--huge", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--peers", nargs="+", help="only these, and vitrine")
    parser.add_argument("--out", help="a file for the JSON, whatever is printed")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (0.05 if options.quick else 0.5)
    only = options.only or (QUICK if options.quick else "")

    with tempfile.TemporaryDirectory() as scratch:
        paths = {"vitrine": os.path.join(options.build, "bin", "gc_vitrine")}
        for name, compiler in go_compilers().items():
            if not options.peers or name in options.peers:
                paths[name] = go_build(name, compiler, os.path.join(HERE, "go", "gc"), scratch)
        paths["bdwgc"] = os.path.join(options.build, "bin", "gc_bdwgc")
        if not os.path.exists(paths["bdwgc"]):
            say("no bdwgc (libgc-dev): that peer is left out")
            del paths["bdwgc"]
        if options.peers:
            paths = {peer: path for peer, path in paths.items() if peer in ["vitrine"] + options.peers}
        programs = {peer: (path, set(listed(path))) for peer, path in paths.items()}
        known = listed(paths["vitrine"])
        for peer, (_, names) in programs.items():
            if names - set(known):
                sys.exit(f"gc_bench.py: {peer} has workloads that vitrine has not: {sorted(names - set(known))[:5]}")
        names = [name for name in known if re.search(only, name) and (options.huge or not name.endswith("/4096"))]
        if not names:
            sys.exit(f"gc_bench.py: no workload matches {only}")
        got, failed = measure(programs, names, options)
    rows = summary(got)
    document = json.dumps(rows, indent=1, ensure_ascii=False)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(document + "\n")
    print(table(rows, list(programs)) if options.table else document)
    if "vitrine" in (peer for peer, _, _ in failed):
        sys.exit("gc_bench.py: vitrine failed, see above")


if __name__ == "__main__":
    main()
