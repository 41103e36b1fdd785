// Selectors, quantities, JSONPaths: small languages in query strings and manifests.
#include "base/fuzz.h"
#include "kube/quantity.h"
#include "kube/selectors.h"
#include "kube/table.h"

using namespace caravel;

FUZZ(Selectors, "app=web,tier in (a,b),!x,y!=z,n>3", "a notin (b , c),d", "k8s.io/name==v", "spec.nodeName=n1,status.phase!=Failed", "a=b\\,c,d=e\\=f", "()", "x in ()") {
  std::string text(input);
  if (auto s = kube::LabelSelector::parse(text); s.ok()) {
    std::map<std::string, std::string> labels = {{"app", "web"}, {"tier", "a"}, {"n", "4"}, {"a", ""}};
    auto again = kube::LabelSelector::parse(s->text());
    ASSERT_TRUE(again.ok()) << s->text();
    EXPECT_EQ(again->text(), s->text());
    EXPECT_EQ(again->matches(labels), s->matches(labels)) << s->text();
  }
  json::Value object = json::Object{{"spec", json::Object{{"nodeName", "n1"}}}};
  if (auto f = kube::FieldSelector::parse(text); f.ok()) (void)f->matches(object);
}

FUZZ(Quantities, "100m", "1.5Gi", "2e3", "-0.000000001", "9223372036854775807", "12E", "1E3", "0.1u", "+5", "1n") {
  auto q = kube::Quantity::parse(input);
  if (!q.ok()) return;
  auto back = kube::Quantity::parse(q->text());
  ASSERT_TRUE(back.ok()) << q->text();
  EXPECT_EQ(*back, *q) << q->text();
  EXPECT_EQ(back->text(), q->text());
  (void)q->value();
  (void)q->milli_value();
  (void)(*q + *back);
}

FUZZ(JsonPaths, ".spec.replicas", ".status.conditions[?(@.type==\"Ready\")].status", "..name", "[0]", ".a['b.c'][*]", ".metadata.labels.app\\.kubernetes\\.io/name", "[-1:]") {
  static const json::Value object = *json::parse(R"({"spec":{"replicas":3},"status":{"conditions":[{"type":"Ready","status":"True"}]},"a":{"b.c":[1,2]}})");
  auto p = kube::JsonPath::parse(input);
  if (p.ok()) (void)p->find(object);
}
