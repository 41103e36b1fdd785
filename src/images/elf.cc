#include "images/elf.h"

#include <elf.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/strings.h"

namespace caravel::images {
namespace {

namespace fs = std::filesystem;
constexpr size_t kTableMax = 64 << 20;  // bytes of one table of an ELF file that we are ready to read

class Reader {
 public:
  explicit Reader(const std::string& path) : in_(path, std::ios::binary) {}
  bool open() const { return in_.is_open(); }
  bool read(uint64_t offset, void* out, size_t n) {
    in_.clear();
    in_.seekg(static_cast<std::streamoff>(offset));
    in_.read(static_cast<char*>(out), static_cast<std::streamsize>(n));
    return static_cast<size_t>(in_.gcount()) == n;
  }

 private:
  std::ifstream in_;
};

std::vector<std::string> library_directories() {
  std::vector<std::string> out;
  std::error_code ec;
  for (auto& e : fs::directory_iterator("/etc/ld.so.conf.d", ec)) {
    std::ifstream in(e.path());
    for (std::string line; std::getline(in, line);)
      if (std::string_view d = trim(line); !d.empty() && d[0] == '/') out.emplace_back(d);
  }
  for (const char* d : {"/lib64", "/lib", "/usr/lib64", "/usr/lib", "/usr/local/lib"}) out.emplace_back(d);
  return out;
}

}  // namespace

Result<ElfInfo> read_elf(const std::string& path) {
  Reader in(path);
  if (!in.open()) return not_found("cannot read " + path);
  Elf64_Ehdr h;
  if (!in.read(0, &h, sizeof h) || std::memcmp(h.e_ident, ELFMAG, SELFMAG) != 0) return invalid(path + " is not an ELF file");
  if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_phentsize != sizeof(Elf64_Phdr)) return invalid(path + " is not a 64-bit ELF file");
  std::vector<Elf64_Phdr> segments(h.e_phnum);
  if (!in.read(h.e_phoff, segments.data(), segments.size() * sizeof(Elf64_Phdr))) return invalid(path + " is cut off");

  ElfInfo info;
  std::vector<Elf64_Dyn> dynamic;
  for (auto& s : segments) {
    if (s.p_filesz > kTableMax && (s.p_type == PT_INTERP || s.p_type == PT_DYNAMIC)) return invalid(path + " has an oversized table");
    if (s.p_type == PT_INTERP) {
      std::string text(s.p_filesz, 0);
      if (!in.read(s.p_offset, text.data(), text.size())) return invalid(path + " is cut off");
      info.interpreter = text.c_str();
    } else if (s.p_type == PT_DYNAMIC) {
      dynamic.resize(s.p_filesz / sizeof(Elf64_Dyn));
      if (!in.read(s.p_offset, dynamic.data(), dynamic.size() * sizeof(Elf64_Dyn))) return invalid(path + " is cut off");
    }
  }
  uint64_t table = 0, size = 0;
  for (auto& d : dynamic) {
    if (d.d_tag == DT_NULL) break;
    if (d.d_tag == DT_STRTAB) table = d.d_un.d_ptr;
    if (d.d_tag == DT_STRSZ) size = d.d_un.d_val;
  }
  if (size > kTableMax) return invalid(path + " has an oversized table");
  std::string strings(size, 0);
  for (auto& s : segments)  // the table's address in memory to its place in the file
    if (s.p_type == PT_LOAD && table >= s.p_vaddr && table < s.p_vaddr + s.p_filesz) {
      if (!in.read(table - s.p_vaddr + s.p_offset, strings.data(), size)) return invalid(path + " is cut off");
      break;
    }
  const std::string origin = fs::path(path).parent_path().string();
  for (auto& d : dynamic) {
    if (d.d_tag == DT_NULL) break;
    if (d.d_un.d_val >= strings.size()) continue;
    const char* text = strings.c_str() + d.d_un.d_val;
    if (d.d_tag == DT_NEEDED) info.needed.emplace_back(text);
    if (d.d_tag == DT_RUNPATH || d.d_tag == DT_RPATH)
      for (auto& p : split(text, ':')) info.run_path.push_back(replace_all(replace_all(p, "${ORIGIN}", origin), "$ORIGIN", origin));
  }
  return info;
}

Result<std::vector<std::string>> shared_libraries(const std::vector<std::string>& programs) {
  const std::vector<std::string> directories = library_directories();
  std::set<std::string> found;
  std::vector<std::string> todo = programs;
  std::set<std::string> seen;
  while (!todo.empty()) {
    std::string path = todo.back();
    todo.pop_back();
    if (!seen.insert(path).second) continue;
    TRY(ElfInfo info, read_elf(path));
    if (!info.interpreter.empty()) found.insert(info.interpreter);
    for (auto& name : info.needed) {
      std::string where;
      std::vector<std::string> search = info.run_path;
      search.insert(search.end(), directories.begin(), directories.end());
      for (auto& d : search) {
        std::error_code ec;
        // Directories of other word sizes (/lib32) are listed too: the file must be one we could load.
        if (fs::exists(d + "/" + name, ec) && read_elf(d + "/" + name).ok()) {
          where = d + "/" + name;
          break;
        }
      }
      if (where.empty()) return not_found("the shared library " + name + ", which " + path + " needs, is not installed");
      // The interpreter is often named as a library too; it has to stay where programs expect it.
      if (name.rfind("ld-linux", 0) == 0) continue;
      if (found.insert(where).second) todo.push_back(where);
    }
  }
  return std::vector<std::string>(found.begin(), found.end());
}

}  // namespace caravel::images
