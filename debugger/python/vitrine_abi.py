"""debugger/core/capi.h in ctypes, and the library that implements it: found, loaded, checked.

Where it is looked for: $VITRINE_HOME (lib, build/lib), build/lib of the source tree that this file lies in, lib of the
install whose share/vitrine/python this file lies in, and last where the dynamic loader looks. A library of another
interface or version is refused. The version ends in a hash of the host scripts of its build (core/stamp.cmake says how
it is made): other scripts than those are said, not refused.
"""

import ctypes as C
import hashlib
import os

ABI_VERSION = 1
VERSION = "0.1.0"  # the project's version, as CMakeLists.txt says; the library's must be the same

OK, ERROR, CANCELLED, NOT_OURS, BAD_ARGUMENT = range(5)
DATA, CODE = 0, 1
LIVE, CORE, FILE = 1, 2, 3
NONE, SELECT, DESELECT, EXECUTE, SHOW_FRAME, PRINT = range(6)
HIDDEN, MAY_DECLINE = 1, 2
ACTION_EXACT = FRAMES_C_ONLY = 1
STOP_DONE, STOP_OTHER, STOP_EXITED, STOP_INTERRUPTED, STOP_FAILED = range(5)
SETTING_FLAG = 1
UNLIMITED = (1 << 64) - 1
HERE_THREAD_POINTER, HERE_MOVING = 1, 2
VALUE_NUMBER, VALUE_POINTER, VALUE_TEXT = range(3)
PRINTED_POINTER, PRINTED_ELEMENTS, PRINTED_MEMBERS, PRINTED_PART, PRINTED_SMART = 1, 2, 4, 8, 16
SHOWS_TEXT, SHOWS_ELEMENTS, SHOWS_MEMBERS, SHOWS_PART = range(4)
REGISTERS = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
             "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip")  # by DWARF number

u32, u64, i32, i64, ptr, text = C.c_uint32, C.c_uint64, C.c_int32, C.c_int64, C.c_void_p, C.c_char_p


def _struct(name, *fields):
    return type(name, (C.Structure,), {"_fields_": [("size", u32), *fields]})


_Thread = _struct("vi_thread", ("known", u32), ("tid", i64), ("regs", u64 * 17), ("fs_base", u64),
                  ("has_fs_base", u32), ("current", u32), ("signal", i32), ("reserved", u32))
_Module = _struct("vi_module", ("main", u32), ("bias", u64), ("lo", u64), ("hi", u64), ("path", text),
                  ("build_id", text))
_THREAD_SINK = C.CFUNCTYPE(None, ptr, C.POINTER(_Thread))
_MODULE_SINK = C.CFUNCTYPE(None, ptr, C.POINTER(_Module))
_READ = C.CFUNCTYPE(None, ptr, u64, ptr, u64, u32, C.POINTER(u64), C.POINTER(i32))
_THREADS = C.CFUNCTYPE(None, ptr, _THREAD_SINK, ptr, C.POINTER(i32))
_MODULES = C.CFUNCTYPE(None, ptr, _MODULE_SINK, ptr, C.POINTER(i32))
_EVAL = C.CFUNCTYPE(None, ptr, text, C.POINTER(u64), ptr, u64, C.POINTER(i32))
_CANCELLED = C.CFUNCTYPE(i32, ptr)
_TEXT = C.CFUNCTYPE(None, ptr, text)
_Host = _struct("vi_host", ("reserved", u32), ("ctx", ptr), ("read", _READ), ("threads", _THREADS),
                ("modules", _MODULES), ("eval", _EVAL), ("cancelled", _CANCELLED), ("progress", _TEXT))
_Target = _struct("vi_target", ("kind", u32), ("pid", i64), ("core_path", text), ("program", text),
                  ("stop_id", u64), ("force", u32), ("reserved", u32))
_Sink = _struct("vi_sink", ("reserved", u32), ("ctx", ptr), ("out", _TEXT), ("err", _TEXT))
_Action = _struct("vi_action", ("kind", u32), ("goid", u64), ("g", u64), ("tid", i64), ("known", u32),
                  ("flags", u32), ("regs", u64 * 17), ("text", text), ("outer_sp", u64), ("link_rbp", u64))
