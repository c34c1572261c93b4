"""gdb's own `trace`, for the words behind it that are none of ours.

The library takes some words of `trace`; a command of Python's replaces gdb's, and gdb has no other name for it. Its
machine interface has: -break-insert -a. What the user typed becomes that, and the answer the line that gdb prints.
"""

import re
import sys

import gdb

CONDITION = re.compile(r"(?:^|\s)(?:if(?=[\s(])|-force-condition\s+if(?=[\s(]))\s*(.*)$", re.S)


def quoted(text):
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def unquoted(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text)


def insert(options, where):
    """What the machine interface answers, as one string."""
    answer = gdb.execute("interpreter-exec mi " + quoted("-break-insert -a %s %s" % (options, quoted(where))),
                         to_string=True)
    failed = re.search(r'\^error,msg="((?:\\.|[^"\\])*)"', answer)
    if failed:
        raise gdb.GdbError(unquoted(failed[1]))
    return answer


def tracepoint(text):
    text = text.strip()
    options, condition = "", CONDITION.search(text)
    if condition:
        text, options = text[:condition.start()].strip(), "-c " + quoted(condition[1].strip())
    if text.startswith("-qualified"):
        text, options = text[len("-qualified"):].strip(), options + " --qualified"
    if not text:
        try:
            text = "*0x%x" % gdb.selected_frame().pc()
        except gdb.error:
            raise gdb.GdbError("No default breakpoint address now.")
    pending = gdb.parameter("breakpoint pending")
    if pending:
        options += " -f"
    try:
        answer = insert(options, text)
    except gdb.GdbError as e:
        undefined = re.search(r"not defined\.$|^No symbol table|^No source file named", str(e))
        if pending is not None or not undefined:
            raise
        gdb.write(str(e) + "\n")
        if not sys.stdin.isatty():  # nobody to ask
            return
        if not input("Make tracepoint pending on future shared library load? (y or [n]) ").lower().startswith("y"):
            return
        answer = insert(options + " -f", text)
    gdb.write(line_of(answer, text))


def line_of(answer, text):
    """`Tracepoint 1 at 0x1146: file t.c, line 3.`"""
    answer = answer[answer.find("bkpt={"):]
    tuples = {}
    for name, value in re.findall(r'([\w-]+)="((?:\\.|[^"\\])*)"', answer):
        tuples.setdefault(name, []).append(unquoted(value))
    number, address = tuples["number"][0], tuples["addr"][0]
    if address == "<PENDING>":
        return "Tracepoint %s (%s) pending.\n" % (number, text)
    if address == "<MULTIPLE>":
        return "Tracepoint %s at 0x%x: %s. (%d locations)\n" % (
            number, int(tuples["addr"][1], 16), text, len(tuples["addr"]) - 1)
    place = ": file %s, line %s." % (tuples["file"][0], tuples["line"][0]) if "line" in tuples else ""
    return "Tracepoint %s at 0x%x%s\n" % (number, int(address, 16), place)
