"""cores.py: makes a core of manystacks, and knows what the program says it built."""
import json
import os
import re
import signal
import subprocess

FUNCTIONS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot")
STEP = re.compile(r"\b(?:" + "|".join(FUNCTIONS) + r")\b")


def kernel_core_is_a_file_here():
    """Whether the kernel writes a core into the directory of the process that dies."""
    with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as file:
        pattern = file.read().strip()
    return bool(pattern) and not pattern.startswith(("|", "/"))


def make_core(build, count, directory):
    """(path of a core of `manystacks count`, what it built, who wrote the core: kernel or vitrine)."""
    program = os.path.join(build, "bin", "manystacks")
    if kernel_core_is_a_file_here():
        done = subprocess.run([program, str(count)], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        cores = [name for name in os.listdir(directory) if name == "core" or name.startswith("core.")]
        if done.returncode != -signal.SIGABRT or len(cores) != 1:
            raise RuntimeError(f"manystacks {count}: status {done.returncode}, cores {cores}: {done.stderr[-500:]}")
        return os.path.join(directory, cores[0]), json.loads(done.stdout.splitlines()[0]), "kernel"
    core = os.path.join(directory, "core")
    with subprocess.Popen([program, "-wait", str(count)], cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            built = json.loads(process.stdout.readline())
            subprocess.run([os.path.join(build, "bin", "vitrine-inspect"), "--pid", str(process.pid), "vitrine", "core", core],
                           stdin=subprocess.DEVNULL, capture_output=True, check=True)
        finally:
            process.kill()
    return core, built, "vitrine"
