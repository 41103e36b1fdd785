// x-kubernetes-validations: a schema with rules, an object, what is said about it.
#include "kube/crd_rules.h"

#include <gtest/gtest.h>

namespace caravel::kube {
namespace {

using json::Value;

Value parsed(const std::string& text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v.ok()) << text;
  return v.ok() ? *v : Value();
}
std::string told(const FieldErrors& errors) {
  std::string out;
  for (auto& e : errors) out += (out.empty() ? "" : "; ") + e.text();
  return out;
}
std::string compiled(const std::string& schema) {
  FieldErrors errors;
  CrdRules::make(parsed(schema), FieldPath("s"), errors);
  return told(errors);
}
std::string validated(const std::string& schema, const std::string& object, const std::string& old = "") {
  FieldErrors errors;
  auto rules = CrdRules::make(parsed(schema), FieldPath("s"), errors);
  EXPECT_EQ(told(errors), "") << schema;
  if (!rules) return "no rules";
  Value before = old.empty() ? Value() : parsed(old);
  rules->validate(parsed(object), old.empty() ? nullptr : &before, errors);
  return told(errors);
}
// A schema with one property "spec" of this schema and these rules.
std::string spec(const std::string& rules, const std::string& properties) {
  return R"({"type":"object","properties":{"spec":{"type":"object","properties":{)" + properties + R"(},"x-kubernetes-validations":[)" + rules + "]}}}";
}
const std::string kCounts = R"("a":{"type":"integer"},"b":{"type":"integer"},"t":{"type":"string"})";

TEST(CrdRules, AFailedRuleIsToldAtItsPlace) {
  EXPECT_EQ(validated(spec(R"~({"rule":"self.a <= self.b"})~", kCounts), R"~({"spec":{"a":1,"b":2}})~"), "");
  EXPECT_EQ(validated(spec(R"~({"rule":"self.a <= self.b"})~", kCounts), R"~({"spec":{"a":3,"b":2}})~"), R"~(spec: Invalid value: "object": failed rule: self.a <= self.b)~");
  EXPECT_EQ(validated(spec(R"~({"rule":"self.a <= self.b","message":" a is too much "})~", kCounts), R"~({"spec":{"a":3,"b":2}})~"), R"~(spec: Invalid value: "object": a is too much)~");
  EXPECT_EQ(validated(spec(R"~({"rule":"self.a <= self.b","messageExpression":"'%d > %d'.format([self.a, self.b])"})~", kCounts), R"~({"spec":{"a":3,"b":2}})~"), R"~(spec: Invalid value: "object": 3 > 2)~");
  EXPECT_EQ(validated(spec(R"~({"rule":"self.a <= self.b","message":"m","messageExpression":"string(1/(self.a - 3))"})~", kCounts), R"~({"spec":{"a":3,"b":2}})~"), R"~(spec: Invalid value: "object": m)~");
  EXPECT_EQ(validated(spec(R"~({"rule":"has(self.t)","reason":"FieldValueRequired","fieldPath":".t","message":"t is needed"})~", kCounts), R"~({"spec":{}})~"), "spec.t: Required value: t is needed");
  EXPECT_EQ(validated(R"~({"type":"object","x-kubernetes-validations":[{"rule":"self.metadata.name.startsWith('a')"}]})~", R"~({"metadata":{"name":"b"}})~"),
            R"(<nil>: Invalid value: "object": failed rule: self.metadata.name.startsWith('a'))");
}

TEST(CrdRules, EvaluationErrorsAreTold) {
  EXPECT_EQ(validated(spec(R"({"rule":"self.a <= self.b"})", kCounts), R"({"spec":{"a":3}})"), R"(spec: Invalid value: "object": no such key: b evaluating rule: self.a <= self.b)");
  EXPECT_EQ(validated(spec(R"({"rule":"self.p > 1"})", R"("p":{"x-kubernetes-int-or-string":true})"), R"({"spec":{"p":"x"}})"),
            R"(spec: Invalid value: "object": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.p > 1)");
}

TEST(CrdRules, TransitionRulesCompareWithTheOldValue) {
  std::string s = spec(R"({"rule":"self.a >= oldSelf.a"})", kCounts);
  EXPECT_EQ(validated(s, R"({"spec":{"a":1}})"), "");
  EXPECT_EQ(validated(s, R"({"spec":{"a":1}})", R"({"spec":{"a":2}})"), R"(spec: Invalid value: "object": failed rule: self.a >= oldSelf.a)");
  std::string o = spec(R"({"rule":"oldSelf.hasValue() || self.a == 0","optionalOldSelf":true})", kCounts);
  EXPECT_EQ(validated(o, R"({"spec":{"a":1}})"), R"(spec: Invalid value: "object": failed rule: oldSelf.hasValue() || self.a == 0)");
  EXPECT_EQ(validated(o, R"({"spec":{"a":1}})", R"({"spec":{"a":0}})"), "");
  // Items of lists that are maps by key have old counterparts, others do not.
  std::string list = R"({"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object",
    "properties":{"k":{"type":"string"},"v":{"type":"integer"}},"x-kubernetes-validations":[{"rule":"self.v >= oldSelf.v"}]}}}})";
  EXPECT_EQ(validated(list, R"({"l":[{"k":"y","v":1},{"k":"x","v":1}]})", R"({"l":[{"k":"x","v":2}]})"), R"(l[1]: Invalid value: "object": failed rule: self.v >= oldSelf.v)");
  EXPECT_EQ(compiled(R"({"type":"object","properties":{"l":{"type":"array","items":{"type":"integer","x-kubernetes-validations":[{"rule":"self >= oldSelf"}]}}}})"),
            R"(s.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: "self >= oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[l])");
}

