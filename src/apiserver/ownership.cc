#include "apiserver/ownership.h"

#include "apiserver/status.h"
#include "kube/apply.h"

namespace caravel::apiserver {

namespace {

kube::ApplyOptions options_for(const json::Value& object, const Writer& w, bool force, bool has_status) {
  kube::ApplyOptions o;
  o.manager = w.manager;
  o.subresource = w.subresource;
  o.now = w.now;
  o.force = force;
  if (w.subresource == "status") {
    for (auto& m : object.as_object())
      if (m.key != "status" && m.key != "metadata" && m.key != "kind" && m.key != "apiVersion") o.reset_fields.push_back(m.key);
  } else if (has_status) {
    o.reset_fields.push_back("status");
  }
  return o;
}

}  // namespace

Result<json::Value> apply_owned(const kube::Schema& schema, const json::Value* live, const json::Value& config, const Writer& w, bool force, bool has_status) {
  kube::ApplyOptions o = options_for(live ? *live : config, w, force, has_status);
  auto out = kube::apply(schema, live, config, o);
  if (!out.ok()) return status::bad_request(out.error().message);
  if (out->conflicts.empty()) return std::move(out->object);
  std::vector<Cause> causes;
  for (auto& c : out->conflicts) causes.push_back({c.field, "FieldManagerConflict", c.message});
  return status::apply_conflict(kube::conflict_message(out->conflicts), causes);
}

void track_owned(const kube::Schema& schema, const json::Value* old, json::Value& object, const Writer& w, bool has_status) {
  kube::track_update(schema, old, object, options_for(object, w, false, has_status));
}

}  // namespace caravel::apiserver
