// Server-side apply: who owns which field, merging an applied configuration, conflicts.
//
// metadata.managedFields holds one entry per manager, operation, apiVersion and subresource with the set of
// fields (fieldsV1) that it owns. Applying sets fields and takes their ownership; another manager's field
// with another value is a conflict unless forced; a field that only this manager owned and that is no
// longer applied is removed. Any other write takes the ownership of what it changed.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "kube/schema.h"

namespace caravel::kube {

// A set of field paths: a tree whose keys are fieldsV1 keys ("f:spec", "k:{\"name\":\"a\"}", "v:1", "i:0")
// and whose nodes say whether the path itself is in the set.
class FieldSet {
 public:
  struct Node {
    bool member = false;
    std::map<std::string, Node> children;
  };
  static FieldSet of(const Schema& schema, const json::Value& object);  // every field of an object
  static FieldSet from_fields_v1(const json::Value& fields);
  json::Value to_fields_v1() const;

  bool empty() const { return root_.children.empty(); }
  FieldSet unite(const FieldSet& o) const;
  FieldSet intersect(const FieldSet& o) const;
  FieldSet subtract(const FieldSet& o) const;
  bool contains(const std::vector<std::string>& path) const;
  std::vector<std::vector<std::string>> paths() const;
  const Node& root() const { return root_; }
  Node& root() { return root_; }

 private:
  Node root_;
};

// As errors show a path: .spec.containers[name="web"].image
std::string field_path_text(const std::vector<std::string>& path);

struct ApplyOptions {
  std::string manager, subresource;
  Time now;
  bool force = false;
  // Top-level members that this endpoint does not write: {"status"} where there is a status subresource,
  // {"spec", ...} on the status subresource itself.
  std::vector<std::string> reset_fields;
};

struct ApplyConflict {
  std::string manager, message;  // conflict with "x" using apps/v1
  std::string field;             // .spec.replicas
};
struct ApplyOutcome {
  json::Value object;                    // merged, with managedFields; when there are conflicts: unset
  std::vector<ApplyConflict> conflicts;  // empty: applied
};
// `live` is null when the object is to be created. `config` is what the client sent (with apiVersion, kind,
// without managedFields).
Result<ApplyOutcome> apply(const Schema& schema, const json::Value* live, const json::Value& config, const ApplyOptions& options);
// "Apply failed with 1 conflict: conflict with \"x\" using apps/v1: .spec.replicas"
std::string conflict_message(const std::vector<ApplyConflict>& conflicts);

// After a create, update or patch: `object` gets managedFields for what changed from `old` (null: created).
// If the client sent `managedFields: []` or `[{}]`, tracking starts over. Call with the object as it will
// be stored; its managedFields are replaced.
void track_update(const Schema& schema, const json::Value* old, json::Value& object, const ApplyOptions& options);

}  // namespace caravel::kube
