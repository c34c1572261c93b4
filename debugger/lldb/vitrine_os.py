"""LLDB OperatingSystem plugin: the goroutines that are selected appear as threads, beside the process's own.

LLDB runs this on a thread of its own, in the middle of a stop; so it only hands out what vitrine_lldb prepared and
never enters the library. It is loaded by path, as a module of its own that LLDB makes anew at will: whatever must last
is kept in vitrine_threads. Threads are made of registers that we have (`get_register_data`), never of an address:
with an address LLDB 19 dies in an expression on such a thread. What a saved context does not hold of LAYOUT reads as 0
in frame 0, the switch routine; from frame 1 on LLDB restores it by the CFI of that routine. One that a signal
interrupted has all registers.
"""

import struct
import sys

LAYOUT = (("rbx", 3, None), ("rbp", 6, "fp"), ("rsp", 7, "sp"), ("r12", 12, None), ("r13", 13, None),
          ("r14", 14, None), ("r15", 15, None), ("rip", 16, "pc"))  # name, DWARF number, role
OTHERS = (("rax", 0, None), ("rdx", 1, None), ("rcx", 2, None), ("rsi", 4, None), ("rdi", 5, None), ("r8", 8, None),
          ("r9", 9, None), ("r10", 10, None), ("r11", 11, None))


def register(i):
    name, number, role = (LAYOUT + OTHERS)[i]
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

    def layout(self):
        """Of the registers of those that are shown: the plugin is made anew when that changes."""
        whole = [OTHERS[0][0] in regs for _, regs in self.shown().values()]
        return LAYOUT + OTHERS if whole and all(whole) else LAYOUT

    def get_register_info(self):
        return {"sets": ["GPR"], "registers": [register(i) for i in range(len(self.layout()))]}

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
        return b"".join(struct.pack("<Q", regs.get(name, 0)) for name, _, _ in self.layout())
