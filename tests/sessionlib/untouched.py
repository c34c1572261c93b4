"""Did anything change in a stopped process? Its mappings, its memory and its threads' registers, before and after.

Memory is read through /proc/PID/mem, from outside the debugger, so that no cache of the debugger's can hide a write.
Pages that are not in memory (neither present nor swapped, by /proc/PID/pagemap) are left out: nobody has written them.
"""

import hashlib
import struct

PAGE = 4096


def memory(pid):
    """{address of a page: hash}, of all pages that exist in private mappings."""
    out = {}
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/pagemap" % pid, "rb", 0) as pagemap, \
            open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            fields = line.split()
            lo, hi = (int(x, 16) for x in fields[0].split("-"))
            if "r" not in fields[1] or fields[-1] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            pagemap.seek(lo // PAGE * 8)
            entries = pagemap.read((hi - lo) // PAGE * 8)
            for i, (entry,) in enumerate(struct.iter_unpack("<Q", entries)):
                if entry >> 62:
                    mem.seek(lo + i * PAGE)
                    out[lo + i * PAGE] = hashlib.blake2b(mem.read(PAGE), digest_size=16).digest()
    return out


def mappings(pid):
    with open("/proc/%d/maps" % pid) as maps:
        return {" ".join(line.split()[:2]) for line in maps}


class Watch:
    def __init__(self, debugger):
        self.debugger, self.pid = debugger, debugger.inferior
        self.mappings, self.memory, self.registers = mappings(self.pid), memory(self.pid), self.read_registers()

    def read_registers(self):
        answer = self.debugger.ask("registers")
        if not answer["ok"]:
            raise AssertionError(answer["err"])
        return answer["registers"]

    def changes(self):
        """What changed since the last look, in words; [] when nothing did."""
        before, self.memory = self.memory, memory(self.pid)
        old, self.registers = self.registers, self.read_registers()
        # A page may come into being by being read (it then holds zeros, or the file's bytes).
        pages = [a for a in before if self.memory.get(a) != before[a]]
        zero = hashlib.blake2b(bytes(PAGE), digest_size=16).digest()
        pages += [a for a in self.memory if a not in before and self.memory[a] != zero and self.in_private(a)]
        out = ["memory at 0x%x" % a for a in sorted(pages)]
        had, self.mappings = self.mappings, mappings(self.pid)
        out += ["the mapping " + m for m in sorted(self.mappings ^ had)]
        return out + ["registers of thread %s" % t for t in old if self.registers.get(t) != old[t]]

    def in_private(self, address):
        with open("/proc/%d/maps" % self.pid) as maps:
            for line in maps:
                fields = line.split()
                lo, hi = (int(x, 16) for x in fields[0].split("-"))
                if lo <= address < hi:
                    return fields[4] == "0"
        return True
