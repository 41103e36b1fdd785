#include "apiserver/discovery.h"

#include <algorithm>
#include <map>
#include <set>

#include "apiserver/aggregation/discovered.h"
#include "apiserver/api_server.h"
#include "base/hash.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

// What is stored for a resource, as hashes of it have it: clients tell by them that a storage has moved to another version.
std::string stored_kind(const ServedType& t) {
  static const std::map<std::string, std::string, std::less<>> kOlder = {{"customresourcedefinitions", "v1beta1"}, {"mutatingadmissionpolicies", "v1beta1"}, {"mutatingadmissionpolicybindings", "v1beta1"}};
  const std::string api_version = t.storage_api_version.empty() ? t.resource.api_version() : t.storage_api_version;
  const size_t slash = api_version.find('/');
  const std::string group = slash == api_version.npos ? "" : api_version.substr(0, slash);
  std::string version = slash == api_version.npos ? api_version : api_version.substr(slash + 1);
  if (auto it = kOlder.find(t.resource.plural); it != kOlder.end() && !t.custom) version = it->second;
  return group + "/" + version + "/" + t.resource.kind;
}

using json::Value;

// v2 before v1 before v1beta2 before v1alpha1.
struct VersionRank {
  int stage = 0;  // 2 stable, 1 beta, 0 alpha, -1 other
  int64_t major = 0, minor = 0;
};
VersionRank rank(const std::string& v) {
  VersionRank r{-1, 0, 0};
  if (v.size() < 2 || v[0] != 'v') return r;
  size_t i = 1;
  while (i < v.size() && isdigit(static_cast<unsigned char>(v[i]))) r.major = r.major * 10 + (v[i++] - '0');
  if (i == 1) return r;
  std::string rest = v.substr(i);
  if (rest.empty()) r.stage = 2;
  else if (rest.compare(0, 4, "beta") == 0) r.stage = 1, r.minor = parse_int(rest.substr(4)).value_or(0);
  else if (rest.compare(0, 5, "alpha") == 0) r.stage = 0, r.minor = parse_int(rest.substr(5)).value_or(0);
  return r;
}
bool version_before(const std::string& a, const std::string& b) {
  VersionRank x = rank(a), y = rank(b);
  if (x.stage != y.stage) return x.stage > y.stage;
  if (x.major != y.major) return x.major > y.major;
  if (x.minor != y.minor) return x.minor > y.minor;
  return a < b;
}

Value strings(const std::vector<std::string>& v) {
  Value a = Value::array();
  for (auto& s : v) a.push_back(s);
  return a;
}

}  // namespace

std::vector<std::string> Discovery::groups() const {
  std::set<std::string> seen;
  std::vector<std::string> out;
  for (auto& t : core_->types.all())
    if (seen.insert(t->resource.group).second) out.push_back(t->resource.group);
  for (auto& [name, r] : aggregator_->remotes())
    if (seen.insert(r.group).second) out.push_back(r.group);
  std::sort(out.begin(), out.end(), [this](auto& a, auto& b) {
    int64_t x = aggregator_->priority(a, "").group, y = aggregator_->priority(b, "").group;
    return x != y ? x > y : a < b;
  });
  return out;
}

std::vector<std::string> Discovery::versions(std::string_view group) const {
  std::vector<std::string> out;
  for (auto& t : core_->types.all())
    if (t->resource.group == group && std::find(out.begin(), out.end(), t->resource.version) == out.end()) out.push_back(t->resource.version);
  for (auto& [name, r] : aggregator_->remotes())
    if (r.group == group && std::find(out.begin(), out.end(), r.version) == out.end()) out.push_back(r.version);
  const std::string g(group);
  std::sort(out.begin(), out.end(), [&](auto& a, auto& b) {
    int64_t x = aggregator_->priority(g, a).version, y = aggregator_->priority(g, b).version;
    return x != y ? x > y : version_before(a, b);
  });
  return out;
}

Value Discovery::group_entry(const std::string& group) const {
  Value g = Value::object();
  g["name"] = group;
  Value list = Value::array();
  for (auto& v : versions(group)) {
    Value e = Value::object();
    e["groupVersion"] = group + "/" + v;
    e["version"] = v;
    list.push_back(std::move(e));
  }
  g["preferredVersion"] = list.at(0);
  g["versions"] = std::move(list);
  return g;
}

