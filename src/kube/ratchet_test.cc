#include "kube/ratchet.h"

#include <gtest/gtest.h>

#include "kube/validation.h"

namespace caravel::kube {
namespace {

json::Value parse(const char* text) { return *json::parse(text); }

std::string errors_of(const char* now, const char* old) {
  static const SchemaPtr schema = *schema_from_crd(parse(
      R"({"type":"object","properties":{"spec":{"type":"object","required":["must"],"properties":{"must":{"type":"string"},"e":{"type":"string","enum":["x"]},
          "m":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"},"n":{"type":"integer","maximum":5}}}},
          "a":{"type":"array","items":{"type":"integer","maximum":5}}}}}})"));
  json::Value n = parse(now), o = parse(old);
  FieldErrors e;
  validate_schema(*schema, n, FieldPath(), e);
  drop_unchanged(*schema, n, o, e);
  std::string out;
  for (auto& x : e) out += (out.empty() ? "" : ";") + x.field;
  return out;
}

TEST(RatchetTest, WhatWasWrongBeforeMayStay) {
  EXPECT_EQ(errors_of(R"({"spec":{"must":"z","e":"bad"}})", R"({"spec":{"must":"y","e":"bad"}})"), "");
  EXPECT_EQ(errors_of(R"({"spec":{"must":"z","e":"worse"}})", R"({"spec":{"must":"z","e":"bad"}})"), "spec.e");
}

TEST(RatchetTest, AMissingFieldCountsOnceWhatIsAroundItChanges) {
  EXPECT_EQ(errors_of(R"({"spec":{"e":"x"},"metadata":{"labels":{"a":"b"}}})", R"({"spec":{"e":"x"}})"), "");
  EXPECT_EQ(errors_of(R"({"spec":{"e":"x","m":[]}})", R"({"spec":{"e":"x"}})"), "spec.must");
}

TEST(RatchetTest, ElementsAreMatchedByKeyInMapsOnly) {
  EXPECT_EQ(errors_of(R"({"spec":{"must":"","m":[{"k":"b","n":1},{"k":"a","n":9}]}})", R"({"spec":{"must":"","m":[{"k":"a","n":9}]}})"), "");
  EXPECT_EQ(errors_of(R"({"spec":{"must":"","m":[{"k":"a","n":8}]}})", R"({"spec":{"must":"","m":[{"k":"a","n":9}]}})"), "spec.m[0].n");
  EXPECT_EQ(errors_of(R"({"spec":{"must":"","a":[9,1]}})", R"({"spec":{"must":"","a":[9]}})"), "spec.a[0]");
  EXPECT_EQ(errors_of(R"({"spec":{"must":"q","a":[9]}})", R"({"spec":{"must":"","a":[9]}})"), "");
}

}  // namespace
}  // namespace caravel::kube
