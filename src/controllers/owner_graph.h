// The garbage collector's knowledge and its decisions: who owns whom, whom to look at when something changes, and what is
// to become of an object whose owners live, wait or are gone. Pure; the shell (garbage_collector.cc) watches, asks and writes.
//
// Invariants: nodes are keyed by uid; `dependents_of` holds only nodes that are known, even when their owner is not.
// Threading: none of its own.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "kube/resource.h"

namespace caravel::controllers {

inline constexpr const char* kForegroundFinalizer = "foregroundDeletion";
inline constexpr const char* kOrphanFinalizer = "orphan";

struct OwnerRef {
  std::string api_version, kind, name, uid;
  bool block = false;  // blockOwnerDeletion
  bool operator==(const OwnerRef&) const = default;
};

// The metadata of one object.
struct GraphNode {
  kube::Resource resource;
  std::string ns, name, uid, version;
  std::vector<OwnerRef> owners;
  std::vector<std::string> finalizers;
  bool deleting = false;
  bool has(const char* finalizer) const;
  // Whether the reference means this object by more than its uid: kind and name. The version may be another one of the group.
  bool is_meant_by(const OwnerRef& o) const;
};
GraphNode node_of(const kube::Resource& r, const json::Value& object);

// A reference to an owner that lives in another namespace, which means nobody there.
struct Misplaced {
  GraphNode dependent;
  OwnerRef owner;
};

class OwnerGraph {
 public:
  // Takes in an object as it is now, or that it is gone. Both return the uids of those that have to be looked at:
  // the object itself, owners that are being deleted and wait for it, dependents whose owner begins to go or is gone, or
  // turns out to be another than they say. `misplaced`: references across namespaces that are news.
  std::vector<std::string> put(GraphNode n, std::vector<Misplaced>* misplaced = nullptr);
  std::vector<std::string> erase(const std::string& uid);
  // Whether the object is known and differs in nothing that decides about its fate: then nobody has to be looked at. Most
  // writes (heartbeats, statuses) are such.
  bool knows(const json::Value& object);
  const GraphNode* find(const std::string& uid) const;
  std::vector<GraphNode> dependents_of(const std::string& uid) const;

 private:
  void drop_dependent(const std::string& owner, const std::string& uid);
  void add_waiting_owners(const std::vector<OwnerRef>& owners, std::vector<std::string>& out) const;
  void add_dependents(const std::string& uid, std::vector<std::string>& out) const;
  void add_mistaken(const GraphNode& owner, std::vector<std::string>& look, std::vector<Misplaced>* misplaced) const;
  std::unordered_map<std::string, GraphNode> nodes_;
  std::unordered_map<std::string, std::set<std::string>> dependents_;  // owner's uid -> uids
};

// What is known of the owners of an object. Waiting: being deleted in the foreground.
struct Owners {
  std::vector<OwnerRef> solid, gone, waiting;
  bool unknown = false;     // the API server could not be asked about one
  bool impossible = false;  // the object is in no namespace and one of its owners' kind is: no answer will ever come
};

struct GarbageVerdict {
  enum class What { kStay,
                    kAskAgain,
                    kDropReferences,
                    kDelete };
  What what = What::kStay;
  std::vector<std::string> drop;  // kDropReferences: uids of owners
  // kDelete.
  std::string propagation;  // Orphan, Foreground, Background
  bool unblock = false;     // a circle: its own references must not block its owners
  bool by_version = false;  // only the version that was judged: a new owner may come meanwhile
};
// The sentence of the event OwnerRefInvalidNamespace.
std::string misplaced_text(const Misplaced& m);
// An object with any living owner stays and loses its references to the others. One whose owners are all gone goes as its
// own finalizers say; one whose owner waits for it goes in the foreground when it has dependents itself.
GarbageVerdict judge(const GraphNode& n, const Owners& owners, const std::vector<GraphNode>& dependents);

}  // namespace caravel::controllers
