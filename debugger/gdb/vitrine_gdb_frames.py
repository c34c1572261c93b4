"""How gdb is made to show a parked goroutine: the unwinder, the frame filter and the hooks around them.

A goroutine that is selected, step by step:
  1. The library answers "select" with the saved context: some registers.
  2. The carrier is gdb's current thread. Its real pc and sp are noted, then gdb's frame cache is dropped.
  3. gdb unwinds the carrier's frame #0 again and asks our Unwinder, which says: your caller is the saved context. So
     the goroutine's frames are #1 and up, found by gdb's own means (CFI), on a live process and on a core; not one
     register or byte is written.
  4. A frame filter hides the carrier's frame: its arguments would be computed from the wrong caller.
  5. Before the process runs, hooks of the run-control commands deselect. They stand in front of a hook that the user
     has, and are checked at each selection, since a later `define hook-…` replaces them silently. events.cont is the
     net below (MI, Python); it only clears our variables, because gdb 13 crashes when frames are touched there.

Traps of gdb 13 that shaped this: unwinders never see inline frames (so the carrier's innermost real frame is compared,
and hiding goes by level); the frame id's stack address must lie below the goroutine's frames, else "previous frame
inner to this frame"; gdb.lookup_type fails when the language is Go.

Rejected: writing $rsp and $rip (kills the process when forgotten, impossible on a core); `frame view` (bt ignores it);
one gdb thread per goroutine (needs a core made for it).
"""

import struct

import gdb
import gdb.unwinder
import vitrine_inspect as vi
from gdb.FrameDecorator import FrameDecorator

HOOKED = ("step", "next", "stepi", "nexti", "continue", "finish", "until", "advance", "jump", "run", "start", "starti",
          "return", "detach", "kill", "signal", "thread", "inferior", "attach", "core-file", "file", "checkpoint",
          "reverse-step", "reverse-next", "reverse-continue", "reverse-finish", "reverse-stepi", "reverse-nexti")
HOOK_LINE = "maintenance vitrine-before %s"  # a command of ours: what it raises is shown without a traceback


def selected_thread():
    thread = gdb.selected_thread()
    return thread if thread is not None and thread.is_valid() else None


def innermost():
    """The newest frame of the selected thread that is no inlined one, and how many inlined ones lie before it."""
    frame, inlined = gdb.newest_frame(), 0
    while frame.type() == gdb.INLINE_FRAME:
        frame, inlined = frame.older(), inlined + 1
    return frame, inlined


def value(number, length=64):
    return gdb.Value(struct.pack("<Q", number), gdb.selected_inferior().architecture().integer_type(length, False))


class Place:
    """A thread and a frame level, to come back to."""

    def __init__(self):
        self.thread, self.level = selected_thread(), 0
        try:
            self.level = gdb.selected_frame().level()
        except gdb.error:
            pass

    def restore(self):
        if self.thread is None or not self.thread.is_valid() or self.thread.is_running():
            return
        if selected_thread() != self.thread:
            self.thread.switch()
        go_to_level(self.level)


def go_to_level(level):
    frame = gdb.newest_frame()
    while frame.level() < level and frame.older() is not None:
        frame = frame.older()
    frame.select()


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = value(sp), value(pc)