_STOP_TEXT = 512
_Stop = _struct("vi_stop", ("why", u32), ("tid", i64), ("text", C.c_char * _STOP_TEXT))
_HIT = C.CFUNCTYPE(i32, ptr, C.POINTER(_Thread))
_PLANT = C.CFUNCTYPE(None, ptr, u64, C.POINTER(u64), C.POINTER(i32))
_REMOVE = C.CFUNCTYPE(None, ptr, u64, C.POINTER(i32))
_RUN = C.CFUNCTYPE(None, ptr, u32, _HIT, ptr, C.POINTER(_Stop), C.POINTER(i32))
_STEP = C.CFUNCTYPE(None, ptr, i64, C.POINTER(_Stop), C.POINTER(i32))
_REGISTERS = C.CFUNCTYPE(None, ptr, i64, C.POINTER(_Thread), C.POINTER(i32))
_RunControl = _struct("vi_run_control", ("hit_cost_low", u32), ("hit_cost_high", u32), ("reserved", u32), ("ctx", ptr),
                      ("plant", _PLANT), ("remove", _REMOVE), ("run", _RUN), ("step", _STEP),
                      ("registers", _REGISTERS))
_Command = _struct("vi_command", ("flags", u32), ("words", text), ("summary", text), ("help", text))
_Setting = _struct("vi_setting", ("kind", u32), ("name", text), ("summary", text), ("help", text), ("value", u64))
_Function = _struct("vi_function", ("least", u32), ("most", u32), ("reserved", u32), ("name", text), ("help", text))
_Here = _struct("vi_here", ("flags", u32), ("thread_pointer", u64))
_Value = _struct("vi_value", ("kind", u32), ("number", u64), ("text", text))
_Printed = _struct("vi_printed", ("flags", u32), ("name", text), ("pattern", text))
_Description = _struct("vi_description", ("shows", u32), ("parts", u64), ("summary", text))
_Part = _struct("vi_part", ("argument", i32), ("stars", u32), ("reserved", u32), ("address", u64), ("index", u64),
                ("name", text), ("type", text))


class Failed(Exception):
    """A command of ours ended with an error; the text is for the user."""


class NotOurs(Exception):
    """The words are no command of ours: the debugger has one of that name, and it is meant."""


class Unavailable(Exception):
    """The library cannot be used; the text says why and what to do."""


def _decode(b):
    return b.decode("utf-8", "replace") if b else ""


def _candidates():
    here = os.path.dirname(os.path.realpath(__file__))
    name = "libvitrine_inspect.so"
    home = os.environ.get("VITRINE_HOME")
    if home:
        for sub in ("lib", "build/lib"):
            yield os.path.join(home, sub, name)
    yield os.path.normpath(os.path.join(here, "../../build/lib", name))  # a source tree
    for sub in ("lib", "lib64", "lib/x86_64-linux-gnu"):  # share/vitrine/python of an install
        yield os.path.normpath(os.path.join(here, "../../..", sub, name))
    yield name  # wherever the dynamic loader looks


