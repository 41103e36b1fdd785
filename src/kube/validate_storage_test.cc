#include <gtest/gtest.h>

#include "base/yaml.h"
#include "kube/validation.h"

namespace caravel::kube {
namespace {

std::string errors(const std::string& text, const std::string& old = "") {
  json::Value o = *yaml::parse(text), was;
  if (!old.empty()) was = *yaml::parse(old);
  GroupVersion gv = parse_group_version(o["apiVersion"].as_string());
  const KindInfo* k = find_kind(gv.group, gv.version, o["kind"].as_string());
  std::string out;
  for (auto& e : validate_builtin(*k, o, old.empty() ? nullptr : &was)) out += (out.empty() ? "" : "; ") + e.text();
  return out;
}
std::string pv(const std::string& spec) { return "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {" + spec + "}}"; }
std::string pvc(const std::string& spec, const std::string& status = "phase: Pending") {
  return "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: d}, spec: {" + spec + "}, status: {" + status + "}}";
}
std::string storage(const std::string& kind, const std::string& rest) { return "{apiVersion: storage.k8s.io/v1, kind: " + kind + ", metadata: {name: s}, " + rest + "}"; }

TEST(StorageValidation, VolumesHaveOneSourceASizeAndAMode) {
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}")), "");
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]")), "spec: Required value: must specify a volume type");
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}, nfs: {server: s, path: /p}")),
            "spec.nfs: Forbidden: may not specify more than 1 volume type");
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOncePod, ReadWriteMany], hostPath: {path: /x}")),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes");
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], local: {path: /x}")), "spec.nodeAffinity: Required value: Local volume requires node affinity");
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], csi: {driver: d}")), "spec.csi.volumeHandle: Required value");
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a/../b}")), "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'");
}

TEST(StorageValidation, WhatAVolumeIsMadeOfIsFixed) {
  std::string old = pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}");
  EXPECT_EQ(errors(pv("capacity: {storage: 2Gi}, accessModes: [ReadWriteMany], hostPath: {path: /x}, claimRef: {name: c}"), old), "");
  EXPECT_EQ(errors(pv("capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /y}"), old),
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation");
}

TEST(StorageValidation, OnlyABoundClaimGrowsAndNoneShrinksBelowWhatItHas) {
  const std::string base = "accessModes: [ReadWriteOnce], volumeName: v, resources: {requests: {storage: ";
  const std::string bound = "phase: Bound, capacity: {storage: 1Gi}";
  const char* fixed = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
  EXPECT_EQ(errors(pvc(base + "2Gi}}"), pvc(base + "1Gi}}", bound)), "");
  EXPECT_EQ(errors(pvc(base + "2Gi}}"), pvc(base + "1Gi}}")), fixed);
  EXPECT_EQ(errors(pvc(base + "512Mi}}"), pvc(base + "1Gi}}", bound)), "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity");
  EXPECT_EQ(errors(pvc("accessModes: [ReadWriteMany], volumeName: v, resources: {requests: {storage: 1Gi}}"), pvc(base + "1Gi}}", bound)), fixed);
  // The binder fills in the volume, a default class may come later.
  EXPECT_EQ(errors(pvc(base + "1Gi}}, storageClassName: gp3"), pvc("accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}")), "");
}

TEST(StorageValidation, ClassesDriversNodesAndAttachments) {
  EXPECT_EQ(errors(storage("StorageClass", "parameters: {}")), "provisioner: Required value");
  EXPECT_EQ(errors(storage("StorageClass", "provisioner: a, reclaimPolicy: Delete"), storage("StorageClass", "provisioner: b, reclaimPolicy: Delete")),
            "provisioner: Invalid value: \"a\": field is immutable");
  EXPECT_EQ(errors(storage("CSIDriver", "spec: {tokenRequests: [{audience: a}, {audience: a, expirationSeconds: 10}]}")),
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"; spec.tokenRequests[1].expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes");
  EXPECT_EQ(errors(storage("CSINode", "spec: {drivers: [{name: d}]}")), "spec.drivers[0].nodeID: Required value");
  EXPECT_EQ(errors(storage("VolumeAttachment", "spec: {attacher: a, nodeName: n, source: {}}")),
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  std::string a = storage("VolumeAttachment", "spec: {attacher: a, nodeName: n, source: {persistentVolumeName: v}}");
  EXPECT_EQ(errors(a), "");
  EXPECT_NE(errors(storage("VolumeAttachment", "spec: {attacher: a, nodeName: m, source: {persistentVolumeName: v}}"), a).find("spec: Invalid value: "), std::string::npos);
}

}  // namespace
}  // namespace caravel::kube
