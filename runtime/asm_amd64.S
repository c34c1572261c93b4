// asm_amd64.S: the context switch and the two ends of a goroutine's stack. Follows the routines of Go's asm_amd64.s;
// all of it is C++ linkage (mangled names), so that debuggers print vitrine::rt::mcall and so on.
//
// Unlike Go: C++ has callee-saved registers, so a parked context is not {pc, sp} of the caller but of mcall itself,
// with rbx rbp r12-r15 (and the floating-point control words, callee-saved too) in a frame of fixed layout:
//
//      saved sp → +0  mxcsr | x87 cw      +32 r12
//                 +8  r15                 +40 rbx
//                 +16 r14                 +48 rbp  ← saved bp (the frame-pointer chain runs through mcall)
//                 +24 r13                 +56 return address;  CFA = saved sp + 64
//
// What every debugger relies on, so every instruction has a CFI row that holds exactly there:
//   * The saved pc is a label with a `nop` of the same row in front: unwinders look up pc - 1 for any frame but the
//     innermost.
//   * On g0 a trace ends in mcall (rip undefined): what lies on the goroutine's stack is the goroutine's.
//   * A goroutine's stack ends with a return address goexit+1, rip undefined there: `bt` stops without a warning.
//   * gogo's caller is the context being loaded from the instruction on that moves rsp.
//   * systemstack keeps the caller's chain across the two stacks (CFA by rbp).

#include "asm_offsets.h"

#define mcall       _ZN7vitrine2rt5mcallEPFvPNS0_1gEE
#define gogo        _ZN7vitrine2rt4gogoEPNS0_5gobufE
#define gosave      _ZN7vitrine2rt6gosaveEPNS0_5gobufE
#define systemstack _ZN7vitrine2rt11systemstackEPFvPvES1_
#define goexit      _ZN7vitrine2rt6goexitEv
#define goentry     _ZN7vitrine2rt7goentryEv
#define mstart      _ZN7vitrine2rt6mstartEv
#define goexit1     _ZN7vitrine2rt7goexit1Ev
#define gostarted   _ZN7vitrine2rt9gostartedEv
#define mstart1     _ZN7vitrine2rt7mstart1Ev
#define badmcall    _ZN7vitrine2rt8badmcallEPFvPNS0_1gEE
#define badmcall2   _ZN7vitrine2rt9badmcall2EPFvPNS0_1gEE
#define badsystemstack _ZN7vitrine2rt14badsystemstackEv
#define gcStart     _ZN7vitrine2rt7gcStartENS0_9gcTriggerE
#define gcStart1    _ZN7vitrine2rt8gcStart1ENS0_9gcTriggerEm

#define FUNC(name)  .globl name; .type name, @function; .p2align 4; name:
#define HIDDEN(name) .hidden name
#define END_(name)  .Lend_##name: .size name, . - name
#define END(name)   END_(name)

// reg ← offset of the current-g slot from %fs base
#define get_tls(reg) movq vitrine_tls_g@gottpoff(%rip), reg

        .text
.Ltext_start:

// void mcall(void (*fn)(g*)): saves the current context in g->sched, switches to m->g0's stack and calls fn(g) there.
// In: rdi = fn. Returns when somebody gogo()s to g->sched. fn must not return. Only from a goroutine's stack.
FUNC(mcall)
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        movq    %rsp, %rbp
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr mcall_fpcontrol(%rsp)
        fnstcw  mcall_fpcontrol+4(%rsp)

        get_tls(%rcx)
        movq    %fs:(%rcx), %rax                // rax = g
        leaq    .Lmcall_resume(%rip), %rdx
        movq    %rsp, g_sched+gobuf_sp(%rax)
        movq    %rdx, g_sched+gobuf_pc(%rax)
        movq    %rax, g_sched+gobuf_g(%rax)
        movq    %rbp, g_sched+gobuf_bp(%rax)

        movq    g_m(%rax), %rdx
        movq    m_g0(%rdx), %rdx                // rdx = m->g0
        cmpq    %rdx, %rax
        je      .Lbadmcall
        movq    %rdx, %fs:(%rcx)                // current g = m->g0
        movq    g_sched+gobuf_sp(%rdx), %rsp
        // On g0's stack from here on; the frames below are the scheduler's own.
        .cfi_remember_state
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %rdi, %rbx
        movq    %rax, %rdi
        call    *%rbx                           // fn(g)
        movq    %rbx, %rdi
        call    badmcall2                       // fn returned
        ud2
        .cfi_restore_state
.Lbadmcall:
        call    badmcall
        ud2
        nop
.Lmcall_resume:
        ldmxcsr mcall_fpcontrol(%rsp)
        fldcw   mcall_fpcontrol+4(%rsp)
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rbp
        // A `ret` would be predicted wrongly: the CPU's return stack is that of the context we came from.
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        jmp     *%rcx
        .cfi_endproc
END(mcall)

