#include "vpc/nft_table.h"

namespace caravel::vpc {
namespace {

std::string list(const std::map<std::string, std::string>& elements, bool with_values) {
  std::string out;
  for (auto& [key, value] : elements) {
    if (!out.empty()) out += ", ";
    out += key;
    if (with_values && !value.empty()) out += " : " + value;
  }
  return "{ " + out + " }";
}

// The order in which nftables can take it: what is referred to comes before what refers to it, and goes after it.
class Change {
 public:
  Change(const NftTable& from, const NftTable& to) : from_(from), to_(to) {}

  std::string text() {
    for (auto& [name, set] : to_.sets)
      if (!from_.sets.count(name)) out_ += std::string("add ") + (set.map ? "map " : "set ") + to_.name + " " + name + " { " + set.declaration + " }\n";
    for (auto& [name, chain] : to_.chains)
      if (!from_.chains.count(name)) out_ += "add chain " + to_.name + " " + name + (chain.hook.empty() ? "" : " { " + chain.hook + " }") + "\n";
    for (auto& [name, chain] : to_.chains) rules(name, chain);
    for (auto& [name, set] : to_.sets) {
      auto before = from_.sets.find(name);
      static const std::map<std::string, std::string> none;
      elements(name, before == from_.sets.end() ? none : before->second.elements, set.elements);
    }
    for (auto& [name, set] : from_.sets)
      if (!to_.sets.count(name)) out_ += "flush " + std::string(set.map ? "map " : "set ") + to_.name + " " + name + "\n";
    for (auto& [name, chain] : from_.chains)
      if (!to_.chains.count(name)) out_ += "flush chain " + to_.name + " " + name + "\n";
    for (auto& [name, chain] : from_.chains)
      if (!to_.chains.count(name)) out_ += "delete chain " + to_.name + " " + name + "\n";
    for (auto& [name, set] : from_.sets)
      if (!to_.sets.count(name)) out_ += std::string("delete ") + (set.map ? "map " : "set ") + to_.name + " " + name + "\n";
    return std::move(out_);
  }

 private:
  void rules(const std::string& name, const NftChain& chain) {
    auto before = from_.chains.find(name);
    if (before != from_.chains.end()) {
      if (before->second.rules == chain.rules) return;
      out_ += "flush chain " + to_.name + " " + name + "\n";
    }
    for (auto& r : chain.rules) out_ += "add rule " + to_.name + " " + name + " " + r + "\n";
  }

  void elements(const std::string& name, const std::map<std::string, std::string>& before, const std::map<std::string, std::string>& after) {
    std::map<std::string, std::string> gone, fresh;
    for (auto& [key, value] : before) {
      auto it = after.find(key);
      if (it == after.end() || it->second != value) gone[key] = value;
    }
    for (auto& [key, value] : after) {
      auto it = before.find(key);
      if (it == before.end() || it->second != value) fresh[key] = value;
    }
    if (!gone.empty()) out_ += "delete element " + to_.name + " " + name + " " + list(gone, false) + "\n";
    if (!fresh.empty()) out_ += "add element " + to_.name + " " + name + " " + list(fresh, true) + "\n";
  }

  const NftTable& from_;
  const NftTable& to_;
  std::string out_;
};

}  // namespace

std::string replace_text(const NftTable& table) {
  NftTable empty;
  empty.name = table.name;
  return "add table " + table.name + "\ndelete table " + table.name + "\nadd table " + table.name + "\n" + change_text(empty, table);
}

std::string change_text(const NftTable& from, const NftTable& to) { return Change(from, to).text(); }

}  // namespace caravel::vpc
