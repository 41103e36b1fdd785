#include "apiserver/strategies.h"

#include <algorithm>
#include <set>
#include <utility>

#include "apiserver/defaults.h"
#include "apiserver/pod_creation.h"
#include "apiserver/service_allocator.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

bool counts_generation(std::string_view group, std::string_view kind) {
  static const std::set<std::string_view> kKinds = {
      "Pod", "ReplicationController", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "Ingress", "IngressClass", "NetworkPolicy",
      "PodDisruptionBudget", "PriorityClass", "EndpointSlice", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
      "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "FlowSchema", "PriorityLevelConfiguration",
      "CustomResourceDefinition", "DeviceClass", "ResourceSlice", "CSIDriver"};
  (void)group;
  return kKinds.count(kind) != 0;
}

int64_t pod_grace(const Value& pod, std::optional<int64_t> asked) {
  int64_t grace = asked ? *asked : pod.path({"spec", "terminationGracePeriodSeconds"}).is_int() ? pod.path({"spec", "terminationGracePeriodSeconds"}).as_int()
                                                                                                : 30;
  if (grace < 0) grace = 1;
  const std::string& phase = pod.path({"status", "phase"}).as_string();
  if (pod.path({"spec", "nodeName"}).as_string().empty() || phase == "Failed" || phase == "Succeeded") return 0;
  return grace;
}

void secret_strings(Value& o) {
  Value* s = o.find("stringData");
  if (!s) return;
  for (auto& m : s->as_object()) o["data"][m.key] = base64_encode(m.value.as_string());
  o.erase("stringData");
}

void job_create(Value& o) {
  Value& spec = o["spec"];
  if (spec["manualSelector"].as_bool()) return;
  const std::string uid = o["metadata"]["uid"].as_string(), name = o["metadata"]["name"].as_string();
  Value& labels = spec["template"]["metadata"]["labels"];
  // A job that has its template's labels by default has these too.
  const bool shared = labels.size() > 0 && std::as_const(o)["metadata"]["labels"] == labels;
  for (std::string_view prefix : {"", "batch.kubernetes.io/"}) {
    labels[std::string(prefix) + "controller-uid"] = uid;
    labels[std::string(prefix) + "job-name"] = name;
  }
  if (shared) {
    Value all = labels;
    o["metadata"]["labels"] = std::move(all);
  }
  o["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid;
}

// Only services of type LoadBalancer tell of one.
void no_balancer_unless_asked(Value& o) {
  if (std::as_const(o)["spec"]["type"].as_string() != "LoadBalancer" && o.path({"status", "loadBalancer", "ingress"}).size()) o["status"]["loadBalancer"] = Value::object();
}

// What the old type needed and the new one does not goes, unless the client changed it in the same request.
void drop_by_type(Value& o, const Value& old) {
  const std::string now = o.path({"spec", "type"}).as_string(), was = old.path({"spec", "type"}).as_string();
  const Value& had = old["spec"];
  Value& spec = o["spec"];
  auto drop = [&](std::string_view f) {
    if (spec.find(f) && std::as_const(spec)[f] == had[f]) spec.erase(f);
  };
  auto cluster_ip = [](const std::string& t) { return t != "ExternalName"; };
  auto node_port = [](const std::string& t) { return t == "NodePort" || t == "LoadBalancer"; };
  if (cluster_ip(was) && !cluster_ip(now)) {
    drop("clusterIP");
    drop("clusterIPs");
  }
  if (node_port(was) && !node_port(now)) {
    drop("externalTrafficPolicy");
    drop("healthCheckNodePort");
    if (Value* ports = spec.find("ports"); ports && ports->is_array())
      for (auto& p : ports->arr())
        for (auto& q : had["ports"].as_array())
          if (p.find("nodePort") && std::as_const(p)["nodePort"] == q["nodePort"]) p.erase("nodePort");
  }
  if (was == "LoadBalancer" && now != "LoadBalancer") {
    drop("allocateLoadBalancerNodePorts");
    drop("loadBalancerClass");
  }
  if (std::as_const(spec)["sessionAffinity"].as_string() == "None") spec.erase("sessionAffinityConfig");
  no_balancer_unless_asked(o);
}

// Drops conditions' leftovers of a create: most kinds start with an empty status.
void empty_status(Value& o, std::vector<std::string>&) { o["status"] = Value::object(); }

}  // namespace

