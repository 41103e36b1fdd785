#include "sim/rehearsal.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/informer.h"
#include "kube/kinds.h"
#include "kube/quantity.h"
#include "kube/types/apps.h"
#include "kube/types/autoscaling.h"
#include "kube/types/core.h"
#include "sim/cluster.h"

namespace caravel::sim {

namespace {

namespace apps = kube::apps;
using kube::autoscaling::HorizontalPodAutoscaler;
using kube::core::Node;
using kube::core::Pod;

// How often availability is looked at, in virtual time.
constexpr Duration kLook = std::chrono::seconds(1);
// Heartbeats are most of what happens in a quiet hour; the cluster's 50 s of grace bear one in 40 s.
constexpr Duration kLeasePeriod = std::chrono::seconds(40);
// Before the scenario starts: the nodes join and the namespaces get their ServiceAccounts.
constexpr Duration kWarmUp = std::chrono::seconds(10);

const kube::meta::OwnerReference* controller_of(const kube::meta::ObjectMeta& m) {
  for (const auto& o : m.owner_references)
    if (o.controller.value_or(false)) return &o;
  return nullptr;
}

std::string seconds(Duration d) {
  return format("%.1fs", std::chrono::duration<double>(d).count());
}

class Rehearsal {
 public:
  explicit Rehearsal(const Scenario& s)
      : scenario_(s), cluster_(s.seed, options(s)) {
    out_.seed = s.seed;
    out_.duration = s.duration;
  }

  Result<Outcome> run() {
    if (!cluster_.start()) return unavailable("the simulated API server does not start");
    cluster_.run_for(kWarmUp);
    start_ = cluster_.ex().now();
    watch();
    cluster_.run_for(Duration(0));
    TRY_VOID(apply(scenario_.objects));
    size_t next = 0;
    for (Duration at = Duration(0); at < scenario_.duration; at += kLook) {
      for (; next < scenario_.steps.size() && scenario_.steps[next].at <= at; ++next) {
        Status s = take(scenario_.steps[next]);
        if (!s.ok()) note("failed: " + s.error().message);
      }
      cluster_.ex().run_until(start_ + std::min(at + kLook, scenario_.duration));
      look(std::min(kLook, scenario_.duration - at));
    }
    finish();
    return std::move(out_);
  }

 private:
  static ClusterOptions options(const Scenario& s) {
    ClusterOptions o;
    o.node_list = s.nodes;
    o.trace = false;
    o.hollow.lease_period = kLeasePeriod;
    return o;
  }
  Duration now() { return cluster_.ex().now() - start_; }
  void note(std::string what) { out_.timeline.push_back({now(), std::move(what)}); }

  void watch() {
    kube::Client admin = cluster_.admin();
    pods_ = std::make_unique<kube::Informer<Pod>>(cluster_.ex(), admin);
    nodes_ = std::make_unique<kube::Informer<Node>>(cluster_.ex(), admin);
    deployments_ = std::make_unique<kube::Informer<apps::Deployment>>(cluster_.ex(), admin);
    sets_ = std::make_unique<kube::Informer<apps::StatefulSet>>(cluster_.ex(), admin);
    autoscalers_ = std::make_unique<kube::Informer<HorizontalPodAutoscaler>>(cluster_.ex(), admin);
    replica_sets_ = std::make_unique<kube::Informer<apps::ReplicaSet>>(cluster_.ex(), admin);
    pods_->add_handler([this](auto& old, auto& current) {
      on_pod(old.get(), current.get());
      changed_ = true;
    });
    for_each_workload([this](auto& informer) { informer.add_handler([this](auto&, auto&) { changed_ = true; }); });
    nodes_->add_handler([this](auto& old, auto& current) { on_node(old.get(), current.get()); });
    autoscalers_->add_handler([this](auto& old, auto& current) { on_autoscaler(old.get(), current.get()); });
    autoscalers_->start(scope_);
    replica_sets_->start(scope_);
    deployments_->start(scope_);
    sets_->start(scope_);
    nodes_->start(scope_);
    pods_->start(scope_);
  }

  template <class F>
  void for_each_workload(F f) {
    f(*deployments_);
    f(*sets_);
    f(*replica_sets_);
  }

  void on_pod(const Pod* old, const Pod* current) {
    const Pod& p = current ? *current : *old;
    const std::string& uid = p.metadata.uid;
    auto it = unplaced_.find(uid);
    if (current && p.spec.node_name.empty() && it == unplaced_.end() && !placed_.count(uid)) {
      unplaced_[uid] = now();
    } else if (current && !p.spec.node_name.empty() && placed_.insert(uid).second) {
      Duration waited = it == unplaced_.end() ? Duration(0) : now() - it->second;
      Outcome::Waiting& w = out_.waiting[workload_of(p)];
      ++w.pods;
      w.total += waited;
      w.longest = std::max(w.longest, waited);
      if (it != unplaced_.end()) unplaced_.erase(it);
    } else if (!current && it != unplaced_.end()) {
      unplaced_.erase(it);
    }
  }

