// Containers of each kind: names, images, ports, environments, restart and resize policies.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr size_t kRestartRulesMax = 20, kRestartExitCodesMax = 255;

void container_ports(const Value& list, const FieldPath& p, FieldErrors& e) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    const FieldPath at = p.index(i);
    if (const Value& name = v["name"]; !name.as_string().empty()) {
      const size_t before = e.size();
      text_must(check_port_name, name, at.child("name"), e);
      if (e.size() == before && !names.insert(name.as_string()).second) e.push_back(duplicate_error(at.child("name"), name));
    }
    if (v["containerPort"].as_int() == 0) e.push_back(required_error(at.child("containerPort")));
    else port_number(v["containerPort"], at.child("containerPort"), e);
    if (v["hostPort"].as_int() != 0) port_number(v["hostPort"], at.child("hostPort"), e);
    one_of(v["protocol"], {"TCP", "UDP", "SCTP"}, at.child("protocol"), e, false);
  }
}

// Ports of the node are one container's only. `seen` holds those of the containers before.
void host_ports(const Value& container, std::set<std::string>& seen, const FieldPath& p, FieldErrors& e) {
  const Value& list = container["ports"];
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    if (v["hostPort"].as_int() == 0) continue;
    const std::string& protocol = v["protocol"].as_string();
    std::string key = (protocol.empty() ? "TCP" : protocol) + "/" + v["hostIP"].as_string() + "/" + std::to_string(v["hostPort"].as_int());
    if (!seen.insert(key).second) e.push_back(duplicate_error(p.child("ports").index(i).child("hostPort"), key));
  }
}

void resize_policies(const Value& list, bool never, const FieldPath& p, FieldErrors& e) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value &name = list.at(i)["resourceName"], &policy = list.at(i)["restartPolicy"];
    if (!seen.insert(name.as_string()).second) e.push_back(duplicate_error(p.index(i), name.as_string()));
    one_of(name, {"cpu", "memory"}, p, e);
    one_of(policy, {"NotRequired", "RestartContainer"}, p, e);
    if (never && policy.as_string() != "NotRequired") e.push_back(invalid_error(p, policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"));
  }
}

void container_restarts(const Value& c, bool init, const FieldPath& p, FieldErrors& e) {
  const Value &policy = c["restartPolicy"], &rules = c["restartPolicyRules"];
  if (policy.is_null() && rules.size() == 0) return;
  if (policy.is_null() && init) return e.push_back(required_error(p.child("restartPolicy"), "must specify restartPolicy when restart rules are used"));
  if (policy.is_null()) e.push_back(required_error(p.child("restartPolicy"), "must specify restartPolicy when restart rules are used"));
  else supported(policy, {"Always", "Never", "OnFailure"}, p.child("restartPolicy"), e);
  if (rules.size() > kRestartRulesMax) e.push_back(too_many(p.child("restartPolicyRules"), static_cast<int64_t>(rules.size()), kRestartRulesMax));
  for (size_t i = 0; i < rules.size(); ++i) {
    const FieldPath at = p.child("restartPolicyRules").index(i);
    supported(rules.at(i)["action"], {"Restart", "RestartAllContainers"}, at.child("action"), e);
    const Value& codes = rules.at(i)["exitCodes"];
    if (!codes.is_object()) {
      e.push_back(required_error(at.child("exitCodes"), "must be specified"));
      continue;
    }
    supported(codes["operator"], {"In", "NotIn"}, at.child("exitCodes").child("operator"), e);
    if (const size_t n = codes["values"].size(); n > kRestartExitCodesMax) e.push_back(too_many(at.child("exitCodes").child("values"), static_cast<int64_t>(n), kRestartExitCodesMax));
  }
}

