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

Task<Result<Discovered>> discover(kube::Client client) {
  Discovered out;
  Result<json::Value> core = co_await client.get_path("/api/v1");
  if (!core.ok()) co_return wrap(std::move(core).error(), "reading discovery of /api/v1");
  add_resources(*core, "", "v1", out);
  Result<json::Value> groups = co_await client.get_path("/apis");
  if (!groups.ok()) co_return wrap(std::move(groups).error(), "reading discovery of /apis");
  const json::Value all = std::move(*groups);
  for (const json::Value& g : all["groups"].as_array()) {
    const std::string& name = g["name"].as_string();
    std::vector<std::string> versions;
    versions.push_back(g["preferredVersion"]["version"].as_string());
    for (const json::Value& v : g["versions"].as_array())
      if (v["version"].as_string() != versions[0]) versions.push_back(v["version"].as_string());
    for (const std::string& version : versions) {
      if (version.empty()) continue;
      Result<json::Value> list = co_await client.get_path("/apis/" + name + "/" + version);
      if (!list.ok()) {
        out.failed_groups.push_back(name + "/" + version + ": " + list.error().message);
        continue;
      }
      add_resources(*list, name, version, out);
    }
  }
  co_return out;
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