  void on_node(const Node* old, const Node* current) {
    if (!current || !old) return;
    auto ready = [](const Node& n) {
      for (const auto& c : n.status.conditions)
        if (c.type == "Ready") return c.status;
      return std::string();
    };
    std::string before = ready(*old), after = ready(*current);
    if (before != after && !before.empty()) note("node " + current->metadata.name + " is " + (after == "True" ? "Ready" : "NotReady"));
  }

  void on_autoscaler(const HorizontalPodAutoscaler* old, const HorizontalPodAutoscaler* current) {
    if (!current || !old || old->status.last_scale_time == current->status.last_scale_time) return;
    note("HorizontalPodAutoscaler " + current->metadata.namespace_ + "/" + current->metadata.name + " scales " + current->spec.scale_target_ref.kind + " " +
         current->spec.scale_target_ref.name + " from " + std::to_string(current->status.current_replicas) + " to " + std::to_string(current->status.desired_replicas));
  }

  Status apply(const std::vector<json::Value>& objects) {
    for (const auto& o : objects) {
      TRY_VOID(cluster_.apply(yaml::dump(o)));
      note("applied " + o["kind"].as_string() + " " + o["metadata"]["name"].as_string());
      // A namespace's ServiceAccount is there before its first pod.
      if (o["kind"].as_string() == "Namespace") cluster_.run_for(kLook);
    }
    return ok();
  }

  static const kube::Resource& resource_of(const std::string& kind) {
    for (const kube::KindInfo* k : kube::all_kinds())
      if (k->resource().kind == kind) return k->resource();
    return Pod::resource();  // parse_scenario() has refused other kinds
  }

  Status take(const Step& s) {
    switch (s.what) {
      case Step::What::kApply: return apply(s.objects);
      case Step::What::kDelete:
        note("delete " + s.target.text());
        return cluster_.remove(resource_of(s.target.kind), s.target.ns, s.target.name);
      case Step::What::kScale: {
        note("scale " + s.target.text() + " to " + std::to_string(s.replicas));
        json::Value patch;
        patch["spec"]["replicas"] = s.replicas;
        return cluster_.patch(resource_of(s.target.kind), s.target.ns, s.target.name, std::move(patch));
      }
      case Step::What::kDemand:
        note("demand " + s.target.text() + " " + s.metric + " " + kube::Quantity::from_milli(s.milli).text());
        cluster_.loads().set(s.target.text(), s.metric, s.milli);
        return ok();
      case Step::What::kFailNode:
      case Step::What::kRecoverNode:
      case Step::What::kFailZone:
      case Step::What::kRecoverZone: break;
    }
    bool zone = s.what == Step::What::kFailZone || s.what == Step::What::kRecoverZone;
    bool fail = s.what == Step::What::kFailNode || s.what == Step::What::kFailZone;
    note(std::string(zone ? "zone " : "node ") + s.where + (fail ? " fails" : " recovers"));
    for (const auto& n : scenario_.nodes) {
      if ((zone ? n.zone : n.name) != s.where) continue;
      changed_ = true;
      if (fail) cluster_.nodes()->fail(n.name), down_.insert(n.name);
      else cluster_.nodes()->recover(n.name), down_.erase(n.name);
    }
    return ok();
  }

  // A pod serves when it is Ready and its machine runs, whatever the cluster believes. Counted only when
  // something has changed: most seconds of a day are like the one before.
  void count() {
    if (!changed_) return;
    changed_ = false;
    now_.clear();
    std::map<std::string, int> serving;
    for (const auto& [key, p] : pods_->all())
      if (is_ready(*p) && !p->metadata.deletion_timestamp && !down_.count(p->spec.node_name)) ++serving[workload_of(*p)];
    auto want = [&](const std::string& kind, const kube::meta::ObjectMeta& m, int n) {
      std::string name = kind + " " + m.namespace_ + "/" + m.name;
      now_.push_back({&out_.availability[name], n, serving[name]});
    };
    for (const auto& [key, d] : deployments_->all()) want("Deployment", d->metadata, d->spec.replicas.value_or(1));
    for (const auto& [key, s] : sets_->all()) want("StatefulSet", s->metadata, s->spec.replicas.value_or(1));
    for (const auto& [key, s] : replica_sets_->all())
      if (!controller_of(s->metadata)) want("ReplicaSet", s->metadata, s->spec.replicas.value_or(1));
  }

  void look(Duration step) {
    count();
    const double length = std::chrono::duration<double>(step).count();
    for (const Look& l : now_) {
      Outcome::Availability& a = *l.availability;
      const int n = l.wanted;
      a.wanted = n;
      a.serving = l.serving;
      a.complete_once = a.complete_once || a.serving >= n;
      if (!a.complete_once || n == 0) continue;
      a.watched += step;
      a.served += length * std::min(a.serving, n) / n;
      if (a.serving < n) a.short_of_pods += step;
      if (a.serving == 0) a.none += step;
      a.fewest = a.fewest < 0 ? a.serving : std::min(a.fewest, a.serving);
    }
  }

