"""The commands of libvitrine_inspect.so in gdb (12 or newer), and what gdb does for an answer.

No word, field name, offset, status or table of a runtime is here: the library's command table says which words there
are, and it renders what they print. Words that another script has defined stay that script's (one line says so), but
for KEPT: the two that Go's runtime-gdb.py defines, which does less and fails on cores. Of two definitions gdb takes
the later one silently; re-registering from events.new_objfile runs too early, and with post_event crashes gdb 13 at
exit; hence the guard in front of gdb.Command.

The stop id that the library gets changes with every event after which the target may be another: it then drops what
it has cached, and its selection.
"""

import contextlib
import re
import signal
import sys
import time

import gdb
import gdb.unwinder
import vitrine_inspect as vi
import vitrine_gdb_frames as frames
import vitrine_gdb_values as values
from vitrine_gdb_eyes import Eyes, core_path
from vitrine_gdb_run import RunControl
from vitrine_gdb_trace import tracepoint

KEPT = ("goroutine", "info goroutines")


class Hands(vi.Ui):
    def out(self, message):
        gdb.write(message)

    def err(self, message):
        gdb.write(message + "\n", gdb.STDERR)

    def select(self, action):
        p = host.presented
        if p.home is None:
            p.home = frames.Place()
        levels = host.levels
        if p.regs is not None and p.goid != action.goid:
            levels[p.goid] = frames.Place()
        if action.tid:
            p.forget()
            for thread in gdb.selected_inferior().threads():
                if action.tid == (thread.ptid[1] or thread.ptid[0]) and not thread.is_running():
                    thread.switch()
                    return
            raise vi.Failed("goroutine %d runs on thread %d, which gdb cannot show" % (action.goid, action.tid))
        p.show(action)
        frames.guard_run_control()
        if action.goid in levels:  # back to the one that was selected, at the frame it had
            frames.go_to_level(levels.pop(action.goid).level)

    def deselect(self):
        p = host.presented
        p.forget()
        home, p.home = p.home, None
        if home is not None:
            home.restore()

    def execute(self, command):
        gdb.execute(command, from_tty=False)

    def show_frame(self):
        if host.presented.regs is not None and not host.hinted:
            host.hinted = True
            gdb.write("(its frames start at #%d; next, step and continue let the whole process run and deselect it)\n"
                      % host.presented.base)
        gdb.execute("frame")


