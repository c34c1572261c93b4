// linereader.h: a text file of the kernel's, line by line, without allocation or locks.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include "runtime.h"

namespace vitrine::rt {

struct linereader {
  int fd;
  ssize_t n = 0, at = 0;
  char buf[4096];

  explicit linereader(const char* path) : fd(open(path, O_RDONLY | O_CLOEXEC)) {}
  ~linereader() {
    if (fd >= 0) close(fd);
  }
  linereader(const linereader&) = delete;
  linereader& operator=(const linereader&) = delete;

  // The next line without its end, cut to max - 1 bytes; false at the end of the file, or when it cannot be read.
  bool next(char* line, size_t max) {
    size_t len = 0;
    for (;;) {
      if (at == n) {
        at = 0;
        n = fd >= 0 ? read(fd, buf, sizeof buf) : 0;
        if (n <= 0) {
          n = 0;
          line[len] = 0;
          return len != 0;
        }
      }
      char c = buf[at++];
      if (c == '\n') break;
      if (len + 1 < max) line[len++] = c;
    }
    line[len] = 0;
    return true;
  }
};

}  // namespace vitrine::rt
