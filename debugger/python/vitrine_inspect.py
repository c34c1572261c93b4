"""Sessions with libvitrine_inspect.so, as the gdb and the LLDB host share them. vitrine_abi.py is the C side.

What a host writes:
  class MyHost(Host): read, threads, modules, evaluate, cancelled, progress      the eyes that it lends
  class MyUi(Ui):     out, err, select, deselect, execute, show_frame            what it does for an answer
  session = Session(library(), MyHost(), Target(...))
  session.perform("info goroutines", "-limit 5", ui)

One command: run_line → text goes to ui.out while it is made → the actions that the core then asks for are done one by
one → each is acknowledged. The first failure is kept and raised at the end as `Failed`, so that a host can report it
in its own way.

Rules of the boundary:
  * A C callback never raises: what Python raised would be printed and the C side would read an undefined result. So
    each callback catches everything and sets *done as its last act; *done unset is a failure to the core.
  * Ctrl-C: the interpreter raises KeyboardInterrupt at the entry of whichever function runs next, which for a callback
    is before its `try`. Such an exception is only seen by sys.unraisablehook, which is ours during a call: it notes
    the interrupt, and the next poll of `cancelled` says 1. What the callback was asked for has failed then, and a list
    that failed stays so until the next stop; so a host that can does its commands in kept_back(): the signal waits,
    `cancelled` sees that it does, and it comes where the debugger itself works on (let_through) or at the end.
  * Every C string is copied before the next call into the library.
"""

import contextlib
import ctypes as C
import os
import signal
import struct
import sys

import vitrine_run
import vitrine_values
from vitrine_abi import (  # noqa: F401: the hosts take all from here
    ACTION_EXACT, CANCELLED, CODE, CORE, DATA, DESELECT, ERROR, EXECUTE, FILE, FRAMES_C_ONLY, HIDDEN, LIVE, MAY_DECLINE, NONE,
    NOT_OURS, OK, PRINT, REGISTERS, SELECT, SHOW_FRAME, Failed, NotOurs, Unavailable, library, ptr)
from vitrine_abi import (  # noqa: F401
    PRINTED_ELEMENTS, PRINTED_MEMBERS, PRINTED_PART, PRINTED_POINTER, PRINTED_SMART, SHOWS_ELEMENTS, SHOWS_MEMBERS, SHOWS_PART,
    SHOWS_TEXT, UNLIMITED, VALUE_NUMBER, VALUE_POINTER, VALUE_TEXT)
from vitrine_abi import (  # noqa: F401
    STOP_DONE, STOP_EXITED, STOP_FAILED, STOP_INTERRUPTED, STOP_OTHER,
    _CANCELLED, _EVAL, _MODULES, _READ, _TEXT, _THREADS, _Action, _decode, _Host, _Module, _Sink, _Target, _Thread)


@contextlib.contextmanager
def kept_back():
    """Ctrl-C waits, on this thread, and raises KeyboardInterrupt at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def waits():
    """Was Ctrl-C pressed while it was kept back?"""
    return signal.SIGINT in signal.sigpending()


@contextlib.contextmanager
def let_through():
    """Ctrl-C comes at once in here; one that waits does instead of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if signal.SIGINT not in before:
        yield
        return
    if waits():
        raise KeyboardInterrupt
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Thread:
    def __init__(self, tid, regs, fs_base=None, current=False, signal=0):
        self.tid, self.regs, self.fs_base, self.current, self.signal = tid, regs, fs_base, current, signal


class Module:
    def __init__(self, path, bias, lo, hi, main=False, build_id=None):
        self.path, self.bias, self.lo, self.hi, self.main, self.build_id = path, bias, lo, hi, main, build_id


class Target:
    def __init__(self, kind, pid=0, core=None, program=None, stop_id=0):
        self.kind, self.pid, self.core, self.program, self.stop_id = kind, pid, core, program, stop_id
        self.force = os.environ.get("VITRINE_FORCE") == "1"  # a core of another build is read all the same


class Action:
    def __init__(self, a):
        self.kind, self.goid, self.g, self.tid = a.kind, a.goid, a.g, a.tid
        self.regs = {REGISTERS[i]: a.regs[i] for i in range(17) if a.known >> i & 1}
        self.text = _decode(a.text)
        self.exact = bool(a.flags & ACTION_EXACT)
        self.outer_sp, self.link_rbp = a.outer_sp, a.link_rbp


class Host:
    """The eyes. A method that raises is a failed read, an absent list, …"""

    def read(self, addr, length, space):  # → bytes, a prefix of what was asked for
        raise NotImplementedError

    def threads(self):  # → [Thread]
        return []

    def modules(self):  # → [Module]
        return []

    def evaluate(self, expression):  # → (address or value, type name)
        raise NotImplementedError

    def cancelled(self):  # → bool
        return False

    def progress(self, message):
        pass


