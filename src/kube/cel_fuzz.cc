// CEL: expressions of strangers compile or do not, and end within their budget.
#include "base/fuzz.h"
#include "kube/cel/program.h"

using namespace caravel;
using namespace caravel::kube;

FUZZ(Cel, "self.a.all(x, x > 1 && x < 10)", "has(self.b) ? self.b.matches('^a+$') : true", "self.map(x, self.map(y, self.map(z, [x, y, z])))", "'a' + \"b\" + r'c' == size([1u, 2.5, null]).string()",
     "quantity('1Gi').isGreaterThan(quantity('1Mi'))", "url('https://a.b/c').getHost()", "duration('1h') < timestamp('2026-01-01T00:00:00Z') - timestamp('2025-01-01T00:00:00Z')", "{'a': [1, 2], 1: true}['a'][-1]", "optional.of(1).orValue(2) / 0 % 0",
     "'%s %d'.format(['x', 9223372036854775807 + 1])", "[3, 1].sortBy(x, -x)") {
  cel::Environment env;
  env.variables.emplace_back("self", cel::simple_type(cel::Type::Kind::kDyn));
  auto p = cel::Program::compile(input, env);
  if (!p.ok()) {
    EXPECT_FALSE(p.error().message.empty());
    return;
  }
  cel::Budget budget;
  budget.limit = 20'000;
  std::vector<cel::Variable> variables;
  variables.push_back({"self", cel::Value::list({cel::Value::integer(1), cel::Value::string("aaa"), cel::Value::number(0.5)})});
  (void)p->run(variables, budget).ok();
}
