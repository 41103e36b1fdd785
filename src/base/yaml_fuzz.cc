// YAML: errors, never crashes; what is written reads back the same.
#include "base/fuzz.h"
#include "base/yaml.h"

using namespace caravel;

FUZZ(Yaml, "a: 1\nb: [x, 'y', \"z\\n\"]\nc:\n  - d: e\n    f: |\n      text\n      more\n", "--- \nx: &a {k: v}\ny: *a\n---\nz: ~\n", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "{\"json\": [1, true]}", "- 0x1F\n- 0o17\n- 1_000\n- .inf\n- 2026-01-01\n- yes\n- !!str 5\n",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - {name: c, image: \"i:1\"}\n") {
  auto all = yaml::parse_all(input);
  if (!all.ok()) {
    EXPECT_FALSE(all.error().message.empty());
    return;
  }
  for (auto& v : *all) {
    auto back = yaml::parse(yaml::dump(v));
    ASSERT_TRUE(back.ok()) << back.error().message << "\n"
                           << yaml::dump(v);
    EXPECT_EQ(json::dump_sorted(*back), json::dump_sorted(v)) << yaml::dump(v);
  }
  (void)yaml::parse_json_or_yaml(input).ok();
}
