"""Letting the process run for the library: breakpoints and steps of `gotrace gogo -live` and `-step`.

A host derives from RunControl. As everywhere at this boundary no callback raises: what goes wrong is a call that is
not done, and a breakpoint that a failed run leaves behind is taken out by the library, which asks for that in any case.
"""

import ctypes as C

from vitrine_abi import (
    _HIT, _PLANT, _REGISTERS, _REMOVE, _RUN, _STEP, _STOP_TEXT, REGISTERS, STOP_DONE, STOP_EXITED, STOP_FAILED,  # noqa: F401
    STOP_INTERRUPTED, STOP_OTHER, _RunControl, _Thread)  # noqa: F401


class RunControl:
    hit_cost = 0, 0  # microseconds, from and to

    def plant(self, address):  # → a number that remove() knows
        raise NotImplementedError

    def remove(self, number):
        raise NotImplementedError

    def run(self, wanted, hit):
        """Lets all run. At a planted breakpoint: hit(tid, {register: value}); False: stay there. → (why, tid, text)"""
        raise NotImplementedError

    def step(self, tid):  # → (why, tid, text)
        raise NotImplementedError

    def registers(self, tid):  # → {register: value}
        raise NotImplementedError


def thread_of(tid, regs):
    c = _Thread(size=C.sizeof(_Thread), tid=tid)
    for i, name in enumerate(REGISTERS):
        if name in regs:
            c.regs[i] = regs[name]
            c.known |= 1 << i
    return c


def table(control):
    """The C table; it and what it points to must live as long as it is lent."""
    def guarded(f):
        def call(*args):
            try:
                f(*args[1:-1])
                args[-1][0] = 1
            except BaseException:  # also a Ctrl-C that comes here: the call is not done, and the library ends
                pass
        return call

    def plant(address, number):
        number[0] = control.plant(address)

    def tell(stop, answer):
        why, tid, text = answer
        stop[0].why, stop[0].tid = why, tid
        stop[0].text = text.encode("utf-8", "replace")[:_STOP_TEXT - 1]

    def run(wanted, hit, hit_ctx, stop):
        names = [name for i, name in enumerate(REGISTERS) if wanted >> i & 1]
        tell(stop, control.run(names, lambda tid, regs: bool(hit(hit_ctx, C.byref(thread_of(tid, regs))))))

    def step(tid, stop):
        tell(stop, control.step(tid))

    def registers(tid, thread):
        thread[0] = thread_of(tid, control.registers(tid))

    return _RunControl(size=C.sizeof(_RunControl), hit_cost_low=control.hit_cost[0], hit_cost_high=control.hit_cost[1],
                       plant=_PLANT(guarded(plant)), remove=_REMOVE(guarded(control.remove)), run=_RUN(guarded(run)),
                       step=_STEP(guarded(step)), registers=_REGISTERS(guarded(registers)))
