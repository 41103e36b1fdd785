// Label and field selectors of list and watch requests, parsed once and matched against the few strings
// that the watch cache keeps of each object.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caravel::apiserver {

using Pairs = std::vector<std::pair<std::string, std::string>>;
const std::string* find_pair(const Pairs& pairs, std::string_view key);

// "app=web,tier in (a,b),!x,y!=z,n>3"
class LabelSelector {
 public:
  static Result<LabelSelector> parse(std::string_view text);
  bool matches(const Pairs& labels) const;
  bool empty() const { return terms_.empty(); }

 private:
  class Parser;
  enum Op { kIn,
            kNotIn,
            kExists,
            kNotExists,
            kGreater,
            kLess };
  struct Term {
    std::string key;
    Op op = kExists;
    std::vector<std::string> values;
  };
  std::vector<Term> terms_;
};

// "spec.nodeName=n1,status.phase!=Failed"
class FieldSelector {
 public:
  struct Term {
    std::string field, value;
    bool equal = true;
  };
  static Result<FieldSelector> parse(std::string_view text);
  const std::vector<Term>& terms() const { return terms_; }
  std::vector<Term>& terms() { return terms_; }
  bool empty() const { return terms_.empty(); }
  // The value that this field must have, or null.
  const std::string* exact(std::string_view field) const;

 private:
  std::vector<Term> terms_;
};

bool valid_label_value(std::string_view v);
// [prefix/]name
bool valid_qualified_name(std::string_view v);

}  // namespace caravel::apiserver
