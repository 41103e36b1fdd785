#include "controllers/volume_binding.h"

#include <algorithm>
#include <map>

#include "controllers/common.h"

namespace caravel::controllers {

using kube::Quantity;
using kube::core::PersistentVolume;
using kube::core::PersistentVolumeClaim;
using kube::storage::StorageClass;

namespace {

using Annotations = std::map<std::string, std::string>;
bool has(const Annotations& a, const char* key) { return a.count(key) > 0; }
std::string mode_of(const std::optional<std::string>& m) { return m && !m->empty() ? *m : "Filesystem"; }
Quantity storage(const std::map<std::string, Quantity>& m) {
  auto it = m.find("storage");
  return it == m.end() ? Quantity() : it->second;
}
bool has_modes(const PersistentVolume& v, const PersistentVolumeClaim& c) {
  for (auto& m : c.spec.access_modes)
    if (std::find(v.spec.access_modes.begin(), v.spec.access_modes.end(), m) == v.spec.access_modes.end()) return false;
  return true;
}
bool same_attributes_class(const PersistentVolume& v, const PersistentVolumeClaim& c) {
  return v.spec.volume_attributes_class_name.value_or("") == c.spec.volume_attributes_class_name.value_or("");
}
ClassPtr find_class(const std::vector<ClassPtr>& classes, const std::string& name) {
  for (auto& c : classes)
    if (c->metadata.name == name) return c;
  return nullptr;
}

void set_phase(VolumePlan& plan, const PersistentVolume& v, const char* phase, std::string message = "") {
  if (v.status.phase == phase && v.status.message == message) return;
  PersistentVolume next = v;
  next.status.phase = phase;
  next.status.message = std::move(message);
  plan.steps.push_back({VolumeStep::What::kStatus, std::move(next)});
}

// The claim's status follows its volume; without one (Pending, Lost) it has neither modes nor capacity.
// True when something changes.
bool set_claim_status(VolumePlan& plan, const PersistentVolumeClaim& c, const char* phase, const PersistentVolume* v) {
  kube::core::PersistentVolumeClaimStatus s = c.status;
  s.phase = phase;
  if (!v) {
    s.access_modes.clear();
    s.capacity.clear();
  } else {
    s.access_modes = v->spec.access_modes;
    // Only on becoming bound: later a file system may be smaller than the volume that it grows on.
    if (c.status.phase != phase) {
      if (!s.capacity.count("storage") || storage(s.capacity) != storage(v->spec.capacity)) s.capacity = v->spec.capacity;
      if (v->spec.volume_attributes_class_name && !v->spec.volume_attributes_class_name->empty())
        s.current_volume_attributes_class_name = v->spec.volume_attributes_class_name;
    }
  }
  if (s == c.status) return false;
  PersistentVolumeClaim next = c;
  next.status = std::move(s);
  plan.steps.push_back({VolumeStep::What::kStatus, std::move(next)});
  return true;
}

void bind(VolumePlan& plan, const PersistentVolume& v, const PersistentVolumeClaim& c) {
  PersistentVolume pv = v;
  bool by_us = !is_bound_to(v, c);
  if (!pv.spec.claim_ref || by_us || pv.spec.claim_ref->uid != c.metadata.uid) {
    kube::core::ObjectReference r;
    r.kind = "PersistentVolumeClaim";
    r.api_version = "v1";
    r.namespace_ = c.metadata.namespace_;
    r.name = c.metadata.name;
    r.uid = c.metadata.uid;
    r.resource_version = c.metadata.resource_version;
    pv.spec.claim_ref = std::move(r);
  }
  if (by_us) pv.metadata.annotations[kBoundByController] = "yes";
  if (pv != v) plan.steps.push_back({VolumeStep::What::kUpdate, pv});
  set_phase(plan, pv, "Bound");
  PersistentVolumeClaim claim = c;
  if (claim.spec.volume_name != v.metadata.name) {
    claim.spec.volume_name = v.metadata.name;
    claim.metadata.annotations[kBoundByController] = "yes";
  }
  claim.metadata.annotations[kBindCompleted] = "yes";
  if (claim != c) plan.steps.push_back({VolumeStep::What::kUpdate, claim});
  set_claim_status(plan, claim, "Bound", &pv);
}

// Hands the claim to the provisioner that its class names: nothing in this process makes volumes.
void provision(VolumePlan& plan, const PersistentVolumeClaim& c, const VolumeWorld& world) {
  std::string name = class_of(c);
  ClassPtr cls = find_class(world.classes, name);
  if (!cls) {
    plan.events.push_back({true, true, "ProvisioningFailed", "storageclass.storage.k8s.io \"" + name + "\" not found"});
    return;
  }
  // In-tree drivers left long ago; what stands for them is the CSI driver that took them over.
  static const std::map<std::string, std::string> kMigrated = {
      {"kubernetes.io/aws-ebs", "ebs.csi.aws.com"}, {"kubernetes.io/gce-pd", "pd.csi.storage.gke.io"}, {"kubernetes.io/azure-disk", "disk.csi.azure.com"}, {"kubernetes.io/azure-file", "file.csi.azure.com"}, {"kubernetes.io/cinder", "cinder.csi.openstack.org"}, {"kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"}, {"kubernetes.io/portworx-volume", "pxd.portworx.com"}};
  std::string provisioner = cls->provisioner;
  auto it = kMigrated.find(provisioner);
  if (it != kMigrated.end()) {
    provisioner = it->second;
  } else if (provisioner.rfind("kubernetes.io/", 0) == 0) {
    plan.events.push_back({true, true, "ProvisioningFailed", "no volume plugin matched name: " + provisioner});
    return;
  }
  PersistentVolumeClaim next = c;
  next.metadata.annotations[kStorageProvisioner] = provisioner;
  next.metadata.annotations[kBetaStorageProvisioner] = provisioner;
  if (next != c) plan.steps.push_back({VolumeStep::What::kUpdate, std::move(next)});
  plan.events.push_back({true, false, "ExternalProvisioning",
                         "Waiting for a volume to be created either by the external provisioner '" + provisioner +
                             "' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is "
                             "running and correctly registered."});
}

void pending(VolumePlan& plan, const PersistentVolumeClaim& c) {
  set_claim_status(plan, c, "Pending", nullptr);
  plan.retry = true;
}

void plan_search(VolumePlan& plan, const PersistentVolumeClaim& c, const VolumeWorld& world) {
  ClassPtr cls = find_class(world.classes, class_of(c));
  bool delayed = cls && cls->volume_binding_mode == "WaitForFirstConsumer";
  if (VolumePtr v = best_match(c, world.volumes, delayed)) return bind(plan, *v, c);
  // A claim from before there was a default class gets it now.
  if (!c.spec.storage_class_name && !has(c.metadata.annotations, kStorageClassAnnotation)) {
    if (ClassPtr d = default_class(world.classes)) {
      PersistentVolumeClaim next = c;
      next.spec.storage_class_name = d->metadata.name;
      plan.steps.push_back({VolumeStep::What::kUpdate, std::move(next)});
      return;
    }
  }
  if (delayed && !has(c.metadata.annotations, kSelectedNode)) {
    if (world.waiting_pods.empty()) {
      plan.events.push_back({true, false, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"});
    } else {
      std::string names;
      for (auto& p : world.waiting_pods) names += (names.empty() ? "" : ",") + p;
      plan.events.push_back({true, false, "WaitForPodScheduled", (world.waiting_pods.size() > 1 ? "waiting for pods " : "waiting for pod ") + names + " to be scheduled"});
    }
  } else if (!class_of(c).empty()) {
    provision(plan, c, world);
    plan.retry = true;
    if (c.status.phase.empty()) pending(plan, c);
    return;
  } else {
    plan.events.push_back({true, false, "FailedBinding", "no persistent volumes available for this claim and no storage class is set"});
  }
  pending(plan, c);
}

void lost(VolumePlan& plan, const PersistentVolumeClaim& c, const char* reason, const char* message) {
  if (set_claim_status(plan, c, "Lost", nullptr)) plan.events.push_back({true, true, reason, message});
}

void unbind(VolumePlan& plan, const PersistentVolume& v) {
  PersistentVolume next = v;
  if (has(v.metadata.annotations, kBoundByController)) {
    next.spec.claim_ref.reset();
    next.metadata.annotations.erase(kBoundByController);
  } else {
    next.spec.claim_ref->uid.clear();  // the user's own pointer stays
  }
  if (next != v) plan.steps.push_back({VolumeStep::What::kUpdate, next});
  set_phase(plan, next, "Available");
}

void release(VolumePlan& plan, const PersistentVolume& v) {
  if (v.status.phase != "Released" && v.status.phase != "Failed") {
    set_phase(plan, v, "Released");
    return;  // seeing that, we come again
  }
  const std::string& policy = v.spec.persistent_volume_reclaim_policy;
  auto fail = [&](const char* reason, std::string message) {
    if (v.status.phase == "Failed") return;
    set_phase(plan, v, "Failed", message);
    plan.events.push_back({false, true, reason, std::move(message)});
  };
  if (policy == "Recycle") return fail("VolumeFailedRecycle", "No recycler plugin found for the volume!");
  // A provisioned volume is deleted by its provisioner, which watches for Released.
  if (policy == "Delete" && !has(v.metadata.annotations, kProvisionedBy) && v.metadata.deletion_timestamp == std::nullopt)
    fail("VolumeFailedDelete", "error getting deleter volume plugin for volume \"" + v.metadata.name + "\": no deletable volume plugin matched");
}

}  // namespace

std::string class_of(const PersistentVolumeClaim& c) {
  auto it = c.metadata.annotations.find(kStorageClassAnnotation);
  return it != c.metadata.annotations.end() ? it->second : c.spec.storage_class_name.value_or("");
}
std::string class_of(const PersistentVolume& v) {
  auto it = v.metadata.annotations.find(kStorageClassAnnotation);
  return it != v.metadata.annotations.end() ? it->second : v.spec.storage_class_name;
}

bool is_bound_to(const PersistentVolume& v, const PersistentVolumeClaim& c) {
  if (!v.spec.claim_ref) return false;
  const auto& r = *v.spec.claim_ref;
  return r.name == c.metadata.name && r.namespace_ == c.metadata.namespace_ && (r.uid.empty() || r.uid == c.metadata.uid);
}

std::string why_not(const PersistentVolume& v, const PersistentVolumeClaim& c) {
  if (is_terminating(v.metadata)) return "the volume is marked for deletion \"" + v.metadata.name + "\"";
  if (storage(v.spec.capacity) < storage(c.spec.resources.requests)) return "requested PV is too small";
  if (class_of(v) != class_of(c)) return "storageClassName does not match";
  if (!same_attributes_class(v, c)) return "volumeAttributesClassName does not match";
  if (mode_of(v.spec.volume_mode) != mode_of(c.spec.volume_mode)) return "incompatible volumeMode";
  if (!has_modes(v, c)) return "incompatible accessMode";
  return "";
}

VolumePtr best_match(const PersistentVolumeClaim& c, const std::vector<VolumePtr>& volumes, bool delayed) {
  Quantity wanted = storage(c.spec.resources.requests);
  std::string cls = class_of(c);
  VolumePtr best;
  auto better = [&](const VolumePtr& v) {
    if (!best) return true;
    if (v->spec.access_modes.size() != best->spec.access_modes.size()) return v->spec.access_modes.size() < best->spec.access_modes.size();
    return storage(v->spec.capacity) < storage(best->spec.capacity);
  };
  VolumePtr bound;
  for (auto& v : volumes) {
    if (v->spec.claim_ref && !is_bound_to(*v, c)) continue;
    if (!has_modes(*v, c) || storage(v->spec.capacity) < wanted || is_terminating(v->metadata)) continue;
    if (mode_of(v->spec.volume_mode) != mode_of(c.spec.volume_mode) || !same_attributes_class(*v, c)) continue;
    if (is_bound_to(*v, c)) {
      if (!bound || storage(v->spec.capacity) < storage(bound->spec.capacity)) bound = v;
      continue;
    }
    if (delayed || v->status.phase != "Available") continue;
    if (class_of(*v) != cls) continue;
    if (c.spec.selector && !matches(*c.spec.selector, v->metadata.labels)) continue;
    if (better(v)) best = v;
  }
  return bound ? bound : best;
}

ClassPtr default_class(const std::vector<ClassPtr>& classes) {
  ClassPtr best;
  auto marked = [](const StorageClass& c, const char* key) {
    auto it = c.metadata.annotations.find(key);
    return it != c.metadata.annotations.end() && it->second == "true";
  };
  for (auto& c : classes) {
    if (!marked(*c, kDefaultClass) && !marked(*c, kBetaDefaultClass)) continue;
    if (!best || c->metadata.creation_timestamp > best->metadata.creation_timestamp ||
        (c->metadata.creation_timestamp == best->metadata.creation_timestamp && c->metadata.name < best->metadata.name))
      best = c;
  }
  return best;
}

VolumePlan plan_claim(const ClaimPtr& claim, const VolumeWorld& world) {
  VolumePlan plan;
  const PersistentVolumeClaim& c = *claim;
  VolumePtr v;
  for (auto& x : world.volumes)
    if (x->metadata.name == c.spec.volume_name) v = x;

  if (has(c.metadata.annotations, kBindCompleted)) {
    if (c.spec.volume_name.empty())
      lost(plan, c, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    else if (!v)
      lost(plan, c, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    else if (!v->spec.claim_ref || v->spec.claim_ref->uid == c.metadata.uid)
      bind(plan, *v, c);  // also repairs what a crash left half done
    else
      lost(plan, c, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
    return plan;
  }
  if (is_terminating(c.metadata) && c.spec.volume_name.empty()) return plan;
  if (c.spec.volume_name.empty()) {
    plan_search(plan, c, world);
    return plan;
  }
  if (!v) {  // reserved by name, not there yet
    pending(plan, c);
  } else if (!v->spec.claim_ref) {
    std::string why = why_not(*v, c);
    if (why.empty()) {
      bind(plan, *v, c);
    } else {
      plan.events.push_back({true, true, "VolumeMismatch", "Cannot bind to requested volume \"" + v->metadata.name + "\": " + why});
      pending(plan, c);
    }
  } else if (is_bound_to(*v, c)) {
    bind(plan, *v, c);
  } else {
    plan.events.push_back({true, true, "FailedBinding", "volume \"" + v->metadata.name + "\" already bound to a different claim."});
    pending(plan, c);
  }
  return plan;
}

VolumePlan plan_volume(const VolumePtr& volume, const ClaimPtr& named) {
  VolumePlan plan;
  const PersistentVolume& v = *volume;
  if (!v.spec.claim_ref) {
    set_phase(plan, v, "Available");
    return plan;
  }
  if (v.spec.claim_ref->uid.empty()) {  // reserved for a claim that has not come yet
    set_phase(plan, v, "Available");
    plan.sync_claim = named != nullptr;
    return plan;
  }
  // Another claim of the same name is not the one that was bound.
  const PersistentVolumeClaim* c = named && named->metadata.uid == v.spec.claim_ref->uid ? named.get() : nullptr;
  if (!c) {
    release(plan, v);
  } else if (c->spec.volume_name.empty()) {
    if (mode_of(v.spec.volume_mode) != mode_of(c->spec.volume_mode)) {
      plan.events.push_back({false, true, "VolumeMismatch",
                             "Cannot bind PersistentVolume to requested PersistentVolumeClaim \"" + c->metadata.name + "\" due to incompatible volumeMode."});
      plan.events.push_back(
          {true, true, "VolumeMismatch", "Cannot bind PersistentVolume \"" + v.metadata.name + "\" to requested PersistentVolumeClaim due to incompatible volumeMode."});
    } else {
      plan.sync_claim = true;
    }
  } else if (c->spec.volume_name == v.metadata.name) {
    set_phase(plan, v, "Bound");
  } else if (has(v.metadata.annotations, kProvisionedBy) && v.spec.persistent_volume_reclaim_policy == "Delete") {
    release(plan, v);  // made for a claim that found another volume meanwhile
  } else {
    unbind(plan, v);
  }
  return plan;
}

}  // namespace caravel::controllers
