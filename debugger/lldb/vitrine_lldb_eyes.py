"""What the library may ask LLDB: memory, threads, modules, an expression's value, whether Ctrl-C was pressed.

at() says before each command which debugger, target and process the command is about. Threads that we
made ourselves are not the target's and are left out. Expressions are evaluated without running code in the target. Even
so LLDB takes memory in a live process for what an expression is made of, so one that only names a variable, or a part of
one, is looked up instead.
"""

import re
import sys

import lldb
import vitrine_inspect as vi
import vitrine_lldb_values
import vitrine_threads


class Eyes(vi.Host):
    def __init__(self):
        self.debugger = self.target = self.process = None
        self.of_core = False
        self.told = False

    def at(self, debugger, target, process, of_core):
        self.debugger, self.target, self.process, self.of_core = debugger, target, process, of_core

    def read(self, addr, length, space):
        def data_at(a, n):
            error, place = lldb.SBError(), lldb.SBAddress(a, self.target)
            section = place.GetSection()
            # Of a core: what only the file holds. (LLDB 14 reads it as zeros otherwise.)
            from_file = section.IsValid() and not section.GetPermissions() & lldb.ePermissionsWritable
            data = (self.target.ReadMemory(place, n, error) if self.of_core and from_file else
                    self.process.ReadMemory(a, n, error))
            if not error.Success() or data is None or len(data) != n:
                raise vi.Failed("unreadable")
            return data

        try:
            return data_at(addr, length)
        except vi.Failed:
            return vi.split_prefix(data_at, addr, length)

    def threads(self):
        out, selected = [], self.process.GetSelectedThread().GetThreadID()
        for thread in self.process.threads:
            if thread.GetThreadID() >= vitrine_threads.TID_BASE:
                continue
            frame, regs = thread.GetFrameAtIndex(0), {}
            for name in (*vi.REGISTERS, "fs_base"):
                register = frame.FindRegister(name)
                if register.IsValid() and register.GetError().Success():
                    regs[name] = register.GetValueAsUnsigned()
            by_signal = thread.GetStopReason() == lldb.eStopReasonSignal
            out.append(vi.Thread(thread.GetThreadID(), regs, regs.get("fs_base"), thread.GetThreadID() == selected,
                                 thread.GetStopReasonDataAtIndex(0) if by_signal else 0))
        return out

    def modules(self):
        out, nowhere = [], lldb.LLDB_INVALID_ADDRESS
        program = self.target.GetExecutable()
        for module in self.target.modules:
            spans = [(s.GetLoadAddress(self.target), s.GetByteSize(), s.GetFileAddress()) for s in module.sections]
            spans = [s for s in spans if s[0] != nowhere and s[1]]
            if spans:
                uuid = (module.GetUUIDString() or "").replace("-", "").lower()
                out.append(vi.Module(module.GetFileSpec().fullpath or "", (spans[0][0] - spans[0][2]) % (1 << 64),
                                     min(s[0] for s in spans), max(s[0] + s[1] for s in spans),
                                     module.GetFileSpec() == program, uuid or None))
        return out

    PLACE = re.compile(r"([*&]?)((?:::)?[A-Za-z_]\w*(?:::\w+)*)((?:(?:\.|->)[A-Za-z_]\w*|\[\d+\])*)")
    STEP = re.compile(r"(\.|->)([A-Za-z_]\w*)|(\[\d+\])")

    def place(self, frame, expression):
        """The variable, or the part of one, that a plain expression names; None: there is none, or one is not sure."""
        named = self.PLACE.fullmatch(expression)
        for v in self.variables(frame, named[2]) if named else ():
            v = self.part_of(v, named[3])
            if v and named[1]:
                v = self.pointed(v) if named[1] == "*" else v.AddressOf()
            if v and v.GetError().Success():
                return v
        return None

    def variables(self, frame, name):
        if frame.IsValid():
            yield frame.GetValueForVariablePath(name, lldb.eNoDynamicValues)
            if frame.FindVariable("this").IsValid() and name[0] != ":":
                yield frame.GetValueForVariablePath("this->" + name, lldb.eNoDynamicValues)
        found = self.target.FindGlobalVariables(name, 2)
        if found.GetSize() == 1:
            yield found.GetValueAtIndex(0)

    def part_of(self, v, path):
        """As GetValueForExpressionPath, which does not follow every pointer that is a class."""
        for arrow, name, element in self.STEP.findall(path):
            if element:
                v = v.GetValueForExpressionPath(element)
                continue
            if arrow == "->":
                v = self.pointed(v)
            elif v.GetType().GetCanonicalType().IsPointerType():
                return None
            v = v.GetNonSyntheticValue().GetChildMemberWithName(name)
            v.SetPreferSyntheticValue(True)
        return v

    def pointed(self, v):
        by_class = v.GetChildMemberWithName(vitrine_lldb_values.POINTED)
        return by_class if by_class.IsValid() else v.Dereference()

    def evaluate(self, expression):
        frame = self.process.GetSelectedThread().GetSelectedFrame()
        v = self.place(frame, expression.strip())
        if v:
            v = v.GetNonSyntheticValue()
            if v.GetType().GetCanonicalType().IsReferenceType():
                v = v.Dereference().GetNonSyntheticValue()
            kind, at = v.GetType().GetCanonicalType(), v.GetLoadAddress()
            if kind.IsPointerType():
                return v.GetValueAsUnsigned(), kind.GetName() or ""
            if at != lldb.LLDB_INVALID_ADDRESS:
                return at, kind.GetName() or ""
        options = lldb.SBExpressionOptions()
        options.SetLanguage(lldb.eLanguageTypeC_plus_plus_14)
        options.SetAllowJIT(False)
        where = frame if frame.IsValid() else self.target
        v = where.EvaluateExpression(expression, options)
        if not v.GetError().Success():
            raise vi.Failed(v.GetError().GetCString() or "no value")
        kind = v.GetType().GetCanonicalType()
        if kind.IsReferenceType():
            kind = kind.GetDereferencedType()
        # What GetLoadAddress says of a result, and & of a register, may be where LLDB keeps its copy.
        if not kind.IsPointerType() and not re.fullmatch(r"[\s(]*\$\w+[\s)]*", expression):
            at = where.EvaluateExpression("&(%s)" % expression, options)
            v = at if at.GetError().Success() else v
        signed = kind.GetTypeFlags() & lldb.eTypeIsSigned
        return v.GetValueAsSigned() % (1 << 64) if signed else v.GetValueAsUnsigned(), kind.GetName() or ""

    def cancelled(self):
        return self.debugger.GetCommandInterpreter().WasInterrupted()

    def progress(self, message):
        if sys.__stderr__ is not None and sys.__stderr__.isatty() and (message or self.told):
            sys.__stderr__.write("\r\x1b[K" + message)
            sys.__stderr__.flush()
            self.told = bool(message)