std::shared_ptr<Strategy> builtin_strategy(Core& core, std::string_view group, std::string_view kind, bool has_status) {
  auto s = std::make_shared<Strategy>();
  s->status_subresource = has_status;
  s->generation = counts_generation(group, kind);
  if (has_status) s->prepare_create = empty_status;
  if (group.empty()) {
    if (kind == "Pod") {
      s->returns_deleted_object = true;
      s->prepare_create = prepare_new_pod;
      s->grace = pod_grace;
    } else if (kind == "Node") {
      s->prepare_create = nullptr;
      s->status_at_create = true;  // a kubelet registers with its capacity and conditions
    } else if (kind == "Namespace") {
      s->prepare_create = [](Value& o, std::vector<std::string>&) {
        o["status"] = Value::object();
        o["status"]["phase"] = "Active";
        bool has = false;
        for (auto& f : o["spec"]["finalizers"].as_array()) has = has || f.as_string() == "kubernetes";
        if (!has) o["spec"]["finalizers"].push_back("kubernetes");
      };
    } else if (kind == "ReplicationController") {
      s->orphans_by_default = true;
    } else if (kind == "Service") {
      s->returns_deleted_object = true;
      s->prepare_create = [](Value& o, std::vector<std::string>&) {
        o["status"] = Value::object();
        o["status"]["loadBalancer"] = Value::object();
      };
      s->prepare_update = drop_by_type;
      s->prepare_status_update = [](Value& o, const Value&) { no_balancer_unless_asked(o); };
      ServiceAllocator* a = core.services;
      s->allocate = [a](Value& o, const Value* old, bool dry_run) { return a->allocate(o, old, dry_run); };
      s->release = [a](const Value& o) { a->release(o); };
      s->companions = [a](const Value* o, const Value* old, store::Txn& txn) { a->companions(o, old, txn); };
      s->updated = [a](const Value& o, const Value& old) { a->updated(o, old); };
    } else if (kind == "Secret") {
      s->accepted = secret_strings;
    } else if (kind == "PersistentVolumeClaim" || kind == "PersistentVolume") {
      s->returns_deleted_object = true;
      bool timed = kind == "PersistentVolume";  // the server itself notes when a volume's phase changes
      Executor* ex = &core.ex;
      s->prepare_create = [timed, ex](Value& o, std::vector<std::string>&) {
        o["status"] = Value::object();
        o["status"]["phase"] = "Pending";
        if (timed) o["status"]["lastPhaseTransitionTime"] = format_rfc3339(ex->now());
      };
      if (timed)
        s->prepare_status_update = [ex](Value& o, const Value& old) {
          if (o["status"]["phase"].as_string() == old["status"]["phase"].as_string()) return;
          const Value was = old["status"]["lastPhaseTransitionTime"];
          // A writer that knows better may say so.
          if (std::as_const(o)["status"]["lastPhaseTransitionTime"] == was) o["status"]["lastPhaseTransitionTime"] = format_rfc3339(ex->now());
        };
    } else if (kind == "Endpoints" || kind == "Event" || kind == "LimitRange" || kind == "ReplicationController") {
      s->create_on_update = kind == "Endpoints" || kind == "LimitRange" || kind == "Event";
    } else if (kind == "ServiceAccount" || kind == "PodTemplate" || kind == "ResourceQuota") {
      s->returns_deleted_object = true;
    }
    return s;
  }
  if (group == "batch" && kind == "Job") {
    s->orphans_by_default = true;
    s->orphans_warning =
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
    s->prepare_create = [](Value& o, std::vector<std::string>&) {
      o["status"] = Value::object();
      job_create(o);
    };
  }
  if (group == "coordination.k8s.io" && kind == "Lease") s->create_on_update = true;
  if (group == "apiextensions.k8s.io" && kind == "CustomResourceDefinition") {
    s->prepare_create = [](Value& o, std::vector<std::string>&) {
      Value st = Value::object();
      for (auto& v : o["spec"]["versions"].as_array())
        if (v["storage"].as_bool()) st["storedVersions"].push_back(v["name"].as_string());
      o["status"] = std::move(st);
      Value& f = o["metadata"]["finalizers"];
      bool has = false;
      for (auto& x : f.as_array()) has = has || x.as_string() == "customresourcecleanup.apiextensions.k8s.io";
      if (!has) f.push_back("customresourcecleanup.apiextensions.k8s.io");
    };
  }
  return s;
}

std::vector<std::string> selectable_fields(std::string_view group, std::string_view plural) {
  if (group.empty()) {
    if (plural == "pods")
      return {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP",
              "status.nominatedNodeName"};
    if (plural == "nodes") return {"spec.unschedulable"};
    if (plural == "namespaces") return {"status.phase"};
    if (plural == "secrets") return {"type"};
    if (plural == "services") return {"spec.clusterIP", "spec.type"};
    if (plural == "replicationcontrollers") return {"status.replicas"};
    if (plural == "events")
      return {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion",
              "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"};
  }
  if (group == "apps" && plural == "replicasets") return {"status.replicas"};
  if (group == "batch" && plural == "jobs") return {"status.successful"};
  if (group == "certificates.k8s.io") return {"spec.signerName"};
  if (group == "resource.k8s.io" && plural == "resourceslices") return {"spec.driver", "spec.nodeName"};
  return {};
}

std::string field_text(const json::Value& object, std::string_view path) {
  const json::Value* v = &object;
  if (path == "source") {  // of an event in the new style: its reporting controller, as upstream
    const std::string& component = object.path({"source", "component"}).as_string();
    return component.empty() ? object["reportingComponent"].as_string() : component;
  }
  if (path == "status.successful") path = "status.succeeded";
  for (std::string_view rest = path; v && !rest.empty();) {
    const size_t dot = rest.find('.');
    v = v->find(rest.substr(0, dot));
    rest = dot == rest.npos ? std::string_view() : rest.substr(dot + 1);
  }
  if (!v || v->is_null()) {
    if (path == "spec.unschedulable" || path == "spec.hostNetwork") return "false";
    if (path == "status.replicas" || path == "status.succeeded") return "0";
    return "";
  }
  if (v->is_string()) return v->as_string();
  return json::dump(*v);
}

WatchCache::FieldExtractor field_extractor(std::vector<std::string> fields) {
  if (fields.empty()) return nullptr;
  return [fields = std::move(fields)](const json::Value& o, Pairs& out) {
    for (auto& f : fields) {
      std::string v = field_text(o, f);
      if (!v.empty()) out.emplace_back(f, std::move(v));
    }
  };
}

}  // namespace caravel::apiserver
