#include "sim/checks.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kube/kinds.h"
#include "kube/quantity.h"
#include "kube/types/apps.h"
#include "kube/types/batch.h"
#include "kube/types/core.h"
#include "kube/types/discovery.h"

namespace caravel::sim {

namespace {

const json::Value& member(const json::Value& v, std::initializer_list<std::string_view> path) { return v.path(path); }
std::string id(const json::Value& v) {
  return member(v, {"kind"}).as_string() + " " + member(v, {"metadata", "namespace"}).as_string() + "/" + member(v, {"metadata", "name"}).as_string();
}
bool is_deleting(const json::Value& v) { return member(v, {"metadata", "deletionTimestamp"}).is_string(); }
bool is_ready_object(const json::Value& pod) {
  for (const json::Value& c : member(pod, {"status", "conditions"}).as_array())
    if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
  return false;
}

// A claim of a class that waits for the first consumer, which nothing consumes: a StatefulSet that was made
// smaller before its last pod was scheduled leaves one, and upstream lets it wait, too.
bool waits_for_consumer(const json::Value& claim, const std::vector<json::Value>& all) {
  bool delayed = false;
  for (const json::Value& o : all) {
    if (o["kind"].as_string() == "StorageClass" && member(o, {"metadata", "name"}).as_string() == member(claim, {"spec", "storageClassName"}).as_string())
      delayed = o["volumeBindingMode"].as_string() == "WaitForFirstConsumer";
    if (o["kind"].as_string() != "Pod" || member(o, {"metadata", "namespace"}).as_string() != member(claim, {"metadata", "namespace"}).as_string()) continue;
    for (const json::Value& v : member(o, {"spec", "volumes"}).as_array())
      if (v.path({"persistentVolumeClaim", "claimName"}).as_string() == member(claim, {"metadata", "name"}).as_string()) return false;
  }
  return delayed;
}

// An autoscaler of one resource metric with a target of the requests is at rest when its target's pods use what they are
// to use, within the tolerance of a tenth, or when it may not go further.
void check_autoscaler(const json::Value& hpa, Cluster& c, const std::vector<json::Value>& all, std::vector<std::string>& wrong) {
  const std::string ns = member(hpa, {"metadata", "namespace"}).as_string(), name = member(hpa, {"spec", "scaleTargetRef", "name"}).as_string();
  const json::Value* target = nullptr;
  for (const json::Value& o : all)
    if (o["kind"].as_string() == member(hpa, {"spec", "scaleTargetRef", "kind"}).as_string() && member(o, {"metadata", "namespace"}).as_string() == ns &&
        member(o, {"metadata", "name"}).as_string() == name)
      target = &o;
  if (!target) return;
  for (const json::Value& cond : member(hpa, {"status", "conditions"}).as_array())
    if ((cond["type"].as_string() == "AbleToScale" || cond["type"].as_string() == "ScalingActive") && cond["status"].as_string() != "True")
      wrong.push_back(id(hpa) + ": " + cond["type"].as_string() + " is " + cond["status"].as_string() + ": " + cond["message"].as_string());
  const int64_t have = member(*target, {"spec", "replicas"}).as_int(), least = member(hpa, {"spec", "minReplicas"}).as_int(1), most = member(hpa, {"spec", "maxReplicas"}).as_int();
  const json::Value& metric = member(hpa, {"spec", "metrics"}).at(0)["resource"];
  auto request = kube::Quantity::parse(member(*target, {"spec", "template", "spec", "containers"}).at(0).path({"resources", "requests", metric["name"].as_string()}).as_string());
  if (!request.ok() || have == 0) return;
  const int64_t target_percent = metric.path({"target", "averageUtilization"}).as_int();
  const int64_t asked = c.loads().of(target->path({"kind"}).as_string() + " " + ns + "/" + name, metric["name"].as_string());
  // Whole per cents and whole thousandths, as they are told and reckoned with.
  const int64_t percent = asked / have * 100 / request->milli_value();
  const double ratio = static_cast<double>(percent) / static_cast<double>(target_percent);
  const int64_t unclamped = std::abs(ratio - 1) <= 0.1 + 1e-9 ? have : static_cast<int64_t>(std::ceil(ratio * static_cast<double>(have)));
  const int64_t wanted = std::clamp(unclamped, least, most);
  if (have != wanted) wrong.push_back(id(hpa) + ": the target has " + std::to_string(have) + " replicas, " + std::to_string(wanted) + " are wanted for " + std::to_string(asked) + "m");
  if (member(hpa, {"status", "desiredReplicas"}).as_int() != have)
    wrong.push_back(id(hpa) + ": status.desiredReplicas is " + std::to_string(member(hpa, {"status", "desiredReplicas"}).as_int()) + ", the target has " + std::to_string(have));
}

}  // namespace

std::vector<std::string> settled(Cluster& c) {
  std::vector<std::string> wrong;
  std::map<std::string, json::Value> by_uid;
  std::vector<json::Value> all;
  for (const kube::KindInfo* k : kube::all_kinds()) {
    if (k->crd || !k->has_verb("list") || k->resource().kind == "Event") continue;
    for (auto& v : c.list(k->resource())) {
      v["kind"] = k->resource().kind;
      by_uid[member(v, {"metadata", "uid"}).as_string()] = v;
      all.push_back(std::move(v));
    }
  }
  std::map<std::string, std::vector<json::Value>> owned;
  for (const json::Value& v : all) {
    if (is_deleting(v)) wrong.push_back(id(v) + " is still being deleted");
    for (const json::Value& o : member(v, {"metadata", "ownerReferences"}).as_array()) {
      if (!by_uid.count(o["uid"].as_string())) wrong.push_back(id(v) + " has the owner " + o["kind"].as_string() + " " + o["name"].as_string() + ", which does not exist");
      if (o["controller"].as_bool()) owned[o["uid"].as_string()].push_back(v);
    }
  }
  std::set<std::string> nodes;
  for (auto& n : c.list(kube::core::Node::resource())) nodes.insert(member(n, {"metadata", "name"}).as_string());
  for (const json::Value& v : all) {
    const std::string& kind = v["kind"].as_string();
    const std::string& uid = member(v, {"metadata", "uid"}).as_string();
    int64_t want = member(v, {"spec", "replicas"}).as_int(1);
    auto count_pods = [&](bool ready_only) {
      int64_t n = 0;
      for (auto& p : owned[uid]) {
        const std::string& phase = member(p, {"status", "phase"}).as_string();
        if (std::as_const(p)["kind"].as_string() == "Pod" && phase != "Succeeded" && phase != "Failed" && (!ready_only || is_ready_object(p))) ++n;
      }
      return n;
    };
    auto expect = [&](const char* what, int64_t have, int64_t wanted) {
      if (have != wanted) wrong.push_back(id(v) + ": " + what + " is " + std::to_string(have) + ", wanted " + std::to_string(wanted));
    };
    if (kind == "Deployment") {
      expect("status.availableReplicas", member(v, {"status", "availableReplicas"}).as_int(), want);
      expect("status.updatedReplicas", member(v, {"status", "updatedReplicas"}).as_int(), want);
      expect("status.replicas", member(v, {"status", "replicas"}).as_int(), want);
      expect("status.observedGeneration", member(v, {"status", "observedGeneration"}).as_int(), member(v, {"metadata", "generation"}).as_int());
    } else if (kind == "ReplicaSet" || kind == "StatefulSet") {
      expect("number of pods", count_pods(false), want);
      expect("number of ready pods", count_pods(true), want);
      expect("status.readyReplicas", member(v, {"status", "readyReplicas"}).as_int(), want);
    } else if (kind == "DaemonSet") {
      expect("number of ready pods", count_pods(true), static_cast<int64_t>(nodes.size()));
      expect("status.numberReady", member(v, {"status", "numberReady"}).as_int(), static_cast<int64_t>(nodes.size()));
    } else if (kind == "Job") {
      // A pod whose maker never heard that it was made is one more than was asked for, and may succeed as well.
      auto unheard = c.trace().unheard_pods().find(uid);
      int64_t succeeded = member(v, {"status", "succeeded"}).as_int(), completions = member(v, {"spec", "completions"}).as_int(1);
      if (succeeded < completions || succeeded > completions + (unheard == c.trace().unheard_pods().end() ? 0 : unheard->second))
        expect("status.succeeded", succeeded, completions);
      bool complete = false;
      for (const json::Value& cond : member(v, {"status", "conditions"}).as_array())
        complete = complete || (cond["type"].as_string() == "Complete" && cond["status"].as_string() == "True");
      if (!complete) wrong.push_back(id(v) + " is not complete");
    } else if (kind == "HorizontalPodAutoscaler") {
      check_autoscaler(v, c, all, wrong);
    } else if (kind == "PersistentVolumeClaim") {
      if (member(v, {"status", "phase"}).as_string() != "Bound" && !waits_for_consumer(v, all)) wrong.push_back(id(v) + " is " + member(v, {"status", "phase"}).as_string());
    } else if (kind == "Pod") {
      const std::string& node = member(v, {"spec", "nodeName"}).as_string();
      if (!node.empty() && !nodes.count(node)) wrong.push_back(id(v) + " is on node " + node + ", which does not exist");
      if (member(v, {"metadata", "ownerReferences"}).size() == 0) wrong.push_back(id(v) + " belongs to nobody");
    } else if (kind == "Service" && member(v, {"spec", "selector"}).size() > 0) {
      std::set<std::string> have, should;
      const std::string& ns = member(v, {"metadata", "namespace"}).as_string();
      for (const json::Value& s : all) {
        if (s["kind"].as_string() == "EndpointSlice" && member(s, {"metadata", "namespace"}).as_string() == ns &&
            member(s, {"metadata", "labels"})["kubernetes.io/service-name"].as_string() == member(v, {"metadata", "name"}).as_string())
          for (const json::Value& e : s["endpoints"].as_array())
            if (member(e, {"conditions", "ready"}).as_bool()) have.insert(e["addresses"].at(0).as_string());
        if (s["kind"].as_string() != "Pod" || member(s, {"metadata", "namespace"}).as_string() != ns || !is_ready_object(s)) continue;
        bool selected = true;
        for (auto& m : member(v, {"spec", "selector"}).as_object())
          selected = selected && member(s, {"metadata", "labels"})[m.key].as_string() == m.value.as_string();
        if (selected) should.insert(member(s, {"status", "podIP"}).as_string());
      }
      if (have != should) wrong.push_back(id(v) + " has " + std::to_string(have.size()) + " ready endpoints, and " + std::to_string(should.size()) + " ready pods");
    }
  }
  return wrong;
}

}  // namespace caravel::sim
