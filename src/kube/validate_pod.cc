// Pods: the checks that users meet, in upstream's words. Volumes' sources and security contexts are
// checked for presence and enums only.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

void probe(const json::Value& p, const FieldPath& path, FieldErrors& e, bool success_must_be_one) {
  if (!p.is_object()) return;
  int handlers = 0;
  for (auto h : {"exec", "httpGet", "tcpSocket", "grpc"}) handlers += p[h].is_object();
  if (handlers == 0) e.push_back(required_error(path, "must specify a handler type"));
  if (handlers > 1) e.push_back(forbidden_error(path, "may not specify more than 1 handler type"));
  for (auto h : {"httpGet", "tcpSocket"}) {
    const json::Value& port = p[h]["port"];
    if (!p[h].is_object()) continue;
    if (port.is_string()) {
      if (std::string why = check_port_name(port.as_string()); !why.empty()) e.push_back(invalid_error(path.child(h).child("port"), port, why));
    } else {
      port_number(port, path.child(h).child("port"), e);
    }
  }
  if (p["exec"].is_object() && p["exec"]["command"].size() == 0) e.push_back(required_error(path.child("exec").child("command")));
  for (auto f : {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}) non_negative(p[f], path.child(f), e);
  if (success_must_be_one && p["successThreshold"].is_int() && p["successThreshold"].as_int() != 1)
    e.push_back(invalid_error(path.child("successThreshold"), p["successThreshold"], "must be 1"));
}

void env(const json::Value& list, const FieldPath& path, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& v = list.at(i);
    FieldPath p = path.index(i);
    if (v["name"].as_string().empty()) e.push_back(required_error(p.child("name")));
    else if (std::string why = check_env_var_name(v["name"].as_string()); !why.empty()) e.push_back(invalid_error(p.child("name"), v["name"], why));
    if (v["valueFrom"].is_object()) {
      if (!v["value"].as_string().empty()) e.push_back(invalid_error(p.child("valueFrom"), "", "may not be specified when `value` is not empty"));
      if (v["valueFrom"].size() == 0) e.push_back(invalid_error(p.child("valueFrom"), "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"));
      if (v["valueFrom"].size() > 1) e.push_back(invalid_error(p.child("valueFrom"), "", "may not have more than one field specified at a time"));
    }
  }
}

void ports(const json::Value& list, const FieldPath& path, FieldErrors& e) {
  std::set<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& v = list.at(i);
    FieldPath p = path.index(i);
    const std::string& name = v["name"].as_string();
    if (!name.empty()) {
      if (std::string why = check_port_name(name); !why.empty()) e.push_back(invalid_error(p.child("name"), name, why));
      else if (!names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
    }
    if (v["containerPort"].as_int() == 0) e.push_back(required_error(p.child("containerPort")));
    else port_number(v["containerPort"], p.child("containerPort"), e);
    if (v["hostPort"].as_int() != 0) port_number(v["hostPort"], p.child("hostPort"), e);
    one_of(v["protocol"], {"TCP", "UDP", "SCTP"}, p.child("protocol"), e, false);
  }
}

void mounts(const json::Value& list, const FieldPath& path, FieldErrors& e, const std::set<std::string>& volumes) {
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& m = list.at(i);
    FieldPath p = path.index(i);
    const std::string &name = m["name"].as_string(), &at = m["mountPath"].as_string();
    if (name.empty()) e.push_back(required_error(p.child("name")));
    else if (!volumes.count(name)) e.push_back({p.child("name").text(), "FieldValueNotFound", "Not found: " + json::quote(name)});
    if (at.empty()) e.push_back(required_error(p.child("mountPath")));
    else if (!seen.insert(at).second) e.push_back(invalid_error(p.child("mountPath"), at, "must be unique"));
    if (!m["subPath"].as_string().empty() && !m["subPathExpr"].as_string().empty())
      e.push_back(invalid_error(p.child("subPathExpr"), m["subPathExpr"], "subPathExpr and subPath are mutually exclusive"));
  }
}

std::set<std::string> volumes(const json::Value& list, const FieldPath& path, FieldErrors& e) {
  std::set<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& v = list.at(i);
    FieldPath p = path.index(i);
    const std::string& name = v["name"].as_string();
    if (name.empty()) e.push_back(required_error(p.child("name")));
    else if (std::string why = check_dns1123_label(name); !why.empty()) e.push_back(invalid_error(p.child("name"), name, why));
    else if (!names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
    size_t sources = v.size() - (v.find("name") ? 1 : 0);
    if (sources == 0) e.push_back(required_error(p, "must specify a volume type"));
    if (sources > 1) e.push_back(forbidden_error(p, "may not specify more than 1 volume type"));
    if (v["secret"].is_object() && v["secret"]["secretName"].as_string().empty()) e.push_back(required_error(p.child("secret").child("secretName")));
    if (v["configMap"].is_object() && v["configMap"]["name"].as_string().empty()) e.push_back(required_error(p.child("configMap").child("name")));
    if (v["hostPath"].is_object() && v["hostPath"]["path"].as_string().empty()) e.push_back(required_error(p.child("hostPath").child("path")));
    if (v["persistentVolumeClaim"].is_object() && v["persistentVolumeClaim"]["claimName"].as_string().empty())
      e.push_back(required_error(p.child("persistentVolumeClaim").child("claimName")));
  }
  return names;
}