// What every container obeys.
void container_common(const Value& c, const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  if (c["name"].as_string().empty()) e.push_back(required_error(p.child("name")));
  else text_must(check_dns1123_label, c["name"], p.child("name"), e);
  if (c["image"].as_string().empty()) e.push_back(required_error(p.child("image")));
  if (const Value& v = c["terminationMessagePolicy"]; v.is_string()) supported(v, {"File", "FallbackToLogsOnError"}, p.child("terminationMessagePolicy"), e);
  if (c["ports"].size()) container_ports(c["ports"], p.child("ports"), e);
  container_environment(c, p, e);
  container_mounts(c, pod, p, e);
  if (const Value& v = c["imagePullPolicy"]; v.is_string()) pull_policy(v, p.child("imagePullPolicy"), e);
  if (c["resources"].size()) compute_resources(c["resources"], pod.claims, p.child("resources"), e);
  if (c["resizePolicy"].size()) resize_policies(c["resizePolicy"], pod.spec["restartPolicy"].as_string() == "Never", p.child("resizePolicy"), e);
  if (c["securityContext"].is_object()) container_security(c["securityContext"], pod.host_users(), p.child("securityContext"), e);
}

void regular_containers(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = pod.spec["containers"].as_array();
  if (list.empty()) return e.push_back(required_error(p));
  std::set<std::string_view> names;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list[i];
    const FieldPath at = p.index(i);
    container_common(c, pod, at, e);
    if (!names.insert(c["name"].as_string()).second) e.push_back(duplicate_error(at.child("name"), c["name"].as_string()));
    container_probes(c, pod, at, e);
    container_restarts(c, false, at, e);
  }
  std::set<std::string> ports;
  for (size_t i = 0; i < list.size(); ++i)
    if (list[i]["ports"].size()) host_ports(list[i], ports, p.index(i), e);
}

void init_containers(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = pod.spec["initContainers"].as_array();
  std::set<std::string_view> names;
  for (const Value& c : pod.spec["containers"].as_array()) names.insert(c["name"].as_string());
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list[i];
    const FieldPath at = p.index(i);
    const std::string& name = c["name"].as_string();
    container_common(c, pod, at, e);
    container_restarts(c, true, at, e);
    if (names.count(name)) e.push_back(duplicate_error(at.child("name"), name));
    else if (!name.empty()) names.insert(name);
    // They run one by one. (Upstream's path has no regard to which of them it is.)
    std::set<std::string> ports;
    host_ports(c, ports, p.index(0), e);
    const bool sidecar = c["restartPolicy"].as_string() == "Always";
    if (sidecar) {
      container_probes(c, pod, at, e);
      continue;
    }
    for (std::string_view f : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"})
      if (c[f].is_object()) e.push_back(forbidden_error(at.child(f), "may not be set for init containers without restartPolicy=Always"));
    for (size_t k = 0; k < c["resizePolicy"].size(); ++k)
      if (const Value& policy = c["resizePolicy"].at(k)["restartPolicy"]; policy.as_string() == "RestartContainer")
        e.push_back(invalid_error(at.child("resizePolicy").index(k).child("restartPolicy"), policy, "must not be set to 'RestartContainer' for non-sidecar initContainers"));
  }
}

void ephemeral_containers(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = pod.spec["ephemeralContainers"].as_array();
  constexpr std::string_view kNotForThem = "cannot be set for an Ephemeral Container";
  std::set<std::string_view> others;
  for (std::string_view kind : {"containers", "initContainers"})
    for (const Value& c : pod.spec[kind].as_array()) others.insert(c["name"].as_string());
  std::set<std::string_view> names = others;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list[i];
    const FieldPath at = p.index(i);
    container_common(c, pod, at, e);
    if (const std::string& image = c["image"].as_string(); trim(image).size() != image.size())
      e.push_back(invalid_error(at.child("image"), image, "must not have leading or trailing whitespace"));
    if (!names.insert(c["name"].as_string()).second) e.push_back(duplicate_error(at.child("name"), c["name"].as_string()));
    if (const std::string& target = c["targetContainerName"].as_string(); !target.empty() && !others.count(target))
      e.push_back(not_found(at.child("targetContainerName"), target));
    for (std::string_view f : {"ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"})
      if (const Value& v = c[f]; v.is_string() || v.size()) e.push_back(forbidden_error(at.child(f), kNotForThem));
    for (size_t k = 0; k < c["volumeMounts"].size(); ++k)
      for (std::string_view f : {"subPath", "subPathExpr"})
        if (!c["volumeMounts"].at(k)[f].as_string().empty()) e.push_back(forbidden_error(at.child("volumeMounts").index(k).child(f), kNotForThem));
  }
}

