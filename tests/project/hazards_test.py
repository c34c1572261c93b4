#!/usr/bin/env python3
"""docs/hazards.md promises a test for each hazard: each one that it names must be there, each file too, and a row without
a test must say why it has none."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HAZARDS = 34


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def tests_that_exist():
    """Names as ctest has them, from the sources: TEST(Suite, Name) and add_test(NAME …)."""
    names = set()
    for where, _, files in os.walk(os.path.join(ROOT, "tests")):
        for file in files:
            if not file.endswith((".cc", ".txt")):
                continue
            text = read(os.path.join(where, file))
            names |= {f"{suite}.{name}" for suite, name in re.findall(r"\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", text)}
            names |= set(re.findall(r"add_test\(\s*NAME ([\w.]+)", text))
    return names


def problems_of(table, existing, root=ROOT):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")][2:]
    numbers = [row[0] for row in rows if row[0] != "–"]
    if numbers != [str(n) for n in range(1, HAZARDS + 1)]:
        yield f"the rows are numbered {' '.join(numbers)}"
    for row in rows:
        if len(row) != 4:
            yield f"row {row[0]}: {len(row)} cells"
            continue
        number, _, answer, tests = row
        named = re.findall(r"`([^`]+)`", tests)
        if not named and "does not apply" not in answer:
            yield f"row {number}: no test, and no reason why it does not apply"
        for name in named:
            if name not in existing:
                yield f"row {number}: there is no test {name}"
        for file in re.findall(r"`([\w.]+\.(?:cc|h|S|supp))`", answer):
            if not os.path.exists(os.path.join(root, "runtime", file)):
                yield f"row {number}: there is no runtime/{file}"


def main():
    existing = tests_that_exist()
    table = read("docs/hazards.md")
    problems = list(problems_of(table, existing))
    # The check itself: what it is for must be found.
    broken = table.replace("`Hazard.ErrnoMovesWithTheGoroutine`", "`Hazard.NoSuchTest`").replace("(`panic.cc`)", "(`nopanic.cc`)")
    found = list(problems_of(broken, existing))
    for expected in ("no test Hazard.NoSuchTest", "no runtime/nopanic.cc"):
        if not any(expected in line for line in found):
            problems.append(f"this check does not notice: {expected}")
    print("\n".join(problems))
    print(f"{0 if problems else 1} passed, {1 if problems else 0} failed, 0 skipped")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
