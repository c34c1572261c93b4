"""Debuggers as processes: started with a driver inside, asked over a socket, ended for good.

A debugger that does not answer in time gets SIGINT, then SIGKILL (gdb 13 that gets SIGTERM while it resumes a process
dies of an internal error and leaves the process stopped); the process that it debugged is killed by its number.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Died(Exception):
    pass


class Debugger:
    """kind: gdb, lldb, lldb14. scripts: directory that has gdb/ and lldb/ (the product's, or a test's copy)."""

    def __init__(self, kind, build, program, core=None, scripts=None, load=True, timeout=60, env=(), options=()):
        self.kind, self.inferior, self.program = kind, 0, os.path.realpath(program)
        self.scripts = scripts or os.path.join(ROOT, "debugger")
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        environment = {**os.environ, "VITRINE_HOME": build, "VITRINE_SESSION_FD": str(theirs.fileno()),
                       "HOME": tempfile.gettempdir(), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **dict(env)}
        environment.pop("DEBUGINFOD_URLS", None)
        if kind == "lldb14" or kind == "lldb" and not load:
            # Without our scripts, and always before LLDB 15, LLDB stops at a preemption signal (README).
            environment["GODEBUG"] = "asyncpreemptoff=1"
        self.process = subprocess.Popen(self.arguments(program, core, options), env=environment,
                                        pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        theirs.close()
        self.socket, self.stream = ours, ours.makefile("rw", encoding="utf-8")
        if load:
            self.load()

    def arguments(self, program, core, options):
        if self.kind == "gdb":
            return ["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-iex",
                    "set auto-load python-scripts off", *options, "-x", os.path.join(HERE, "driver_gdb.py"), program,
                    *([core] if core else [])]
        lldb = ["bash", os.path.join(ROOT, "tests", "lldb14.sh"), "run"] if self.kind == "lldb14" else [lldb_program()]
        return [*lldb, "--no-lldbinit", "-b", *options, "-o",
                "command script import " + os.path.join(HERE, "driver_lldb.py"), program,
                *(["-c", core] if core else [])]

    def load(self):
        name = os.path.join(self.scripts, "gdb", "vitrine_gdb.py") if self.kind == "gdb" else \
            os.path.join(self.scripts, "lldb", "vitrine_lldb.py")
        answer = self.must(("source " if self.kind == "gdb" else "command script import ") + name)
        self.said_at_load = answer["out"]
        self.ask("listen")

    def ask(self, op, **more):
        try:
            self.stream.write(json.dumps({"op": op, **more}) + "\n")
            self.stream.flush()
            line = self.stream.readline()
        except (OSError, socket.timeout) as e:
            line, why = "", str(e)
        else:
            why = "it ended"
        if not line:
            self.close()
            raise Died("%s: no answer to %s %s (%s)\n%s" % (self.kind, op, more, why, self.output()[-3000:]))
        return json.loads(line)

    def command(self, text):
        return self.ask("command", text=text)

    def must(self, text):
        answer = self.command(text)
        if not answer["ok"]:
            raise Died("%s: %s: %s" % (self.kind, text, answer["err"]))
        return answer

    def run_to(self, stop, args=""):
        """Starts the program and lets it run to a function, or (signal) to its end by a signal."""
        if stop != "signal":
            self.must(("break %s" if self.kind == "gdb" else "breakpoint set -n %s") % stop)
        said = self.must(("run " if self.kind == "gdb" else "process launch -- ") + args)
        self.inferior = self.ask("pid").get("pid", 0)
        if not self.inferior:
            raise Died("%s: the program did not stop at %s\n%s\n%s" % (
                self.kind, stop, said["out"], self.output()[-3000:]))

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def close(self):
        """Ends the debugger and what it debugged; returns its exit status (negative: the signal)."""
        if self.process.poll() is None:
            try:
                self.stream.write('{"op": "quit"}\n')
                self.stream.flush()
            except (OSError, ValueError):
                pass
            for how, patience in ((None, 10), (signal.SIGINT, 3), (signal.SIGKILL, 10)):
                if how is not None:
                    self.process.send_signal(how)
                try:
                    self.process.wait(patience)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self.inferior > 0:
            try:
                if os.path.realpath("/proc/%d/exe" % self.inferior) == self.program:
                    os.kill(self.inferior, signal.SIGKILL)
            except OSError:
                pass
            self.inferior = 0
        self.socket.close()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self.log.close()


def lldb_program():
    return shutil.which("lldb-19") or shutil.which("lldb") or "lldb-19"


def missing(kind):
    """Why this kind of debugger cannot be used here; None when it can."""
    if kind == "gdb":
        return None if shutil.which("gdb") else "gdb is not installed"
    if kind == "lldb14":
        return None if subprocess.run(["bash", os.path.join(ROOT, "tests", "lldb14.sh"), "check"],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0 else \
            "LLDB 14 is not here (tests/lldb14.sh fetch)"
    return None if shutil.which(lldb_program()) else "LLDB is not installed"