// void gogo(gobuf* buf): continues the saved context. In: rdi = buf. Never returns to its caller.
// Hands over: rax = buf->ret, rdx = buf->ctxt. Clears what would otherwise go stale in buf.
FUNC(gogo)
        .cfi_startproc
        movq    gobuf_g(%rdi), %rdx
        movq    g_stack_lo(%rdx), %rcx          // faults here, with a sound stack, if buf->g is null
        get_tls(%rcx)
        movq    %rdx, %fs:(%rcx)                // current g = buf->g
        movq    gobuf_ret(%rdi), %rax
        movq    gobuf_ctxt(%rdi), %rdx
        movq    gobuf_bp(%rdi), %r8
        movq    gobuf_pc(%rdi), %rcx
        movq    gobuf_sp(%rdi), %rsp
        // On the goroutine's stack: our caller is the context that rcx, rsp and r8 describe.
        .cfi_def_cfa rsp, 0
        .cfi_register rip, rcx
        .cfi_register rbp, r8
        movq    $0, gobuf_sp(%rdi)
        movq    $0, gobuf_ret(%rdi)
        movq    $0, gobuf_ctxt(%rdi)
        movq    $0, gobuf_bp(%rdi)
        movq    %r8, %rbp
        .cfi_same_value rbp
        jmp     *%rcx
        .cfi_endproc
END(gogo)

// uintptr gosave(gobuf* buf): saves the caller's context; 0 the first time, buf->ret when gogo() comes back to it.
// In: rdi = buf. The caller's callee-saved registers are the caller's business. Clobbers rax, rcx, rdx.
FUNC(gosave)
        .cfi_startproc
        movq    (%rsp), %rax
        leaq    8(%rsp), %rcx
        movq    %rax, gobuf_pc(%rdi)
        movq    %rcx, gobuf_sp(%rdi)
        movq    %rbp, gobuf_bp(%rdi)
        get_tls(%rcx)
        movq    %fs:(%rcx), %rdx
        movq    %rdx, gobuf_g(%rdi)
        movq    $0, gobuf_ret(%rdi)
        movq    $0, gobuf_ctxt(%rdi)
        xorl    %eax, %eax
        ret
        .cfi_endproc
END(gosave)

// void mstart(): the base of a scheduling stack. Saves its context in g0->sched (where mcall and systemstack start
// their frames) and runs the scheduler; returns only on m0, when run() is over and the scheduler gogo()s back.
FUNC(mstart)
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        pushq   %rbx
        .cfi_offset rbx, -24
        pushq   %r12
        .cfi_offset r12, -32
        pushq   %r13
        .cfi_offset r13, -40
        pushq   %r14
        .cfi_offset r14, -48
        pushq   %r15
        .cfi_offset r15, -56
        subq    $8, %rsp
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        get_tls(%rcx)
        movq    %fs:(%rcx), %rdi
        leaq    g_sched(%rdi), %rdi
        call    gosave
        testq   %rax, %rax
        jne     .Lmstart_done
        call    mstart1
        ud2
.Lmstart_done:
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        popq    %r15
        .cfi_same_value r15
        popq    %r14
        .cfi_same_value r14
        popq    %r13
        .cfi_same_value r13
        popq    %r12
        .cfi_same_value r12
        popq    %rbx
        .cfi_same_value rbx
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_same_value rbp
        ret
        .cfi_endproc
END(mstart)

// void systemstack(void (*fn)(void*), void* arg): calls fn(arg) on m->g0's stack and comes back. On g0 or gsignal
// already: a plain call. In: rdi = fn, rsi = arg. fn must not park.
FUNC(systemstack)
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        pushq   %rbx
        .cfi_offset rbx, -24
        subq    $8, %rsp
        get_tls(%rcx)
        movq    %fs:(%rcx), %rbx                // rbx = g, kept over the call
        movq    g_m(%rbx), %rdx
        cmpq    m_gsignal(%rdx), %rbx
        je      .Lnoswitch
        cmpq    m_g0(%rdx), %rbx
        je      .Lnoswitch
        cmpq    m_curg(%rdx), %rbx
        jne     .Lbadsystemstack
        leaq    .Lsystemstack_switch(%rip), %rax
        movq    %rax, g_sched+gobuf_pc(%rbx)
        movq    %rsp, g_sched+gobuf_sp(%rbx)
        movq    %rbx, g_sched+gobuf_g(%rbx)
        movq    %rbp, g_sched+gobuf_bp(%rbx)
        movq    m_g0(%rdx), %rdx
        movq    %rdx, %fs:(%rcx)                // current g = m->g0
        movq    g_sched+gobuf_sp(%rdx), %rsp    // rbp still names the goroutine's frame
        movq    %rdi, %rax
        movq    %rsi, %rdi
        call    *%rax
        nop
.Lsystemstack_switch:
        get_tls(%rcx)
        movq    %rbx, %fs:(%rcx)                // current g = the goroutine again
        movq    g_sched+gobuf_sp(%rbx), %rsp
        movq    $0, g_sched+gobuf_sp(%rbx)
        jmp     .Lsystemstack_ret
.Lnoswitch:
        movq    %rdi, %rax
        movq    %rsi, %rdi
        call    *%rax
.Lsystemstack_ret:
        addq    $8, %rsp
        popq    %rbx
        .cfi_same_value rbx
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_same_value rbp
        ret
