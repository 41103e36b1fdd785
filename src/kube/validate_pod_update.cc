// What an update of a pod may change: images, a nearer deadline, more tolerations, fewer scheduling gates; and while
// there are gates, a narrower choice of nodes. Which subresource is writing is not known here: what ephemeralcontainers,
// resize and binding change is left to them.
#include <algorithm>

#include "base/strings.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

const FieldPath kPodSpec("spec");
constexpr int64_t kDeadlineMax = 2147483647;

// The same but for these members.
bool same_but(const Value& a, const Value& b, std::initializer_list<std::string_view> members) {
  auto skipped = [&](std::string_view key) { return std::find(members.begin(), members.end(), key) != members.end(); };
  for (auto& m : a.as_object())
    if (!skipped(m.key) && !same(m.value, b[m.key])) return false;
  for (auto& m : b.as_object())
    if (!skipped(m.key) && !m.value.is_null() && a[m.key].is_null()) return false;
  return true;
}

void annotation_update(const Value& now, const Value& old, FieldErrors& e) {
  const FieldPath p = FieldPath("metadata").child("annotations");
  auto of_interest = [](std::string_view key) -> std::string_view {
    if (key.starts_with("container.apparmor.security.beta.kubernetes.io/")) return "AppArmor annotations";
    return key == "kubernetes.io/config.mirror" ? "mirror pod annotation" : "";
  };
  for (auto& m : old.as_object())
    if (auto what = of_interest(m.key); !what.empty() && !(now[m.key] == m.value)) e.push_back(forbidden_error(p.key(m.key), "may not remove or update " + std::string(what)));
  for (auto& m : now.as_object())
    if (auto what = of_interest(m.key); !what.empty() && !old.find(m.key)) e.push_back(forbidden_error(p.key(m.key), "may not add " + std::string(what)));
}

// False: nothing more can be said.
bool container_update(const Value& now, const Value& old, std::string_view list, FieldErrors& e) {
  const FieldPath p = kPodSpec.child(list);
  if (now[list].size() != old[list].size()) {
    e.push_back(forbidden_error(p, "pod updates may not add or remove containers"));
    return false;
  }
  if (now[list] == old[list]) return true;
  for (size_t i = 0; i < now[list].size(); ++i) {
    const std::string& image = now[list].at(i)["image"].as_string();
    if (image.empty()) e.push_back(required_error(p.index(i).child("image")));
    if (trim(image).size() != image.size()) e.push_back(invalid_error(p.index(i).child("image"), image, "must not have leading or trailing whitespace"));
  }
  return true;
}

bool deadline_update(const Value& now, const Value& old, FieldErrors& e) {
  const FieldPath p = kPodSpec.child("activeDeadlineSeconds");
  if (now.is_null()) {
    if (!old.is_null()) e.push_back(invalid_error(p, now, "must not update from a positive integer to nil value"));
    return true;
  }
  if (now.as_int() < 0 || now.as_int() > kDeadlineMax) e.push_back(invalid_error(p, now, "must be between 0 and 2147483647, inclusive"));
  else if (!old.is_null() && old.as_int() < now.as_int()) e.push_back(invalid_error(p, now, "must be less than or equal to previous value"));
  else return true;
  return false;
}

void toleration_update(const Value& now, const Value& old, FieldErrors& e) {
  if (now == old) return;
  const FieldPath p = kPodSpec.child("tolerations");
  for (const Value& t : old.as_array()) {
    const auto& list = now.as_array();
    if (std::any_of(list.begin(), list.end(), [&](const Value& n) { return same_but(n, t, {"tolerationSeconds"}); })) continue;
    return e.push_back(forbidden_error(p, "existing toleration can not be modified except its tolerationSeconds"));
  }
  tolerations(now, p, e);
}

void gate_update(const Value& now, const Value& old, FieldErrors& e) {
  for (size_t i = 0; i < now.size(); ++i) {
    const std::string& name = now.at(i)["name"].as_string();
    const auto& had = old.as_array();
    if (std::none_of(had.begin(), had.end(), [&](const Value& g) { return g["name"].as_string() == name; }))
      e.push_back(forbidden_error(kPodSpec.child("schedulingGates").index(i).child("name"), "only deletion is allowed, but found new scheduling gate '" + name + "'"));
  }
}

