// Command-line flags as a table: parsing, --help and the reference docs come from the same rows.
//   --name value, --name=value, --switch; unknown and repeated flags are errors with the nearest name.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caravel {

struct Flag {
  std::string name;         // without dashes: "data-dir"
  std::string placeholder;  // "DIR"; empty: a switch
  std::string help;
  std::string fallback = "";  // shown as the default
  bool repeated = false;      // may be given several times
};

class Flags {
 public:
  // args without the program and subcommand. Arguments that are no flags are kept in order.
  static Result<Flags> parse(const std::vector<Flag>& table, const std::vector<std::string>& args);
  bool given(std::string_view name) const;
  bool on(std::string_view name) const;          // a switch
  std::string get(std::string_view name) const;  // given value or the fallback
  std::vector<std::string> all(std::string_view name) const;
  Result<int64_t> get_int(std::string_view name) const;
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
  std::map<std::string, std::string, std::less<>> fallbacks_;
  std::vector<std::string> positional_;
};

// The flags as an aligned block for --help.
std::string describe_flags(const std::vector<Flag>& table);

}  // namespace caravel