Value Discovery::resource_list(const std::string& group, const std::string& version) const {
  Value l = Value::object();
  l["kind"] = "APIResourceList";
  if (!group.empty()) l["apiVersion"] = "v1";  // as upstream has it
  std::string gv = group.empty() ? version : group + "/" + version;
  l["groupVersion"] = gv;
  Value resources = Value::array();
  std::vector<ServedTypePtr> types;
  for (auto& t : core_->types.all())
    if (t->resource.group == group && t->resource.version == version) types.push_back(t);
  std::sort(types.begin(), types.end(), [](auto& a, auto& b) { return a->resource.plural < b->resource.plural; });
  for (auto& t : types) {
    Value r = Value::object();
    r["name"] = t->resource.plural;
    r["singularName"] = t->singular;
    r["namespaced"] = t->resource.namespaced;
    r["kind"] = t->resource.kind;
    r["verbs"] = strings(t->verbs);
    if (!t->short_names.empty()) r["shortNames"] = strings(t->short_names);
    if (!t->categories.empty()) r["categories"] = strings(t->categories);
    if (t->storage) r["storageVersionHash"] = base64_encode(sha256(stored_kind(*t)).substr(0, 8));
    resources.push_back(std::move(r));
    for (auto& s : t->subresources) {
      Value x = Value::object();
      x["name"] = t->resource.plural + "/" + s.name;
      x["singularName"] = "";
      x["namespaced"] = t->resource.namespaced;
      if (!s.version.empty() && (s.group != group || s.version != version)) {
        x["group"] = s.group;
        x["version"] = s.version;
      }
      x["kind"] = s.kind.empty() ? t->resource.kind : s.kind;
      x["verbs"] = strings(s.verbs);
      resources.push_back(std::move(x));
    }
  }
  l["resources"] = std::move(resources);
  return l;
}

Value Discovery::aggregated(bool core_group, const std::string& version) const {
  Value list = Value::object();
  list["kind"] = "APIGroupDiscoveryList";
  list["apiVersion"] = "apidiscovery.k8s.io/" + version;
  list["metadata"] = Value::object();
  Value items = Value::array();
  for (auto& group : groups()) {
    if (group.empty() != core_group) continue;
    Value g = Value::object();
    g["metadata"]["creationTimestamp"] = Value();
    if (!group.empty()) g["metadata"]["name"] = group;
    Value vs = Value::array();
    for (auto& v : versions(group)) {
      Value e = Value::object();
      e["version"] = v;
      if (const Aggregator::Remote* remote = aggregator_->find(group, v)) {
        e["resources"] = remote->known ? remote->resources : Value::array();
        e["freshness"] = remote->available && remote->known ? "Current" : "Stale";
        vs.push_back(std::move(e));
        continue;
      }
      Value resources = Value::array();
      std::vector<ServedTypePtr> types;
      for (auto& t : core_->types.all())
        if (t->resource.group == group && t->resource.version == v) types.push_back(t);
      std::sort(types.begin(), types.end(), [](auto& a, auto& b) { return a->resource.plural < b->resource.plural; });
      for (auto& t : types) {
        Value r = Value::object();
        r["resource"] = t->resource.plural;
        // Of built-in kinds group and version go without saying.
        auto response_kind = [&](const std::string& g, const std::string& of, const std::string& name) {
          const bool said = t->custom || g != group || of != v;
          return json::Object{{"group", said ? g : ""}, {"version", said ? of : ""}, {"kind", name}};
        };
        r["responseKind"] = response_kind(group, v, t->resource.kind);
        r["scope"] = t->resource.namespaced ? "Namespaced" : "Cluster";
        r["singularResource"] = t->singular;
        r["verbs"] = strings(t->verbs);
        if (!t->short_names.empty()) r["shortNames"] = strings(t->short_names);
        if (!t->categories.empty()) r["categories"] = strings(t->categories);
        Value subs = Value::array();
        for (auto& s : t->subresources) {
          Value x = Value::object();
          x["subresource"] = s.name;
          x["responseKind"] = response_kind(s.version.empty() ? group : s.group, s.version.empty() ? v : s.version, s.kind.empty() ? t->resource.kind : s.kind);
          x["verbs"] = strings(s.verbs);
          subs.push_back(std::move(x));
        }
        if (subs.size()) r["subresources"] = std::move(subs);
        resources.push_back(std::move(r));
      }
      e["resources"] = std::move(resources);
      e["freshness"] = "Current";
      vs.push_back(std::move(e));
    }
    g["versions"] = std::move(vs);
    items.push_back(std::move(g));
  }
  list["items"] = std::move(items);
  return list;
}

