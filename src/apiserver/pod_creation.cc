#include "apiserver/pod_creation.h"

#include <utility>

#include "apiserver/defaults.h"
#include "kube/warnings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

void require_label(Value& selector, const Value& keys, const char* op, const Value& labels) {
  for (const Value& key : keys.as_array()) {
    const Value* value = labels.find(key.as_string());
    if (value) selector["matchExpressions"].push_back(json::Object{{"key", key}, {"operator", op}, {"values", Value::array({*value})}});
  }
}

// A term without a selector selects nothing, and keeps doing so.
void merge_label_keys(Value& term, const Value& labels) {
  Value* selector = term.find("labelSelector");
  if (!selector || !selector->is_object()) return;
  const Value match = std::as_const(term)["matchLabelKeys"], mismatch = std::as_const(term)["mismatchLabelKeys"];
  require_label(*selector, match, "In", labels);
  require_label(*selector, mismatch, "NotIn", labels);
}

template <class F>
void each_item(Value& owner, std::string_view list, F f) {
  if (Value* items = owner.find(list); items && items->is_array())
    for (Value& item : items->arr()) f(item);
}

void merge_all_label_keys(Value& spec, const Value& labels) {
  if (Value* affinity = spec.find("affinity"); affinity && affinity->is_object())
    for (std::string_view kind : {"podAffinity", "podAntiAffinity"}) {
      Value* terms = affinity->find(kind);
      if (!terms || !terms->is_object()) continue;
      each_item(*terms, "requiredDuringSchedulingIgnoredDuringExecution", [&](Value& t) { merge_label_keys(t, labels); });
      each_item(*terms, "preferredDuringSchedulingIgnoredDuringExecution", [&](Value& t) {
        if (Value* term = t.find("podAffinityTerm"); term && term->is_object()) merge_label_keys(*term, labels);
      });
    }
  each_item(spec, "topologySpreadConstraints", [&](Value& c) { merge_label_keys(c, labels); });
}

bool valid_profile(const Value& profile) {
  constexpr size_t kProfileMax = 4095;
  if (profile["type"].as_string() != "Localhost") return !profile.is_null();
  const std::string& name = profile["localhostProfile"].as_string();
  return !name.empty() && name.size() <= kProfileMax && name.find_first_not_of(" \t\r\n") == 0 && name.find_last_not_of(" \t\r\n") == name.size() - 1;
}

// The field is what counts since v1.30; a pod of an older client has the annotation only.
void copy_apparmor_annotations(Value& pod, std::vector<std::string>& warnings) {
  const Value& was = pod;
  if (was["spec"]["os"]["name"].as_string() == "windows" || was["metadata"]["annotations"].size() == 0) return;
  const Value annotations = was["metadata"]["annotations"], of_pod = was["spec"]["securityContext"]["appArmorProfile"];
  for (std::string_view list : {"initContainers", "containers", "ephemeralContainers"})
    each_item(pod["spec"], list, [&](Value& c) {
      const std::string key = std::string(kube::kAppArmorAnnotation) + std::as_const(c)["name"].as_string();
      const Value* note = annotations.find(key);
      if (!note || !std::as_const(c)["securityContext"]["appArmorProfile"].is_null()) return;
      const Value profile = kube::apparmor_of_annotation(note->as_string());
      const bool valid = valid_profile(profile);
      if (valid && profile == of_pod) return;
      if (valid) c["securityContext"]["appArmorProfile"] = profile;
      warnings.push_back("metadata.annotations[" + key + "]: " + std::string(kube::kAppArmorWarning));
    });
}

}  // namespace

void prepare_new_pod(Value& pod, std::vector<std::string>& warnings) {
  Value st = Value::object();
  st["phase"] = "Pending";
  st["qosClass"] = qos_class(pod);
  if (pod.path({"spec", "schedulingGates"}).size()) {
    Value c = Value::object();
    c["type"] = "PodScheduled";
    c["status"] = "False";
    c["reason"] = "SchedulingGated";
    c["message"] = "Scheduling is blocked due to non-empty scheduling gates";
    st["conditions"] = Value::array({c});
  }
  pod["status"] = std::move(st);
  const Value labels = std::as_const(pod)["metadata"]["labels"];
  merge_all_label_keys(pod["spec"], labels);
  copy_apparmor_annotations(pod, warnings);
}

}  // namespace caravel::apiserver
