"""The gdb host of Vitrine, as a user loads it: `source …/vitrine_gdb.py`, `gdb -x`, or by the stub in the program.

It only finds its modules and starts them, so that the user's Python namespace stays clean and loading twice is loading
once. vitrine_gdb_host.py has the commands, vitrine_gdb_frames.py shows a goroutine, vitrine_gdb_eyes.py reads.
"""


def _load(here):
    import os
    import sys

    root = os.path.dirname(os.path.dirname(os.path.realpath(os.path.expanduser(here))))
    for directory in ("gdb", "python"):
        path = os.path.join(root, directory)
        if path not in sys.path:
            sys.path.append(path)
    import vitrine_gdb_host
    vitrine_gdb_host.load()


_load(__file__)
del _load
