// asm_offsets.h: the offsets that asm_amd64.S uses, each checked against the C++ shapes in proc_layout.cc.
#ifndef VITRINE_ASM_OFFSETS_H
#define VITRINE_ASM_OFFSETS_H

#define g_stack_lo 0
#define g_stack_hi 8
#define g_sched 16
#define g_m 80
#define g_startfn 232
#define g_startarg 240

#define gobuf_sp 0
#define gobuf_pc 8
#define gobuf_g 16
#define gobuf_ctxt 24
#define gobuf_ret 32
#define gobuf_lr 40
#define gobuf_bp 48

#define m_g0 0
#define m_gsignal 8
#define m_curg 72

/* mcall's frame, from the saved sp upwards: what a reader of a parked stack finds. */
#define mcall_fpcontrol 0 /* mxcsr (4 bytes), x87 control word (2 bytes), pad */
#define mcall_r15 8
#define mcall_r14 16
#define mcall_r13 24
#define mcall_r12 32
#define mcall_rbx 40
#define mcall_rbp 48
#define mcall_ret 56
#define mcall_frame 64 /* saved sp + mcall_frame == CFA */

#endif
