"""Letting the process run in gdb for the library: internal breakpoints whose stop() asks it, and stepi.

A hit is decided in Breakpoint.stop(), which saves most of what a stop costs gdb. No thread may be switched and nothing
may be resumed in there; memory and the registers of the thread that stopped can be read.
"""

import os
import re

import gdb
import vitrine_inspect as vi
import vitrine_run


class Planted(gdb.Breakpoint):
    def __init__(self, control, address):
        super().__init__("*0x%x" % address, internal=True)
        self.silent = True
        self.control = control

    def stop(self):
        return self.control.reached()


class Quiet:
    """gdb's terminal shows the line after each stepi, wherever the command's output is sent to; so its descriptor leads
    nowhere meanwhile. Not under a machine interface, which must hear of each stop and shows no lines."""

    def __enter__(self):
        with open("/proc/self/cmdline", "rb") as f:
            self.machine = re.search(rb"\0--?i(?:nterpreter)?[=\0]mi", f.read()) is not None
        if self.machine:
            return
        gdb.flush(gdb.STDOUT)
        self.saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)

    def __exit__(self, *_):
        if self.machine:
            return
        gdb.flush(gdb.STDOUT)
        os.dup2(self.saved, 1)
        os.close(self.saved)


class RunControl(vitrine_run.RunControl):
    hit_cost = 140, 380  # as measured: a Python breakpoint's, with what is read at it

    def __init__(self):
        self.points, self.next = {}, 1
        self.names, self.hit, self.hit_tid, self.ended = (), None, 0, False

    def plant(self, address):
        self.points[self.next] = Planted(self, address)
        self.next += 1
        return self.next - 1

    def remove(self, number):
        point = self.points.pop(number)
        if point.is_valid():
            point.delete()

    def reached(self):
        """True: stop here."""
        if self.hit is None:  # gdb may ask twice about one hit, and about other threads' that came with it
            return self.ended
        try:
            thread, frame = gdb.selected_thread(), gdb.newest_frame()
            tid = thread.ptid[1] or thread.ptid[0]
            regs = {name: int(frame.read_register(name)) & (1 << 64) - 1 for name in self.names}
            with vi.kept_back():
                if self.hit(tid, regs):
                    return False
            self.hit_tid = tid
        except BaseException:
            self.hit_tid = 0
        self.hit, self.ended = None, True
        return True

    def run(self, names, hit):
        self.names, self.hit, self.hit_tid, self.ended = names, hit, 0, False
        try:
            return self.resume("continue")
        finally:
            self.hit, self.ended = None, False

    def resume(self, command):
        seen = []
        gdb.events.stop.connect(seen.append)
        gdb.events.exited.connect(seen.append)
        try:
            with vi.let_through():
                gdb.execute(command)  # not to a string: that would keep what is printed at the hits as well
        except KeyboardInterrupt:
            return vi.STOP_INTERRUPTED, 0, ""
        except gdb.error as e:
            return vi.STOP_FAILED, 0, str(e)
        finally:
            gdb.events.stop.disconnect(seen.append)
            gdb.events.exited.disconnect(seen.append)
        last = seen[-1] if seen else None
        if isinstance(last, gdb.ExitedEvent):
            return vi.STOP_EXITED, 0, ""
        thread = gdb.selected_thread()
        tid = (thread.ptid[1] or thread.ptid[0]) if thread is not None else 0
        if self.hit_tid and command == "continue":
            return vi.STOP_DONE, self.hit_tid, ""
        if isinstance(last, gdb.SignalEvent):
            if last.stop_signal == "SIGINT":
                return vi.STOP_INTERRUPTED, tid, ""
            return vi.STOP_OTHER, tid, last.stop_signal
        if command != "continue":  # onto a breakpoint of the user's as well: the instruction is done
            return vi.STOP_DONE, tid, ""
        numbers = [str(b.number) for b in last.breakpoints if b.number > 0] if isinstance(last, gdb.BreakpointEvent) else []
        return vi.STOP_OTHER, tid, "breakpoint " + ", ".join(numbers) if numbers else ""

    def step(self, tid):
        self.thread(tid).switch()
        locking = gdb.parameter("scheduler-locking")
        gdb.execute("set scheduler-locking on", to_string=True)
        try:
            with Quiet():
                return self.resume("stepi")
        finally:
            gdb.execute("set scheduler-locking " + locking, to_string=True)

    def thread(self, tid):
        for thread in gdb.selected_inferior().threads():
            if tid == (thread.ptid[1] or thread.ptid[0]):
                return thread
        raise vi.Failed("thread %d is gone" % tid)

    def registers(self, tid):
        self.thread(tid).switch()
        frame = gdb.newest_frame()
        return {name: int(frame.read_register(name)) & (1 << 64) - 1 for name in vi.REGISTERS}
