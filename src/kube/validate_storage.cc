// Volumes, claims, storage classes and CSI objects.
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

using json::Value;

const FieldPath kSpec("spec");

bool positive(const Value& v) {
  auto q = Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
  return q.ok() && q->sign() > 0;
}
Quantity amount(const Value& v) {
  auto q = Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
  return q.ok() ? *q : Quantity();
}

void access_modes(const Value& modes, const FieldPath& p, const char* missing, FieldErrors& e) {
  if (modes.size() == 0) e.push_back(required_error(p, missing));
  bool exclusive = false;
  for (size_t i = 0; i < modes.size(); ++i) {
    one_of(modes.at(i), {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"}, p.index(i), e);
    exclusive = exclusive || modes.at(i).as_string() == "ReadWriteOncePod";
  }
  if (exclusive && modes.size() > 1) e.push_back(forbidden_error(p, "may not use ReadWriteOncePod with other access modes"));
}

// What a volume is made of: exactly one source.
void volume_source(const Value& s, FieldErrors& e) {
  static constexpr const char* kSources[] = {"hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs",
                                             "rbd", "quobyte", "cephfs", "iscsi", "cinder", "fc",
                                             "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
                                             "scaleIO", "local", "storageos", "csi"};
  int found = 0;
  for (auto name : kSources) {
    if (!s[name].is_object()) continue;
    if (found++ > 0) e.push_back(forbidden_error(kSpec.child(name), "may not specify more than 1 volume type"));
  }
  if (found == 0) e.push_back(required_error(kSpec, "must specify a volume type"));
  auto no_dots = [&](const std::string& path, const FieldPath& p) {
    for (auto& part : split(path, '/'))
      if (part == "..") {
        e.push_back(invalid_error(p, path, "must not contain '..'"));
        return;
      }
  };
  if (s["hostPath"].is_object()) {
    const FieldPath p = kSpec.child("hostPath");
    const std::string& path = s["hostPath"]["path"].as_string();
    if (path.empty()) e.push_back(required_error(p.child("path")));
    else no_dots(path, p.child("path"));
    if (path == "/" && s["persistentVolumeReclaimPolicy"].as_string() == "Recycle")
      e.push_back(forbidden_error(kSpec.child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"));
  }
  if (s["local"].is_object()) {
    const std::string& path = s["local"]["path"].as_string();
    if (path.empty()) e.push_back(required_error(kSpec.child("local").child("path")));
    else no_dots(path, kSpec.child("local").child("path"));
    if (!s["nodeAffinity"].is_object()) e.push_back(required_error(kSpec.child("nodeAffinity"), "Local volume requires node affinity"));
  }
  if (s["nfs"].is_object()) {
    const FieldPath p = kSpec.child("nfs");
    if (s["nfs"]["server"].as_string().empty()) e.push_back(required_error(p.child("server")));
    if (s["nfs"]["path"].as_string().empty()) e.push_back(required_error(p.child("path")));
    else if (s["nfs"]["path"].as_string()[0] != '/') e.push_back(invalid_error(p.child("path"), s["nfs"]["path"], "must be an absolute path"));
  }
  if (s["csi"].is_object()) {
    const FieldPath p = kSpec.child("csi");
    if (s["csi"]["driver"].as_string().empty()) e.push_back(required_error(p.child("driver")));
    if (s["csi"]["volumeHandle"].as_string().empty()) e.push_back(required_error(p.child("volumeHandle")));
  }
}

void volume(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  access_modes(s["accessModes"], kSpec.child("accessModes"), "", e);
  const FieldPath capacity = kSpec.child("capacity");
  if (s["capacity"].size() == 0) e.push_back(required_error(capacity));
  else if (s["capacity"]["storage"].is_null() || s["capacity"].size() > 1) e.push_back(not_supported(capacity, s["capacity"], {"storage"}));
  else if (!positive(s["capacity"]["storage"])) e.push_back(invalid_error(capacity.key("storage"), s["capacity"]["storage"], "must be greater than zero"));
  one_of(s["persistentVolumeReclaimPolicy"], {"Delete", "Recycle", "Retain"}, kSpec.child("persistentVolumeReclaimPolicy"), e, false);
  one_of(s["volumeMode"], {"Block", "Filesystem"}, kSpec.child("volumeMode"), e, false);
  volume_source(s, e);
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
  immutable(s["volumeMode"], (*old)["spec"]["volumeMode"], kSpec.child("volumeMode"), e);
  if (!(*old)["spec"]["nodeAffinity"].is_null()) immutable(s["nodeAffinity"], (*old)["spec"]["nodeAffinity"], kSpec.child("nodeAffinity"), e);
}

void claim(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  access_modes(s["accessModes"], kSpec.child("accessModes"), "at least 1 access mode is required", e);
  const Value& size = s["resources"]["requests"]["storage"];
  FieldPath p = kSpec.child("resources").key("storage");
  if (size.is_null()) e.push_back(required_error(p));
  else if (!positive(size)) e.push_back(invalid_error(p, size, "must be greater than zero"));
  one_of(s["volumeMode"], {"Block", "Filesystem"}, kSpec.child("volumeMode"), e, false);
  if (s["selector"].is_object()) validate_label_selector(s["selector"], kSpec.child("selector"), e);
  if (std::string cls = s["storageClassName"].as_string(); !cls.empty())
    if (std::string why = check_dns1123_subdomain(cls); !why.empty()) e.push_back(invalid_error(kSpec.child("storageClassName"), cls, why));
  if (!old) return;
  const Value& was = (*old)["spec"];
  bool bound = (*old)["status"]["phase"].as_string() == "Bound";
  Value a = s, b = was;
  if (b["volumeName"].as_string().empty()) a.erase("volumeName"), b.erase("volumeName");
  if (b["storageClassName"].is_null()) a.erase("storageClassName"), b.erase("storageClassName");
  a.erase("volumeAttributesClassName"), b.erase("volumeAttributesClassName");
  if (bound) {
    for (auto* v : {&a, &b})
      if (v->find("resources") && (*v)["resources"].find("requests")) (*v)["resources"]["requests"].erase("storage");
  }
  if (!same(a, b)) e.push_back(forbidden_error(kSpec, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
  const Value& had = was["resources"]["requests"]["storage"];
  if (bound && amount(size) < amount(had)) {
    // A failed expansion may be taken back, down to what there is.
    const Value& has = (*old)["status"]["capacity"]["storage"];
    if (has.is_null() || !(amount(has) < amount(size)))
      e.push_back(forbidden_error(kSpec.child("resources").child("requests").child("storage"), "field can not be less than status.capacity"));
  }
}

void storage_class(const Value& o, const Value* old, FieldErrors& e) {
  if (o["provisioner"].as_string().empty()) e.push_back(required_error(FieldPath("provisioner")));
  for (auto& m : o["parameters"].as_object())
    if (m.key.empty()) e.push_back(invalid_error(FieldPath("parameters"), m.key, "field can not be empty."));
  one_of(o["reclaimPolicy"], {"Delete", "Retain"}, FieldPath("reclaimPolicy"), e, false);
  one_of(o["volumeBindingMode"], {"Immediate", "WaitForFirstConsumer"}, FieldPath("volumeBindingMode"), e, false);
  if (!old) return;
  for (auto f : {"parameters", "provisioner", "reclaimPolicy"})
    if (!same(o[f], (*old)[f])) e.push_back(forbidden_error(FieldPath(f), std::string("updates to ") + f + " are forbidden."));
  immutable(o["volumeBindingMode"], (*old)["volumeBindingMode"], FieldPath("volumeBindingMode"), e);
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
