// The roles and bindings that upstream's API server creates in every cluster, as a table.
//   role NAME [aggregate-to=WHICH...] [aggregates=WHICH...]
//   verbs : groups : resources [: names]        "core" is the group ""; "*" anything
//   verbs @ urls
//   bind NAME ROLE subject...                   subjects: user:NAME group:NAME sa:NS/NAME
//   nsrole NS NAME / nsbind NS NAME ROLE subject...
#include "apiserver/authorization/authorizer.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

constexpr std::string_view kPolicy = R"(
role cluster-admin
* : * : *
* @ *
bind cluster-admin cluster-admin group:system:masters

role system:discovery
get @ /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/
bind system:discovery system:discovery group:system:authenticated
role system:public-info-viewer
get @ /healthz /livez /readyz /version /version/
bind system:public-info-viewer system:public-info-viewer group:system:authenticated group:system:unauthenticated
role system:basic-user
create : authorization.k8s.io : selfsubjectaccessreviews,selfsubjectrulesreviews
create : authentication.k8s.io : selfsubjectreviews
bind system:basic-user system:basic-user group:system:authenticated
role system:monitoring
get @ /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*
bind system:monitoring system:monitoring group:system:monitoring
role system:service-account-issuer-discovery
get @ /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/
bind system:service-account-issuer-discovery system:service-account-issuer-discovery group:system:serviceaccounts

role system:node
create : authentication.k8s.io : tokenreviews
create : authorization.k8s.io : localsubjectaccessreviews,subjectaccessreviews
get,list,watch : core : services
create,get,list,watch : core : nodes
patch,update : core : nodes/status
delete,patch,update : core : nodes
get,list,watch : core : pods
create,delete : core : pods
patch,update : core : pods/status
create : core : pods/eviction
create,patch,update : core : events
get,list,watch : core : configmaps,secrets
get : core : persistentvolumeclaims,persistentvolumes
get : core : endpoints
create,get,list,watch : certificates.k8s.io : certificatesigningrequests
create,delete,get,patch,update : coordination.k8s.io : leases
get : storage.k8s.io : volumeattachments
create : core : serviceaccounts/token
bind system:node system:node

role system:node-bootstrapper
create,get,list,watch : certificates.k8s.io : certificatesigningrequests
role system:certificates.k8s.io:certificatesigningrequests:nodeclient
create : certificates.k8s.io : certificatesigningrequests/nodeclient
role system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
create : certificates.k8s.io : certificatesigningrequests/selfnodeclient
role system:certificates.k8s.io:kube-apiserver-client-approver
approve : certificates.k8s.io : signers : kubernetes.io/kube-apiserver-client
role system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
approve : certificates.k8s.io : signers : kubernetes.io/kube-apiserver-client-kubelet
role system:certificates.k8s.io:kubelet-serving-approver
approve : certificates.k8s.io : signers : kubernetes.io/kubelet-serving
role system:certificates.k8s.io:legacy-unknown-approver
approve : certificates.k8s.io : signers : kubernetes.io/legacy-unknown
bind kubeadm:kubelet-bootstrap system:node-bootstrapper group:system:bootstrappers
bind kubeadm:node-autoapprove-bootstrap system:certificates.k8s.io:certificatesigningrequests:nodeclient group:system:bootstrappers
bind kubeadm:node-autoapprove-certificate-rotation system:certificates.k8s.io:certificatesigningrequests:selfnodeclient group:system:nodes

role system:node-proxier
list,watch : core : services,endpoints
get,list,watch : core : nodes
create,patch,update : core,events.k8s.io : events
list,watch : discovery.k8s.io : endpointslices
list,watch : networking.k8s.io : servicecidrs
bind system:node-proxier system:node-proxier user:system:kube-proxy
role system:kubelet-api-admin
get,list,watch : core : nodes
proxy : core : nodes
* : core : nodes/log,nodes/metrics,nodes/proxy,nodes/stats,nodes/healthz,nodes/pods,nodes/configz
bind caravel:apiserver-kubelet-client system:kubelet-api-admin user:kube-apiserver-kubelet-client
role system:auth-delegator
create : authentication.k8s.io : tokenreviews
create : authorization.k8s.io : subjectaccessreviews
role system:heapster
get,list,watch : core : events,namespaces,nodes,pods
get,list,watch : apps : deployments
role system:node-problem-detector
get : core : nodes
patch : core : nodes/status
create,patch,update : core,events.k8s.io : events
bind system:node-problem-detector system:node-problem-detector
role system:kube-dns
list,watch : core : endpoints,services
bind system:kube-dns system:kube-dns sa:kube-system/kube-dns
role system:persistent-volume-provisioner
create,delete,get,list,watch : core : persistentvolumes
get,list,update,watch : core : persistentvolumeclaims
get,list,watch : storage.k8s.io : storageclasses
watch : core : events
create,patch,update : core : events
role system:kube-aggregator
get,list,watch : core : endpoints,services

