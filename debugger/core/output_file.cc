// output_file.cc: what a command writes to a file that the user named; half a file is no file, a device stays.
#include "output_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace vitrine::inspect {
namespace {

class File : public Sink {
 public:
  explicit File(std::FILE* f) : f_(f) {}
  void out(std::string_view text) override {
    good = good && std::fwrite(text.data(), 1, text.size(), f_) == text.size();
  }
  void err(std::string_view) override {}
  bool good = true;

 private:
  std::FILE* f_;
};

}  // namespace

std::optional<Outcome> write_file(const std::string& file, Sink& sink, const std::function<bool(Sink&)>& fill) {
  std::FILE* f = std::fopen(file.c_str(), "we");
  if (!f) return fail(sink, fmt::format("{} cannot be written: {}", file, std::strerror(errno)));
  File to(f);
  const bool done = fill(to);
  struct stat st;
  const bool ours = fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode);
  const bool closed = std::fclose(f) == 0;
  if (!done) {
    if (ours) std::remove(file.c_str());
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  if (!to.good || !closed) return fail(sink, fmt::format("{} could not be written in full", file));
  return std::nullopt;
}

}  // namespace vitrine::inspect
