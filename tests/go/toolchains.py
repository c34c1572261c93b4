"""The Go toolchains of this machine, oldest first: `go` and /usr/local/go, Debian's /usr/lib/go-*, and what the go command has already
fetched for GOTOOLCHAIN. Nothing is downloaded."""

import glob
import os
import re
import shutil
import subprocess


class Toolchain:
    def __init__(self, go):
        self.go = os.path.realpath(go)
        said = subprocess.run([self.go, "version"], capture_output=True, text=True, env=self.environment(), timeout=60)
        self.version = re.search(r"go(\d+(?:\.\d+)*)", said.stdout)[1]
        self.number = tuple(int(n) for n in self.version.split("."))

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GO") and k != "CGO_ENABLED"}
        return {**env, "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", "GOPROXY": "off", "CGO_ENABLED": "0", **more}

    def build(self, build, source, name, *flags, **more):
        """The path of a program of tests/go, built in the build directory."""
        directory = os.path.join(build, "go", self.version)
        os.makedirs(directory, exist_ok=True)
        out = os.path.join(directory, name)
        cache = {"GOCACHE": os.path.join(build, "go", "cache")}
        made = subprocess.run([self.go, "build", "-o", out, *flags, "./" + source], capture_output=True, text=True, timeout=600,
                              cwd=os.path.dirname(os.path.abspath(__file__)), env=self.environment(**cache, **more))
        if made.returncode:
            raise RuntimeError("%s build %s: %s" % (self.go, source, made.stderr))
        return out


def all_of_them():
    paths = [shutil.which("go"), "/usr/local/go/bin/go", *glob.glob("/usr/lib/go-*/bin/go"),
             *glob.glob(os.path.expanduser("~/go/pkg/mod/golang.org/toolchain@*/bin/go")),
             *glob.glob(os.path.join(os.environ.get("GOMODCACHE", "/nonexistent"), "golang.org/toolchain@*/bin/go"))]
    found = {}
    for path in paths:
        if path and os.path.exists(path):
            toolchain = Toolchain(path)
            found.setdefault(toolchain.version, toolchain)
    return sorted(found.values(), key=lambda t: t.number)
