#include "node/pod_resize.h"

#include <algorithm>

namespace caravel::node {

namespace {

constexpr const char* kResizable[] = {"cpu", "memory"};

template <class F>
void for_each_staying(const core::Pod& pod, F f) {
  for (auto& c : pod.spec.init_containers)
    if (is_sidecar(c)) f(c);
  for (auto& c : pod.spec.containers) f(c);
}

const kube::Quantity* of(const Amounts& a, const char* resource) {
  auto it = a.find(resource);
  return it == a.end() ? nullptr : &it->second;
}

bool same(const kube::Quantity* a, const kube::Quantity* b) { return a && b ? *a == *b : a == b; }

}  // namespace

int64_t amount_of(const Amounts& a, const char* resource) {
  const kube::Quantity* q = of(a, resource);
  if (!q) return 0;
  return std::string_view(resource) == "cpu" ? q->milli_value() : q->value();
}

Granted granted_before(const core::Pod& pod) {
  Granted out;
  for_each_staying(pod, [&](const core::Container& c) { out[c.name] = c.resources; });
  for (auto* statuses : {&pod.status.init_container_statuses, &pod.status.container_statuses})
    for (auto& s : *statuses) {
      auto it = out.find(s.name);
      if (it == out.end() || !s.resources || s.allocated_resources.empty()) continue;
      it->second.requests = s.allocated_resources;
      it->second.limits = s.resources->limits;
    }
  return out;
}

bool asks_for_resize(const core::Pod& pod, const Granted& granted) {
  bool asks = false;
  for_each_staying(pod, [&](const core::Container& c) {
    auto it = granted.find(c.name);
    if (it == granted.end()) return;
    for (const char* r : kResizable) asks = asks || !same(of(c.resources.requests, r), of(it->second.requests, r)) || !same(of(c.resources.limits, r), of(it->second.limits, r));
  });
  return asks;
}

Amounts running_requests(const core::Pod& pod, const Granted* granted) {
  Amounts out;
  for_each_staying(pod, [&](const core::Container& c) {
    const core::ResourceRequirements* has = &c.resources;
    if (granted)
      if (auto it = granted->find(c.name); it != granted->end()) has = &it->second;
    for (const char* r : kResizable)
      if (const kube::Quantity* q = of(has->requests, r)) out[r] += *q;
  });
  return out;
}

std::optional<WaitReason> judge_resize(const Amounts& wanted, const Amounts& granted, const Amounts& used_by_others, const Amounts& allocatable) {
  for (const char* r : kResizable)
    if (amount_of(wanted, r) > amount_of(allocatable, r))
      return WaitReason{"Infeasible", std::string("Node didn't have enough capacity: ") + r + ", requested: " + std::to_string(amount_of(wanted, r)) + ", capacity: " + std::to_string(amount_of(allocatable, r))};
  for (const char* r : kResizable) {
    if (amount_of(wanted, r) <= amount_of(granted, r)) continue;  // less always fits
    if (amount_of(wanted, r) + amount_of(used_by_others, r) > amount_of(allocatable, r))
      return WaitReason{"Deferred", std::string("Node didn't have enough resource: ") + r + ", requested: " + std::to_string(amount_of(wanted, r)) + ", used: " + std::to_string(amount_of(used_by_others, r)) +
                                        ", capacity: " + std::to_string(amount_of(allocatable, r))};
  }
  return std::nullopt;
}

bool restarts_for(const core::Container& c, const core::ResourceRequirements& from, const core::ResourceRequirements& to) {
  for (auto& p : c.resize_policy) {
    if (p.restart_policy != "RestartContainer") continue;
    const char* r = p.resource_name.c_str();
    if (!same(of(from.requests, r), of(to.requests, r)) || !same(of(from.limits, r), of(to.limits, r))) return true;
  }
  return false;
}

}  // namespace caravel::node
