// Tokens of CEL.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kube/cel/value.h"

namespace caravel::kube::cel {

struct Token {
  enum class Kind { kEnd,
                    kIdent,
                    kQuotedIdent,
                    kInt,
                    kUint,
                    kDouble,
                    kString,
                    kBytes,
                    kSymbol };
  Kind kind = Kind::kEnd;
  size_t at = 0;
  std::string text;  // as written; of strings and bytes their content
};

// An error's message is a sentence; `at` is where.
struct LexError {
  size_t at = 0;
  std::string message;
};
// What is no token is left out and told.
void tokenize(std::string_view text, std::vector<Token>& out, std::vector<LexError>& errors);

}  // namespace caravel::kube::cel
