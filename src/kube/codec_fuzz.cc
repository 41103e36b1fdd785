// The wire forms of typed objects: protobuf of a pod from anything, JSON of a pod from any JSON.
#include "base/fuzz.h"
#include "kube/codec.h"
#include "kube/types/core.h"

using namespace caravel;

namespace {
std::string example(const char* text) {
  auto pod = kube::from_json<kube::core::Pod>(*json::parse(text));
  return pod.ok() ? kube::to_protobuf(*pod) : std::string();
}
constexpr const char* kPod =
    R"({"metadata":{"name":"p","namespace":"n","labels":{"a":"b"},"creationTimestamp":"2026-01-01T00:00:00Z","ownerReferences":[{"apiVersion":"v1","kind":"X","name":"y","uid":"z","controller":true}]},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"1"}},"livenessProbe":{"httpGet":{"port":"http","path":"/"}}}],"tolerations":[{"tolerationSeconds":5}]},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})";
}  // namespace

FUZZ(Protobuf, example(kPod), example(R"({"metadata":{"name":"x"}})"), std::string("\x0a\xff\xff\xff\xff\x0f", 6)) {
  auto pod = kube::from_protobuf<kube::core::Pod>(input);
  if (!pod.ok()) return;
  std::string bytes = kube::to_protobuf(*pod);
  auto back = kube::from_protobuf<kube::core::Pod>(bytes);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(kube::to_protobuf(*back), bytes);
  (void)json::dump(kube::to_json(*pod));
}

FUZZ(TypedJson, kPod, R"({"metadata":{"name":5},"spec":[]})", R"({"spec":{"containers":[{"resources":{"limits":{"cpu":1.5}}}]}})") {
  auto v = json::parse(input);
  if (!v.ok()) return;
  auto pod = kube::from_json<kube::core::Pod>(*v);
  if (!pod.ok()) {
    EXPECT_FALSE(pod.error().message.empty());
    return;
  }
  json::Value out = kube::to_json(*pod);
  auto back = kube::from_json<kube::core::Pod>(out);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(json::dump_sorted(kube::to_json(*back)), json::dump_sorted(out));
}
