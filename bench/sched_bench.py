#!/usr/bin/env python3
"""sched_bench.py --build DIR [--only REGEX] [--rounds 5] [--procs 1 2] [--seconds 0.5] [--quick] [--table]

The scheduler's workloads (bench/sched/README.md) on this runtime beside Go, as many releases as are found (`go`, and
Debian's golang-1.19-go), and Boost.Fiber. In each round, and for each workload, the programs run one after the other, so
that they see the same machine; each in a process of its own. Prints JSON rows

  {"workload", "procs", "peer", "rounds", the figures (medians over the rounds), "min": {…}, "max": {…}}
  {"workload", "procs", "ratio": "vitrine/PEER", "figure", "value", "min", "max"}

where the value is the median of the rounds' ratios; below 1 vitrine needs less. --table prints Markdown instead.
--quick: one round of 0.05 s, without the workloads of a million; to see that everything works. SIGINT ends the measuring
early, with what there is.
"""
import argparse
import itertools
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 100  # seconds that a single run may take; four times that with a heap of 4 GiB
NO_RATIO = {"ops"}


def say(text):
    print(f"sched_bench.py: {text}", file=sys.stderr, flush=True)


def go_compilers():
    """{"go1.26": path, …}, newest first; also used by net_bench.py."""
    found = {}
    for path in (shutil.which("go"), "/usr/lib/go-1.19/bin/go"):
        if not path or not os.path.exists(path):
            continue
        text = subprocess.run([path, "version"], stdout=subprocess.PIPE, text=True, check=True,
                              env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
        found.setdefault(re.search(r"go1\.\d+", text).group(), path)
    if "go1.19" not in found:
        say("no Go 1.19 (golang-1.19-go): that peer is left out")
    if len(found) == (1 if "go1.19" in found else 0):
        say("no `go` but 1.19: a newer release is left out")
    return dict(sorted(found.items(), key=lambda item: -int(item[0].split(".")[1])))


def go_build(name, compiler, source, scratch):
    """Builds with the language version, and so the default settings, of that release itself."""
    modfile = os.path.join(scratch, name + ".mod")
    with open(modfile, "w", encoding="utf-8") as file:
        file.write(f"module {os.path.basename(source)}\n\ngo {name[2:]}\n")
    program = os.path.join(scratch, f"{os.path.basename(source)}-{name}")
    environment = {key: value for key, value in os.environ.items() if key not in ("GOFLAGS", "GOROOT")}
    subprocess.run([compiler, "build", "-modfile", modfile, "-o", program, "."], cwd=source, check=True,
                   env={**environment, "GOTOOLCHAIN": "local", "GOWORK": "off"})
    return program


def documented():
    """{workload: what it is compared with} of README.md's table."""
    rows = {}
    with open(os.path.join(HERE, "sched", "README.md"), encoding="utf-8") as file:
        for line in file:
            cells = line.strip().strip("|").split(" | ")
            if line.startswith("| `") and len(cells) == 3:
                for name in re.findall(r"`([^`]+)`", cells[0]):
                    rows[name] = cells[2]
    return rows


def check_names(programs):
    """Every program knows exactly what the table says of it: a misspelt name would only look like a missing peer."""
    table, wrong = documented(), False
    for peer, program in programs.items():
        word = {"vitrine": "", "boost": "Boost"}.get(peer, "Go")
        want = {name for name, peers in table.items() if word in peers}
        have = set(subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split())
        for name in sorted(have ^ want):
            wrong = True
            say(f"{peer}: workload {name} is " +
                ("unknown to bench/sched/README.md" if name in have else "missing, says bench/sched/README.md"))
    if wrong:
        sys.exit(1)
    return table


def run(program, name, procs, seconds):
    environment = {key: value for key, value in os.environ.items() if key not in ("GODEBUG", "GOGC", "GOMEMLIMIT")}
    limit = LIMIT * 4 if name.endswith("/4096") else LIMIT
    try:
        done = subprocess.run([program, name, str(seconds)], stdout=subprocess.PIPE, text=True, timeout=limit,
                              env={**environment, "GOMAXPROCS": str(procs)})
    except subprocess.TimeoutExpired:
        return f"took more than {limit} s"
    if done.returncode != 0:
        return f"ended with {done.returncode}"
    figures = json.loads(done.stdout)
    del figures["name"]
    return figures


def measure(programs, names, options):
    """{(workload, procs): {peer: [figures of a round, or None]}}, and the set of what failed."""
    got, failed = {}, set()
    # In the background of a shell script it would be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for number, name, procs in itertools.product(range(options.rounds), names, options.procs):
            say(f"round {number + 1}/{options.rounds}: {name} procs={procs}")
            for peer, (program, known) in programs.items():
                # Who failed would again, after as many seconds.
                if name not in known or (peer, name, procs) in failed:
                    continue
                figures = run(program, name, procs, options.seconds)
                if isinstance(figures, str):
                    say(f"{peer}: {name} procs={procs} {figures}")
                    failed.add((peer, name, procs))
                    figures = None
                got.setdefault((name, procs), {}).setdefault(peer, []).append(figures)
    except KeyboardInterrupt:
        say("interrupted")
    return got, failed


def summary(got):
    rows = []
    for (name, procs), peers in got.items():
        for peer, rounds in peers.items():
            good = [figures for figures in rounds if figures]
            row = {"workload": name, "procs": procs, "peer": peer, "rounds": len(good)}
            if good:
                row.update({key: statistics.median(f[key] for f in good) for key in good[0]})
                row["min"] = {key: min(f[key] for f in good) for key in good[0]}
                row["max"] = {key: max(f[key] for f in good) for key in good[0]}
            rows.append(row)
        for peer, rounds in peers.items():
            if peer == "vitrine":
                continue
            pairs = [(ours, theirs) for ours, theirs in zip(peers["vitrine"], rounds) if ours and theirs]
            for key in pairs[0][0] if pairs else ():
                ratios = [ours[key] / theirs[key] for ours, theirs in pairs if theirs.get(key, 0) > 0]
                if key in NO_RATIO or not ratios:
                    continue
                rows.append({"workload": name, "procs": procs, "ratio": f"vitrine/{peer}", "figure": key,
                             "value": round(statistics.median(ratios), 3), "min": round(min(ratios), 3),
                             "max": round(max(ratios), 3)})
    return rows


def short(value):
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def shown(figures):
    """The figures of a workload that a reader wants to see, in order."""
    keys = [key for key in figures if key not in ("workload", "procs", "peer", "rounds", "min", "max", "ops", "cpu_ns")]
    if "cpu_ms" in keys or ("p50_us" in keys and "compute_ns" not in keys):
        keys.remove("ns_per_op")
    return keys


def cell(values, key, form):
    """Of wall time with, in brackets, CPU time where that was measured."""
    if values.get(key) is None:
        return "–"
    cpu = values.get("cpu_ns") if key == "ns_per_op" else None
    return form(values[key]) + (f" ({form(cpu)})" if cpu is not None else "")


def table(rows, peers):
    """Medians, and beside each peer's the ratio."""
    value = {(r["workload"], r["procs"], r["peer"]): r for r in rows if "peer" in r}
    ratio = {}
    for r in rows:
        if "ratio" in r:
            ratio.setdefault((r["workload"], r["procs"], r["ratio"].split("/")[1]), {})[r["figure"]] = r["value"]
    others = [peer for peer in peers if peer != "vitrine"]
    lines = []
    for procs in sorted({key[1] for key in value}):
        lines += [f"GOMAXPROCS={procs}", "", "| workload | figure | vitrine | " + " | ".join(
            f"{peer} | vitrine/{peer}" for peer in others) + " |", "|---|---|" + "---:|" * (1 + 2 * len(others))]
        for name in dict.fromkeys(key[0] for key in value if key[1] == procs):
            ours = value[name, procs, "vitrine"]
            for key in shown(ours) if ours["rounds"] else ():
                cells = [name, key, cell(ours, key, short)]
                for peer in others:
                    cells.append(cell(value.get((name, procs, peer), {}), key, short))
                    cells.append(cell(ratio.get((name, procs, peer), {}), key, "{:.2f}".format))
                lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", default="", help="a regular expression on the names of workloads")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--procs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", help="a file for the JSON, whatever is printed")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.05 if options.quick else 0.5)

    with tempfile.TemporaryDirectory() as scratch:
        paths = {"vitrine": os.path.join(options.build, "bin", "sched_vitrine")}
        for name, compiler in go_compilers().items():
            paths[name] = go_build(name, compiler, os.path.join(HERE, "go", "sched"), scratch)
        paths["boost"] = os.path.join(options.build, "bin", "sched_fiber")
        if not os.path.exists(paths["boost"]):
            say("no Boost.Fiber: that peer is left out")
            del paths["boost"]
        workloads = check_names(paths)
        programs = {peer: (path, set(subprocess.run([path, "--list"], stdout=subprocess.PIPE, text=True,
                                                    check=True).stdout.split())) for peer, path in paths.items()}
        names = [name for name in workloads
                 if re.search(options.only, name) and not (options.quick and "1000000" in name)]
        if not names:
            sys.exit(f"sched_bench.py: no workload matches {options.only}")
        got, failed = measure(programs, names, options)
    rows = summary(got)
    document = json.dumps(rows, indent=1, ensure_ascii=False)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(document + "\n")
    print(table(rows, list(programs)) if options.table else document)
    if "vitrine" in (peer for peer, _, _ in failed):
        sys.exit("sched_bench.py: vitrine failed, see above")


if __name__ == "__main__":
    main()
