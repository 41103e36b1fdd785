#include "node/mounts.h"

#include <fstream>

#include "base/strings.h"

namespace caravel::node {

std::vector<std::string> mounts_from(const std::string& directory) {
  std::ifstream mounts("/proc/self/mounts");
  std::vector<std::string> out;
  for (std::string line; std::getline(mounts, line);) {
    std::vector<std::string> words = split(line, ' ');
    if (words.size() > 1 && (words[1] == directory || words[1].rfind(directory + "/", 0) == 0)) out.push_back(std::move(words[1]));
  }
  return out;
}

}  // namespace caravel::node