role system:kube-scheduler
create,patch,update : core,events.k8s.io : events
create : coordination.k8s.io : leases
get,list,watch,update,patch : coordination.k8s.io : leases
get,list,watch : core : nodes
delete,get,list,watch : core : pods
create : core : bindings,pods/binding
patch,update : core : pods/status
get,list,watch : core : replicationcontrollers,services
get,list,watch : apps : replicasets,statefulsets
get,list,watch : policy : poddisruptionbudgets
get,list,watch,update,patch : core : persistentvolumeclaims,persistentvolumes
create : authentication.k8s.io : tokenreviews
create : authorization.k8s.io : subjectaccessreviews
get,list,watch : storage.k8s.io : csinodes,csidrivers,csistoragecapacities,storageclasses,volumeattachments
get,list,watch : core : namespaces
get,list,watch : resource.k8s.io : deviceclasses,resourceslices,resourceclaims
update,patch : resource.k8s.io : resourceclaims,resourceclaims/status
get,list,watch : scheduling.k8s.io : priorityclasses
bind system:kube-scheduler system:kube-scheduler user:system:kube-scheduler
role system:volume-scheduler
get,list,patch,update,watch : core : persistentvolumes,persistentvolumeclaims
get,list,watch : storage.k8s.io : storageclasses
bind system:volume-scheduler system:volume-scheduler user:system:kube-scheduler

role system:kube-controller-manager
create,patch,update : core,events.k8s.io : events
create,get,list,watch,update,patch,delete : coordination.k8s.io : leases
get,list,watch : * : *
update,patch,delete,deletecollection : * : *
create : core : pods,serviceaccounts,secrets,configmaps,endpoints,persistentvolumeclaims,persistentvolumes,serviceaccounts/token,pods/eviction,pods/binding,resourcequotas,replicationcontrollers,namespaces,services
create : apps : controllerrevisions,replicasets
create : batch : jobs
create : discovery.k8s.io : endpointslices
create : storage.k8s.io : volumeattachments
create : certificates.k8s.io : certificatesigningrequests
create : networking.k8s.io : ipaddresses
create : authentication.k8s.io : tokenreviews
create : authorization.k8s.io : subjectaccessreviews
create : resource.k8s.io : resourceclaims
approve,sign : certificates.k8s.io : signers
bind,escalate : rbac.authorization.k8s.io : clusterroles,roles
get @ *
bind system:kube-controller-manager system:kube-controller-manager user:system:kube-controller-manager

role caravel:hollow-nodes
create,get,list,watch,update,patch,delete : core : nodes,nodes/status
get,list,watch,delete : core : pods
update,patch : core : pods/status
create,get,list,watch,update,patch : coordination.k8s.io : leases
create,patch,update : core,events.k8s.io : events
bind caravel:hollow-nodes caravel:hollow-nodes user:caravel:hollow-nodes

role system:controller:persistent-volume-binder
get,list,update,watch : core : persistentvolumes
create,delete : core : persistentvolumes
update : core : persistentvolumes/status
get,list,update,watch : core : persistentvolumeclaims
update : core : persistentvolumeclaims/status
create,delete,get,list,watch : core : pods
get,list,watch : storage.k8s.io : storageclasses
get,list,watch : core : nodes
watch : core : events
create,patch,update : core,events.k8s.io : events
role system:controller:attachdetach-controller
list,watch : core : persistentvolumeclaims,persistentvolumes
get,list,watch : core : nodes
patch,update : core : nodes/status
list,watch : core : pods
create,delete,get,list,watch : storage.k8s.io : volumeattachments
get,list,watch : storage.k8s.io : csidrivers,csinodes
create,patch,update : core,events.k8s.io : events
role system:controller:expand-controller
get,list,patch,update,watch : core : persistentvolumes
patch,update : core : persistentvolumeclaims/status
get,list,watch : core : persistentvolumeclaims
create,patch,update : core,events.k8s.io : events
role system:controller:ephemeral-volume-controller
get,list,watch : core : pods
update : core : pods/finalizers
create,get,list,watch : core : persistentvolumeclaims
create,patch,update : core,events.k8s.io : events
role system:controller:pvc-protection-controller
get,list,update,watch : core : persistentvolumeclaims
get,list,watch : core : pods
create,patch,update : core,events.k8s.io : events
role system:controller:pv-protection-controller
get,list,update,watch : core : persistentvolumes
create,patch,update : core,events.k8s.io : events
role system:controller:horizontal-pod-autoscaler
get,list,watch : autoscaling : horizontalpodautoscalers
update : autoscaling : horizontalpodautoscalers/status
get,update : * : */scale
list : core : pods
list : metrics.k8s.io : pods
get,list : custom.metrics.k8s.io : *
get,list : external.metrics.k8s.io : *
create,patch,update : core,events.k8s.io : events
bind system:controller:horizontal-pod-autoscaler system:controller:horizontal-pod-autoscaler sa:kube-system/horizontal-pod-autoscaler
bind system:controller:persistent-volume-binder system:controller:persistent-volume-binder sa:kube-system/persistent-volume-binder
bind system:controller:attachdetach-controller system:controller:attachdetach-controller sa:kube-system/attachdetach-controller
bind system:controller:expand-controller system:controller:expand-controller sa:kube-system/expand-controller
bind system:controller:ephemeral-volume-controller system:controller:ephemeral-volume-controller sa:kube-system/ephemeral-volume-controller
bind system:controller:pvc-protection-controller system:controller:pvc-protection-controller sa:kube-system/pvc-protection-controller
bind system:controller:pv-protection-controller system:controller:pv-protection-controller sa:kube-system/pv-protection-controller

