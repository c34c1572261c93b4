#!/usr/bin/env python3
"""run_sessions.py --build DIR [--mode M]… [SESSION]…: plays session files under each debugger and says what held.

One case is one session in one mode: gdb or LLDB on a live process, gdb or LLDB on a core, the command line on a core,
the command line on a live process. On one same core the library's own output must be the same, byte for byte, in all
of them. sessionlib/script.py describes a session file. Ends with `N passed, N failed, N skipped`.
"""

import argparse
import glob
import os
import re
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sessionlib import cores, debuggers, script  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


class Skip(Exception):
    pass


class InDebugger:
    def __init__(self, kind, build, session, core):
        reason = debuggers.missing(kind)
        if reason:
            raise Skip(reason)
        program = os.path.join(build, "fixtures", session.fixture)
        self.debugger, self.kind = debuggers.Debugger(kind, build, program, core), "gdb" if kind == "gdb" else "lldb"
        if core is None:
            self.debugger.run_to(session.stop, session.args)

    def run(self, text):
        a = self.debugger.command(text)
        return a["ok"], a["core"] if a["ok"] else a["err"], a["core"]

    def do(self, text):
        a = self.debugger.command(text)
        if not a["ok"]:
            raise script.Mismatch("%s: %s" % (text, a["err"]))

    def frames(self):
        return self.checked(self.debugger.ask("frames"))["frames"]

    def frame(self, index):
        self.checked(self.debugger.ask("frame", index=index))

    def value(self, expression):
        text = self.checked(self.debugger.ask("value", text=expression))["value"]
        m = re.fullmatch(r'(?:0x[0-9a-f]+ )?(".*")', text)
        return m[1] if m else text

    def prints(self, expression):
        text = self.checked(self.debugger.ask("print", text=expression))["value"]
        return " ".join(text.partition(" = ")[2].split())

    def checked(self, answer):
        if not answer["ok"]:
            raise script.Mismatch(answer["err"])
        return answer

    def close(self):
        if "Traceback (most recent call last)" in self.debugger.output():
            raise script.Mismatch("a Python traceback was printed:\n" + self.debugger.output()[-2000:])
        status = self.debugger.close()
        if status < 0:
            raise script.Mismatch("the debugger died of signal %d" % -status)


