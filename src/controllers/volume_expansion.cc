#include "controllers/volume_expansion.h"

namespace caravel::controllers {

using kube::Quantity;
using kube::core::PersistentVolume;
using kube::core::PersistentVolumeClaim;

namespace {

Quantity bytes_in(const std::map<std::string, Quantity>& m) {
  auto it = m.find("storage");
  return it == m.end() ? Quantity() : it->second;
}

struct Takeover {
  const char *was, *driver;
};
Takeover takeover_of(const PersistentVolume& v) {
  if (v.spec.aws_elastic_block_store) return {"kubernetes.io/aws-ebs", "ebs.csi.aws.com"};
  if (v.spec.gce_persistent_disk) return {"kubernetes.io/gce-pd", "pd.csi.storage.gke.io"};
  if (v.spec.azure_disk) return {"kubernetes.io/azure-disk", "disk.csi.azure.com"};
  if (v.spec.azure_file) return {"kubernetes.io/azure-file", "file.csi.azure.com"};
  if (v.spec.cinder) return {"kubernetes.io/cinder", "cinder.csi.openstack.org"};
  if (v.spec.vsphere_volume) return {"kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"};
  if (v.spec.portworx_volume) return {"kubernetes.io/portworx-volume", "pxd.portworx.com"};
  return {nullptr, nullptr};
}

}  // namespace

bool may_have_grown(const PersistentVolumeClaim* old, const PersistentVolumeClaim& now) {
  if (now.status.phase != "Bound") return false;
  return !old || bytes_in(old->spec.resources.requests) < bytes_in(now.spec.resources.requests) || bytes_in(old->status.capacity) < bytes_in(now.status.capacity);
}

ExpansionPlan plan_expansion(const PersistentVolumeClaim& c, const PersistentVolume& v) {
  ExpansionPlan plan;
  if (!v.spec.claim_ref || v.spec.claim_ref->uid != c.metadata.uid || v.spec.claim_ref->namespace_ != c.metadata.namespace_) return plan;
  const bool was_interrupted = v.metadata.annotations.count("volume.alpha.kubernetes.io/pre-resize-capacity") > 0;
  if (bytes_in(c.spec.resources.requests) <= bytes_in(c.status.capacity) && !was_interrupted) return plan;
  const Takeover t = takeover_of(v);
  if (!t.was) {
    plan.message = "waiting for an external controller to expand this PVC";
    return plan;
  }
  plan.message = std::string("CSI migration enabled for ") + t.was + "; waiting for external resizer to expand the pvc";
  auto it = c.metadata.annotations.find(kStorageResizer);
  if (it == c.metadata.annotations.end() || it->second != t.driver) plan.resizer = t.driver;
  return plan;
}

}  // namespace caravel::controllers