role system:cloud-controller-manager
create,patch,update : core,events.k8s.io : events
* : core : nodes
patch : core : nodes/status
list,patch,update,watch : core : services
patch,update : core : services/status
create,get,list,watch,update,patch : core : serviceaccounts
get,list,watch,update : core : persistentvolumes
create,get,list,watch,update : core : endpoints
create,get,list,watch,update,patch : coordination.k8s.io : leases

role admin aggregates=admin
role edit aggregates=edit aggregate-to=admin
role view aggregates=view aggregate-to=edit
role system:aggregate-to-admin aggregate-to=admin
create : authorization.k8s.io : localsubjectaccessreviews
create,delete,deletecollection,get,list,patch,update,watch : rbac.authorization.k8s.io : rolebindings,roles
role system:aggregate-to-edit aggregate-to=edit
get,list,watch : core : pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
impersonate : core : serviceaccounts
create,delete,deletecollection,patch,update : core : pods,pods/attach,pods/exec,pods/portforward,pods/proxy
create : core : pods/eviction
create,delete,deletecollection,patch,update : core : configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
create : core : serviceaccounts/token
create,delete,deletecollection,patch,update : apps : daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
create,delete,deletecollection,patch,update : autoscaling : horizontalpodautoscalers
create,delete,deletecollection,patch,update : batch : cronjobs,jobs
create,delete,deletecollection,patch,update : networking.k8s.io : ingresses,networkpolicies
create,delete,deletecollection,patch,update : policy : poddisruptionbudgets
create,delete,deletecollection,get,list,patch,update,watch : coordination.k8s.io : leases
create,delete,deletecollection,patch,update : resource.k8s.io : resourceclaims,resourceclaimtemplates
role system:aggregate-to-view aggregate-to=view
get,list,watch : core : configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status
get,list,watch : core : bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status
get,list,watch : core : namespaces
get,list,watch : discovery.k8s.io : endpointslices
get,list,watch : apps : controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
get,list,watch : autoscaling : horizontalpodautoscalers,horizontalpodautoscalers/status
get,list,watch : batch : cronjobs,cronjobs/status,jobs,jobs/status
get,list,watch : networking.k8s.io : ingresses,ingresses/status,networkpolicies
get,list,watch : policy : poddisruptionbudgets,poddisruptionbudgets/status
get,list,watch : resource.k8s.io : resourceclaims,resourceclaims/status,resourceclaimtemplates

nsrole kube-system extension-apiserver-authentication-reader
get,list,watch : core : configmaps : extension-apiserver-authentication
nsrole kube-system system:controller:bootstrap-signer
get,list,watch : core : secrets
nsrole kube-system system:controller:token-cleaner
get,list,watch,delete : core : secrets
create,patch,update : core,events.k8s.io : events
nsrole kube-public system:controller:bootstrap-signer
get,list,watch : core : configmaps
update : core : configmaps : cluster-info
create,patch,update : core,events.k8s.io : events
nsbind kube-system system::extension-apiserver-authentication-reader extension-apiserver-authentication-reader user:system:kube-controller-manager user:system:kube-scheduler
nsbind kube-system system:controller:bootstrap-signer system:controller:bootstrap-signer sa:kube-system/bootstrap-signer
nsbind kube-system system:controller:token-cleaner system:controller:token-cleaner sa:kube-system/token-cleaner
nsbind kube-public system:controller:bootstrap-signer system:controller:bootstrap-signer sa:kube-system/bootstrap-signer
)";

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

json::Value list_of(const std::string& text, bool core) {
  json::Value a = json::Value::array();
  for (auto& s : split(text, ',')) a.push_back(core && s == "core" ? std::string() : s);
  return a;
}