class Library:
    def __init__(self):
        failures = []
        self.path = None
        for path in _candidates():
            if "/" in path and not os.path.exists(path):
                continue
            try:
                self.dll = C.CDLL(path)
                self.path = path
                break
            except OSError as e:
                failures.append(str(e))
        if self.path is None:
            raise Unavailable("vitrine: cannot load libvitrine_inspect.so (build the project, or set VITRINE_HOME): "
                              + "; ".join(failures))
        d = self.dll
        for name, result, args in (
                ("vi_abi_version", u32, []), ("vi_version", text, []),
                ("vi_open", i32, [C.POINTER(_Host), C.POINTER(_Target), C.POINTER(_Sink), C.POINTER(ptr)]),
                ("vi_close", None, [ptr]), ("vi_set_stop", None, [ptr, u64, i64]),
                ("vi_set_terminal", None, [ptr, u32, u32]), ("vi_set_frames", None, [ptr, u32, u32]),
                ("vi_lend_run_control", i32, [ptr, C.POINTER(_RunControl)]),
                ("vi_run_line", i32, [ptr, text, text, C.POINTER(_Sink)]),
                ("vi_next_action", i32, [ptr, C.POINTER(_Action)]),
                ("vi_action_done", None, [ptr, C.c_int, text, C.POINTER(_Sink)]),
                ("vi_command_at", i32, [u32, C.POINTER(_Command)]),
                ("vi_complete", i32, [ptr, text, text, C.POINTER(_Sink)]),
                ("vi_setting_at", i32, [u32, C.POINTER(_Setting)]), ("vi_set", i32, [text, text, C.POINTER(_Sink)]),
                ("vi_function_at", i32, [u32, C.POINTER(_Function)]),
                ("vi_call", i32, [ptr, text, C.POINTER(u64), u32, C.POINTER(_Here), C.POINTER(_Value),
                                  C.POINTER(_Sink)]),
                ("vi_printed_at", i32, [u32, C.POINTER(_Printed)]),
                ("vi_describe", i32, [ptr, text, u64, C.POINTER(_Description)]),
                ("vi_part_at", i32, [ptr, text, u64, u64, C.POINTER(_Part)])):
            try:
                f = getattr(d, name)
            except AttributeError:
                raise Unavailable("vitrine: %s has no %s: it is not of this build" % (self.path, name))
            f.restype, f.argtypes = result, args
        self.version = _decode(d.vi_version())
        if d.vi_abi_version() != ABI_VERSION or self.version.split("+")[0] != VERSION:
            raise Unavailable("vitrine: %s is version %s (interface %d), this script is %s (interface %d): use the two "
                              "of one build" % (self.path, self.version, d.vi_abi_version(), VERSION, ABI_VERSION))

    def mismatch(self):
        """One line when the library was built with other host scripts than these; None when all is well."""
        root, hashes = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")), ""
        names = [os.path.join(d, n) for d in ("python", "gdb", "lldb")
                 for n in (os.listdir(os.path.join(root, d)) if os.path.isdir(os.path.join(root, d)) else ())]
        for name in sorted(n for n in names if n.endswith(".py")):
            with open(os.path.join(root, name), "rb") as f:
                hashes += hashlib.sha256(f.read()).hexdigest()
        stamp = self.version.partition("+")[2]
        if not stamp or hashlib.sha256(hashes.encode()).hexdigest()[:8] == stamp:
            return None
        return "vitrine: %s (%s) was built with other host scripts than %s: build again" % (
            self.path, self.version, root)

    def commands(self):
        """[(words, summary, help, flags)], in the table's order."""
        return self._table(self.dll.vi_command_at, _Command,
                           lambda c: (_decode(c.words), _decode(c.summary), _decode(c.help), c.flags))

    def settings(self):
        """[(name, summary, help, is a flag, value)]: the value is a bool or a number, UNLIMITED too."""
        return self._table(self.dll.vi_setting_at, _Setting, lambda s: (
            _decode(s.name), _decode(s.summary), _decode(s.help), s.kind == SETTING_FLAG,
            bool(s.value) if s.kind == SETTING_FLAG else s.value))

    def set(self, name, value):
        said = []
        sink = _Sink(size=C.sizeof(_Sink), err=_TEXT(lambda _, s: said.append(_decode(s))))
        if self.dll.vi_set(name.encode(), value.encode(), C.byref(sink)) != OK:
            raise Failed("\n".join(said))

    def functions(self):
        """[(name, help, least, most arguments)]"""
        return self._table(self.dll.vi_function_at, _Function,
                           lambda f: (_decode(f.name), _decode(f.help), f.least, f.most))

    def printed(self):
        """[(name, regular expression for a type, PRINTED_…)]"""
        return self._table(self.dll.vi_printed_at, _Printed, lambda p: (_decode(p.name), _decode(p.pattern), p.flags))

    @staticmethod
    def _table(at, row, take):
        out, c = [], row(size=C.sizeof(row))
        while at(len(out), C.byref(c)) == OK:
            out.append(take(c))
        return out


_library = None


def library():
    global _library
    if _library is None:
        _library = Library()
    return _library
