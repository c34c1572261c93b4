"""A session file: what it says, and how an output is compared with what it expects.

    # who waits is listed, and one of them can be walked into          the claim: the first line
    fixture parked-O2              the program (tests/fixtures)
    stop at stop_here              live: the function to stop at (this one if nothing is said); `signal`: where it dies
    args overflow                  the program's arguments
    core of parked-O2              the cores are of that program
    cores kernel vitrine           which cores the core modes use: kernel (if nothing is said), gcore, vitrine, truncated,
                                   without-gs
    modes gdb-live lldb-core …     if not all of MODES; `all` are these, lldb14-live and lldb14-core more
    run info goroutines            a command of ours
    expect                         its output, line by line; `...` stands for any number of lines
      * GOID STATUS ...
      ...
    unordered                      each of these is a line of the output, in any order, beside others
      <goid:G> waiting chan receive <*> deep
    rows >= 10                     lines of the output
    json no errors                 the output is JSON in which no row has errors
    run goroutine <G>
    frames: mcall ... leaf middle outer ... goexit      the debugger's own frames, innermost first
    frame leaf                     chooses a frame by its function, with the debugger's means
    value sum = 1033               the debugger's own evaluation in that frame
    prints gdb sum = 1033          what gdb's `print` shows, as one line (gdb/x: with that format); lldb: `frame variable`
    do up                          a command of the debugger's; its output is not looked at
    partial                        the answer is known to be incomplete: vitrine-inspect's exit status says so
    fails there is no goroutine 99 instead of expect: the command fails, and says this

Lines are compared with runs of blanks as one. <N> is a number, <ADDR> an address, <FILE> a file name, <*> anything;
<word:X> takes a word and calls it X, <X> is then that word, in commands as well. <HERE> is where the session file is.
"""

import json
import re

MODES = ("gdb-live", "lldb-live", "gdb-core", "lldb-core", "cli", "cli-pid")
OLDER = ("lldb14-live", "lldb14-core")
PATTERNS = {"N": r"\d+", "ADDR": r"0x[0-9a-f]+", "FILE": r"[\w./+-]+", "*": r".*"}


class Mismatch(Exception):
    pass


class Session:
    def __init__(self, path):
        self.path, self.fixture, self.stop = path, None, "stop_here"
        self.args, self.core_of = "", None
        self.modes, self.cores, self.steps, self.claim = MODES, ("kernel",), [], ""
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
        i = 0
        while i < len(lines):
            line, where = lines[i].rstrip(), "%s:%d" % (path, i + 1)
            i += 1
            if not line or line.startswith("#"):
                self.claim = self.claim or line[1:].strip()
                continue
            word, _, rest = line.partition(" ")
            block = []
            while i < len(lines) and (lines[i].startswith("  ") or not lines[i] and lines[i + 1:] and
                                      lines[i + 1].startswith("  ")):
                block.append(" ".join(lines[i].split()))
                i += 1
            if word == "fixture":
                self.fixture = rest
            elif word == "stop" and rest.startswith("at "):
                self.stop = rest[3:]
            elif word == "args":
                self.args = rest
            elif word == "core" and rest.startswith("of "):
                self.core_of = rest[3:]
            elif word == "modes":
                self.modes = tuple(m for w in rest.split() for m in (MODES if w == "all" else (w,)))
            elif word == "cores":
                self.cores = tuple(rest.split())
            elif word in ("run", "expect", "unordered", "rows", "json", "frames:", "frame", "value", "do", "fails",
                          "partial", "prints"):
                self.steps.append((word.rstrip(":"), rest, block, where))
            else:
                raise SystemExit("%s: unknown line: %s" % (where, line))
        unknown = [m for m in self.modes if m not in MODES + OLDER]
        if self.fixture is None or unknown or not self.steps:
            raise SystemExit("%s: %s" % (path, "unknown mode %s" % unknown[0] if unknown else "no fixture or no steps"))


def substitute(text, names):
    return re.sub(r"<([A-Z]\w*)>", lambda m: names.get(m[1], m[0]), text)


def regex(pattern, names):
    out, groups = "", []
    for piece in re.split(r"(<[^<>]*>)", pattern):
        inner = piece[1:-1] if piece.startswith("<") and piece.endswith(">") else None
        if inner in names:
            out += re.escape(names[inner])
        elif inner in PATTERNS:
            out += PATTERNS[inner]
        elif inner and re.fullmatch(r"\w+:[A-Z]\w*", inner):
            groups.append(inner.split(":")[1])
            out += r"(\S+)"
        else:
            out += re.escape(piece)
    return re.compile(out), groups


def line_matches(pattern, line, names):
    r, groups = regex(pattern, names)
    m = r.fullmatch(" ".join(line.split()))
    if m:
        names.update(zip(groups, m.groups()))
    return m is not None


def match_lines(patterns, lines, names):
    """All of the lines, in order; raises Mismatch that shows the first line that does not fit."""
    def at(i, j, bound):
        if i == len(patterns):
            return None if j < len(lines) else bound
        if patterns[i] == "...":
            for k in range(j, len(lines) + 1):
                found = at(i + 1, k, dict(bound))
                if found is not None:
                    return found
            return None
        best[0] = max(best[0], (j, i))
        if j < len(lines) and line_matches(patterns[i], lines[j], bound):
            return at(i + 1, j + 1, bound)
        return None

    best = [(0, 0)]
    bound = at(0, 0, dict(names))
    if bound is None:
        j, i = best[0]
        raise Mismatch("expected:  %s\n  but came: %s" % (patterns[i] if i < len(patterns) else "(the end)",
                                                          lines[j] if j < len(lines) else "(the end)"))
    names.update(bound)


def match_unordered(patterns, lines, names):
    left = list(lines)
    for p in patterns:
        for line in left:
            if line_matches(p, line, names):
                left.remove(line)
                break
        else:
            raise Mismatch("no line of the output is: " + p)


def check_rows(rest, lines):
    op, number = rest.split()
    if not {">=": len(lines) >= int(number), "=": len(lines) == int(number)}[op]:
        raise Mismatch("%d rows, wanted %s" % (len(lines), rest))


def check_json(text):
    try:
        rows = json.loads(text)
    except ValueError as e:
        raise Mismatch("not JSON: %s" % e)
    bad = [r for r in rows if r.get("errors")]
    if bad:
        raise Mismatch("a row has errors: %s" % json.dumps(bad[0]))
    if not rows:
        raise Mismatch("no rows")


def bare(name):
    """vitrine::chan<int>::recv() const → vitrine::chan::recv; void f<T>(T) → f."""
    name = re.sub(r" \(\.[^()]*\)$", "", name.replace("(anonymous namespace)::", ""))  # a clone: f(int) (.isra.0)
    previous = None
    while previous != name:
        previous, name = name, re.sub(r"<[^<>]*>|(?<!operator)\([^()]*\)", "", name)
    return re.sub(r" const$", "", name.strip()).split(" ")[-1]


def same_function(wanted, name):
    b = bare(name)
    return b == wanted or b.endswith("::" + wanted)


def match_frames(wanted, names):
    def at(i, j):
        if i == len(wanted):
            return j == len(names)
        if wanted[i] == "...":
            return any(at(i + 1, k) for k in range(j, len(names) + 1))
        return j < len(names) and same_function(wanted[i], names[j]) and at(i + 1, j + 1)

    if not at(0, 0):
        raise Mismatch("frames are: " + " ".join(bare(n) for n in names))
