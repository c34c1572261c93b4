#!/usr/bin/env python3
"""summary.py DIR: counts what the suites of `./dev test` did, and ends with `N passed, N failed, N skipped`.

DIR holds one SUITE.xml (ctest's JUnit file) or SUITE.broken (one line: why the suite could not run) per suite.

1. A ctest test counts as one, unless its own output ends with a line `N passed, N failed, N skipped`: then it is a
   script that ran several cases, and that line is what it counts for. (A script that exits non-zero while it reports
   no failure still counts as one failure.)
2. Every skip is printed with its reason, every failure with its name.
3. A suite that could not be built, or in which no test ran, is a failure: silence is not success.

The exit status is 0 only if something passed and nothing failed.
"""
import os
import re
import sys
import xml.etree.ElementTree

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
SKIP = re.compile(r"^\s*(?:skip(?:ped)?: |SKIP(?:PED)?:? )(.+)$")


class Totals:
    def __init__(self):
        self.passed = 0
        self.failures = []  # text
        self.skips = []  # text

    def failed(self, text, times=1):
        self.failures.extend([text] * times)


def gtest_skip_reason(output):
    """The message of GTEST_SKIP: what stands between `file:line: Skipped` and `[  SKIPPED ]`."""
    match = re.search(r": Skipped\n(.*?)\n?\[  SKIPPED \]", output, re.S)
    return match.group(1).strip().replace("\n", " ") if match else ""


def add_case(totals, suite, case):
    name = f"{suite}: {case.get('name')}"
    output = case.findtext("system-out") or ""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    status = case.get("status")
    counts = COUNTS.match(lines[-1]) if lines else None
    if counts and status in ("run", "fail"):
        passed, failed, skipped = map(int, counts.groups())
        totals.passed += passed
        if status == "fail" and failed == 0:
            failed = 1
        if status == "run" and passed + failed + skipped == 0:
            totals.failed(f"{name} ran no case")
        totals.failed(name, failed)
        reasons = [m.group(1) for m in map(SKIP.match, lines) if m]
        for i in range(skipped):
            totals.skips.append(f"{name}: {reasons[i] if i < len(reasons) else 'no reason given'}")
    elif status == "run":
        totals.passed += 1
    elif case.find("skipped") is not None or status in ("notrun", "disabled"):
        reason = gtest_skip_reason(output) or next((m.group(1) for m in map(SKIP.match, lines) if m), "")
        element = case.find("skipped")
        message = element.get("message", "") if element is not None else ""
        if not reason and re.search("not found|could not|Unable", message, re.I):
            totals.failed(f"{name}: {message}")  # the program is missing: that is no skip
        else:
            totals.skips.append(f"{name}: {reason or message or 'no reason given'}")
    else:
        totals.failed(name)


def read_suite(totals, path):
    suite = os.path.splitext(os.path.basename(path))[0]
    if path.endswith(".broken"):
        with open(path, encoding="utf-8") as file:
            totals.failed(f"{suite}: {file.read().strip()}")
        return
    try:
        cases = list(xml.etree.ElementTree.parse(path).getroot().iter("testcase"))
    except xml.etree.ElementTree.ParseError as error:
        totals.failed(f"{suite}: the result file cannot be read: {error}")
        return
    if not cases:
        totals.failed(f"{suite}: no test ran")
    for case in cases:
        add_case(totals, suite, case)


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit("usage: summary.py DIR")
    totals = Totals()
    for name in sorted(os.listdir(sys.argv[1])):
        if name.endswith((".xml", ".broken")):
            read_suite(totals, os.path.join(sys.argv[1], name))
    for text in totals.skips:
        print(f"skipped: {text}")
    for text in dict.fromkeys(totals.failures):
        print(f"FAILED: {text}")
    print(f"{totals.passed} passed, {len(totals.failures)} failed, {len(totals.skips)} skipped")
    sys.exit(0 if totals.passed and not totals.failures else 1)


if __name__ == "__main__":
    main()