TEST(CrdRules, WhatAnUpdateLeftAsItWasIsNotRefused) {
  std::string s = spec(R"({"rule":"self.a <= self.b"})", kCounts);
  EXPECT_EQ(validated(s, R"({"spec":{"a":3,"b":2},"x":1})", R"({"spec":{"a":3,"b":2}})"), "");
  EXPECT_NE(validated(s, R"({"spec":{"a":4,"b":2}})", R"({"spec":{"a":3,"b":2}})"), "");
}

TEST(CrdRules, ValuesHaveTheTypesOfTheSchema) {
  auto fails = [](const char* rule, const std::string& properties, const std::string& object) { return validated(spec(std::string(R"({"rule":")") + rule + "\"}", properties), R"({"spec":)" + object + "}"); };
  EXPECT_EQ(fails("self.d < duration('2h') && self.t > timestamp('2020-01-01T00:00:00Z')", R"("d":{"type":"string","format":"duration"},"t":{"type":"string","format":"date-time"})", R"({"d":"90m","t":"2026-01-01T00:00:00Z"})"), "");
  EXPECT_EQ(fails("self.n * 2.0 == 2.0", R"("n":{"type":"number"})", R"({"n":1})"), "");
  EXPECT_EQ(fails("self.foo__dash__bar == 1 && self.__namespace__ == 'x'", R"("foo-bar":{"type":"integer"},"namespace":{"type":"string"})", R"({"foo-bar":1,"namespace":"x"})"), "");
  EXPECT_EQ(fails("self.m.all(k, self.m[k] > 0) && 'a' in self.m", R"("m":{"type":"object","additionalProperties":{"type":"integer"}})", R"({"m":{"a":1}})"), "");
  EXPECT_EQ(fails("self.s == ['b','a']", R"("s":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}})", R"({"s":["a","b"]})"), "");
  EXPECT_EQ(fails("!has(self.o)", R"("o":{"type":"string"})", R"({"o":null})"), "");
}

