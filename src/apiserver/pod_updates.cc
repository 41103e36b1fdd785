#include "apiserver/pod_updates.h"

#include "apiserver/defaults.h"
#include "apiserver/object_meta.h"
#include "apiserver/status.h"
#include "kube/validate_kinds.h"

namespace caravel::apiserver {

namespace {

using json::Value;
using kube::check::same;

Error refused(const Value& pod, std::vector<Cause> causes) { return status::invalid("", "Pod", meta_string(pod, "name"), causes); }

const Value* named(const Value& list, const std::string& name) {
  for (auto& c : list.as_array())
    if (c["name"].as_string() == name) return &c;
  return nullptr;
}

bool resources_differ(const Value& a, const Value& b) {
  for (std::string_view list : {"containers", "initContainers"})
    for (auto& c : a["spec"][list].as_array()) {
      const Value* other = named(b["spec"][list], c["name"].as_string());
      if (other && !same(c["resources"], (*other)["resources"])) return true;
    }
  return !same(a["spec"]["resources"], b["spec"]["resources"]);
}

Result<Value> ephemeral(const Value& live, const Value& wanted) {
  const Value& had = live["spec"]["ephemeralContainers"];
  const Value& now = wanted["spec"]["ephemeralContainers"];
  std::vector<Cause> bad;
  for (auto& c : had.as_array()) {
    const std::string& name = c["name"].as_string();
    const Value* kept = named(now, name);
    if (!kept) bad.push_back({"spec.ephemeralContainers", "FieldValueForbidden", "Forbidden: existing ephemeral containers " + json::quote(name) + " may not be removed\n"});
    else if (!same(*kept, c)) bad.push_back({"spec.ephemeralContainers", "FieldValueForbidden", "Forbidden: existing ephemeral containers " + json::quote(name) + " may not be changed\n"});
  }
  if (!bad.empty()) return refused(live, std::move(bad));
  Value out = live;
  if (now.size()) out["spec"]["ephemeralContainers"] = now;
  return out;
}

Result<Value> resized(const Value& live, const Value& wanted) {
  std::vector<Cause> bad;
  Value out = live;
  for (std::string_view list : {"containers", "initContainers"}) {
    Value* mine = out["spec"].find(list);
    if (!mine || !mine->is_array()) continue;
    auto& containers = mine->arr();
    for (size_t i = 0; i < containers.size(); ++i) {
      const std::string name = containers[i]["name"].as_string();
      const Value* w = named(wanted["spec"][list], name);
      if (!w) continue;
      const Value old = std::as_const(containers[i])["resources"];
      std::string at = "spec." + std::string(list) + "[" + std::to_string(i) + "].resources";
      for (std::string_view kind : {"limits", "requests"}) {
        for (auto& m : old[kind].as_object())
          if (!(*w)["resources"][kind].find(m.key))
            bad.push_back({at + "." + std::string(kind), "FieldValueForbidden", "Forbidden: resource " + std::string(kind) + " cannot be removed"});
        for (auto& m : (*w)["resources"][kind].as_object()) {
          bool mutable_one = m.key == "cpu" || m.key == "memory";
          if (!mutable_one && !(m.value == old[kind][m.key])) bad.push_back({"spec", "FieldValueForbidden", "Forbidden: only cpu and memory resources are mutable"});
        }
      }
      if (w->find("resources")) containers[i]["resources"] = (*w)["resources"];
      if (w->find("resizePolicy")) containers[i]["resizePolicy"] = (*w)["resizePolicy"];
    }
  }
  std::string was(qos_class(live)), now(qos_class(out));
  if (bad.empty() && was != now) bad.push_back({"spec", "FieldValueInvalid", "Invalid value: " + json::quote(now) + ": Pod QOS Class may not change as a result of resizing"});
  const std::string& phase = live.path({"status", "phase"}).as_string();
  if (phase == "Succeeded" || phase == "Failed") bad.push_back({"spec", "FieldValueForbidden", "Forbidden: pod with terminal phase cannot be resized"});
  if (!bad.empty()) return refused(live, std::move(bad));
  return out;
}

}  // namespace

Result<Value> limited_pod_update(std::string_view subresource, const Value& live, Value wanted) {
  if (subresource == "ephemeralcontainers" || subresource == "resize") {
    Value meta = std::as_const(wanted)["metadata"];
    TRY(Value out, subresource == "resize" ? resized(live, wanted) : ephemeral(live, wanted));
    out["metadata"] = std::move(meta);
    return out;
  }
  if (!subresource.empty()) return wanted;
  const Value& now = wanted;
  if (resources_differ(now, live) || !same(now["spec"]["ephemeralContainers"], live["spec"]["ephemeralContainers"]))
    return refused(live, {{"spec", "FieldValueForbidden",
                           "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
                           "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"}});
  return wanted;
}

Result<Value> approved_request(const Value& live, const Value& wanted, Time now) {
  const Value& had = live.path({"status", "conditions"});
  Value conditions = wanted.path({"status", "conditions"});
  std::vector<Cause> bad;
  if (conditions.is_array())
    for (auto& c : conditions.arr()) {
      const Value* before = nullptr;
      for (auto& o : had.as_array())
        if (o["type"] == std::as_const(c)["type"]) before = &o;
      if (std::as_const(c)["lastUpdateTime"].as_string().empty()) c["lastUpdateTime"] = format_rfc3339(now);
      if (std::as_const(c)["lastTransitionTime"].as_string().empty()) {
        bool unmoved = before && (*before)["status"] == std::as_const(c)["status"] && !(*before)["lastTransitionTime"].as_string().empty();
        c["lastTransitionTime"] = unmoved ? (*before)["lastTransitionTime"].as_string() : format_rfc3339(now);
      }
    }
  auto has = [](const Value& list, std::string_view type) {
    for (auto& c : list.as_array())
      if (c["type"].as_string() == type) return true;
    return false;
  };
  for (std::string_view type : {"Approved", "Denied", "Failed"})
    if (has(had, type) && !has(conditions, type))
      bad.push_back({"status.conditions", "FieldValueForbidden", "Forbidden: updates may not remove a condition of type " + json::quote(std::string(type))});
  if (has(conditions, "Approved") && has(conditions, "Denied"))
    bad.push_back({"status.conditions", "FieldValueInvalid", "Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"});
  if (!bad.empty()) return status::invalid("certificates.k8s.io", "CertificateSigningRequest", meta_string(live, "name"), bad);
  Value out = live;
  out["status"]["conditions"] = std::move(conditions);
  return out;
}

}  // namespace caravel::apiserver