class Host:
    def __init__(self):
        self.library = vi.library()
        self.presented, self.hands = frames.Presented(), Hands()
        self.eyes, self.control = Eyes(), RunControl()
        self.sessions = vi.Sessions(self.library, self.eyes)
        self.stops = 0        # stop id: changes whenever the target ran or was changed
        self.stopped_at = time.monotonic_ns()  # by then at the latest, if it stands still already
        self.files = 0        # changes whenever an object file came or went
        self.levels = {}      # goid → Place, while one command shows other goroutines
        self.hinted = False
        self.ours = set()     # words that we registered
        self.last = None, None  # what tells targets and stops apart, and the session of it that was asked last
        self.moving = False   # the process goes on, or stands where gdb only looks whether it shall
        self.parameters = {}  # name → what gdb has of a setting

    def session(self, asked=False, as_before=False):
        """asked: by an expression of gdb's, which may be a condition: then gdb says that the process runs. as_before: not even
        the stop id is told."""
        inferior = gdb.selected_inferior()
        program, connection = gdb.current_progspace().filename, inferior.connection
        key, make = None, None
        if inferior.pid and connection is not None:
            thread = frames.selected_thread()
            if thread is not None and thread.is_running() and not asked:
                raise vi.Failed("the process is running: stop it first (interrupt)")
            core = core_path() if connection.type == "core" else None
            key = (inferior.num, inferior.pid, connection.num, core, program, self.files)
            make = vi.Target(vi.CORE if connection.type == "core" else vi.LIVE,
                             inferior.pid if connection.type == "native" else 0, core, program, self.stops)
            self.eyes.core = make.core
        elif program:
            key, make = (program, self.files), vi.Target(vi.FILE, program=program)
        session = self.sessions.get(key, make)
        if make is not None and make.kind == vi.LIVE:
            session.lend(self.control)
        for warning in session.warnings:
            self.hands.err(warning)
        session.warnings = []
        if as_before:
            return session
        session.set_stop(self.stops, self.stopped_at)
        session.set_frames(self.presented.first())
        session.set_terminal(gdb.parameter("width") or 0, sys.stdout.isatty() and bool(gdb.parameter("style enabled")))
        return session

    def run(self, words, text):
        connection = gdb.selected_inferior().connection
        # The silence of another machine must be left by Ctrl-C.
        remote = connection is not None and connection.type not in ("native", "core")
        try:
            with contextlib.nullcontext() if remote else vi.kept_back():
                self.levels = {}
                self.session().perform(words, text, self.hands)
                for name, _, _, _, value in self.library.settings() if words.startswith("vitrine") else ():
                    self.parameters[name].refresh(value)
        except vi.NotOurs:
            tracepoint(text)
        except vi.Failed as e:
            raise gdb.GdbError(str(e))
        except KeyboardInterrupt:
            raise gdb.GdbError("Quit")

    def value(self, function, arguments):
        """Of one of the library's functions, for the current thread."""
        thread, pointer = frames.selected_thread(), None
        if thread is not None and not self.presented.on(thread):
            try:
                pointer = int(gdb.newest_frame().read_register("fs_base"))
            except (gdb.error, ValueError):  # a server that does not tell it
                pass
        if self.moving and arguments:  # then it is about more than this thread, and all that is known is old
            self.stops += 1
        return self.session(True, self.moving and not arguments).value(function, arguments, pointer, self.moving)

    def describe(self, kind, address):
        return self.same_session().describe(kind, address)

    def part(self, kind, address, i):
        return self.same_session().part(kind, address, i)

    def same_session(self):
        """A list of pointers asks a hundred times, and session() asks gdb about the target."""
        inferior = gdb.selected_inferior()
        now = inferior.num, inferior.pid, self.files, self.stops, self.moving
        if self.last[0] != now or not self.sessions.is_open(self.last[1]):
            self.last = now, self.session(True, self.moving)
        return self.last[1]

    def stopped(self, event):
        self.moving = False
        self.stops += 1
        self.stopped_at = time.monotonic_ns()
        self.eyes.signals.clear()
        name = getattr(event, "stop_signal", None)
        thread = frames.selected_thread()
        if name in signal.Signals.__members__ and thread is not None:
            self.eyes.signals[thread.global_num] = int(signal.Signals[name])

    def resumed(self, _):  # after the fact: frames may not be touched here
        self.stops += 1
        self.moving = True
        self.presented.regs = self.presented.home = None

    def ended(self, event):
        self.resumed(event)
        self.moving = False

    def wrote(self, _):  # the user did; while a goroutine is selected it stays so, and the next stop will tell
        if self.presented.home is None:
            self.stops += 1

    def changed_files(self, _):
        self.files += 1


class Before(gdb.Command):
    """What Vitrine's hooks run before a command that lets the process run, or before `down'."""

    def __init__(self):
        super().__init__("maintenance vitrine-before", gdb.COMMAND_MAINTENANCE)

    def invoke(self, text, from_tty):
        {"run": before_run, "down": before_down}[text]()


def before_run():
    p = host.presented
    if p.regs is not None or p.home is not None:
        host.stops += 1  # the library drops its selection as well
        goid, shown = p.goid, p.regs is not None
        try:
            host.hands.deselect()
            if shown:
                gdb.write("(goroutine %d is no longer selected)\n" % goid)
        except gdb.error:
            p.regs = p.home = None


