// What a dynamically linked program needs in order to run elsewhere: its interpreter and shared
// libraries, found as the loader would find them. Reads ELF files only; runs nothing.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace caravel::images {

struct ElfInfo {
  std::string interpreter;            // "/lib64/ld-linux-x86-64.so.2", "" for static programs and libraries
  std::vector<std::string> needed;    // DT_NEEDED, in order
  std::vector<std::string> run_path;  // DT_RUNPATH or DT_RPATH with $ORIGIN replaced
};
Result<ElfInfo> read_elf(const std::string& path);

// Absolute paths of all shared libraries that `programs` need, directly or not, and their interpreters;
// sorted, each once. An error names the library that is missing and who needs it.
Result<std::vector<std::string>> shared_libraries(const std::vector<std::string>& programs);

}  // namespace caravel::images
