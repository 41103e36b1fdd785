#include "cli/memory.h"

#include <unistd.h>

#include "base/strings.h"
#include "net/process.h"

namespace caravel::cli {
namespace {

std::string pid_namespace(const std::string& pid) {
  char buf[64];
  ssize_t n = readlink(("/proc/" + pid + "/ns/pid").c_str(), buf, sizeof buf);
  return n > 0 ? std::string(buf, static_cast<size_t>(n)) : "";
}

int64_t pss_bytes(const std::string& pid) {
  auto text = net::read_file("/proc/" + pid + "/smaps_rollup");
  if (!text.ok()) return 0;
  for (auto& line : split(*text, '\n'))
    if (line.starts_with("Pss:")) {
      auto words = split_words(line);
      return words.size() > 1 ? parse_int(words[1]).value_or(0) * 1024 : 0;
    }
  return 0;
}

std::vector<std::string> children_of(const std::string& pid) {
  auto text = net::read_file("/proc/" + pid + "/task/" + pid + "/children");
  return text.ok() ? split_words(*text) : std::vector<std::string>();
}

}  // namespace

int64_t tree_memory(int root) {
  int64_t total = 0;
  std::vector<std::string> left{std::to_string(root)};
  while (!left.empty()) {
    std::string pid = left.back();
    left.pop_back();
    total += pss_bytes(pid);
    for (auto& child : children_of(pid)) left.push_back(child);
  }
  return total;
}

int64_t world_memory(int outer_pid) {
  std::string outer = std::to_string(outer_pid);
  auto children = net::read_file("/proc/" + outer + "/task/" + outer + "/children");
  if (!children.ok()) return 0;
  auto words = split_words(*children);
  if (words.empty()) return 0;
  std::string ns = pid_namespace(words[0]);
  auto all = net::list_directory("/proc");
  if (!all.ok() || ns.empty()) return 0;
  int64_t total = 0;
  for (auto& name : *all) {
    if (!parse_int(name)) continue;
    std::string theirs = pid_namespace(name);
    if (theirs == ns) {
      total += pss_bytes(name);
      continue;
    }
    // Containers live in pid namespaces below the world's: the list of ids tells the depth.
    auto status = net::read_file("/proc/" + name + "/status");
    if (!status.ok()) continue;
    size_t at = status->find("NSpid:");
    if (at == std::string::npos) continue;
    auto ids = split_words(std::string_view(*status).substr(at, status->find('\n', at) - at));
    if (ids.size() >= 4) total += pss_bytes(name);
  }
  return total;
}

}  // namespace caravel::cli
