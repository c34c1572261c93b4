#!/usr/bin/env python3
"""net_bench.py --build DIR [--connections 1 10 …] [--windows 1 64] [--seconds 2] [--rounds 3] [--procs N]: echo beside Go.

TCP messages of 512 bytes over loopback. The same client (net_load.cc) loads each server in turn, round by round, so that
all see the same machine. Prints JSON rows {server, connections, window, messages_per_s (median), cpu_us_per_message} and,
for each, the ratio of vitrine's rate to Go's. window: messages under way on each connection; 1 is ping-pong, more is
streaming. Servers: bench/net_echo.cc, and bench/go/echo by each release of Go that sched_bench.py finds.
"""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile

from sched_bench import go_build, go_compilers

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, command, procs):
        environment = {**os.environ, **({"GOMAXPROCS": str(procs)} if procs else {})}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.port = self.process.stdout.readline().strip()

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def load(self, client, connections, window, seconds):
        before = self.cpu()
        rate = float(subprocess.run([client, self.port, str(connections), str(seconds), "512", str(window)],
                                    stdout=subprocess.PIPE, check=True, text=True).stdout)
        # The client's warm-up is a fifth more of the same.
        return rate, (self.cpu() - before) * 1e6 / (rate * seconds * 1.2)

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--procs", type=int, help="the servers' GOMAXPROCS")
    options = parser.parse_args()
    bindir = os.path.join(options.build, "bin")
    with tempfile.TemporaryDirectory() as scratch:
        commands = {"vitrine": [os.path.join(bindir, "net_echo")]}
        for name, compiler in go_compilers().items():
            commands[name] = [go_build(name, compiler, os.path.join(HERE, "go", "echo"), scratch)]
        rows = []
        for connections, window in itertools.product(options.connections, options.windows):
            got = {name: [] for name in commands}
            for _ in range(options.rounds):
                for name, command in commands.items():
                    server = Server(command, options.procs)
                    try:
                        got[name].append(server.load(os.path.join(bindir, "net_load"), connections, window, options.seconds))
                    finally:
                        server.stop()
            rate = {name: statistics.median(r for r, _ in runs) for name, runs in got.items()}
            cpu = {name: statistics.median(c for _, c in runs) for name, runs in got.items()}
            which = {"connections": connections, "window": window}
            for name in got:
                rows.append({"server": name, **which, "messages_per_s": round(rate[name]),
                             "cpu_us_per_message": round(cpu[name], 2)})
            for name in list(got)[1:]:
                ratios = [ours[0] / theirs[0] for ours, theirs in zip(got["vitrine"], got[name])]
                rows.append({"ratio": f"vitrine/{name}", **which, "messages_per_s": round(statistics.median(ratios), 3)})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
