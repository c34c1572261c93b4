#!/usr/bin/env python3
"""net_bench.py --build DIR [--connections 1 10 …] [--seconds 2] [--rounds 3]: TCP echo over loopback beside Go.

The same client (net_load.cc) loads each server in turn, round by round, so that both see the same machine. Prints JSON
rows {server, connections, messages_per_s (median), cpu_us_per_message} and, per count, the ratio of vitrine's rate to
Go's. Servers: bench/net_echo.cc, and bench/go/echo built by the `go` that is found (left out, and said, if there is none).
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = self.process.stdout.readline().strip()

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def load(self, client, connections, seconds):
        before = self.cpu()
        rate = float(subprocess.run([client, self.port, str(connections), str(seconds)], stdout=subprocess.PIPE,
                                    check=True, text=True).stdout)
        # The client's warm-up is a fifth more of the same.
        return rate, (self.cpu() - before) * 1e6 / (rate * seconds * 1.2)

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bindir = os.path.join(options.build, "bin")
    with tempfile.TemporaryDirectory() as scratch:
        commands = {"vitrine": [os.path.join(bindir, "net_echo")]}
        if shutil.which("go"):
            echo = os.path.join(scratch, "echo")
            subprocess.run(["go", "build", "-o", echo, "."], cwd=os.path.join(HERE, "go", "echo"), check=True)
            commands["go"] = [echo]
        else:
            print("net_bench.py: no go: its server is left out", file=sys.stderr)
        rows = []
        for connections in options.connections:
            got = {name: [] for name in commands}
            for _ in range(options.rounds):
                for name, command in commands.items():
                    server = Server(name, command)
                    try:
                        got[name].append(server.load(os.path.join(bindir, "net_load"), connections, options.seconds))
                    finally:
                        server.stop()
            rate = {name: statistics.median(r for r, _ in runs) for name, runs in got.items()}
            for name, runs in got.items():
                rows.append({"server": name, "connections": connections, "messages_per_s": round(rate[name]),
                             "cpu_us_per_message": round(statistics.median(c for _, c in runs), 2)})
            if "go" in rate:
                rows.append({"ratio": "vitrine/go", "connections": connections,
                             "messages_per_s": round(rate["vitrine"] / rate["go"], 3)})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
