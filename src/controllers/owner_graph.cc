#include "controllers/owner_graph.h"

#include <algorithm>

namespace caravel::controllers {

bool GraphNode::has(const char* finalizer) const { return std::find(finalizers.begin(), finalizers.end(), finalizer) != finalizers.end(); }

bool GraphNode::is_meant_by(const OwnerRef& o) const {
  const size_t slash = o.api_version.find('/');
  const std::string group = slash == std::string::npos ? "" : o.api_version.substr(0, slash);
  return o.uid == uid && o.name == name && o.kind == resource.kind && group == resource.group;
}

GraphNode node_of(const kube::Resource& r, const json::Value& o) {
  const json::Value& m = o["metadata"];
  GraphNode n;
  n.resource = r;
  n.ns = m["namespace"].as_string();
  n.name = m["name"].as_string();
  n.uid = m["uid"].as_string();
  n.version = m["resourceVersion"].as_string();
  n.deleting = m["deletionTimestamp"].is_string();
  for (const json::Value& f : m["finalizers"].as_array()) n.finalizers.push_back(f.as_string());
  for (const json::Value& ref : m["ownerReferences"].as_array()) {
    OwnerRef w;
    w.api_version = ref["apiVersion"].as_string();
    w.kind = ref["kind"].as_string();
    w.name = ref["name"].as_string();
    w.uid = ref["uid"].as_string();
    w.block = ref["blockOwnerDeletion"].as_bool();
    n.owners.push_back(std::move(w));
  }
  return n;
}

bool OwnerGraph::knows(const json::Value& object) {
  const json::Value& m = object["metadata"];
  auto it = nodes_.find(m["uid"].as_string());
  if (it == nodes_.end()) return false;
  GraphNode& n = it->second;
  if (n.deleting != m["deletionTimestamp"].is_string() || n.name != m["name"].as_string() || n.ns != m["namespace"].as_string()) return false;
  const json::Array& finalizers = m["finalizers"].as_array();
  const json::Array& owners = m["ownerReferences"].as_array();
  if (!std::equal(finalizers.begin(), finalizers.end(), n.finalizers.begin(), n.finalizers.end(), [](auto& v, auto& f) { return v.as_string() == f; })) return false;
  auto same_owner = [](const json::Value& ref, const OwnerRef& o) {
    return ref["uid"].as_string() == o.uid && ref["name"].as_string() == o.name && ref["kind"].as_string() == o.kind && ref["apiVersion"].as_string() == o.api_version &&
           ref["blockOwnerDeletion"].as_bool() == o.block;
  };
  if (!std::equal(owners.begin(), owners.end(), n.owners.begin(), n.owners.end(), same_owner)) return false;
  n.version = m["resourceVersion"].as_string();
  return true;
}

std::vector<std::string> OwnerGraph::put(GraphNode n, std::vector<Misplaced>* misplaced) {
  std::vector<std::string> look;
  const std::string uid = n.uid;
  auto it = nodes_.find(uid);
  const bool was_deleting = it != nodes_.end() && it->second.deleting;
  if (misplaced) {
    auto is_new = [&](const OwnerRef& o) {
      return it == nodes_.end() || std::none_of(it->second.owners.begin(), it->second.owners.end(), [&](auto& had) { return had.uid == o.uid; });
    };
    for (auto& o : n.owners)
      if (const GraphNode* w = find(o.uid); w && !w->ns.empty() && w->ns != n.ns && is_new(o)) {
        misplaced->push_back({n, o});
        break;  // the first is told, as upstream
      }
  }
  if (it == nodes_.end()) add_mistaken(n, look, misplaced);
  if (it != nodes_.end())
    for (auto& o : it->second.owners) drop_dependent(o.uid, uid);
  for (auto& o : n.owners) dependents_[o.uid].insert(uid);
  add_waiting_owners(n.owners, look);
  const bool work = !n.owners.empty() || (n.deleting && (n.has(kForegroundFinalizer) || n.has(kOrphanFinalizer)));
  const bool begins = n.deleting && !was_deleting;
  nodes_[uid] = std::move(n);
  if (work) look.push_back(uid);
  if (begins) add_dependents(uid, look);
  return look;
}

std::vector<std::string> OwnerGraph::erase(const std::string& uid) {
  std::vector<std::string> look;
  auto it = nodes_.find(uid);
  if (it == nodes_.end()) return look;
  std::vector<OwnerRef> owners = std::move(it->second.owners);
  nodes_.erase(it);
  for (auto& o : owners) drop_dependent(o.uid, uid);
  add_waiting_owners(owners, look);
  add_dependents(uid, look);
  return look;
}

const GraphNode* OwnerGraph::find(const std::string& uid) const {
  auto it = nodes_.find(uid);
  return it == nodes_.end() ? nullptr : &it->second;
}

std::vector<GraphNode> OwnerGraph::dependents_of(const std::string& uid) const {
  std::vector<GraphNode> out;
  auto it = dependents_.find(uid);
  if (it == dependents_.end()) return out;
  for (auto& d : it->second)
    if (auto n = nodes_.find(d); n != nodes_.end()) out.push_back(n->second);
  return out;
}

void OwnerGraph::drop_dependent(const std::string& owner, const std::string& uid) {
  auto it = dependents_.find(owner);
  if (it == dependents_.end()) return;
  it->second.erase(uid);
  if (it->second.empty()) dependents_.erase(it);
}

void OwnerGraph::add_waiting_owners(const std::vector<OwnerRef>& owners, std::vector<std::string>& out) const {
  for (auto& o : owners)
    if (const GraphNode* w = find(o.uid); w && w->deleting) out.push_back(o.uid);
}

void OwnerGraph::add_dependents(const std::string& uid, std::vector<std::string>& out) const {
  auto it = dependents_.find(uid);
  if (it != dependents_.end()) out.insert(out.end(), it->second.begin(), it->second.end());
}

void OwnerGraph::add_mistaken(const GraphNode& owner, std::vector<std::string>& look, std::vector<Misplaced>* misplaced) const {
  for (auto& d : dependents_of(owner.uid))
    for (auto& o : d.owners) {
      if (o.uid != owner.uid) continue;
      const bool elsewhere = !owner.ns.empty() && owner.ns != d.ns;
      if (elsewhere && misplaced) misplaced->push_back({d, o});
      if (elsewhere || !owner.is_meant_by(o)) look.push_back(d.uid);
      break;
    }
}

std::string misplaced_text(const Misplaced& m) {
  const std::string& ns = m.dependent.ns;
  return "ownerRef [" + m.owner.api_version + "/" + m.owner.kind + ", namespace: " + ns + ", name: " + m.owner.name + ", uid: " + m.owner.uid + "] does not exist in namespace \"" + ns + "\"";
}

GarbageVerdict judge(const GraphNode& n, const Owners& owners, const std::vector<GraphNode>& dependents) {
  GarbageVerdict v;
  if (owners.impossible) return v;
  if (owners.unknown) {
    v.what = GarbageVerdict::What::kAskAgain;
    return v;
  }
  if (n.owners.empty() || (owners.gone.empty() && owners.waiting.empty())) return v;
  if (!owners.solid.empty()) {
    v.what = GarbageVerdict::What::kDropReferences;
    for (auto* list : {&owners.gone, &owners.waiting})
      for (auto& o : *list) v.drop.push_back(o.uid);
    return v;
  }
  v.what = GarbageVerdict::What::kDelete;
  v.propagation = n.has(kOrphanFinalizer) ? "Orphan" : n.has(kForegroundFinalizer) ? "Foreground"
                                                                                   : "Background";
  if (!owners.waiting.empty() && !dependents.empty()) {
    v.propagation = "Foreground";
    // Its owner waits for it, so it waits for its own dependents. A circle must not wait for itself.
    v.unblock = std::any_of(dependents.begin(), dependents.end(), [](auto& d) { return d.deleting && d.has(kForegroundFinalizer); });
  }
  v.by_version = !v.unblock;  // unblocking it makes another version
  return v;
}

}  // namespace caravel::controllers
