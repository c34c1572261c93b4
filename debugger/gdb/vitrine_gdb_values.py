"""What gdb's own commands get from the library: `set vitrine …`, $functions in expressions, printers of values.

Names, texts, which types there are and what lies in a value come from the library's tables; here they are registered and
gdb.Values are made. A printer that cannot say anything leaves the value to gdb, and never raises: `info locals` stops at
an exception. What it says is read from the target, so it knows values that have an address there and no others.
"""

import re

import gdb
import gdb.printing
import gdb.xmethod
import vitrine_inspect as vi


def make_parameter(library, name, summary, text, flag):
    class Parameter(gdb.Parameter):
        set_doc = "Set %s." % summary
        show_doc = "Show %s." % summary
        __doc__ = text

        def __init__(self):
            super().__init__("vitrine " + name, gdb.COMMAND_DATA, gdb.PARAM_BOOLEAN if flag else gdb.PARAM_UINTEGER)

        def get_set_string(self):
            library.set(name, ("on" if self.value else "off") if flag else str(self.value or "unlimited"))
            return ""

        def get_show_string(self, _):  # as the library has it: `vitrine set` may have changed it
            return "vitrine %s is %s (%s)." % (name, shown(library, name), summary)

        def refresh(self, value):
            self.value = None if value == vi.UNLIMITED else value

    return Parameter()


def shown(library, name):
    flag, value = next(row[3:] for row in library.settings() if row[0] == name)
    if flag:
        return "on" if value else "off"
    return "unlimited" if value == vi.UNLIMITED else str(value)


class SetPrefix(gdb.Command):
    """Set something for all of Vitrine's commands."""

    def __init__(self, names):
        super().__init__("set vitrine", gdb.COMMAND_DATA, prefix=True)
        self.names = names

    def invoke(self, text, from_tty):
        raise gdb.GdbError('"set vitrine" must be followed by the name of a setting: ' + ", ".join(self.names))


class ShowPrefix(gdb.Command):
    """What is set for all of Vitrine's commands."""

    def __init__(self, run):
        super().__init__("show vitrine", gdb.COMMAND_DATA, prefix=True)
        self.run = run

    def invoke(self, text, from_tty):
        self.run("vitrine", "show " + text)


class Function(gdb.Function):
    """Of an expression: its arguments are numbers, pointers, or objects that mean their address."""

    def __init__(self, host, name, text):
        self.__doc__ = "$%s: %s" % (name, text)
        self.host, self.called = host, name
        super().__init__(name)

    def invoke(self, *arguments):
        try:
            kind, number, text = self.host.value(self.called, [number_of(a) for a in arguments])
        except vi.Failed as e:
            raise gdb.GdbError("$%s: %s" % (self.called, e))
        if kind == vi.VALUE_TEXT:
            return text
        if kind == vi.VALUE_NUMBER:
            return number
        try:
            return gdb.Value(number).cast(gdb.lookup_type(text).pointer())
        except gdb.error:  # no debug information, or a language that has no such name
            return number


def number_of(value):
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
        kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY) and value.address is not None:
        return int(value.address)
    return int(value)


class Printers(gdb.printing.PrettyPrinter):
    """All of them, under one name; each can be turned off (`disable pretty-printer global vitrine;chan`)."""

    def __init__(self, host):
        self.host, self.rows, by_name = host, [], {}
        for name, pattern, flags in host.library.printed():
            one = by_name.setdefault(name, gdb.printing.SubPrettyPrinter(name))
            self.rows.append((re.compile(pattern), one, bool(flags & vi.PRINTED_POINTER)))
        self.known = {}  # name of a type → its row, None: not ours
        super().__init__("vitrine", list(by_name.values()))

    def __call__(self, value):
        try:
            kind = value.type
            if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
                value = value.referenced_value()
                kind = value.type
            kind = kind.unqualified().strip_typedefs()
            name = named(kind)
            if name is None:
                return None
            if name not in self.known:
                self.known[name] = next((row for row in self.rows if row[0].match(name)), None)
            row = self.known[name]
            if row is None or not row[1].enabled:
                return None
            at = int(value) if row[2] else int(value.address) if value.address is not None else 0
            said = self.host.describe(name, at) if at else None
            return Printer(self.host, value, kind, name, at, row[2], said) if said else None
        except (gdb.error, vi.Failed, OverflowError):
            return None