Response Discovery::cached(const std::string& key, const std::function<std::string()>& make, const std::string& content_type, bool in_process) {
  const int64_t generation = core_->types.generation() + aggregator_->generation();  // both only rise
  if (generation_ != generation) {
    cache_.clear();
    generation_ = generation;
  }
  auto it = cache_.find(key);
  if (it == cache_.end()) it = cache_.emplace(key, Cached{std::make_shared<const std::string>(make()), nullptr}).first;
  Response r;
  r.body = it->second.text;
  if (in_process) {
    if (!it->second.value)
      if (auto v = json::parse(*r.body); v.ok()) it->second.value = json::share(std::move(*v));
    r.value = it->second.value;
  }
  r.content_type = content_type;
  return r;
}

bool Discovery::serve(const Request& r, Response* out) {
  if (openapi_.serve(r, out)) return true;
  std::string p = r.path;
  while (p.size() > 1 && p.back() == '/') p.pop_back();
  if (p == "/version") {
    Value v = Value::object();
    v["major"] = "1";
    auto parts = split(options_->version, '.');
    v["minor"] = parts.size() > 1 ? parts[1] : "";
    v["emulationMajor"] = "1";
    v["emulationMinor"] = json::Value(v["minor"]);
    v["gitVersion"] = options_->version;
    v["gitCommit"] = options_->git_commit;
    v["gitTreeState"] = "clean";
    v["buildDate"] = "2026-11-01T00:00:00Z";
    v["goVersion"] = "go1.25.0";
    v["compiler"] = "gc";
    v["platform"] = "linux/amd64";
    *out = json_response(200, v);
    return true;
  }
  auto seg = split(std::string_view(p).substr(1), '/');
  if (p == "/") {
    Value v = Value::object();
    Value paths = Value::array({"/.well-known/openid-configuration", "/api", "/api/v1", "/apis"});
    for (auto& g : groups())
      if (!g.empty()) {
        paths.push_back("/apis/" + g);
        for (auto& version : versions(g)) paths.push_back("/apis/" + g + "/" + version);
      }
    for (std::string_view x : {"/healthz", "/livez", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"}) paths.push_back(x);
    v["paths"] = std::move(paths);
    *out = json_response(200, v);
    return true;
  }
  if (p == "/api" || p == "/apis") {
    bool core_group = p == "/api";
    for (auto& part : split(r.accept, ',')) {
      if (part.find("g=apidiscovery.k8s.io") == part.npos || part.find("as=APIGroupDiscoveryList") == part.npos || part.find("json") == part.npos) continue;
      std::string version = part.find("v=v2beta1") != part.npos ? "v2beta1" : part.find("v=v2") != part.npos ? "v2"
                                                                                                             : "";
      if (version.empty()) continue;
      *out = cached(
          p + "#" + version, [&] { return json::dump(aggregated(core_group, version)); },
          "application/json;g=apidiscovery.k8s.io;v=" + version + ";as=APIGroupDiscoveryList");
      out->headers.emplace_back("ETag", "\"" + to_upper(sha256_hex(*out->body)) + "\"");
      out->headers.emplace_back("Vary", "Accept");
      return true;
    }
    if (core_group) {
      Value v = Value::object();
      v["kind"] = "APIVersions";
      v["versions"] = Value::array({"v1"});
      Value a = Value::object();
      a["clientCIDR"] = "0.0.0.0/0";
      a["serverAddress"] = options_->advertise_address + ":" + std::to_string(options_->advertise_port);
      v["serverAddressByClientCIDRs"] = Value::array({a});
      *out = json_response(200, v);
    } else {
      *out = cached(
          "/apis", [&] {
            Value v = Value::object();
            v["kind"] = "APIGroupList";
            v["apiVersion"] = "v1";
            Value list = Value::array();
            for (auto& g : groups())
              if (!g.empty()) list.push_back(group_entry(g));
            v["groups"] = std::move(list);
            return json::dump(v);
          },
          "application/json", r.in_process);
    }
    out->headers.emplace_back("Vary", "Accept");
    return true;
  }
  if ((seg[0] == "api" && seg.size() == 2) || (seg[0] == "apis" && seg.size() == 3)) {
    std::string group = seg[0] == "api" ? "" : seg[1], version = seg.back();
    auto vs = versions(group);
    if (std::find(vs.begin(), vs.end(), version) == vs.end()) return false;
    *out = cached(
        p, [&] { return json::dump(resource_list(group, version)); }, "application/json", r.in_process);
    return true;
  }
  if (seg[0] == "apis" && seg.size() == 2) {
    if (versions(seg[1]).empty()) return false;
    *out = cached(
        p, [&] {
          Value g = group_entry(seg[1]);
          Value v = Value::object();
          v["kind"] = "APIGroup";
          v["apiVersion"] = "v1";
          for (auto& m : g.as_object()) v[m.key] = m.value;
          return json::dump(v);
        },
        "application/json");
    return true;
  }
  return false;
}

}  // namespace caravel::apiserver
