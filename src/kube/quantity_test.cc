#include "kube/quantity.h"

#include <gtest/gtest.h>

#include "kube/int_or_string.h"

namespace caravel::kube {
namespace {

TEST(Quantity, CanonicalForm) {
  const std::pair<const char*, const char*> cases[] = {
      {"1500m", "1500m"}, {"0.5", "500m"}, {"1024Ki", "1Mi"}, {"1Gi", "1Gi"}, {"1.5Gi", "1536Mi"}, {"1000", "1k"}, {"100", "100"}, {"0", "0"}, {"0Gi", "0"}, {"-1", "-1"}, {"1e3", "1e3"}, {"12e6", "12e6"}, {"1E", "1E"}, {"1E3", "1e3"}, {"0.1Gi", "107374182400m"}, {"512", "512"}, {"500Mi", "500Mi"}, {"2000Mi", "2000Mi"}, {"1n", "1n"}, {"0.1n", "1n"}, {"+3k", "3k"}, {".5", "500m"}, {"100Ki", "100Ki"}, {"9223372036854775807", "9223372036854775807"}, {"1.1", "1100m"}, {"1u", "1u"}, {"10Ei", "9223372036854775807"}, {"2M", "2M"}, {"123456789n", "123456789n"}};
  for (auto& [in, out] : cases) {
    auto q = Quantity::parse(in);
    ASSERT_TRUE(q.ok()) << in;
    EXPECT_EQ(q->text(), out) << in;
  }
}

TEST(Quantity, Refuses) {
  for (auto s : {"", "a", "1x", "1.2.3", "--1", "1 Gi", "1KiB", "Gi", ".", "1e", "1ki"}) EXPECT_FALSE(Quantity::parse(s).ok()) << s;
}

TEST(Quantity, ValuesRoundUp) {
  EXPECT_EQ(Quantity::of("1500m").value(), 2);
  EXPECT_EQ(Quantity::of("1500m").milli_value(), 1500);
  EXPECT_EQ(Quantity::of("1u").milli_value(), 1);
  EXPECT_EQ(Quantity::of("1Gi").value(), 1073741824);
}

TEST(Quantity, Arithmetic) {
  EXPECT_EQ((Quantity::of("1Gi") + Quantity::of("512Mi")).text(), "1536Mi");
  EXPECT_EQ((Quantity::of("2") - Quantity::of("500m")).text(), "1500m");
  EXPECT_TRUE(Quantity::of("1") == Quantity::of("1000m"));
  EXPECT_TRUE(Quantity::of("1Gi") > Quantity::of("1G"));
}

TEST(IntOrString, Percentages) {
  EXPECT_EQ(*IntOrString("25%").scaled(10, true), 3);
  EXPECT_EQ(*IntOrString("25%").scaled(10, false), 2);
  EXPECT_EQ(*IntOrString(4).scaled(10, true), 4);
  EXPECT_FALSE(IntOrString("abc").scaled(10, true).ok());
}

}  // namespace
}  // namespace caravel::kube
