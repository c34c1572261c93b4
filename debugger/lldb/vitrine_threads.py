"""Which goroutines LLDB shows as threads now: written by vitrine_lldb, read by the OS plugin (vitrine_os).

One set per process, good for one stop: after the process ran, a saved context is history, so a set of another stop
counts as empty. Expressions that run code do not change this stop id.
"""

TID_BASE = 0x676F_0000_0000  # out of the way of kernel thread ids

_sets = {}  # process's unique id → (stop id, {tid: (goid, {register: value})})


def shown(process):
    stop, threads = _sets.get(process.GetUniqueID(), (0, {}))
    return threads if stop == process.GetStopID() else {}


def show(process, threads):
    _sets[process.GetUniqueID()] = (process.GetStopID(), threads)


def forget(process):
    _sets.pop(process.GetUniqueID(), None)
