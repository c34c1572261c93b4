#!/usr/bin/env python3
"""docs/notes-map.tsv must say the truth about the built library.

notes_map_test.py --library build/lib/libvitrine.a

Each row maps a name of Go's runtime to what stands for it here. This test reads the library's DWARF (readelf) and its
ELF symbols (nm, for the assembly) and checks that every symbol of a row is *defined* there under its qualified name,
that a planned row names a title of docs/roadmap.md, that a superseded row says by what and why, and that no cell is
empty. `--list` prints the rows whose symbol is missing, one per line, and nothing else.
"""
import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KINDS = {"function", "method", "structure", "global", "type", "constant", "macro"}
TAGS = {
    "function": {"subprogram"},
    "method": {"subprogram"},
    "macro": {"subprogram"},
    "structure": {"structure_type", "class_type"},
    "global": {"variable"},
    "type": {"structure_type", "class_type", "enumeration_type", "typedef"},
    "constant": {"variable"},
}
SCOPES = {"namespace", "structure_type", "class_type", "union_type", "enumeration_type"}
DIE = re.compile(r"^ *<([0-9a-f]+)><([0-9a-f]+)>: Abbrev Number: (\d+)(?: \(DW_TAG_(\w+)\))?")
ATTRIBUTE = re.compile(r"^ *<[0-9a-f]+> +DW_AT_(\w+) *: (.*)$")
VALUE = re.compile(r"^(?:\((?:strp|line_strp|string|strx\d?|alt indirect string|indirect string)[^)]*\):? ?)?(?:\(offset: [^)]*\): )?")
REFERENCE = re.compile(r"<0x([0-9a-f]+)>")


class Die:
    __slots__ = ("tag", "name", "declaration", "origin")

    def __init__(self, tag, scope):
        self.tag = tag
        self.name = scope  # qualified; its own part is added by DW_AT_name
        self.declaration = False
        self.origin = None  # of a definition that stands outside its namespace: the offset of the declaration


def plain(name):
    """vitrine::rt::atomic<unsigned int> -> vitrine::rt::atomic<T>"""
    return re.sub(r"<.*>", "<T>", name)


def read_dwarf(library):
    """The (tag, qualified name) pairs that the library defines."""
    text = subprocess.run(["readelf", "--wide", "--debug-dump=info", library], capture_output=True, text=True, check=True)
    defined = set()
    dies, scopes, die = {}, [], None

    def finish_object():
        for one in dies.values():
            seen = one
            while not seen.declaration and seen.origin in dies and seen.tag == dies[seen.origin].tag:
                origin = dies[seen.origin]
                if origin.declaration or origin.origin is None:
                    if one.name.endswith("::") or not one.name:
                        one.name = origin.name
                    break
                seen = origin
            if not one.declaration and one.name and not one.name.endswith("::"):
                defined.add((one.tag, plain(one.name)))

    for line in text.stdout.splitlines():
        if line.startswith("File: "):
            finish_object()
            dies, scopes = {}, []
            continue
        match = DIE.match(line)
        if match:
            depth, offset, _, tag = int(match[1]), match[2], match[3], match[4]
            if tag is None:
                die = None
                continue
            del scopes[depth:]
            scope = next((s.name + "::" for s in reversed(scopes) if s and s.tag in SCOPES), "")
            die = Die(tag, scope)
            scopes.extend([None] * (depth - len(scopes)))
            scopes.append(die)
            dies[offset] = die
            continue
        match = ATTRIBUTE.match(line)
        if match and die is not None:
            what, value = match.groups()
            if what == "name":
                die.name += VALUE.sub("", value).strip()
            elif what == "declaration":
                die.declaration = True
            elif what in ("specification", "abstract_origin"):
                reference = REFERENCE.search(value)
                die.origin = reference[1] if reference else None
    finish_object()
    return defined


def read_symbols(library):
    """Names of functions and objects in the ELF symbol tables, demangled, without argument lists."""
    text = subprocess.run(["nm", "-C", "--defined-only", library], capture_output=True, text=True, check=True)
    names = set()
    for line in text.stdout.splitlines():
        match = re.match(r"^[0-9a-f]+ ([A-Za-z]) (.+)$", line)
        if match and match[1] in "TtWwDdBbRrVuG":
            names.add(re.sub(r"\(.*$", "", match[2]))
    return names


def check_row(number, cells, titles, found):
    """Yields what is wrong with one row."""
    where = f"notes-map.tsv:{number}"
    if len(cells) != 4 or not all(cell.strip() for cell in cells):
        yield f"{where}: four cells, none empty, are needed"
        return
    name, kind, symbol, status = cells
    if kind not in KINDS:
        yield f"{where}: {name}: unknown kind {kind}"
        return
    if status == "here" or status.startswith("here; "):
        if not found(kind, symbol):
            yield f"{where}: {name}: {symbol} ({kind}) is not defined in the library"
        return
    if symbol != "-":
        yield f"{where}: {name}: a symbol, but the status is not `here`"
    planned = re.search(r"(?:^|; )planned: (.+)$", status)
    if planned and planned[1] not in titles:
        yield f"{where}: {name}: no such title in roadmap.md: {planned[1]}"
    if not planned and not re.match(r"not applicable: .+|superseded by .+ because .+", status):
        yield f"{where}: {name}: status must be here, planned, superseded by … because …, or not applicable: …"
    if planned and planned.start() > 0 and not re.match(r"superseded by .+ because .+", status):
        yield f"{where}: {name}: text in front of `planned` must be superseded by … because …"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()

    with open(os.path.join(ROOT, "docs", "roadmap.md"), encoding="utf-8") as file:
        titles = set(re.findall(r"^\d+\. (.+)$", file.read(), re.M))
    dwarf, symbols = read_dwarf(options.library), read_symbols(options.library)
    if len(dwarf) < 100 or not titles:
        sys.exit("the library's DWARF or the road map could not be read")

    def found(kind, symbol):
        return any((tag, symbol) in dwarf for tag in TAGS[kind]) or (
            kind in ("function", "global", "macro") and symbol in symbols
        )

    problems, rows, names = [], 0, set()
    with open(os.path.join(ROOT, "docs", "notes-map.tsv"), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\n").split("\t")
            if number == 1:
                if cells != ["name", "kind", "symbol", "status"]:
                    problems.append("notes-map.tsv:1: the header must be name, kind, symbol, status")
                continue
            rows += 1
            if cells[0] in names:
                problems.append(f"notes-map.tsv:{number}: {cells[0]} is there twice")
            names.add(cells[0])
            problems.extend(check_row(number, cells, titles, found))
    for problem in problems:
        print(problem)
    if not options.list:
        print(f"{rows - len(problems)} passed, {len(problems)} failed, 0 skipped")
    sys.exit(1 if problems or rows == 0 else 0)


if __name__ == "__main__":
    main()
