// Expressions as trees. Macros (has, all, exists, exists_one, map, filter, ...) are nodes of their own.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kube/cel/value.h"

namespace caravel::kube::cel {

constexpr size_t kMaxExpressionBytes = 100'000;
constexpr int kMaxDepth = 250;  // of nested expressions

struct Function;
struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  enum class Kind {
    kLiteral,
    kIdent,   // name
    kSelect,  // args[0].name; `optional`: .?name
    kHas,     // has(args[0].name)
    kCall,    // name(args); `member`: args[0] is the receiver. Operators are calls of "_+_", "_[_]", ...
    kAnd,     // of all args
    kOr,
    kIf,      // args[0] ? args[1] : args[2]
    kList,    // items; optional_items[i]: ?item
    kMap,     // key, value, key, value
    kStruct,  // name{field: value}: `variables` are the fields, args their values; optional_items[i]: ?field
    kMacro,   // name over args[0] with variables; args[1..] are its bodies
  };
  Kind kind = Kind::kLiteral;
  size_t at = 0;  // byte in the text that errors point to
  int depth = 1;
  std::string name;
  Value literal;
  bool member = false, optional = false;
  std::vector<std::string> variables;
  std::vector<bool> optional_items;
  std::vector<ExprPtr> args;
};

// An error has upstream's form: "ERROR: <input>:1:5: Syntax error: ...", the line, and a mark.
Result<ExprPtr> parse_expression(std::string_view text);
std::string error_at(std::string_view text, size_t at, std::string_view message);

}  // namespace caravel::kube::cel