// Items may only be added, at the end.
bool begins_with(const Value& now, const Value& old) {
  for (size_t i = 0; i < old.size(); ++i)
    if (!same(now.at(i), old.at(i))) return false;
  return true;
}

// A gated pod's choice of nodes may become narrower.
void narrower_nodes(const Value& now, const Value& old, FieldErrors& e) {
  for (auto& m : old["nodeSelector"].as_object())
    if (!(now["nodeSelector"][m.key] == m.value)) {
      e.push_back(invalid_error(kPodSpec.child("nodeSelector"), now["nodeSelector"], "only additions to spec.nodeSelector are allowed (no mutations or deletions)"));
      break;
    }
  constexpr std::string_view kRequired = "requiredDuringSchedulingIgnoredDuringExecution";
  const Value &was = old["affinity"]["nodeAffinity"][kRequired]["nodeSelectorTerms"], &is = now["affinity"]["nodeAffinity"][kRequired]["nodeSelectorTerms"];
  if (was.size() == 0) return;
  const FieldPath p = kPodSpec.child("affinity").child("nodeAffinity").child(kRequired).child("nodeSelectorTerms");
  if (was.size() != is.size()) return e.push_back(invalid_error(p, is, "no additions/deletions to non-empty NodeSelectorTerms list are allowed"));
  for (size_t i = 0; i < was.size(); ++i) {
    const Value &a = was.at(i), &b = is.at(i);
    const bool empty = a["matchExpressions"].size() + a["matchFields"].size() == 0;
    const bool filled = b["matchExpressions"].size() + b["matchFields"].size() > 0;
    if ((empty && filled) || !begins_with(b["matchExpressions"], a["matchExpressions"]) || !begins_with(b["matchFields"], a["matchFields"]))
      e.push_back(invalid_error(p.index(i), b, "only additions are allowed (no mutations or deletions)"));
  }
}

bool fixed_part_is_same(const Value& now, const Value& old) {
  for (std::string_view list : {"containers", "initContainers"})
    for (size_t i = 0; i < now[list].size(); ++i)
      if (!same_but(now[list].at(i), old[list].at(i), {"image", "resources"})) return false;
  const Value &grace = now["terminationGracePeriodSeconds"], &had = old["terminationGracePeriodSeconds"];
  if (!(grace == had) && !(had.is_int() && had.as_int() < 0 && grace.as_int() == 1)) return false;
  // A pod goes to a node once.
  if (!old["nodeName"].as_string().empty() && !(now["nodeName"] == old["nodeName"])) return false;
  const bool gated = old["schedulingGates"].size() > 0;
  if (!gated && !(same(now["nodeSelector"], old["nodeSelector"]) && same(now["affinity"], old["affinity"]))) return false;
  if (gated && !same_but(now["affinity"], old["affinity"], {"nodeAffinity"})) return false;
  return same_but(now, old, {"containers", "initContainers", "ephemeralContainers", "resources", "activeDeadlineSeconds", "tolerations", "schedulingGates", "terminationGracePeriodSeconds", "nodeName", "nodeSelector", "affinity"});
}

}  // namespace

void pod_update(const Value& now_pod, const Value& old_pod, FieldErrors& e) {
  const Value &now = now_pod["spec"], &old = old_pod["spec"];
  annotation_update(now_pod["metadata"]["annotations"], old_pod["metadata"]["annotations"], e);
  if (now == old) return;
  for (std::string_view list : {"containers", "initContainers"})
    if (!container_update(now, old, list, e)) return;
  if (!deadline_update(now["activeDeadlineSeconds"], old["activeDeadlineSeconds"], e)) return;
  toleration_update(now["tolerations"], old["tolerations"], e);
  gate_update(now["schedulingGates"], old["schedulingGates"], e);
  if (old["schedulingGates"].size()) narrower_nodes(now, old, e);
  if (!fixed_part_is_same(now, old))
    e.push_back(forbidden_error(kPodSpec,
                                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
                                "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"));
}

}  // namespace caravel::kube::check