.Lbadsystemstack:
        .cfi_def_cfa rbp, 16
        .cfi_offset rbp, -16
        .cfi_offset rbx, -24
        call    badsystemstack
        ud2
        .cfi_endproc
END(systemstack)

// void gcStart(gcTrigger t): gcStart1(t, sp), sp from where the caller's registers and frames are on this stack. What is
// below is the collector's, which knows where spans begin, and an object may begin there too.
FUNC(gcStart)
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        pushq   %rbx
        .cfi_offset rbx, -24
        pushq   %r12
        .cfi_offset r12, -32
        pushq   %r13
        .cfi_offset r13, -40
        pushq   %r14
        .cfi_offset r14, -48
        pushq   %r15
        .cfi_offset r15, -56
        subq    $8, %rsp
        movq    %rsp, %rsi
        call    gcStart1
        addq    $8, %rsp
        popq    %r15
        .cfi_same_value r15
        popq    %r14
        .cfi_same_value r14
        popq    %r13
        .cfi_same_value r13
        popq    %r12
        .cfi_same_value r12
        popq    %rbx
        .cfi_same_value rbx
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_same_value rbp
        ret
        .cfi_endproc
END(gcStart)

// goentry: where a goroutine that never ran resumes (sched.pc = goentry+1, sp → goexit+1, sp ≡ 8 mod 16).
// Calls g->startfn(g->startarg) and returns into goexit.
FUNC(goentry)
        .cfi_startproc
        nop
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        call    gostarted
        get_tls(%rcx)
        movq    %fs:(%rcx), %rax
        movq    g_startarg(%rax), %rdi
        call    *g_startfn(%rax)
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_same_value rbp
        ret
        .cfi_endproc
END(goentry)

// goexit: the bottom of every goroutine's stack. The return address of goentry is goexit+1.
FUNC(goexit)
        .cfi_startproc
        .cfi_undefined rip
        .cfi_undefined rbp
        nop
        call    goexit1                         // does not return; rsp ≡ 0 mod 16 after goentry's ret
        ud2
        .cfi_endproc
END(goexit)
.Ltext_end:

// ---- DWARF of this file ------------------------------------------------------------------------------------------------
// Left alone, the assembler describes each function by its mangled name, and debuggers then show that. With a
// .debug_info of our own it adds only the line table. One unit, in C++, so that the names nest: vitrine::rt::mcall.

#ifndef VITRINE_COMP_DIR
#define VITRINE_COMP_DIR "."
#endif

        .section .debug_abbrev, "", @progbits
.Labbrev:
        .uleb128 1, 0x11        // compile_unit, children
        .byte   1
        .uleb128 0x25, 0x08     //   producer: string
        .uleb128 0x13, 0x0b     //   language: data1
        .uleb128 0x03, 0x08     //   name: string
        .uleb128 0x1b, 0x08     //   comp_dir: string
        .uleb128 0x10, 0x17     //   stmt_list: sec_offset
        .uleb128 0x11, 0x01     //   low_pc: addr
        .uleb128 0x12, 0x06     //   high_pc: data4
        .uleb128 0, 0
        .uleb128 2, 0x39        // namespace, children
        .byte   1
        .uleb128 0x03, 0x08     //   name
        .uleb128 0, 0
        .uleb128 3, 0x2e        // subprogram
        .byte   0
        .uleb128 0x03, 0x08     //   name
        .uleb128 0x6e, 0x08     //   linkage_name
        .uleb128 0x3f, 0x19     //   external: flag_present
        .uleb128 0x11, 0x01     //   low_pc
        .uleb128 0x12, 0x06     //   high_pc
        .uleb128 0, 0
        .byte   0

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define DIE_(shown, symbol) \
        .uleb128 3; .asciz shown; .asciz STRING(symbol); .quad symbol; .long .Lend_##symbol - symbol
#define DIE(shown, symbol) DIE_(shown, symbol)

        .section .debug_line, "", @progbits
.Ldebug_line:
        .section .debug_info, "", @progbits
        .long   .Linfo_end - .Linfo_start
.Linfo_start:
        .value  4
        .long   .Labbrev
        .byte   8
        .uleb128 1
        .asciz  "vitrine asm_amd64.S"
        .byte   0x04            // DW_LANG_C_plus_plus
        .asciz  __FILE__
        .asciz  VITRINE_COMP_DIR
        .long   .Ldebug_line
        .quad   .Ltext_start
        .long   .Ltext_end - .Ltext_start
        .uleb128 2
        .asciz  "vitrine"
        .uleb128 2
        .asciz  "rt"
        DIE("mcall", mcall)
        DIE("gogo", gogo)
        DIE("gosave", gosave)
        DIE("mstart", mstart)
        DIE("systemstack", systemstack)
        DIE("goentry", goentry)
        DIE("goexit", goexit)
        .byte   0, 0, 0         // end of rt, vitrine, the unit
.Linfo_end:

// The script that gdb loads with the program (generated: cmake/EmbedGdbScript.cmake).
#if __has_include("gdb_script.inc")
#include "gdb_script.inc"
#endif

        .section .note.GNU-stack, "", @progbits
