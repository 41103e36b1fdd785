// Warnings about pods and templates of pods.
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_pod.h"
#include "kube/warnings.h"

namespace caravel::kube {

namespace {

using json::Value;

constexpr std::string_view kSeccompOfPod = "seccomp.security.alpha.kubernetes.io/pod",
                           kSeccompOfContainer = "container.seccomp.security.alpha.kubernetes.io/";

constexpr OldVolume kOldVolumes[] = {
    {"photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
    {"gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+", false},
    {"scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
    {"flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+", false},
    {"storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
    {"quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+", false},
    {"glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
    {"cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
    {"rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"}};

constexpr std::pair<std::string_view, std::string_view> kOldAnnotations[] = {
    {"scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
    {"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
    {"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"}};

// Where a volume puts a file, and which source does.
struct Placed {
  std::string path, source;
  std::string text() const { return json::quote(path) + (source.empty() ? "" : " (" + source + ")"); }
};

bool overlap(const std::string& a, const std::string& b) { return (a + "/").starts_with(b + "/") || (b + "/").starts_with(a + "/"); }

void place(std::vector<Placed>& taken, Placed next, const std::string& volume, const std::string& what, Warnings& out) {
  while (!next.path.empty() && next.path.back() == '/') next.path.pop_back();
  for (const Placed& other : taken)
    if (!next.path.empty() && !other.path.empty() && overlap(other.path, next.path))
      out.push_back("volume " + json::quote(volume) + " (" + what + "): overlapping paths: " + next.text() + " with " + other.text());
  taken.push_back(std::move(next));
}

void projected_paths(const Value& v, const std::string& name, Warnings& out) {
  std::vector<Placed> taken;
  for (const Value& source : v["sources"].as_array()) {
    if (source.size() == 0) {
      out.push_back("volume " + json::quote(name) + " (Projected) has no sources provided");
      continue;
    }
    auto files = [&](const Value& from, const std::string& what) {
      for (const Value& item : from["items"].as_array()) place(taken, {item["path"].as_string(), what}, name, "Projected", out);
    };
    if (source["configMap"]["items"].is_array()) files(source["configMap"], "ConfigMap " + json::quote(source["configMap"]["name"].as_string()));
    else if (source["secret"]["items"].is_array()) files(source["secret"], "Secret " + json::quote(source["secret"]["name"].as_string()));
    else if (source["downwardAPI"]["items"].is_array()) files(source["downwardAPI"], "DownwardAPI");
    else if (const Value& token = source["serviceAccountToken"]; token.is_object()) place(taken, {token["path"].as_string(), "ServiceAccountToken"}, name, "Projected", out);
    else if (const Value& bundle = source["clusterTrustBundle"]; bundle.is_object())
      place(taken, {bundle["path"].as_string(), "ClusterTrustBundle " + json::quote((bundle["name"].is_null() ? bundle["signerName"] : bundle["name"]).as_string())}, name, "Projected", out);
    else if (const Value& certificate = source["podCertificate"]; certificate.is_object())
      for (auto [member, what] : {std::pair("certificateChainPath", "PodCertificate chain"), std::pair("keyPath", "PodCertificate key"), std::pair("credentialBundlePath", "PodCertificate credential bundle")})
        if (!certificate[member].as_string().empty()) place(taken, {certificate[member].as_string(), what}, name, "Projected", out);
  }
}

void volume_path_warnings(const Value& volumes, Warnings& out) {
  for (const Value& v : volumes.as_array()) {
    const std::string& name = v["name"].as_string();
    auto files = [&](const Value& from, const std::string& what) {
      std::vector<Placed> taken;
      for (const Value& item : from["items"].as_array()) place(taken, {item["path"].as_string(), ""}, name, what, out);
    };
    files(v["configMap"], "ConfigMap " + json::quote(v["configMap"]["name"].as_string()));
    files(v["secret"], "Secret " + json::quote(v["secret"]["secretName"].as_string()));
    files(v["downwardAPI"], "DownwardAPI");
    if (v["projected"].is_object()) projected_paths(v["projected"], name, out);
  }
}

void environment_warnings(const Value& env, const FieldPath& p, Warnings& out) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < env.size() && env.size() > 1; ++i) {
    const Value& item = env.at(i);
    const std::string &name = item["name"].as_string(), &value = item["value"].as_string();
    if (names.insert(name).second) continue;
    // A value that builds on the one before is what people mean by saying it twice.
    const std::string reference = "$(" + name + ")";
    if (item["valueFrom"].is_null() && value != reference && value.find(reference) != value.npos) continue;
    out.push_back(p.child("env").index(i).text() + ": hides previous definition of " + json::quote(name) + ", which may be dropped when using apply");
  }
}

std::string shown_port(const Value& port) {
  return "{Name:" + port["name"].as_string() + " HostPort:" + std::to_string(port["hostPort"].as_int()) + " ContainerPort:" + std::to_string(port["containerPort"].as_int()) +
         " Protocol:" + port["protocol"].as_string() + " HostIP:" + port["hostIP"].as_string() + "}";
}

void port_warnings(const Value& spec, const FieldPath& p, Warnings& out) {
  struct Seen {
    FieldPath at;
    const Value* port;
  };
  std::map<std::pair<int64_t, std::string>, std::vector<Seen>> all;
  check::each_container(spec, [&](const Value& c, std::string_view list, size_t n) {
    for (size_t i = 0; i < c["ports"].size(); ++i) {
      const Value& port = c["ports"].at(i);
      const FieldPath at = p.child(list).index(n).child("ports").index(i);
      const std::string& ip = port["hostIP"].as_string();
      const int64_t host = port["hostPort"].as_int();
      if (!ip.empty() && host == 0) out.push_back(at.text() + ": hostIP set without hostPort: " + shown_port(port));
      auto& others = all[{port["containerPort"].as_int(), port["protocol"].as_string()}];
      for (const Seen& o : others) {
        const std::string& other_ip = (*o.port)["hostIP"].as_string();
        const int64_t other_host = (*o.port)["hostPort"].as_int();
        if (ip == other_ip && host == other_host) out.push_back(at.text() + ": duplicate port definition with " + o.at.text());
        else if (host == 0 || other_host == 0) out.push_back(at.text() + ": overlapping port definition with " + o.at.text());
        else if (host == other_host && ip.empty() != other_ip.empty()) out.push_back(at.text() + ": dangerously ambiguous port definition with " + o.at.text());
      }
      others.push_back({at, &port});
    }
  });
  std::map<std::string_view, std::string> names;
  check::each_container(spec, [&](const Value& c, std::string_view list, size_t n) {
    for (size_t i = 0; i < c["ports"].size(); ++i) {
      const std::string& name = c["ports"].at(i)["name"].as_string();
      if (name.empty()) continue;
      const std::string at = p.child(list).index(n).child("ports").index(i).text();
      auto [it, first] = names.emplace(name, at);
      if (!first) out.push_back(at + ": duplicate port name " + json::quote(name) + " with " + it->second + ", services and probes that select ports by name will use " + it->second);
    }
  });
}

void container_warnings(const Value& annotations, const Value& spec, const FieldPath& p, bool in_template, Warnings& out) {
  const FieldPath notes = p.child("metadata").child("annotations");
  check::each_container(spec, [&](const Value& c, std::string_view list, size_t i) {
    const FieldPath at = p.child("spec").child(list).index(i);
    const std::string& name = c["name"].as_string();
    const Value& context = c["securityContext"];
    if (const std::string key = std::string(kSeccompOfContainer) + name; context["seccompProfile"].is_null() && annotations.find(key))
      out.push_back(notes.key(key).text() + ": non-functional in v1.27+; use the \"seccompProfile\" field instead");
    // Of a pod the annotation is copied into the field, and the writer told then.
    const std::string key = std::string(kAppArmorAnnotation) + name;
    if (const Value* note = annotations.find(key); in_template && note && context["appArmorProfile"].is_null()) {
      const Value& of_pod = spec["securityContext"]["appArmorProfile"];
      if (of_pod.is_null() || !(of_pod == apparmor_of_annotation(note->as_string()))) out.push_back(notes.key(key).text() + ": " + std::string(kAppArmorWarning));
    }
    for (std::string_view resource : {"memory", "ephemeral-storage"})
      for (std::string_view amounts : {"limits", "requests"}) fractional_bytes_warning(c["resources"][amounts], resource, at.child("resources").child(amounts), out);
    environment_warnings(c["env"], at, out);
  });
}

void null_selector_warnings(const Value& affinity, const FieldPath& p, Warnings& out) {
  constexpr const char* kNothing = ": a null labelSelector results in matching no pod";
  for (std::string_view kind : {"podAffinity", "podAntiAffinity"}) {
    constexpr const char *kRequired = "requiredDuringSchedulingIgnoredDuringExecution", *kPreferred = "preferredDuringSchedulingIgnoredDuringExecution";
    const Value &required = affinity[kind][kRequired], &preferred = affinity[kind][kPreferred];
    for (size_t i = 0; i < required.size(); ++i)
      if (required.at(i)["labelSelector"].is_null()) out.push_back(p.child(kind).child(kRequired).index(i).child("labelSelector").text() + kNothing);
    for (size_t i = 0; i < preferred.size(); ++i)
      if (preferred.at(i)["podAffinityTerm"]["labelSelector"].is_null()) out.push_back(p.child(kind).child(kPreferred).index(i).child("podAffinityTerm").child("labelSelector").text() + kNothing);
  }
}

void placement_warnings(const Value& spec, const FieldPath& p, Warnings& out) {
  for (auto& m : spec["nodeSelector"].as_object())
    if (auto why = deprecated_node_label(m.key.view()); !why.empty()) out.push_back(p.child("nodeSelector").key(m.key.str()).text() + ": " + std::string(why));
  const Value& node = spec["affinity"]["nodeAffinity"];
  const FieldPath at = p.child("affinity").child("nodeAffinity");
  const Value& terms = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
  for (size_t i = 0; i < terms.size(); ++i)
    node_term_warnings(terms.at(i), false, at.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms").index(i), out);
  const Value& preferred = node["preferredDuringSchedulingIgnoredDuringExecution"];
  for (size_t i = 0; i < preferred.size(); ++i)
    node_term_warnings(preferred.at(i)["preference"], true, at.child("preferredDuringSchedulingIgnoredDuringExecution").index(i).child("preference"), out);
  const Value& spread = spec["topologySpreadConstraints"];
  for (size_t i = 0; i < spread.size(); ++i) {
    const FieldPath here = p.child("topologySpreadConstraints").index(i);
    const std::string& key = spread.at(i)["topologyKey"].as_string();
    if (auto why = deprecated_node_label(key); !why.empty()) out.push_back(here.child("topologyKey").text() + ": " + key + " is " + std::string(why));
    if (spread.at(i)["labelSelector"].is_null()) out.push_back(here.child("labelSelector").text() + ": a null labelSelector results in matching no pod");
  }
}

}  // namespace

std::span<const OldVolume> old_volumes() { return kOldVolumes; }

json::Value apparmor_of_annotation(const std::string& annotation) {
  Value out = Value::object();
  if (annotation == "unconfined") out["type"] = "Unconfined";
  else if (annotation == "runtime/default") out["type"] = "RuntimeDefault";
  else if (annotation.starts_with("localhost/") && annotation.size() > 10) {
    out["type"] = "Localhost";
    out["localhostProfile"] = annotation.substr(10);
  } else return Value();
  return out;
}

void pod_warnings(const Value& metadata, const Value& spec, const FieldPath& p, bool in_template, Warnings& out) {
  const FieldPath at = p.child("spec"), notes = p.child("metadata").child("annotations");
  const Value& annotations = metadata["annotations"];
  placement_warnings(spec, at, out);
  for (auto& [key, why] : kOldAnnotations)
    if (annotations.find(key)) out.push_back(notes.key(key).text() + ": " + std::string(why));
  const Value& volumes = spec["volumes"];
  for (size_t i = 0; i < volumes.size(); ++i) {
    for (auto& old : kOldVolumes)
      if (!volumes.at(i)[old.plugin].is_null()) out.push_back(at.child("volumes").index(i).child(old.name).text() + ": " + std::string(old.why));
    if (const Value& claim = volumes.at(i)["ephemeral"]["volumeClaimTemplate"]; claim.is_object())
      claim_size_warnings(claim["spec"], at.child("volumes").index(i).child("ephemeral").child("volumeClaimTemplate").child("spec"), out);
  }
  volume_path_warnings(volumes, out);
  const Value &aliases = spec["hostAliases"], &pull = spec["imagePullSecrets"];
  std::set<std::string_view> seen;
  for (size_t i = 0; i < aliases.size(); ++i)
    if (const std::string& ip = aliases.at(i)["ip"].as_string(); !seen.insert(ip).second) out.push_back(at.child("hostAliases").index(i).child("ip").text() + ": duplicate ip " + json::quote(ip));
  seen.clear();
  for (size_t i = 0; i < pull.size(); ++i)
    if (const std::string& name = pull.at(i)["name"].as_string(); !seen.insert(name).second)
      out.push_back(at.child("imagePullSecrets").index(i).child("name").text() + ": duplicate name " + json::quote(name));
  for (size_t i = 0; i < pull.size(); ++i)
    if (pull.at(i)["name"].as_string().empty()) out.push_back(at.child("imagePullSecrets").index(i).child("name").text() + ": invalid empty name \"\"");
  for (std::string_view resource : {"memory", "ephemeral-storage"}) fractional_bytes_warning(spec["overhead"], resource, at.child("overhead"), out);
  if (spec["securityContext"]["seccompProfile"].is_null() && annotations.find(kSeccompOfPod))
    out.push_back(notes.key(kSeccompOfPod).text() + ": non-functional in v1.27+; use the \"seccompProfile\" field instead");
  container_warnings(annotations, spec, p, in_template, out);
  port_warnings(spec, at, out);
  if (const Value& grace = spec["terminationGracePeriodSeconds"]; grace.is_int() && grace.as_int() < 0)
    out.push_back(at.child("terminationGracePeriodSeconds").text() + ": must be >= 0; negative values are invalid and will be treated as 1");
  null_selector_warnings(spec["affinity"], at.child("affinity"), out);
  const Value& servers = spec["dnsConfig"]["nameservers"];
  for (size_t i = 0; i < servers.size(); ++i) ip_warnings(at.child("dnsConfig").child("nameservers").index(i), servers.at(i).as_string(), out);
  for (size_t i = 0; i < aliases.size(); ++i) ip_warnings(at.child("hostAliases").index(i).child("ip"), aliases.at(i)["ip"].as_string(), out);
}

}  // namespace caravel::kube
