"""The commands of libvitrine_inspect.so in LLDB (14 or newer), and what LLDB does for an answer.

No word, field name, offset, status or table of a runtime is here: the library's command table says which words there
are, and it renders what they print. A word that is followed by others is one flat command and the library splits the
rest (a container of LLDB's would refuse `goroutine 17`); only `info`, which has nothing of its own, is a container.
LLDB has no `info`; another script may have made one, and a second `command container add` would wipe that: ResolveCommand
tells, the other questions that LLDB answers (CommandExists, UserCommandExists) are false for a container.

A parked goroutine that is selected becomes a thread of LLDB's (vitrine_os.py), so that bt, up, frame variable and
expr are LLDB's own. Only the selected one: LLDB's thread list costs seconds a stop with 10,000. LLDB asks its plugin
once a stop; to show another one within the stop, the plugin's path is cleared and set again.

The stop id is LLDB's; when it changes the library drops its selection and vitrine_threads holds nothing any more.
"""

import os
import sys

import lldb
import vitrine_inspect as vi
import vitrine_lldb_values as values
import vitrine_threads
from vitrine_lldb_eyes import Eyes
from vitrine_lldb_run import RunControl

PLUGIN = os.path.join(os.path.dirname(os.path.realpath(__file__)), "vitrine_os.py")
SETTING = "target.process.python-os-plugin-path"
MOST_FRAMES = 200  # that are looked at when a goroutine is selected


class Place:
    """A thread and a frame index, to come back to."""

    def __init__(self, process):
        thread = process.GetSelectedThread()
        self.process, self.tid, self.level = process, thread.GetThreadID(), thread.GetSelectedFrame().GetFrameID()

    def restore(self):
        if self.process.SetSelectedThreadByID(self.tid):
            self.process.GetSelectedThread().SetSelectedFrame(self.level)


class Hands(vi.Ui):
    """Carries out one command's answer."""

    def __init__(self, host, debugger, process, result):
        self.host, self.debugger, self.process, self.result = host, debugger, process, result
        self.levels = {}  # goid → Place, while this command shows other goroutines

    def out(self, message):
        if not self.host.control.points or not on_terminal():  # no breakpoint of a watch is planted
            self.result.Print(message)
            return
        # LLDB shows what a command prints when it has ended: too late for what is watched as it happens.
        held = self.result.GetOutput() or ""
        if held:
            self.result.Clear()
        sys.__stdout__.write(held + message)
        sys.__stdout__.flush()

    def err(self, message):
        self.result.AppendWarning(message.removeprefix("warning: "))  # LLDB says that word itself

    def shell(self, command):
        result = lldb.SBCommandReturnObject()
        self.debugger.GetCommandInterpreter().HandleCommand(command, result)
        if not result.Succeeded():
            raise vi.Failed((result.GetError() or command + ": failed").strip())
        return result.GetOutput() or ""

    def show_threads(self, threads):
        """Makes LLDB show these, and only these, beside the process's own."""
        now = self.shell("settings show " + SETTING).partition("=")[2].strip().strip('"')
        if now and os.path.realpath(now) != PLUGIN:
            raise vi.Failed("vitrine: %s is %s: LLDB has room for one such plugin, so no goroutine can be shown"
                            % (SETTING, now))
        if not threads and not now:
            return
        vitrine_threads.show(self.process, threads)
        if now:
            self.shell("settings clear " + SETTING)
        if threads:
            self.shell('settings set %s "%s"' % (SETTING, PLUGIN))

    def select(self, action):
        host, current = self.host, self.host.current
        if host.home is None:
            host.home = Place(self.process)
        if current is not None and current != action.goid:
            self.levels[current] = Place(self.process)
        host.current = action.goid
        tid = action.tid or vitrine_threads.TID_BASE + action.goid
        if action.link_rbp:  # LLDB follows rbp from the first function on that begins with a push of it
            action.regs["rbp"] = action.link_rbp
        self.show_threads({} if action.tid else {tid: (action.goid, action.regs)})
        if not self.process.SetSelectedThreadByID(tid):
            raise vi.Failed("goroutine %d: LLDB did not take %s" % (
                action.goid, "thread %d" % tid if action.tid else "its saved context"))
        if not action.tid and action.outer_sp:
            self.warn_if_lost(action.goid, action.outer_sp)
        place = self.levels.pop(action.goid, None)
        self.process.GetSelectedThread().SetSelectedFrame(place.level if place else 0)

    def deselect(self):
        self.host.current = None
        self.show_threads({})
        home, self.host.home = self.host.home, None
        if home is not None:
            home.restore()

    def execute(self, command):
        result = lldb.SBCommandReturnObject()
        frame = self.process.GetSelectedThread().GetSelectedFrame()
        context = lldb.SBExecutionContext(frame) if frame.IsValid() else lldb.SBExecutionContext(self.process)
        self.debugger.GetCommandInterpreter().HandleCommand(command, context, result, False)
        self.result.Print(result.GetOutput() or "")
        if not result.Succeeded():
            message = (result.GetError() or command + ": failed").strip()
            raise vi.Failed(message[len("error: "):] if message.startswith("error: ") else message)

    def warn_if_lost(self, goid, outer_sp):
        """LLDB follows rbp where it should not, and then ends elsewhere than at the outermost frame, or nowhere."""
        if goid not in self.host.looked_at:
            self.host.looked_at.add(goid)
            if self.lost(outer_sp):
                self.err("LLDB loses its way in the frames of goroutine %d, and shows some that do not exist; "
                         "goroutine stacks -where \"goid = %d\" has the right ones" % (goid, goid))

    def lost(self, outer_sp):
        thread, sp = self.process.GetSelectedThread(), 0
        for level in range(MOST_FRAMES):
            frame = thread.GetFrameAtIndex(level)
            if not frame.IsValid():
                return sp != outer_sp
            if level and frame.GetSP() <= sp:
                return True
            sp = frame.GetSP()
        return False

    def show_frame(self):
        if self.process.GetSelectedThread().GetThreadID() >= vitrine_threads.TID_BASE and not self.host.hinted:
            self.host.hinted = True
            self.out("(a thread of LLDB's until the process runs; next, step and continue let the whole process run)\n")
        self.execute("frame select")