class Presented:
    """The goroutine that gdb is made to show; at most one."""

    def __init__(self):
        self.regs = None  # register name → value; None: nothing is presented
        self.goid = self.thread = self.pc = self.sp = None
        self.base = 0     # level of the goroutine's innermost frame
        self.outer_sp = 0  # of its outermost one; 0: unknown
        self.home = None  # where the user was before the first selection

    def holds(self, frame):
        """Whether a frame is the goroutine's: neither the carrier's nor what gdb makes of the words above the outermost."""
        return frame.level() >= self.base and not (self.outer_sp and int(frame.read_register("rsp")) > self.outer_sp)

    def show(self, action):
        if "rip" not in action.regs or "rsp" not in action.regs:
            raise vi.Failed("goroutine %d has no saved context that gdb could show" % action.goid)
        thread = selected_thread()
        if thread is None:
            raise vi.Failed("goroutine %d cannot be shown: gdb has no thread to show it on" % action.goid)
        if thread.is_running():
            raise vi.Failed("goroutine %d cannot be shown: gdb's current thread is running" % action.goid)
        self.forget()
        frame, inlined = innermost()
        self.pc, self.sp, self.thread = int(frame.read_register("rip")), int(frame.read_register("rsp")), thread
        self.goid, self.regs, self.base = action.goid, dict(action.regs), inlined + 1
        self.regs["rip"] += action.exact  # to gdb every frame but a thread's first stands behind a call
        self.outer_sp = action.outer_sp
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        while frame is not None and frame.level() < self.base:
            frame = frame.older()
        if frame is None or int(frame.read_register("rsp")) != self.regs["rsp"]:
            self.forget()
            gdb.newest_frame().select()
            raise vi.Failed("goroutine %d: gdb did not take its saved context (pc 0x%x, sp 0x%x)"
                            % (action.goid, action.regs["rip"], action.regs["rsp"]))
        frame.select()

    def first(self):
        """The level that the innermost frame of a goroutine has once it is shown."""
        thread = selected_thread()
        if self.on(thread) or thread is None or thread.is_running():
            return self.base
        return innermost()[1] + 1

    def forget(self):
        if self.regs is not None:
            self.regs = None
            gdb.invalidate_cached_frames()

    def on(self, thread):
        return self.regs is not None and thread is not None and thread == self.thread


class Unwinder(gdb.unwinder.Unwinder):
    def __init__(self, presented):
        super().__init__("vitrine")
        self.presented = presented

    def __call__(self, pending):
        p = self.presented
        if p.regs is None:
            return None
        try:
            if int(pending.read_register("rip")) != p.pc or int(pending.read_register("rsp")) != p.sp:
                return None
            if not p.on(selected_thread()):
                return None
            info = pending.create_unwind_info(FrameId(p.regs["rsp"] - 16, p.pc))
            for name, number in p.regs.items():
                info.add_saved_register(name, value(number))
            return info
        except (gdb.error, ValueError):  # another architecture, a register that cannot be had
            return None


class HideCarrier:
    """Frame filter. Enabled only while it has something to hide: gdb prints every backtrace in another way (parameter
    types after the name) as soon as one filter is."""
    name, priority = "vitrine", 1000

    def __init__(self, presented):
        self.presented, self.wanted = presented, True

    @property
    def enabled(self):
        return self.wanted and self.presented.on(selected_thread())

    @enabled.setter
    def enabled(self, wanted):  # `disable frame-filter`
        self.wanted = wanted

    def filter(self, frames):
        return (BareName(f) for f in frames if self.presented.holds(f.inferior_frame()))


class BareName(FrameDecorator):
    """A function's name as gdb prints it without filters."""

    def function(self):
        name = super().function()
        return without_parameters(name) if isinstance(name, str) else name


def without_parameters(name):
    end = name[:-len(" const")] if name.endswith(" const") else name
    if not end.endswith(")"):
        return name
    depth = 0
    for i in range(len(end) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(end[i], 0)
        if depth == 0:
            return name if end[:i].endswith("operator") else end[:i]
    return name


def guard_run_control():
    """Puts our line in front of what the user's hooks do, wherever it is not there (any more)."""
    confirm = gdb.parameter("confirm")
    for command in (*HOOKED, "down"):
        line = HOOK_LINE % ("down" if command == "down" else "run")
        try:
            body = gdb.execute("show user hook-" + command, to_string=True).splitlines()[1:]
        except gdb.error:
            body = []
        if line in (b.strip() for b in body):
            continue
        gdb.execute("set confirm off", to_string=True)
        try:
            gdb.execute("\n".join(["define hook-" + command, line, *body, "end"]), to_string=True)
        except gdb.error:  # a command that this gdb has not
            pass
        finally:
            gdb.execute("set confirm " + ("on" if confirm else "off"), to_string=True)
