#!/usr/bin/env python3
"""host_tests.py --build DIR [NAME]…: what the gdb and the LLDB host must not do, one test per trap.

Each test is a function whose name is the claim. The traps are those that crash gdb 13 or LLDB 19, or that change a
process which is only looked at. Ends with `N passed, N failed, N skipped`.
"""

import argparse
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, HERE)
from sessionlib import debuggers, script, untouched  # noqa: E402
from sessionlib.cores import core  # noqa: E402

TESTS = []
BUILD = None


def test(*kinds):
    """One test per kind of debugger."""
    def register(f):
        TESTS.extend((f, kind) for kind in kinds)
        return f

    return register


def start(kind, fixture, stop="stop_here", **more):
    debugger = debuggers.Debugger(kind, BUILD, program(fixture), **more)
    if stop:
        debugger.run_to(stop)
    return debugger


def program(fixture):
    return os.path.join(BUILD, "fixtures", fixture)


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def ended_well(debugger, quiet=True):
    status = debugger.close()
    output = debugger.output()
    check(status == 0, "the debugger ended with status %s\n%s" % (status, output[-2000:]))
    check(not quiet or "Traceback" not in output, "a traceback was printed:\n" + output[-2000:])
    return output


def frames(debugger):
    answer = debugger.ask("frames")
    check(answer["ok"], answer.get("err"))
    return answer["frames"]


def relay(debugger):
    """The goid of a goroutine that is parked in the ring."""
    goids = debugger.must('info goroutines -short -where "name = relay and status = waiting"')["core"].split()
    return goids[2]


# ---- nothing is written --------------------------------------------------------------------------------------------

LOOKING = ("info goroutines", "info goroutines -json", "info goroutines -where \"stack ~ leaf\"", "goroutine stacks",
           "goroutine", "goroutine 2", "bt", "up", "goroutine 10", "goroutine 5 bt", "goroutine apply all -- bt",
           "goroutine 1", "goroutine off", "vitrine doctor", "vitrine help")


def look_at_everything(kind, scripts=None):
    with start(kind, "parked-O2", scripts=scripts) as debugger:
        watch, found = untouched.Watch(debugger), []
        locals_ = "info locals" if kind == "gdb" else "frame variable"
        for command in (*LOOKING[:8], locals_, *LOOKING[8:]):
            debugger.must(command)
            found += ["%s: %s" % (command, what) for what in watch.changes()]
        file = tempfile.NamedTemporaryFile(suffix=".core")
        debugger.must("vitrine core " + file.name)
        return found + ["vitrine core: " + what for what in watch.changes()]


@test("gdb", "lldb")
def nothing_is_written_to_memory_or_registers(kind):
    found = look_at_everything(kind)
    check(not found, "\n".join(found))


@test("gdb", "lldb")
def printing_writes_nothing(kind):
    with start(kind, "printed-O0") as debugger:
        watch = untouched.Watch(debugger)  # looking at the registers leads back to the innermost frame
        for command in ("info locals", "print *self", "print $goid()", "print $mspan(head.p_)") if kind == "gdb" else \
                ("frame variable", "frame variable *self", "vitrine value goid", "vitrine value mspan head", "obj head",
                 "chan jobs", "obj vitrine::rt::allgs"):
            debugger.must("frame 1" if kind == "gdb" else "frame select 1")
            check("unknown" not in debugger.must(command)["out"], command)
            found = watch.changes()
            check(not found, "%s: %s" % (command, found))
        ended_well(debugger)


PLANTS = {
    "gdb": (("gdb/vitrine_gdb_frames.py", "        gdb.invalidate_cached_frames()\n        frame = gdb.newest_frame()\n",
             {"a word below the saved sp": "        gdb.selected_inferior().write_memory(action.regs['rsp'] - 64, b'x')\n",
              "a register": "        gdb.execute('set $rbx = $rbx + 1')\n"}),),
    "lldb": (("lldb/vitrine_lldb_host.py", "        host.current = action.goid\n",
              {"a word below the saved sp": "        self.process.WriteMemory(action.regs.get('rsp', 64) - 64, b'x', "
                                            "lldb.SBError())\n",
               "a register": "        self.process.GetThreadAtIndex(0).GetFrameAtIndex(0).FindRegister('rbx')"
                             ".SetValueFromCString('77')\n"}),),
}


@test("gdb", "lldb")
def a_planted_write_is_found(kind):
    for file, anchor, plants in PLANTS[kind]:
        for what, line in plants.items():
            with tempfile.TemporaryDirectory() as scripts:
                for d in ("python", "gdb", "lldb"):
                    shutil.copytree(os.path.join(ROOT, "debugger", d), os.path.join(scripts, d),
                                    ignore=shutil.ignore_patterns("__pycache__"))
                path = os.path.join(scripts, file)
                with open(path) as f:
                    text = f.read()
                check(text.count(anchor) == 1, "the place to plant a write is gone: " + repr(anchor))
                with open(path, "w") as f:
                    f.write(text.replace(anchor, anchor + line))
                check(look_at_everything(kind, scripts), "%s was written, and nothing noticed" % what)


# ---- gdb: selection and run control ----------------------------------------------------------------------------------

RUN_CONTROL = ("next", "step", "stepi", "nexti", "finish", "until", "advance tick", "continue", "signal 0",
               "print (int)getpid()", "thread 1")


