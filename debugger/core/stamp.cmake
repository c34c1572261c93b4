# stamp.cmake: writes version.cc with "<version>+<hash>". The hash: for every *.py under python/, gdb/ and lldb/ of the
# debugger directory, in the order of their relative paths, the SHA-256 of the file in hex; those joined; the SHA-256 of
# that; its first 8 digits. A host script computes the same over its own files to see whether the library belongs to it.
# Use: cmake -DROOT=debugger -DVERSION=0.1.0 -DOUT=version.cc -P stamp.cmake
file(GLOB scripts RELATIVE ${ROOT} ${ROOT}/python/*.py ${ROOT}/gdb/*.py ${ROOT}/lldb/*.py)
list(SORT scripts)
set(all "")
foreach(script ${scripts})
  file(SHA256 ${ROOT}/${script} one)
  string(APPEND all ${one})
endforeach()
string(SHA256 hash "${all}")
string(SUBSTRING ${hash} 0 8 hash)
set(text "#include \"version.h\"\nconst char* vitrine::inspect::version() { return \"${VERSION}+${hash}\"; }\n")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