TEST(CrdRules, WrongRulesAreRefused) {
  auto rule = [](const std::string& r) { return compiled(spec(r, kCounts)); };
  const std::string at = "s.properties[spec].x-kubernetes-validations[0]";
  EXPECT_EQ(rule(R"({"rule":" "})"), at + ".rule: Required value: rule is not specified");
  EXPECT_EQ(rule(R"({"rule":"self.a"})"), at + R"(.rule: Invalid value: {"Rule":"self.a","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: cel expression must evaluate to a bool)");
  EXPECT_NE(rule(R"({"rule":"self.a > 'x'"})").find("compilation failed: ERROR: <input>:1:8: found no matching overload for '_>_' applied to '(int, string)'"), std::string::npos);
  EXPECT_NE(rule(R"~({"rule":"has(self.x)"})~").find("ERROR: <input>:1:4: undefined field 'x'"), std::string::npos);
  EXPECT_NE(rule(R"({"rule":"true","messageExpression":"1"})").find(".messageExpression: Invalid value: "), std::string::npos);
  EXPECT_EQ(rule(R"({"rule":"true","message":"a\nb"})"), at + R"(.message: Invalid value: "a\nb": must not contain line breaks)");
  EXPECT_EQ(rule(R"({"rule":"true","reason":"Nope"})"), at + R"(.reason: Unsupported value: "Nope": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")");
  EXPECT_EQ(rule(R"({"rule":"true","fieldPath":".nope"})"), at + R"(.fieldPath: Invalid value: ".nope": must be a valid path)");
  EXPECT_EQ(rule(R"({"rule":"true","optionalOldSelf":true})"), at + ".optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule");
}

// Rules of the kinds that well-known CRDs hold.
TEST(CrdRules, UsualRulesAreAccepted) {
  const std::string properties = R"("list":{"type":"array","maxItems":100,"items":{"type":"object","properties":{"key":{"type":"string","maxLength":316},"operator":{"type":"string"},"values":{"type":"array","maxItems":50,"items":{"type":"string","maxLength":63}},
      "port":{"type":"integer","format":"int32"},"minValues":{"type":"integer"}}}},"limits":{"type":"object","maxProperties":100,"additionalProperties":{"x-kubernetes-int-or-string":true,"maxLength":20}},
      "terms":{"type":"array","maxItems":30,"items":{"type":"object","properties":{"id":{"type":"string"},"name":{"type":"string"},"tags":{"type":"object","maxProperties":20,"additionalProperties":{"type":"string"}}}}},
      "labels":{"type":"object","additionalProperties":{"type":"string"}},"type":{"type":"string"},"role":{"type":"string"},"count":{"type":"integer"},"expire":{"type":"string"},"quantity":{"x-kubernetes-int-or-string":true})";
  for (std::string r : {
           R"(self.list.all(x, x.operator == 'In' ? x.values.size() != 0 : true))",
           R"(self.list.all(x, (x.operator == 'Gt' || x.operator == 'Lt') ? (x.values.size() == 1 && int(x.values[0]) >= 0) : true))",
           R"(self.list.all(x, x.key in ['a.io/b', 'c.io/d'] || !x.key.find('^([^/]+)').endsWith('k8s.io')))",
           R"(self.labels.all(x, x != 'kubernetes.io/hostname'))",
           R"(self.terms.all(x, has(x.tags) || has(x.id) || has(x.name)))",
           R"(!self.terms.exists(x, has(x.id) && (has(x.tags) || has(x.name))))",
           R"(self.terms.all(t, !has(t.tags) || t.tags.all(k, k != '' && t.tags[k] != '')))",
           R"(self.list.all(l1, self.list.exists_one(l2, l1.key == l2.key && (has(l1.port) && has(l2.port) ? l1.port == l2.port : !has(l1.port) && !has(l2.port)))))",
           R"(['a','b'].exists(x, self.type == x) && size(self.list) <= 16)",
           R"((has(self.role) && !has(self.type)) || (!has(self.role) && has(self.type)))",
           R"(self.count == oldSelf.count || self.count > 3)",
           R"(self.limits.all(k, quantity(string(self.limits[k])).isGreaterThan(quantity('0'))))",
           R"(duration(self.expire) >= duration('1h'))",
           R"(type(self.quantity) == int ? self.quantity > 0 : self.quantity.matches('^[0-9]+%$'))",
           R"(self.list.filter(x, has(x.port)).map(x, x.port).sum() < 10)",
           R"(!has(oldSelf.type) || has(self.type))",
           R"(self.?labels[?'a'].orValue('') == 'b' || true)"}) {
    std::string rule = json::dump(Value(r));
    EXPECT_EQ(compiled(spec("{\"rule\":" + rule + "}", properties)), "") << r;
  }
}

