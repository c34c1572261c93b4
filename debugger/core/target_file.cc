// target_file.cc: a program that does not run, as its file has it: code and constants at the addresses of the file, no
// threads. What a program's own variables will be is not to be seen there.
#include "target_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "elf_image.h"
#include "target.h"

namespace vitrine::inspect {
namespace {

class FileTarget : public Target {
 public:
  FileTarget(std::string path, std::shared_ptr<MappedFile> file, ElfImage image)
      : path_(std::move(path)), file_(std::move(file)), image_(std::move(image)) {
    Module m;
    m.path = path_;
    m.lo = image_.lowest();
    m.hi = image_.highest();
    m.build_id = image_.build_id;
    m.main = true;
    modules_.push_back(std::move(m));
  }
  Kind kind() const override { return Kind::core; }
  std::string describe() const override { return fmt::format("the file {}", path_); }
  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space) override {
    for (const Elf64_Phdr& p : image_.phdrs) {
      if (p.p_type != PT_LOAD || addr < p.p_vaddr || addr - p.p_vaddr >= p.p_filesz) continue;
      const std::uint64_t in = addr - p.p_vaddr;
      return file_->read(p.p_offset + in, out.first(std::min<std::uint64_t>(out.size(), p.p_filesz - in)));
    }
    return 0;
  }
  const std::vector<Thread>& threads() override { return threads_; }
  const std::vector<Module>& modules() override { return modules_; }

 private:
  std::string path_;
  std::shared_ptr<MappedFile> file_;
  ElfImage image_;
  std::vector<Thread> threads_;
  std::vector<Module> modules_;
};

}  // namespace

Result<std::unique_ptr<Target>> open_file(const std::string& path) {
  auto image = read_elf_file(path);
  if (!image) return image.error();
  if (image->machine != EM_X86_64) return Error{fmt::format("{} is not a program for x86-64", path), {}};
  auto file = MappedFile::open(path);
  if (!file) return file.error();
  return std::unique_ptr<Target>(std::make_unique<FileTarget>(path, std::move(*file), std::move(*image)));
}

}  // namespace vitrine::inspect
