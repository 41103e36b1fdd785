#include "apiserver/defaults.h"

#include <set>
#include <string>

#include "base/strings.h"
#include "kube/validate_pod.h"

namespace caravel::apiserver {

namespace {

using json::Value;

// Sets a member that is absent, null or "".
void put(Value& o, std::string_view key, Value v) {
  Value* at = o.find(key);
  if (!at || at->is_null() || (at->is_string() && at->as_string().empty() && v.is_string())) o[key] = std::move(v);
}
// The member if it is an object that is there.
Value* sub(Value& o, std::string_view key) {
  Value* v = o.is_object() ? o.find(key) : nullptr;
  return v && v->is_object() ? v : nullptr;
}
// The member as an object, made when absent.
Value& make(Value& o, std::string_view key) {
  Value* v = o.find(key);
  if (!v || v->is_null()) o[key] = Value::object();
  return o[key];
}
template <class F>
void each(Value& o, std::string_view key, F f) {
  Value* v = o.is_object() ? o.find(key) : nullptr;
  if (v && v->is_array())
    for (auto& item : v->arr())
      if (item.is_object()) f(item);
}

void http_get(Value& handler) {
  if (Value* h = sub(handler, "httpGet")) {
    put(*h, "path", "/");
    put(*h, "scheme", "HTTP");
  }
  if (Value* g = sub(handler, "grpc")) put(*g, "service", "");
}

void probe(Value& c, std::string_view key) {
  Value* p = sub(c, key);
  if (!p) return;
  auto number = [&](std::string_view k, int v) {
    if ((*p)[k].as_int() == 0) (*p)[k] = v;
  };
  number("timeoutSeconds", 1);
  number("periodSeconds", 10);
  number("successThreshold", 1);
  number("failureThreshold", 3);
  http_get(*p);
}

// Of a text that can be an image; what cannot has no tag.
bool tag_is_latest(const std::string& image) {
  if (image.empty() || image.find_first_of(" \t\n") != image.npos) return false;
  if (image.find('@') != image.npos) return false;
  size_t slash = image.rfind('/');
  size_t colon = image.rfind(':');
  if (colon == image.npos || (slash != image.npos && colon < slash)) return true;
  return image.substr(colon + 1) == "latest";
}

void limits_to_requests(Value& c) {
  Value* res = sub(c, "resources");
  if (!res) return;
  Value* limits = sub(*res, "limits");
  if (!limits) return;
  Value copy = *limits;
  for (auto& m : copy.as_object()) put(make(*res, "requests"), m.key, m.value);
}

// What a pod as a whole asks for, where it says something of it: what its containers need together, else its limits.
// Huge pages are not overcommitted: their requests are their limits.
void pod_level_resources(Value& s) {
  Value* r = sub(s, "resources");
  if (!r) return;
  auto supported = [](const std::string& name) { return name == "cpu" || name == "memory" || name.starts_with("hugepages-"); };
  const bool limited = std::as_const(*r)["limits"].size() > 0;
  if (limited || std::as_const(*r)["requests"].size() > 0)
    for (auto& [name, q] : kube::check::container_totals(s, "limits"))
      if (name.starts_with("hugepages-") && !std::as_const(*r)["requests"].find(name)) put(make(*r, "limits"), name, q.text());
  if (!limited) return;
  for (auto& [name, q] : kube::check::container_totals(s, "requests"))
    if (name.find('/') == name.npos && !name.starts_with("hugepages-")) put(make(*r, "requests"), name, q.text());
  const Value limits = std::as_const(*r)["limits"];
  for (auto& m : limits.as_object())
    if (supported(m.key)) put(make(*r, "requests"), m.key, m.value);
}

void container(Value& c) {
  put(c, "terminationMessagePath", "/dev/termination-log");
  put(c, "terminationMessagePolicy", "File");
  put(c, "imagePullPolicy", tag_is_latest(c["image"].as_string()) ? "Always" : "IfNotPresent");
  make(c, "resources");
  each(c, "ports", [](Value& p) { put(p, "protocol", "TCP"); });
  each(c, "env", [](Value& e) {
    if (Value* from = sub(e, "valueFrom"))
      if (Value* f = sub(*from, "fieldRef")) put(*f, "apiVersion", "v1");
    if (Value* from = sub(e, "valueFrom"))
      if (Value* f = sub(*from, "resourceFieldRef")) put(*f, "divisor", "0");
  });
  for (std::string_view p : {"livenessProbe", "readinessProbe", "startupProbe"}) probe(c, p);
  if (Value* l = sub(c, "lifecycle"))
    for (std::string_view h : {"postStart", "preStop"})
      if (Value* x = sub(*l, h)) http_get(*x);
}

void downward_items(Value& source) {
  each(source, "items", [](Value& i) {
    if (Value* f = sub(i, "fieldRef")) put(*f, "apiVersion", "v1");
    if (Value* f = sub(i, "resourceFieldRef")) put(*f, "divisor", "0");
  });
}

void claim_spec(Value& s) {
  put(s, "volumeMode", "Filesystem");
  make(s, "resources");
}

void volume(Value& v) {
  if (v.size() <= 1) v["emptyDir"] = Value::object();
  for (std::string_view s : {"secret", "configMap", "projected", "downwardAPI"})
    if (Value* x = sub(v, s)) put(*x, "defaultMode", 420);
  if (Value* x = sub(v, "hostPath")) {
    if (!x->find("type")) (*x)["type"] = "";
  }
  if (Value* x = sub(v, "downwardAPI")) downward_items(*x);
  if (Value* x = sub(v, "projected"))
    each(*x, "sources", [](Value& s) {
      if (Value* t = sub(s, "serviceAccountToken")) {
        put(*t, "expirationSeconds", 3600);
      }
      if (Value* d = sub(s, "downwardAPI")) downward_items(*d);
    });
  if (Value* x = sub(v, "ephemeral"))
    if (Value* t = sub(*x, "volumeClaimTemplate"))
      if (Value* s = sub(*t, "spec")) claim_spec(*s);
  if (Value* x = sub(v, "image"))
    put(*x, "pullPolicy", tag_is_latest((*x)["reference"].as_string()) ? "Always" : "IfNotPresent");
}

void pod_spec(Value& s) {
  put(s, "restartPolicy", "Always");
  put(s, "dnsPolicy", "ClusterFirst");
  put(s, "schedulerName", "default-scheduler");
  if (!s.find("terminationGracePeriodSeconds")) s["terminationGracePeriodSeconds"] = 30;
  make(s, "securityContext");
  each(s, "volumes", volume);
  for (std::string_view list : {"initContainers", "containers", "ephemeralContainers"}) each(s, list, container);
  if (!s["serviceAccountName"].as_string().empty()) s["serviceAccount"] = Value(s["serviceAccountName"]);
  else if (!s["serviceAccount"].as_string().empty()) s["serviceAccountName"] = Value(s["serviceAccount"]);
  else s.erase("serviceAccountName");
  if (s["serviceAccount"].as_string().empty()) s.erase("serviceAccount");
  each(s, "topologySpreadConstraints", [](Value& c) {
    put(c, "whenUnsatisfiable", "DoNotSchedule");
  });
}

// Pods only (not templates).
void pod(Value& o) {
  if (Value* s = sub(o, "spec")) {
    // A template keeps what it says: its pods get these.
    for (std::string_view list : {"containers", "initContainers"}) each(*s, list, limits_to_requests);
    pod_level_resources(*s);
    pod_spec(*s);
    if (std::as_const(*s)["hostNetwork"].as_bool())
      for (std::string_view list : {"initContainers", "containers"})
        each(*s, list, [](Value& c) {
          each(c, "ports", [](Value& p) {
            if (p["hostPort"].as_int() == 0) p["hostPort"] = Value(p["containerPort"]);
          });
        });
    if (std::as_const(*s)["terminationGracePeriodSeconds"].as_int() < 0) (*s)["terminationGracePeriodSeconds"] = 1;
    put(*s, "enableServiceLinks", true);
    put(*s, "preemptionPolicy", "PreemptLowerPriority");
  }
}

void templated(Value& spec) {
  if (Value* t = sub(spec, "template")) {
    make(*t, "metadata");
    if (Value* s = sub(*t, "spec")) pod_spec(*s);
  }
}

void deployment(Value& s) {
  put(s, "replicas", 1);
  Value& strategy = make(s, "strategy");
  put(strategy, "type", "RollingUpdate");
  if (strategy["type"].as_string() == "RollingUpdate") {
    Value& r = make(strategy, "rollingUpdate");
    put(r, "maxUnavailable", "25%");
    put(r, "maxSurge", "25%");
  }
  put(s, "revisionHistoryLimit", 10);
  put(s, "progressDeadlineSeconds", 600);
  templated(s);
}

void stateful_set(Value& s) {
  put(s, "podManagementPolicy", "OrderedReady");
  Value& u = make(s, "updateStrategy");
  put(u, "type", "RollingUpdate");
  if (u["type"].as_string() == "RollingUpdate") put(make(u, "rollingUpdate"), "partition", 0);
  Value& p = make(s, "persistentVolumeClaimRetentionPolicy");
  put(p, "whenDeleted", "Retain");
  put(p, "whenScaled", "Retain");
  put(s, "replicas", 1);
  put(s, "revisionHistoryLimit", 10);
  each(s, "volumeClaimTemplates", [](Value& t) {
    put(t, "apiVersion", "v1");
    put(t, "kind", "PersistentVolumeClaim");
    if (Value* spec = sub(t, "spec")) claim_spec(*spec);
    put(make(t, "status"), "phase", "Pending");
  });
  templated(s);
}

void daemon_set(Value& s) {
  Value& u = make(s, "updateStrategy");
  put(u, "type", "RollingUpdate");
  if (u["type"].as_string() == "RollingUpdate") {
    put(make(u, "rollingUpdate"), "maxUnavailable", 1);
    put(make(u, "rollingUpdate"), "maxSurge", 0);
  }
  put(s, "revisionHistoryLimit", 10);
  templated(s);
}

// What a job has from the template of a CronJob on.
void job_template(Value& s) {
  if (Value* f = sub(s, "podFailurePolicy"))
    each(*f, "rules", [](Value& r) {
      each(r, "onPodConditions", [](Value& c) { put(c, "status", "True"); });
    });
  templated(s);
}

void job_spec(Value& s) {
  // Parallelism alone means a queue of work: no number of completions.
  if (std::as_const(s)["completions"].is_null() && std::as_const(s)["parallelism"].is_null()) s["completions"] = 1;
  put(s, "parallelism", 1);
  put(s, "completionMode", "NonIndexed");
  if (!s.find("backoffLimit")) s["backoffLimit"] = s.find("backoffLimitPerIndex") ? 2147483647 : 6;
  put(s, "suspend", false);
  put(s, "podReplacementPolicy", s.find("podFailurePolicy") ? "Failed" : "TerminatingOrFailed");
  job_template(s);
}

void service(Value& s) {
  put(s, "sessionAffinity", "None");
  put(s, "type", "ClusterIP");
  if (std::as_const(s)["sessionAffinity"].as_string() == "None") s.erase("sessionAffinityConfig");
  if (s["sessionAffinity"].as_string() == "ClientIP") {
    Value& c = make(s, "sessionAffinityConfig");
    put(make(c, "clientIP"), "timeoutSeconds", 10800);
  }
  each(s, "ports", [](Value& p) {
    put(p, "protocol", "TCP");
    Value* t = p.find("targetPort");
    if (!t || t->is_null() || (t->is_int() && t->as_int() == 0) || (t->is_string() && t->as_string().empty())) p["targetPort"] = Value(p["port"]);
  });
  const std::string type = s["type"].as_string();
  if (type == "NodePort" || type == "LoadBalancer" || (type == "ClusterIP" && std::as_const(s)["externalIPs"].size() > 0)) put(s, "externalTrafficPolicy", "Cluster");
  if (type != "ExternalName") put(s, "internalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer") put(s, "allocateLoadBalancerNodePorts", true);
}

void webhooks(Value& o, bool mutating) {
  each(o, "webhooks", [mutating](Value& w) {
    put(w, "failurePolicy", "Fail");
    put(w, "matchPolicy", "Equivalent");
    make(w, "namespaceSelector");
    make(w, "objectSelector");
    put(w, "timeoutSeconds", 10);
    if (mutating) put(w, "reinvocationPolicy", "Never");
    each(w, "rules", [](Value& r) { put(r, "scope", "*"); });
    if (Value* c = sub(w, "clientConfig"))
      if (Value* s = sub(*c, "service")) put(*s, "port", 443);
  });
}

void match_resources(Value& m) {
  put(m, "matchPolicy", "Equivalent");
  make(m, "namespaceSelector");
  make(m, "objectSelector");
  for (const char* list : {"resourceRules", "excludeResourceRules"}) each(m, list, [](Value& r) { put(r, "scope", "*"); });
}

// Where a behaviour is given, each direction has all of its rules.
void scaling_behavior(Value& behavior) {
  auto policy = [](const char* type, int value) {
    Value v = Value::object();
    v["type"] = type;
    v["value"] = value;
    v["periodSeconds"] = 15;
    return v;
  };
  Value& up = make(behavior, "scaleUp");
  put(up, "stabilizationWindowSeconds", 0);
  put(up, "selectPolicy", "Max");
  put(up, "policies", Value::array({policy("Pods", 4), policy("Percent", 100)}));
  Value& down = make(behavior, "scaleDown");
  put(down, "selectPolicy", "Max");
  put(down, "policies", Value::array({policy("Percent", 100)}));
}

void horizontal_autoscaler(Value& s) {
  put(s, "minReplicas", 1);
  if (!s.find("metrics") || s["metrics"].size() == 0) {
    auto cpu = json::parse(R"([{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}])");
    s["metrics"] = std::move(*cpu);
  }
  if (Value* b = sub(s, "behavior")) scaling_behavior(*b);
}

void network_policy(Value& s) {
  for (std::string_view side : {"ingress", "egress"})
    each(s, side, [](Value& r) {
      each(r, "ports", [](Value& p) { put(p, "protocol", "TCP"); });
    });
  if (!s.find("policyTypes") || s["policyTypes"].size() == 0) {
    Value types = Value::array({"Ingress"});
    if (s["egress"].size() > 0) types.push_back("Egress");
    s["policyTypes"] = std::move(types);
  }
}

}  // namespace

void set_builtin_defaults(std::string_view group, std::string_view version, std::string_view kind, json::Value& o) {
  Value* spec = sub(o, "spec");
  if (group.empty()) {
    if (kind == "Pod") return pod(o);
    if (kind == "Service" && spec) {
      service(*spec);
      if ((*spec)["type"].as_string() == "LoadBalancer" && o.path({"status", "loadBalancer", "ingress"}).size())
        each(o["status"]["loadBalancer"], "ingress", [](Value& i) {
          if (!std::as_const(i)["ip"].as_string().empty()) put(i, "ipMode", "VIP");
        });
      return;
    }
    if (kind == "PodTemplate") return templated(o);
    if (kind == "ReplicationController" && spec) {
      put(*spec, "replicas", 1);
      templated(*spec);
      if (Value* t = sub(*spec, "template")) {
        const Value labels = t->path({"metadata", "labels"});
        if (labels.size()) {
          if ((*spec)["selector"].size() == 0) (*spec)["selector"] = labels;
          if (o["metadata"]["labels"].size() == 0) o["metadata"]["labels"] = labels;
        }
      }
      return;
    }
    if (kind == "Secret") return put(o, "type", "Opaque");
    if (kind == "PersistentVolumeClaim" && spec) {
      claim_spec(*spec);
      put(make(o, "status"), "phase", "Pending");
      return;
    }
    if (kind == "PersistentVolume" && spec) {
      put(*spec, "persistentVolumeReclaimPolicy", "Retain");
      put(*spec, "volumeMode", "Filesystem");
      if (Value* h = sub(*spec, "hostPath"))
        if (!h->find("type")) (*h)["type"] = "";
      put(make(o, "status"), "phase", "Pending");
      return;
    }
    if (kind == "Namespace") {
      put(make(o, "status"), "phase", "Active");
      const std::string name = o["metadata"]["name"].as_string();
      if (!name.empty()) make(o["metadata"], "labels")["kubernetes.io/metadata.name"] = name;
      return;
    }
    if (kind == "Endpoints") {
      each(o, "subsets", [](Value& s) { each(s, "ports", [](Value& p) { put(p, "protocol", "TCP"); }); });
      return;
    }
    if (kind == "LimitRange" && spec) {
      each(*spec, "limits", [](Value& l) {
        if (l["type"].as_string() != "Container") return;
        if (Value* max = sub(l, "max")) {
          Value copy = *max;
          for (auto& m : copy.as_object()) put(make(l, "default"), m.key, m.value);
        }
        if (Value* d = sub(l, "default")) {
          Value copy = *d;
          for (auto& m : copy.as_object()) put(make(l, "defaultRequest"), m.key, m.value);
        }
        if (Value* min = sub(l, "min")) {
          Value copy = *min;
          for (auto& m : copy.as_object()) put(make(l, "defaultRequest"), m.key, m.value);
        }
      });
      return;
    }
    if (kind == "Node") {
      // allocatable defaults to capacity
      if (Value* st = sub(o, "status"))
        if (!st->find("allocatable") && st->find("capacity")) {
          Value copy = (*st)["capacity"];
          (*st)["allocatable"] = std::move(copy);
        }
      return;
    }
    return;
  }
  if (group == "apps" && spec) {
    if (kind == "Deployment") return deployment(*spec);
    if (kind == "StatefulSet") return stateful_set(*spec);
    if (kind == "DaemonSet") return daemon_set(*spec);
    if (kind == "ReplicaSet") {
      put(*spec, "replicas", 1);
      return templated(*spec);
    }
    return;
  }
  if (group == "batch" && spec) {
    if (kind == "Job") {
      job_spec(*spec);
      const Value labels = std::as_const(*spec).path({"template", "metadata", "labels"});
      // Its template's, before those are there by which it knows its pods.
      if (labels.size() && !labels.find("batch.kubernetes.io/controller-uid") && std::as_const(o)["metadata"]["labels"].size() == 0) o["metadata"]["labels"] = labels;
      put(*spec, "manualSelector", false);
      return;
    }
    if (kind == "CronJob") {
      put(*spec, "concurrencyPolicy", "Allow");
      put(*spec, "suspend", false);
      put(*spec, "successfulJobsHistoryLimit", 3);
      put(*spec, "failedJobsHistoryLimit", 1);
      if (Value* t = sub(*spec, "jobTemplate"))
        if (Value* js = sub(*t, "spec")) job_template(*js);
    }
    return;
  }
  if (group == "autoscaling" && spec && version == "v2") return horizontal_autoscaler(*spec);
  if (group == "networking.k8s.io") {
    if (kind == "NetworkPolicy" && spec) return network_policy(*spec);
    if (kind == "IngressClass" && spec) {
      if (Value* p = sub(*spec, "parameters")) put(*p, "scope", "Cluster");
    }
    return;
  }
  if (group == "rbac.authorization.k8s.io") {
    if (kind == "RoleBinding" || kind == "ClusterRoleBinding") {
      if (Value* r = sub(o, "roleRef")) put(*r, "apiGroup", "rbac.authorization.k8s.io");
      each(o, "subjects", [](Value& s) {
        const std::string& k = s["kind"].as_string();
        if (k == "User" || k == "Group") put(s, "apiGroup", "rbac.authorization.k8s.io");
      });
    }
    return;
  }
  if (group == "storage.k8s.io") {
    if (kind == "StorageClass") {
      put(o, "reclaimPolicy", "Delete");
      put(o, "volumeBindingMode", "Immediate");
    } else if (kind == "CSIDriver" && spec) {
      put(*spec, "attachRequired", true);
      put(*spec, "podInfoOnMount", false);
      put(*spec, "storageCapacity", false);
      put(*spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
      if (!spec->find("volumeLifecycleModes")) (*spec)["volumeLifecycleModes"] = Value::array({"Persistent"});
      put(*spec, "requiresRepublish", false);
      put(*spec, "seLinuxMount", false);
    }
    return;
  }
  if (group == "admissionregistration.k8s.io") {
    if (kind == "MutatingWebhookConfiguration") webhooks(o, true);
    if (kind == "ValidatingWebhookConfiguration") webhooks(o, false);
    bool policy = kind == "ValidatingAdmissionPolicy" || kind == "MutatingAdmissionPolicy";
    if (policy && spec) {
      put(*spec, "failurePolicy", "Fail");
      if (Value* m = sub(*spec, "matchConstraints")) match_resources(*m);
    } else if (spec && kind.ends_with("PolicyBinding")) {
      if (Value* m = sub(*spec, "matchResources")) match_resources(*m);
      if (Value* r = sub(*spec, "paramRef")) put(*r, "parameterNotFoundAction", "Deny");
    }
    return;
  }
  if (group == "scheduling.k8s.io" && kind == "PriorityClass") return put(o, "preemptionPolicy", "PreemptLowerPriority");
  if (group == "flowcontrol.apiserver.k8s.io" && spec) {
    if (kind == "FlowSchema") {
      if (std::as_const(*spec)["matchingPrecedence"].as_int() == 0) (*spec)["matchingPrecedence"] = 1000;
    } else if (std::as_const(*spec)["type"].as_string() == "Exempt") {
      Value& x = make(*spec, "exempt");
      if (!x.find("nominalConcurrencyShares")) x["nominalConcurrencyShares"] = 0;
      if (!x.find("lendablePercent")) x["lendablePercent"] = 0;
    } else if (Value* l = sub(*spec, "limited")) {
      put(*l, "nominalConcurrencyShares", 30);
      put(*l, "lendablePercent", 0);
      Value& response = make(*l, "limitResponse");
      put(response, "type", "Reject");
      if (Value* q = sub(response, "queuing")) {
        put(*q, "queues", 64);
        put(*q, "handSize", 8);
        put(*q, "queueLengthLimit", 50);
      }
    }
    return;
  }
  if (group == "resource.k8s.io" && spec && (kind == "ResourceClaim" || kind == "ResourceClaimTemplate")) {
    Value* claim = kind == "ResourceClaim" ? spec : sub(*spec, "spec");
    Value* devices = claim ? sub(*claim, "devices") : nullptr;
    if (!devices) return;
    auto counted = [](Value& r) {
      put(r, "allocationMode", "ExactCount");
      if (std::as_const(r)["allocationMode"].as_string() == "ExactCount" && std::as_const(r)["count"].as_int() == 0) r["count"] = 1;
    };
    each(*devices, "requests", [&](Value& r) {
      if (Value* x = sub(r, "exactly")) counted(*x);
      each(r, "firstAvailable", counted);
    });
    return;
  }
  if (group == "discovery.k8s.io" && kind == "EndpointSlice") {
    each(o, "ports", [](Value& p) {
      if (!p.find("name")) p["name"] = "";
      put(p, "protocol", "TCP");
    });
    return;
  }
  if (group == "certificates.k8s.io" && kind == "CertificateSigningRequest" && spec) {
    if (!spec->find("usages")) (*spec)["usages"] = Value::array({"digital signature", "key encipherment"});
    return;
  }
  if (group == "apiextensions.k8s.io" && kind == "CustomResourceDefinition" && spec) {
    if (Value* names = sub(*spec, "names")) {
      put(*names, "singular", to_lower((*names)["kind"].as_string()));
      const std::string& kind_name = std::as_const(*names)["kind"].as_string();
      put(*names, "listKind", kind_name.empty() ? "" : kind_name + "List");
    }
    Value& c = make(*spec, "conversion");
    put(c, "strategy", "None");
    return;
  }
}

std::string_view qos_class(const json::Value& p) {
  bool any = false, guaranteed = true;
  for (std::string_view list : {"containers", "initContainers"})
    for (auto& c : p["spec"][list].as_array()) {
      const json::Value& r = c["resources"];
      auto relevant = [](const json::Value& m) { return m.find("cpu") || m.find("memory"); };
      if (relevant(r["requests"]) || relevant(r["limits"])) any = true;
      for (std::string_view k : {"cpu", "memory"}) {
        const json::Value& limit = r["limits"][k];
        const json::Value& request = r["requests"][k];
        if (limit.is_null() || !(request.is_null() || request == limit)) guaranteed = false;
      }
    }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace caravel::apiserver
