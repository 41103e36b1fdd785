// For tests that need a whole cluster in which nothing fails: started, settled, and with the reads and writes that such tests share.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "base/log.h"
#include "sim/cluster.h"

namespace caravel::sim {

struct ClusterTest : testing::Test {
  explicit ClusterTest(uint64_t seed) : c(seed) { set_log_level(std::getenv("CARAVEL_SIM_LOG") ? LogLevel::kDebug : LogLevel::kError); }
  void SetUp() override {
    ASSERT_TRUE(c.start());
    c.run_for(std::chrono::seconds(5));
  }
  void apply(const std::string& yaml) {
    Status s = c.apply(yaml);
    ASSERT_TRUE(s.ok()) << s.error().message;
  }
  // Null when there is none.
  json::Value object(const kube::Resource& r, const std::string& ns, const std::string& name) {
    Result<json::Value> o = c.get(r, ns, name);
    return o.ok() ? std::move(*o) : json::Value();
  }
  Cluster c;
};

}  // namespace caravel::sim
