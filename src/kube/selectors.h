// Label and field selectors, in text and as LabelSelector objects. What parsing says about bad texts is upstream's.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::kube {

namespace meta {
struct LabelSelector;
}

// Labels of an object, or values of its fields.
using Pairs = std::vector<std::pair<std::string, std::string>>;
const std::string* find_pair(const Pairs& pairs, std::string_view key);

class LabelSelector {
 public:
  enum class Op { kIn,
                  kNotIn,
                  kExists,
                  kDoesNotExist,
                  kGreater,
                  kLess };
  struct Requirement {
    std::string key;
    Op op = Op::kExists;
    std::vector<std::string> values;
  };
  LabelSelector() = default;  // selects everything
  // "app=web,tier in (a,b),!x,y!=z,n>3"
  static Result<LabelSelector> parse(std::string_view text);
  static Result<LabelSelector> from(const meta::LabelSelector& selector);
  static Result<LabelSelector> from_json(const json::Value& selector);  // {matchLabels, matchExpressions}
  static LabelSelector from_map(const std::map<std::string, std::string>& labels);
  static LabelSelector nothing();

  bool matches(const std::map<std::string, std::string>& labels) const;
  bool matches(const json::Value& labels) const;  // an object of strings
  bool matches(const Pairs& labels) const;
  bool empty() const { return requirements_.empty() && !nothing_; }
  const std::vector<Requirement>& requirements() const { return requirements_; }
  std::string text() const;

 private:
  template <class Lookup>
  bool matches_with(Lookup find) const;
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

class FieldSelector {
 public:
  struct Term {
    std::string field, value;
    bool equal = true;
  };
  static Result<FieldSelector> parse(std::string_view text);  // "spec.nodeName=n1,status.phase!=Failed"
  bool matches(const json::Value& object) const;              // dotted paths of the object
  const std::vector<Term>& terms() const { return terms_; }
  std::vector<Term>& terms() { return terms_; }
  bool empty() const { return terms_.empty(); }
  // The value that this field must have, or null.
  const std::string* exact(std::string_view field) const;

 private:
  std::vector<Term> terms_;
};

}  // namespace caravel::kube
