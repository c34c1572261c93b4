"""What a session is asked in between, by the debugger's own commands: values in words, functions of expressions.

Unlike a command such a question may come at any time, in the middle of a command too (`goroutine apply all print x`), so it
leaves what a command keeps alone. Every string is copied before the next call.
"""

import ctypes as C

from vitrine_abi import (
    _TEXT, HERE_MOVING, HERE_THREAD_POINTER, OK, UNLIMITED, Failed, _decode, _Description, _Here, _Part, _Sink, _Value, u64)


class Asking:
    def describe(self, kind, address):
        """What a value of the type `kind` is in words: (SHOWS_…, summary, number of parts); None: not ours to say."""
        d = _Description(size=C.sizeof(_Description))
        if self._call(self._lib.dll.vi_describe, self._handle, kind.encode(), address, C.byref(d)) != OK:
            return None
        return d.shows, _decode(d.summary), d.parts

    def part(self, kind, address, i):
        """(name, address, number of the template argument that its type is made of or -1, stars, index behind the
        address, name of its type); None: there is none."""
        p = _Part(size=C.sizeof(_Part))
        if self._call(self._lib.dll.vi_part_at, self._handle, kind.encode(), address, i, C.byref(p)) != OK:
            return None
        return _decode(p.name), p.address, p.argument, p.stars, p.index, _decode(p.type)

    def value(self, function, arguments, thread_pointer=None, moving=False):
        """(VALUE_…, number, text) of a function for expressions. Raises Failed."""
        here, v, said = _Here(size=C.sizeof(_Here)), _Value(size=C.sizeof(_Value)), []
        if thread_pointer is not None:
            here.flags, here.thread_pointer = HERE_THREAD_POINTER, thread_pointer
        here.flags |= HERE_MOVING if moving else 0
        sink = _Sink(size=C.sizeof(_Sink), err=_TEXT(lambda _, s: said.append(_decode(s))))
        status = self._call(self._lib.dll.vi_call, self._handle, function.encode(),
                            (u64 * len(arguments))(*[a & UNLIMITED for a in arguments]), len(arguments), C.byref(here),
                            C.byref(v), C.byref(sink))
        if status != OK:
            raise Failed("\n".join(said) or function + ": failed")
        return v.kind, v.number, _decode(v.text)
