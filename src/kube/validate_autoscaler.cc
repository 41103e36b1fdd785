// HorizontalPodAutoscalers: what is scaled, by which metrics, how fast.
#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

const FieldPath kAutoscalerSpec("spec");
constexpr int64_t kWindowMax = 3600, kPeriodMax = 1800;

void scaled_object(const Value& r, bool core_too, const FieldPath& p, FieldErrors& e) {
  for (auto f : {"kind", "name"}) {
    if (r[f].as_string().empty()) e.push_back(required_error(p.child(f)));
    else text_must(check_path_segment_name, r[f], p.child(f), e);
  }
  const std::string& version = r["apiVersion"].as_string();
  const size_t slash = version.find('/');
  if (slash != version.npos && version.find('/', slash + 1) != version.npos) e.push_back(invalid_error(p.child("apiVersion"), version, "unexpected GroupVersion string: " + version));
  else if (!core_too && (slash == version.npos || slash == 0) && r["kind"].as_string() != "ReplicationController") e.push_back(invalid_error(p.child("apiVersion"), version, "apiVersion must specify API group"));
}

void metric_name(const Value& m, const FieldPath& p, FieldErrors& e) {
  if (m["name"].as_string().empty()) e.push_back(required_error(p.child("name"), "must specify a metric name"));
  else text_must(check_path_segment_name, m["name"], p.child("name"), e);
}

void metric_target(const Value& t, const FieldPath& p, FieldErrors& e) {
  const std::string& type = t["type"].as_string();
  if (type.empty()) e.push_back(required_error(p.child("type"), "must specify a metric target type"));
  if (type != "Utilization" && type != "Value" && type != "AverageValue") e.push_back(invalid_error(p.child("type"), type, "must be either Utilization, Value, or AverageValue"));
  for (auto f : {"value", "averageValue"}) {
    const Value& v = t[f];
    if (v.is_null()) continue;
    auto q = Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
    if (q.ok() && q->sign() <= 0) e.push_back(invalid_error(p.child(f), v, "must be positive"));
  }
  if (const Value& percent = t["averageUtilization"]; percent.is_int() && percent.as_int() < 1) e.push_back(invalid_error(p.child("averageUtilization"), percent, "must be greater than 0"));
}

// Of the two ways to say how much a target asks for one, where `one` is; upstream has a sentence for each source.
void one_amount(const Value& t, std::string_view first, std::string_view second, std::string_view none_at, std::string_view none, std::string_view both_at, std::string_view both,
                const FieldPath& p, FieldErrors& e) {
  const bool a = !t[first].is_null(), b = !t[second].is_null();
  if (!a && !b) e.push_back(required_error(p.child(none_at), none));
  if (a && b && !both.empty()) e.push_back(forbidden_error(p.child(both_at), both));
}

void metric_source(std::string_view kind, const Value& s, const FieldPath& p, FieldErrors& e) {
  const Value& t = s["target"];
  const FieldPath target = p.child("target");
  if (kind == "object") {
    scaled_object(s["describedObject"], true, p.child("describedObject"), e);
    metric_name(s["metric"], p.child("metric"), e);
    metric_target(t, target, e);
    one_amount(t, "value", "averageValue", "averageValue", "must set either a target value or averageValue", "", "", target, e);
  } else if (kind == "external") {
    metric_name(s["metric"], p.child("metric"), e);
    metric_target(t, target, e);
    one_amount(t, "value", "averageValue", "averageValue", "must set either a target value for metric or a per-pod target", "value", "may not set both a target value for metric and a per-pod target",
               target, e);
  } else if (kind == "pods") {
    metric_name(s["metric"], p.child("metric"), e);
    metric_target(t, target, e);
    if (t["averageValue"].is_null()) e.push_back(required_error(target.child("averageValue"), "must specify a positive target averageValue"));
  } else {
    if (s["name"].as_string().empty()) e.push_back(required_error(p.child("name"), "must specify a resource name"));
    else if (kind == "containerResource") container_resource_name(s["name"].as_string(), p.child("name"), e);
    if (kind == "containerResource") {
      if (s["container"].as_string().empty()) e.push_back(required_error(p.child("container"), "must specify a container"));
      else text_must(check_dns1123_label, s["container"], p.child("container"), e);
    }
    metric_target(t, target, e);
    one_amount(t, "averageUtilization", "averageValue", "averageUtilization", "must set either a target raw value or a target utilization", "averageValue",
               "may not set both a target raw value and a target utilization", target, e);
  }
}

