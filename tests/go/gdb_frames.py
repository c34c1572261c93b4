"""Runs inside gdb, after Vitrine's script: prints pc and sp of every frame that gdb shows of the goroutines in FRAMES_OF."""

import json
import os

import gdb
import gdb.frames


def shown():
    newest = gdb.newest_frame()
    filtered = gdb.frames.execute_frame_filters(newest, 0, -1)
    return [f.inferior_frame() for f in filtered] if filtered is not None else []


out = {}
for goid in os.environ["FRAMES_OF"].split():
    gdb.execute("goroutine " + goid, to_string=True)
    out[goid] = [[int(f.pc()), int(f.read_register("rsp"))] for f in shown() if f.type() != gdb.INLINE_FRAME]
print("FRAMES " + json.dumps(out))
