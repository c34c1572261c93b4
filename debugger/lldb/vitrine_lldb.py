"""The LLDB host of Vitrine, as a user loads it: `command script import …/vitrine_lldb.py` (LLDB 14 or newer).

LLDB makes this module anew each time it is imported; what must last is in the modules it loads: vitrine_lldb_host.py
has the commands, vitrine_threads.py the goroutines that are shown, vitrine_os.py hands those to LLDB.
"""

import os
import sys

_root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
for _directory in ("lldb", "python"):
    if os.path.join(_root, _directory) not in sys.path:
        sys.path.append(os.path.join(_root, _directory))

import vitrine_lldb_host  # noqa: E402


def __lldb_init_module(debugger, _):
    vitrine_lldb_host.load(debugger, sys.modules[__name__])
