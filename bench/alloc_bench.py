#!/usr/bin/env python3
"""alloc_bench.py --build DIR [--only REGEX] [--rounds 5] [--procs 1 2] [--quick] [--table]

The allocation workloads (bench/alloc/README.md) on this runtime beside Go, as many releases as are found, and malloc: the
C library's, mimalloc, jemalloc and tcmalloc, by LD_PRELOAD. In each round, and for each workload, the programs run one
after the other, each in a process of its own. Prints JSON rows like sched_bench.py, whose "value" is the median of the
rounds' ratios; below 1 vitrine needs less. --table prints Markdown instead. --quick: one round of a few workloads.
SIGINT ends the measuring early, with what there is.
"""
import argparse
import glob
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

import sched_bench
from sched_bench import go_build, go_compilers, measure, short, summary

HERE = os.path.dirname(os.path.abspath(__file__))
QUICK = r"/(16|512|8192|1048576)$|^stack/64K"
PRELOADED = {"mimalloc": "libmimalloc.so.2*", "jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4"}

LOOPS = """\t{{{size}, func(n int64, sink *unsafe.Pointer) {{
\t\tfor i := int64(0); i < n; i++ {{
\t\t\tp := new([{size}]byte)
{touch}\t\t\t*sink = unsafe.Pointer(p)
\t\t}}
\t}}, func(n int64, sink *unsafe.Pointer) {{
\t\tfor i := int64(0); i < n; i++ {{
\t\t\tp := new([{words}]*byte)
{touchp}\t\t\t*sink = unsafe.Pointer(p)
\t\t}}
\t}}, func() unsafe.Pointer {{
\t\tp := new([{size}]byte)
{touch}\t\treturn unsafe.Pointer(p)
\t}}}},
"""


def say(text):
    print(f"alloc_bench.py: {text}", file=sys.stderr, flush=True)