def named(kind):
    """What a type is called whatever the language of the selected frame, in which str(kind) would be; None: not at all."""
    if kind.code == gdb.TYPE_CODE_PTR and kind.name is None:
        to = kind.target().name
        return to and to + " *"
    return kind.name if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_PTR) else None


def Printer(host, value, kind, name, at, pointer, said):
    shows, summary, parts = said
    printer = Summary("0x%x %s" % (at, summary) if pointer else summary)
    if shows == vi.SHOWS_PART:
        part = host.part(name, at, 0)
        inside = made(kind, part)[1] if part else None
        return None if inside is None else Summary(inside)
    if shows == vi.SHOWS_ELEMENTS and parts:
        first = host.part(name, at, 0)
        return Elements(printer.text, host, kind, name, at, parts, bool(first) and first[0].startswith("["))
    if shows == vi.SHOWS_MEMBERS:
        return Members(summary, value, kind)
    return printer


class Summary:
    def __init__(self, text):
        self.text = text

    def to_string(self):
        return self.text


class Elements(Summary):
    def __init__(self, text, host, kind, name, at, parts, array):
        super().__init__(text)
        self.host, self.kind, self.name, self.at, self.parts = host, kind, name, at, parts
        self.array = array

    def display_hint(self):
        return "array" if self.array else None

    def children(self):
        for i in range(self.parts):
            try:
                part = self.host.part(self.name, self.at, i)
                pair = made(self.kind, part) if part else None
            except (gdb.error, vi.Failed):
                pair = None
            if pair is None:
                return
            yield pair


class Members(Summary):
    def __init__(self, text, value, kind):
        super().__init__(text)
        self.value, self.kind = value, kind

    def children(self):
        for field in self.kind.fields():
            if not field.artificial and hasattr(field, "bitpos"):
                yield field.name or "<base>", self.value[field]


class SmartPointers(gdb.xmethod.XMethodMatcher):
    """`*p`, `p->member` and `p.get()` of pointers that are classes, without a call in the program: so on cores as well."""

    METHODS = ("operator*", "operator->", "get")

    def __init__(self, host):
        super().__init__("vitrine")
        self.host, self.methods = host, [gdb.xmethod.XMethod(name) for name in self.METHODS]
        self.patterns = [re.compile(pattern) for _, pattern, flags in host.library.printed() if flags & vi.PRINTED_SMART]

    def match(self, kind, method):
        kind = kind.unqualified().strip_typedefs()
        for one in self.methods:
            if one.name == method and one.enabled and kind.name and any(p.match(kind.name) for p in self.patterns):
                return Pointed(self.host, kind, method == "operator*")
        return None


class Pointed(gdb.xmethod.XMethodWorker):
    def __init__(self, host, kind, dereference):
        self.host, self.kind, self.dereference = host, kind, dereference

    def get_arg_types(self):
        return None

    def get_result_type(self, _):  # of a value that may be nowhere: whatis, sizeof
        to = self.kind.template_argument(0)
        return to if self.dereference else to.pointer()

    def __call__(self, this):
        try:  # gdb passes the object or its address
            part = self.host.part(self.kind.name, number_of(this), 0)
        except vi.Failed as e:
            raise gdb.error(str(e))
        if part is None:
            raise gdb.error("this %s cannot be read" % self.kind.name)
        pointer = made(self.kind, part)[1]
        return pointer.dereference() if self.dereference else pointer


def made(kind, part):
    """(name, gdb.Value) of a part of a value of type `kind`."""
    name, address, argument, stars, index, called = part
    of = kind.template_argument(argument) if argument >= 0 else gdb.lookup_type(called)
    for _ in range(stars):
        of = of.pointer()
    return name, (gdb.Value(address).cast(of.pointer()) + index).dereference()


def load(host):
    """A second time changes nothing."""
    names = [row[0] for row in host.library.settings()]
    SetPrefix(names)
    ShowPrefix(host.run)
    for name, summary, text, flag, value in host.library.settings():
        parameter = make_parameter(host.library, name, summary, text, flag)
        parameter.refresh(value)
        host.parameters[name] = parameter
    for name, text, _, _ in host.library.functions():
        Function(host, name, text)
    gdb.printing.register_pretty_printer(None, Printers(host), replace=True)
    gdb.xmethod.register_xmethod_matcher(None, SmartPointers(host), replace=True)
