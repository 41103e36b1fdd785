#include "dns/cluster_dns.h"

#include "base/log.h"

namespace caravel::dns {
namespace {

constexpr Duration kRebuildEvery = std::chrono::milliseconds(50);  // at most

}  // namespace

ClusterDns::ClusterDns(Executor& ex, kube::Client client, std::string zone, uint32_t ttl)
    : ex_(ex),
      zone_(std::move(zone)),
      ttl_(ttl),
      services_(ex, client, {"", "v1", "services", "Service", true}),
      slices_(ex, client, {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true}),
      namespaces_(ex, client, {"", "v1", "namespaces", "Namespace", false}),
      changed_(ex) {
  auto note = [this](const kube::DynamicInformer::Ptr&, const kube::DynamicInformer::Ptr&) { changed_.set(); };
  services_.add_handler(note);
  slices_.add_handler(note);
  namespaces_.add_handler(note);
}

void ClusterDns::rebuild() {
  ClusterRecords fresh(zone_, ttl_);
  for (auto& [key, object] : namespaces_.all()) fresh.add_namespace(key.name);
  for (auto& [key, object] : services_.all()) fresh.add_service(*object);
  for (auto& [key, object] : slices_.all()) fresh.add_slice(*object);
  records_ = std::move(fresh);
}

std::optional<Answer> ClusterDns::resolve(const net::dns::Question& q) const {
  // Before the first list names outside the cluster are answered already.
  if (!records_ && in_zone(q.name, zone_)) return std::nullopt;
  return records_ ? records_->resolve(q) : not_mine();
}

Task<void> ClusterDns::run(TaskScope& scope) {
  services_.start(scope);
  slices_.start(scope);
  namespaces_.start(scope);
  co_await services_.wait_synced();
  co_await slices_.wait_synced();
  co_await namespaces_.wait_synced();
  rebuild();
  Log("dns").info("ready", {{"services", services_.all().size()}});
  for (;;) {
    co_await changed_.wait();
    changed_.reset();
    rebuild();
    co_await sleep(ex_, kRebuildEvery);
  }
}

}  // namespace caravel::dns
