// Functions and operators of CEL and of Kubernetes' libraries: one table for the checker and the evaluator.
//
// A signature is the result and the arguments, one letter each:
//   b bool, i int, u uint, d double, s string, y bytes, n null, D duration, T timestamp, t type, * dyn,
//   A any type (the same at every A), L list(A), S list(string), M map(B, A), O optional(A),
//   Q quantity, U url, P ip, C cidr, V semantic version, F format,
//   N list(list(A)), E list of what has an order, H of what can be summed; of results also o optional(list(string)), f optional(F),
//   q map(string, list(string)), I list(int)
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kube/cel/value.h"

namespace caravel::kube::cel {

using Arguments = std::span<const Value>;

inline constexpr int64_t kRangeMax = 1'000'000;  // items of a list that lists.range may make

struct Function {
  const char* name;
  bool member;  // called on its first argument
  const char* signature;
  Result<Value> (*run)(Arguments a);
};

// Overloads of a name, in the order of the tables; empty when there are none.
const std::vector<const Function*>& overloads(std::string_view name);
bool accepts(const Function& f, Arguments a);

std::span<const Function> operator_functions();
std::span<const Function> conversion_functions();
std::span<const Function> time_functions();
std::span<const Function> string_functions();
std::span<const Function> list_functions();
std::span<const Function> collection_functions();
std::span<const Function> semver_functions();
std::span<const Function> format_functions();
std::span<const Function> kubernetes_functions();
std::span<const Function> network_functions();

// As Go's url.ParseRequestURI, with its words: "parse \"x\": invalid URI for request".
Result<Url> parse_url(const std::string& text);

// RE2, compiled once per text; an error in RE2's words.
Result<bool> regex_matches(const std::string& text, const std::string& pattern);

}  // namespace caravel::kube::cel
