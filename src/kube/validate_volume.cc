// Volumes of pods and sources of PersistentVolumes: what each kind of source needs.
#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr int64_t kFileModeMax = 0777, kLunMax = 255, kPartitionMax = 255;
constexpr size_t kTenantMax = 64, kIscsiNameMax = 64, kDriverNameMax = 63;
constexpr std::string_view kOneType = "may not specify more than 1 volume type";

// Who has the source: a pod's volume or a PersistentVolume, with its name.
struct SourceOwner {
  std::string_view name;
  bool persistent;
  const PodParts* pod;
};
using SourceCheck = void (*)(const Value& source, const SourceOwner& owner, const FieldPath& p, FieldErrors& e);

bool alnum_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool digit_char(char c) { return c >= '0' && c <= '9'; }

void in_range(const Value& v, int64_t max, std::string_view words, const FieldPath& p, FieldErrors& e) {
  if (v.is_int() && (v.as_int() < 0 || v.as_int() > max)) e.push_back(invalid_error(p, v, words));
}

void secret_ref(const Value& ref, bool with_namespace, const FieldPath& p, FieldErrors& e) {
  if (!ref.is_object()) return;
  must_have(ref, {"name"}, p, e);
  if (with_namespace) must_have(ref, {"namespace"}, p, e);
}

