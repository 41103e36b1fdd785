// A compiled CEL expression: parse, check, evaluate.
//
//   Environment env;
//   env.variables = {{"self", type}, {"oldSelf", type}};
//   TRY(Program p, Program::compile("self.replicas <= 10", env));
//   Budget budget;
//   Result<Value> r = p.run({{"self", value}}, budget);
//
// Checking is light: names, fields of objects whose schema is known, and the types of arguments as far as
// they are known; the rest is found at evaluation. An evaluation costs about what upstream counts (one per
// step, a tenth per character read) and stops at the budget's limit. Messages are upstream's.
// Threading: a Program is immutable; run() may be called from many threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "kube/cel/type.h"
#include "kube/cel/value.h"

namespace caravel::kube::cel {

constexpr int64_t kCostPerCall = 1'000'000;     // of one evaluation
constexpr int64_t kCostPerObject = 10'000'000;  // of all rules of one object

struct Expr;
struct ObjectSchema;

struct Environment {
  std::vector<std::pair<std::string, TypePtr>> variables;
  bool mutations = false;              // Object{...} and JSONPatch{...} may be made
  const ObjectSchema* self = nullptr;  // of the variable self: worst_cost() is wanted
};

struct Variable {
  std::string name;
  Value value;
};

struct Budget {
  int64_t limit = kCostPerCall;
  int64_t spent = 0;
};

class Program {
 public:
  // The error is "ERROR: <input>:line:column: ..." for each thing that is wrong, a line each with its mark.
  static Result<Program> compile(std::string_view text, const Environment& env);
  Result<Value> run(const std::vector<Variable>& variables, Budget& budget) const;
  const Type& type() const { return *type_; }
  const TypePtr& shared_type() const { return type_; }
  bool uses(std::string_view variable) const;
  // What one evaluation may cost at worst, by upstream's estimate; 0 without Environment::self.
  uint64_t worst_cost() const { return worst_cost_; }

 private:
  std::shared_ptr<const Expr> expr_;
  TypePtr type_;
  uint64_t worst_cost_ = 0;
};

// What Program is made of.
struct CheckedNode;
// `nodes` is filled.
Result<TypePtr> check(const Expr& expr, std::string_view text, const Environment& env, std::unordered_map<const Expr*, CheckedNode>& nodes);
Result<Value> evaluate(const Expr& expr, const std::vector<Variable>& variables, Budget& budget);

}  // namespace caravel::kube::cel