class Host:
    """One debugger's."""

    def __init__(self, library):
        self.library, self.eyes = library, Eyes()
        self.sessions = vi.Sessions(library, self.eyes)
        self.control = RunControl(self.eyes)
        self.current = self.home = self.stop = None
        self.hinted = False
        self.looked_at = set()  # goroutines whose frames were, in this stop
        self.ours = set()  # words that we registered

    def run(self, words, text, debugger, exe_ctx, result):
        target = exe_ctx.GetTarget() if exe_ctx.GetTarget().IsValid() else debugger.GetSelectedTarget()
        process = target.GetProcess()
        hands = Hands(self, debugger, process, result)
        try:
            self.session(debugger, target, process, hands).perform(words, text, hands)
            result.SetStatus(lldb.eReturnStatusSuccessFinishResult)
        except vi.Failed as e:
            result.SetError(str(e))
        except KeyboardInterrupt:
            result.SetError("interrupted")

    def asked(self, target):
        """The session for what LLDB prints of a target."""
        debugger, process = target.GetDebugger(), target.GetProcess()
        return self.session(debugger, target, process, Hands(self, debugger, process, lldb.SBCommandReturnObject()))

    def session(self, debugger, target, process, hands):
        stop, key, make, core = 0, None, None, None
        if process.IsValid() and process.GetState() not in (lldb.eStateExited, lldb.eStateDetached, lldb.eStateUnloaded,
                                                            lldb.eStateInvalid):
            if not lldb.SBDebugger.StateIsStoppedState(process.GetState()):
                raise vi.Failed("the process is running: stop it first (process interrupt)")
            stop = process.GetStopID()
            core = core_of(process)
            program = target.GetExecutable().fullpath
            here = target.GetPlatform().GetName() == "host"
            key = (process.GetUniqueID(), process.GetProcessID(), core, program, target.GetNumModules())
            make = vi.Target(vi.LIVE if core is None else vi.CORE, process.GetProcessID() if here and core is None else 0,
                             core, program, stop)
        elif target.IsValid() and target.GetExecutable().IsValid():
            program = target.GetExecutable().fullpath
            key, make = (program,), vi.Target(vi.FILE, program=program)
        self.eyes.at(debugger, target, process, core is not None)
        if (key, stop) != self.stop:
            self.stop, self.current, self.home = (key, stop), None, None
            self.looked_at.clear()
        session = self.sessions.get(key, make)
        if make is not None and make.kind == vi.LIVE:
            session.lend(self.control)
        for warning in session.warnings:
            hands.err(warning)
        session.warnings = []
        session.set_stop(stop)
        terminal = on_terminal()
        session.set_frames(0, c_only=True)
        session.set_terminal(debugger.GetTerminalWidth() if terminal else 0, terminal and debugger.GetUseColor())
        return session


