#include "kube/cel/program.h"

#include <algorithm>

#include "kube/cel/ast.h"
#include "kube/cel/cost.h"

namespace caravel::kube::cel {

namespace {
bool names(const Expr& e, std::string_view variable) {
  if (e.kind == Expr::Kind::kIdent && e.name == variable) return true;
  return std::any_of(e.args.begin(), e.args.end(), [&](const ExprPtr& a) { return names(*a, variable); });
}
}  // namespace

Result<Program> Program::compile(std::string_view text, const Environment& env) {
  TRY(ExprPtr expr, parse_expression(text));
  CheckedNodes nodes;
  TRY(TypePtr type, check(*expr, text, env, nodes));
  Program p;
  if (env.self) p.worst_cost_ = cel::worst_cost(*expr, nodes, *env.self);
  p.expr_ = std::move(expr);
  p.type_ = std::move(type);
  return p;
}

Result<Value> Program::run(const std::vector<Variable>& variables, Budget& budget) const { return evaluate(*expr_, variables, budget); }

bool Program::uses(std::string_view variable) const { return names(*expr_, variable); }

}  // namespace caravel::kube::cel