class OnCommandLine:
    """Has no frames of its own: those steps of a session are for debuggers."""

    def __init__(self, build, session, core):
        self.tool = os.path.join(build, "bin", "vitrine-inspect")
        self.program = os.path.join(build, "fixtures", session.fixture)
        self.process, self.partial = None, False
        if core is not None:
            self.target = ["--core", core, self.program]
            return
        if session.stop != "stop_here":
            raise Skip("only stop_here can be waited for without a debugger")
        self.process = subprocess.Popen([self.program, *session.args.split()], env={**os.environ, "VITRINE_FIXTURE": "wait"},
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if self.process.stdout.readline() != b"ready\n":
            self.process.kill()
            raise debuggers.Died("%s did not come to its stop" % session.fixture)
        time.sleep(0.05)
        self.target = ["--pid", str(self.process.pid)]

    def run(self, text):
        r = subprocess.run([self.tool, *self.target, *shlex.split(text)], capture_output=True, text=True, timeout=60,
                           stdin=subprocess.DEVNULL)
        self.partial = r.returncode == 1 and not r.stderr
        ok = r.returncode == 0 or self.partial
        return ok, r.stdout if ok else r.stderr, r.stdout

    def close(self):
        if self.process:
            with open("/proc/%d/status" % self.process.pid) as f:
                state = re.search(r"^State:\s+(\S)", f.read(), re.MULTILINE)[1]
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            if state in "tT":
                raise script.Mismatch("the process was left stopped (state %s)" % state)


# What the command line answers in its own words: it has no debugger to select a goroutine in.
HOSTED = re.compile(r"goroutine(\s+(\d.*|0x.*|<.*|apply.*|off))?$")
OWN = ("frames", "frame", "value", "do", "prints")


def play(session, target, said):
    """Runs the steps. `said` gets the library's output of each command, for comparison. Returns how many steps held."""
    names = {"HERE": os.path.dirname(os.path.abspath(session.path))}
    ok, out, held = True, "", 0
    command_line = isinstance(target, OnCommandLine)
    looked, partial = True, False
    for word, rest, block, where in session.steps:
        if command_line and (word in OWN or word == "run" and HOSTED.match(rest)):
            out = None  # and what is expected of it
            continue
        if word not in ("run", "do") and word not in OWN and out is None:
            continue
        rest = script.substitute(rest, names)
        try:
            if word == "partial":
                if command_line and not target.partial:
                    raise script.Mismatch("the exit status does not say that the answer is only a part")
                partial = True
                continue
            if word == "run":
                if command_line and target.partial and not partial:
                    raise script.Mismatch("the exit status says that the answer before is only a part: " + out)
                partial = False
                if not looked and not ok:
                    raise script.Mismatch("the command before failed: " + out)
                ok, out, core = target.run(rest)
                looked = False
                said.append((rest, core))
            elif word == "fails":
                looked = True
                if ok:
                    raise script.Mismatch("it did not fail: " + out)
                if not script.line_matches("<*>" + rest + "<*>", out, names):
                    raise script.Mismatch("the message is: " + out)
            elif word in ("expect", "unordered", "rows", "json") and not ok:
                raise script.Mismatch("the command failed: " + out)
            elif word == "expect":
                script.match_lines(block, out.splitlines(), names)
            elif word == "unordered":
                script.match_unordered(block, out.splitlines(), names)
            elif word == "rows":
                script.check_rows(rest, out.splitlines())
            elif word == "json":
                script.check_json(out)
            elif word == "frames":
                script.match_frames(rest.split(), target.frames())
            elif word == "frame":
                found = [i for i, n in enumerate(target.frames()) if script.same_function(rest, n)]
                if not found:
                    raise script.Mismatch("no frame of " + rest)
                target.frame(found[0])
            elif word == "value":
                expression, _, wanted = rest.rpartition(" = ")
                value = target.value(expression)
                if not script.line_matches(wanted, value, names):
                    raise script.Mismatch("%s is %s" % (expression, value))
            elif word == "prints":
                host, _, shown = rest.partition(" ")
                host, _, form = host.partition("/")
                if host != target.kind:
                    continue
                expression, _, wanted = shown.partition(" = ")
                text = target.prints("/%s %s" % (form, expression) if form else expression)
                if not script.line_matches(" ".join(wanted.split()), text, names):
                    raise script.Mismatch("it shows: " + text)
            elif word == "do":
                target.do(rest)
            held += word != "run"
        except script.Mismatch as e:
            raise script.Mismatch("%s: %s %s\n  %s" % (where, word, rest, e) + (
                "\n  output:\n    " + "\n    ".join((out or "").splitlines()[:60])
                if word in ("expect", "unordered", "rows", "json") else ""))
    if not looked and not ok:
        raise script.Mismatch("the last command failed: " + out)
    if command_line and target.partial and not partial:
        raise script.Mismatch("the exit status says that the last answer is only a part: " + (out or ""))
    return held


def cases(session, wanted):
    for mode in session.modes:
        kinds = session.cores if mode.endswith("-core") or mode == "cli" else (None,)
        for kind in kinds:
            if not wanted or mode in wanted:
                yield mode, kind


def open_target(mode, kind, build, session):
    core = None
    if kind:
        try:
            program = os.path.join(build, "fixtures", session.core_of or session.fixture)
            core = cores.core(kind, program, session.stop, build, session.args)
        except cores.NoCore as e:
            raise Skip(str(e))
    if mode in ("cli", "cli-pid"):
        return OnCommandLine(build, session, core)
    return InDebugger(mode.split("-")[0], build, session, core)


def run_session(path, build, wanted, tally):
    session = script.Session(path)
    name = os.path.splitext(os.path.basename(path))[0]
    on_core = {}  # kind of core → mode → what the library said
    for mode, kind in cases(session, wanted):
        label = "%s [%s%s]" % (name, mode, ", %s core" % kind if kind else "")
        started, said = time.time(), []
        try:
            target = open_target(mode, kind, build, session)
            try:
                held = play(session, target, said)
            finally:
                target.close()
            if not held:
                raise script.Mismatch("nothing of this session can be checked in this mode: leave the mode out")
            tally("ok", label, "%.1f s" % (time.time() - started))
            if kind and not mode.startswith("lldb14"):
                on_core.setdefault(kind, {})[mode] = said
        except Skip as e:
            tally("skipped", label, str(e))
        except (script.Mismatch, debuggers.Died, subprocess.TimeoutExpired) as e:
            tally("FAILED", label, str(e))
    for kind, modes in on_core.items():
        if len(modes) > 1:
            compare(name, kind, modes, tally)


def compare(name, kind, modes, tally):
    label = "%s [same output on the %s core: %s]" % (name, kind, ", ".join(modes))
    (first, reference), *others = modes.items()
    for mode, said in others:
        one, other = dict(reference), dict(said)
        for command in one:
            if command in other and ("cli" not in (mode, first) or not HOSTED.match(command)) and \
                    without_errors(one[command]) != without_errors(other[command]):
                tally("FAILED", label, "%s: %s says\n%s\n%s says\n%s" % (command, first, one[command], mode,
                                                                       other[command]))
                return
    tally("ok", label, "")


def without_errors(text):
    """The command line says those on its stderr, and a debugger's complaint is its own, as the numbers of its frames are."""
    text = re.sub(r"(\bframe +#)\d+", r"\1N", text)
    return "".join(line for line in text.splitlines(True) if not line.startswith("error: "))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--mode", action="append", default=[])
    parser.add_argument("-v", action="store_true", help="name what passed, too")
    parser.add_argument("sessions", nargs="*")
    options = parser.parse_args()
    counts = {"ok": 0, "FAILED": 0, "skipped": 0}

    def tally(what, label, detail):
        counts[what] += 1
        if what != "ok" or options.v:
            print("%s: %s%s" % (what, label, ": " + detail if detail else ""), flush=True)

    paths = options.sessions or sorted(glob.glob(os.path.join(HERE, "sessions", "*.session")))
    for path in paths:
        run_session(path, os.path.abspath(options.build), options.mode, tally)
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAILED"], counts["skipped"]))
    sys.exit(1 if counts["FAILED"] or not counts["ok"] + counts["skipped"] else 0)


if __name__ == "__main__":
    main()
