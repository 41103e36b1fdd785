// An nftables table as data, and the text that turns one into another: thousands of interfaces change by
// set elements, not by reloading. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace caravel::vpc {

struct NftSet {
  bool map = false;
  std::string declaration;                      // "type ipv4_addr; flags interval;"
  std::map<std::string, std::string> elements;  // key -> value ("" in a set)
  bool operator==(const NftSet&) const = default;
};

struct NftChain {
  std::string hook;  // "type filter hook forward priority 0; policy drop;" or ""
  std::vector<std::string> rules;
  bool operator==(const NftChain&) const = default;
};

struct NftTable {
  std::string name;  // "inet vpc"
  std::map<std::string, NftSet> sets;
  std::map<std::string, NftChain> chains;
  bool operator==(const NftTable&) const = default;
};

// Replaces whatever stands under the table's name. One transaction.
std::string replace_text(const NftTable& table);
// From one state to another in one transaction; "" when they are equal.
std::string change_text(const NftTable& from, const NftTable& to);

}  // namespace caravel::vpc
