// Function names as people say them.
#include <gtest/gtest.h>

#include "program_names.h"

namespace vitrine::inspect {
namespace {

TEST(Names, ParameterListsAndReturnTypesAreDropped) {
  EXPECT_EQ(simplify_demangled("ns::foo(int, char const*)"), "ns::foo");
  EXPECT_EQ(simplify_demangled("void ns::foo<int>(int)"), "ns::foo<int>");
  EXPECT_EQ(simplify_demangled("ns::foo() const"), "ns::foo");
  EXPECT_EQ(simplify_demangled("ns::foo() &&"), "ns::foo");
  EXPECT_EQ(simplify_demangled("main"), "main");
  EXPECT_EQ(simplify_demangled("vitrine::chan<int>::recv()"), "vitrine::chan<int>::recv");
  EXPECT_EQ(simplify_demangled("std::enable_if<((3)>(2)), int>::type f<int>(int)"), "f<int>");
  EXPECT_EQ(simplify_demangled("decltype (auto) ns::run<int>(int&&)"), "ns::run<int>");
  EXPECT_EQ(simplify_demangled("decltype ((a)(b)) ns::run<int>(int&&)"), "ns::run<int>");
}

TEST(Names, TemplateArgumentsAreKeptWithTheirParentheses) {
  EXPECT_EQ(simplify_demangled("void f<void (*)(int)>(void (*)(int))"), "f<void (*)(int)>");
  EXPECT_EQ(simplify_demangled("std::function<int (int)>::operator()(int) const"),
            "std::function<int (int)>::operator()");
}

TEST(Names, OperatorsAreNoBrackets) {
  EXPECT_EQ(simplify_demangled("a::operator<(a const&)"), "a::operator<");
  EXPECT_EQ(simplify_demangled("a::operator<<(int)"), "a::operator<<");
  EXPECT_EQ(simplify_demangled("a::operator->()"), "a::operator->");
  EXPECT_EQ(simplify_demangled("a::operator()(int)"), "a::operator()");
  EXPECT_EQ(simplify_demangled("a::operator bool() const"), "a::operator bool");
  EXPECT_EQ(simplify_demangled("operator new[](unsigned long)"), "operator new[]");
  EXPECT_EQ(simplify_demangled("std::ostream& std::operator<< <char>(std::ostream&, char const*)"),
            "std::operator<<<char>");
}

TEST(Names, LambdasAreCalledByTheirNumber) {
  EXPECT_EQ(simplify_demangled("main::{lambda()#1}::operator()() const"), "main::{lambda#1}");
  EXPECT_EQ(simplify_demangled("ns::f(int)::{lambda(int, char)#2}::operator()(int, char) const"), "ns::f::{lambda#2}");
  EXPECT_EQ(simplify_demangled("main::{lambda()#1}::operator()() const::{lambda(int)#3}::operator()(int) const"),
            "main::{lambda#1}::{lambda#3}");
  EXPECT_EQ(simplify_demangled("main::{lambda(int)#1}::_FUN(int)"), "main::{lambda#1}");
}

TEST(Names, UnnamedNamespacesAndTagsAreHandled) {
  EXPECT_EQ(simplify_demangled("ns::(anonymous namespace)::f(int)"), "ns::(anonymous namespace)::f");
  EXPECT_EQ(simplify_demangled("(anonymous namespace)::f(int)"), "(anonymous namespace)::f");
  EXPECT_EQ(simplify_demangled("ns::f[abi:cxx11](int)"), "ns::f");
  EXPECT_EQ(simplify_demangled("ns::f(int) [clone .cold]"), "ns::f");
  EXPECT_EQ(simplify_demangled("non-virtual thunk to ns::a::f()"), "ns::a::f");
}

TEST(Names, SymbolsThatAreNotMangledStayAsTheyAre) {
  EXPECT_EQ(readable_symbol("gogo"), "gogo");
  EXPECT_EQ(readable_symbol("runtime.main"), "runtime.main");
  EXPECT_EQ(readable_symbol("_ZN2ns3fooIiEEvi"), "ns::foo<int>");
  EXPECT_EQ(readable_symbol("_Z"), "_Z");
  EXPECT_EQ(readable_symbol(nullptr), "");
}

TEST(Names, WhatACompilerMadeOfAFunctionIsToldByItsMark) {
  for (const char* s : {"f.cold", "f.part.0", "f.isra.0.cold", "f.constprop.1", "f.lto_priv.0", "f.llvm.4711"})
    EXPECT_TRUE(made_of(s, "f")) << s;
  EXPECT_TRUE(made_of("_ZN2ns3fooEi.cold", "_ZN2ns3fooEi"));
  for (const char* s : {"f", "f.", "f.func1", "f.0", "fcold", "g.cold", "f.colder", ""})
    EXPECT_FALSE(made_of(s, "f")) << s;
  EXPECT_FALSE(made_of(".cold", ""));
}

TEST(Names, NoInputIsFatal) {
  for (const char* s : {"", "(", "<", "{", "a(", "a<b", "operator", "operator<", "a::operator", ")", ">>", "a b(",
                        "{lambda(", "x(anonymous namespace", "decltype ("})
    EXPECT_LE(simplify_demangled(s).size(), std::string(s).size()) << s;
}

}  // namespace
}  // namespace vitrine::inspect