def before_down():
    p = host.presented
    if p.on(frames.selected_thread()) and gdb.selected_frame().level() <= p.base:
        raise gdb.GdbError("This is the innermost frame of goroutine %d; `goroutine off' goes back to the thread."
                           % p.goid)


def make_command(words, prefix):
    class Command(Plain):
        def __init__(self):
            Plain.__init__(self, words, gdb.COMMAND_STATUS if words.startswith("info ") else gdb.COMMAND_STACK,
                           prefix=prefix)

        def invoke(self, text, from_tty):
            self.dont_repeat()
            host.run(words, text)

        def complete(self, text, word):
            if word is None:  # gdb only asks which characters break words
                return None
            typed = text.split(" ")[-1]  # gdb breaks at '-' too; answers count from its own break
            try:
                return [c[len(typed) - len(word):] for c in host.session().complete(words, text)
                        if c.startswith(typed)]
            except vi.Failed:
                return []

    return Command


def load():
    """Registers everything; a second time only sees to it that KEPT is ours."""
    global host, Plain
    if int(re.match(r"\d+", gdb.VERSION)[0]) < 12:
        gdb.write("vitrine: gdb 12 or newer is needed; this is %s\n" % gdb.VERSION, gdb.STDERR)
        return
    if host is None:
        try:
            host = Host()
        except vi.Unavailable as e:  # raised in a script, it would come with a traceback
            gdb.write("%s\n" % e, gdb.STDERR)
            return
        keep_words()
        Before()
        gdb.unwinder.register_unwinder(None, frames.Unwinder(host.presented), replace=True)
        gdb.frame_filters[frames.HideCarrier.name] = frames.HideCarrier(host.presented)
        ev = gdb.events
        for registry, f in ((ev.stop, host.stopped), (ev.cont, host.resumed), (ev.exited, host.ended),
                            (ev.memory_changed, host.wrote),
                            (ev.new_objfile, host.changed_files), (ev.clear_objfiles, host.changed_files)):
            registry.connect(f)
        values.load(host)
        if host.library.mismatch():
            host.hands.err(host.library.mismatch())
    table, shared = {}, set()  # shared: gdb has a command of that name, which goes on where ours declines
    for words, summary, text, flags in host.library.commands():
        if not flags & vi.HIDDEN:
            table[words] = (summary, text)
        if flags & vi.MAY_DECLINE:
            shared.add(words)
    for words in [w for w in table if w.split(" ")[0] in shared and w not in shared]:
        del table[words]  # the library splits those: gdb would take an abbreviation for one of them
    for words in list(table):
        parent = words.rpartition(" ")[0]
        if parent and parent not in table and not exists(parent):
            table[parent] = ("Commands that begin with " + parent, "")
    refused = set()

    def refuse(words):
        top = words.split(" ")[0]
        refused.add(top)
        host.hands.err("vitrine: `%s' is defined by another script and stays so%s"
                       % (top, "" if top == "vitrine" else "; ours is `vitrine %s'" % words))

    for words in sorted(table, key=lambda w: (w.count(" "), w)):
        if words.split(" ")[0] in refused or (words in host.ours and words not in KEPT):
            continue
        if words.rpartition(" ")[0] not in host.ours and words not in KEPT and words not in shared and exists(words):
            refuse(words)
            continue
        command = make_command(words, any(w.startswith(words + " ") for w in table))
        command.__doc__ = table[words][0].rstrip(".") + ".\n" + table[words][1]
        try:
            command()
        except RuntimeError:  # the word before is another's, and takes no words behind it
            refuse(words)
            continue
        host.ours.add(words)


def exists(words):
    found = gdb.execute("complete " + words, to_string=True).splitlines()
    return words in (line.strip() for line in found)


def keep_words():
    """Lets later scripts define what they like but KEPT."""
    real = Plain

    class Command(real):
        def __init__(self, name, *args, **kwargs):
            if name not in KEPT:
                super().__init__(name, *args, **kwargs)

    gdb.Command = Command


host, Plain = None, gdb.Command
