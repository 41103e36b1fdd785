// Pods and pod templates: what is about the pod as a whole.
#include "kube/validate_pod.h"

#include <algorithm>
#include <set>

#include "base/strings.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr size_t kNameserversMax = 3, kSearchesMax = 32, kSearchTextMax = 2048, kHostnameOverrideMax = 64;
constexpr int64_t kSecondsMax = 2147483647;

void pod_claims(const Value& list, const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list.at(i);
    const FieldPath at = p.index(i);
    if (pod.is_pod() && (*pod.metadata)["annotations"].find("kubernetes.io/config.mirror")) {
      e.push_back(forbidden_error(FieldPath(), "static pods do not support resource claims"));
      continue;
    }
    const std::string& name = c["name"].as_string();
    if (name.empty()) e.push_back(required_error(at.child("name")));
    else if (!seen.insert(name).second) e.push_back(duplicate_error(at.child("name"), name));
    else text_must(check_dns1123_label, c["name"], at.child("name"), e);
    const Value &claim = c["resourceClaimName"], &made = c["resourceClaimTemplateName"];
    if (!claim.is_null() && !made.is_null()) e.push_back(invalid_error(at, c, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"));
    if (claim.is_null() && made.is_null()) e.push_back(invalid_error(at, c, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"));
    if (!claim.is_null()) text_must(check_dns1123_subdomain, claim, at.child("resourceClaimName"), e);
    if (!made.is_null()) text_must(check_dns1123_subdomain, made, at.child("resourceClaimTemplateName"), e);
  }
}

void host_network_ports(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = pod.spec["containers"].as_array();
  for (size_t c = 0; c < list.size(); ++c)
    for (size_t i = 0; i < list[c]["ports"].size(); ++i) {
      const Value& port = list[c]["ports"].at(i);
      const int64_t host = port["hostPort"].as_int();
      // A template's pods get theirs by default.
      if ((pod.is_pod() || host != 0) && host != port["containerPort"].as_int())
        e.push_back(invalid_error(p.child("containers").index(c).child("ports").index(i).child("hostPort"), host, "must match `containerPort` when `hostNetwork` is true"));
    }
}

void dns_config(const Value& config, bool none, const FieldPath& p, FieldErrors& e) {
  const Value &servers = config["nameservers"], &searches = config["searches"], &options = config["options"];
  if (none && config.is_null()) return e.push_back(required_error(p, "must provide `dnsConfig` when `dnsPolicy` is None"));
  if (none && servers.size() == 0) return e.push_back(required_error(p.child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None"));
  if (servers.size() > kNameserversMax) e.push_back(invalid_error(p.child("nameservers"), servers, "must not have more than 3 nameservers"));
  for (size_t i = 0; i < servers.size(); ++i) text_must(check_ip, servers.at(i), p.child("nameservers").index(i), e);
  if (searches.size() > kSearchesMax) e.push_back(invalid_error(p.child("searches"), searches, "must not have more than 32 search paths"));
  size_t total = searches.size() ? searches.size() - 1 : 0;
  for (const Value& s : searches.as_array()) total += s.as_string().size();
  if (total > kSearchTextMax) e.push_back(invalid_error(p.child("searches"), searches, "must not have more than 2048 characters (including spaces) in the search list"));
  for (size_t i = 0; i < searches.size(); ++i) {
    std::string_view s = searches.at(i).as_string();
    if (s == ".") continue;
    if (s.ends_with('.')) s.remove_suffix(1);
    text_must(check_dns1123_subdomain_with_underscore, s, p.child("searches").index(i), e);
  }
  for (size_t i = 0; i < options.size(); ++i)
    if (options.at(i)["name"].as_string().empty()) e.push_back(required_error(p.child("options").index(i), "must not be empty"));
}

void host_name_override(const Value& s, const FieldPath& p, FieldErrors& e) {
  const Value& name = s["hostnameOverride"];
  if (s["setHostnameAsFQDN"].as_bool()) e.push_back(forbidden_error(p, "may not be specified when setHostnameAsFQDN is true"));
  if (s["hostNetwork"].as_bool()) e.push_back(forbidden_error(p, "may not be specified when hostNetwork is true"));
  if (name.as_string().size() > kHostnameOverrideMax) e.push_back(too_long(p, kHostnameOverrideMax));
  text_must(check_dns1123_subdomain, name, p, e);
}

void host_users_alone(const Value& s, const FieldPath& p, FieldErrors& e) {
  constexpr std::string_view kWhy = "when `hostUsers` is false";
  if (s["hostNetwork"].as_bool()) e.push_back(forbidden_error(p.child("hostNetwork"), kWhy));
  if (s["hostPID"].as_bool()) e.push_back(forbidden_error(p.child("HostPID"), kWhy));
  if (s["hostIPC"].as_bool()) e.push_back(forbidden_error(p.child("HostIPC"), kWhy));
  each_container(s, [&](const Value& c, std::string_view list, size_t i) {
    if (c["volumeDevices"].size()) e.push_back(forbidden_error(p.child(list).index(i).child("volumeDevices"), kWhy));
  });
}

// Environment files come from emptyDirs.
void environment_files(const Value& s, const FieldPath& p, FieldErrors& e) {
  each_container(s, [&](const Value& c, std::string_view list, size_t i) {
    const auto& env = c["env"].as_array();
    for (size_t k = 0; k < env.size(); ++k) {
      const Value& ref = env[k]["valueFrom"]["fileKeyRef"];
      if (!ref.is_object()) continue;
      const std::string& name = ref["volumeName"].as_string();
      const auto& volumes = s["volumes"].as_array();
      auto v = std::find_if(volumes.rbegin(), volumes.rend(), [&](const Value& x) { return x["name"].as_string() == name; });
      auto at = [&] { return p.child(list).index(i).child("env").index(k).child("valueFrom").child("fileKeyRef").child("volumeName"); };
      if (v == volumes.rend()) e.push_back(not_found(at(), name));
      else if (!(*v)["emptyDir"].is_object()) e.push_back(invalid_error(at(), name, "referenced volume must be of type emptyDir"));
    }
  });
}

void scheduling_gates(const Value& list, const FieldPath& p, FieldErrors& e) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& name = list.at(i)["name"];
    text_must(check_qualified_name, name, p.index(i), e);
    if (!seen.insert(name.as_string()).second) e.push_back(duplicate_error(p.index(i), name));
  }
}

void host_aliases(const Value& list, const FieldPath& p, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    text_must(check_ip, list.at(i)["ip"].as_string(), p.index(i).child("ip"), e);
    const Value& names = list.at(i)["hostnames"];
    for (size_t k = 0; k < names.size(); ++k) text_must(check_dns1123_subdomain, names.at(k), p.index(i).child("hostnames").index(k), e);
  }
}

// Names of other objects and of the pod.
void pod_names(const Value& s, bool own_names, const FieldPath& p, FieldErrors& e) {
  static constexpr std::pair<std::string_view, NameCheck> kNames[] = {{"serviceAccountName", check_dns1123_subdomain},
                                                                      {"nodeName", check_dns1123_subdomain},
                                                                      {"hostname", check_dns1123_label},
                                                                      {"subdomain", check_dns1123_label},
                                                                      {"priorityClassName", check_dns1123_subdomain}};
  for (auto& [member, check] : kNames) {
    if (own_names && (member == "hostname" || member == "subdomain")) continue;
    if (const Value& v = s[member]; !v.as_string().empty()) text_must(check, v, p.child(member), e);
  }
  if (const Value& v = s["runtimeClassName"]; v.is_string()) text_must(check_dns1123_subdomain, v, p.child("runtimeClassName"), e);
}

void pod_spec(PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const Value& s = pod.spec;
  for (const Value& c : s["resourceClaims"].as_array())
    if (!c["name"].as_string().empty()) pod.claims.push_back(c["name"].as_string());
  pod_volumes(pod, p.child("volumes"), e);
  if (s["resourceClaims"].size()) pod_claims(s["resourceClaims"], pod, p.child("resourceClaims"), e);
  pod_containers(pod, p, e);
  if (s["resources"].is_object()) pod_level_resources(pod, p, e);
  if (s["hostNetwork"].as_bool()) host_network_ports(pod, p, e);
  if (const Value& v = s["restartPolicy"]; v.is_string()) supported(v, {"Always", "OnFailure", "Never"}, p.child("restartPolicy"), e);
  if (const Value& v = s["dnsPolicy"]; v.is_string()) supported(v, {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"}, p.child("dnsPolicy"), e);
  if (s["nodeSelector"].size()) validate_labels(s["nodeSelector"], p.child("nodeSelector"), e);
  pod_security(pod, p, e);
  if (s["affinity"].is_object()) pod_affinity(pod, p.child("affinity"), e);
  const bool no_dns = s["dnsPolicy"].as_string() == "None";
  if (no_dns || s["dnsConfig"].is_object()) dns_config(s["dnsConfig"], no_dns, p.child("dnsConfig"), e);
  for (size_t i = 0; i < s["readinessGates"].size(); ++i)
    text_must(check_qualified_name, s["readinessGates"].at(i)["conditionType"].as_string(), p.child("readinessGates").index(i).child("conditionType"), e);
  if (s["schedulingGates"].size()) scheduling_gates(s["schedulingGates"], p.child("schedulingGates"), e);
  if (s["topologySpreadConstraints"].size()) topology_spread(pod, p.child("topologySpreadConstraints"), e);
  host_process(pod, p, e);
  if (!pod.host_users()) host_users_alone(s, p, e);
  if (!s["hostnameOverride"].is_null()) host_name_override(s, p.child("hostnameOverride"), e);
  pod_names(s, pod.claim_templates != nullptr, p, e);
  if (const Value& v = s["activeDeadlineSeconds"]; v.is_int() && (v.as_int() < 1 || v.as_int() > kSecondsMax))
    e.push_back(invalid_error(p.child("activeDeadlineSeconds"), v, "must be between 1 and 2147483647, inclusive"));
  if (s["tolerations"].size()) tolerations(s["tolerations"], p.child("tolerations"), e);
  if (s["hostAliases"].size()) host_aliases(s["hostAliases"], p.child("hostAliases"), e);
  if (const Value& v = s["preemptionPolicy"]; v.is_string()) {
    if (v.as_string().empty()) e.push_back(required_error(p.child("preemptionPolicy")));
    else supported(v, {"PreemptLowerPriority", "Never"}, p.child("preemptionPolicy"), e);
  }
  if (const Value& v = s["overhead"]; v.size()) {
    Value r = Value::object();
    r["limits"] = v;
    compute_resources(r, {}, p.child("overhead"), e);
  }
  if (s["os"].is_object()) pod_os(pod, p, e);
  environment_files(s, p, e);
}

// What only pods obey, for templates were accepted before there were these rules.
void pod_only(const Value& s, const FieldPath& p, FieldErrors& e) {
  if (s["serviceAccountName"].as_string().empty())
    for (size_t v = 0; v < s["volumes"].size(); ++v) {
      const Value& sources = s["volumes"].at(v)["projected"]["sources"];
      for (size_t i = 0; i < sources.size(); ++i)
        if (sources.at(i)["serviceAccountToken"].is_object())
          e.push_back(forbidden_error(p.child("volumes").index(v).child("projected").child("sources").index(i).child("serviceAccountToken"),
                                      "must not be specified when serviceAccountName is not set"));
    }
  for (std::string_view list : {"containers", "initContainers"})
    for (size_t i = 0; i < s[list].size(); ++i)
      if (const std::string& image = s[list].at(i)["image"].as_string(); trim(image).size() != image.size())
        e.push_back(invalid_error(p.child(list).index(i).child("image"), image, "must not have leading or trailing whitespace"));
}

}  // namespace

void pod_template(const Value& t, const FieldPath& p, FieldErrors& e, const Value* claim_templates) {
  const Value& meta = t["metadata"];
  // Upstream names these without "metadata".
  if (meta["labels"].size()) validate_labels(meta["labels"], p.child("labels"), e);
  if (meta["annotations"].size()) {
    validate_annotations(meta["annotations"], p.child("annotations"), e);
    pod_annotations(meta["annotations"], t["spec"], p.child("annotations"), e);
  }
  const FieldPath spec = p.child("spec");
  PodParts pod{t["spec"]};
  pod.claim_templates = claim_templates;
  pod_spec(pod, spec, e);
  if (meta["annotations"].size()) profiles_match_annotations(meta["annotations"], t["spec"], spec, e);
  if (t["spec"]["ephemeralContainers"].size()) e.push_back(forbidden_error(spec.child("ephemeralContainers"), "ephemeral containers not allowed in pod template"));
}

void pod(const Value& o, const Value* old, FieldErrors& e) {
  const FieldPath p("spec");
  const Value &s = o["spec"], &meta = o["metadata"];
  const bool changed = !old || !(s == (*old)["spec"]);
  const bool annotated = !old || !(meta["annotations"] == (*old)["metadata"]["annotations"]);
  if (meta["annotations"].size() && (annotated || changed)) pod_annotations(meta["annotations"], s, FieldPath("metadata").child("annotations"), e);
  // A spec that was accepted stays acceptable, whatever rules came since.
  if (changed) {
    PodParts parts{s, &meta};
    pod_spec(parts, p, e);
    pod_only(s, p, e);
  }
  if (old) {
    if (changed || annotated) pod_update(o, *old, e);
    return;
  }
  if (s["ephemeralContainers"].size()) e.push_back(forbidden_error(p.child("ephemeralContainers"), "cannot be set on create"));
  if (!s["nodeName"].as_string().empty() && s["schedulingGates"].size())
    e.push_back(forbidden_error(p.child("nodeName"), "cannot be set until all schedulingGates have been cleared"));
  if (meta["annotations"].size()) profiles_match_annotations(meta["annotations"], s, p, e);
}

}  // namespace caravel::kube::check
