"""The gdb host of Vitrine, as a user loads it: `source …/vitrine_gdb.py`, `gdb -x`, or by the stub in the program.

It only finds its modules and starts them, so that the user's Python namespace stays clean and loading twice is loading
once. (The file's name comes from the code: __file__ is another script's when that one sources this.) vitrine_gdb_host.py has the commands, vitrine_gdb_frames.py shows a goroutine, vitrine_gdb_eyes.py reads.
"""


def _load():
    import os
    import sys

    here = os.path.realpath(os.path.expanduser(_load.__code__.co_filename))
    root = os.path.dirname(os.path.dirname(here))
    for directory in ("gdb", "python"):
        path = os.path.join(root, directory)
        if path not in sys.path:
            sys.path.append(path)
    import vitrine_gdb_host
    vitrine_gdb_host.load()


_load()
del _load