void tolerations(const json::Value& list, const FieldPath& path, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& t = list.at(i);
    FieldPath p = path.index(i);
    const std::string &key = t["key"].as_string(), &op = t["operator"].as_string();
    if (!key.empty())
      if (std::string why = check_qualified_name(key); !why.empty()) e.push_back(invalid_error(p.child("key"), key, why));
    if (key.empty() && op != "Exists") e.push_back(invalid_error(p.child("operator"), op, "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
    if (op == "Exists" && !t["value"].as_string().empty()) e.push_back(invalid_error(p, t["value"], "value must be empty when `operator` is 'Exists'"));
    one_of(t["operator"], {"Equal", "Exists", "Gt", "Lt"}, p.child("operator"), e, false);
    one_of(t["effect"], {"NoSchedule", "PreferNoSchedule", "NoExecute"}, p.child("effect"), e, false);
    if (t["tolerationSeconds"].is_int() && t["effect"].as_string() != "NoExecute")
      e.push_back(invalid_error(p.child("effect"), t["effect"], "effect must be 'NoExecute' when `tolerationSeconds` is set"));
  }
}

void spread(const json::Value& list, const FieldPath& path, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& t = list.at(i);
    FieldPath p = path.index(i);
    if (t["maxSkew"].as_int() <= 0) e.push_back(invalid_error(p.child("maxSkew"), t["maxSkew"].as_int(), "must be greater than zero"));
    if (t["topologyKey"].as_string().empty()) e.push_back(required_error(p.child("topologyKey"), "can not be empty"));
    one_of(t["whenUnsatisfiable"], {"DoNotSchedule", "ScheduleAnyway"}, p.child("whenUnsatisfiable"), e);
    validate_label_selector(t["labelSelector"], p.child("labelSelector"), e);
  }
}

}  // namespace

void resources(const json::Value& r, const FieldPath& path, FieldErrors& e) {
  for (auto kind : {"limits", "requests"})
    for (auto& m : r[kind].as_object()) {
      FieldPath p = path.child(kind).key(m.key);
      if (std::string why = check_qualified_name(m.key); !why.empty()) e.push_back(invalid_error(path.child(kind), m.key, why));
      auto q = Quantity::parse(m.value.is_string() ? m.value.as_string() : json::dump(m.value));
      if (q.ok() && q->sign() < 0) e.push_back(invalid_error(p, m.value, "must be greater than or equal to 0"));
      if (std::string_view(kind) == "requests") {
        const json::Value& limit = r["limits"][m.key];
        auto l = Quantity::parse(limit.is_string() ? limit.as_string() : json::dump(limit));
        if (!limit.is_null() && q.ok() && l.ok() && *q > *l)
          e.push_back(invalid_error(path.child("requests"), m.value, "must be less than or equal to " + m.key + " limit of " + l->text()));
      }
    }
}

