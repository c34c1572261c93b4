// main.cc: the tests run on goroutine 1, with more Ps than most machines that build this have CPUs.
#include <gtest/gtest.h>
#include <vitrine/vitrine.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return vitrine::run({.procs = 4, .main_stack = 8 << 20}, [] { return RUN_ALL_TESTS(); });
}
