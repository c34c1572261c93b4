"""What the library may ask gdb: memory, threads, object files, an expression's value.

gdb's Python interface is for its main thread only, and so are these. Reading a thread's registers means that gdb
switches to it; the user's thread and frame are put back. Where an object file lies is computed from the address that
`info files` gives for its .text and the one that the file itself has.
"""

import re
import sys

import gdb
import vitrine_inspect as vi
from vitrine_gdb_frames import Place, selected_thread

WANTED = (*vi.REGISTERS, "fs_base")


def raw_registers(thread):
    """Of any thread, without a frame of it: to make the first one gdb reads all the debug information of the unit that its
    function is in, and `thread apply' puts the user's frame back without having made it. None: not all of them."""
    out = {}
    command = "thread apply %d.%d -q maintenance print raw-registers" % (gdb.selected_inferior().num, thread.num)
    try:
        for line in gdb.execute(command, to_string=True).splitlines():
            words = line.split()
            if len(words) > 6 and words[0] in WANTED and words[-1].startswith("0x"):
                out[words[0]] = int(words[-1], 16)
    except (gdb.error, ValueError):
        pass
    return out if set(vi.REGISTERS) <= set(out) else None


def frame_registers():
    """Of the selected thread."""
    frame, out = gdb.newest_frame(), {}
    for name in WANTED:
        try:
            out[name] = int(frame.read_register(name)) & (1 << 64) - 1
        except (gdb.error, ValueError):
            if name in vi.REGISTERS:
                raise
    return out


class Eyes(vi.Host):
    """What the library may ask gdb."""

    def __init__(self):
        self.told = False   # a progress line stands on the terminal
        self.signals = {}   # thread → the signal that it stopped with
        self.core = None    # the core file that the library reads by itself

    def read(self, addr, length, space):
        inferior = gdb.selected_inferior()
        try:
            return inferior.read_memory(addr, length).tobytes()
        except gdb.MemoryError:
            return vi.split_prefix(lambda a, n: inferior.read_memory(a, n).tobytes(), addr, length)

    def threads(self):
        selected, out, odd = selected_thread(), [], []
        for thread in gdb.selected_inferior().threads():
            out.append(vi.Thread(thread.ptid[1] or thread.ptid[0], {}, current=thread == selected,
                                 signal=self.signals.get(thread.global_num, 0)))
            if thread.is_running() or self.core:  # the library has a core's registers from the file
                continue
            known = raw_registers(thread)
            if known:
                self.fill(out[-1], known)
            else:
                odd.append((thread, out[-1]))
        if odd:
            place = Place()
            try:
                for thread, lent in odd:
                    thread.switch()
                    self.fill(lent, frame_registers())
            finally:
                place.restore()
        return out

    @staticmethod
    def fill(lent, known):
        lent.regs = {name: known[name] for name in vi.REGISTERS}
        lent.fs_base = known.get("fs_base")

    def modules(self):
        """Where each file lies: gdb's addresses of the .text sections beside those that the files give."""
        text, program, out = {}, gdb.current_progspace().filename, []
        for line in gdb.execute("info files", to_string=True).splitlines():
            m = re.match(r"\s+0x([0-9a-f]+) - 0x([0-9a-f]+) is (\S+)(?: in (.*))?$", line)
            if m:
                lo, hi, path = int(m[1], 16), int(m[2], 16), m[4] or program
                at = text.setdefault(path, [lo, hi, None])
                at[0], at[1] = min(at[0], lo), max(at[1], hi)
                if m[3] == ".text":
                    at[2] = lo
        ids = {o.filename: o.build_id for o in gdb.objfiles() if o.owner is None}
        for path, (lo, hi, start) in text.items():
            try:
                said = vi.section_address(path, ".text") if start is not None else None
            except OSError:  # a file of another machine
                said = None
            if said is not None:
                out.append(vi.Module(path, start - said, lo, hi, path == program, ids.get(path)))
        return out

    def evaluate(self, expression):
        """As C++, without calling anything in the program; typedefs are resolved in the type that is told."""
        language, calls = gdb.parameter("language"), gdb.parameter("may-call-functions")
        gdb.execute("set language c++", to_string=True)
        gdb.execute("set may-call-functions off", to_string=True)
        try:
            v = gdb.parse_and_eval(expression)
            kind, stars = v.type.strip_typedefs(), ""
            while kind.code == gdb.TYPE_CODE_PTR:
                kind, stars = kind.target().strip_typedefs(), stars + "*"
            value = v if stars or v.address is None else v.address
            return int(value), str(kind.unqualified()) + stars
        finally:
            gdb.execute("set may-call-functions " + ("on" if calls else "off"), to_string=True)
            gdb.execute("set language " + language, to_string=True)

    def cancelled(self):
        return vi.waits()

    def progress(self, message):
        if sys.__stderr__ is not None and sys.__stderr__.isatty() and (message or self.told):
            sys.__stderr__.write("\r\x1b[K" + message)
            sys.__stderr__.flush()
            self.told = bool(message)


def core_path():
    m = re.search(r"^\s+[`'](.*)', file type ", gdb.execute("info files", to_string=True).partition("ore dump file:")[2],
                  re.MULTILINE)
    return m[1] if m else None
