// CEL as a table: an expression, its variables as JSON, what it gives. Errors of evaluation are told after
// "!", those of compilation after "?" (the sentence only).
#include <gtest/gtest.h>

#include "base/strings.h"
#include "kube/cel/ast.h"
#include "kube/cel/program.h"

namespace caravel::kube::cel {
namespace {

struct Case {
  const char* expression;
  const char* gives;
  const char* variables = "{}";
};

std::string outcome(const Case& c) {
  auto parsed = json::parse(c.variables);
  if (!parsed.ok()) return "bad variables";
  Environment env;
  std::vector<Variable> variables;
  for (auto& m : parsed->as_object()) {
    env.variables.emplace_back(m.key, simple_type(Type::Kind::kDyn));
    variables.push_back({m.key, from_json(m.value)});
  }
  auto p = Program::compile(c.expression, env);
  if (!p.ok()) {
    std::string m = p.error().message.substr(0, p.error().message.find('\n'));
    return "?" + m.substr(m.find(": ", m.find("<input>")) + 2);
  }
  Budget budget;
  auto r = p->run(variables, budget);
  return r.ok() ? json::dump(to_json(*r)) : "!" + r.error().message;
}

class Table : public testing::TestWithParam<Case> {};
TEST_P(Table, Gives) { EXPECT_EQ(outcome(GetParam()), GetParam().gives) << GetParam().expression << " with " << GetParam().variables; }

INSTANTIATE_TEST_SUITE_P(Arithmetic, Table, testing::Values(Case{"1 + 2 * 3", "7"}, Case{"(1 + 2) * 3", "9"}, Case{"7 / 2", "3"}, Case{"-7 % 3", "-1"}, Case{"7.0 / 2.0", "3.5"}, Case{"-x", "-4", R"({"x":4})"}, Case{"9223372036854775807 + 1", "!integer overflow"}, Case{"-9223372036854775808 - 1", "!integer overflow"}, Case{"x * 2", "!integer overflow", R"({"x":9223372036854775807})"}, Case{"1 / 0", "!division by zero"}, Case{"1 % 0", "!modulus by zero"}, Case{"0u - 1u", "!unsigned integer overflow"}, Case{"0x10", "16"}, Case{"1e3", "1000"}, Case{"1 + 1.0", "?found no matching overload for '_+_' applied to '(int, double)'"}, Case{"x + 1.0", "!no such overload", R"({"x":1})"}, Case{"99999999999999999999", "?invalid int literal"}));
INSTANTIATE_TEST_SUITE_P(Comparison, Table, testing::Values(Case{"1 < 2.5", "true"}, Case{"x == 1.0", "true", R"({"x":1})"}, Case{"2u > 1", "true"}, Case{"'a' < 'b'", "true"}, Case{"[1,2] == [1,2]", "true"}, Case{"[1,2] == [2,1]", "false"}, Case{"{'a':1} == {'a':1}", "true"}, Case{"x == 'a'", "false", R"({"x":1})"}, Case{"x < 'a'", "!no such overload", R"({"x":1})"}, Case{"x != null", "false", R"({"x":null})"}, Case{"9223372036854775807 < x", "true", R"({"x":9223372036854775808.0})"}, Case{"1 == 'a'", "?found no matching overload for '_==_' applied to '(int, string)'"}));
INSTANTIATE_TEST_SUITE_P(Logic, Table, testing::Values(Case{"true && false || true", "true"}, Case{"!true", "false"}, Case{"!!true", "true"}, Case{"1/0 == 1 || true", "true"}, Case{"true || 1/0 == 1", "true"}, Case{"1/0 == 1 && false", "false"}, Case{"1/0 == 1 && true", "!division by zero"}, Case{"x ? 1 : 2", "2", R"({"x":false})"}, Case{"x ? 1 : 2", "!no such overload", R"({"x":"y"})"}, Case{"true ? 1/0 : 2", "!division by zero"}, Case{"false ? 1/0 : 2", "2"}));
INSTANTIATE_TEST_SUITE_P(ListsAndMaps, Table, testing::Values(Case{"[1,2,3][1]", "2"}, Case{"[1][1]", "!index out of bounds: 1"}, Case{"{'a':1}.a", "1"}, Case{"{'a':1}['b']", "!no such key: b"}, Case{"x.y.z", "!no such key: z", R"({"x":{"y":{}}})"}, Case{"2 in [1,2]", "true"}, Case{"'b' in {'a':1}", "false"}, Case{"[1]+[2]", "[1,2]"}, Case{"size([1,2]) + {'a':1}.size()", "3"}, Case{"has(x.a) && !has(x.b)", "true", R"({"x":{"a":1}})"}, Case{"{'a':1,'a':2}", "!Failed with repeated key"}, Case{"[1,2,].size()", "2"}, Case{"has(x)", "?invalid argument to has() macro", R"({"x":1})"}));
INSTANTIATE_TEST_SUITE_P(Macros, Table, testing::Values(Case{"[1,2].all(i, i > 0)", "true"}, Case{"[1,2].exists(i, i > 1)", "true"}, Case{"[1,1].exists_one(i, i == 1)", "false"}, Case{"[1,2].map(i, i * 2)", "[2,4]"}, Case{"[1,2,3].map(i, i > 1, i * 2)", "[4,6]"}, Case{"[1,2,3].filter(i, i != 2)", "[1,3]"}, Case{"{'a':1,'b':2}.all(k, k != 'c')", "true"}, Case{"[].all(i, false)", "true"}, Case{"[0,1].exists(i, 1 / i == 1)", "true"}, Case{"[0,1].all(i, 1 / i == 1)", "!division by zero"}, Case{"[1,2].all(i, j, i < j)", "true"}, Case{"[5,6].transformList(i, v, i + v)", "[5,7]"}, Case{"{'a':1}.transformMap(k, v, v + 1)", R"({"a":2})"}, Case{"[[1],[2,3]].all(l, l.exists(i, i > 0))", "true"}, Case{"{'a':'x','b':'y'}.transformMapEntry(k, v, {v: k})", R"({"x":"a","y":"b"})"}, Case{"[1,2,3].transformMapEntry(i, v, v > 1, {v: i})", R"({"2":1,"3":2})"}, Case{"{'a':'x','b':'x'}.transformMapEntry(k, v, {v: k})", "!insert failed: key x already exists"}, Case{"[1].transformMapEntry(i, v, v)", "?found no matching overload for 'cel.@mapInsert' applied to '(map(dyn, dyn), int)'"}, Case{"[1].all(i, i, true)", "?duplicate variable name: i"}, Case{"[{'n':3,'s':'c'},{'n':1,'s':'a'}].sortBy(x, x.n).map(x, x.s)", R"(["a","c"])"}, Case{"['bb','a'].sortBy(s, s.size())", R"(["a","bb"])"}, Case{"[1].sortBy(x, [x])", "?found no matching overload for '@sortByAssociatedKeys' applied to 'list(int).(list(list(int)))'"}, Case{"'a'.sortBy(x, x)", "?sortBy can only be applied to a list, identifier, comprehension, call or select expression"}, Case{"[1].map(1, 2)", "?argument must be a simple name"}, Case{"(1).all(i, true)", "?expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"}));
INSTANTIATE_TEST_SUITE_P(Texts, Table, testing::Values(Case{"'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.contains('b')", "true"}, Case{"'abc'.matches('^a.c$')", "true"}, Case{"'aßc'.size()", "3"}, Case{R"("a\u00dfc".charAt(1))", "\"ß\""}, Case{"'a-b-c'.split('-')", R"(["a","b","c"])"}, Case{"'a-b-c'.split('-', 2)", R"(["a","b-c"])"}, Case{"['a','b'].join('/')", "\"a/b\""}, Case{"'aaa'.replace('a','b',2)", "\"bba\""}, Case{"'abc'.replace('','-')", "\"-a-b-c-\""}, Case{"' x '.trim()", "\"x\""}, Case{"'abcd'.substring(1,3)", "\"bc\""}, Case{"'abc'.substring(4)", "!index out of range: 4"}, Case{"'banana'.indexOf('an', 2)", "3"}, Case{"'banana'.lastIndexOf('an')", "3"}, Case{"'AbC'.lowerAscii() + 'x'.upperAscii()", "\"abcX\""}, Case{"'%s is %d, %.2f, %x'.format(['a', 5, 1.5, 255])", "\"a is 5, 1.50, ff\""}, Case{"'%d'.format(['a'])", "!error during formatting: no formatting function for %d with a value of type string"}, Case{"r'\\d' == '\\\\d'", "true"}, Case{"'''a'b'''", "\"a'b\""}, Case{"'a12b3'.findAll('[0-9]+')", R"(["12","3"])"}, Case{"'a12b3'.find('[0-9]+')", "\"12\""}, Case{"'a'.matches('(')", "?invalid matches argument"}, Case{"'a'.matches(x)", "!error parsing regexp: missing ): (", R"({"x":"("})"}, Case{"duration('1x') > duration('1s')", "?invalid duration argument"}, Case{"timestamp('today') == timestamp('2026-01-01T00:00:00Z')", "?invalid timestamp argument"}, Case{"'abc", "?Syntax error: token recognition error at: ''abc'"}, Case{"'a'.startsWith(1)", "?found no matching overload for 'startsWith' applied to 'string.(int)'"}));
INSTANTIATE_TEST_SUITE_P(Conversions, Table, testing::Values(Case{"int('12') + int(2.9)", "14"}, Case{"string(12) + string(true) + string(1.5)", "\"12true1.5\""}, Case{"int(1e30)", "!integer overflow"}, Case{"type(1) == int", "true"}, Case{"duration('1h30m').getMinutes()", "90"}, Case{"timestamp('2026-01-02T03:04:05Z').getFullYear()", "2026"}, Case{"timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('24h')", "true"}, Case{"string(duration('90s'))", "\"90s\""}, Case{"bytes('ab') == b'ab'", "true"}, Case{"int('x')", "!strconv.ParseInt: parsing \"x\": invalid syntax"}));
INSTANTIATE_TEST_SUITE_P(Optionals, Table, testing::Values(Case{"x.?a.orValue(5)", "5", R"({"x":{}})"}, Case{"x.?a.b.orValue(5)", "7", R"({"x":{"a":{"b":7}}})"}, Case{"x[?'a'].hasValue()", "false", R"({"x":{}})"}, Case{"optional.of(1).optMap(v, v + 1).value()", "2"}, Case{"optional.none().value()", "!optional.none() dereference"}, Case{"[?optional.none(), 1]", "[1]"}, Case{"optional.none().or(optional.of(3)).value()", "3"}));
INSTANTIATE_TEST_SUITE_P(Kubernetes, Table, testing::Values(Case{"[1,2,2].isSorted() && ![2,1].isSorted()", "true"}, Case{"[1,2].sum() + [4,3].max() - [4,3].min()", "4"}, Case{"[].max()", "!max called on empty list"}, Case{"['a','b'].indexOf('b')", "1"}, Case{"quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('500m').add(quantity('500m')).compareTo(quantity('1')) == 0", "true"}, Case{"isQuantity('x')", "false"}, Case{"url('https://a.io:8080/p q?x=1&x=2').getPort() + url('https://a.io/p?x=1').getHostname()", "\"8080a.io\""}, Case{"url('https://a.io/p?x=1&x=2').getQuery()", R"({"x":["1","2"]})"}, Case{"isURL('../x')", "false"}, Case{"cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))", "true"}, Case{"ip('::1').isLoopback() && ip('::1').family() == 6", "true"}, Case{"cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"}, Case{"isIP('1.2.3')", "false"}, Case{"sets.contains([1,2,3],[3,1]) && !sets.contains([1],[1,2]) && sets.contains([],[])", "true"}, Case{"sets.equivalent([1,2,2],[2,1]) && sets.intersects([1,2],[2,3]) && !sets.intersects([1],[])", "true"}, Case{"[3,1,3,2].distinct()", "[3,1,2]"}, Case{"[3,1,2].sort() == [1,2,3] && ['b','a'].sort().reverse() == ['b','a']", "true"}, Case{"[1,'a'].sort()", "!list elements must have the same type"}, Case{"lists.range(3)", "[0,1,2]"}, Case{"[[1,[2]],[3]].flatten()", "[1,[2],3]"}, Case{"[[1,[2,[3]]]].flatten(2)", "[1,2,[3]]"}, Case{"[[1]].flatten(-1)", "!level must be non-negative"}, Case{"[1].flatten()", "?found no matching overload for 'flatten' applied to 'list(int).()'"}, Case{"[[1],[2]].sort()", "?found no matching overload for 'sort' applied to 'list(list(int)).()'"}, Case{"semver('1.0.0') == 'x'", "?found no matching overload for '_==_' applied to '(kubernetes.Semver, string)'"}, Case{"semver('1.0.0').isLessThan('x')", "?found no matching overload for 'isLessThan' applied to 'kubernetes.Semver.(string)'"}, Case{"format.dns1123Label().validate('x').value() == 1", "?found no matching overload for '_==_' applied to '(list(string), int)'"}, Case{"url('https://a/?b=c').getQuery() == 1", "?found no matching overload for '_==_' applied to '(map(string, list(string)), int)'"}, Case{"semver('1.2.3').major() + semver('1.2.3').minor() + semver('1.2.3').patch()", "6"}, Case{"semver('1.0.0-rc.2').isLessThan(semver('1.0.0-rc.10')) && semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1')) && semver('1.0.0') == semver('1.0.0+b')", "true"}, Case{"semver('1.0.0-1').compareTo(semver('1.0.0-a'))", "-1"}, Case{"isSemver('v1.2') || isSemver('01.0.0') || isSemver('1.0')", "false"}, Case{"isSemver('v01.2', true) && semver('v1.2', true) == semver('1.2.0')", "true"}, Case{"semver('1.x.0')", "!Invalid character(s) found in minor number \"x\""}, Case{"format.dns1123Label().validate('ok').hasValue()", "false"}, Case{"['a'].all(format, format.startsWith('a')) && [[1]].all(lists, lists.size() == 1) && ['b'].exists(sets, sets.startsWith('b'))", "true"}, Case{"format.uri().validate('https://a.io/p?x=1').hasValue() || format.uri().validate('/p').hasValue()", "false"}, Case{"format.uri().validate('not a uri').value()", R"(["parse \"not a uri\": invalid URI for request"])"}, Case{"format.uri().validate('').value()", R"(["parse \"\": empty url"])"}, Case{"url('not a uri')", "!URL parse error during conversion from string: parse \"not a uri\": invalid URI for request"}, Case{"format.named('uuid').value().validate('x').value()", R"(["does not match the UUID format"])"}, Case{"format.named('none').hasValue() || format.dns1123LabelPrefix().validate('a-').hasValue()", "false"}, Case{"format.labelValue().validate('-').hasValue() && format.date().validate('2026-13-01').hasValue()", "true"}, Case{"[1,2].first().orValue(0) + [1,2].last().orValue(0) + [1].filter(x, x > 1).first().orValue(7)", "10"}, Case{"ip.isCanonical('2001:DB8::1')", "false"}));
INSTANTIATE_TEST_SUITE_P(Refused, Table, testing::Values(Case{"y", "?undeclared reference to 'y' (in container '')"}, Case{"nope(1)", "?undeclared reference to 'nope' (in container '')"}, Case{"1 +", "?Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"}, Case{"a b", "?Syntax error: extraneous input 'b' expecting <EOF>", R"({"a":1})"}, Case{"a b c", "?Syntax error: mismatched input 'b' expecting <EOF>", R"({"a":1})"}, Case{"[1,2", "?Syntax error: mismatched input '<EOF>' expecting {']', ','}"}, Case{"(1", "?Syntax error: missing ')' at '<EOF>'"}, Case{"a..b", "?Syntax error: no viable alternative at input '..'", R"({"a":1})"}, Case{"true ? 1", "?Syntax error: mismatched input '<EOF>' expecting ':'"}, Case{"a.`b`", "?unsupported syntax: '`'", R"({"a":1})"}, Case{"cel.bind(x, 2, x)", "?undeclared reference to 'cel' (in container '')"}, Case{"['a'].sum()", "?found no matching overload for 'sum' applied to 'list(string).()'"}, Case{"if", "?reserved identifier: if"}, Case{"1 && true", "?found no matching overload for '_&&_' applied to '(int, bool)'"}, Case{"x.all(i, y)", "?undeclared reference to 'y' (in container '')", R"({"x":[]})"}));

TEST(Cel, ErrorsPointAtTheirPlace) {
  Environment env;
  auto self = std::make_shared<Type>();
  self->kind = Type::Kind::kObject;
  self->fields["n"] = simple_type(Type::Kind::kInt);
  env.variables = {{"self", self}};
  auto p = Program::compile("self.n > 1 &&\n  self.foo > 'a'", env);
  ASSERT_FALSE(p.ok());
  EXPECT_EQ(p.error().message, "ERROR: <input>:2:7: undefined field 'foo'\n |   self.foo > 'a'\n | ......^");
  EXPECT_EQ(Program::compile("self.n > 'a'", env).error().message,
            "ERROR: <input>:1:8: found no matching overload for '_>_' applied to '(int, string)'\n | self.n > 'a'\n | .......^");
}

TEST(Cel, SyntaxErrorsAreToldTogether) {
  Environment env;
  EXPECT_EQ(Program::compile("1 == 2 @ # 3", env).error().message,
            "ERROR: <input>:1:8: Syntax error: token recognition error at: '@'\n | 1 == 2 @ # 3\n | .......^\n"
            "ERROR: <input>:1:10: Syntax error: token recognition error at: '#'\n | 1 == 2 @ # 3\n | .........^\n"
            "ERROR: <input>:1:12: Syntax error: extraneous input '3' expecting <EOF>\n | 1 == 2 @ # 3\n | ...........^");
}

// What a macro's expansion does counts, as upstream has it; so does what functions read.
TEST(Cel, CostsAreUpstreams) {
  auto cost = [](const char* text) {
    Budget b;
    auto p = Program::compile(text, Environment());
    EXPECT_TRUE(p.ok()) << text;
    EXPECT_TRUE(p->run({}, b).ok()) << text;
    return b.spent;
  };
  EXPECT_EQ(cost("1 + 2 == 3"), 2);
  EXPECT_EQ(cost("[1, 2].all(x, x > 0)"), 10 + 2 * (3 + 2) + 1);
  EXPECT_EQ(cost("[1, 2].exists(x, x > 1)"), 10 + 2 * (4 + 2) + 1);
  EXPECT_EQ(cost("[1, 2].map(x, x)"), 10 + 10 + 1 + 2 * (12 + 1));
  EXPECT_EQ(cost("'0123456789a' == '0123456789a'"), 2);
  EXPECT_EQ(cost("sets.contains([1, 2, 3], [1, 2])"), 20 + 1 + 6);
  EXPECT_EQ(cost("[3, 1, 2].sort()"), 10 + 11 + 2 * 9);
  EXPECT_EQ(cost("lists.range(5)"), 16);
}

TEST(Cel, CostsAreBounded) {
  Environment env;
  std::vector<Variable> variables;
  auto p = Program::compile("[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a+b+c+d+e+f > 0))))))", env);
  ASSERT_TRUE(p.ok()) << p.error().message;
  Budget budget;
  auto r = p->run(variables, budget);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "operation cancelled: actual cost limit exceeded");
  // Nothing makes an exceeded limit good.
  auto q = Program::compile("[1,2].all(a, a > 0) || true", env);
  Budget small{3, 0};
  EXPECT_FALSE(q->run(variables, small).ok());
}