// Which paths of a pod an environment variable may have, and which of them a volume's file: the first ones,
// with labels and annotations.
const std::initializer_list<std::string_view> kEnvironmentPaths = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
                                                                   "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"};
const std::initializer_list<std::string_view> kVolumePaths = {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"};
// Paths that a pod has but that neither may read.
const std::initializer_list<std::string_view> kOtherPaths = {"spec.restartPolicy", "spec.schedulerName", "status.phase"};
const std::initializer_list<std::string_view> kResourcePaths = {"limits.cpu", "limits.ephemeral-storage", "limits.memory",
                                                                "requests.cpu", "requests.ephemeral-storage", "requests.memory"};

bool among(std::string_view s, std::initializer_list<std::string_view> list) { return std::find(list.begin(), list.end(), s) != list.end(); }

void key_selector(const Value& ref, const FieldPath& p, FieldErrors& e) {
  text_must(check_dns1123_subdomain, ref["name"].as_string(), p.child("name"), e);
  if (ref["key"].as_string().empty()) e.push_back(required_error(p.child("key")));
  else text_must(check_config_map_key, ref["key"], p.child("key"), e);
}

void file_key(const Value& ref, const FieldPath& p, FieldErrors& e) {
  if (ref["key"].as_string().empty()) e.push_back(required_error(p.child("key")));
  else text_must(check_env_var_name, ref["key"], p.child("key"), e);
  if (ref["volumeName"].as_string().empty()) e.push_back(required_error(p.child("volumeName")));
  else text_must(check_dns1123_label, ref["volumeName"], p.child("volumeName"), e);
  if (ref["path"].as_string().empty()) e.push_back(required_error(p.child("path")));
  else no_backsteps(ref["path"].as_string(), p.child("path"), e);
}

void variable_source(const Value& from, bool has_value, const FieldPath& p, FieldErrors& e) {
  int sources = 0;
  auto source = [&](std::string_view member, auto check) {
    if (!from[member].is_object()) return;
    ++sources;
    check(from[member], p.child(member));
  };
  source("fieldRef", [&](const Value& v, const FieldPath& at) { field_ref(v, false, at, e); });
  source("resourceFieldRef", [&](const Value& v, const FieldPath& at) { resource_field_ref(v, false, at, e); });
  source("configMapKeyRef", [&](const Value& v, const FieldPath& at) { key_selector(v, at, e); });
  source("secretKeyRef", [&](const Value& v, const FieldPath& at) { key_selector(v, at, e); });
  source("fileKeyRef", [&](const Value& v, const FieldPath& at) { file_key(v, at, e); });
  if (sources == 0) e.push_back(invalid_error(p, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
  else if (has_value) e.push_back(invalid_error(p, "", "may not be specified when `value` is not empty"));
  else if (sources > 1) e.push_back(invalid_error(p, "", "may not have more than one field specified at a time"));
}

void environment_from(const Value& list, const FieldPath& p, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    const FieldPath at = p.index(i);
    if (!v["prefix"].as_string().empty()) text_must(check_env_var_name, v["prefix"], at.child("prefix"), e);
    int sources = 0;
    for (std::string_view member : {"configMapRef", "secretRef"}) {
      if (!v[member].is_object()) continue;
      ++sources;
      const FieldPath name = at.child(member).child("name");
      if (v[member]["name"].as_string().empty()) e.push_back(required_error(name));
      else text_must(check_dns1123_subdomain_prefix, v[member]["name"], name, e);
    }
    if (sources == 0) e.push_back(invalid_error(p, "", "must specify one of: `configMapRef` or `secretRef`"));
    else if (sources > 1) e.push_back(invalid_error(p, "", "may not have more than one field specified at a time"));
  }
}

}  // namespace

void pull_policy(const Value& v, const FieldPath& p, FieldErrors& e) { one_of(v, {"Always", "IfNotPresent", "Never"}, p, e); }

void field_ref(const Value& ref, bool in_volume, const FieldPath& p, FieldErrors& e) {
  const std::string& version = ref["apiVersion"].as_string();
  std::string_view path = ref["fieldPath"].as_string();
  if (path.empty()) return e.push_back(required_error(p.child("fieldPath")));
  auto cannot = [&](const std::string& why) { e.push_back(invalid_error(p.child("fieldPath"), path, "error converting fieldPath: " + why)); };
  if (!version.empty() && version != "v1") return cannot("unsupported pod version: " + version);
  // metadata.labels['key']
  const size_t open = path.find("['");
  if (path.ends_with("']") && open != path.npos && open > 0 && open + 4 <= path.size()) {
    std::string key(path.substr(open + 2, path.size() - open - 4));
    std::string_view of = path.substr(0, open);
    if (of == "metadata.annotations") return void(text_must(check_qualified_name, to_lower(key), p, e));
    if (of == "metadata.labels") return void(text_must(check_qualified_name, key, p, e));
    return cannot("field label does not support subscript: " + std::string(path));
  }
  if (path == "spec.host") path = "spec.nodeName";  // what old clients call it
  if (!among(path, kEnvironmentPaths) && !among(path, kVolumePaths) && !among(path, kOtherPaths)) return cannot("field label not supported: " + std::string(path));
  auto& allowed = in_volume ? kVolumePaths : kEnvironmentPaths;
  if (!among(path, allowed)) e.push_back(not_supported(p.child("fieldPath"), path, allowed));
}

void resource_field_ref(const Value& ref, bool in_volume, const FieldPath& p, FieldErrors& e) {
  const std::string& name = ref["resource"].as_string();
  const bool huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
  if (in_volume && ref["containerName"].as_string().empty()) e.push_back(required_error(p.child("containerName")));
  else if (name.empty()) e.push_back(required_error(p.child("resource")));
  else if (!huge && !among(name, kResourcePaths)) e.push_back(not_supported(p.child("resource"), name, kResourcePaths));
  const Value& written = ref["divisor"];
  if (written.is_null() || written.as_string() == "0") return;
  auto divisor = Quantity::parse(written.is_string() ? written.as_string() : json::dump(written));
  if (!divisor.ok() || divisor->is_zero()) return;
  const std::string text = divisor->text();
  const std::string_view what = std::string_view(name).substr(std::min(name.size(), name.find('.') + 1));
  if (what == "cpu") {
    if (text != "1m" && text != "1") e.push_back(invalid_error(p.child("divisor"), name, "only divisor's values 1m and 1 are supported with the cpu resource"));
    return;
  }
  const std::string_view kind = what == "memory" ? "memory" : what == "ephemeral-storage" ? "local ephemeral storage"
                                                          : huge                          ? "hugepages"
                                                                                          : "";
  if (kind.empty() || among(text, {"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"})) return;
  e.push_back(invalid_error(p.child("divisor"), name,
                            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the " + std::string(kind) + " resource"));
}

void container_environment(const Value& c, const FieldPath& p, FieldErrors& e) {
  if (const auto& list = c["env"].as_array(); !list.empty()) {
    const FieldPath env = p.child("env");
    for (size_t i = 0; i < list.size(); ++i) {
      const Value& v = list[i];
      // Most have a good name and a value: their paths are not spelled out.
      if (v["name"].as_string().empty()) e.push_back(required_error(env.index(i).child("name")));
      else if (!check_env_var_name(v["name"].as_string()).empty()) text_must(check_env_var_name, v["name"], env.index(i).child("name"), e);
      if (v["valueFrom"].is_object()) variable_source(v["valueFrom"], !v["value"].as_string().empty(), env.index(i).child("valueFrom"), e);
    }
  }
  if (c["envFrom"].size()) environment_from(c["envFrom"], p.child("envFrom"), e);
}

void pod_containers(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  regular_containers(pod, p.child("containers"), e);
  if (pod.spec["initContainers"].size()) init_containers(pod, p.child("initContainers"), e);
  if (pod.spec["ephemeralContainers"].size()) ephemeral_containers(pod, p.child("ephemeralContainers"), e);
}

}  // namespace caravel::kube::check
