"""Letting the process run in LLDB for the library: breakpoints that are looked at after each stop, and StepInstruction.

Everything is synchronous: Continue() returns when the process has stopped. LLDB is asked after each stop whether the
user pressed Ctrl-C. Breakpoint callbacks in Python would be no faster, and their errors are swallowed.
"""

import lldb
import vitrine_inspect as vi
import vitrine_run


class RunControl(vitrine_run.RunControl):
    hit_cost = 500, 2000

    def __init__(self, eyes):
        self.eyes, self.points = eyes, {}

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
            while True:
                error = process.Continue()
                if not error.Success():
                    return vi.STOP_FAILED, 0, error.GetCString() or ""
                if process.GetState() != lldb.eStateStopped:
                    return vi.STOP_EXITED, 0, ""
                others = []
                for thread in process.threads:
                    reason = thread.GetStopReason()
                    if reason == lldb.eStopReasonBreakpoint and self.ours(thread):
                        tid = thread.GetThreadID()
                        if not hit(tid, registers_of(thread, names)):
                            process.SetSelectedThread(thread)
                            return vi.STOP_DONE, tid, ""
                    elif reason not in (lldb.eStopReasonNone, lldb.eStopReasonInvalid):
                        others.append(thread)
                if others:
                    process.SetSelectedThread(others[0])
                    said = others[0].GetStopDescription(200)
                    return (vi.STOP_INTERRUPTED if interpreter.WasInterrupted() else vi.STOP_OTHER,
                            others[0].GetThreadID(), said)
                if interpreter.WasInterrupted():
                    return vi.STOP_INTERRUPTED, 0, ""
        finally:
            self.eyes.debugger.SetAsync(was)

    def ours(self, thread):
        """Only ours: where the user has one as well, theirs is what stops the process."""
        ids = [thread.GetStopReasonDataAtIndex(i) for i in range(0, thread.GetStopReasonDataCount(), 2)]
        return bool(ids) and all(i in self.points for i in ids)

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
            if reason in (lldb.eStopReasonTrace, lldb.eStopReasonPlanComplete):
                return vi.STOP_DONE, tid, ""
            return vi.STOP_OTHER, tid, self.thread(tid).GetStopDescription(200)
        finally:
            self.eyes.debugger.SetAsync(was)

    def registers(self, tid):
        return registers_of(self.thread(tid), vi.REGISTERS)


def registers_of(thread, names):
    frame = thread.GetFrameAtIndex(0)
    return {name: frame.FindRegister(name).GetValueAsUnsigned() for name in names}
