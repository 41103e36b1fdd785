// Patches: the input is [document, patch]. A pod is patched strategically, anything by JSON and merge patch.
#include "base/fuzz.h"
#include "kube/patch.h"
#include "kube/types/core.h"

using namespace caravel;

FUZZ(Patch, R"([{"a":{"b":[1,2]}},[{"op":"add","path":"/a/b/-","value":3},{"op":"test","path":"/a/b/0","value":1}]])", R"([{"a":1,"b":{"c":2}},{"a":null,"b":{"d":[1]}}])",
     R"([{"a/b":{"~":1}},[{"op":"move","from":"/a~1b/~0","path":"/x"},{"op":"copy","from":"/x","path":"/y"},{"op":"remove","path":"/x"}]])",
     R"([{"spec":{"containers":[{"name":"a","env":[{"name":"X","value":"1"}],"ports":[{"containerPort":80}]}]}},{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","env":[{"name":"X","$patch":"delete"}]},{"name":"b","image":"i"}],"volumes":[{"$patch":"replace"}]}}])",
     R"([{"metadata":{"finalizers":["a","b"]}},{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"$retainKeys":["name"]}}])") {
  auto v = json::parse(input);
  if (!v.ok() || !v->is_array() || v->size() != 2) return;
  const json::Value &document = std::as_const(*v).at(0), &patch = std::as_const(*v).at(1);
  (void)kube::json_patch(document, patch).ok();
  json::Value merged = kube::merge_patch(document, patch);
  json::Value difference = kube::create_merge_patch(document, merged);
  if (document.is_object() && merged.is_object()) {
    // A merge patch cannot write null: what it makes has none where the patch went.
    json::Value again = kube::merge_patch(document, difference);
    EXPECT_EQ(json::dump_sorted(kube::merge_patch(again, difference)), json::dump_sorted(again));
  }
  static const kube::SchemaPtr pod = kube::schema_of(kube::core::Pod::type_info());
  (void)kube::strategic_merge_patch(*pod, document, patch).ok();
  (void)kube::three_way_merge_patch(document, merged, patch);
  (void)kube::three_way_strategic_patch(*pod, document, merged, patch).ok();
}
