#include "controllers/discovery.h"

#include "kube/kinds.h"

namespace caravel::controllers {

namespace {

void add_resources(const json::Value& list, const std::string& group, const std::string& version, Discovered& out) {
  for (const json::Value& r : list["resources"].as_array()) {
    const std::string& plural = r["name"].as_string();
    if (plural.empty() || plural.find('/') != plural.npos) continue;
    ServedResource s;
    s.resource.group = r["group"].as_string().empty() ? group : r["group"].as_string();
    s.resource.version = r["version"].as_string().empty() ? version : r["version"].as_string();
    s.resource.plural = plural;
    s.resource.kind = r["kind"].as_string();
    s.resource.namespaced = r["namespaced"].as_bool();
    for (const json::Value& v : r["verbs"].as_array()) s.verbs.insert(v.as_string());
    // The same resource in an older version of its group.
    bool known = false;
    for (auto& o : out.resources)
      if (o.resource.group == s.resource.group && o.resource.plural == plural) known = true;
    if (!known) out.resources.push_back(std::move(s));
  }
}

}  // namespace

namespace {

using DocumentPtr = std::shared_ptr<const json::Value>;

Task<Result<DocumentPtr>> read_document(kube::Client client, std::string path) {
  kube::ApiRequest q;
  q.verb = "get";
  q.path = std::move(path);
  Result<kube::ApiResponse> r = co_await client.transport().call(std::move(q));
  if (!r.ok()) co_return std::move(r).error();
  if (r->status >= 400) co_return kube::error_from_status(r->status, *r->object);
  co_return r->object.share();
}

// The group and its versions, the preferred one first.
std::vector<std::string> versions_of(const json::Value& group) {
  std::vector<std::string> versions(1, group["preferredVersion"]["version"].as_string());
  for (const json::Value& v : group["versions"].as_array())
    if (v["version"].as_string() != versions[0]) versions.push_back(v["version"].as_string());
  std::erase(versions, "");
  return versions;
}

}  // namespace

Task<Result<std::shared_ptr<const Discovered>>> rediscover(kube::Client client, Discovery* known) {
  Discovery now;
  auto fresh = std::make_shared<Discovered>();
  Result<DocumentPtr> core = co_await read_document(client, "/api/v1");
  if (!core.ok()) co_return wrap(std::move(core).error(), "reading discovery of /api/v1");
  now.documents.push_back(*core);
  Result<DocumentPtr> groups = co_await read_document(client, "/apis");
  if (!groups.ok()) co_return wrap(std::move(groups).error(), "reading discovery of /apis");
  now.documents.push_back(*groups);
  const DocumentPtr all = *groups;
  for (const json::Value& g : (*all)["groups"].as_array())
    for (const std::string& version : versions_of(g)) {
      const std::string api = g["name"].as_string() + "/" + version;
      Result<DocumentPtr> list = co_await read_document(client, "/apis/" + api);
      if (!list.ok()) fresh->failed_groups.push_back(api + ": " + list.error().message);
      now.documents.push_back(list.ok() ? *list : nullptr);
    }
  if (known->result && fresh->failed_groups.empty() && now.documents == known->documents) co_return known->result;
  add_resources(**core, "", "v1", *fresh);
  size_t next = 2;
  for (const json::Value& g : (*all)["groups"].as_array())
    for (const std::string& version : versions_of(g))
      if (const DocumentPtr& list = now.documents[next++]) add_resources(*list, g["name"].as_string(), version, *fresh);
  now.result = std::move(fresh);
  *known = std::move(now);
  co_return known->result;
}

Task<Result<Discovered>> discover(kube::Client client) {
  Discovery none;
  Result<std::shared_ptr<const Discovered>> r = co_await rediscover(std::move(client), &none);
  if (!r.ok()) co_return std::move(r).error();
  co_return **r;
}

Task<Result<kube::Resource>> resource_of(kube::Client client, std::string api_version, std::string kind) {
  kube::GroupVersion gv = kube::parse_group_version(api_version);
  if (const kube::KindInfo* k = kube::find_kind(gv.group, gv.version, kind)) co_return k->resource();
  std::string path = (gv.group.empty() ? "/api/" : "/apis/" + gv.group + "/") + gv.version;
  Result<json::Value> list = co_await client.get_path(std::move(path));
  if (list.ok()) {
    const json::Value& all = *list;
    for (const json::Value& r : all["resources"].as_array()) {
      if (r["kind"].as_string() != kind || r["name"].as_string().find('/') != std::string::npos) continue;
      kube::Resource out;
      out.group = gv.group;
      out.version = gv.version;
      out.plural = r["name"].as_string();
      out.kind = kind;
      out.namespaced = r["namespaced"].as_bool();
      co_return out;
    }
  } else if (list.error().code != Code::kNotFound) {
    co_return std::move(list).error();
  }
  co_return not_found("no matches for kind \"" + kind + "\" in group \"" + gv.group + "\"");
}

}  // namespace caravel::controllers
