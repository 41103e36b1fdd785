// Volumes, claims, storage classes and CSI objects.
#include <map>
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

const FieldPath kSpec("spec");
constexpr size_t kParametersMax = 512, kParametersSizeMax = 256 * 1024;

bool positive(const Value& v) {
  auto q = Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
  return q.ok() && q->sign() > 0;
}
Quantity amount(const Value& v) {
  auto q = Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
  return q.ok() ? *q : Quantity();
}

void access_modes(const Value& modes, const FieldPath& p, FieldErrors& e) {
  bool exclusive = false, others = false;
  for (const Value& mode : modes.as_array()) {
    const size_t before = e.size();
    supported(mode, {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"}, p, e);
    if (mode.as_string() == "ReadWriteOncePod") exclusive = true;
    else others = others || e.size() == before;
  }
  if (exclusive && others) e.push_back(forbidden_error(p, "may not use ReadWriteOncePod with other access modes"));
}

void volume(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  must_have(s, {"accessModes"}, kSpec, e);
  access_modes(s["accessModes"], kSpec.child("accessModes"), e);
  const FieldPath capacity = kSpec.child("capacity");
  if (s["capacity"].size() == 0) e.push_back(required_error(capacity));
  if (s["capacity"]["storage"].is_null() || s["capacity"].size() > 1) e.push_back(not_supported(capacity, s["capacity"], {std::string_view("storage")}));
  for (auto& m : s["capacity"].as_object()) {
    if (amount(m.value).sign() < 0) e.push_back(invalid_error(capacity.key(m.key), amount(m.value).value(), "must be a valid resource quantity"));
    if (!positive(m.value)) e.push_back(invalid_error(capacity.key(m.key), m.value, "must be greater than zero"));
  }
  one_of(s["persistentVolumeReclaimPolicy"], {"Delete", "Recycle", "Retain"}, kSpec.child("persistentVolumeReclaimPolicy"), e, false);
  if (const Value& affinity = s["nodeAffinity"]; affinity.is_object()) {
    const FieldPath p = kSpec.child("nodeAffinity").child("required");
    if (affinity["required"].is_object()) node_selector(affinity["required"], p, e);
    else e.push_back(required_error(p, "must specify required node constraints"));
  }
  persistent_volume_source(s, o["metadata"]["name"].as_string(), kSpec, e);
  if (s["local"].is_object() && !s["nodeAffinity"].is_object()) e.push_back(required_error(kSpec.child("nodeAffinity"), "Local volume requires node affinity"));
  if (const std::string& path = s["hostPath"]["path"].as_string(); !path.empty() && path.find_first_not_of("/.") == path.npos && s["persistentVolumeReclaimPolicy"].as_string() == "Recycle")
    e.push_back(forbidden_error(kSpec.child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"));
  if (const Value& cls = s["storageClassName"]; !cls.as_string().empty()) text_must(check_dns1123_subdomain, cls, kSpec.child("storageClassName"), e);
  if (s["volumeMode"].is_string()) supported(s["volumeMode"], {"Block", "Filesystem"}, kSpec.child("volumeMode"), e);
  if (const Value& cls = s["volumeAttributesClassName"]; cls.is_string()) {
    const FieldPath p = kSpec.child("volumeAttributesClassName");
    if (cls.as_string().empty()) e.push_back(required_error(p, "an empty string is disallowed"));
    else text_must(check_dns1123_subdomain, cls, p, e);
    if (!s["csi"].is_object()) e.push_back(required_error(kSpec.child("csi"), "has to be specified when using volumeAttributesClassName"));
  }
  if (!old) return;
  // Which storage it is cannot change under those who use it.
  Value a = Value::object(), b = Value::object();
  static const std::set<std::string> kMutable = {"capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions", "volumeMode",
                                                 "nodeAffinity", "volumeAttributesClassName"};
  for (auto& m : s.as_object())
    if (!kMutable.count(m.key)) a[m.key] = m.value;
  for (auto& m : (*old)["spec"].as_object())
    if (!kMutable.count(m.key)) b[m.key] = m.value;
  if (!same(a, b)) e.push_back(forbidden_error(kSpec.child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation"));
  immutable(s["volumeMode"], (*old)["spec"]["volumeMode"], FieldPath("volumeMode"), e);  // upstream's path
  if (!(*old)["spec"]["nodeAffinity"].is_null()) immutable(s["nodeAffinity"], (*old)["spec"]["nodeAffinity"], kSpec.child("nodeAffinity"), e);
}

// dataSource or dataSourceRef.
void data_source(const Value& s, const FieldPath& p, FieldErrors& e) {
  must_have(s, {"name", "kind"}, p, e);
  const std::string& group = s["apiGroup"].as_string();
  if (group.empty() && s["kind"].as_string() != "PersistentVolumeClaim") e.push_back(invalid_error(p, s["kind"].as_string(), "must be 'PersistentVolumeClaim' when referencing the default apiGroup"));
  if (!group.empty()) text_must(check_dns1123_subdomain, group, p.child("apiGroup"), e);
  if (const Value& ns = s["namespace"]; !ns.as_string().empty()) text_must(check_dns1123_label, ns, p.child("namespace"), e);
}

void claim(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  if (old && s == (*old)["spec"]) return;
  const Value& size = s["resources"]["requests"]["storage"];
  persistent_claim_spec(s, kSpec, e);
  if (!old) return;
  const Value& was = (*old)["spec"];
  bool bound = (*old)["status"]["phase"].as_string() == "Bound";
  Value a = s, b = was;
  if (b["volumeName"].as_string().empty()) a.erase("volumeName"), b.erase("volumeName");
  if (b["storageClassName"].is_null()) a.erase("storageClassName"), b.erase("storageClassName");
  if (bound) {
    a.erase("volumeAttributesClassName"), b.erase("volumeAttributesClassName");
    for (auto* v : {&a, &b})
      if (v->find("resources") && (*v)["resources"].find("requests")) (*v)["resources"]["requests"].erase("storage");
  }
  if (!same(a, b)) e.push_back(forbidden_error(kSpec, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
  const Value& had = was["resources"]["requests"]["storage"];
  if (amount(size) < amount(had)) {
    // A failed expansion may be taken back, down to what there is.
    const Value& has = (*old)["status"]["capacity"]["storage"];
    if (!(amount(has) < amount(size)))
      e.push_back(forbidden_error(kSpec.child("resources").child("requests").child("storage"), "field can not be less than status.capacity"));
  }
  immutable(s["volumeMode"], was["volumeMode"], FieldPath("volumeMode"), e);  // upstream's path
}

void parameters(const Value& list, const FieldPath& p, FieldErrors& e) {
  if (list.size() > kParametersMax) return e.push_back(too_long(p, kParametersMax));
  size_t total = 0;
  for (auto& m : list.as_object()) {
    if (m.key.empty()) e.push_back(invalid_error(p, m.key, "field can not be empty."));
    total += m.key.size() + m.value.as_string().size();
  }
  if (total > kParametersSizeMax) e.push_back(too_long(p, kParametersSizeMax));
}

// Terms of allowedTopologies: keys once, values once, and no term twice.
void topologies(const Value& terms, FieldErrors& e) {
  std::vector<std::map<std::string, std::set<std::string>>> seen(terms.size());  // upstream compares with as many empty ones
  for (size_t i = 0; i < terms.size(); ++i) {
    const FieldPath p = FieldPath("allowedTopologies").index(i).child("matchLabelExpressions");
    const auto& list = terms.at(i)["matchLabelExpressions"].as_array();
    std::map<std::string, std::set<std::string>> term;
    for (size_t k = 0; k < list.size(); ++k) {
      const Value& values = list[k]["values"];
      std::set<std::string> all;
      if (values.size() == 0) e.push_back(required_error(p.index(k).child("values")));
      for (size_t v = 0; v < values.size(); ++v)
        if (!all.insert(values.at(v).as_string()).second) e.push_back(duplicate_error(p.index(k).child("values").index(v), values.at(v)));
      const std::string& key = list[k]["key"].as_string();
      text_must(check_qualified_name, key, p.index(k).child("key"), e);
      if (term.count(key)) e.push_back(duplicate_error(p.index(k).child("key"), key));
      term[key] = std::move(all);
    }
    for (auto& other : seen)
      if (other == term) e.push_back(duplicate_error(p, ""));
    seen.push_back(std::move(term));
  }
}

void storage_class(const Value& o, const Value* old, FieldErrors& e) {
  if (const std::string& name = o["provisioner"].as_string(); name.empty()) e.push_back(required_error(FieldPath("provisioner")));
  else text_must(check_qualified_name, to_lower(name), FieldPath("provisioner"), e);
  parameters(o["parameters"], FieldPath("parameters"), e);
  one_of(o["reclaimPolicy"], {"Delete", "Retain"}, FieldPath("reclaimPolicy"), e, false);
  one_of(o["volumeBindingMode"], {"Immediate", "WaitForFirstConsumer"}, FieldPath("volumeBindingMode"), e, false);
  if (o["allowedTopologies"].size()) topologies(o["allowedTopologies"], e);
  if (!old) return;
  for (auto f : {"parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"}) immutable(o[f], (*old)[f], FieldPath(f), e);
}

void csi_driver(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  one_of(s["fsGroupPolicy"], {"File", "None", "ReadWriteOnceWithFSType"}, kSpec.child("fsGroupPolicy"), e, false);
  for (size_t i = 0; i < s["volumeLifecycleModes"].size(); ++i)
    one_of(s["volumeLifecycleModes"].at(i), {"Ephemeral", "Persistent"}, kSpec.child("volumeLifecycleModes").index(i), e);
  std::set<std::string> audiences;
  for (size_t i = 0; i < s["tokenRequests"].size(); ++i) {
    const Value& t = s["tokenRequests"].at(i);
    const FieldPath p = kSpec.child("tokenRequests").index(i);
    if (!audiences.insert(t["audience"].as_string()).second) e.push_back(duplicate_error(p.child("audience"), t["audience"]));
    if (t["expirationSeconds"].is_int() && t["expirationSeconds"].as_int() < 600)
      e.push_back(invalid_error(p.child("expirationSeconds"), t["expirationSeconds"], "may not specify a duration less than 10 minutes"));
  }
  if (!old) return;
  for (auto f : {"attachRequired", "volumeLifecycleModes"}) immutable(s[f], (*old)["spec"][f], kSpec.child(f), e);
}

void csi_node(const Value& o, const Value* old, FieldErrors& e) {
  const FieldPath drivers = kSpec.child("drivers");
  std::set<std::string> names;
  const Value& list = o["spec"]["drivers"];
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& d = list.at(i);
    const FieldPath p = drivers.index(i);
    const std::string& name = d["name"].as_string();
    if (name.empty()) e.push_back(required_error(p.child("name")));
    else if (!names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
    if (d["nodeID"].as_string().empty()) e.push_back(required_error(p.child("nodeID")));
    std::set<std::string> keys;
    for (size_t k = 0; k < d["topologyKeys"].size(); ++k) {
      const std::string& key = d["topologyKeys"].at(k).as_string();
      if (key.empty()) e.push_back(required_error(p.child("topologyKeys").index(k)));
      else if (!keys.insert(key).second) e.push_back(duplicate_error(p.child("topologyKeys").index(k), key));
    }
    if (d["allocatable"]["count"].is_int()) non_negative(d["allocatable"]["count"], p.child("allocatable").child("count"), e);
    if (!old) continue;
    for (auto& was : (*old)["spec"]["drivers"].as_array()) {
      if (was["name"].as_string() != name) continue;
      Value a = d, b = was;
      a.erase("allocatable"), b.erase("allocatable");
      if (!same(a, b)) e.push_back(invalid_error(p, d, "field is immutable"));
    }
  }
}

void attachment(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  if (s["attacher"].as_string().empty()) e.push_back(required_error(kSpec.child("attacher")));
  const FieldPath source = kSpec.child("source");
  bool named = s["source"]["persistentVolumeName"].is_string(), inlined = s["source"]["inlineVolumeSpec"].is_object();
  if (!named && !inlined) e.push_back(required_error(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"));
  if (named && inlined) e.push_back(forbidden_error(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"));
  if (named && s["source"]["persistentVolumeName"].as_string().empty()) e.push_back(required_error(source.child("persistentVolumeName"), "must specify non empty persistentVolumeName"));
  if (s["nodeName"].as_string().empty()) e.push_back(required_error(kSpec.child("nodeName")));
  if (old) immutable(s, (*old)["spec"], kSpec, e);
}

}  // namespace

void persistent_claim_spec(const Value& s, const FieldPath& p, FieldErrors& e) {
  if (s["accessModes"].size() == 0) e.push_back(required_error(p.child("accessModes"), "at least 1 access mode is required"));
  if (s["selector"].is_object()) validate_label_selector(s["selector"], p.child("selector"), e);
  access_modes(s["accessModes"], p.child("accessModes"), e);
  const Value& size = s["resources"]["requests"]["storage"];
  if (size.is_null()) e.push_back(required_error(p.child("resources").key("storage")));
  else if (!positive(size)) e.push_back(invalid_error(p.child("resources").key("storage"), size, "must be greater than zero"));
  if (const Value& cls = s["storageClassName"]; !cls.as_string().empty()) text_must(check_dns1123_subdomain, cls, p.child("storageClassName"), e);
  if (s["volumeMode"].is_string()) supported(s["volumeMode"], {"Block", "Filesystem"}, p.child("volumeMode"), e);
  const Value &source = s["dataSource"], &ref = s["dataSourceRef"];
  if (source.is_object()) data_source(source, p.child("dataSource"), e);
  if (ref.is_object()) data_source(ref, p.child("dataSourceRef"), e);
  if (source.is_object() && ref.is_object()) {
    if (!ref["namespace"].as_string().empty()) e.push_back(invalid_error(p, p.child("dataSource").text(), "may not be specified when dataSourceRef.namespace is specified"));
    else if (!(source["apiGroup"] == ref["apiGroup"] && source["kind"] == ref["kind"] && source["name"] == ref["name"]))
      e.push_back(invalid_error(p, p.child("dataSource").text(), "must match dataSourceRef"));
  }
  if (const Value& cls = s["volumeAttributesClassName"]; !cls.as_string().empty()) text_must(check_dns1123_subdomain, cls, p.child("volumeAttributesClassName"), e);
}

void storage(std::string_view kind, const Value& o, const Value* old, FieldErrors& e) {
  if (kind == "PersistentVolume") volume(o, old, e);
  else if (kind == "PersistentVolumeClaim") claim(o, old, e);
  else if (kind == "StorageClass") storage_class(o, old, e);
  else if (kind == "CSIDriver") csi_driver(o, old, e);
  else if (kind == "CSINode") csi_node(o, old, e);
  else if (kind == "VolumeAttachment") attachment(o, old, e);
  else if (kind == "VolumeAttributesClass") {
    if (o["driverName"].as_string().empty()) e.push_back(required_error(FieldPath("driverName")));
    if (o["parameters"].size() == 0) e.push_back(required_error(FieldPath("parameters"), "must contain at least one key/value pair"));
    if (!old) return;
    immutable(o["driverName"], (*old)["driverName"], FieldPath("driverName"), e);
    immutable(o["parameters"], (*old)["parameters"], FieldPath("parameters"), e);
  } else if (kind == "CSIStorageCapacity") {
    if (o["storageClassName"].as_string().empty()) e.push_back(required_error(FieldPath("storageClassName")));
    if (!old) return;
    immutable(o["storageClassName"], (*old)["storageClassName"], FieldPath("storageClassName"), e);
    immutable(o["nodeTopology"], (*old)["nodeTopology"], FieldPath("nodeTopology"), e);
  }
}

}  // namespace caravel::kube::check
