// A subcommand of the caravel binary. main.cc lists them; --help and docs come from the table.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/flags.h"

namespace caravel {

struct Command {
  std::string name;     // "karpenter"
  std::string summary;  // one line
  std::string usage;    // text before the flags in --help, with examples
  std::vector<Flag> flags;
  // Returns the exit code. An error is printed as one line by the caller.
  std::function<Result<int>(const Flags&)> run;
  bool internal = false;  // not in the main --help list
};

}  // namespace caravel
