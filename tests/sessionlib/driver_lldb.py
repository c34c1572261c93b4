"""Runs inside LLDB (command script import): answers the requests of sessionlib.debuggers, one JSON object a line."""

import os
import sys

import lldb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import driver_common as common  # noqa: E402


class Driver(common.Driver):
    def __init__(self, debugger):
        super().__init__()
        self.debugger = debugger

    def thread(self):
        return self.debugger.GetSelectedTarget().GetProcess().GetSelectedThread()

    def command(self, text):
        result, target = lldb.SBCommandReturnObject(), self.debugger.GetSelectedTarget()
        frame = self.thread().GetSelectedFrame()
        context = lldb.SBExecutionContext(frame) if frame.IsValid() else lldb.SBExecutionContext(target)
        self.debugger.GetCommandInterpreter().HandleCommand(text, context, result, False)
        error = (result.GetError() or "").strip()
        return result.Succeeded(), result.GetOutput() or "", error[7:] if error.startswith("error: ") else error

    def frame_names(self):
        return [f.GetFunctionName() or "?" for f in self.thread()]

    def select_frame(self, index):
        self.thread().SetSelectedFrame(index)

    def value(self, expression):
        frame = self.thread().GetSelectedFrame()
        v = frame.GetValueForVariablePath(expression)  # the object itself; a result may be a copy of LLDB's
        if not v.IsValid() or not v.GetError().Success():
            v = frame.EvaluateExpression(expression)
        if not v.GetError().Success():
            raise RuntimeError(v.GetError().GetCString())
        return v.GetSummary() or v.GetValue() or ""

    def shown(self, expression):
        ok, out, err = self.command("frame variable " + expression)
        if not ok or not out:
            raise RuntimeError(err or "nothing is shown")
        return out

    def pid(self):
        process = self.debugger.GetSelectedTarget().GetProcess()
        return process.GetProcessID() if process.GetState() == lldb.eStateStopped else 0

    def registers(self):
        process = self.debugger.GetSelectedTarget().GetProcess()
        return {t.GetThreadID(): [r.GetValue() for r in t.GetFrameAtIndex(0).GetRegisters()[0]]
                for t in process if t.GetThreadID() < 1 << 32}


def __lldb_init_module(debugger, _):
    debugger.SetAsync(False)
    debugger.SetUseColor(False)
    debugger.HandleCommand("settings set target.disable-aslr true")
    driver = Driver(debugger)
    driver.command("settings set show-progress false")  # absent in 14
    driver.serve()
