// target_regs.h: Linux's user_regs_struct and our registers by DWARF number, both ways.
#pragma once
#include <sys/user.h>

#include "target.h"

namespace vitrine::inspect {

// The members of user_regs_struct in the order of the DWARF numbers 0 … 16.
inline constexpr unsigned long long user_regs_struct::*kDwarfOrder[kRegs] = {
    &user_regs_struct::rax, &user_regs_struct::rdx, &user_regs_struct::rcx, &user_regs_struct::rbx,
    &user_regs_struct::rsi, &user_regs_struct::rdi, &user_regs_struct::rbp, &user_regs_struct::rsp,
    &user_regs_struct::r8,  &user_regs_struct::r9,  &user_regs_struct::r10, &user_regs_struct::r11,
    &user_regs_struct::r12, &user_regs_struct::r13, &user_regs_struct::r14, &user_regs_struct::r15,
    &user_regs_struct::rip};

inline Registers dwarf_registers(const user_regs_struct& u) {
  Registers r;
  for (int i = 0; i < kRegs; i++) r.set(i, u.*kDwarfOrder[i]);
  return r;
}

inline user_regs_struct user_registers(const Registers& r) {
  user_regs_struct u{};
  for (int i = 0; i < kRegs; i++)
    if (r.has(i)) u.*kDwarfOrder[i] = r.r[i];
  return u;
}

}  // namespace vitrine::inspect
