"""Runs inside gdb (-x): answers the requests of sessionlib.debuggers, one JSON object a line, on an inherited socket."""

import json
import os
import sys

import gdb
import gdb.frames

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import driver_common as common  # noqa: E402


def frames():
    """The debugger's own, after its frame filters: what `bt` shows."""
    newest = gdb.newest_frame()
    filtered = gdb.frames.execute_frame_filters(newest, 0, -1)
    if filtered is not None:
        return [f.inferior_frame() for f in filtered]
    out = []
    while newest is not None:
        out.append(newest)
        newest = newest.older()
    return out


class Driver(common.Driver):
    def command(self, text):
        try:
            return True, gdb.execute(text, to_string=True), ""
        except (gdb.error, gdb.GdbError) as e:
            return False, "", str(e)
        except KeyboardInterrupt:
            return False, "", "interrupted"

    def frame_names(self):
        return [f.name() or "?" for f in frames()]

    def select_frame(self, index):
        frames()[index].select()

    def value(self, expression):
        return str(gdb.parse_and_eval(expression))

    def shown(self, expression):
        return gdb.execute("print " + expression, to_string=True)

    def pid(self):
        return gdb.selected_inferior().pid

    def registers(self):
        gdb.execute("maintenance flush register-cache", to_string=True)
        thread, frame, out = gdb.selected_thread(), gdb.selected_frame(), {}
        for t in gdb.selected_inferior().threads():
            t.switch()
            newest = gdb.newest_frame()
            out[t.ptid[1]] = [str(newest.read_register(r.name)) for r in newest.architecture().registers("general")]
        thread.switch()
        frame.select()
        return out


for setting in ("pagination off", "confirm off", "width 0", "height 0", "style enabled off", "language auto", "startup-with-shell off"):
    gdb.execute("set " + setting)
Driver().serve()
