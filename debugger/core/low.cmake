# The lower half of the inspection core: targets, ELF and DWARF, unwinding, core files. Included by
# debugger/CMakeLists.txt; nothing above result.h, target.h, program.h, unwind.h and corewriter.h is known here.
find_package(PkgConfig REQUIRED)
pkg_check_modules(VITRINE_ELFUTILS REQUIRED IMPORTED_TARGET libdw libelf)
find_package(Threads REQUIRED)

add_library(vitrine_inspect_low STATIC
  ${CMAKE_CURRENT_LIST_DIR}/corewriter.cc
  ${CMAKE_CURRENT_LIST_DIR}/elf_image.cc
  ${CMAKE_CURRENT_LIST_DIR}/memory.cc
  ${CMAKE_CURRENT_LIST_DIR}/proc_files.cc
  ${CMAKE_CURRENT_LIST_DIR}/program.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_cfi.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_constants.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_files.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_locals.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_names.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_pclntab.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_symbols.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_types.cc
  ${CMAKE_CURRENT_LIST_DIR}/program_units.cc
  ${CMAKE_CURRENT_LIST_DIR}/target_core.cc
  ${CMAKE_CURRENT_LIST_DIR}/target_file.cc
  ${CMAKE_CURRENT_LIST_DIR}/target_proc.cc
  ${CMAKE_CURRENT_LIST_DIR}/unwind.cc
  ${CMAKE_CURRENT_LIST_DIR}/unwind_bulk.cc)
set_target_properties(vitrine_inspect_low PROPERTIES
  POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_include_directories(vitrine_inspect_low PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(vitrine_inspect_low PUBLIC vitrine_flags PkgConfig::VITRINE_ELFUTILS Threads::Threads ${CMAKE_DL_LIBS})
