#include "karpenter/controllers.h"

namespace caravel::karpenter {

namespace {
constexpr Duration kInterval = 10s, kGrace = 30s;
}

Task<void> GarbageCollector::run() {
  for (;;) {
    co_await sleep(c_.ex, kInterval);
    co_await pass();
  }
}

Task<void> GarbageCollector::pass() {
  auto instances = co_await c_.cloud.list();
  if (!instances.ok()) {
    c_.log.warn("cannot list instances", {{"error", instances.error().message}});
    co_return;
  }
  std::set<std::string> known, present;
  for (const auto& [key, claim] : c_.claims.all())
    if (!provider_id(*claim).empty()) known.insert(instance_id(provider_id(*claim)));
  for (const auto& i : *instances) {
    if (i.state != "shutting-down") present.insert(i.id);
    if (known.count(i.id) || i.state == "shutting-down") continue;
    // A launch whose answer was lost. Its claim may be about to be written: wait a little.
    Time launched = parse_rfc3339(i.launch_time).value_or(Time{});
    if (c_.ex.now() - launched < kGrace) continue;
    Status ended = co_await c_.cloud.terminate(i.id);
    if (ended.ok()) c_.log.info("garbage collected an instance without claim", {{"instance", i.id}});
  }
  std::vector<std::string> orphans;
  for (const auto& [key, claim] : c_.claims.all()) {
    if (kube::is_deleting(*claim) || !condition_true(*claim, "Registered") || present.count(instance_id(provider_id(*claim)))) continue;
    if (c_.ex.now() - condition_time(*claim, "Registered") < kGrace) continue;
    auto node = c_.node_of(*claim);
    bool ready = false;
    if (node)
      for (const auto& c : node->status.conditions) ready = ready || (c.type == "Ready" && c.status == "True");
    if (!ready) orphans.push_back(key.name);
  }
  for (const auto& name : orphans) {
    auto r = co_await c_.client.remove(kNodeClaims, "", name);
    if (r.ok()) c_.log.info("garbage collected a claim whose instance is gone", {{"nodeclaim", name}});
  }
}

}  // namespace caravel::karpenter