class Ui:
    """What a command's answer is made of. The last five raise Failed (or anything) when they cannot."""

    def out(self, message):
        raise NotImplementedError

    def err(self, message):  # a message that did not end the command
        raise NotImplementedError

    def select(self, action):
        raise NotImplementedError

    def deselect(self):
        raise NotImplementedError

    def execute(self, command):
        raise NotImplementedError

    def show_frame(self):
        raise NotImplementedError


class Session(vitrine_values.Asking):
    """One target of the core. A command that EXECUTE runs may be one of ours again: perform() nests."""

    def __init__(self, lib, host=None, target=None):
        self._lib, self._host, self._handle = lib, host, ptr()
        self._interrupted = False
        self._calls = self._callbacks(host) if host else None  # referenced from C as long as the session lives
        self._ui, self._messages = None, []
        self._out, self._err = _TEXT(self._on_out), _TEXT(self._on_err)
        self._sink = _Sink(size=C.sizeof(_Sink), out=self._out, err=self._err)
        t = None
        if target:
            t = _Target(size=C.sizeof(_Target), kind=target.kind, pid=target.pid, stop_id=target.stop_id,
                        core_path=os.fsencode(target.core) if target.core else None,
                        program=os.fsencode(target.program) if target.program else None, force=int(target.force))
        status = self._call(lib.dll.vi_open, C.byref(self._calls) if host else None, C.byref(t) if t else None,
                            C.byref(self._sink), C.byref(self._handle))
        self.warnings = list(self._messages)
        if status != OK or not self._handle:
            raise Failed("\n".join(self._messages) or "vitrine: the target cannot be opened")

    def close(self):
        if self._handle:
            self._lib.dll.vi_close(self._handle)
            self._handle = ptr()

    def set_stop(self, stop_id, stopped_at=0):
        """stopped_at: time.monotonic_ns() when the process came to stand still; 0: nobody saw it."""
        self._call(self._lib.dll.vi_set_stop, self._handle, stop_id, stopped_at)

    def lend(self, control):
        """A RunControl, for commands that let the process run."""
        self._run = vitrine_run.table(control)
        self._call(self._lib.dll.vi_lend_run_control, self._handle, C.byref(self._run))

    def set_terminal(self, width, colour):
        self._call(self._lib.dll.vi_set_terminal, self._handle, width, int(colour))

    def set_frames(self, first, c_only=False):
        self._call(self._lib.dll.vi_set_frames, self._handle, first, FRAMES_C_ONLY if c_only else 0)

    def complete(self, command, line):
        words = []
        out = _TEXT(lambda _, s: words.append(_decode(s)))
        sink = _Sink(size=C.sizeof(_Sink), out=out, err=self._err)
        status = self._call(self._lib.dll.vi_complete, self._handle, command.encode(), line.encode(), C.byref(sink))
        return words if status == OK else []

    def perform(self, command, line, ui):
        """Runs a command and all the actions it asks for. Raises Failed, or KeyboardInterrupt when cancelled."""
        outer = self._ui, self._messages
        self._ui, self._messages, self._interrupted = ui, [], False
        try:
            self._perform(command, line, ui)
        finally:
            self._ui, self._messages = outer

    def _perform(self, command, line, ui):
        dll, sink = self._lib.dll, C.byref(self._sink)
        failed = False
        status = self._call(dll.vi_run_line, self._handle, command.encode(), line.encode("utf-8", "surrogateescape"),
                            sink)
        while status == OK:
            a = _Action(size=C.sizeof(_Action))
            status = self._call(dll.vi_next_action, self._handle, C.byref(a))
            if status != OK or a.kind == NONE:
                break
            why = None
            try:
                self._act(Action(a), ui)
            except KeyboardInterrupt:
                self._interrupted, why = True, "interrupted"
            except Exception as e:
                why = str(e) or type(e).__name__
            failed = failed or why is not None
            self._call(dll.vi_action_done, self._handle, int(why is None),
                       None if why is None else why.encode("utf-8", "replace"), sink)
            if failed and not self._messages:
                self._messages.append(why or "failed")
        if status == NOT_OURS:
            raise NotOurs(command)
        if status == CANCELLED or self._interrupted:
            raise KeyboardInterrupt
        if status != OK or failed:
            raise Failed("\n".join(self._messages) or "vitrine: %s: failed (status %d)" % (command, status))
        for m in self._messages:
            ui.err(m)

    def _act(self, action, ui):
        if action.kind == SELECT:
            ui.select(action)
        elif action.kind == DESELECT:
            ui.deselect()
        elif action.kind == EXECUTE:
            with let_through():
                ui.execute(action.text)
        elif action.kind == SHOW_FRAME:
            ui.show_frame()
        elif action.kind == PRINT:
            ui.out(action.text)
        else:
            raise Failed("vitrine: the library asked for action %d, which this script does not know" % action.kind)

    def _call(self, f, *args):
        previous = sys.unraisablehook

        def hook(info):
            if issubclass(info.exc_type, KeyboardInterrupt):
                self._interrupted = True
            else:
                previous(info)

        sys.unraisablehook = hook
        try:
            return f(*args)
        finally:
            sys.unraisablehook = previous

    def _on_out(self, _, message):
        try:
            if self._ui:
                with let_through():  # a pager may wait
                    self._ui.out(_decode(message))
        except BaseException:  # a pager that was left, a closed pipe: stop the command
            self._interrupted = True

    def _on_err(self, _, message):
        try:
            self._messages.append(_decode(message))
        except BaseException:
            self._interrupted = True

    def _callbacks(self, host):
        def guarded(f):  # f returns True when it succeeded
            def call(*args):
                done = args[-1]
                try:
                    f(*args[1:-1])
                    done[0] = 1
                except KeyboardInterrupt:
                    self._interrupted = True
                except BaseException:
                    pass
            return call

        def read(addr, buf, length, space, got):
            got[0] = 0
            data = host.read(addr, length, space)
            n = min(len(data), length)
            C.memmove(buf, bytes(data), n)
            got[0] = n

        def threads(sink, ctx):
            for t in host.threads():
                c = _Thread(size=C.sizeof(_Thread), tid=t.tid, current=int(t.current), signal=t.signal)
                for i, name in enumerate(REGISTERS):
                    if name in t.regs:
                        c.regs[i] = t.regs[name]
                        c.known |= 1 << i
                if t.fs_base is not None:
                    c.fs_base, c.has_fs_base = t.fs_base, 1
                sink(ctx, C.byref(c))

        def modules(sink, ctx):
            for m in host.modules():
                sink(ctx, C.byref(_Module(size=C.sizeof(_Module), main=int(m.main), bias=m.bias, lo=m.lo, hi=m.hi,
                                          path=os.fsencode(m.path),
                                          build_id=m.build_id.encode() if m.build_id else None)))

        def evaluate(expression, value, kind, kind_size):
            v, name = host.evaluate(_decode(expression))
            value[0] = v & (1 << 64) - 1
            name = name.encode()[:max(kind_size, 1) - 1] + b"\0"
            if kind and kind_size:
                C.memmove(kind, name, len(name))

        def cancelled(_):
            try:
                return int(self._interrupted or host.cancelled())
            except BaseException:
                self._interrupted = True
                return 1

        def progress(_, message):
            try:
                host.progress(_decode(message))
            except BaseException:
                self._interrupted = True

        return _Host(size=C.sizeof(_Host), read=_READ(guarded(read)), threads=_THREADS(guarded(threads)),
                     modules=_MODULES(guarded(modules)), eval=_EVAL(guarded(evaluate)),
                     cancelled=_CANCELLED(cancelled), progress=_TEXT(progress))