@test("gdb")
def run_control_deselects_and_the_program_is_none_the_worse(kind):
    with start(kind, "turning-O2", "tick") as gdb:
        for command in RUN_CONTROL:
            gdb.must("goroutine " + relay(gdb))
            check(any("relay" in n for n in frames(gdb)), "not at a relay before " + command)
            gdb.must(command)
            if not command.startswith("print"):
                check("is selected" not in gdb.must("goroutine")["core"], "still selected after " + command)
            gdb.command("goroutine off")
        gdb.must("delete")
        gdb.must("continue")
        status = gdb.ask("value", text="$_exitcode")["value"]
        check(status == "0", "the program noticed: its exit status is " + status)
        gdb.inferior = 0
        ended_well(gdb)


@test("gdb")
def python_and_event_driven_resumes_only_forget(kind):
    """gdb 13 crashes when a handler of events.cont touches frames; `python gdb.execute` and MI run no hooks."""
    with start(kind, "turning-O2", "tick") as gdb:
        gdb.must("goroutine " + relay(gdb))
        for command in ("continue", "next", "finish"):
            gdb.must("define hook-%s\nend" % command)  # the user's own takes ours away
            gdb.must(command)
            check("is selected" not in gdb.must("goroutine")["core"], "still selected after " + command)
            gdb.must("goroutine " + relay(gdb))
        ended_well(gdb)


@test("gdb")
def a_hook_of_the_user_stays_behind_ours(kind):
    with start(kind, "turning-O2", "tick") as gdb:
        gdb.must("define hook-next\necho mine first\\n\nif 1\necho mine nested\\n\nend\nend")
        gdb.must("goroutine " + relay(gdb))
        out = gdb.must("next")["out"]
        check("no longer selected" in out and "mine first\nmine nested" in out, out)
        gdb.must("define hook-next\necho mine second\\n\nend")  # replaces both
        gdb.must("goroutine " + relay(gdb))
        out = gdb.must("next")["out"]
        check("no longer selected" in out and "mine second" in out and "mine first" not in out, out)
        ended_well(gdb)


@test("gdb")
def an_inlined_carrier_frame_is_hidden_too(kind):
    with start(kind, "turning-O0", "inlined_part") as gdb:
        goid = relay(gdb)
        carrier = frames(gdb)
        gdb.must("goroutine " + goid)
        out = gdb.must("bt")["out"]
        check(frames(gdb)[0].startswith("vitrine::rt::mcall"), str(frames(gdb)))
        check("inlined_part" in carrier[0] and "inlined_part" not in out and out.startswith("#2 "), out)
        ended_well(gdb)


@test("gdb", "lldb")
def goroutine_locals_counts_frames_as_bt_does(kind):
    for fixture, stop in (("turning-O0", "inlined_part"), ("parked-O2", "stop_here")):  # an inlined carrier; inlined frames
        with start(kind, fixture, stop) as debugger:
            goid = relay(debugger) if fixture == "turning-O0" else "2"
            debugger.must("goroutine " + goid)
            first, found = re.search(r"(?:^|frame )#(\d+)", debugger.must("bt")["out"], re.MULTILINE)[1], frames(debugger)
            check(len(found) > 4, str(found))
            debugger.must("goroutine off")
            for number, function in enumerate(found, int(first)):
                said = debugger.must("goroutine locals %s %s" % (goid, number))["core"]
                wanted = script.bare(function).split("::")[-1]
                names = dict(re.findall(r"\bframe (\d+): (.*?)(?: at |$)", said, re.MULTILINE))
                check(script.bare(names.get(str(number), "?")).split("::")[-1] == wanted, "#%s %s: %s" % (number, wanted, said))
            ended_well(debugger)


@test("gdb")
def selecting_works_in_every_language(kind):
    with start(kind, "parked-O2") as gdb:
        for language in ("go", "ada", "asm", "rust", "fortran", "c++"):
            gdb.must("set language " + language)
            gdb.must("goroutine 2")
            check(any("leaf" in n for n in frames(gdb)), language)
            gdb.must("goroutine off")
        ended_well(gdb)


@test("gdb")
def the_carriers_frame_is_not_stepped_down_into(kind):
    with start(kind, "parked-O2") as gdb:
        gdb.must("goroutine 2")
        gdb.must("up")
        gdb.must("down")
        answer = gdb.command("down")
        check(not answer["ok"] and "innermost frame of goroutine 2" in answer["err"], str(answer))
        gdb.must("goroutine off")
        gdb.must("up")
        gdb.must("down")
        ended_well(gdb)


@test("gdb")
def other_threads_are_shown_as_they_are(kind):
    with start(kind, "busy-O2") as gdb:
        before = gdb.must("thread apply all -s bt")["out"]
        gdb.must('goroutine %s' % gdb.must('info goroutines -short -where "name = waiter"')["core"])
        during = gdb.must("thread apply all -s bt")["out"]
        gdb.must("goroutine off")
        after = gdb.must("thread apply all -s bt")["out"]
        check(before == after, after)
        check("spin (step=3)" in during and "waiter" in during, during)
        ended_well(gdb)


@test("gdb")
def plain_backtraces_are_not_changed(kind):
    with debuggers.Debugger(kind, BUILD, program("busy-O2"), load=False) as plain:
        plain.run_to("stop_here")
        wanted = plain.must("bt")["out"]
    with start(kind, "busy-O2") as gdb:
        check(gdb.must("bt")["out"] == wanted, gdb.must("bt")["out"])
        gdb.must("goroutine 2")
        gdb.must("goroutine off")
        check(gdb.must("bt")["out"] == wanted, gdb.must("bt")["out"])
        ended_well(gdb)