def on_terminal():
    return sys.__stdout__ is not None and sys.__stdout__.isatty()


def core_of(process):
    """None: no core; "": a core whose path this LLDB does not tell (before 19)."""
    if hasattr(process, "GetCoreFile"):
        spec = process.GetCoreFile()
        return spec.fullpath if spec.IsValid() and spec.fullpath else None
    return "" if "core" in process.GetPluginName() or process.GetPluginName() == "minidump" else None


def command_class(host, words, summary, text):
    class Command:
        def __init__(self, debugger, _):
            pass

        def __call__(self, debugger, line, exe_ctx, result):
            host.run(words, line, debugger, exe_ctx, result)

        def get_short_help(self):
            return summary.rstrip(".")

        def get_long_help(self):
            return summary.rstrip(".") + ".\n" + text

    return Command


def load(debugger, module):
    """Registers the commands with one debugger; `module` is where LLDB looks for their classes."""
    host = hosts.get(debugger.GetID())
    if host is None:
        try:
            host = hosts[debugger.GetID()] = Host(vi.library())
        except vi.Unavailable as e:
            print(e)
            return
        if host.library.mismatch():
            print(host.library.mismatch())
    interpreter = debugger.GetCommandInterpreter()

    def do(command):
        result = lldb.SBCommandReturnObject()
        interpreter.HandleCommand(command, result)
        return (result.GetOutput() or "") + " " if result.Succeeded() else ""

    def exists(words):  # ResolveCommand expands prefixes and aliases, and repeats what it does not know
        top, _, rest = words.partition(" ")
        if rest:  # `help` says nothing useful about a word that a container has not
            return any(line.split()[:2] == [rest, "--"] for line in do("help " + top).splitlines())
        result = lldb.SBCommandReturnObject()
        interpreter.ResolveCommand(words, result)
        return (result.GetOutput() or "").strip() == words and bool(do("help " + words))

    def say(word):
        print("vitrine: `%s' is defined by another script and stays so; ours is `vitrine %s'" % (word, word))

    if not host.ours:  # a scheduler's preemptions are no stops of the user's (gdb lets this signal pass by itself)
        do("process handle SIGURG -n false -p true -s false")
    rows = host.library.commands()
    refusable = {words for words, _, _, flags in rows if flags & vi.MAY_DECLINE}  # LLDB lets nobody add to its own
    table = {words: (summary, text) for words, summary, text, flags in rows
             if not flags & vi.HIDDEN and words.split(" ")[0] not in refusable}
    table.setdefault("vitrine", ("All commands of Vitrine", "vitrine WORDS… runs any of them.\n"))
    refused = set()
    for words in sorted(table, key=lambda w: (w.count(" "), w)):
        top, _, rest = words.partition(" ")
        if rest and top in table or top in refused or words in host.ours:
            continue  # a word below a flat command is the library's to split
        if rest and not exists(top) and not do("command container add -h 'Lists what the program has' " + top):
            refused.add(top)
            say(words)
            continue
        if exists(words):
            say(words)
            continue
        name = "Command_" + words.replace(" ", "_")
        setattr(module, name, command_class(host, words, *table[words]))
        if do("command script add -c %s.%s %s" % (module.__name__, name, words)):
            host.ours.add(words)
        else:
            say(words)
    values.load(do, host, module, lambda debugger: hosts.get(debugger.GetID()))
    for words in host.ours:  # the module is made anew by each import
        setattr(module, "Command_" + words.replace(" ", "_"), command_class(host, words, *table[words]))


hosts = {}
