// traceback_amd64.S: one function whose caller is, for an unwinder, whatever context its argument describes. So the
// C++ runtime's own unwinder (_Unwind_Backtrace, by .eh_frame) walks a parked goroutine from where this thread stands:
// nothing is executed on that stack and nothing is written to it.

#include "asm_offsets.h"

        .text
// int vitrine_tracecontext(const gobuf* at, _Unwind_Trace_Fn fn, void* arg): calls fn for this function's own frame,
// then for the frame that at->{pc, sp, bp} describe and for each of its callers, until fn returns other than 0.
// In: rdi = at, rsi = fn, rdx = arg. Out: eax, as _Unwind_Backtrace. rbx = at while it runs:
//
//      CFA (the caller's sp) = *(rbx + gobuf_sp);  rip saved at rbx + gobuf_pc;  rbp saved at rbx + gobuf_bp
//
// A signal frame, so that at->pc is looked up as it is and not as a return address: it may be the first instruction of
// a function (a fault in a prologue). The other registers keep our values; what mcall saved, its CFI rows find again.
        .globl vitrine_tracecontext
        .hidden vitrine_tracecontext
        .type vitrine_tracecontext, @function
        .p2align 4
vitrine_tracecontext:
        .cfi_startproc
        .cfi_signal_frame
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        movq    %rdi, %rbx
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        .cfi_remember_state
        .cfi_same_value rbx
        .cfi_escape 0x0f, 3, 0x73, gobuf_sp, 0x06       // def_cfa_expression: breg3 (rbx) + gobuf_sp, deref
        .cfi_escape 0x10, 16, 2, 0x73, gobuf_pc         // expression, rip: breg3 + gobuf_pc
        .cfi_escape 0x10, 6, 2, 0x73, gobuf_bp          // expression, rbp: breg3 + gobuf_bp
        call    _Unwind_Backtrace@PLT
        nop
        .cfi_restore_state
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rbx
        ret
        .cfi_endproc
        .size vitrine_tracecontext, . - vitrine_tracecontext

        .section .note.GNU-stack, "", @progbits
