// The priority levels and flow schemas that every cluster begins with, with upstream's figures.
#include "apiserver/flow_control.h"
#include "base/yaml.h"

namespace caravel::apiserver {

namespace {

constexpr std::string_view kApi = "flowcontrol.apiserver.k8s.io/v1";

struct LevelDefault {
  const char* name;
  int shares, lendable, queues, hand, length;  // queues 0: rejects at once; shares -1: exempt
};
constexpr LevelDefault kLevels[] = {
    {"exempt", -1, 0, 0, 0, 0},
    {"catch-all", 5, 0, 0, 0, 0},
    {"system", 30, 33, 64, 6, 50},
    {"node-high", 40, 25, 64, 6, 50},
    {"leader-election", 10, 0, 16, 4, 50},
    {"workload-high", 40, 50, 128, 6, 50},
    {"workload-low", 100, 90, 128, 6, 50},
    {"global-default", 20, 50, 128, 6, 50},
};

struct SchemaDefault {
  const char* name;
  const char* level;
  int precedence;
  const char* distinguisher;  // "": none
  const char* rules;          // YAML; ALL stands for every resource and path
};
constexpr SchemaDefault kSchemas[] = {
    {"exempt", "exempt", 1, "", "[{subjects: [{kind: Group, group: {name: 'system:masters'}}], ALL}]"},
    {"probes", "exempt", 2, "", "[{subjects: [{kind: Group, group: {name: 'system:unauthenticated'}}, {kind: Group, group: {name: 'system:authenticated'}}], nonResourceRules: [{verbs: [get], nonResourceURLs: [/healthz, /readyz, /livez]}]}]"},
    {"system-leader-election", "leader-election", 100, "ByUser",
     "[{subjects: [{kind: User, user: {name: 'system:kube-controller-manager'}}, {kind: User, user: {name: 'system:kube-scheduler'}}], resourceRules: [{verbs: [get, create, update], apiGroups: [coordination.k8s.io], resources: [leases], namespaces: ['*']}]}]"},
    {"endpoint-controller", "workload-high", 150, "ByUser",
     "[{subjects: [{kind: User, user: {name: 'system:kube-controller-manager'}}, {kind: ServiceAccount, serviceAccount: {namespace: kube-system, name: endpoint-controller}}, {kind: ServiceAccount, serviceAccount: {namespace: kube-system, name: "
     "endpointslicemirroring-controller}}], resourceRules: [{verbs: [get, create, update], apiGroups: [''], resources: [endpoints], namespaces: ['*']}]}]"},
    {"workload-leader-election", "leader-election", 200, "ByUser",
     "[{subjects: [{kind: ServiceAccount, serviceAccount: {namespace: kube-system, name: '*'}}], resourceRules: [{verbs: [get, create, update], apiGroups: [coordination.k8s.io], resources: [leases], namespaces: ['*']}]}]"},
    {"system-node-high", "node-high", 400, "ByUser",
     "[{subjects: [{kind: Group, group: {name: 'system:nodes'}}], resourceRules: [{verbs: ['*'], apiGroups: [''], resources: [nodes, nodes/status], clusterScope: true, namespaces: ['*']}, {verbs: ['*'], apiGroups: [coordination.k8s.io], resources: "
     "[leases], namespaces: ['*']}]}]"},
    {"system-nodes", "system", 500, "ByUser", "[{subjects: [{kind: Group, group: {name: 'system:nodes'}}], ALL}]"},
    {"kube-controller-manager", "workload-high", 800, "ByNamespace", "[{subjects: [{kind: User, user: {name: 'system:kube-controller-manager'}}], ALL}]"},
    {"kube-scheduler", "workload-high", 800, "ByNamespace", "[{subjects: [{kind: User, user: {name: 'system:kube-scheduler'}}], ALL}]"},
    {"kube-system-service-accounts", "workload-high", 900, "ByNamespace", "[{subjects: [{kind: ServiceAccount, serviceAccount: {namespace: kube-system, name: '*'}}], ALL}]"},
    {"service-accounts", "workload-low", 9000, "ByUser", "[{subjects: [{kind: Group, group: {name: 'system:serviceaccounts'}}], ALL}]"},
    {"global-default", "global-default", 9900, "ByUser",
     "[{subjects: [{kind: Group, group: {name: 'system:unauthenticated'}}, {kind: Group, group: {name: 'system:authenticated'}}], ALL}]"},
    {"catch-all", "catch-all", 10000, "ByUser",
     "[{subjects: [{kind: Group, group: {name: 'system:unauthenticated'}}, {kind: Group, group: {name: 'system:authenticated'}}], ALL}]"},
};
constexpr std::string_view kAll = "resourceRules: [{verbs: ['*'], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*']}], nonResourceRules: [{verbs: ['*'], nonResourceURLs: ['*']}]";

json::Value object(const char* kind, const char* name) {
  json::Value o = json::Value::object();
  o["apiVersion"] = std::string(kApi);
  o["kind"] = std::string(kind);
  o["metadata"]["name"] = std::string(name);
  o["metadata"]["annotations"]["apf.kubernetes.io/autoupdate-spec"] = "true";
  return o;
}

}  // namespace

std::vector<json::Value> flow_control_objects() {
  std::vector<json::Value> out;
  for (auto& l : kLevels) {
    json::Value o = object("PriorityLevelConfiguration", l.name);
    json::Value& spec = o["spec"];
    if (l.shares < 0) {
      spec["type"] = "Exempt";
      spec["exempt"]["nominalConcurrencyShares"] = 0;
      spec["exempt"]["lendablePercent"] = 0;
    } else {
      spec["type"] = "Limited";
      json::Value& limited = spec["limited"];
      limited["nominalConcurrencyShares"] = l.shares;
      limited["lendablePercent"] = l.lendable;
      limited["limitResponse"]["type"] = l.queues ? "Queue" : "Reject";
      if (l.queues) {
        json::Value& q = limited["limitResponse"]["queuing"];
        q["queues"] = l.queues;
        q["handSize"] = l.hand;
        q["queueLengthLimit"] = l.length;
      }
    }
    out.push_back(std::move(o));
  }
  for (auto& s : kSchemas) {
    json::Value o = object("FlowSchema", s.name);
    json::Value& spec = o["spec"];
    spec["matchingPrecedence"] = s.precedence;
    spec["priorityLevelConfiguration"]["name"] = std::string(s.level);
    if (*s.distinguisher) spec["distinguisherMethod"]["type"] = std::string(s.distinguisher);
    std::string text(s.rules);
    if (size_t at = text.find("ALL}"); at != text.npos) text.replace(at, 3, kAll);
    auto rules = yaml::parse(text);
    if (rules.ok()) spec["rules"] = std::move(*rules);
    out.push_back(std::move(o));
  }
  return out;
}

}  // namespace caravel::apiserver