void containers(const json::Value& list, const FieldPath& path, FieldErrors& e, bool init, const json::Value& spec) {
  FieldErrors ignored;
  std::set<std::string> volume_names = volumes(spec["volumes"], FieldPath(), ignored);
  std::set<std::string> names;
  if (init)
    for (auto& c : spec["containers"].as_array()) names.insert(c["name"].as_string());
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& c = list.at(i);
    FieldPath p = path.index(i);
    const std::string& name = c["name"].as_string();
    if (name.empty()) e.push_back(required_error(p.child("name")));
    else if (std::string why = check_dns1123_label(name); !why.empty()) e.push_back(invalid_error(p.child("name"), name, why));
    else if (!names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
    const std::string& image = c["image"].as_string();
    if (image.empty()) e.push_back(required_error(p.child("image")));
    else if (trim(image) != image) e.push_back(invalid_error(p.child("image"), image, "must not have leading or trailing whitespace"));
    one_of(c["terminationMessagePolicy"], {"File", "FallbackToLogsOnError"}, p.child("terminationMessagePolicy"), e, false);
    one_of(c["imagePullPolicy"], {"Always", "IfNotPresent", "Never"}, p.child("imagePullPolicy"), e, false);
    ports(c["ports"], p.child("ports"), e);
    env(c["env"], p.child("env"), e);
    mounts(c["volumeMounts"], p.child("volumeMounts"), e, volume_names);
    resources(c["resources"], p.child("resources"), e);
    bool sidecar = init && c["restartPolicy"].as_string() == "Always";
    if (init && !sidecar) {
      for (auto f : {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle"})
        if (c[f].is_object()) e.push_back(forbidden_error(p.child(f), "may not be set for init containers without restartPolicy=Always"));
    } else {
      probe(c["livenessProbe"], p.child("livenessProbe"), e, true);
      probe(c["readinessProbe"], p.child("readinessProbe"), e, false);
      probe(c["startupProbe"], p.child("startupProbe"), e, true);
    }
  }
}

void pod_spec(const json::Value& s, const FieldPath& p, FieldErrors& e, bool always_only) {
  volumes(s["volumes"], p.child("volumes"), e);
  if (s["containers"].size() == 0) e.push_back(required_error(p.child("containers")));
  containers(s["containers"], p.child("containers"), e, false, s);
  containers(s["initContainers"], p.child("initContainers"), e, true, s);
  if (always_only) one_of(s["restartPolicy"], {"Always"}, p.child("restartPolicy"), e, false);
  else one_of(s["restartPolicy"], {"Always", "OnFailure", "Never"}, p.child("restartPolicy"), e, false);
  one_of(s["dnsPolicy"], {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}, p.child("dnsPolicy"), e, false);
  for (auto f : {"serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"})
    if (const std::string& v = s[f].as_string(); !v.empty())
      if (std::string why = check_dns1123_subdomain(v); !why.empty()) e.push_back(invalid_error(p.child(f), v, why));
  for (auto f : {"hostname", "subdomain"})
    if (const std::string& v = s[f].as_string(); !v.empty())
      if (std::string why = check_dns1123_label(v); !why.empty()) e.push_back(invalid_error(p.child(f), v, why));
  validate_labels(s["nodeSelector"], p.child("nodeSelector"), e);
  tolerations(s["tolerations"], p.child("tolerations"), e);
  spread(s["topologySpreadConstraints"], p.child("topologySpreadConstraints"), e);
  const json::Value& deadline = s["activeDeadlineSeconds"];
  if (deadline.is_int() && deadline.as_int() < 1) e.push_back(invalid_error(p.child("activeDeadlineSeconds"), deadline, "must be between 1 and 2147483647, inclusive"));
  non_negative(s["terminationGracePeriodSeconds"], p.child("terminationGracePeriodSeconds"), e);
}

void pod_template(const json::Value& t, const FieldPath& p, FieldErrors& e, bool always_only) {
  validate_labels(t["metadata"]["labels"], p.child("metadata").child("labels"), e);
  pod_spec(t["spec"], p.child("spec"), e, always_only);
}

void pod_update(const json::Value& now, const json::Value& old, FieldErrors& e) {
  // Images, the deadline, added tolerations, a shorter grace period, and what binding and gates change.
  auto reduce = [](const json::Value& pod, const json::Value& other) {
    json::Value s = pod["spec"];
    for (auto list : {"containers", "initContainers"}) {
      if (pod["spec"][list] == other["spec"][list]) {
        s.erase(list);
        continue;
      }
      if (json::Value* l = s.find(list); l && l->is_array())
        for (auto& c : l->arr()) {
          c.erase("image");
          c.erase("resources");  // the resize subresource
        }
    }
    for (auto f : {"activeDeadlineSeconds", "tolerations", "schedulingGates", "terminationGracePeriodSeconds", "ephemeralContainers"}) s.erase(f);
    // The binding subresource.
    if (pod["spec"]["nodeName"].as_string().empty() || other["spec"]["nodeName"].as_string().empty()) s.erase("nodeName");
    if (other["spec"]["schedulingGates"].size() || pod["spec"]["schedulingGates"].size()) {
      s.erase("nodeSelector");
      s.erase("affinity");
    }
    return s;
  };
  if (!same(reduce(now, old), reduce(old, now)))
    e.push_back(forbidden_error(FieldPath("spec"),
                                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
                                "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"));
  for (auto& t : old["spec"]["tolerations"].as_array()) {
    const auto& list = now["spec"]["tolerations"].as_array();
    // tolerationSeconds of an existing one may change.
    bool kept = std::any_of(list.begin(), list.end(), [&](const json::Value& n) {
      json::Value a = n, b = t;
      a.erase("tolerationSeconds");
      b.erase("tolerationSeconds");
      return same(a, b);
    });
    if (!kept) {
      e.push_back(forbidden_error(FieldPath("spec").child("tolerations"), "existing toleration can not be modified except its tolerationSeconds"));
      break;
    }
  }
}

}  // namespace caravel::kube::check