TEST(CrdRules, TheBudgetOfAnObjectEnds) {
  std::string items = "1";
  for (int i = 0; i < 2000; ++i) items += ",1";
  std::string s = R"~({"type":"object","properties":{"l":{"type":"array","items":{"type":"integer"},"x-kubernetes-validations":[{"rule":"self.all(x, self.all(y, x == y))","message":"m"}]}}})~";
  FieldErrors too_expensive, errors;  // such a rule can only have been stored by others
  auto rules = CrdRules::make(parsed(s), FieldPath("s"), too_expensive);
  ASSERT_TRUE(rules);
  rules->validate(parsed(R"({"l":[)" + items + "]}"), nullptr, errors);
  EXPECT_EQ(told(errors),
            R"(l: Invalid value: "array": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: m)");
}

// The factor by which a rule exceeds its budget, without what follows it.
std::string factor(const std::string& schema) {
  std::string text = compiled(schema), start = "exceeds budget by factor of ";
  size_t at = text.find(start);
  if (at == text.npos) return text;
  at += start.size();
  return text.substr(at, text.find(" (", at) - at);
}

TEST(CrdRules, WhatMayCostTooMuchIsRefused) {
  auto items = [](const std::string& bound, const std::string& schema, const std::string& rule) {
    return R"~({"type":"object","properties":{"x":{"type":"array")~" + bound + R"~(,"items":)~" + schema.substr(0, schema.size() - 1) + R"~(,"x-kubernetes-validations":[{"rule":")~" + rule + R"~("}]}}}})~";
  };
  const std::string texts = R"({"type":"array","items":{"type":"string"}})", few = R"({"type":"array","maxItems":10,"items":{"type":"string"}})";
  const std::string object = R"({"type":"object","properties":{"s":{"type":"string"},"t":{"type":"string","maxLength":5000},"n":{"type":"integer"},"m":{"type":"object","additionalProperties":{"type":"string"},"maxProperties":500}}})";
  EXPECT_EQ(compiled(items("", texts, "self.all(s, s == 'string constant')")),
            "s.properties[x].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared); "
            "s.properties[x].items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema; "
            "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)");
  EXPECT_EQ(factor(items(R"(,"maxItems":10)", few, "self.all(s, s == 'string constant')")), "");
  EXPECT_EQ(factor(items(R"(,"maxItems":200000)", few, "self.all(s, s == 'string constant')")), "1.240000x");
  EXPECT_EQ(factor(items("", few, "self.all(s, s == 'string constant')")), "6.5x");
  // A text of 5000 characters may have 20,000 bytes.
  EXPECT_EQ(factor(items(R"(,"maxItems":4986)", object, "self.s == self.t")), "");
  EXPECT_EQ(factor(items(R"(,"maxItems":7480)", object, "self.s == self.t")), "1.498992x");
  EXPECT_EQ(factor(items(R"(,"maxItems":2600)", object, "self.t.matches('^[a-z]+$')")), "1.041040x");
  EXPECT_EQ(factor(items(R"(,"maxItems":2000)", object, "self.m.all(k, k.size() > 5 && self.m[k] != 'b')")), "1.100600x");
  EXPECT_EQ(factor(items("", object, "self.n > 1")), "");
}

// An update that leaves a schema as it was is not refused for one rule.
TEST(CrdRules, OfUnchangedSchemasTheSumIsBounded) {
  const std::string schema = R"~({"type":"object","properties":{"x":{"type":"array","maxItems":200000,"items":{"type":"array","maxItems":10,"items":{"type":"string"},"x-kubernetes-validations":[{"rule":"self.all(s, s == 'string constant')"}]}}}})~";
  FieldErrors errors;
  CrdRules::make(parsed(schema), FieldPath("s"), errors, false);
  EXPECT_EQ(told(errors), "");
}

TEST(CrdRules, InvalidLiteralsAreFoundEarly) {
  EXPECT_NE(compiled(spec(R"~({"rule":"self.t.matches('(') && self.a < 1"})~", kCounts)).find("\\u0026\\u0026 self.a \\u003c 1"), std::string::npos);
  EXPECT_NE(compiled(spec(R"~({"rule":"self.t.matches('(')"})~", kCounts)).find("compilation failed: ERROR: <input>:1:16: invalid matches argument"), std::string::npos);
}

}  // namespace
}  // namespace caravel::kube