  void finish() {
    for (const auto& [key, p] : pods_->all()) {
      if (!p->spec.node_name.empty() || !unplaced_.count(p->metadata.uid)) continue;
      Outcome::Waiting& w = out_.waiting[workload_of(*p)];
      std::string why;
      for (const auto& c : p->status.conditions)
        if (c.type == "PodScheduled") why = c.message;
      Duration waited = now() - unplaced_[p->metadata.uid];
      ++w.pods;
      w.total += waited;
      w.longest = std::max(w.longest, waited);
      w.still[p->metadata.namespace_ + "/" + p->metadata.name] = why;
    }
  }

  const Scenario& scenario_;
  Outcome out_;
  Cluster cluster_;
  Time start_;
  std::map<std::string, Duration> unplaced_;  // pod uid -> since
  std::set<std::string> placed_, down_;
  struct Look {
    Outcome::Availability* availability;  // of out_
    int wanted, serving;
  };
  std::vector<Look> now_;
  bool changed_ = true;
  std::unique_ptr<kube::Informer<Pod>> pods_;
  std::unique_ptr<kube::Informer<Node>> nodes_;
  std::unique_ptr<kube::Informer<apps::Deployment>> deployments_;
  std::unique_ptr<kube::Informer<apps::StatefulSet>> sets_;
  std::unique_ptr<kube::Informer<apps::ReplicaSet>> replica_sets_;
  std::unique_ptr<kube::Informer<HorizontalPodAutoscaler>> autoscalers_;
  TaskScope scope_;
};

double share(const Outcome::Availability& a) {
  double watched = std::chrono::duration<double>(a.watched).count();
  return watched > 0 ? 100 * a.served / watched : 0;
}

}  // namespace

Result<Outcome> rehearse(const Scenario& s) { return Rehearsal(s).run(); }

std::string describe(const Outcome& o) {
  std::string out = "TIMELINE (seed " + std::to_string(o.seed) + ", " + format_duration(o.duration) + " of virtual time)\n";
  for (const auto& n : o.timeline) out += format("  %10s  %s\n", seconds(n.at).c_str(), n.what.c_str());
  out += "\nWAITING FOR A NODE\n" + format("  %-36s %6s %10s %10s %8s\n", "WORKLOAD", "PODS", "MEAN", "LONGEST", "PENDING");
  for (const auto& [name, w] : o.waiting) {
    out += format("  %-36s %6d %10s %10s %8d\n", name.c_str(), w.pods, seconds(w.total / std::max(1, w.pods)).c_str(), seconds(w.longest).c_str(),
                  static_cast<int>(w.still.size()));
    std::map<std::string, int> reasons;
    for (const auto& [pod, why] : w.still) ++reasons[why];
    for (const auto& [why, n] : reasons) out += format("      %d pending: %s\n", n, why.c_str());
  }
  out += "\nAVAILABILITY\n" + format("  %-36s %11s %10s %10s %7s %12s\n", "WORKLOAD", "SERVED", "SHORT FOR", "NONE FOR", "FEWEST", "NOW");
  for (const auto& [name, a] : o.availability) {
    std::string served = a.complete_once ? format("%.4f%%", share(a)) : "never";
    out += format("  %-36s %11s %10s %10s %7s %12s\n", name.c_str(), served.c_str(), seconds(a.short_of_pods).c_str(), seconds(a.none).c_str(),
                  a.fewest < 0 ? "-" : std::to_string(a.fewest).c_str(), (std::to_string(a.serving) + "/" + std::to_string(a.wanted)).c_str());
  }
  return out;
}

json::Value to_json(const Outcome& o) {
  auto number = [](Duration d) { return std::chrono::duration<double>(d).count(); };
  json::Value v;
  v["seed"] = static_cast<int64_t>(o.seed);
  v["durationSeconds"] = number(o.duration);
  v["timeline"] = json::Value::array();
  for (const auto& n : o.timeline) {
    json::Value e;
    e["atSeconds"] = number(n.at);
    e["what"] = n.what;
    v["timeline"].push_back(std::move(e));
  }
  v["waiting"] = json::Value::array();
  for (const auto& [name, w] : o.waiting) {
    json::Value e;
    e["workload"] = name;
    e["pods"] = w.pods;
    e["meanSeconds"] = number(w.total) / std::max(1, w.pods);
    e["longestSeconds"] = number(w.longest);
    e["pending"] = json::Value::array();
    for (const auto& [pod, why] : w.still) {
      json::Value p;
      p["pod"] = pod;
      p["reason"] = why;
      e["pending"].push_back(std::move(p));
    }
    v["waiting"].push_back(std::move(e));
  }
  v["availability"] = json::Value::array();
  for (const auto& [name, a] : o.availability) {
    json::Value e;
    e["workload"] = name;
    e["complete"] = a.complete_once;
    e["servedPercent"] = share(a);
    e["shortSeconds"] = number(a.short_of_pods);
    e["noneSeconds"] = number(a.none);
    e["fewest"] = std::max(0, a.fewest);
    e["serving"] = a.serving;
    e["wanted"] = a.wanted;
    v["availability"].push_back(std::move(e));
  }
  return v;
}

}  // namespace caravel::sim
