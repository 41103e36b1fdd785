// Cells of volumes, claims, storage classes and CSI objects.
#include <algorithm>

#include "base/strings.h"
#include "kube/table_printers.h"

namespace caravel::kube {

namespace {

std::string access_modes(const json::Value& modes) {
  std::vector<std::string> parts;
  for (auto [mode, text] : {std::pair<const char*, const char*>{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}})
    for (auto& m : modes.as_array())
      if (m.as_string() == mode) {
        parts.push_back(text);
        break;
      }
  return join(parts, ",");
}

std::string or_unset(const std::string& s) { return s.empty() ? "<unset>" : s; }
std::string yes(const json::Value& v) { return v.is_bool() ? (v.as_bool() ? "true" : "false") : "<unset>"; }
std::string amount(const json::Value& v) { return v.is_string() ? v.as_string() : v.is_null() ? ""
                                                                                              : json::dump(v); }

std::string class_of(const json::Value& o) {
  const std::string& beta = o["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_string();
  return beta.empty() ? o["spec"]["storageClassName"].as_string() : beta;
}

json::Value print_pv(std::string_view name, const json::Value& o) {
  const json::Value& spec = o["spec"];
  if (name == "capacity") return amount(spec["capacity"]["storage"]);
  if (name == "access-modes") return access_modes(spec["accessModes"]);
  if (name == "reclaim-policy") return spec["persistentVolumeReclaimPolicy"].as_string();
  if (name == "status") return o["metadata"]["deletionTimestamp"].is_null() ? o["status"]["phase"].as_string() : "Terminating";
  if (name == "claim") return spec["claimRef"].is_object() ? spec["claimRef"]["namespace"].as_string() + "/" + spec["claimRef"]["name"].as_string() : "";
  if (name == "storageclass") return class_of(o);
  if (name == "volumeattributesclass") return or_unset(spec["volumeAttributesClassName"].as_string());
  if (name == "reason") return o["status"]["reason"].as_string();
  if (name == "volumemode") return or_unset(spec["volumeMode"].as_string());
  return {};
}

json::Value print_pvc(std::string_view name, const json::Value& o) {
  const json::Value &spec = o["spec"], &status = o["status"];
  bool bound = !spec["volumeName"].as_string().empty();
  if (name == "status") return o["metadata"]["deletionTimestamp"].is_null() ? status["phase"].as_string() : "Terminating";
  if (name == "volume") return spec["volumeName"].as_string();
  if (name == "capacity") return bound ? amount(status["capacity"]["storage"]) : "";
  if (name == "access-modes") return bound ? access_modes(status["accessModes"]) : "";
  if (name == "storageclass") return class_of(o);
  if (name == "volumeattributesclass") return or_unset(status["currentVolumeAttributesClassName"].as_string());
  if (name == "volumemode") return or_unset(spec["volumeMode"].as_string());
  return {};
}

}  // namespace

json::Value print_storage(std::string_view kind, std::string_view name, const json::Value& o) {
  const json::Value& spec = o["spec"];
  if (kind == "PersistentVolume") return print_pv(name, o);
  if (kind == "PersistentVolumeClaim") return print_pvc(name, o);
  if (kind == "StorageClass") {
    if (name == "provisioner") return o["provisioner"].as_string();
    if (name == "reclaimpolicy") return o["reclaimPolicy"].as_string().empty() ? "Delete" : o["reclaimPolicy"].as_string();
    if (name == "volumebindingmode") return or_unset(o["volumeBindingMode"].as_string());
    if (name == "allowvolumeexpansion") return o["allowVolumeExpansion"].as_bool() ? "true" : "false";
  }
  if (kind == "VolumeAttributesClass" && name == "drivername") return o["driverName"].as_string();
  if (kind == "VolumeAttachment") {
    if (name == "attacher") return spec["attacher"].as_string();
    if (name == "pv") return spec["source"]["persistentVolumeName"].as_string();
    if (name == "node") return spec["nodeName"].as_string();
    if (name == "attached") return o["status"]["attached"].as_bool() ? "true" : "false";
  }
  if (kind == "CSIDriver") {
    if (name == "attachrequired") return yes(spec["attachRequired"].is_null() ? json::Value(true) : spec["attachRequired"]);
    if (name == "podinfoonmount") return yes(spec["podInfoOnMount"].is_null() ? json::Value(false) : spec["podInfoOnMount"]);
    if (name == "storagecapacity") return yes(spec["storageCapacity"].is_null() ? json::Value(false) : spec["storageCapacity"]);
    if (name == "requiresrepublish") return yes(spec["requiresRepublish"].is_null() ? json::Value(false) : spec["requiresRepublish"]);
    std::vector<std::string> parts;
    if (name == "tokenrequests") {
      for (auto& t : spec["tokenRequests"].as_array()) parts.push_back(t["audience"].as_string());
      return or_unset(join(parts, ","));
    }
    if (name == "modes") {
      for (auto& m : spec["volumeLifecycleModes"].as_array()) parts.push_back(m.as_string());
      return or_none(join(parts, ","));
    }
  }
  if (kind == "CSINode" && name == "drivers") return static_cast<int64_t>(spec["drivers"].size());
  if (kind == "CSIStorageCapacity") {
    if (name == "storageclassname") return o["storageClassName"].as_string();
    if (name == "capacity") return or_unset(amount(o["capacity"]));
  }
  return {};
}

}  // namespace caravel::kube
