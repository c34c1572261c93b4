// program_names.h: function names as people say them: qualified, without return types and parameter lists.
#pragma once
#include <string>
#include <string_view>

namespace vitrine::inspect {

// "_ZN2ns3fooIiEEvi" → "ns::foo<int>"; a name that is not mangled comes back unchanged.
std::string readable_symbol(const char* symbol);
// The symbol is what gcc or clang has made of a function, or split off it: "f.cold" of "f".
bool made_of(std::string_view symbol, std::string_view function);
// The same for text that the demangler made: "void ns::foo<int>(int) const" → "ns::foo<int>".
std::string simplify_demangled(std::string_view demangled);

}  // namespace vitrine::inspect
