# EmbedGdbScript.cmake: the text of the program's .debug_gdb_scripts section.
#
# A program on this runtime carries a few lines of Python that gdb runs when it loads the program (once its safe path
# allows it); they find debugger/gdb/vitrine_gdb.py and source it. The section holds entries of one kind byte, a name,
# a newline, the text and a NUL; kind 4 is "Python text, inline". Flags, each for a reason: `a`: an unallocated section
# is dropped by strip; `R`: an unreferenced one by --gc-sections; `MS`: what gdb's manual asks for, and the linker then
# merges equal copies.
#
# Use, beside the assembly file:
#   include(${PROJECT_SOURCE_DIR}/cmake/EmbedGdbScript.cmake)
#   vitrine_embed_gdb_script(vitrine)        # the target that compiles the .S
# and in the .S, at top level (the file switches section and back by itself):
#   #include "gdb_script.inc"

function(vitrine_embed_gdb_script target)
  include(GNUInstallDirs)
  get_filename_component(VITRINE_SOURCE_DIR "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/.." ABSOLUTE)
  set(VITRINE_INSTALL_DATADIR "${CMAKE_INSTALL_FULL_DATADIR}")
  set(stub "${VITRINE_SOURCE_DIR}/debugger/gdb/autoload_stub.py.in")
  set(dir "${CMAKE_CURRENT_BINARY_DIR}/gdb_script")
  configure_file("${stub}" "${dir}/autoload_stub.py" @ONLY)
  file(READ "${dir}/autoload_stub.py" text)
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(REGEX REPLACE "\n$" "" text "${text}")
  string(REPLACE "\n" "\\n\"\n  .ascii \"" text "${text}")
  string(CONCAT out
    "  .pushsection .debug_gdb_scripts, \"aMSR\", @progbits, 1\n"
    "  .byte 4\n"
    "  .ascii \"gdb.inlined-vitrine\\n\"\n"
    "  .ascii \"${text}\\n\"\n"
    "  .byte 0\n"
    "  .popsection\n")
  file(CONFIGURE OUTPUT "${dir}/gdb_script.inc" CONTENT "${out}" @ONLY NEWLINE_STYLE UNIX)
  target_include_directories(${target} PRIVATE "${dir}")
endfunction()
