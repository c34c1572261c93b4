// switches.S: context switches that no runtime has: another structure, other registers, another order. The annotator is
// told the structure (annotate_test.cc) and must find out the rest. `fiber` is {flags, frame, resume, next, stack},
// `slot` is the thread's word at fs:-16.
        .text
        .globl  other_switch, other_switch_end
// other_switch(save: rsi, load: r9): a symmetric switch without a scheduler's stack.
        .p2align 4
other_switch:
        .cfi_startproc
        push    %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        push    %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        push    %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        lea     1f(%rip), %r11
        mov     %rbp, 8(%rsi)
        mov     %r9, %r10
        mov     %r11, 16(%rsi)
        mov     %rsp, 32(%rsi)
        mov     24(%r10), %r8
        mov     %r8, %fs:-16
        mov     16(%r10), %r11
        mov     32(%r10), %rax
        mov     8(%r10), %rbp
        mov     %rax, %rsp
        jmp     *%r11
        nop
1:      pop     %rbp
        pop     %rbx
        pop     %r14
        ret
        .cfi_endproc
other_switch_end:

// The same with two slots exchanged on the way back, and the stack pointer loaded from a wrong place.
        .globl  wrong_switch, wrong_switch_end
        .p2align 4
wrong_switch:
        push    %rbx
        push    %rbp
        lea     1f(%rip), %r11
        mov     %r11, 16(%rsi)
        mov     %rsp, 32(%rsi)
        mov     16(%r9), %r11
        mov     8(%r9), %rsp
        jmp     *%r11
        nop
1:      pop     %rbx
        pop     %rbp
        ret
wrong_switch_end:
        .section .note.GNU-stack, "", @progbits
