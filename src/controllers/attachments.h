// Which CSI volumes have to be attached to which nodes, and what to do about it. Upstream's
// attach-detach controller for CSI, as functions of the objects.
//
// A VolumeAttachment is the wish; the driver's attacher makes it true and says so in its status. A volume
// is detached only after the kubelet no longer lists it in node.status.volumesInUse, or can no longer be heard.
// Threading: plain functions.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kube/types/core.h"
#include "kube/types/storage.h"

namespace caravel::controllers {

struct AttachWorld {
  std::vector<std::shared_ptr<const kube::core::Pod>> pods;
  std::vector<std::shared_ptr<const kube::core::Node>> nodes;
  std::vector<std::shared_ptr<const kube::storage::VolumeAttachment>> attachments;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const kube::core::PersistentVolumeClaim>> claims;  // by namespace, name
  std::map<std::string, std::shared_ptr<const kube::core::PersistentVolume>> volumes;
  std::set<std::string> not_attachable;  // drivers that say attachRequired: false
  Time now;
  std::map<std::string, Time> unwanted;                      // attachments that nobody wants, since when, as of the last plan
  std::map<std::string, std::vector<std::string>> last_use;  // what nodes that are gone had in use when they were last seen
};

struct AttachPlan {
  struct Refusal {
    std::string attachment;  // that cannot be made yet
    std::shared_ptr<const kube::core::Pod> pod;
    std::string message;
  };
  std::vector<kube::storage::VolumeAttachment> create;
  std::vector<std::string> remove;  // names
  std::vector<Refusal> refused;
  // node -> what its status.volumesAttached ought to say; only nodes where it differs.
  std::map<std::string, std::vector<kube::core::AttachedVolume>> attached;
  // Pods by the attachment that they wait for.
  std::map<std::string, std::vector<std::shared_ptr<const kube::core::Pod>>> waiting;
  std::map<std::string, Time> unwanted;
  std::optional<Duration> again;  // when a wait for an unmount is over
};

// A node that does not answer cannot say that it has unmounted a volume: after this time it is detached all the same.
inline constexpr Duration kUnmountPatience = std::chrono::minutes(6);

// "kubernetes.io/csi/ebs.csi.aws.com^vol-1": how kubelets name a volume.
std::string unique_volume_name(const std::string& driver, const std::string& handle);
// "csi-" and the hash of volume, driver and node: a second writer cannot make a second attachment.
std::string attachment_name(const std::string& handle, const std::string& driver, const std::string& node);
AttachPlan plan_attachments(const AttachWorld& w);

}  // namespace caravel::controllers
