// Controllers whose watches are behind: they must neither repeat what they have done nor write against each
// other. Each case is one mistake that a storm has found.
#include <gtest/gtest.h>

#include "base/log.h"
#include "kube/types/apps.h"
#include "kube/types/core.h"
#include "sim/checks.h"
#include "sim/cluster.h"

namespace caravel::sim {
namespace {

using kube::apps::Deployment;
using kube::apps::ReplicaSet;
using kube::core::Pod;

struct Hearsay : testing::Test {
  Hearsay() { set_log_level(LogLevel::kError); }
};

std::string deployment(const std::string& name, int replicas) {
  return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + ", namespace: default}\nspec:\n  replicas: " + std::to_string(replicas) +
         "\n  selector: {matchLabels: {app: " + name + "}}\n  template:\n    metadata: {labels: {app: " + name + "}}\n    spec: {containers: [{name: main, image: 'x:1'}]}\n";
}

// Pods have changed and the collector will hear of it half a minute later: it reads before it deletes, and a
// conflict does not make it try ten times a second until the watch has caught up.
TEST_F(Hearsay, TheGarbageCollectorDeletesWhatTheServerHoldsNotWhatItRemembers) {
  Cluster c(1);
  ASSERT_TRUE(c.start());
  ASSERT_TRUE(c.apply(deployment("web", 3)).ok());
  c.run_for(20s);
  c.faults().watch_late = "pods";
  c.faults().watch_delay_max = 30s;
  for (auto& p : c.list(Pod::resource(), "default"))
    ASSERT_TRUE(c.patch(Pod::resource(), "default", p["metadata"]["name"].as_string(), *json::parse(R"({"metadata":{"labels":{"seen":"no"}}})")).ok());
  c.trace().attempts().clear();
  ASSERT_TRUE(c.remove(Deployment::resource(), "default", "web").ok());
  c.run_for(5s);
  for (const json::Value& p : c.list(Pod::resource(), "default")) EXPECT_TRUE(p["metadata"]["deletionTimestamp"].is_string()) << "all are on their way out already";
  c.run_for(40s);
  c.faults() = Faults();
  c.run_for(60s);
  EXPECT_EQ(c.list(Pod::resource(), "default").size(), 0u);
  for (auto& [what, n] : c.trace().attempts())
    if (what.starts_with("generic-garbage-collector delete pods")) {
      EXPECT_LE(n, 2) << what;
    }
}

}  // namespace
}  // namespace caravel::sim