json::Value base_object(std::string kind, std::string ns, std::string name) {
  json::Value o = json::Value::object();
  o["kind"] = std::move(kind);
  o["apiVersion"] = "rbac.authorization.k8s.io/v1";
  json::Value& m = o["metadata"];
  m["name"] = std::move(name);
  if (!ns.empty()) m["namespace"] = std::move(ns);
  m["labels"]["kubernetes.io/bootstrapping"] = "rbac-defaults";
  m["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "true";
  return o;
}

json::Value parse_rule(std::string_view line) {
  json::Value r = json::Value::object();
  auto words = split_words(line);
  r["verbs"] = list_of(words[0], false);
  if (words[1] == "@") {
    json::Value urls = json::Value::array();
    for (size_t i = 2; i < words.size(); ++i) urls.push_back(words[i]);
    r["nonResourceURLs"] = std::move(urls);
    return r;
  }
  r["apiGroups"] = list_of(words[2], true);
  r["resources"] = list_of(words[4], false);
  if (words.size() > 6) r["resourceNames"] = list_of(words[6], false);
  return r;
}

json::Value binding(std::string kind, std::string ns, const std::vector<std::string>& words, size_t at, std::string role_kind) {
  json::Value b = base_object(std::move(kind), std::move(ns), words[at]);
  json::Value ref = json::Value::object();
  ref["apiGroup"] = kGroup;
  ref["kind"] = std::move(role_kind);
  ref["name"] = words[at + 1];
  b["roleRef"] = std::move(ref);
  json::Value subjects = json::Value::array();
  for (size_t i = at + 2; i < words.size(); ++i) {
    const std::string& w = words[i];
    json::Value s = json::Value::object();
    size_t colon = w.find(':');
    std::string what = w.substr(0, colon), who = w.substr(colon + 1);
    if (what == "sa") {
      s["kind"] = "ServiceAccount";
      s["name"] = who.substr(who.find('/') + 1);
      s["namespace"] = who.substr(0, who.find('/'));
    } else {
      s["apiGroup"] = kGroup;
      s["kind"] = what == "user" ? "User" : "Group";
      s["name"] = who;
    }
    subjects.push_back(std::move(s));
  }
  if (subjects.size()) b["subjects"] = std::move(subjects);
  return b;
}

}  // namespace

std::vector<json::Value> default_policy() {
  std::vector<json::Value> out;
  size_t role = static_cast<size_t>(-1);
  for (auto& line : split(kPolicy, '\n')) {
    auto words = split_words(line);
    if (words.empty()) continue;
    if (words[0] == "role") {
      json::Value r = base_object("ClusterRole", "", words[1]);
      for (size_t i = 2; i < words.size(); ++i) {
        size_t eq = words[i].find('=');
        std::string what = words[i].substr(0, eq), which = "rbac.authorization.k8s.io/aggregate-to-" + words[i].substr(eq + 1);
        if (what == "aggregate-to") {
          r["metadata"]["labels"][which] = "true";
        } else {
          json::Value selector = json::Value::object();
          selector["matchLabels"][which] = "true";
          json::Value rule = json::Value::object();
          rule["clusterRoleSelectors"] = json::Value::array({selector});
          r["aggregationRule"] = std::move(rule);
        }
      }
      r["rules"] = json::Value::array();
      role = out.size();
      out.push_back(std::move(r));
    } else if (words[0] == "nsrole") {
      json::Value r = base_object("Role", words[1], words[2]);
      r["rules"] = json::Value::array();
      role = out.size();
      out.push_back(std::move(r));
    } else if (words[0] == "bind") {
      out.push_back(binding("ClusterRoleBinding", "", words, 1, "ClusterRole"));
    } else if (words[0] == "nsbind") {
      out.push_back(binding("RoleBinding", words[1], words, 2, "Role"));
    } else {
      out[role]["rules"].push_back(parse_rule(line));
    }
  }
  // The aggregated roles start filled; the aggregation controller keeps them so.
  auto find = [&](std::string_view name) -> json::Value* {
    for (auto& o : out)
      if (o["kind"].as_string() == "ClusterRole" && o["metadata"]["name"].as_string() == name) return &o;
    return nullptr;
  };
  auto copy = [&](std::string_view from, std::string_view to) {
    json::Value rules = (*find(from))["rules"];
    for (auto& r : rules.as_array()) (*find(to))["rules"].push_back(r);
  };
  copy("system:aggregate-to-view", "view");
  copy("system:aggregate-to-edit", "edit");
  copy("view", "edit");
  copy("system:aggregate-to-admin", "admin");
  copy("edit", "admin");
  return out;
}

}  // namespace caravel::apiserver
