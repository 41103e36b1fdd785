// What a ControllerRevision keeps of a pod template.
#include "controllers/history.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

TEST(History, ARevisionsDataReadsAsGoWritesAMap) {
  kube::core::PodTemplateSpec t;
  t.metadata.labels = {{"app", "x"}};
  kube::core::Container c;
  c.name = "c";
  c.image = "i:1";
  c.command = {"sleep"};
  t.spec.containers.push_back(c);
  EXPECT_EQ(json::dump(revision_data(t)),
            R"({"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"command":["sleep"],"image":"i:1","name":"c","resources":{}}]}}}})");
  kube::apps::ControllerRevision r;
  r.data = revision_data(t);
  auto back = template_of(r);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(json::dump(kube::to_json(*back)), json::dump(kube::to_json(t)));
}

}  // namespace
}  // namespace caravel::controllers
