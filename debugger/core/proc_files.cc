// proc_files.cc: see proc_files.h.
#include "proc_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "low_text.h"

namespace vitrine::inspect {
namespace {

std::string proc_path(int pid, std::string_view name) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(name);
}

}  // namespace

Result<std::string> proc_file(int pid, std::string_view name) {
  const std::string path = proc_path(pid, name);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{path + ": " + std::strerror(errno), {}};
  std::string text;
  char buf[16384];
  ssize_t n;
  while ((n = ::read(fd, buf, sizeof buf)) > 0) text.append(buf, static_cast<std::size_t>(n));
  const int saved = errno;
  close(fd);
  if (n < 0) return Error{path + ": " + std::strerror(saved), {}};
  return text;
}

Result<std::vector<ProcMapping>> proc_maps(int pid) {
  auto text = proc_file(pid, "maps");
  if (!text) return text.error();
  std::vector<ProcMapping> maps;
  std::size_t at = 0;
  while (at < text->size()) {
    std::size_t end = text->find('\n', at);
    if (end == std::string::npos) end = text->size();
    const std::string line = text->substr(at, end - at);
    at = end + 1;
    ProcMapping m;
    char perm[5] = "";
    unsigned major = 0, minor = 0;
    int used = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 "%n", &m.lo, &m.hi, perm,
                    &m.offset, &major, &minor, &m.inode, &used) < 7)
      continue;
    m.r = perm[0] == 'r';
    m.w = perm[1] == 'w';
    m.x = perm[2] == 'x';
    m.shared = perm[3] == 's';
    m.device = makedev(major, minor);
    const std::size_t name = line.find_first_not_of(' ', static_cast<std::size_t>(used));
    if (name != std::string::npos) m.path = line.substr(name);
    maps.push_back(std::move(m));
  }
  return maps;
}

std::vector<int> proc_threads(int pid) {
  std::vector<int> tids;
  DIR* dir = opendir(proc_path(pid, "task").c_str());
  if (!dir) return tids;
  while (const dirent* e = readdir(dir))
    if (const int tid = std::atoi(e->d_name)) tids.push_back(tid);
  closedir(dir);
  std::sort(tids.begin(), tids.end());
  return tids;
}

std::string proc_status(int pid, std::string_view key, std::string_view file) {
  auto text = proc_file(pid, file);
  if (!text) return "";
  const std::string want = "\n" + std::string(key) + ":";
  const std::string all = "\n" + *text;
  const std::size_t at = all.find(want);
  if (at == std::string::npos) return "";
  const std::size_t from = all.find_first_not_of(" \t", at + want.size());
  return all.substr(from, all.find('\n', from) - from);
}

std::string proc_real_path(int pid, const ProcMapping& m) {
  auto same = [&](const std::string& p) {
    struct stat st;
    return stat(p.c_str(), &st) == 0 && st.st_ino == m.inode;
  };
  if (same(m.path)) return m.path;
  const std::string exe = proc_path(pid, "exe");
  if (same(exe)) return exe;
  const std::string inside = proc_path(pid, "root") + m.path;
  if (same(inside)) return inside;
  const std::string mapped = proc_path(pid, "map_files/") + hex(m.lo).substr(2) + "-" + hex(m.hi).substr(2);
  if (same(mapped)) return mapped;
  return m.path;
}

}  // namespace vitrine::inspect
