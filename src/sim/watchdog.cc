#include "sim/watchdog.h"

#include <algorithm>

#include "kube/types/apps.h"
#include "kube/types/batch.h"
#include "kube/types/core.h"

namespace caravel::sim {

namespace {

constexpr Duration kNewsTravels = std::chrono::seconds(30);  // until the watchdog itself has heard everything
constexpr Duration kSilent = std::chrono::seconds(10);       // what a node said before may arrive so much later

std::string key(const json::Value& v) { return v.path({"metadata", "namespace"}).as_string() + "/" + v.path({"metadata", "name"}).as_string(); }
std::string target_of(const json::Value& pod) {
  const json::Value& terms = pod.path({"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"});
  for (const json::Value& term : terms.as_array())
    for (const json::Value& field : term["matchFields"].as_array())
      if (field["key"].as_string() == "metadata.name") return field["values"].at(0).as_string();
  return pod.path({"spec", "nodeName"}).as_string();
}
const std::string& uid_of(const json::Value& v) { return v.path({"metadata", "uid"}).as_string(); }

}  // namespace

Watchdog::Watchdog(Cluster& c) : cluster_(c) {
  auto nothing = [](const json::Value&) {};
  watch(
      kube::apps::ReplicaSet::resource(), [this](const json::Value& v) { limit(uid_of(v), v.path({"spec", "replicas"}).as_int(1)); }, nothing);
  watch(
      kube::batch::Job::resource(), [this](const json::Value& v) { limit(uid_of(v), v.path({"spec", "parallelism"}).as_int(1)); }, nothing);
  watch(
      kube::core::Pod::resource(), [this](const json::Value& v) { on_pod(v); }, [this](const json::Value& v) { on_pod_gone(v); });
}

void Watchdog::watch(const kube::Resource& r, std::function<void(const json::Value&)> changed, std::function<void(const json::Value&)> gone) {
  kube::Reflector::Callbacks cb;
  auto known = std::make_shared<std::map<std::string, std::shared_ptr<const json::Value>>>();  // what a list does not show any more is gone
  cb.replace = [this, known, changed, gone](std::vector<json::Value> items) {
    std::map<std::string, std::shared_ptr<const json::Value>> now;
    for (auto& v : items) now[uid_of(v)] = json::share(v);
    in_list_ = true;
    for (auto& [uid, v] : *known)
      if (!now.count(uid)) gone(*v);
    if (!known->empty()) gaps_.push_back(cluster_.ex().now());
    std::swap(*known, now);  // what has become of the known ones first: a new one may be in the place of one of them
    for (auto& [uid, v] : *known)
      if (now.count(uid)) changed(*v);
    for (auto& [uid, v] : *known)
      if (!now.count(uid)) changed(*v);
    in_list_ = false;
    check_guards();
  };
  cb.event = [known, changed, gone](kube::WatchEventType type, kube::Document v) {
    if (type == kube::WatchEventType::kDeleted) {
      known->erase(uid_of(*v));
      gone(*v);
    } else {
      (*known)[uid_of(*v)] = v.share();
      changed(*v);
    }
  };
  reflectors_.push_back(std::make_unique<kube::Reflector>(cluster_.ex(), cluster_.admin(), r, kube::InformerOptions(), std::move(cb)));
  scope_.spawn(reflectors_.back()->run());
}

void Watchdog::limit(const std::string& uid, int64_t pods) {
  auto& history = limits_[uid];
  if (history.empty() || history.back().pods != pods) history.push_back({cluster_.ex().now(), pods});
}

void Watchdog::on_pod(const json::Value& v) {
  const Time now = cluster_.ex().now();
  const std::string uid = uid_of(v), name = key(v);
  const bool fresh = !pods_.count(uid);
  Pod& p = pods_[uid];
  if (fresh) {
    p.uid = uid;
    p.ns = v.path({"metadata", "namespace"}).as_string();
    p.name = name;
    p.target = target_of(v);
    p.app = v.path({"metadata", "labels", "app"}).as_string();
    auto twin = names_.find(name);
    if (twin != names_.end() && pods_.count(twin->second)) violations_.push_back("two pods are called " + name);
    names_[name] = uid;
  }
  p.owner.clear();
  for (const json::Value& o : v.path({"metadata", "ownerReferences"}).as_array())
    if (o["controller"].as_bool()) p.owner = o["uid"].as_string(), p.owner_kind = o["kind"].as_string();
  const std::string& node = v.path({"spec", "nodeName"}).as_string();
  if (!p.node.empty() && p.node != node) violations_.push_back("Pod " + name + " was on node " + p.node + " and is on node " + node);
  p.node = node;
  const std::string& phase = v.path({"status", "phase"}).as_string();
  const bool was_active = p.active;
  p.terminal = phase == "Succeeded" || phase == "Failed";
  p.active = !p.terminal && v.path({"metadata", "deletionTimestamp"}).is_null();
  p.ready = false;
  for (const json::Value& cond : v.path({"status", "conditions"}).as_array())
    if (cond["type"].as_string() == "Ready") p.ready = cond["status"].as_string() == "True";
  for (auto it = silent_since_.begin(); it != silent_since_.end();) it = cluster_.failed_nodes().count(it->first) ? std::next(it) : silent_since_.erase(it);
  for (const auto& n : cluster_.failed_nodes()) silent_since_.emplace(n, now);
  if (fresh && p.active && !p.owner.empty()) {
    auto active_of = [&](auto owned) { return std::count_if(pods_.begin(), pods_.end(), [&](const auto& e) { return e.second.active && owned(e.second); }); };
    made_.push_back({now, name, p.owner, active_of([&](const Pod& o) { return o.owner == p.owner; }), hearsay});
    if (p.owner_kind == "DaemonSet" && cluster_.leaders_max() <= 1) {
      auto same = active_of([&](const Pod& o) { return o.owner == p.owner && o.target == p.target; });
      auto unheard = cluster_.trace().unheard_pods().find(p.owner);
      if (same > 1 + (unheard == cluster_.trace().unheard_pods().end() ? 0 : unheard->second))
        violations_.push_back(format_rfc3339_milli(now) + " a DaemonSet has " + std::to_string(same) + " pods for node " + p.target);
    }
  }
  if (was_active && !p.active) check_guards();
  judge(now - 2 * kNewsTravels);
}

void Watchdog::on_pod_gone(const json::Value& v) {
  auto it = pods_.find(uid_of(v));
  if (it == pods_.end()) return;
  const Pod& p = it->second;
  auto silent = silent_since_.find(p.node);
  if (p.owner_kind == "StatefulSet" && !p.terminal && silent != silent_since_.end() && cluster_.failed_nodes().count(p.node) &&
      cluster_.ex().now() - silent->second > kSilent)
    violations_.push_back("Pod " + p.name + " was given up while its node " + p.node + " is silent: it may still run");
  const bool was_active = p.active;
  pods_.erase(it);
  if (was_active) check_guards();
}

void Watchdog::check_guards() {
  if (in_list_) return;
  for (const auto& g : guarded_) {
    auto ready = std::count_if(pods_.begin(), pods_.end(), [&](const auto& e) { return e.second.ns == g.ns && e.second.app == g.app && e.second.active && e.second.ready; });
    if (ready < g.ready)
      violations_.push_back(format_rfc3339_milli(cluster_.ex().now()) + " " + g.app + " has " + std::to_string(ready) + " ready pods, its budget asks for " + std::to_string(g.ready));
  }
}

void Watchdog::judge(Time until) {
  auto ripe = std::stable_partition(made_.begin(), made_.end(), [&](const Made& m) { return m.at > until; });
  for (auto m = ripe; m != made_.end(); ++m) {
    auto history = limits_.find(m->owner);
    if (history == limits_.end() || cluster_.leaders_max() > 1) continue;
    // Lists show how things are, not how they were in between.
    if (std::any_of(gaps_.begin(), gaps_.end(), [&](Time gap) { return gap > m->at - 2 * kNewsTravels && gap < m->at + 2 * kNewsTravels; })) continue;
    int64_t permitted = 0;
    const auto& h = history->second;
    for (size_t i = 0; i < h.size(); ++i)
      if (h[i].from <= m->at + kNewsTravels && (i + 1 == h.size() || h[i + 1].from >= m->at - m->hearsay)) permitted = std::max(permitted, h[i].pods);
    auto unheard = cluster_.trace().unheard_pods().find(m->owner);
    if (unheard != cluster_.trace().unheard_pods().end()) permitted += unheard->second;
    if (m->active > permitted)
      violations_.push_back(format_rfc3339_milli(m->at) + " Pod " + m->pod + " was made, the " + std::to_string(m->active) + "th of an owner that wants " + std::to_string(permitted));
  }
  made_.erase(ripe, made_.end());
}

const std::vector<std::string>& Watchdog::violations() {
  judge(cluster_.ex().now());
  return violations_;
}

}  // namespace caravel::sim
