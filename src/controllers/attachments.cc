#include "controllers/attachments.h"

#include <algorithm>

#include "base/hash.h"
#include "controllers/common.h"

namespace caravel::controllers {

using kube::core::AttachedVolume;
using kube::core::Node;
using kube::core::PersistentVolume;
using kube::core::Pod;
using kube::storage::VolumeAttachment;

namespace {

constexpr const char* kManaged = "volumes.kubernetes.io/controller-managed-attach-detach";
constexpr const char* kOutOfService = "node.kubernetes.io/out-of-service";

struct Wish {
  std::shared_ptr<const PersistentVolume> volume;
  std::string node;
  std::vector<std::shared_ptr<const Pod>> pods;
};

bool is_exclusive(const PersistentVolume& v) {
  for (auto& m : v.spec.access_modes)
    if (m == "ReadWriteMany" || m == "ReadOnlyMany") return false;
  return !v.spec.access_modes.empty();
}
bool is_out_of_service(const Node& n) {
  return std::any_of(n.spec.taints.begin(), n.spec.taints.end(), [](auto& t) { return t.key == kOutOfService; });
}
bool is_healthy(const Node& n) {
  return std::any_of(n.status.conditions.begin(), n.status.conditions.end(), [](auto& c) { return c.type == "Ready" && c.status == "True"; });
}
bool none_runs(const std::vector<kube::core::ContainerStatus>& list) {
  return std::none_of(list.begin(), list.end(), [](auto& s) { return !s.state.terminated && !s.state.waiting; });
}
// Its containers will never use a volume again.
bool has_let_go(const Pod& p) {
  return is_finished(p) ||
         (is_terminating(p.metadata) && none_runs(p.status.init_container_statuses) && none_runs(p.status.container_statuses) && none_runs(p.status.ephemeral_container_statuses));
}

// Whether the node may still have the volume mounted, as far as anybody can say.
struct Mount {
  bool in_use = false, answers = false, given_up = false;
};
Mount mount_of(const AttachWorld& w, const Node* n, const std::string& node, const std::string& volume) {
  Mount m;
  auto holds = [&](const std::vector<std::string>& list) { return std::find(list.begin(), list.end(), volume) != list.end(); };
  if (n) {
    m.in_use = holds(n->status.volumes_in_use);
    m.answers = is_healthy(*n);
    m.given_up = is_out_of_service(*n);
  } else {
    auto last = w.last_use.find(node);
    m.in_use = last == w.last_use.end() || holds(last->second);
  }
  return m;
}

std::string used_by(const std::vector<std::shared_ptr<const Pod>>& pods, const Pod& asker) {
  std::string names;
  size_t others = 0;
  for (auto& p : pods) {
    if (p->metadata.namespace_ != asker.metadata.namespace_) ++others;
    else names += (names.empty() ? "" : ", ") + p->metadata.name;
  }
  const std::string elsewhere = std::to_string(others) + " pod(s) in different namespaces";
  if (names.empty()) return "Volume is already used by " + elsewhere;
  return "Volume is already used by pod(s) " + names + (others > 0 ? " and " + elsewhere : "");
}

}  // namespace

std::string unique_volume_name(const std::string& driver, const std::string& handle) { return "kubernetes.io/csi/" + driver + "^" + handle; }
std::string attachment_name(const std::string& handle, const std::string& driver, const std::string& node) { return "csi-" + sha256_hex(handle + driver + node); }

AttachPlan plan_attachments(const AttachWorld& w) {
  AttachPlan plan;
  std::map<std::string, std::shared_ptr<const Node>> nodes;
  for (auto& n : w.nodes) nodes[n->metadata.name] = n;

  std::map<std::string, Wish> wishes;  // by attachment name
  for (auto& p : w.pods) {
    if (p->spec.node_name.empty() || has_let_go(*p)) continue;
    auto n = nodes.find(p->spec.node_name);
    if (n == nodes.end() || !n->second->metadata.annotations.count(kManaged)) continue;
    for (auto& v : p->spec.volumes) {
      std::string name = v.persistent_volume_claim ? v.persistent_volume_claim->claim_name : v.ephemeral ? p->metadata.name + "-" + v.name
                                                                                                         : "";
      auto c = w.claims.find({p->metadata.namespace_, name});
      if (name.empty() || c == w.claims.end() || c->second->status.phase != "Bound") continue;
      auto pv = w.volumes.find(c->second->spec.volume_name);
      if (pv == w.volumes.end() || !pv->second->spec.csi || !pv->second->spec.claim_ref) continue;
      if (pv->second->spec.claim_ref->uid != c->second->metadata.uid) continue;
      const auto& csi = *pv->second->spec.csi;
      if (w.not_attachable.count(csi.driver)) continue;
      Wish& wish = wishes[attachment_name(csi.volume_handle, csi.driver, p->spec.node_name)];
      wish.volume = pv->second;
      wish.node = p->spec.node_name;
      wish.pods.push_back(p);
    }
  }

  std::map<std::string, std::set<std::string>> where;  // volume -> nodes that have or want to have it
  std::set<std::string> existing;
  std::map<std::string, std::vector<AttachedVolume>> attached;
  for (auto& a : w.attachments) {
    existing.insert(a->metadata.name);
    const std::string& node = a->spec.node_name;
    const std::string volume = a->spec.source.persistent_volume_name.value_or("");
    if (!volume.empty()) where[volume].insert(node);
    auto pv = w.volumes.find(volume);
    std::string unique = pv != w.volumes.end() && pv->second->spec.csi ? unique_volume_name(a->spec.attacher, pv->second->spec.csi->volume_handle) : "";
    // Attachments of others (inline, or with another name) are theirs to remove.
    bool ours = pv != w.volumes.end() && !unique.empty() && a->metadata.name == attachment_name(pv->second->spec.csi->volume_handle, a->spec.attacher, node);
    if (is_terminating(a->metadata)) continue;
    auto n = nodes.find(node);
    bool managed = n == nodes.end() || n->second->metadata.annotations.count(kManaged);
    if (ours && managed && !wishes.count(a->metadata.name)) {
      const Mount m = mount_of(w, n == nodes.end() ? nullptr : n->second.get(), node, unique);
      auto since = w.unwanted.find(a->metadata.name);
      const Time from = since == w.unwanted.end() ? w.now : since->second;
      const Duration left = from + kUnmountPatience - w.now;
      if (!m.in_use || m.given_up || (!m.answers && left <= Duration(0))) {
        plan.remove.push_back(a->metadata.name);
        continue;
      }
      plan.unwanted[a->metadata.name] = from;
      if (!m.answers) plan.again = std::min(plan.again.value_or(left), left);
    }
    if (!unique.empty() && a->status.attached) {
      AttachedVolume v;
      v.name = unique;
      attached[node].push_back(std::move(v));
    }
  }

  for (auto& [name, wish] : wishes) {
    plan.waiting[name] = wish.pods;
    if (existing.count(name)) continue;
    auto& at = where[wish.volume->metadata.name];
    if (is_exclusive(*wish.volume) && !at.empty() && !at.count(wish.node)) {
      std::vector<std::shared_ptr<const Pod>> holders;
      for (auto& node : at) {
        auto theirs = wishes.find(attachment_name(wish.volume->spec.csi->volume_handle, wish.volume->spec.csi->driver, node));
        if (theirs != wishes.end()) holders.insert(holders.end(), theirs->second.pods.begin(), theirs->second.pods.end());
      }
      for (auto& p : wish.pods)
        plan.refused.push_back({name, p, "Multi-Attach error for volume \"" + wish.volume->metadata.name + "\" " + (holders.empty() ? "Volume is already exclusively attached to one node and can't be attached to another" : used_by(holders, *p))});
      continue;
    }
    at.insert(wish.node);
    VolumeAttachment a;
    a.metadata.name = name;
    a.spec.attacher = wish.volume->spec.csi->driver;
    a.spec.node_name = wish.node;
    a.spec.source.persistent_volume_name = wish.volume->metadata.name;
    plan.create.push_back(std::move(a));
  }

  for (auto& [name, n] : nodes) {
    std::vector<AttachedVolume>& now = attached[name];
    std::sort(now.begin(), now.end(), [](auto& a, auto& b) { return a.name < b.name; });
    std::vector<AttachedVolume> had;
    // What is not CSI is not ours.
    for (auto& v : n->status.volumes_attached)
      if (v.name.rfind("kubernetes.io/csi/", 0) == 0) had.push_back(v);
      else now.push_back(v);
    if (n->status.volumes_attached != now && (!had.empty() || !now.empty())) plan.attached[name] = now;
  }
  return plan;
}

}  // namespace caravel::controllers