@test("gdb")
def detaching_and_killing_with_a_selection_are_clean(kind):
    with start(kind, "turning-O2", "tick") as gdb:
        gdb.must("goroutine " + relay(gdb))
        gdb.must("kill")
        check(not gdb.command("info goroutines")["ok"], "there is no process any more")
        gdb.must("run")
        gdb.must("goroutine " + relay(gdb))
        pid = gdb.ask("pid")["pid"]
        gdb.must("detach")
        deadline = time.time() + 10
        while os.path.exists("/proc/%d" % pid) and time.time() < deadline:
            with open("/proc/%d/stat" % pid) as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    break
            time.sleep(0.05)
        else:
            check(not os.path.exists("/proc/%d" % pid), "the program did not go on to its end")
        gdb.inferior = 0
        ended_well(gdb)


@test("gdb")
def machine_interface_clients_can_select_and_run(kind):
    script = os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py")
    lines = ["-break-insert tick", "-exec-run", None, '-interpreter-exec console "goroutine 3"',
             "-stack-list-frames", "-exec-next", None, '-interpreter-exec console "goroutine 3"', "-exec-continue", None,
             '-interpreter-exec console "info goroutines"', "-gdb-exit"]
    with subprocess.Popen(["gdb", "-nx", "-q", "--interpreter=mi2", "-iex", "set debuginfod enabled off", "-iex",
                           "set auto-load python-scripts off", "-x", script, program("turning-O2")],
                          env={**os.environ, "VITRINE_HOME": BUILD}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as gdb:
        out = []
        for line in lines:
            if line is None:
                while not out or not out[-1].startswith("*stopped"):
                    out.append(gdb.stdout.readline())
                    check(out[-1], "gdb ended:\n" + "".join(out[-40:]))
                out.append("")
            else:
                gdb.stdin.write(line + "\n")
                gdb.stdin.flush()
        rest = gdb.communicate(timeout=30)[0]
    check(gdb.returncode == 0 and "relay" in rest and "^error" not in "".join(out) + rest, "".join(out) + rest)


# ---- watching switches ---------------------------------------------------------------------------------------------


@test("gdb", "lldb", "lldb14")
def live_tracing_leaves_no_breakpoint_however_it_ends(kind):
    with start(kind, "turning-O2", "tick") as debugger:
        listing = debugger.must("gotrace gogo")["core"]
        address = int(re.search(r"gogo +0x([0-9a-f]+),", listing)[1], 16)

        def first_bytes():
            with open("/proc/%d/mem" % debugger.inferior, "rb") as memory:
                memory.seek(address)
                return memory.read(8)

        before = first_bytes()
        for command, ends in (("gotrace gogo -live -n 3", "3 switches in"),  # as many as asked for
                              ("gotrace gogo -live", "stopped for another reason"),  # a breakpoint of the user's
                              ("gotrace gogo -step", "landed after"),
                              ("gotrace gogo -live -where 'to = 999'", "stopped for another reason")):
            out = debugger.must(command)["core"]
            check(ends in out, "%s: %s" % (command, out))
            check(first_bytes() == before, "after %s the routine's code is another: %r" % (command, first_bytes()))
            if kind == "gdb":  # it takes its breakpoints out of memory at every stop
                left = debugger.must("maint info breakpoints")["out"]
                check("%016x" % address not in left, "after %s:\n%s" % (command, left))
        debugger.must("delete" if kind == "gdb" else "breakpoint delete -f")
        out = debugger.must("gotrace gogo -live")["core"]
        check("the process has ended" in out, out)
        ended_well(debugger)


class Terminal:
    """A debugger in a terminal of its own, where keys reach it as a user's do."""

    def __init__(self, kind, prog, stop, args):
        script = os.path.join(ROOT, "debugger", "gdb" if kind == "gdb" else "lldb",
                              "vitrine_%s.py" % ("gdb" if kind == "gdb" else "lldb"))
        if kind == "gdb":
            words = ["gdb", "-nx", "-q"]
            for setting in ("debuginfod enabled off", "auto-load python-scripts off", "pagination off", "confirm off"):
                words += ["-iex", "set " + setting]
            words += ["-x", script, "-ex", "tbreak " + stop, "-ex", "run " + args, prog]
        else:
            lldb = ["bash", os.path.join(HERE, "lldb14.sh"), "run"] if kind == "lldb14" else [debuggers.lldb_program()]
            words = [*lldb, "--no-lldbinit", "-o", "command script import " + script, "-o", "breakpoint set -o true -n " + stop,
                     "-o", "process launch -- " + args, prog]
        self.said, self.pid = "", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(VITRINE_HOME=BUILD, TERM="dumb", LC_ALL="C.UTF-8", HOME=tempfile.gettempdir(),
                              GODEBUG="asyncpreemptoff=1")
            os.execvp(words[0], words)

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern, patience=40):
        """What was said up to there; it is taken away."""
        end = time.time() + patience
        while True:
            found = re.search(pattern, self.said)
            if found:
                before, self.said = self.said[:found.end()], self.said[found.end():]
                return before
            check(time.time() < end, "no /%s/ in:\n%s" % (pattern, self.said[-3000:]))
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    check(False, "the debugger ended:\n" + self.said[-3000:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # All that came from it: LLDB's server is its child, and the program the server's.
        family = [self.pid]
        for pid in family:
            family += map(int, subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split())
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@test("gdb", "lldb", "lldb14")
def ctrl_c_ends_watching_and_nothing_stays_planted(kind):
    with Terminal(kind, program("turning-O2"), "tick", "endless") as terminal:
        terminal.until(r"stop reason = .*breakpoint|reakpoint 1, ")
        terminal.type("gotrace gogo\n")
        address = int(re.search(r"gogo +0x([0-9a-f]+),", terminal.until(r"all agree"))[1], 16)
        terminal.type("info goroutines -short -limit 1\ngotrace gogo -live -where 'to = 999'\n")
        terminal.until(r"every switch stops the process for \d+ to \d+ .*Ctrl-C ends it\s+TIME")
        time.sleep(0.3)
        terminal.type("\x03")
        terminal.until(r"[1-9]\d* switch.* in .*interrupted; the process is stopped\s+0 shown")
        terminal.type("maint info breakpoints\n" if kind == "gdb" else "breakpoint list --internal\n")
        terminal.type("gotrace gogo -step -where 'to = 999'\n")
        listed = terminal.until(r"-step")
        check("%x" % address not in listed, "a breakpoint stays:\n" + listed)
        time.sleep(0.5)
        terminal.type("\x03")
        terminal.until(r"there was no such switch: interrupted; the process is stopped")
        terminal.type("gotrace gogo -live -n 2\n")
        terminal.until(r"2 switches in .*the process is stopped at the last one")


# ---- gdb: its own trace ----------------------------------------------------------------------------------------------


@test("gdb")
def trace_with_words_that_are_not_ours_is_gdbs_tracepoint(kind):
    commands = ("trace fixture::stop_here", "trace fixture::stop_here if 1 == 1", "trace outer if (1) && \"x\" != 0",
                "tp leaf", "trace gogo if 1 == 1", "trace", "trace nosuch_function", "trace leaf if no_such == 1")
    said, points = [], []
    for load in (False, True):  # without our script, and with it
        with start(kind, "parked-O0", load=load) as gdb:
            answers = [gdb.command(c) for c in commands]
            said.append([(a["ok"], a["out"] if a["ok"] else a["err"].splitlines()[0]) for a in answers])
            table = gdb.must("info tracepoints")["out"]
            points.append(re.sub(r"(?m)^(7 .*?) in .* at ", r"\1 ", table))  # that of `trace` alone: with its function
            if load:
                check("rdi = buf (gobuf*)" in gdb.must("trace gogo")["core"], "ours was not taken")
                check(not gdb.command("trace gogo 99")["ok"], "a goroutine that is not there")
                check("Tracepoint" not in gdb.must("vitrine trace gogo")["out"], "vitrine trace is ours")
            ended_well(gdb)
    for command, theirs, ours in zip(commands, *said):
        check(theirs == ours, "%s: gdb: %r, with us: %r" % (command, theirs, ours))
    check(points[0] == points[1], "info tracepoints:\n%s\nwith us:\n%s" % tuple(points))


# ---- gdb: loading ----------------------------------------------------------------------------------------------------

GO_SCRIPT = '''
import gdb
class GoroutinesCmd(gdb.Command):
    "theirs"
    def __init__(self): super().__init__("info goroutines", gdb.COMMAND_STACK, gdb.COMPLETE_NONE)
    def invoke(self, a, t): print("THEIRS")
class GoroutineCmd(gdb.Command):
    "theirs"
    def __init__(self): super().__init__("goroutine", gdb.COMMAND_STACK, gdb.COMPLETE_NONE)
    def invoke(self, a, t): print("THEIRS")
class Other(gdb.Command):
    "theirs"
    def __init__(self): super().__init__("theirs", gdb.COMMAND_STACK)
    def invoke(self, a, t): print("THEIRS")
GoroutinesCmd(); GoroutineCmd(); Other()
'''


@test("gdb")
def gos_own_script_does_not_take_our_words_whichever_is_first(kind):
    for theirs_first in (True, False):
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(GO_SCRIPT)
            script.flush()
            with start(kind, "parked-O2", load=False) as gdb:
                if theirs_first:
                    gdb.must("source " + script.name)
                gdb.load()
                if not theirs_first:
                    gdb.must("source " + script.name)
                for command in ("info goroutines", "goroutine"):
                    out = gdb.must(command)
                    check(out["core"] and "THEIRS" not in out["out"], out["out"])
                check("THEIRS" in gdb.must("theirs")["out"], "their other commands are theirs")
                ended_well(gdb)


@test("gdb")
def a_word_of_another_script_is_left_to_it(kind):
    with start(kind, "parked-O2", load=False) as gdb:
        gdb.must("define vitrine\necho THEIRS\\n\nend")
        gdb.load()
        check("THEIRS" in gdb.must("vitrine")["out"], "it was taken")
        gdb.must("info goroutines")
        said = ended_well(gdb) + gdb.said_at_load
        check(said.count("stays so") == 1 and "`vitrine'" in said, said[-1500:])


@test("gdb")
def loading_twice_is_loading_once(kind):
    with start(kind, "parked-O2") as gdb:
        script = os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py")
        gdb.must("goroutine 2")
        check(not gdb.must("source " + script)["out"], "it said something")
        check(any("leaf" in n for n in frames(gdb)), "the selection was lost")
        check(gdb.must("info frame-filter")["out"].count("vitrine") == 1, "two filters")
        check(gdb.must("info unwinder")["out"].count("vitrine") == 1, "two unwinders")
        gdb.must("info goroutines")
        ended_well(gdb)


@test("gdb")
def settings_are_gdbs_parameters_and_the_librarys(kind):
    with start(kind, "parked-O2") as gdb:
        gdb.must("set vitrine limit 2")
        check("2 of 10 shown" in gdb.must("info goroutines")["core"], "the limit does not count")
        check("vitrine limit is 2" in gdb.must("show vitrine limit")["out"], gdb.must("show vitrine limit")["out"])
        gdb.must("vitrine set limit 3")
        check("vitrine limit is 3" in gdb.must("show vitrine limit")["out"], "the parameter does not know")
        check(gdb.ask("python", text="gdb.parameter('vitrine limit')")["value"] == "3", "nor does gdb.parameter")
        gdb.must("set vitrine limit unlimited")
        check("10 goroutines" in gdb.must("info goroutines")["core"], "unlimited")
        gdb.must("set vitrine system on")
        listed = gdb.must("show vitrine")["out"]
        check("unlimited" in listed and re.search(r"system +on ", listed), listed)
        check("must be followed by the name of a setting" in gdb.command("set vitrine")["err"], "set vitrine")
        check(not gdb.command("set vitrine system perhaps")["ok"], "perhaps")
        check("set vitrine limit" in gdb.must("complete set vitrine li")["out"], "completion")
        check("how many rows" in gdb.must("help set vitrine limit")["out"], "help")
        ended_well(gdb)


@test("gdb")
def printers_are_turned_off_and_on_as_gdbs(kind):
    with start(kind, "printed-O0") as gdb:
        gdb.must("up")
        check("= chan 3 of 4" in gdb.must("print jobs")["out"], gdb.must("print jobs")["out"])
        check("{c_ = 0x" in gdb.must("print/r jobs")["out"], gdb.must("print/r jobs")["out"])
        gdb.must("set language c")  # as in a frame of the C library
        check("= chan 3 of 4" in gdb.must("print jobs")["out"], "in a frame of another language")
        check("(chan send)" in gdb.must("print writer")["out"], "a pointer, in a frame of another language")
        gdb.must("set language auto")
        check("memory at address 0x8" in gdb.command("print null->value")["err"], "a null pointer")
        check("memory at address 0x28" in gdb.command("print dangling->value")["err"], "a damaged one")
        gdb.must("disable pretty-printer global vitrine;chan")
        check("{c_ = 0x" in gdb.must("print jobs")["out"] and "mutex locked" in gdb.must("print lock")["out"], "one")
        gdb.must("disable pretty-printer global vitrine")
        check("mutex locked" not in gdb.must("print lock")["out"], "all")
        gdb.must("enable pretty-printer global vitrine")
        gdb.must("enable pretty-printer global vitrine;chan")
        gdb.must("source " + os.path.join(ROOT, "debugger", "gdb", "vitrine_gdb.py"))
        check(gdb.must("info pretty-printer global vitrine")["out"].count("vitrine\n") == 1, "twice")
        check(not any("Python Exception" in gdb.must(c)["out"] for c in ("info locals", "print *self", "print *c")
                      if gdb.command(c)["ok"]), "an exception")
        check("std::vector" not in gdb.must("print words")["out"] and '"first"' in gdb.must("print words")["out"],
              gdb.must("print words")["out"])
        gdb.must("set print elements 5")
        check(re.search(r"1000000 of 1000000 .*= \{0, 1, 2, 3, 4\.\.\.\}", gdb.must("print many")["out"]),
              gdb.must("print many")["out"])
        ended_well(gdb)


@test("gdb", "lldb", "lldb14")
def a_pointer_that_is_a_class_is_followed_from_any_frame(kind):
    with start(kind, "printed-O0") as debugger:
        for path in ("next", "next->next"):  # the last one is null
            debugger.must("frame 1" if kind == "gdb" else "frame select 1")
            here = debugger.command("obj head->" + path)
            debugger.must("goroutine " + debugger.must("info goroutines -short -where name=writer")["core"].strip())
            there = debugger.command("obj kept->" + path)
            check(here["core"] and here == there, "%s: %s, from another frame %s" % (path, here, there))
            debugger.must("goroutine off")
        if kind != "gdb":
            check("0x" not in debugger.command("frame variable head.nothing")["out"], "a member that is none")
        ended_well(debugger)


@test("gdb")
def a_condition_asks_which_goroutine_runs(kind):
    with start(kind, "printed-O0") as gdb:
        gdb.must("break tick if $_streq($goroutine_name(), \"two\")")
        for i in range(3):
            gdb.must("continue")
            check(gdb.must("print $goroutine_name()")["out"].endswith('"two"\n'), "another's name")
            check(gdb.must("print i")["out"].endswith("= %d\n" % i), "one was passed over")
        goid = gdb.must("print $goid()")["out"].split()[-1]
        other = gdb.must("info goroutines -short -where name=main")["core"].strip()
        gdb.must("goroutine " + other)
        check(gdb.must("print $goid()")["out"].split()[-1] == other, "the selected one's id")
        gdb.must("goroutine off")
        check(gdb.must("print $goid()")["out"].split()[-1] == goid, "the running one's id")
        check("there is no goroutine 4711" in gdb.command("print $goroutine(4711)")["err"], "no such goroutine")
        ended_well(gdb)


def plain_gdb(*args, home=None, cwd=None):
    environment = {**os.environ, "HOME": cwd or tempfile.gettempdir(), "LC_ALL": "C.UTF-8"}
    environment.pop("VITRINE_HOME", None)
    if home:
        environment["VITRINE_HOME"] = home
    r = subprocess.run(["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", *args], env=environment,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                       cwd=cwd)
    return r.returncode, r.stdout


@test("gdb")
def the_program_brings_the_script_along(kind):
    with tempfile.TemporaryDirectory() as home:  # $VITRINE_HOME with the layout of an install
        for d in ("python", "gdb"):
            shutil.copytree(os.path.join(ROOT, "debugger", d), os.path.join(home, "share/vitrine", d),
                            ignore=shutil.ignore_patterns("__pycache__"))
        os.symlink(os.path.join(BUILD, "lib"), os.path.join(home, "lib"))
        for binary in ("parked-O2", "parked-O2-strip-all"):
            status, out = plain_gdb("-iex", "set auto-load safe-path /", "-ex", "break abort", "-ex", "help goroutine",
                                    program(binary), home=home)
            check(status == 0 and "goroutine off" in out, out)
            check(len(out.split("Breakpoint")[0].splitlines()) <= 1, "more than a line of banner:\n" + out)
        status, out = plain_gdb("-ex", "help goroutine", program("parked-O2"), home=home)
        check("add-auto-load-safe-path " + os.path.realpath(program("parked-O2")) in out and "goroutine off" not in out,
              out)


@test("gdb")
def completion_survives_dashes_and_knows_options(kind):
    with start(kind, "parked-O2") as gdb:
        for typed, wanted in (("info goroutines -js", "info goroutines -json"),
                              ("info goroutines -wh", "info goroutines -where"),
                              ("goroutine st", "goroutine stacks"), ("info gorou", "info goroutines")):
            out = gdb.must("complete " + typed)["out"].split("\n")
            check(wanted in out, "%s → %s" % (typed, out))
        out = gdb.must("complete info goroutines --js")["out"]
        check("---" not in out, out)
        ended_well(gdb)


@test("gdb")
def control_c_ends_a_long_command_and_nothing_else(kind):
    with start(kind, "many-O2") as gdb:
        timer = subprocess.Popen([sys.executable, "-c", "import os, time; time.sleep(0.5); os.kill(%d, %d)"
                                  % (gdb.process.pid, signal.SIGINT)])
        answer = gdb.command("goroutine apply all -- shell sleep 0.05")  # half a minute, were it not ended
        timer.wait()
        check(not answer["ok"] and answer["err"] == "Quit", "it was not ended: %s" % answer["err"])
        check(gdb.must("info goroutines -count")["core"].strip() == "601", "the next command does not work")
        gdb.must("goroutine 2")
        check(any("shape0" in n for n in frames(gdb)), "selecting does not work")
        ended_well(gdb)


@test("gdb")
def control_c_while_gdb_lists_its_threads_loses_none_of_them(kind):
    with start(kind, "many-O2") as gdb:
        gdb.must("python import os, signal, vitrine_gdb_eyes; Eyes, real = vitrine_gdb_eyes.Eyes, vitrine_gdb_eyes.Eyes.threads;"
                 " Eyes.threads = lambda e: (os.kill(os.getpid(), signal.SIGINT), real(e))[1]")
        answer = gdb.command("info goroutines")
        check(not answer["ok"] and answer["err"] == "Quit", "it was not ended: %s" % answer)
        gdb.must("python Eyes.threads = real")
        check(gdb.must("info goroutines -count")["core"] == "601\n", gdb.must("info goroutines -count")["core"])
        ended_well(gdb)


# ---- LLDB ------------------------------------------------------------------------------------------------------------


@test("lldb", "lldb14")
def an_expression_that_calls_on_a_goroutine_does_not_crash(kind):
    with start(kind, "parked-O2") as lldb:
        lldb.must("goroutine 2")
        answer = lldb.command("expression -- (int)getpid()")
        check(not answer["ok"] or "int" in answer["out"], str(answer))
        check("10 goroutines" in lldb.must("info goroutines")["core"], "the session is of no use any more")
        ended_well(lldb)


@test("lldb", "lldb14")
def the_program_goes_on_unharmed_after_a_selection(kind):
    with start(kind, "turning-O0", "tick") as lldb:
        for command in ("continue", "thread step-over", "thread step-in", "thread step-inst", "thread step-out"):
            lldb.must("goroutine " + relay(lldb))
            check(any("relay" in n for n in frames(lldb)), "not at a relay before " + command)
            lldb.must(command)
            check("is selected" not in lldb.must("goroutine")["core"], "still selected after " + command)
            check("goroutine" not in lldb.must("thread list")["out"], lldb.must("thread list")["out"])
        lldb.must("breakpoint delete -f")
        out = lldb.must("continue")
        check("exited with status = 0" in out["out"] + lldb.command("process status")["out"], out["out"])
        lldb.inferior = 0
        ended_well(lldb)


@test("lldb", "lldb14")
def goroutines_that_were_shown_leave_no_threads_behind(kind):
    with start(kind, "parked-O2") as lldb:
        before = lldb.must("thread list")["out"]
        lldb.must("goroutine apply all -- bt")
        lldb.must("goroutine 2")
        during = lldb.must("thread list")["out"]
        check(during.count("goroutine ") == 1 and "goroutine 2" in during, during)
        lldb.must("goroutine off")
        check(lldb.must("thread list")["out"] == before, lldb.must("thread list")["out"])
        ended_well(lldb)


@test("lldb", "lldb14")
def a_foreign_info_container_keeps_its_words(kind):
    with start(kind, "parked-O2", load=False) as lldb:
        lldb.must("command container add info -h theirs")
        lldb.must("command regex info_theirs 's/.*/script print(1)/'")
        lldb.must("command script add -f os.getpid info theirs")
        lldb.load()
        check("theirs" in lldb.must("help info")["out"], "their container was wiped")
        check("10 goroutines" in lldb.must("info goroutines")["core"], "ours is not in it")
        ended_well(lldb)


@test("lldb", "lldb14")
def a_word_of_another_script_stays_its(kind):
    with start(kind, "parked-O2", load=False) as lldb:
        lldb.must("command regex vitrine 's/.*/script print(\"THEIRS\")/'")
        lldb.load()
        lldb.command("vitrine")
        lldb.must("info goroutines")
        said = ended_well(lldb) + lldb.said_at_load
        check(said.count("stays so") == 1 and "THEIRS" in said, said[-1500:])


@test("lldb", "lldb14")
def importing_twice_is_harmless(kind):
    with start(kind, "parked-O2") as lldb:
        lldb.must("goroutine 2")
        lldb.must("command script import " + os.path.join(ROOT, "debugger", "lldb", "vitrine_lldb.py"))
        check("is selected" in lldb.must("goroutine")["core"], "the selection was lost")
        check("10 goroutines" in lldb.must("info goroutines")["core"], "the commands are gone")
        check("stays so" not in ended_well(lldb), lldb.output())


@test("lldb")
def another_operating_system_plugin_is_left_alone(kind):
    with tempfile.NamedTemporaryFile("w", suffix=".py") as theirs:
        theirs.write("class OperatingSystemPlugIn:\n  def __init__(self, p): pass\n"
                     "  def get_thread_info(self): return []\n  def get_register_info(self): return None\n"
                     "  def get_register_data(self, tid): return None\n")
        theirs.flush()
        with start(kind, "parked-O2") as lldb:
            lldb.must("settings set target.process.python-os-plugin-path " + theirs.name)
            answer = lldb.command("goroutine 2")
            check(not answer["ok"] and theirs.name in answer["err"], str(answer))
            check(theirs.name in lldb.must("settings show target.process.python-os-plugin-path")["out"], "replaced")
            ended_well(lldb)


@test("lldb", "lldb14")
def help_is_there(kind):
    with start(kind, "parked-O2", stop=None) as lldb:
        check("goroutine off" in lldb.must("help goroutine")["out"], "no long help")
        check("goroutines" in lldb.must("help info")["out"], "info lists nothing")
        check("goroutine stacks" in lldb.must("vitrine help")["core"], "vitrine help")
        ended_well(lldb)


@test("lldb", "lldb14")
def summaries_are_of_a_category_and_goid_serves_breakpoints(kind):
    with start(kind, "printed-O0") as lldb:
        lldb.must("up")
        check("chan 3 of 4" in lldb.must("frame variable jobs")["out"], lldb.must("frame variable jobs")["out"])
        check("chan 3" not in lldb.must("frame variable -R jobs")["out"], "raw")
        lldb.must("command script import " + os.path.join(ROOT, "debugger", "lldb", "vitrine_lldb.py"))
        check("mutex locked" in lldb.must("frame variable lock")["out"], "after a second import")
        lldb.must("type category disable vitrine")
        check("mutex locked" not in lldb.must("frame variable lock")["out"], "disabled")
        lldb.must("type category enable vitrine")
        check("Traceback" not in lldb.must("frame variable")["out"], "a traceback")
        lldb.must("breakpoint set -n tick")
        lldb.must("vitrine set limit 2")
        check("2 of " in lldb.must("info goroutines")["core"], "the limit does not count")
        lldb.must("continue")
        goid = lldb.must("vitrine value goid")["core"].strip()
        lldb.must("breakpoint command add -s python -o 'return vitrine_lldb.goid(frame) == %s' 2" % goid)
        for i in (1, 2):
            lldb.must("continue")
            check(lldb.must("vitrine value goid")["core"].strip() == goid, "another's")
            check("= %d" % i in lldb.must("frame variable i")["out"], "one was passed over")
        ended_well(lldb)


# ---- both ------------------------------------------------------------------------------------------------------------


@test("gdb", "lldb")
def a_missing_library_is_said_in_one_line(kind):
    with tempfile.TemporaryDirectory() as scripts:
        for d in ("python", "gdb", "lldb"):
            shutil.copytree(os.path.join(ROOT, "debugger", d), os.path.join(scripts, d),
                            ignore=shutil.ignore_patterns("__pycache__"))
        debugger = start(kind, "parked-O2", stop=None, load=False, env={"VITRINE_HOME": scripts}.items())
        with debugger:
            script = {"gdb": "source %s/gdb/vitrine_gdb.py", "lldb": "command script import %s/lldb/vitrine_lldb.py"}
            answer = debugger.command(script[kind] % scripts)
            debugger.close()
            said = answer["err"] + answer["out"] + debugger.output()
            check("set VITRINE_HOME" in said and "Traceback" not in said, said)


@test("gdb", "lldb", "lldb14")
def a_step_passes_over_the_users_breakpoints_and_leaves_them(kind):
    """One where the switch begins, and two inside of it; then -live ends at the first, as for any other stop."""
    with start(kind, "turning-O2", "tick") as debugger:
        entry, = re.findall(r"^vitrine::rt::gogo +(0x[0-9a-f]+)", debugger.must("gotrace gogo -limit 1")["core"])
        places = [int(entry, 16) + offset for offset in (0, 0x12, 0x1a)]
        for place in places:
            debugger.must(("break *0x%x" if kind == "gdb" else "breakpoint set -a 0x%x") % place)
        for _ in range(2):
            said = debugger.must("gotrace gogo -step")["core"]
            steps = re.findall(r"^  \+(0x[0-9a-f]+) ", said, re.M)
            check(steps[:7] == ["0x00", "0x04", "0x07", "0x0e", "0x12", "0x16", "0x1a"], said)
            check("landed after 15 steps" in said and len(steps) == 15, said)
        said = debugger.must("gotrace gogo -live")["core"]
        check(re.search(r"^1 switch in .*the process stopped for another reason: breakpoint 2", said, re.M), said)
        check(frames(debugger)[0].startswith("vitrine::rt::gogo"), str(frames(debugger)))
        for place in places:  # still there
            listed = debugger.must("info breakpoints" if kind == "gdb" else "breakpoint list")["out"]
            check("%x" % place in listed, "%x: %s" % (place, listed))
        check(len(re.findall(r"^\d", listed, re.M)) == 4, "one breakpoint more or less: " + listed)
        debugger.must("delete" if kind == "gdb" else "breakpoint delete -f")
        out = debugger.must("continue")["out"]
        if kind == "gdb":
            check(debugger.ask("value", text="$_exitcode")["value"] == "0", out)
        else:
            check("exited with status = 0" in out + debugger.command("process status")["out"], out)
        debugger.inferior = 0
        ended_well(debugger)


@test("gdb", "lldb")
def a_core_is_read_as_it_is_when_another_target_is_opened(kind):
    """The session follows the host's target: program, then core, then another core."""
    with start(kind, "parked-O2") as debugger:
        check("10 goroutines" in debugger.must("info goroutines")["core"], "live")
        debugger.must("kill" if kind == "gdb" else "process kill")
        debugger.inferior = 0
        if kind == "gdb":
            debugger.must("file " + program("many-O2"))
            debugger.must("core-file " + core("kernel", program("many-O2"), "stop_here", BUILD))
        else:
            debugger.must("target create %s --core %s" % (program("many-O2"),
                                                         core("kernel", program("many-O2"), "stop_here", BUILD)))
        check(debugger.must("info goroutines -count")["core"].strip() == "601", "the other core")
        ended_well(debugger)


@test("gdb", "lldb")
def through_the_debugger_alone_the_answer_is_the_same(kind):
    """A remote target: no /proc/PID/mem, no core file to open; all comes through the host's callbacks."""
    blind = ("import vitrine_inspect as vi; vi.Target.__init__ = lambda s, k, pid=0, core=None, program=None, stop_id=0,"
             " force=False: s.__dict__.update(kind=k, pid=0, core=None, program=program, stop_id=stop_id, force=force)")
    dump = core("kernel", program("parked-O2"), "stop_here", BUILD)
    for more in ({}, {"core": dump, "stop": None}):
        answers = []
        for setup in (None, ("python " if kind == "gdb" else "script ") + blind):
            with start(kind, "parked-O2", **more) as debugger:
                if setup:
                    debugger.must(setup)
                # Without the process's own clock an age is "at least".
                answers.append([re.sub(r" +", " ", re.sub(r"\d+[num]?s\+?", "AGE", debugger.must(command)["core"]))
                                for command in ("info goroutines", "goroutine stacks", "goroutine 2")])
                check(any("leaf" in n for n in frames(debugger)), "frames")
                ended_well(debugger)
        check("deep" in answers[0][0], answers[0][0])
        for one, other in zip(*(a.splitlines() for a in map("".join, answers))):
            check(one == other, "directly: %s\nblind:    %s" % (one, other))


def serve(kind, program):
    """The debugger's own server with the program, stopped at its first instruction: (server, port)."""
    port, theirs = os.pipe()
    command = ["gdbserver", "--once", "127.0.0.1:0"] if kind == "gdb" else \
        ["lldb-server-19", "gdbserver", "--pipe", str(theirs), "127.0.0.1:0", "--"]
    server = subprocess.Popen([*command, program], pass_fds=[theirs], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    os.close(theirs)
    try:
        if kind == "lldb":
            return server, int(os.read(port, 16).rstrip(b"\0"))
        for line in server.stderr:
            if found := re.search(rb"Listening on port (\d+)", line):
                return server, int(found[1])
        raise AssertionError("gdbserver did not say its port")
    finally:
        os.close(port)


@test("gdb", "lldb")
def over_the_debuggers_own_server_all_is_as_on_the_process(kind):
    """What a host knows of a process that it did not start, with `target remote` and `gdb-remote`."""
    server, port = serve(kind, program("parked-O2"))
    try:
        with debuggers.Debugger(kind, BUILD, program("parked-O2")) as debugger:
            for command in ("set sysroot /", "target remote 127.0.0.1:%d" % port, "break stop_here", "continue") \
                    if kind == "gdb" else \
                    ("gdb-remote 127.0.0.1:%d" % port, "breakpoint set -n stop_here", "continue"):
                debugger.must(command)
            debugger.inferior = pid = debugger.ask("pid")["pid"]
            parked = '-where "status != running"'  # without stopping it nothing is known of its registers
            for command in ("info goroutines -cols goid,status,wait,where,name " + parked, "goroutine stacks " + parked,
                            "mheap spans"):
                ours = subprocess.run([os.path.join(BUILD, "bin", "vitrine-inspect"), "--nostop", "--pid", str(pid),
                                       *shlex.split(command)], stdout=subprocess.PIPE, text=True, check=True).stdout
                ours = ours.replace("warning: the program runs while we look: what is found may only be torn\n", "")
                theirs = debugger.must(command)["core"]
                check(ours == theirs, "%s: on the process\n%s\nover the server\n%s" % (command, ours, theirs))
            found = debugger.must("vitrine doctor")["core"]
            check(re.search(r"loaded at 0x[0-9a-f]+000$", found, re.M), found)
            debugger.must("goroutine 5")
            check(any("locker" in n for n in frames(debugger)), frames(debugger))
            check("now on the stack of goroutine 5" in debugger.must("gotrace gogo 5")["core"], "gotrace gogo 5")
            ended_well(debugger)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def main():
    global BUILD
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--kind")
    parser.add_argument("-v", action="store_true", help="name what passed, too")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    BUILD = os.path.abspath(options.build)
    passed = failed = skipped = 0
    for f, kind in TESTS:
        if options.names and not any(re.search(n, f.__name__) for n in options.names) or \
                options.kind and kind != options.kind:
            continue
        label = "%s [%s]" % (f.__name__, kind)
        reason = debuggers.missing(kind)
        if reason:
            skipped += 1
            print("skipped: %s: %s" % (label, reason), flush=True)
            continue
        started = time.time()
        try:
            f(kind)
        except Exception as e:
            failed += 1
            detail = str(e) if isinstance(e, (AssertionError, debuggers.Died)) else traceback.format_exc()
            print("FAILED: %s: %s" % (label, detail), flush=True)
        else:
            passed += 1
            if options.v:
                print("ok: %s: %.1f s" % (label, time.time() - started), flush=True)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    sys.exit(1 if failed or not passed + skipped else 0)


if __name__ == "__main__":
    main()