TEST(Cel, DepthIsBounded) {
  std::string deep(2000, '('), chain = "1";
  EXPECT_FALSE(parse_expression(deep + "1" + std::string(2000, ')')).ok());
  for (int i = 0; i < 2000; ++i) chain += "+1";
  EXPECT_FALSE(parse_expression(chain).ok());
  std::string flat = "true";
  for (int i = 0; i < 2000; ++i) flat += " && true";
  EXPECT_TRUE(parse_expression(flat).ok());
  EXPECT_FALSE(parse_expression(std::string(5000, '[')).ok());
}

// Any bytes are an expression or an error, never a crash.
TEST(Cel, NonsenseIsAnError) {
  const std::string pieces[] = {"self", ".", "?", "[", "]", "(", ")", "{", "}", "has", "1", "'a'", "in", "&&", "!", "-", ":", ",", "all", "map", "x", "\\", "\"", "0x", "`", "\xff", "optional", "cel.bind"};
  uint64_t seed = 42;
  auto next = [&] { return (seed = seed * 6364136223846793005ull + 1442695040888963407ull) >> 33; };
  Environment env;
  env.variables = {{"self", nullptr}};
  std::vector<Variable> variables = {{"self", from_json(json::Value::array({1, "a"}))}};
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (uint64_t n = next() % 9; n-- > 0;) text += pieces[next() % std::size(pieces)];
    auto p = Program::compile(text, env);
    Budget budget;
    if (p.ok()) (void)p->run(variables, budget);
    else EXPECT_FALSE(p.error().message.empty());
  }
}

TEST(Structures, AreMadeOnlyWhereMutationsAre) {
  Environment env;
  EXPECT_NE(Program::compile("Object{a: 1}", env).error().message.find("undeclared reference to 'Object'"), std::string::npos);
  env.mutations = true;
  auto p = Program::compile("Object{spec: Object.spec{?no: optional.none(), yes: [1]}}", env);
  ASSERT_TRUE(p.ok()) << p.error().message;
  EXPECT_EQ(p->type().name, "Object");
  Budget budget;
  EXPECT_EQ(json::dump(to_json(*p->run({}, budget))), R"({"spec":{"yes":[1]}})");
  EXPECT_FALSE(Program::compile("JSONPatch{operation: 'add'}", env).ok());
  EXPECT_EQ(json::dump(to_json(*Program::compile("jsonpatch.escapeKey('a/b~')", env)->run({}, budget))), R"("a~1b~0")");
}

}  // namespace
}  // namespace caravel::kube::cel
