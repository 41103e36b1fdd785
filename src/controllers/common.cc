#include "controllers/common.h"

#include <bit>

#include "base/hash.h"

namespace caravel::controllers {

using kube::core::Pod;

bool is_terminating(const kube::meta::ObjectMeta& m) { return m.deletion_timestamp.has_value(); }
bool is_finished(const Pod& p) { return p.status.phase == "Succeeded" || p.status.phase == "Failed"; }
bool is_active(const Pod& p) { return !is_finished(p) && !is_terminating(p.metadata); }

const kube::core::PodCondition* condition(const Pod& p, std::string_view type) {
  for (auto& c : p.status.conditions)
    if (c.type == type) return &c;
  return nullptr;
}

bool is_ready(const Pod& p) {
  const kube::core::PodCondition* c = condition(p, "Ready");
  return c && c->status == "True";
}

bool is_available(const Pod& p, int32_t min_ready_seconds, Time now) {
  const kube::core::PodCondition* c = condition(p, "Ready");
  if (!c || c->status != "True") return false;
  return min_ready_seconds == 0 || (!c->last_transition_time.is_zero() && c->last_transition_time + std::chrono::seconds(min_ready_seconds) <= now);
}

int64_t restarts(const Pod& p) {
  int64_t n = 0;
  for (auto& s : p.status.container_statuses) n = std::max<int64_t>(n, s.restart_count);
  return n;
}

namespace {
int phase_rank(const Pod& p) { return p.status.phase == "Running" ? 2 : p.status.phase == "Unknown" ? 1
                                                                                                    : 0; }
int deletion_cost(const Pod& p) {
  auto it = p.metadata.annotations.find("controller.kubernetes.io/pod-deletion-cost");
  return it == p.metadata.annotations.end() ? 0 : std::atoi(it->second.c_str());
}
// Ages are compared on a logarithmic scale (of nanoseconds, as upstream), so that equally old pods are taken at random
// (here: by uid).
int age_class(Time since, Time now) {
  const int64_t age = std::chrono::duration_cast<std::chrono::nanoseconds>(now - since).count();
  return age <= 0 ? -1 : std::bit_width(static_cast<uint64_t>(age)) - 1;
}
// Of init containers that go on beside the others.
int64_t sidecar_restarts(const Pod& p) {
  int64_t n = 0;
  for (auto& c : p.spec.init_containers)
    if (c.restart_policy == "Always")
      for (auto& s : p.status.init_container_statuses)
        if (s.name == c.name) n = std::max<int64_t>(n, s.restart_count);
  return n;
}
}  // namespace

bool delete_before(const Pod& a, const Pod& b, const std::map<std::string, int>& on_node, Time now) {
  bool aa = !a.spec.node_name.empty(), ba = !b.spec.node_name.empty();
  if (aa != ba) return !aa;
  if (phase_rank(a) != phase_rank(b)) return phase_rank(a) < phase_rank(b);
  bool ar = is_ready(a), br = is_ready(b);
  if (ar != br) return !ar;
  if (deletion_cost(a) != deletion_cost(b)) return deletion_cost(a) < deletion_cost(b);
  auto count = [&](const Pod& p) {
    auto it = on_node.find(p.spec.node_name);
    return it == on_node.end() ? 0 : it->second;
  };
  if (count(a) != count(b)) return count(a) > count(b);
  if (ar) {
    Time ta = condition(a, "Ready")->last_transition_time, tb = condition(b, "Ready")->last_transition_time;
    if (ta.is_zero() != tb.is_zero()) return ta.is_zero();
    if (ta != tb) {
      int ca = age_class(ta, now), cb = age_class(tb, now);
      return ca != cb ? ca < cb : a.metadata.uid < b.metadata.uid;
    }
  }
  if (restarts(a) != restarts(b)) return restarts(a) > restarts(b);
  if (sidecar_restarts(a) != sidecar_restarts(b)) return sidecar_restarts(a) > sidecar_restarts(b);
  if (a.metadata.creation_timestamp != b.metadata.creation_timestamp) {
    int ca = age_class(a.metadata.creation_timestamp, now), cb = age_class(b.metadata.creation_timestamp, now);
    if (ca != cb) return ca < cb;
  }
  return a.metadata.uid < b.metadata.uid;
}

Pod pod_from_template(const kube::core::PodTemplateSpec& t, const std::string& ns, const std::string& generate_name) {
  Pod p;
  p.metadata.namespace_ = ns;
  p.metadata.generate_name = generate_name;
  p.metadata.labels = t.metadata.labels;
  p.metadata.annotations = t.metadata.annotations;
  p.metadata.finalizers = t.metadata.finalizers;
  p.spec = t.spec;
  return p;
}

std::string template_hash(const kube::core::PodTemplateSpec& t, std::optional<int32_t> collisions) {
  std::string text = json::dump_sorted(kube::to_json(t));
  if (collisions) text += "/" + std::to_string(*collisions);
  return safe_encode(std::to_string(fnv32a(text)));
}

bool matches(const kube::meta::LabelSelector& s, const std::map<std::string, std::string>& labels) {
  if (!matches(s.match_labels, labels)) return false;
  for (auto& r : s.match_expressions) {
    auto it = labels.find(r.key);
    bool there = it != labels.end();
    bool in = there && std::find(r.values.begin(), r.values.end(), it->second) != r.values.end();
    if (r.operator_ == "In" && !in) return false;
    if (r.operator_ == "NotIn" && in) return false;
    if (r.operator_ == "Exists" && !there) return false;
    if (r.operator_ == "DoesNotExist" && there) return false;
  }
  return true;
}

bool matches(const std::optional<kube::meta::LabelSelector>& s, const std::map<std::string, std::string>& labels) {
  return s && matches(*s, labels);
}

bool matches(const std::map<std::string, std::string>& selector, const std::map<std::string, std::string>& labels) {
  for (auto& [k, v] : selector) {
    auto it = labels.find(k);
    if (it == labels.end() || it->second != v) return false;
  }
  return true;
}

const kube::meta::OwnerReference* controller_of(const kube::meta::ObjectMeta& m) {
  for (auto& r : m.owner_references)
    if (r.controller.value_or(false)) return &r;
  return nullptr;
}

bool is_controlled_by(const kube::meta::ObjectMeta& m, const std::string& uid) {
  const kube::meta::OwnerReference* c = controller_of(m);
  return c && c->uid == uid;
}

json::Value adoption_patch(const kube::meta::OwnerReference& owner, const std::string& uid, const std::string& finalizer) {
  json::Value p = json::Value::object();
  json::Value& m = p["metadata"];
  m["ownerReferences"].push_back(kube::to_json(owner));
  if (!finalizer.empty()) m["finalizers"].push_back(finalizer);
  m["uid"] = uid;
  return p;
}

json::Value release_patch(const std::string& owner_uid, const std::string& uid, const std::string& finalizer) {
  json::Value ref = json::Value::object();
  ref["$patch"] = "delete";
  ref["uid"] = owner_uid;
  json::Value p = json::Value::object();
  json::Value& m = p["metadata"];
  m["ownerReferences"].push_back(std::move(ref));
  if (!finalizer.empty()) m["$deleteFromPrimitiveList/finalizers"].push_back(finalizer);
  m["uid"] = uid;
  return p;
}

void Expectations::wrote(const std::string& key, const std::string& resource_version) {
  std::string& v = versions_[key];
  if (v.empty() || kube::newer_version(resource_version, v)) v = resource_version;
}

Task<Created> create_pods(Executor& ex, kube::Client client, std::vector<Pod> pods) {
  Created out;
  size_t batch = 1;
  for (size_t i = 0; i < pods.size(); batch = std::min(batch * 2, kBatchMax)) {
    std::vector<Task<Result<Pod>>> tasks;
    for (size_t n = 0; n < batch && i < pods.size(); ++n, ++i) tasks.push_back(client.create<Pod>(std::move(pods[i])));
    std::vector<Result<Pod>> results = co_await run_all<Result<Pod>>(ex, std::move(tasks));
    for (auto& r : results) {
      if (r.ok()) out.pods.push_back(std::move(*r));
      else if (!out.error) out.error = r.error();
    }
    if (out.error) break;
  }
  co_return out;
}

Task<Status> delete_pods(Executor& ex, kube::Client client, std::vector<PodPtr> pods) {
  std::vector<Task<Status>> tasks;
  for (auto& p : pods) {
    kube::DeleteOptions o;
    o.uid = p->metadata.uid;
    tasks.push_back(client.remove<Pod>(p->metadata.namespace_, p->metadata.name, o));
  }
  std::vector<Status> results = co_await run_all<Status>(ex, std::move(tasks));
  for (auto& r : results)
    if (!r.ok() && r.error().code != Code::kNotFound && r.error().code != Code::kConflict) co_return std::move(r).error();
  co_return ok();
}

}  // namespace caravel::controllers
