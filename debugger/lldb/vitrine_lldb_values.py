"""What LLDB's own commands get from the library: summaries and children of the runtime's types, goid() for breakpoints.

Which types there are and what lies in a value come from the library's tables; here they are registered, in the category
`vitrine`, and SBValues are made. A summary is read from the target, so it knows values that have an address there and no
others. Nothing here raises: LLDB would print the traceback into the answer.
"""

import re

import lldb
import vitrine_inspect as vi

CATEGORY = "vitrine"
POINTED = "$$dereference$$"  # the child that LLDB asks for where *p or p->member is meant
NOWHERE = lldb.LLDB_INVALID_ADDRESS


def whole(value):
    """The value itself, references followed and without our own children, and its type."""
    value = value.GetNonSyntheticValue()
    if value.GetType().GetCanonicalType().IsReferenceType():
        value = value.Dereference().GetNonSyntheticValue()
    return value, value.GetType().GetCanonicalType().GetUnqualifiedType()


def made(value, kind, part):
    """The SBValue of a part of a value of type `kind`."""
    name, address, argument, stars, index, called = part
    of = kind.GetTemplateArgumentType(argument) if argument >= 0 else value.GetTarget().FindFirstType(called)
    for _ in range(stars):
        of = of.GetPointerType()
    return value.CreateValueFromAddress(name, address + index * of.GetByteSize(), of)


def make(host_of, smart):
    """(summary function, class of children, goid), for the hosts that host_of(debugger) finds. smart: patterns of the types that
    are pointers, though classes."""
    def described(value):
        value, kind = whole(value)
        at = value.GetValueAsUnsigned() if kind.IsPointerType() else value.GetLoadAddress()
        if at in (0, NOWHERE):
            return None
        host, target = host_of(value.GetTarget().GetDebugger()), value.GetTarget()
        said = host.asked(target).describe(kind.GetName(), at) if host else None
        return said and (host.asked(target), value, kind, at, *said)

    def summary(value, _):
        try:
            found = described(value)
            if not found:
                return "unknown" if value.GetNonSyntheticValue().GetValueAsUnsigned() or \
                    not value.GetType().IsPointerType() else ""
            session, value, kind, at, shows, text, _ = found
            if shows != vi.SHOWS_PART:
                return text
            part = session.part(kind.GetName(), at, 0)
            child = made(value, kind, part) if part else None
            return (child.GetSummary() or child.GetValue() or "unknown") if child else "unknown"
        except Exception:
            return "unknown"

    class Children:
        def __init__(self, value, _):
            self.value, self.found = value, None

        def update(self):
            try:
                self.found = described(self.value)
            except Exception:
                self.found = None
            return False

        def num_children(self, most=None):
            n = self.found[6] if self.found else 0
            return min(n, 1 << 31, most) if most is not None else min(n, 1 << 31)

        def has_children(self):
            return bool(self.num_children())

        def get_child_index(self, name):
            if name == POINTED:
                return self.num_children() if self.pointer() else -1
            digits = name[1:-1] if name[:1] + name[-1:] == "[]" else ""
            i = int(digits) if digits.isdigit() else 0
            child = self.get_child_at_index(i) if i < self.num_children() else None
            return i if child and child.GetName() == name else -1

        def pointer(self):
            return self.found and any(one.match(self.found[2].GetName()) for one in smart)

        def get_child_at_index(self, i):
            try:
                session, value, kind, at = self.found[:4]
                pointed = i == self.num_children() and self.pointer()
                part = session.part(kind.GetName(), at, 0 if pointed else i)
                child = made(value, kind, part) if part else None
                return child.Dereference() if child and pointed else child
            except Exception:
                return None

    def goid(frame):
        """The goroutine that the frame's thread runs; 0: none. For `breakpoint command add -s python`."""
        try:
            target = frame.GetThread().GetProcess().GetTarget()
            register = frame.FindRegister("fs_base")  # LLDB 14 has none
            pointer = register.GetValueAsUnsigned() if register.IsValid() and register.GetError().Success() else None
            session = host_of(target.GetDebugger()).asked(target)
            return session.value("goid", [], pointer, pointer is not None)[1]
        except Exception:
            return 0

    return summary, Children, goid


def load(do, host, module, host_of):
    """do: runs a command of LLDB's; module: where LLDB looks for what is named."""
    smart = [re.compile(pattern) for _, pattern, flags in host.library.printed() if flags & vi.PRINTED_SMART]
    module.summary, module.Children, module.goid = make(host_of, smart)
    do("type category delete " + CATEGORY)
    for _, pattern, flags in host.library.printed():
        expand = "-e " if flags & (vi.PRINTED_ELEMENTS | vi.PRINTED_MEMBERS) else ""
        skip = "" if flags & vi.PRINTED_POINTER else "-p "
        do('type summary add -w %s %s%s-F %s.summary -x "%s"' % (CATEGORY, expand, skip, module.__name__,
                                                               pattern.replace("\\", "\\\\")))
        if flags & vi.PRINTED_ELEMENTS:
            do('type synthetic add -w %s -p -l %s.Children -x "%s"' % (CATEGORY, module.__name__, pattern))
    do("type category enable " + CATEGORY)
