"""Cores of the fixtures, made once per build of a fixture and kept in the build directory.

kernel: the fixture aborts (or dies by itself) and the kernel writes the core; gcore: gdb's generate-core-file at the
stop; vitrine: our `vitrine core` at the stop; truncated: the first part of the kernel's, as a full disk leaves it;
without-gs: cut where the goroutines' own structures begin. A lock keeps two runners from making the same one.
"""

import fcntl
import json
import os
import resource
import shutil
import struct
import subprocess
import tempfile

from . import debuggers


class NoCore(Exception):
    """Why there is none; a reason to skip."""


def unlimited():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def kernel(program, target, stop, args):
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    if "/" in pattern or pattern.startswith("|"):
        raise NoCore("the kernel writes cores elsewhere (core_pattern is %s)" % pattern)
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY and os.geteuid() != 0:
        raise NoCore("ulimit -c does not allow a core")
    environment = {**os.environ, **({} if stop == "signal" else {"VITRINE_FIXTURE": "abort"})}
    directory = tempfile.mkdtemp(dir=os.path.dirname(target))
    try:
        subprocess.run([program, *args.split()], cwd=directory, env=environment, preexec_fn=unlimited, timeout=60,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        made = os.listdir(directory)
        if len(made) != 1:
            raise debuggers.Died("%s left no core (%s)" % (program, made))
        os.replace(os.path.join(directory, made[0]), target)
    finally:
        shutil.rmtree(directory)


def by_debugger(command):
    def make(program, target, stop, build, args):
        with debuggers.Debugger("gdb", build, program) as gdb:
            gdb.run_to(stop, args)
            gdb.must(command % target)

    return make


def truncated(program, target, stop, build, args):
    whole = core("kernel", program, stop, build, args)
    with open(whole, "rb") as f, open(target, "wb") as g:
        g.write(f.read(os.path.getsize(whole) * 5 // 8))


def without_gs(program, target, stop, build, args):
    whole = core("kernel", program, stop, build, args)
    rows = subprocess.run([os.path.join(build, "bin", "vitrine-inspect"), "--core", whole, program, "info", "goroutines",
                           "-json"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    first = min(int(row["addr"], 16) for row in json.loads(rows) if row["goid"] != 1)
    with open(whole, "rb") as f, open(target, "wb") as g:
        head = f.read(64)
        (table,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        f.seek(table)
        for entry in struct.iter_unpack("<IIQQQQQQ", f.read(size * count)):
            kind, _, offset, address, _, in_file, _, _ = entry
            if kind == 1 and address <= first < address + in_file:
                f.seek(0)
                g.write(f.read(offset + first - address))
                return
    raise debuggers.Died("the g at 0x%x is not in the core" % first)


CUT = {"truncated": truncated, "without-gs": without_gs}


def core(kind, program, stop, build, args=""):
    """The path of a core of this program at this stop."""
    directory = os.path.join(build, "cores")
    os.makedirs(directory, exist_ok=True)
    target = os.path.join(directory, "%s.%s.%s" % (os.path.basename(program), (stop + " " + args).strip().replace(" ", "-"), kind))
    with open(target + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = os.path.getmtime(program)
        if kind == "vitrine":
            newest = max(newest, os.path.getmtime(os.path.join(build, "lib", "libvitrine_inspect.so")))
        if not os.path.exists(target) or os.path.getmtime(target) < newest:
            if kind == "kernel":
                kernel(program, target, stop, args)
            elif kind in CUT:
                CUT[kind](program, target, stop, build, args)
            else:
                by_debugger("generate-core-file %s" if kind == "gcore" else "vitrine core %s")(
                    program, target, stop, build, args)
    return target
