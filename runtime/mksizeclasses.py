#!/usr/bin/env python3
"""mksizeclasses.py [--check FILE]: writes sizeclasses.h, the size classes of the span heap, to standard output.

A class is an object size and the pages of its spans. The steps:

1. Candidate sizes rise from 8 by an alignment that grows with them: 8 below 32, 16 below 128, an eighth of the power of
   two below 2048, then 256.
2. A span has the fewest pages that leave at most an eighth of it unused at its end.
3. Neighbours with as many pages and as many objects per span are one class, of the larger size.
4. What is still unused at a span's end goes to its objects, in steps of 128, which size_to_class128 relies on.

Dividing by an object size is a multiplication: offset / size == (offset * magic) >> 32 with magic = 2^32 / size rounded
up, proven here for every offset that a span has. size_to_class8 serves sizes up to 1024 - 8 by steps of 8,
size_to_class128 those above by steps of 128.

--check compares FILE with what would be written, checks the bound on waste and the number of classes, and prints how many
of these hold. Follows the role of Go's mksizeclasses.go.
"""
import argparse
import sys

PAGE = 8192
MAX_SMALL = 32768
SMALL_DIV, SMALL_MAX, LARGE_DIV = 8, 1024, 128


def classes():
    found = [(0, 0)]
    size = align = 8
    while size <= MAX_SMALL:
        if size & (size - 1) == 0:
            align = 256 if size >= 2048 else size // 8 if size >= 128 else 16 if size >= 32 else 8
        pages = 1
        while pages * PAGE % size > pages * PAGE // 8:
            pages += 1
        last_size, last_pages = found[-1]
        if last_pages == pages and pages * PAGE // last_size == pages * PAGE // size:
            found[-1] = (size, pages)
        else:
            found.append((size, pages))
        size += align
    for i, (size, pages) in enumerate(found[1:], 1):
        objects = pages * PAGE // size
        found[i] = (max(size, pages * PAGE // objects // LARGE_DIV * LARGE_DIV), pages)
    return found


def magic(size):
    return 0 if size == 0 else -(-(1 << 32) // size)


def to_class(table, size):
    return next(i for i, (one, _) in enumerate(table) if one >= size)


def array(kind, name, length, values):
    lines, line = [], "   "
    for value in values:
        word = f" {value},"
        if len(line) + len(word) > 118:
            lines.append(line)
            line = "   "
        line += word
    lines.append(line)
    return f"inline constexpr {kind} {name}[{length}] = {{\n" + "\n".join(lines) + "\n};\n"


def header(table):
    rows = []
    for i, (size, pages) in enumerate(table[1:], 1):
        span = pages * PAGE
        waste = 1 - ((table[i - 1][0] + 1) * (span // size)) / span
        rows.append(f"//   {i:5}  {size:11}  {span:10}  {span // size:7}  {span % size:10}  {waste:9.2%}")
    sizes = [size for size, _ in table]
    return "\n".join([
        "// sizeclasses.h: the size classes of the span heap. Written by mksizeclasses.py; a test compares.",
        "//",
        "//   class  bytes/object  bytes/span  objects  tail waste  max waste",
        *rows,
        "#pragma once",
        '#include "include/vitrine/detail/shapes.h"',
        "",
        "// clang-format off",
        "namespace vitrine::rt {",
        "",
        f"constexpr uintptr maxSmallSize = {MAX_SMALL};",
        f"constexpr uintptr smallSizeDiv = {SMALL_DIV};",
        f"constexpr uintptr smallSizeMax = {SMALL_MAX};",
        f"constexpr uintptr largeSizeDiv = {LARGE_DIV};",
        f"constexpr int32 numSizeClasses = {len(table)};",
        "",
        array("uint16", "class_to_size", "numSizeClasses", sizes),
        array("uint8", "class_to_allocnpages", "numSizeClasses", [pages for _, pages in table]),
        array("uint32", "class_to_divmagic", "numSizeClasses", [magic(size) for size in sizes]),
        array("uint8", "size_to_class8", "smallSizeMax / smallSizeDiv + 1",
              [to_class(table, size) for size in range(0, SMALL_MAX + 1, SMALL_DIV)]),
        array("uint8", "size_to_class128", "(maxSmallSize - smallSizeMax) / largeSizeDiv + 1",
              [to_class(table, size) for size in range(SMALL_MAX, MAX_SMALL + 1, LARGE_DIV)]),
        "}  // namespace vitrine::rt", ""])


def problems(table):
    if len(table) != 68:
        yield f"{len(table)} classes with class 0, not 68"
    for (before, _), (size, pages) in zip(table, table[1:]):
        span = pages * PAGE
        if size <= before or size % 8:
            yield f"size {size}: after {before}"
        if span % size > span / 8:
            yield f"size {size}: {span % size} of {span} bytes unused at the end"
        if span >= 1 << 17 or any(offset // size != offset * magic(size) >> 32 for offset in range(span)):
            yield f"size {size}: {magic(size)} does not divide by it"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check")
    options = parser.parse_args()
    text = header(classes())
    if not options.check:
        sys.stdout.write(text)
        return
    wrong = list(problems(classes()))
    with open(options.check, encoding="utf-8") as file:
        if file.read() != text:
            wrong.append(f"{options.check}: run runtime/mksizeclasses.py > {options.check}")
    for problem in wrong:
        print(problem)
    print(f"{2 - min(2, len(wrong))} passed, {len(wrong)} failed, 0 skipped")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
