#include "apiserver/conversion.h"

#include <utility>

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr std::pair<std::string_view, std::string_view> kEventFields[] = {
    {"involvedObject", "regarding"}, {"message", "note"}, {"reportingComponent", "reportingController"}, {"source", "deprecatedSource"}, {"firstTimestamp", "deprecatedFirstTimestamp"}, {"lastTimestamp", "deprecatedLastTimestamp"}, {"count", "deprecatedCount"}};

Status rename(Value& o, bool to_core) {
  for (auto& [core, events] : kEventFields) {
    std::string_view from = to_core ? events : core, to = to_core ? core : events;
    Value* v = o.find(from);
    if (!v) continue;
    Value moved = std::move(*v);
    o.erase(from);
    o[to] = std::move(moved);
  }
  o["apiVersion"] = to_core ? "v1" : "events.k8s.io/v1";
  return ok();
}

Status autoscaler_to_v1(Value& o) {
  o["apiVersion"] = "autoscaling/v1";
  o["metadata"];  // is there before what follows refers to a member
  Value& spec = o["spec"];
  Value rest = Value::array(), target;
  for (auto& m : spec["metrics"].as_array()) {
    bool cpu = m["type"].as_string() == "Resource" && m.path({"resource", "name"}).as_string() == "cpu" && m.path({"resource", "target", "averageUtilization"}).is_int();
    if (cpu && target.is_null() && !spec.find("targetCPUUtilizationPercentage")) target = m.path({"resource", "target", "averageUtilization"});
    else rest.push_back(m);
  }
  spec.erase("metrics");
  if (!target.is_null()) spec["targetCPUUtilizationPercentage"] = std::move(target);
  if (rest.size()) o["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"] = json::dump(rest);
  if (Value* b = spec.find("behavior")) {
    o["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/behavior"] = json::dump(*b);
    spec.erase("behavior");
  }
  if (Value* st = o.find("status")) {
    Value out = Value::object();
    for (std::string_view f : {"observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas"})
      if (auto* v = st->find(f)) out[f] = *v;
    for (auto& m : (*st)["currentMetrics"].as_array())
      if (m.path({"resource", "name"}).as_string() == "cpu" && m.path({"resource", "current", "averageUtilization"}).is_int())
        out["currentCPUUtilizationPercentage"] = m.path({"resource", "current", "averageUtilization"});
    if ((*st)["conditions"].size()) o["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/conditions"] = json::dump((*st)["conditions"]);
    *st = std::move(out);
  }
  return ok();
}

Status autoscaler_to_v2(Value& o) {
  o["apiVersion"] = "autoscaling/v2";
  o["metadata"];  // is there before what follows refers to a member
  Value& spec = o["spec"];
  Value metrics = Value::array();
  if (Value* t = spec.find("targetCPUUtilizationPercentage")) {
    Value m = Value::object();
    m["type"] = "Resource";
    m["resource"]["name"] = "cpu";
    m["resource"]["target"]["type"] = "Utilization";
    m["resource"]["target"]["averageUtilization"] = *t;
    metrics.push_back(std::move(m));
    spec.erase("targetCPUUtilizationPercentage");
  }
  Value& notes = o["metadata"]["annotations"];
  if (notes.is_null()) notes = Value::object();
  auto take = [&](std::string_view key) -> Value {
    Value* v = notes.find(key);
    if (!v) return {};
    auto parsed = json::parse(v->as_string());
    notes.erase(key);
    return parsed.ok() ? std::move(*parsed) : Value();
  };
  Value more = take("autoscaling.alpha.kubernetes.io/metrics");
  for (auto& m : more.as_array()) metrics.push_back(m);
  if (metrics.size()) spec["metrics"] = std::move(metrics);
  if (Value b = take("autoscaling.alpha.kubernetes.io/behavior"); b.is_object()) spec["behavior"] = std::move(b);
  if (Value c = take("autoscaling.alpha.kubernetes.io/conditions"); c.is_array()) o["status"]["conditions"] = std::move(c);
  if (notes.size() == 0) o["metadata"].erase("annotations");
  if (Value* st = o.find("status")) st->erase("currentCPUUtilizationPercentage");
  return ok();
}

}  // namespace

void set_builtin_conversion(ServedType& t) {
  t.storage_api_version = t.resource.api_version();
  if (t.resource.group == "events.k8s.io" && t.resource.plural == "events") {
    t.storage_api_version = "v1";
    t.from_storage = [](Value& o) { return rename(o, false); };
    t.to_storage = [](Value& o) { return rename(o, true); };
  } else if (t.resource.group == "autoscaling" && t.resource.version == "v1") {
    t.storage_api_version = "autoscaling/v2";
    t.from_storage = autoscaler_to_v1;
    t.to_storage = autoscaler_to_v2;
  }
}

}  // namespace caravel::apiserver
