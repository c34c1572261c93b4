#!/usr/bin/env python3
"""lint.py [--build DIR] [CHECK...]: rules of this project that the compiler does not know.

Each function check_* below is one rule; its docstring says it. A check yields what is wrong, one line each, or raises
Skip with the reason why it could not look. The last line counts checks: `N passed, N failed, N skipped`.
Only tracked files are looked at, so scratch files do not matter.
"""
import argparse
import functools
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CODE = (".cc", ".h", ".S", ".py", ".sh")
HOSTS = ("debugger/gdb/", "debugger/lldb/", "debugger/python/")


class Skip(Exception):
    pass


@functools.lru_cache(maxsize=None)
def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        names = done.stdout.split("\0")
    else:  # an unpacked archive
        names = [os.path.relpath(os.path.join(where, name), ROOT)
                 for where, _, files in os.walk(ROOT) for name in files if not where.startswith(os.path.join(ROOT, "build"))]
    return sorted(name for name in names if name and os.path.isfile(os.path.join(ROOT, name)))


def files(prefixes=("",), endings=CODE):
    return [name for name in tracked() if name.startswith(tuple(prefixes)) and name.endswith(endings)]


@functools.lru_cache(maxsize=None)
def text(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def find(pattern, names, flags=0):
    """(file:line, match) for each match in the files."""
    regex = re.compile(pattern, flags)
    for name in names:
        for number, line in enumerate(text(name).splitlines(), 1):
            match = regex.search(line)
            if match:
                yield f"{name}:{number}", match


def without_comments(source):
    """C++ or Python text with comments and string contents blanked; line numbers stay."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|#[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return token.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), source)


INCLUDE = r'^\s*#\s*include\s*[<"]([^>"]+)[>"]'


def check_annotator_knows_no_routine(_):
    """disasm/ names no routine, structure or field of a runtime and nothing of debugger/core: what it must know it asks."""
    names = (r"\b(gogo|mcall|gosave|gostartcall\w*|goexit\w*|goentry|systemstack\w*|mstart\w*|gobuf|hchan|mspan|sudog|"
             r"gsignal|curg|atomicstatus|goid|vitrine_tls_g|tlsg|abi0)\b|\brt::|\bruntime\.|offsetof")
    for name in files(["disasm/"], (".cc", ".h")):
        code = re.sub(r"//[^\n]*", "", text(name))
        for number, line in enumerate(code.splitlines(), 1):
            match = re.search(names, line)
            if match:
                yield f"{name}:{number}: {match[0]}"
            match = re.search(r'#\s*include\s*"([^"]+)"', line)
            if match and not os.path.exists(os.path.join(ROOT, "disasm", match[1])):
                yield f"{name}:{number}: includes {match[1]}"


def check_debugger_includes_no_runtime_header(_):
    """Nothing under debugger/ or disasm/ includes a header of the runtime: what they know they read from DWARF."""
    own = {os.path.basename(name) for name in files(["runtime/"], (".h",))}
    for where, match in find(INCLUDE, files(["debugger/", "disasm/"])):
        path = match[1]
        if path.startswith("vitrine/") or "runtime/" in path or ('"' in match[0] and os.path.basename(path) in own):
            yield f"{where}: includes {path}"


def check_runtime_depends_on_libc_only(_):
    """runtime/ includes itself, the C and C++ libraries and Linux: no other library, nothing of the debugger."""
    foreign = re.compile(r"^(fmt|gtest|nlohmann|re2|capstone|elfutils|libelf|dwarf|boost|benchmark|absl)\b|debugger|disasm")
    for where, match in find(INCLUDE, files(["runtime/"])):
        if foreign.search(match[1]):
            yield f"{where}: includes {match[1]}"


def check_runtime_uses_no_containers(_):
    """The runtime's own .cc files use no std:: container: they run where allocation must not happen."""
    containers = r"std::(vector|string|map|unordered_map|set|deque|list|function|mutex|condition_variable|thread)\b"
    for name in files(["runtime/"], (".cc",)):
        for number, line in enumerate(without_comments(text(name)).splitlines(), 1):
            match = re.search(containers, line)
            if match:
                yield f"{name}:{number}: {match[0]}"


def check_users_see_public_headers_only(_):
    """demos/ and bench/ include the public headers, nothing from inside the runtime, but for the two files of
    bench/ that measure the switch itself, and stacks without goroutines."""
    own = {os.path.basename(name) for name in files(["runtime/"], (".h",)) if "/include/" not in name}
    for where, match in find(INCLUDE, files(["demos/", "bench/"])):
        inside = match[1] in own or "runtime/" in match[1]
        if inside and not where.startswith(("bench/sched/vitrine_switch.cc:", "bench/alloc/vitrine_stacks.cc:")):
            yield f"{where}: includes {match[1]}"


def runtime_fields():
    """Names of structure members in runtime2.h that are no words a host needs for anything else."""
    ordinary = {"address", "closed", "current", "destroy", "destination", "elements", "exitcode", "function", "length",
                "locks", "name", "params", "parent", "reserved", "status", "success", "thread", "timers"}
    source = without_comments(text("runtime/runtime2.h"))
    names = set()
    for body in re.findall(r"struct \w+ \{(.*?)\n\};", source, re.S):
        names |= set(re.findall(r"(\w+)(?:\[[^\]]*\])?;", body))
    return {name for name in names if len(name) >= 6} - ordinary


def check_hosts_know_no_runtime(_):
    """The hosts hold no runtime knowledge: no member name, status name or type of the runtime."""
    fields = runtime_fields()
    if len(fields) < 40:
        yield f"runtime/runtime2.h: only {len(fields)} member names found; the check cannot work"
    words = re.compile(r"\b(" + "|".join(sorted(fields) + [r"G(?:idle|runnable|running|syscall|waiting|dead)", "waitReason\\w*"]) + r")\b")
    for name in files(HOSTS):
        for number, line in enumerate(text(name).splitlines(), 1):
            match = words.search(line) or re.search(r"vitrine::rt\b|\bruntime\.(g|m|p|sched|allgs)\b", line)
            if match:
                yield f"{name}:{number}: {match[0]}"


def check_hosts_are_small(_):
    """A file of the gdb or LLDB host has fewer than 400 lines."""
    for name in files(HOSTS[:2]):
        lines = text(name).count("\n")
        if lines >= 400:
            yield f"{name}: {lines} lines"


def check_target_cannot_write(_):
    """What reads a process or core has no way to write it: read-only is a type, not a promise."""
    header = without_comments(text("debugger/core/target.h"))
    for number, line in enumerate(header.splitlines(), 1):
        match = re.search(r"\b(\w*(?:write|poke|store|patch)\w*|set_\w+)\s*\(", line)
        if match:
            yield f"debugger/core/target.h:{number}: {match[1]}"
    writing = (r"process_vm_writev|PTRACE_(POKE|SETREGS|SETFPREGS|SETREGSET|POKEUSER)\w*|\bWriteMemory\b|write_memory|"
               r"\bWriteRegister|SetValueFromCString|\.SetPC\(|\bset \$\w+ ?=|\bset var\b|allocate_memory")
    for where, match in find(writing, files(["debugger/", "disasm/"])):
        yield f"{where}: {match[0]}"
    for where, match in find(r"open\(.*mem.*O_(RDWR|WRONLY)", files(["debugger/"])):
        yield f"{where}: opens memory for writing"


def check_only_the_c_interface_is_exported(options):
    """libvitrine_inspect.so exports vi_* and nothing else."""
    library = os.path.join(options.build, "lib", "libvitrine_inspect.so")
    if not os.path.exists(library):
        yield f"{library}: not built"
        return
    done = subprocess.run(["nm", "-D", "--defined-only", "--no-demangle", library], capture_output=True, text=True, check=True)
    names = [line.split()[-1] for line in done.stdout.splitlines() if line.split()]
    if not any(name.startswith("vi_") for name in names):
        yield "no vi_ function is exported"
    for name in names:
        if not name.startswith("vi_"):
            yield f"exported: {name}"


def check_c_interface_is_c(_):
    """capi.h can be included from C and from C++."""
    for command in (["gcc", "-std=c99", "-x", "c"], ["g++", "-std=c++20", "-x", "c++"]):
        done = subprocess.run([*command, "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only",
                               os.path.join(ROOT, "debugger", "core", "capi.h"), "-Wno-pragma-once-outside-header"],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"{command[0]}: " + done.stderr.strip().replace("\n", " | ")[:500]


def check_public_headers_stand_alone(_):
    """Each public header compiles by itself, with warnings as errors."""
    headers = files(["runtime/include/vitrine/"], (".h",))
    if not headers:
        yield "there is no public header"
    for name in headers:
        if "/detail/" in name:
            continue
        done = subprocess.run(["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-Iruntime/include",
                               "-x", "c++", "-include", name, os.devnull], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"{name}: " + done.stderr.strip().splitlines()[0]


def check_files_are_short(_):
    """No source file has more than 1000 lines."""
    for name in files():
        lines = text(name).count("\n")
        if lines > 1000:
            yield f"{name}: {lines} lines"


def check_files_say_what_they_are(_):
    """Each source file begins with a comment about what it is."""
    for name in files(endings=(".cc", ".h", ".S")):
        if not text(name).lstrip().startswith(("//", "/*")):
            yield f"{name}: no head comment"
    for name in files(endings=(".py",)):
        if text(name).strip() and not re.match(r'(#![^\n]*\n)?\s*("""|#)', text(name)):
            yield f"{name}: no docstring"


def check_no_machine_paths(_):
    """No path of somebody's machine."""
    names = [name for name in tracked() if not name.endswith((".png", ".core", ".bin"))]
    for where, match in find(r"(?:^|[^\w.$}~/-])(/(?:work|farm|home|root|Users)/\w+)", names):
        yield f"{where}: {match[1]}"


def check_nothing_is_left_undone(_):
    """No stubs: unfinished work is in docs/roadmap.md or not there."""
    mark = "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "not " + "implemented"))
    for where, match in find(rf"\b({mark})\b", [n for n in files() if n != "tests/lint.py"]):
        yield f"{where}: {match[0]}"


def check_every_test_asserts(_):
    """Each GoogleTest has an expectation in its body, or calls a helper that says it expects or checks something."""
    for name in files(["tests/"], (".cc",)):
        source = text(name)
        for match in re.finditer(r"^(?:TYPED_)?TEST(?:_F|_P)?\((\w+),\s*(\w+)\)\s*\{", source, re.M):
            end = re.compile(r"^\}", re.M).search(source, match.end())
            body = source[match.end():end.start() if end else len(source)]
            if not re.search(r"\b(?:EXPECT|ASSERT|ADD_FAILURE|FAIL)\w*\b|(?i:\w*(?:expect|check|verify|must)\w*\s*\()", body):
                yield f"{name}: {match[1]}.{match[2]} expects nothing"


def check_skips_have_reasons(_):
    """GTEST_SKIP() is followed by its reason, and no test is disabled."""
    for where, match in find(r"GTEST_SKIP\(\)\s*;|\bDISABLED_\w+", files(["tests/"], (".cc",))):
        yield f"{where}: {match[0]}"


def check_goroutines_keep_no_thread_state(_):
    """The runtime's tests run on goroutines, which wake up on other threads; GoogleTest keeps SCOPED_TRACE per thread."""
    for where, match in find(r"^\s*SCOPED_TRACE\(", files(["tests/runtime/"], (".cc", ".h")), re.M):
        yield f"{where}: {match[0].strip()}"


def check_scripts_are_executable(_):
    """./dev and .ci/run can be run."""
    for name in ("dev", ".ci/run"):
        if not os.access(os.path.join(ROOT, name), os.X_OK):
            yield f"{name}: not executable"


def check_format(_):
    """clang-format 14 would change nothing."""
    tool = shutil.which("clang-format-14")
    if not tool:
        raise Skip("clang-format-14 is not installed")
    names = files(endings=(".cc", ".h"))
    done = subprocess.run([tool, "--dry-run", "-Werror", *names], cwd=ROOT, capture_output=True, text=True, check=False)
    wrong = {line.split(":")[0] for line in done.stderr.splitlines() if "[-Wclang-format-violations]" in line}
    for name in sorted(wrong):
        yield f"{name}: run ./dev fmt"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("checks", nargs="*")
    options = parser.parse_args()
    passed = failed = skipped = 0
    for name, check in sorted(globals().items()):
        if not name.startswith("check_") or (options.checks and name[6:] not in options.checks):
            continue
        try:
            problems = list(check(options))
        except Skip as reason:
            skipped += 1
            print(f"skipped: {name[6:]}: {reason}")
            continue
        for problem in problems:
            print(f"{name[6:]}: {problem}")
        if problems:
            failed += 1
            print(f"  the rule: {check.__doc__.splitlines()[0]}")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or passed == 0 else 0)


if __name__ == "__main__":
    main()
