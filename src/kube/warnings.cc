// Warnings by kind.
#include "kube/warnings.h"

#include <algorithm>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_kinds.h"
#include "net/x509.h"

namespace caravel::kube {

namespace {

using json::Value;

constexpr std::string_view kStaticSuffix = ".static.k8s.io";

std::string go_list(const std::string& faults) {
  std::string out = "[" + faults + "]";
  for (char& c : out)
    if (c == '\n') c = ' ';
  return out;
}

void host_name_warning(const Value& o, const char* used_in, Warnings& out) {
  if (const std::string why = check_dns1123_label(o["metadata"]["name"].as_string()); !why.empty())
    out.push_back(std::string("metadata.name: this is used in ") + used_in + ", which can result in surprising behavior; a DNS label is recommended: " + go_list(why));
}

void job_warnings(const Value& spec, const FieldPath& p, Warnings& out) {
  constexpr int64_t kManyCompletions = 100'000, kManyAtOnce = 10'000;
  if (spec["completionMode"].as_string() == "Indexed" && spec["completions"].as_int() > kManyCompletions && spec["parallelism"].as_int() > kManyAtOnce)
    out.push_back(p.text() + ": In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
  pod_warnings(spec["template"]["metadata"], spec["template"]["spec"], p.child("template"), true, out);
}

// Templates are looked at again when the spec has changed, which the generation tells.
void workload_warnings(std::string_view kind, const Value& o, const Value* old, Warnings& out) {
  const bool looked_at = !old || o["metadata"]["generation"] != (*old)["metadata"]["generation"];
  const Value& spec = o["spec"];
  const FieldPath p("spec");
  if (!old && kind != "DaemonSet" && kind != "StatefulSet" && kind != "PodTemplate") host_name_warning(o, "Pod names and hostnames", out);
  if (kind == "Job" && looked_at) job_warnings(spec, p, out);
  if (kind == "CronJob") {
    if (looked_at) job_warnings(spec["jobTemplate"]["spec"], p.child("jobTemplate").child("spec"), out);
    if (old && spec["schedule"].as_string().find("TZ") != std::string::npos)
      out.push_back("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
  }
  if (kind == "Job" || kind == "CronJob") return;
  const Value& t = kind == "PodTemplate" ? o["template"] : spec["template"];
  if (looked_at) pod_warnings(t["metadata"], t["spec"], kind == "PodTemplate" ? FieldPath("template") : p.child("template"), true, out);
  if (kind != "StatefulSet") return;
  for (size_t i = 0; i < spec["volumeClaimTemplates"].size(); ++i) {
    const FieldPath at = p.child("volumeClaimTemplates").index(i);
    claim_size_warnings(spec["volumeClaimTemplates"].at(i)["spec"], old ? at.child("Spec") : at, out);
  }
  if (spec["revisionHistoryLimit"].as_int() < 0) out.push_back("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended");
}

void service_warnings(const Value& o, Warnings& out) {
  const Value& s = o["spec"];
  const std::string& type = s["type"].as_string();
  const FieldPath p("spec");
  const bool headless = type == "ClusterIP" && s["clusterIP"].as_string() == "None", external_ips = s["externalIPs"].size() > 0;
  if (o["metadata"]["annotations"].find("service.kubernetes.io/topology-aware-hints"))
    out.push_back("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead");
  if (const std::string& ip = s["clusterIP"].as_string(); !ip.empty() && ip != "None")
    for (size_t i = 0; i < s["clusterIPs"].size(); ++i) ip_warnings(p.child("clusterIPs").index(i), s["clusterIPs"].at(i).as_string(), out);
  if (headless) {
    if (!s["loadBalancerIP"].as_string().empty()) out.push_back("spec.loadBalancerIP is ignored for headless services");
    if (external_ips) out.push_back("spec.externalIPs is ignored for headless services");
    if (s["sessionAffinity"].as_string() != "None") out.push_back("spec.SessionAffinity is ignored for headless services");
  }
  for (size_t i = 0; i < s["externalIPs"].size(); ++i) ip_warnings(p.child("externalIPs").index(i), s["externalIPs"].at(i).as_string(), out);
  if (external_ips && !headless && type != "ExternalName") out.push_back("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
  if (const std::string& ip = s["loadBalancerIP"].as_string(); !ip.empty()) ip_warnings(p.child("loadBalancerIP"), ip, out);
  for (size_t i = 0; i < s["loadBalancerSourceRanges"].size(); ++i) cidr_warnings(p.child("loadBalancerSourceRanges").index(i), s["loadBalancerSourceRanges"].at(i).as_string(), out);
  if (type == "ExternalName" && external_ips) out.push_back("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
  if (type != "ExternalName" && !s["externalName"].as_string().empty()) out.push_back("spec.externalName is ignored when spec.type is not \"ExternalName\"");
  if (s["trafficDistribution"].as_string() == "PreferClose") out.push_back("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

void policy_block_warnings(const Value& spec, std::string_view direction, std::string_view peers, Warnings& out) {
  for (size_t i = 0; i < spec[direction].size(); ++i) {
    const Value& list = spec[direction].at(i)[peers];
    for (size_t j = 0; j < list.size(); ++j) {
      const Value& block = list.at(j)["ipBlock"];
      if (!block.is_object()) continue;
      const FieldPath at = FieldPath("spec").child(direction).index(i).child(peers).index(j).child("ipBlock");
      cidr_warnings(at.child("cidr"), block["cidr"].as_string(), out);
      for (size_t k = 0; k < block["except"].size(); ++k) cidr_warnings(at.child("except").index(k), block["except"].at(k).as_string(), out);
    }
  }
}

void volume_warnings(const Value& o, Warnings& out) {
  static constexpr std::pair<std::string_view, std::string_view> kAnnotations[] = {
      {"volume.beta.kubernetes.io/storage-class", "deprecated since v1.8; use \"storageClassName\" attribute instead"},
      {"volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"}};
  const Value& s = o["spec"];
  for (auto& [key, why] : kAnnotations)
    if (o["metadata"]["annotations"].find(key)) out.push_back("metadata.annotations[" + std::string(key) + "]: " + std::string(why));
  if (s["persistentVolumeReclaimPolicy"].as_string() == "Recycle")
    out.push_back("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
  const Value& terms = s["nodeAffinity"]["required"]["nodeSelectorTerms"];
  for (size_t i = 0; i < terms.size(); ++i) node_term_warnings(terms.at(i), false, FieldPath("spec.nodeAffinity.required.nodeSelectorTerms").index(i), out);
  for (auto& old : old_volumes())
    if (old.persistent && !s[old.plugin].is_null()) out.push_back("spec." + std::string(old.name) + ": " + std::string(old.why));
}

void claim_warnings(const Value& o, Warnings& out) {
  constexpr std::string_view kOldClass = "volume.beta.kubernetes.io/storage-class";
  if (o["metadata"]["annotations"].find(kOldClass)) out.push_back("metadata.annotations[" + std::string(kOldClass) + "]: deprecated since v1.8; use \"storageClassName\" attribute instead");
  claim_size_warnings(o["spec"], FieldPath("spec"), out);
}

void node_label_selector_warnings(const Value& selector, const FieldPath& p, Warnings& out) {
  node_term_warnings(selector, false, p, out);
  for (auto& m : selector["matchLabels"].as_object())
    if (auto why = deprecated_node_label(m.key.view()); !why.empty()) out.push_back(p.child("matchLabels").child(m.key.view()).text() + ": " + std::string(why));
}

void storage_class_warnings(const Value& o, Warnings& out) {
  for (size_t i = 0; i < o["allowedTopologies"].size(); ++i) {
    const Value& terms = o["allowedTopologies"].at(i)["matchLabelExpressions"];
    for (size_t j = 0; j < terms.size(); ++j)
      if (auto why = deprecated_node_label(terms.at(j)["key"].as_string()); !why.empty())
        out.push_back(FieldPath("allowedTopologies").index(i).child("matchLabelExpressions").index(j).child("key").text() + ": " + std::string(why));
  }
}

void quota_warnings(const Value& hard, Warnings& out) {
  for (std::string_view resource : {"cpu", "memory", "storage", "ephemeral-storage"}) {
    std::string request = "requests." + std::string(resource);
    const std::string limit = "limits." + std::string(resource);
    if (!hard.find(request) && (resource == "cpu" || resource == "memory")) request = resource;
    const Value *low = hard.find(request), *high = hard.find(limit);
    if (!low || !high) continue;
    const Quantity a = Quantity::of(low->as_string()), b = Quantity::of(high->as_string());
    if (a > b) out.push_back("ResourceQuota " + request + " (" + a.text() + ") should be less than " + limit + " (" + b.text() + ")");
  }
}

void endpoints_warnings(const Value& o, Warnings& out) {
  // The controllers write addresses as they should be, often, and many.
  if (o["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"].as_string() == "endpoint-controller") return;
  for (size_t i = 0; i < o["subsets"].size(); ++i)
    for (std::string_view list : {"addresses", "notReadyAddresses"}) {
      const Value& a = o["subsets"].at(i)[list];
      for (size_t j = 0; j < a.size(); ++j) ip_warnings(FieldPath("subsets").index(i).child(list).index(j).child("ip"), a.at(j)["ip"].as_string(), out);
    }
}

void slice_warnings(const Value& o, const Value* old, Warnings& out) {
  if (!old && o["addressType"].as_string() == "FQDN") out.push_back("spec.addressType: FQDN endpoints are deprecated");
  const std::string& by = o["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"].as_string();
  if (by == "endpointslice-controller.k8s.io" || by == "endpointslicemirroring-controller.k8s.io" || o["addressType"].as_string() == "FQDN") return;
  for (size_t i = 0; i < o["endpoints"].size(); ++i) {
    const Value& a = o["endpoints"].at(i)["addresses"];
    for (size_t j = 0; j < a.size(); ++j) ip_warnings(FieldPath("endpoints").index(i).child("addresses").index(j), a.at(j).as_string(), out);
  }
}

// What Go's tls.X509KeyPair says of a pair that does not fit.
void tls_secret_warnings(const Value& o, Warnings& out) {
  const std::string certificate = base64_decode(o["data"]["tls.crt"].as_string()).value_or(""), key = base64_decode(o["data"]["tls.key"].as_string()).value_or("");
  auto has_pem = [](const std::string& s) { return s.find("-----BEGIN ") != s.npos; };
  if (!has_pem(certificate)) return out.push_back("tls: failed to find any PEM data in certificate input");
  if (!has_pem(key)) return out.push_back("tls: failed to find any PEM data in key input");
  if (!net::parse_certificate(certificate).ok()) return out.push_back("x509: malformed certificate");
  if (!net::parse_key(key).ok()) return out.push_back("tls: failed to parse private key");
  if (!net::key_matches_certificate(key, certificate)) out.push_back("tls: private key does not match public key");
}

void node_warnings(const Value& spec, Warnings& out) {
  if (!spec["configSource"].is_null()) out.push_back("spec.configSource: the feature is removed");
  if (!spec["externalID"].as_string().empty()) out.push_back("spec.externalID: this field is deprecated, and is unused by Kubernetes");
  for (size_t i = 0; i < spec["podCIDRs"].size(); ++i) cidr_warnings(FieldPath("spec.podCIDRs").index(i), spec["podCIDRs"].at(i).as_string(), out);
}

void driver_warnings(const Value& o, const Value* old, Warnings& out) {
  const Value& requests = o["spec"]["tokenRequests"];
  if (requests.size() == 0 || !o["spec"]["serviceAccountTokenInSecrets"].is_null() || (old && requests == (*old)["spec"]["tokenRequests"])) return;
  out.push_back("spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes");
}

void service_account_warnings(const Value& o, const Value* old, Warnings& out) {
  constexpr std::string_view kKey = "kubernetes.io/enforce-mountable-secrets";
  if ((old && (*old)["metadata"]["annotations"].find(kKey)) || !o["metadata"]["annotations"].find(kKey)) return;
  out.push_back("metadata.annotations[" + std::string(kKey) + "]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets");
}

void ingress_point_warnings(const Value& o, Warnings& out) {
  const Value& points = o["status"]["loadBalancer"]["ingress"];
  for (size_t i = 0; i < points.size(); ++i)
    if (const std::string& ip = points.at(i)["ip"].as_string(); !ip.empty()) ip_warnings(FieldPath("status.loadBalancer.ingress").index(i), ip, out);
}

void pod_status_warnings(const Value& o, Warnings& out) {
  for (std::string_view list : {"podIPs", "hostIPs"})
    for (size_t i = 0; i < o["status"][list].size(); ++i) ip_warnings(FieldPath("status").child(list).index(i).child("ip"), o["status"][list].at(i)["ip"].as_string(), out);
}

void unknown_formats(const Value& schema, std::vector<std::string>& out) {
  static constexpr std::string_view kText[] = {"bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5", "isbn", "isbn10", "isbn13",
                                               "creditcard", "ssn", "hexcolor", "rgbcolor", "byte", "password", "date", "duration", "datetime", "k8sshortname", "k8slongname"};
  if (!schema.is_object()) return;
  if (const std::string& f = schema["format"].as_string(); !f.empty()) {
    const std::string& type = schema["type"].as_string();
    std::string plain = f;
    std::erase(plain, '-');
    const bool known = type.empty() || type == "string" ? std::find(std::begin(kText), std::end(kText), plain) != std::end(kText)
                       : type == "integer"              ? f == "int32" || f == "int64"
                       : type == "number"               ? f == "float" || f == "double"
                                                        : false;
    if (!known) out.push_back(f);
  }
  for (auto list : {"allOf", "anyOf", "oneOf"})
    for (const Value& v : schema[list].as_array()) unknown_formats(v, out);
  for (auto member : {"items", "not", "additionalProperties"}) unknown_formats(schema[member], out);
  for (auto& m : schema["properties"].as_object()) unknown_formats(m.value, out);
}

// Of an update only those that are new.
void crd_format_warnings(const Value& o, const Value* old, Warnings& out) {
  std::vector<std::string> now, before;
  for (const Value& v : o["spec"]["versions"].as_array()) unknown_formats(v["schema"]["openAPIV3Schema"], now);
  if (old)
    for (const Value& v : (*old)["spec"]["versions"].as_array()) unknown_formats(v["schema"]["openAPIV3Schema"], before);
  for (auto& f : now)
    if (std::find(before.begin(), before.end(), f) == before.end()) out.push_back("unrecognized format " + json::quote(f));
}

void core_warnings(std::string_view kind, const Value& o, const Value* old, Warnings& out) {
  if (kind == "Pod") {
    if (old) return;
    host_name_warning(o, "the Pod's hostname", out);
    pod_warnings(o["metadata"], o["spec"], FieldPath(), false, out);
  } else if (kind == "PodTemplate" || kind == "ReplicationController") workload_warnings(kind, o, old, out);
  else if (kind == "Service") service_warnings(o, out);
  else if (kind == "PersistentVolume") volume_warnings(o, out);
  else if (kind == "PersistentVolumeClaim") claim_warnings(o, out);
  else if (kind == "Endpoints") endpoints_warnings(o, out);
  else if (kind == "Node") node_warnings(o["spec"], out);
  else if (kind == "ServiceAccount") service_account_warnings(o, old, out);
  else if (kind == "Secret" && o["type"].as_string() == "kubernetes.io/tls") tls_secret_warnings(o, out);
  else if (kind == "ResourceQuota" && !old) quota_warnings(o["spec"]["hard"], out);
}

}  // namespace

std::string_view deprecated_node_label(std::string_view key) {
  static constexpr std::pair<std::string_view, std::string_view> kLabels[] = {
      {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
      {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
      {"failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
      {"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
      {"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
      {"app.kubernetes.io/created-by", "deprecated since v1.9"},
      {"scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"},
      {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"}};
  for (auto& [label, why] : kLabels)
    if (label == key) return why;
  return "";
}

void node_term_warnings(const Value& term, bool values_too, const FieldPath& p, Warnings& out) {
  const Value& list = term["matchExpressions"];
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& key = list.at(i)["key"].as_string();
    const FieldPath at = p.child("matchExpressions").index(i);
    if (auto why = deprecated_node_label(key); !why.empty()) out.push_back(at.child("key").text() + ": " + key + " is " + std::string(why));
    const Value& values = list.at(i)["values"];
    for (size_t k = 0; values_too && k < values.size(); ++k)
      if (const std::string faults = check_label_value(values.at(k).as_string()); !faults.empty())
        for (auto& why : split(faults, '\n')) out.push_back(at.child("values").index(k).text() + ": " + values.at(k).as_string() + " is invalid, " + why);
  }
}

void fractional_bytes_warning(const Value& amounts, std::string_view resource, const FieldPath& p, Warnings& out) {
  const Quantity q = Quantity::of(amounts[resource].as_string());
  if (q.milli_value() % 1000 != 0) out.push_back(p.key(resource).text() + ": fractional byte value " + json::quote(q.text()) + " is invalid, must be an integer");
}

void claim_size_warnings(const Value& claim_spec, const FieldPath& p, Warnings& out) {
  for (std::string_view amounts : {"requests", "limits"}) fractional_bytes_warning(claim_spec["resources"][amounts], "storage", p.child("resources").child(amounts), out);
}

Warnings object_warnings(std::string_view group, std::string_view kind, const Value& o, const Value* old, std::string_view subresource) {
  Warnings out;
  if (subresource == "status") {
    if ((group.empty() && kind == "Service") || (group == "networking.k8s.io" && kind == "Ingress")) ingress_point_warnings(o, out);
    else if (group.empty() && kind == "Pod") pod_status_warnings(o, out);
    return out;
  }
  if (!subresource.empty()) return out;
  if (group.empty()) core_warnings(kind, o, old, out);
  else if (group == "apiextensions.k8s.io") crd_format_warnings(o, old, out);
  else if (group == "apps" && kind != "ControllerRevision") workload_warnings(kind, o, old, out);
  else if (group == "batch") workload_warnings(kind, o, old, out);
  else if (group == "networking.k8s.io" && kind == "NetworkPolicy") {
    policy_block_warnings(o["spec"], "ingress", "from", out);
    policy_block_warnings(o["spec"], "egress", "to", out);
  } else if (group == "networking.k8s.io" && kind == "Ingress") {
    if (!old && o["metadata"]["annotations"].find("kubernetes.io/ingress.class") && o["spec"]["ingressClassName"].is_null())
      out.push_back("annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
  } else if (group == "discovery.k8s.io") slice_warnings(o, old, out);
  else if (group == "storage.k8s.io" && kind == "StorageClass") storage_class_warnings(o, out);
  else if (group == "storage.k8s.io" && kind == "CSIStorageCapacity") node_label_selector_warnings(o["nodeTopology"], FieldPath("nodeTopology"), out);
  else if (group == "storage.k8s.io" && kind == "CSIDriver") driver_warnings(o, old, out);
  else if (group == "node.k8s.io") {
    for (auto& m : o["scheduling"]["nodeSelector"].as_object())
      if (auto why = deprecated_node_label(m.key.view()); !why.empty()) out.push_back("scheduling.nodeSelector: " + std::string(why));
  } else if (group == "admissionregistration.k8s.io") {
    if (o["metadata"]["name"].as_string().ends_with(kStaticSuffix))
      out.push_back("metadata.name: names ending with \"" + std::string(kStaticSuffix) + "\" are reserved for static manifest-based configurations and cannot be managed via the API");
  } else if (group == "resource.k8s.io" && kind == "ResourceSlice") {
    const std::string& driver = o["spec"]["driver"].as_string();
    if (driver != to_lower(driver)) out.push_back("spec.driver: driver names should be lowercase; " + json::quote(driver) + " contains uppercase characters");
  }
  return out;
}

}  // namespace caravel::kube