void metric(const Value& m, const FieldPath& p, FieldErrors& e) {
  // In upstream's order: of several sources the first is checked.
  static constexpr std::pair<std::string_view, std::string_view> kSources[] = {
      {"object", "Object"}, {"external", "External"}, {"pods", "Pods"}, {"resource", "Resource"}, {"containerResource", "ContainerResource"}};
  const std::string& type = m["type"].as_string();
  if (type.empty()) e.push_back(required_error(p.child("type"), "must specify a metric source type"));
  supported(m["type"], {"ContainerResource", "External", "Object", "Pods", "Resource"}, p.child("type"), e);
  int found = 0;
  for (auto& [member, name] : kSources)
    if (m[member].is_object() && found++ == 0) metric_source(member, m[member], p.child(member), e);
  for (auto& [member, name] : kSources) {
    if (name == type) {
      if (!m[member].is_object()) e.push_back(required_error(p.child(member), "must populate information for the given metric source"));
    } else if (found != 1 && m[member].is_object()) {
      e.push_back(forbidden_error(p.child(member), "must populate the given metric source only"));
    }
  }
}

void scaling_rules(const Value& r, const FieldPath& p, FieldErrors& e) {
  if (const Value& window = r["stabilizationWindowSeconds"]; window.is_int()) {
    if (window.as_int() < 0) e.push_back(invalid_error(p.child("stabilizationWindowSeconds"), window, "must be greater than or equal to zero"));
    if (window.as_int() > kWindowMax) e.push_back(invalid_error(p.child("stabilizationWindowSeconds"), window, "must be less than or equal to 3600"));
  }
  if (r["selectPolicy"].is_string()) supported(r["selectPolicy"], {"Disabled", "Max", "Min"}, p.child("selectPolicy"), e);
  // Absent ones are those of the defaults.
  if (r["policies"].is_array() && r["policies"].size() == 0) e.push_back(required_error(p.child("policies"), "must specify at least one Policy"));
  for (size_t i = 0; i < r["policies"].size(); ++i) {
    const Value& policy = r["policies"].at(i);
    const FieldPath at = p.child("policies").index(i);
    supported(policy["type"], {"Percent", "Pods"}, at.child("type"), e);
    for (auto f : {"value", "periodSeconds"})
      if (policy[f].as_int() <= 0) e.push_back(invalid_error(at.child(f), policy[f].as_int(), "must be greater than zero"));
    if (policy["periodSeconds"].as_int() > kPeriodMax) e.push_back(invalid_error(at.child("periodSeconds"), policy["periodSeconds"], "must be less than or equal to 1800"));
  }
  if (const Value& tolerance = r["tolerance"]; !tolerance.is_null()) {
    auto q = Quantity::parse(tolerance.is_string() ? tolerance.as_string() : json::dump(tolerance));
    if (q.ok() && q->sign() < 0) e.push_back(invalid_error(p.child("tolerance"), tolerance, "must be greater than or equal to 0"));
  }
}

}  // namespace

void horizontal_autoscaler(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  if (old && s == (*old)["spec"]) return;
  const Value &min = s["minReplicas"], &max = s["maxReplicas"];
  if (min.is_int() && min.as_int() < 1) e.push_back(invalid_error(kAutoscalerSpec.child("minReplicas"), min, "must be greater than or equal to 1"));
  if (max.as_int() == 0) e.push_back(required_error(kAutoscalerSpec.child("maxReplicas"), "must be set and greater than 0"));
  else if (max.as_int() < 0) e.push_back(invalid_error(kAutoscalerSpec.child("maxReplicas"), max, "must be greater than or equal to 1"));
  if (min.is_int() && max.as_int() < min.as_int()) e.push_back(invalid_error(kAutoscalerSpec.child("maxReplicas"), max.as_int(), "must be greater than or equal to `minReplicas`"));
  if (!old || !(s["scaleTargetRef"] == (*old)["spec"]["scaleTargetRef"])) scaled_object(s["scaleTargetRef"], false, kAutoscalerSpec.child("scaleTargetRef"), e);
  const Value& metrics = s["metrics"];
  bool from_zero = false;
  for (size_t i = 0; i < metrics.size(); ++i) {
    metric(metrics.at(i), kAutoscalerSpec.child("metrics").index(i), e);
    const std::string& type = metrics.at(i)["type"].as_string();
    from_zero = from_zero || type == "Object" || type == "External";
  }
  if (min.is_int() && min.as_int() == 0 && !from_zero)
    e.push_back(forbidden_error(kAutoscalerSpec.child("metrics"), "must specify at least one Object or External metric to support scaling to zero replicas"));
  for (auto f : {"scaleUp", "scaleDown"})
    if (s["behavior"][f].is_object()) scaling_rules(s["behavior"][f], kAutoscalerSpec.child("behavior").child(f), e);
}

}  // namespace caravel::kube::check
