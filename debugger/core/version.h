// version.h: what this build calls itself. The text after '+' is a hash over the host scripts (stamp.cmake says how),
// so that a script can tell that a library of another build was loaded.
#pragma once

namespace vitrine::inspect {
const char* version();  // "0.1.0+1a2b3c4d"
}