def go_source(sizes, scratch):
    """A copy of go/alloc with the loops for each size."""
    source = os.path.join(scratch, "alloc")
    os.makedirs(source)
    for name in ("main.go", "go.mod"):
        with open(os.path.join(HERE, "go", "alloc", name), encoding="utf-8") as file, \
                open(os.path.join(source, name), "w", encoding="utf-8") as copy:
            copy.write(file.read())
    with open(os.path.join(source, "sizes.go"), "w", encoding="utf-8") as file:
        file.write("package main\n\nimport \"unsafe\"\n\nvar classes = []class{\n")
        for size in sizes:
            byte = "*(*byte)(unsafe.Add(unsafe.Pointer(p), at)) = 1"
            touch = f"\t\t\tfor at := 0; at < {size}; at += 4096 {{\n\t\t\t\t{byte}\n\t\t\t}}\n" if size > 4096 else \
                "\t\t\tp[0] = 1\n"
            touchp = touch if size > 4096 else "\t\t\t*(*byte)(unsafe.Pointer(p)) = 1\n"
            file.write(LOOPS.format(size=size, words=size // 8, touch=touch, touchp=touchp))
        file.write("}\n")
    return source


def preloads(program, scratch):
    """{peer: a script that runs program with that allocator}."""
    found = {"glibc": program}
    for peer, pattern in PRELOADED.items():
        libraries = sorted(glob.glob("/usr/lib/*-linux-gnu/" + pattern))
        if not libraries:
            say(f"no {pattern}: {peer} is left out")
            continue
        found[peer] = os.path.join(scratch, peer)
        with open(found[peer], "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nLD_PRELOAD={shlex.quote(libraries[0])} exec {shlex.quote(os.path.abspath(program))} \"$@\"\n")
        os.chmod(found[peer], 0o755)
    return found


def listed(program):
    return subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def table(rows, peers):
    """Workloads that differ only in size are one table, a line a size: the time of an operation and, in brackets, the
    resident memory in MiB; behind each peer's the ratio of the times. Stacks are a table of their own."""
    value = {(r["workload"], r["procs"], r["peer"]): r for r in rows if r.get("rounds")}
    ratio = {(r["workload"], r["procs"], r["ratio"].split("/")[1]): r["value"] for r in rows
             if r.get("figure") == "ns_per_op"}
    others = [peer for peer in peers if peer != "vitrine"]

    def cell(row):
        return f"{short(row['ns_per_op'])} ({row['rss_mib']:.0f})"

    lines = []
    groups = dict.fromkeys((name.rsplit("/", 1)[0], procs) for name, procs, _ in value if not name.startswith("stack/"))
    for group, procs in groups:
        names = dict.fromkeys(n for n, p, _ in value if p == procs and n.rsplit("/", 1)[0] == group)
        shown = [peer for peer in others if any((name, procs, peer) in value for name in names)]
        lines += [f"`{group}`, {procs} thread{'s' if procs > 1 else ''}", "",
                  "| bytes | vitrine | " + " | ".join(f"{peer} | ratio" for peer in shown) + " |",
                  "|---:|---:|" + "---:|" * (2 * len(shown))]
        for name in names:
            cells = [name.rsplit("/", 1)[1]] + [cell(value[name, procs, peer]) if peer == "vitrine" else
                                                f"{cell(value[name, procs, peer])} | {ratio[name, procs, peer]:.2f}"
                                                for peer in ["vitrine"] + shown if (name, procs, peer) in value]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    stacks = [(name, r) for (name, procs, peer), r in value.items() if name.startswith("stack/")]
    if stacks:
        keys = ["ns_per_op", "touch_ns", "free_ns", "pair_ns", "rss_bytes", "rss_free_bytes"]
        lines += ["| stack | " + " | ".join(keys) + " |", "|---|" + "---:|" * len(keys)]
        lines += [f"| {name} | " + " | ".join(short(r[key]) for key in keys) + " |" for name, r in stacks] + [""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", help="a regular expression on the names of workloads")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--procs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--peers", nargs="+", help="only these, and vitrine")
    parser.add_argument("--out", help="a file for the JSON, whatever is printed")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = 1  # the workloads have a fixed volume
    only = options.only or (QUICK if options.quick else "")

    with tempfile.TemporaryDirectory() as scratch:
        paths = {"vitrine": os.path.join(options.build, "bin", "alloc_vitrine")}
        known = listed(paths["vitrine"])
        sizes = [int(name.split("/")[2]) for name in known if name.startswith("fresh/noscan/")]
        source = go_source(sizes, scratch)
        for name, compiler in go_compilers().items():
            paths[name] = go_build(name, compiler, source, scratch)
        paths.update(preloads(os.path.join(options.build, "bin", "alloc_malloc"), scratch))
        if options.peers:
            paths = {peer: path for peer, path in paths.items() if peer in ["vitrine"] + options.peers}
        programs = {peer: (path, set(listed(path))) for peer, path in paths.items()}
        for peer, (_, names) in programs.items():
            if names - set(known):
                sys.exit(f"alloc_bench.py: {peer} has workloads that vitrine has not: {sorted(names - set(known))[:5]}")
        names = [name for name in known if re.search(only, name)]
        if not names:
            sys.exit(f"alloc_bench.py: no workload matches {only}")
        # Stacks are measured on one thread.
        got, failed = {}, set()
        for procs in options.procs:
            options_of = argparse.Namespace(**{**vars(options), "procs": [procs]})
            mine = [name for name in names if procs == options.procs[0] or not name.startswith("stack/")]
            more, bad = measure(programs, mine, options_of)
            got.update(more)
            failed |= bad
    rows = summary(got)
    document = json.dumps(rows, indent=1, ensure_ascii=False)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(document + "\n")
    print(table(rows, list(programs)) if options.table else document)
    if "vitrine" in (peer for peer, _, _ in failed):
        sys.exit("alloc_bench.py: vitrine failed, see above")


if __name__ == "__main__":
    main()
