// low_text.h: the few pieces of text that the lower half makes itself.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

namespace vitrine::inspect {

inline std::string hex(std::uint64_t v) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(v));
  return text;
}

}  // namespace vitrine::inspect
