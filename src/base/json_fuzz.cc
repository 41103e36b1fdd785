// JSON: what is read and written again is the same; duplicates never crash.
#include "base/fuzz.h"
#include "base/json.h"

using namespace caravel;

FUZZ(Json, R"({"a":[1,-2.5e3,true,null,"\u00e9\n"],"b":{"c":"d"}})", R"([{"x":9007199254740993},"\ud83d\ude00"])", R"({"a":1,"a":2})", "\"text\"", "[[[[[[]]]]]]", "1e5") {
  std::vector<std::string> duplicates;
  json::ParseOptions o;
  o.duplicates = &duplicates;
  auto v = json::parse(input, o);
  if (!v.ok()) {
    EXPECT_FALSE(v.error().message.empty());
    return;
  }
  std::string text = json::dump(*v);
  auto back = json::parse(text);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(json::dump(*back), text);
  auto sorted = json::parse(json::dump_sorted(*v));
  ASSERT_TRUE(sorted.ok());
}
