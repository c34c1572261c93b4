"""Steps through every instruction of the switch in gdb and asks for the whole backtrace at each: the CFI of
asm_amd64.S must be right everywhere, not only at calls.

    gdb -batch -x steps.py --args PROGRAM

At an instruction of ROUTINE the frames must be those of one of its situations (SITUATIONS), outermost last, and the
outermost frame must end the unwinding by its own CFI. Where the caller's frame is on the same stack, its callee-saved
registers must be at each instruction, also after the switch back, what they were when it called. Ends with
`N passed, N failed, N skipped`.
"""
import gdb

NS = "vitrine::rt::"
# What may be the outermost frames of each kind of stack.
GOROUTINE_BOTTOM = NS + "goexit"
G0_BOTTOMS = {NS + "mcall"}
M0_G0_BOTTOM = "main"
# Functions that a routine calls and that come back to it.
CALLED = {NS + "gostarted", "on_system_stack"}

SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15", "rip")

passed = 0
failed = []
seen = {}
called_with = {}  # routine, caller's rsp → the caller's registers when it called


def frames():
    names, f = [], gdb.newest_frame()
    while f is not None and len(names) < 60:
        names.append(f.name() or "??")
        last, f = f, f.older()
    return names, last.unwind_stop_reason()


def situation(routine, names, reason):
    """The name of the situation that these frames are, or None."""
    inner, outer = names[0], names[-1]
    if inner != NS + routine:
        return None
    if outer == GOROUTINE_BOTTOM and reason == gdb.FRAME_UNWIND_OUTERMOST:
        if NS + "goentry" not in names and len(names) > 1 and names[1] != GOROUTINE_BOTTOM:
            return None
        return "goroutine"
    if outer in G0_BOTTOMS and reason == gdb.FRAME_UNWIND_OUTERMOST:
        return "g0"
    if M0_G0_BOTTOM in names and NS + "mstart" in names:
        return "boot"  # m0's g0 before its first mcall: its frames are the process's own
    return None


def wrong_registers(routine):
    """What differs in the caller's frame from when it called; notes the registers at the routine's first instruction."""
    frame = gdb.newest_frame()
    caller = frame.older()
    values = {r: int(caller.read_register(r)) & (1 << 64) - 1 for r in SAVED}
    key = routine, int(caller.read_register("rsp"))
    if frame.pc() == int(gdb.parse_and_eval("(unsigned long)&'%s%s'" % (NS, routine))):
        called_with[key] = values
    then = called_with.get(key, values)
    return ["%s is %#x, was %#x" % (r, values[r], then[r]) for r in SAVED if values[r] != then[r]]


def check(routine):
    global passed
    names, reason = frames()
    pc = gdb.newest_frame().pc()
    what = situation(routine, names, reason)
    wrong = wrong_registers(routine) if routine in ("mcall", "systemstack") and what == "goroutine" else []
    if wrong:
        failed.append("%s at %#x: the caller's registers are wrong: %s" % (routine, pc, "; ".join(wrong)))
    elif what is None:
        failed.append("%s at %#x: %s (%s)" % (routine, pc, " < ".join(names), gdb.frame_stop_reason_string(reason)))
    else:
        passed += 1
        seen.setdefault(routine, set()).add(what)


def walk(routine):
    """From here through the instructions of the routine until control has left it for good."""
    for _ in range(200):
        f = gdb.newest_frame()
        if f.name() == NS + routine:
            check(routine)
            gdb.execute("stepi", to_string=True)
        elif f.older() is not None and f.older().name() == NS + routine and f.name() in CALLED:
            gdb.execute("finish", to_string=True)
        else:
            return


def run_to(routine):
    gdb.execute("tbreak *'%s%s'" % (NS, routine), to_string=True)
    gdb.execute("continue", to_string=True)
    walk(routine)


def expect(condition, text):
    global passed
    if condition:
        passed += 1
    else:
        failed.append(text)


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set auto-load python-scripts off")
gdb.execute("break body")
gdb.execute("run", to_string=True)
gdb.execute("delete")
gdb.execute("set scheduler-locking on")  # sysmon would ask a goroutine that takes so long to yield
run_to("mcall")
run_to("gogo")
walk("goentry")
run_to("mcall")
run_to("gogo")
walk("mcall")  # the half after the resume label
run_to("systemstack")
# systemstack keeps the goroutine's frames visible from the other stack (LLDB and our unwinder follow it either way; gdb
# only towards higher addresses, so only the inner part is asked for).
gdb.execute("kill")
expect("goroutine" in seen.get("mcall", ()), "mcall was never seen on a goroutine's stack")
expect("g0" in seen.get("mcall", ()), "mcall was never seen on g0")
expect("goroutine" in seen.get("gogo", ()), "gogo was never seen on the stack it enters")
expect("goroutine" in seen.get("goentry", ()), "goentry was never seen")
expect("goroutine" in seen.get("systemstack", ()), "systemstack was never seen on a goroutine's stack")
for f in failed:
    print("FAILED " + f)
print("%d passed, %d failed, 0 skipped" % (passed, len(failed)))
gdb.execute("quit %d" % (1 if failed else 0))