class Sessions:
    """The session of the host's present target: opened when first asked for, again when the target is another one."""

    def __init__(self, lib, host):
        self._lib, self._host, self._key, self._session = lib, host, None, None

    def get(self, key, target):
        """key: whatever tells targets apart; target: made into a Target when a new session is needed."""
        if self._session is None or key != self._key:
            self.drop()
            self._session = Session(self._lib, self._host, target)
            self._key = key
        return self._session

    def is_open(self, session):
        return session is not None and session is self._session

    def drop(self):
        if self._session:
            self._session.close()
        self._session = self._key = None


def section_address(path, section):
    """The sh_addr of a section as an ELF file says it, to compare with where a debugger placed it; None: not there."""
    with open(path, "rb") as f:
        head = f.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            return None
        offset, = struct.unpack_from("<Q", head, 40)
        size, count, names = struct.unpack_from("<HHH", head, 58)
        f.seek(offset)
        table = f.read(size * count)
        rows = [struct.unpack_from("<IIQQQQ", table, i * size) for i in range(len(table) // size)]
        f.seek(rows[names][4])
        strings = f.read(rows[names][5])
    want = section.encode() + b"\0"
    for row in rows:
        if strings[row[0]:row[0] + len(want)] == want:
            return row[3]
    return None


def split_prefix(data_at, addr, length, page=4096):
    """Reads a prefix page by page, for hosts whose reads are all or nothing. data_at(addr, n) raises on failure."""
    out = b""
    while len(out) < length:
        here = addr + len(out)
        n = min(length - len(out), page - here % page)
        try:
            out += data_at(here, n)
        except Exception:
            break
    return out
