"""The part of a driver that is the same in gdb and in LLDB: the protocol, and an ear at the library.

Request {"op": …, …} → answer {"ok": …, "out": …, "err": …, "core": what the library itself said}.
"""

import json
import os
import socket
import sys
import traceback


class Driver:
    def __init__(self):
        fd = int(os.environ.pop("VITRINE_SESSION_FD"))
        os.set_inheritable(fd, False)
        self.stream = socket.socket(fileno=fd).makefile("rw", encoding="utf-8")
        self.heard = []

    def listen(self):
        """From now on what the library says is kept, besides being shown. After the host's script was loaded."""
        vi = sys.modules["vitrine_inspect"]
        on_out, on_err, heard = vi.Session._on_out, vi.Session._on_err, self.heard

        def out(session, ctx, message):
            heard.append(vi._decode(message))
            on_out(session, ctx, message)

        def err(session, ctx, message):
            heard.append("error: " + vi._decode(message).replace("\n", "\nerror: ") + "\n")
            on_err(session, ctx, message)

        act = vi.Session._act

        def on_act(session, action, ui):
            if action.kind == vi.PRINT:
                heard.append(action.text)
            act(session, action, ui)

        vi.Session._on_out, vi.Session._on_err, vi.Session._act = out, err, on_act
        return True, "", ""

    def serve(self):
        for line in self.stream:
            request = json.loads(line)
            del self.heard[:]
            answer = {}
            try:
                op = request["op"]
                if op == "command":
                    answer["ok"], answer["out"], answer["err"] = self.command(request["text"])
                elif op == "listen":
                    answer["ok"], answer["out"], answer["err"] = self.listen()
                elif op == "frames":
                    answer = {"ok": True, "frames": self.frame_names()}
                elif op == "frame":
                    self.select_frame(request["index"])
                    answer["ok"] = True
                elif op == "value":
                    answer = {"ok": True, "value": self.value(request["text"])}
                elif op == "print":
                    answer = {"ok": True, "value": self.shown(request["text"])}
                elif op == "pid":
                    answer = {"ok": True, "pid": self.pid()}
                elif op == "registers":
                    answer = {"ok": True, "registers": self.registers()}
                elif op == "python":  # for tests of one host's own ways
                    answer = {"ok": True, "value": repr(eval(request["text"], sys.modules, {"driver": self}))}
                elif op == "quit":
                    return
            except Exception as e:
                answer.update(ok=False, out="", err="%s: %s" % (type(e).__name__, e), trace=traceback.format_exc())
            answer["core"] = "".join(self.heard)
            self.stream.write(json.dumps(answer) + "\n")
            self.stream.flush()
