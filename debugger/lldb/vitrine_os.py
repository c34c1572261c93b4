"""LLDB OperatingSystem plugin: the goroutines that are selected appear as threads, beside the process's own.

LLDB runs this on a thread of its own, in the middle of a stop; so it only hands out what vitrine_lldb prepared and
never enters the library. It is loaded by path, as a module of its own that LLDB makes anew at will: whatever must last
is kept in vitrine_threads. Threads are made of registers that we have (`get_register_data`), never of an address:
with an address LLDB 19 dies in an expression on such a thread. What a saved context does not hold reads as 0 in frame
0, the switch routine; from frame 1 on LLDB restores it by the CFI of that routine.
"""

import struct
import sys

LAYOUT = (("rbx", 3, None), ("rbp", 6, "fp"), ("rsp", 7, "sp"), ("r12", 12, None), ("r13", 13, None),
          ("r14", 14, None), ("r15", 15, None), ("rip", 16, "pc"))  # name, DWARF number, role


def register(i):
    name, number, role = LAYOUT[i]
    info = {"name": name, "bitsize": 64, "offset": 8 * i, "encoding": "uint", "format": "hex", "set": 0,
            "gcc": number, "dwarf": number}
    if role:
        info["generic"] = role
    return info


class OperatingSystemPlugIn:
    def __init__(self, process):
        self.process = process

    def shown(self):
        state = sys.modules.get("vitrine_threads")
        return state.shown(self.process) if state else {}

    def get_register_info(self):
        return {"sets": ["GPR"], "registers": [register(i) for i in range(len(LAYOUT))]}

    def get_thread_info(self):
        return [self.thread(tid, goid) for tid, (goid, _) in self.shown().items()]

    def create_thread(self, tid, context):
        shown = self.shown().get(tid)
        return self.thread(tid, shown[0]) if shown else None

    def thread(self, tid, goid):
        return {"tid": tid, "name": "goroutine %d" % goid, "queue": "goroutine", "state": "stopped",
                "stop_reason": "none"}

    def get_register_data(self, tid):
        _, regs = self.shown().get(tid, (0, {}))
        return struct.pack("<8Q", *(regs.get(name, 0) for name, _, _ in LAYOUT))
