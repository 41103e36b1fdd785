#include "controllers/history.h"

namespace caravel::controllers {

using kube::apps::ControllerRevision;

json::Value revision_data(const kube::core::PodTemplateSpec& t) {
  json::Value v = json::Value::object();
  json::Value body = kube::to_json(t);
  body["$patch"] = "replace";
  v["spec"]["template"] = std::move(body);
  // Clients compare it byte for byte with what Go makes of a map: keys in order (daemon.Match in upstream's tests).
  auto sorted = json::parse(json::dump_sorted(v));
  return sorted.ok() ? std::move(*sorted) : v;
}

Result<kube::core::PodTemplateSpec> template_of(const ControllerRevision& r) {
  json::Value t = r.data.path({"spec", "template"});
  t.erase("$patch");
  return kube::from_json<kube::core::PodTemplateSpec>(t);
}

std::string revision_hash(const ControllerRevision& r) {
  auto it = r.metadata.labels.find(kRevisionHash);
  return it == r.metadata.labels.end() ? "" : it->second;
}

Task<Result<History>> sync_history(kube::Client client, std::vector<RevisionPtr> owned, kube::meta::OwnerReference owner, std::string ns,
                                   std::map<std::string, std::string> labels, kube::core::PodTemplateSpec t, std::optional<int32_t>* collisions) {
  History h;
  h.all = std::move(owned);
  auto by_number = [](auto& a, auto& b) { return a->revision != b->revision ? a->revision < b->revision : a->metadata.name < b->metadata.name; };
  std::sort(h.all.begin(), h.all.end(), by_number);
  int64_t next_number = h.all.empty() ? 1 : h.all.back()->revision + 1;
  json::Value data = revision_data(t);
  RevisionPtr equal;
  for (auto& r : h.all)
    if (r->data == data) equal = r;
  if (equal) {
    if (equal != h.all.back()) {  // a rollback: the old revision becomes the newest
      ControllerRevision next = *equal;
      next.revision = next_number;
      Result<ControllerRevision> r = co_await client.update<ControllerRevision>(std::move(next));
      if (!r.ok()) co_return std::move(r).error();
      std::erase(h.all, equal);
      equal = std::make_shared<const ControllerRevision>(std::move(*r));
      h.all.push_back(equal);
    }
    h.update = equal;
    co_return h;
  }
  std::string hash = template_hash(t, *collisions);
  ControllerRevision fresh;
  fresh.metadata.name = owner.name + "-" + hash;
  fresh.metadata.namespace_ = ns;
  fresh.metadata.labels = std::move(labels);
  fresh.metadata.labels[kRevisionHash] = hash;
  fresh.metadata.owner_references.push_back(owner);
  fresh.data = data;
  fresh.revision = next_number;
  std::string name = fresh.metadata.name;
  Result<ControllerRevision> made = co_await client.create<ControllerRevision>(std::move(fresh));
  if (!made.ok() && made.error().code == Code::kAlreadyExists) {
    Result<ControllerRevision> live = co_await client.get<ControllerRevision>(ns, name);
    if (!live.ok()) co_return std::move(live).error();
    if (!(live->data == data) || !is_controlled_by(live->metadata, owner.uid)) {
      *collisions = collisions->value_or(0) + 1;
      co_return make_error(Code::kConflict, "the name " + name + " is taken by another revision");
    }
    made = std::move(live);
  }
  if (!made.ok()) co_return std::move(made).error();
  h.update = std::make_shared<const ControllerRevision>(std::move(*made));
  h.all.push_back(h.update);
  co_return h;
}

Task<Status> trim_history(kube::Client client, std::vector<RevisionPtr> all, std::set<std::string> live, int32_t limit) {
  std::vector<RevisionPtr> unused;
  for (auto& r : all)
    if (!live.count(r->metadata.name)) unused.push_back(r);
  int excess = static_cast<int>(unused.size()) - limit;
  for (int i = 0; i < excess; ++i) {
    Status s = co_await client.remove<ControllerRevision>(unused[i]->metadata.namespace_, unused[i]->metadata.name);
    if (!s.ok() && s.error().code != Code::kNotFound) co_return s;
  }
  co_return ok();
}

}  // namespace caravel::controllers
