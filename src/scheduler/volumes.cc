#include "scheduler/volumes.h"

#include <algorithm>
#include <set>

#include "kube/scheduling_translate.h"

namespace caravel::scheduler {

using namespace kube::scheduling;
namespace core = kube::core;

namespace {

const char* const kSelectedNode = "volume.kubernetes.io/selected-node";
const char* const kNodeConflict = "node(s) didn't match PersistentVolume's node affinity";
const char* const kNoMatch = "node(s) didn't find available persistent volumes to bind";
const char* const kNoZone = "node(s) had no available volume zone";
const char* const kNoRoom = "node(s) did not have enough free storage";
const char* const kNoVolume = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

std::string quoted(const std::string& s) { return "\"" + s + "\""; }

// The claim that a volume of the pod names; "" when it names none.
std::string claim_of(const core::Pod& pod, const core::Volume& v, bool& ephemeral) {
  ephemeral = v.ephemeral.has_value();
  if (v.persistent_volume_claim) return v.persistent_volume_claim->claim_name;
  return ephemeral ? pod.metadata.name + "-" + v.name : "";
}

bool is_bound(const core::PersistentVolumeClaim& c) {
  return !c.spec.volume_name.empty() && c.metadata.annotations.count("pv.kubernetes.io/bind-completed") > 0;
}

// A term that every node satisfies.
NodeTerm any_node() { return NodeTerm{{{"\x01", Op::kDoesNotExist, {}}}, {}}; }

std::vector<NodeTerm> nodes_of(const core::PersistentVolume& v) {
  std::vector<NodeTerm> out;
  if (v.spec.node_affinity && v.spec.node_affinity->required)
    for (const auto& t : v.spec.node_affinity->required->node_selector_terms) out.push_back(term_of(t));
  else
    out.push_back(any_node());
  return out;
}

// Zone and region labels of a volume: "a__b" is a or b. Nodes without any zone label are let through.
void add_zones(const core::PersistentVolume& v, std::vector<VolumeNodes>& out) {
  for (const char* key : {"topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
                          "failure-domain.beta.kubernetes.io/region"}) {
    auto it = v.metadata.labels.find(key);
    if (it == v.metadata.labels.end()) continue;
    Requirement in{key, Op::kIn, {}};
    for (size_t at = 0; at <= it->second.size();) {
      size_t end = std::min(it->second.find("__", at), it->second.size());
      in.values.push_back(it->second.substr(at, end - at));
      at = end + 2;
    }
    Requirement no_zone{"topology.kubernetes.io/zone", Op::kDoesNotExist, {}}, no_region{"topology.kubernetes.io/region", Op::kDoesNotExist, {}};
    out.push_back({{NodeTerm{{in}, {}}, NodeTerm{{no_zone, no_region}, {}}}, kNoZone, true});
  }
}

bool admits(const std::vector<NodeTerm>& terms, const Labels& labels, const std::string& node) {
  return std::any_of(terms.begin(), terms.end(), [&](const NodeTerm& t) { return matches(t, labels, node); });
}

}  // namespace

Volumes::Volumes(Executor& ex, kube::Client client) : ex_(&ex), client_(client), claims_(ex, client), volumes_(ex, client), classes_(ex, client), drivers_(ex, client), capacities_(ex, client) {}

void Volumes::start(TaskScope& scope) {
  claims_.start(scope);
  volumes_.start(scope);
  classes_.start(scope);
  drivers_.start(scope);
  capacities_.start(scope);
}

Task<void> Volumes::wait_synced() {
  co_await claims_.wait_synced();
  co_await volumes_.wait_synced();
  co_await classes_.wait_synced();
  co_await drivers_.wait_synced();
  co_await capacities_.wait_synced();
}

void Volumes::on_change(std::function<void(const core::PersistentVolumeClaim*)> f) {
  claims_.add_handler([f](auto& old, auto& now) { f((now ? now : old).get()); });
  volumes_.add_handler([f](auto&, auto&) { f(nullptr); });
  classes_.add_handler([f](auto&, auto&) { f(nullptr); });
  drivers_.add_handler([f](auto&, auto&) { f(nullptr); });
  capacities_.add_handler([f](auto&, auto&) { f(nullptr); });
}

bool Volumes::names(const core::Pod& pod, const core::PersistentVolumeClaim& claim) {
  if (pod.metadata.namespace_ != claim.metadata.namespace_) return false;
  bool ephemeral = false;
  return std::any_of(pod.spec.volumes.begin(), pod.spec.volumes.end(), [&](const core::Volume& v) { return claim_of(pod, v, ephemeral) == claim.metadata.name; });
}

bool Volumes::waits_for_consumer(const Claim& claim) const {
  auto c = classes_.get("", claim.spec.storage_class_name.value_or(""));
  return c && c->volume_binding_mode.value_or("Immediate") == "WaitForFirstConsumer";
}

std::optional<std::vector<NodeTerm>> Volumes::nodes_with_room(const kube::storage::StorageClass& type, const Claim& claim) const {
  auto driver = drivers_.get("", type.provisioner);
  auto asked = claim.spec.resources.requests.find("storage");
  if (!driver || !driver->spec.storage_capacity.value_or(false) || asked == claim.spec.resources.requests.end()) return std::nullopt;
  std::vector<NodeTerm> out;
  for (const auto& [key, c] : capacities_.all()) {
    const auto& limit = c->maximum_volume_size ? c->maximum_volume_size : c->capacity;
    if (c->storage_class_name != type.metadata.name || !c->node_topology || !limit || limit->value() < asked->second.value()) continue;
    NodeTerm term{selector_of(*c->node_topology).all, {}};
    out.push_back(term.expressions.empty() ? any_node() : std::move(term));
  }
  return out;
}

// Volumes that are there for the claim, smallest first.
std::vector<Volumes::VolumePtr> Volumes::candidates(const Claim& claim) const {
  std::vector<VolumePtr> out;
  auto asked = claim.spec.resources.requests.find("storage");
  for (const auto& [key, v] : volumes_.all()) {
    if (v->metadata.deletion_timestamp || v->spec.storage_class_name != claim.spec.storage_class_name.value_or("")) continue;
    if (v->spec.claim_ref && (v->spec.claim_ref->namespace_ != claim.metadata.namespace_ || v->spec.claim_ref->name != claim.metadata.name)) continue;
    if (!v->spec.claim_ref && v->status.phase != "Available") continue;
    if (v->spec.volume_mode.value_or("Filesystem") != claim.spec.volume_mode.value_or("Filesystem")) continue;
    if (claim.spec.selector && !matches(selector_of(*claim.spec.selector), v->metadata.labels)) continue;
    bool modes = std::all_of(claim.spec.access_modes.begin(), claim.spec.access_modes.end(), [&](const std::string& m) {
      return std::find(v->spec.access_modes.begin(), v->spec.access_modes.end(), m) != v->spec.access_modes.end();
    });
    auto has = v->spec.capacity.find("storage");
    if (!modes || (asked != claim.spec.resources.requests.end() && (has == v->spec.capacity.end() || has->second.value() < asked->second.value()))) continue;
    out.push_back(v);
  }
  std::stable_sort(out.begin(), out.end(), [](const VolumePtr& a, const VolumePtr& b) {
    bool first = a->spec.claim_ref.has_value(), second = b->spec.claim_ref.has_value();  // reserved for this claim
    if (first != second) return first;
    auto x = a->spec.capacity.find("storage"), y = b->spec.capacity.find("storage");
    return (x == a->spec.capacity.end() ? 0 : x->second.value()) < (y == b->spec.capacity.end() ? 0 : y->second.value());
  });
  return out;
}

// The volume that the claim has, or stands for while it has none.
void Volumes::add_attached(const Claim& claim, Needs& out) const {
  if (!claim.spec.volume_name.empty()) {
    if (VolumePtr v = volumes_.get("", claim.spec.volume_name)) {
      if (v->spec.csi) out.attached.push_back({v->spec.csi->driver, v->spec.csi->volume_handle});
      return;
    }
  }
  auto type = classes_.get("", claim.spec.storage_class_name.value_or(""));
  if (!type || type->provisioner == "kubernetes.io/no-provisioner") return;
  out.attached.push_back({type->provisioner, type->provisioner + "-" + claim.metadata.namespace_ + "/" + claim.metadata.name});
}

Volumes::Needs Volumes::needs(const core::Pod& pod) const {
  Needs out;
  std::set<std::string> seen;
  bool immediate = false;
  std::vector<VolumeNodes> zones;  // looked at after the rest
  for (const auto& v : pod.spec.volumes) {
    bool ephemeral = false;
    const std::string name = claim_of(pod, v, ephemeral);
    if (name.empty() || !seen.insert(name).second) continue;
    ClaimPtr claim = claims_.get(pod.metadata.namespace_, name);
    auto fail = [&](std::string why) {
      if (out.problem.empty()) out.problem = std::move(why);
    };
    if (!claim) {
      fail(ephemeral ? "waiting for ephemeral volume controller to create the persistentvolumeclaim " + quoted(name)
                     : "persistentvolumeclaim " + quoted(name) + " not found");
      continue;
    }
    if (claim->status.phase == "Lost") fail("persistentvolumeclaim " + quoted(name) + " bound to non-existent persistentvolume " + quoted(claim->spec.volume_name));
    if (claim->metadata.deletion_timestamp) fail("persistentvolumeclaim " + quoted(name) + " is being deleted");
    const auto& modes = claim->spec.access_modes;
    if (std::find(modes.begin(), modes.end(), "ReadWriteOncePod") != modes.end()) out.exclusive.push_back(pod.metadata.namespace_ + "/" + name);
    add_attached(*claim, out);
    if (is_bound(*claim)) {
      VolumePtr volume = volumes_.get("", claim->spec.volume_name);
      if (!volume) {
        out.nodes.push_back({{}, kNoVolume, false});
        continue;
      }
      if (volume->spec.node_affinity && volume->spec.node_affinity->required) out.nodes.push_back({nodes_of(*volume), kNodeConflict, false});
      add_zones(*volume, zones);
    } else if (waits_for_consumer(*claim) && claim->spec.volume_name.empty()) {
      out.delayed = true;
      VolumeNodes where{{}, kNoMatch, false};
      auto chosen = claim->metadata.annotations.find(kSelectedNode);
      if (chosen != claim->metadata.annotations.end()) {  // being provisioned for this node
        out.nodes.push_back({{NodeTerm{{}, {{"metadata.name", Op::kIn, {chosen->second}}}}}, kNoMatch, false});
        continue;
      }
      for (const auto& volume : candidates(*claim))
        for (auto& t : nodes_of(*volume)) where.any.push_back(std::move(t));
      auto type = classes_.get("", claim->spec.storage_class_name.value_or(""));
      std::optional<VolumeNodes> room;
      if (auto with_room = nodes_with_room(*type, *claim)) {  // or where a volume is there already
        room = VolumeNodes{where.any, kNoRoom, false};
        for (auto& t : *with_room) room->any.push_back(std::move(t));
      }
      if (type->provisioner != "kubernetes.io/no-provisioner") {
        if (type->allowed_topologies.empty()) where.any.push_back(any_node());
        for (const auto& t : type->allowed_topologies) {
          NodeTerm term;
          for (const auto& e : t.match_label_expressions) term.expressions.push_back({e.key, Op::kIn, e.values});
          where.any.push_back(std::move(term));
        }
      }
      out.nodes.push_back(std::move(where));
      if (room) out.nodes.push_back(std::move(*room));
    } else {
      immediate = true;
    }
  }
  out.nodes.insert(out.nodes.end(), zones.begin(), zones.end());
  if (out.problem.empty() && immediate) out.problem = "pod has unbound immediate PersistentVolumeClaims";
  return out;
}

Task<Status> Volumes::bind(std::shared_ptr<const core::Pod> pod, std::string node, Labels labels, Duration timeout) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const auto& v : pod->spec.volumes) {
    bool ephemeral = false;
    std::string name = claim_of(*pod, v, ephemeral);
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) continue;
    ClaimPtr claim = claims_.get(pod->metadata.namespace_, name);
    if (!claim) co_return not_found("persistentvolumeclaim " + quoted(name) + " not found");
    names.push_back(name);
    if (!claim->spec.volume_name.empty() || !waits_for_consumer(*claim)) continue;
    VolumePtr match;
    for (const auto& c : candidates(*claim))
      if (!match && !taken.count(c->metadata.name) && admits(nodes_of(*c), labels, node)) match = c;
    if (match) {
      taken.insert(match->metadata.name);
      Volume next = *match;
      core::ObjectReference ref;
      ref.api_version = "v1", ref.kind = "PersistentVolumeClaim";
      ref.namespace_ = claim->metadata.namespace_, ref.name = name;
      ref.uid = claim->metadata.uid, ref.resource_version = claim->metadata.resource_version;
      if (!match->spec.claim_ref) next.metadata.annotations["pv.kubernetes.io/bound-by-controller"] = "yes";
      next.spec.claim_ref = std::move(ref);
      Result<Volume> r = co_await client_.update<Volume>(std::move(next));
      if (!r.ok()) co_return wrap(std::move(r).error(), "binding volumes");
    } else {
      json::Value patch;
      patch["metadata"]["uid"] = claim->metadata.uid;
      patch["metadata"]["annotations"][kSelectedNode] = node;
      Result<json::Value> r = co_await client_.patch(Claim::resource(), claim->metadata.namespace_, name, kube::PatchType::kMerge, std::move(patch));
      if (!r.ok()) co_return wrap(std::move(r).error(), "binding volumes");
    }
  }
  // The volume controller or the provisioner does the rest.
  constexpr Duration kLook = std::chrono::milliseconds(200);
  const Time end = ex_->now() + timeout;
  bool told = false;  // the informer has seen what was written above
  while (ex_->now() < end) {
    co_await sleep(*ex_, kLook);
    bool all = true;
    for (const auto& name : names) {
      ClaimPtr claim = claims_.get(pod->metadata.namespace_, name);
      if (!claim) co_return not_found("binding volumes: persistentvolumeclaim " + quoted(name) + " not found");
      if (is_bound(*claim)) continue;
      all = false;
      auto chosen = claim->metadata.annotations.find(kSelectedNode);
      if (chosen != claim->metadata.annotations.end() && chosen->second == node) told = true;
      else if (told && claim->spec.volume_name.empty() && taken.empty())
        co_return unavailable("binding volumes: selectedNode annotation reset for PVC " + quoted(name));  // the provisioner gave up on the node
    }
    if (all) co_return ok();
  }
  co_return unavailable("binding volumes: context deadline exceeded");
}

}  // namespace caravel::scheduler
