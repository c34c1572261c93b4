"""Letting the process run in LLDB for the library: breakpoints that are looked at after each stop, and StepInstruction.

Everything is synchronous: Continue() returns when the process has stopped. Breakpoint callbacks in Python would be no
faster, and their errors are swallowed. While a command of Python's lets the process run, LLDB does not hear Ctrl-C; so
the signal is ours meanwhile, and a thread that it wakes asks the process to stop.
"""

import ctypes
import os
import signal
import threading

import lldb
import vitrine_inspect as vi
import vitrine_run


class Interrupts:
    """Ctrl-C while the process runs. Where Python may not have the signal (another thread than its first) LLDB keeps it."""

    def __init__(self, process):
        self.process, self.seen, self.thread = process, False, None

    def __enter__(self):
        self.libc, self.before = ctypes.CDLL(None), ctypes.create_string_buffer(256)
        self.libc.sigaction(signal.SIGINT, None, self.before)  # LLDB's own, which Python could not put back
        try:
            signal.signal(signal.SIGINT, lambda *_: None)
        except ValueError:
            return self
        self.out, self.into = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.into, False)
        self.wakeup = signal.set_wakeup_fd(self.into, warn_on_full_buffer=False)
        self.thread = threading.Thread(target=self.wait, daemon=True)
        self.thread.start()
        return self

    def wait(self):
        while True:
            what = os.read(self.out, 1)
            if what != bytes([signal.SIGINT]):
                return
            self.seen = True
            self.process.SendAsyncInterrupt()

    def __exit__(self, *_):
        if self.thread is None:
            return
        signal.set_wakeup_fd(self.wakeup)
        self.libc.sigaction(signal.SIGINT, self.before, None)
        os.write(self.into, b"\0")
        self.thread.join()
        os.close(self.out)
        os.close(self.into)


class RunControl(vitrine_run.RunControl):
    hit_cost = 1200, 2500  # as measured on an idle machine, with 2 to 6 threads

    def __init__(self, eyes):
        self.eyes, self.points, self.running = eyes, {}, False

    def plant(self, address):
        point = self.eyes.target.BreakpointCreateByAddress(address)
        if not point.IsValid():
            raise vi.Failed("no breakpoint")
        self.points[point.GetID()] = address
        return point.GetID()

    def remove(self, number):
        del self.points[number]
        if not self.eyes.target.BreakpointDelete(number):
            raise vi.Failed("the breakpoint stays")

    def run(self, names, hit):
        process, interpreter = self.eyes.process, self.eyes.debugger.GetCommandInterpreter()
        was = self.eyes.debugger.GetAsync()
        self.eyes.debugger.SetAsync(False)
        try:
            with Interrupts(process) as interrupts:
                self.running = True
                return self.until(names, hit, process, lambda: interrupts.seen or interpreter.WasInterrupted())
        finally:
            self.running = False
            self.eyes.debugger.SetAsync(was)

    def until(self, names, hit, process, interrupted):
        while True:
            error = process.Continue()
            if not error.Success():
                return vi.STOP_FAILED, 0, error.GetCString() or ""
            if process.GetState() != lldb.eStateStopped:
                return vi.STOP_EXITED, 0, ""
            others = []
            for thread in process.threads:
                reason = thread.GetStopReason()
                ours, theirs = self.hits(thread) if reason == lldb.eStopReasonBreakpoint else (False, True)
                if ours:
                    tid = thread.GetThreadID()
                    if not hit(tid, registers_of(thread, names)):
                        process.SetSelectedThread(thread)
                        return vi.STOP_DONE, tid, ""
                if theirs and reason not in (lldb.eStopReasonNone, lldb.eStopReasonInvalid):
                    others.append(thread)
            if others:
                process.SetSelectedThread(others[0])
                said = others[0].GetStopDescription(200)
                return (vi.STOP_INTERRUPTED if interrupted() else vi.STOP_OTHER,
                        others[0].GetThreadID(), said)
            if interrupted():
                return vi.STOP_INTERRUPTED, 0, ""

    def hits(self, thread):
        """(one of ours, one of the user's): both where the user has one at the same place."""
        ids = [thread.GetStopReasonDataAtIndex(i) for i in range(0, thread.GetStopReasonDataCount(), 2)]
        ours = [i in self.points for i in ids]
        return any(ours), not all(ours) or not ours

    def thread(self, tid):
        thread = self.eyes.process.GetThreadByID(tid)
        if not thread.IsValid():
            raise vi.Failed("thread %d is gone" % tid)
        return thread

    def step(self, tid):
        was = self.eyes.debugger.GetAsync()
        self.eyes.debugger.SetAsync(False)
        try:
            thread = self.thread(tid)
            self.eyes.process.SetSelectedThread(thread)
            thread.StepInstruction(False)
            if self.eyes.process.GetState() != lldb.eStateStopped:
                return vi.STOP_EXITED, 0, ""
            reason = self.thread(tid).GetStopReason()
            # Onto a breakpoint of the user's as well: the instruction is done.
            if reason in (lldb.eStopReasonTrace, lldb.eStopReasonPlanComplete, lldb.eStopReasonBreakpoint):
                return vi.STOP_DONE, tid, ""
            return vi.STOP_OTHER, tid, self.thread(tid).GetStopDescription(200)
        finally:
            self.eyes.debugger.SetAsync(was)

    def registers(self, tid):
        return registers_of(self.thread(tid), vi.REGISTERS)


def registers_of(thread, names):
    frame = thread.GetFrameAtIndex(0)
    return {name: frame.FindRegister(name).GetValueAsUnsigned() for name in names}