void host_path(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  const std::string& path = s["path"].as_string();
  if (path.empty()) return;
  no_backsteps(path, p.child("path"), e);
  if (s["type"].is_string()) supported(s["type"], {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"}, p.child("type"), e);
}

void empty_dir(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  const Value& limit = s["sizeLimit"];
  if (limit.is_null()) return;
  auto q = Quantity::parse(limit.is_string() ? limit.as_string() : json::dump(limit));
  if (q.ok() && q->sign() < 0) e.push_back(forbidden_error(p.child("sizeLimit"), "SizeLimit field must be a valid resource quantity"));
}

void git_repo(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) { descending_path(s["directory"].as_string(), p.child("directory"), e); }

void disk_partition(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  in_range(s["partition"], kPartitionMax, "must be between 1 and 255, inclusive", p.child("partition"), e);
}

// "" or what is wrong with iqn.2001-04.com.example:storage, eui. with 16 or naa. with 32 letters and digits.
std::string_view iscsi_name(std::string_view s, std::string_view unknown) {
  constexpr std::string_view kBad = "must be valid format";
  auto coded = [&](size_t n) { return s.size() == n + 4 && std::all_of(s.begin() + 4, s.end(), alnum_char) ? std::string_view() : kBad; };
  if (s.starts_with("eui")) return coded(16);
  if (s.starts_with("naa")) return coded(32);
  if (!s.starts_with("iqn")) return unknown;
  const size_t colon = s.find(':');
  if (s.size() < 13 || s[3] != '.' || colon == s.npos || colon < 13 || colon + 1 == s.size()) return kBad;
  const std::string_view date = s.substr(4, 7), authority = s.substr(12, colon - 12), own = s.substr(colon + 1);
  for (size_t i = 0; i < date.size(); ++i)
    if (i == 4 ? date[i] != '-' : !digit_char(date[i])) return kBad;
  if (s[11] != '.' || !std::all_of(authority.begin(), authority.end(), [](char c) { return alnum_char(c) || c == '-' || c == '.'; })) return kBad;
  return own.find_first_of(",;*&$| \t\r\n\v\f") == own.npos ? std::string_view() : kBad;
}

void iscsi(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) {
  const std::string_view unknown = o.persistent ? "must be valid format" : "must be valid format starting with iqn, eui, or naa";
  const bool initiator = s["initiatorName"].is_string();
  if (initiator && o.name.size() + 1 + s["targetPortal"].as_string().size() > kIscsiNameMax) {
    constexpr std::string_view kWhy = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
    if (o.persistent) e.push_back(invalid_error(p.child("targetportal"), s["targetPortal"], kWhy));
    else e.push_back(invalid_error(FieldPath(p.text().substr(0, p.text().rfind('.'))).child("name"), std::string(o.name), kWhy));
  }
  if (const std::string& iqn = s["iqn"].as_string(); !iqn.empty())
    if (auto why = iscsi_name(iqn, unknown); !why.empty()) e.push_back(invalid_error(p.child("iqn"), iqn, why));
  in_range(s["lun"], kLunMax, "must be between 0 and 255, inclusive", p.child("lun"), e);
  if ((s["chapAuthDiscovery"].as_bool() || s["chapAuthSession"].as_bool()) && s["secretRef"].is_null()) e.push_back(required_error(p.child("secretRef")));
  if (o.persistent) secret_ref(s["secretRef"], false, p.child("secretRef"), e);
  if (initiator)
    if (auto why = iscsi_name(s["initiatorName"].as_string(), unknown); !why.empty()) e.push_back(invalid_error(p.child("initiatorname"), s["initiatorName"], why));
}

void fibre_channel(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  const Value &targets = s["targetWWNs"], &lun = s["lun"];
  if (targets.size() == 0 && s["wwids"].size() == 0) e.push_back(required_error(p.child("targetWWNs"), "must specify either targetWWNs or wwids, but not both"));
  if (targets.size() && s["wwids"].size()) e.push_back(invalid_error(p.child("targetWWNs"), targets, "targetWWNs and wwids can not be specified simultaneously"));
  if (targets.size() && lun.is_null()) e.push_back(required_error(p.child("lun"), "lun is required if targetWWNs is specified"));
  else if (targets.size()) in_range(lun, kLunMax, "must be between 0 and 255, inclusive", p.child("lun"), e);
}

void secret_volume(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  file_mode(s["defaultMode"], p.child("defaultMode"), e);
  if (s["items"].size()) volume_items(s["items"], p.child("items"), e);
}

void nfs(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  if (!s["path"].as_string().starts_with('/')) e.push_back(invalid_error(p.child("path"), s["path"].as_string(), "must be an absolute path"));
}

void quobyte(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  constexpr std::string_view kPairs = "must be a host:port pair or multiple pairs separated by commas";
  const std::string& registry = s["registry"].as_string();
  if (registry.empty()) e.push_back(required_error(p.child("registry"), kPairs));
  else if (s["tenant"].as_string().size() > kTenantMax) e.push_back(required_error(p.child("tenant"), "must be a UUID and may not exceed a length of 64 characters"));
  else
    for (auto& pair : split(registry, ','))
      if (pair.find(':') == pair.npos || (pair[0] != '[' && pair.find(':') != pair.rfind(':'))) e.push_back(invalid_error(p.child("registry"), registry, kPairs));
  must_have(s, {"volume"}, p, e);
}

void glusterfs(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) {
  const Value& ns = s["endpointsNamespace"];
  if (!o.persistent || !ns.is_string()) return;
  if (ns.as_string().empty()) e.push_back(invalid_error(p.child("endpointsNamespace"), ns, "if the endpointnamespace is set, it must be a valid namespace name"));
  else text_must(check_dns1123_label, ns, p.child("endpointsNamespace"), e);
}

void flocker(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  const std::string &name = s["datasetName"].as_string(), &uuid = s["datasetUUID"].as_string();
  if (name.empty() && uuid.empty()) e.push_back(required_error(p, "one of datasetName and datasetUUID is required"));
  if (!name.empty() && !uuid.empty()) e.push_back(invalid_error(p, "resource", "datasetName and datasetUUID can not be specified simultaneously"));
  if (name.find('/') != name.npos) e.push_back(invalid_error(p.child("datasetName"), name, "must not contain '/'"));
}

void cinder(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) { secret_ref(s["secretRef"], o.persistent, p.child("secretRef"), e); }

void flex(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  for (auto& m : s["options"].as_object()) {
    const std::string ns = "." + to_lower(m.key.substr(0, m.key.find('/')));
    if (ns.ends_with(".kubernetes.io") || ns.ends_with(".k8s.io")) e.push_back(invalid_error(p.child("options").key(m.key), m.key, "kubernetes.io and k8s.io namespaces are reserved"));
  }
}

void azure_file(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) {
  if (o.persistent && s["secretNamespace"].is_string()) must_have(s, {"secretNamespace"}, p, e);
}

void azure_disk(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) {
  if (s["cachingMode"].is_string()) supported(s["cachingMode"], {"None", "ReadOnly", "ReadWrite"}, p.child("cachingMode"), e);
  const Value &kind = s["kind"], &uri = s["diskURI"];
  if (!kind.is_string()) return;
  supported(kind, {"Dedicated", "Managed", "Shared"}, p.child("kind"), e);
  const bool managed = kind.as_string() == "Managed";
  if (managed && !uri.as_string().starts_with("/subscriptions/"))
    e.push_back(not_supported(p.child("diskURI"), uri.as_string(), {std::string_view("/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}")}));
  if (!managed && !uri.as_string().starts_with("https://"))
    e.push_back(not_supported(p.child("diskURI"), uri.as_string(), {std::string_view("https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")}));
}

void storage_os(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) {
  if (!s["volumeName"].as_string().empty()) text_must(check_dns1123_label, s["volumeName"], p.child("volumeName"), e);
  if (!s["volumeNamespace"].as_string().empty()) text_must(check_dns1123_label, s["volumeNamespace"], p.child("volumeNamespace"), e);
  secret_ref(s["secretRef"], o.persistent, p.child("secretRef"), e);
}

void csi(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) {
  csi_driver_name(s["driver"], p.child("driver"), e);
  if (!o.persistent) {
    const Value& ref = s["nodePublishSecretRef"];
    if (!ref.is_object()) return;
    if (ref["name"].as_string().empty()) e.push_back(required_error(p.child("nodePublishSecretRef").child("name")));
    else text_must(check_dns1123_subdomain, ref["name"], p.child("name"), e);
    return;
  }
  must_have(s, {"volumeHandle"}, p, e);
  for (std::string_view member : {"controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"}) {
    const Value& ref = s[member];
    if (!ref.is_object()) continue;
    const FieldPath at = p.child(member);
    secret_ref(ref, true, at, e);
    if (!ref["name"].as_string().empty()) text_must(check_dns1123_subdomain, ref["name"], at.child("name"), e);
    if (!ref["namespace"].as_string().empty()) text_must(check_dns1123_label, ref["namespace"], at.child("namespace"), e);
  }
}

void local(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) { no_backsteps(s["path"].as_string(), p.child("path"), e); }

void downward(const Value& s, const SourceOwner&, const FieldPath& p, FieldErrors& e) { downward_volume(s, p, e); }
void projected(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) { projected_volume(s, *o.pod, p, e); }

void image(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) {
  if (o.pod->is_pod()) must_have(s, {"reference"}, p, e);
  if (s["pullPolicy"].is_string()) pull_policy(s["pullPolicy"], p.child("pullPolicy"), e);
}

// A claim's template may have labels and annotations only.
void claim_template(const Value& s, const SourceOwner& o, const FieldPath& p, FieldErrors& e) {
  const FieldPath at = p.child("volumeClaimTemplate");
  const Value& t = s["volumeClaimTemplate"];
  if (!t.is_object()) return e.push_back(required_error(at));
  const Value& meta = t["metadata"];
  validate_annotations(meta["annotations"], at.child("metadata").child("annotations"), e);
  validate_labels(meta["labels"], at.child("metadata").child("labels"), e);
  for (auto& m : meta.as_object()) {
    if (m.key == "labels" || m.key == "annotations" || m.value.is_null() || (m.value.is_string() ? m.value.as_string().empty() : !m.value.is_number() && m.value.size() == 0)) continue;
    e.push_back(forbidden_error(at.child("metadata").child(m.key == "uid" ? "uID" : m.key), "cannot be set"));
  }
  persistent_claim_spec(t["spec"], at.child("spec"), e);
  if (!o.pod->is_pod() || o.name.empty()) return;
  const std::string& pod = (*o.pod->metadata)["name"].as_string();
  if (pod.empty()) return;
  const std::string claim = pod + "-" + std::string(o.name);
  if (std::string why = check_dns1123_subdomain(claim); !why.empty())
    e.push_back(invalid_error(FieldPath(p.text().substr(0, p.text().rfind('.'))).child("name"), std::string(o.name), "PVC name " + json::quote(claim) + ": " + why));
}

struct VolumeKind {
  std::string_view member;
  std::array<std::string_view, 3> needs = {};  // members that must not be empty
  SourceCheck more = nullptr;                  // what else must hold
  std::string_view path = {};                  // where upstream's path is not the member
  std::string_view path_of_second = {};        // and the one where it is one too many
};

constexpr VolumeKind kEmptyDir{"emptyDir", {}, empty_dir}, kHostPath{"hostPath", {"path"}, host_path}, kGitRepo{"gitRepo", {"repository"}, git_repo},
    kGce{"gcePersistentDisk", {"pdName"}, disk_partition, "persistentDisk"}, kEbs{"awsElasticBlockStore", {"volumeID"}, disk_partition},
    kSecret{"secret", {"secretName"}, secret_volume}, kNfs{"nfs", {"server", "path"}, nfs}, kIscsi{"iscsi", {"targetPortal", "iqn"}, iscsi},
    kGlusterfs{"glusterfs", {"endpoints", "path"}, glusterfs}, kFlocker{"flocker", {}, flocker}, kClaim{"persistentVolumeClaim", {"claimName"}},
    kRbd{"rbd", {"monitors", "image"}}, kCinder{"cinder", {"volumeID"}, cinder}, kCephfs{"cephfs", {"monitors"}, nullptr, {}, "cephFS"}, kQuobyte{"quobyte", {}, quobyte},
    kDownward{"downwardAPI", {}, downward, {}, "downwarAPI"}, kFc{"fc", {}, fibre_channel}, kFlex{"flexVolume", {"driver"}, flex}, kConfigMap{"configMap", {"name"}, secret_volume},
    kAzureFile{"azureFile", {"secretName", "shareName"}, azure_file}, kVsphere{"vsphereVolume", {"volumePath"}}, kPhoton{"photonPersistentDisk", {"pdID"}},
    kPortworx{"portworxVolume", {"volumeID"}}, kAzureDisk{"azureDisk", {"diskName", "diskURI"}, azure_disk}, kStorageOs{"storageos", {"volumeName"}, storage_os},
    kProjected{"projected", {}, projected}, kScaleIo{"scaleIO", {"gateway", "system", "volumeName"}}, kCsi{"csi", {}, csi}, kEphemeral{"ephemeral", {}, claim_template},
    kImage{"image", {}, image}, kLocal{"local", {"path"}, local};

// In upstream's order: when there are several sources all but the first of them are one too many.
constexpr const VolumeKind* kPodVolumes[] = {&kEmptyDir, &kHostPath, &kGitRepo, &kGce, &kEbs, &kSecret, &kNfs, &kIscsi, &kGlusterfs, &kFlocker, &kClaim, &kRbd, &kCinder, &kCephfs, &kQuobyte,
                                             &kDownward, &kFc, &kFlex, &kConfigMap, &kAzureFile, &kVsphere, &kPhoton, &kPortworx, &kAzureDisk, &kStorageOs, &kProjected, &kScaleIo, &kCsi,
                                             &kEphemeral, &kImage};
constexpr const VolumeKind* kPersistentVolumes[] = {&kHostPath, &kGce, &kEbs, &kGlusterfs, &kFlocker, &kNfs, &kRbd, &kQuobyte, &kCephfs, &kIscsi, &kCinder, &kFc, &kFlex, &kAzureFile, &kVsphere,
                                                    &kPhoton, &kPortworx, &kAzureDisk, &kScaleIo, &kLocal, &kStorageOs, &kCsi};

template <size_t N>
void one_source(const Value& v, const VolumeKind* const (&kinds)[N], const SourceOwner& owner, const FieldPath& p, FieldErrors& e) {
  int found = 0;
  for (const VolumeKind* k : kinds) {
    const Value& source = v[k->member];
    if (!source.is_object()) continue;
    if (found++) {
      e.push_back(forbidden_error(p.child(k->path_of_second.empty() ? k->member : k->path_of_second), kOneType));
      continue;
    }
    const FieldPath at = p.child(k->path.empty() ? k->member : k->path);
    for (auto need : k->needs)
      if (!need.empty()) must_have(source, {need}, at, e);
    if (k->more) k->more(source, owner, at, e);
  }
  if (found == 0) e.push_back(required_error(p, "must specify a volume type"));
}

}  // namespace

void no_backsteps(const std::string& path, const FieldPath& p, FieldErrors& e) {
  if (path.find("..") == path.npos) return;
  for (auto& step : split(path, '/'))
    if (step == "..") return e.push_back(invalid_error(p, path, "must not contain '..'"));
}

void descending_path(const std::string& path, const FieldPath& p, FieldErrors& e) {
  if (path.starts_with('/')) e.push_back(invalid_error(p, path, "must be a relative path"));
  no_backsteps(path, p, e);
}

void unreserved_path(const std::string& path, const FieldPath& p, FieldErrors& e) {
  descending_path(path, p, e);
  if (path.starts_with("..") && !path.starts_with("../")) e.push_back(invalid_error(p, path, "must not start with '..'"));
}

void file_mode(const Value& mode, const FieldPath& p, FieldErrors& e) { in_range(mode, kFileModeMax, "must be a number between 0 and 0777 (octal), both inclusive", p, e); }

void csi_driver_name(const Value& name, const FieldPath& p, FieldErrors& e) {
  const std::string& s = name.as_string();
  if (s.empty()) return e.push_back(required_error(p));
  if (s.size() > kDriverNameMax) e.push_back(too_long(p, kDriverNameMax));
  each_fault(check_dns1123_subdomain(to_lower(s)), s, p, e);
}

void pod_volumes(PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = pod.spec["volumes"].as_array();
  std::set<std::string> created;  // claims that are made for this pod
  const std::string& owner = pod.is_pod() ? (*pod.metadata)["name"].as_string() : Value().as_string();
  if (!owner.empty())
    for (const Value& v : list)
      if (v["ephemeral"].is_object()) created.insert(owner + "-" + v["name"].as_string());
  size_t place = 0;  // upstream puts the claims' volumes first
  static const Value kClaimed = [] {
    Value v;
    v["persistentVolumeClaim"] = Value::object();
    return v;
  }();
  const Value none;
  for (const Value& t : (pod.claim_templates ? *pod.claim_templates : none).as_array()) {
    const std::string& name = t["metadata"]["name"].as_string();
    if (pod.volume(name)) continue;
    text_must(check_dns1123_label, name, p.index(place++).child("name"), e);
    pod.volumes.emplace_back(name, &kClaimed);
  }
  const size_t claimed = place;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list[i];
    const std::string& name = v["name"].as_string();
    if (std::any_of(pod.volumes.begin(), pod.volumes.begin() + static_cast<ptrdiff_t>(claimed), [&](auto& c) { return c.first == name; })) continue;
    const FieldPath at = p.index(place++);
    const size_t before = e.size();
    one_source(v, kPodVolumes, {name, false, &pod}, at, e);
    if (name.empty()) e.push_back(required_error(at.child("name")));
    else text_must(check_dns1123_label, v["name"], at.child("name"), e);
    if (pod.volume(name)) e.push_back(duplicate_error(at.child("name"), name));
    if (e.size() == before) pod.volumes.emplace_back(name, &v);
    if (const std::string& claim = v["persistentVolumeClaim"]["claimName"].as_string(); created.count(claim))
      e.push_back(invalid_error(at.child("persistentVolumeClaim").child("claimName"), claim, "must not reference a PVC that gets created for an ephemeral volume"));
  }
}

void persistent_volume_source(const Value& spec, const std::string& name, const FieldPath& p, FieldErrors& e) { one_source(spec, kPersistentVolumes, {name, true, nullptr}, p, e); }

}  // namespace caravel::kube::check
