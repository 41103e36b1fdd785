#include "apiserver/aggregation/aggregator.h"

#include "apiserver/service_endpoint.h"
#include "base/hash.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr Duration kCheckEvery = std::chrono::seconds(30);
constexpr Duration kSettle = std::chrono::milliseconds(50);  // what changes together is looked at together
constexpr Duration kAskTimeout = std::chrono::seconds(5);
constexpr int kAsks = 3;

UserPtr self() {
  static const UserPtr user = make_user("system:kube-aggregator", {"system:masters"});
  return user;
}

Rest::Transform with_member(std::string name, Value v) {
  return [name = std::move(name), v = std::move(v)](const Value& live) -> Result<Value> {
    Value out = live;
    out[name] = v;
    return out;
  };
}

WriteCall call_of(ServedTypePtr type, std::string name, std::string subresource) {
  WriteCall c;
  c.type = std::move(type);
  c.name = std::move(name);
  c.subresource = std::move(subresource);
  c.user = self();
  c.manager = "kube-apiserver";
  return c;
}

}  // namespace

net::Headers remote_user_headers(const User& user) {
  constexpr std::string_view kToken = "!#$&'*+-.^_`|~";  // what may stand in a header's name, beside letters and digits
  net::Headers h;
  h.add("x-remote-user", user.name);
  if (!user.uid.empty()) h.add("x-remote-uid", user.uid);
  for (auto& g : user.groups) h.add("x-remote-group", g);
  for (auto& [key, values] : user.extra)
    for (auto& v : values) h.add("x-remote-extra-" + percent_encode(to_lower(key), kToken), v);
  return h;
}

Task<Status> Aggregator::start(TaskScope* scope) {
  scope_ = scope;
  type_ = core_->types.find("apiregistration.k8s.io", "v1", "apiservices");
  auto wake = [this](const CacheEvent&) { wake_.set(); };
  type_->storage->cache->add_listener(wake);
  core_->types.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")->storage->cache->add_listener(wake);
  auto wake_if_remote = [this](const CacheEvent&) {
    if (!remotes_.empty()) wake_.set();
  };
  core_->types.find("", "v1", "services")->storage->cache->add_listener(wake_if_remote);
  core_->types.find("discovery.k8s.io", "v1", "endpointslices")->storage->cache->add_listener(wake_if_remote);
  Status local = co_await keep_local();
  if (!local.ok()) co_return wrap(local.error(), "making the local APIServices");
  look();
  wake_.set();
  scope->spawn(run());
  co_return ok();
}

void Aggregator::use(std::unique_ptr<AggregateTransport> t) {
  transport_ = std::move(t);
  wake_.set();
}

Task<void> Aggregator::run() {
  while (true) {
    std::optional<Duration> limit;
    if (!remotes_.empty()) limit = kCheckEvery;
    co_await wake_.wait(limit);
    co_await sleep(core_->ex, kSettle);
    wake_.reset();
    look();
    Status s = co_await keep_local();
    if (!s.ok()) core_->log.warn("could not keep the local APIServices", {{"error", s.error().message}});
    std::vector<std::string> names;
    for (auto& [key, o] : type_->storage->cache->objects()) names.push_back(o->name);
    for (auto& n : names) {
      auto it = remotes_.find(n);
      if (it == remotes_.end()) {
        Availability local;
        local.status = "True";
        local.reason = "Local";
        local.message = "Local APIServices are always available";
        Status wrote = co_await write_status(n, std::move(local));
        if (!wrote.ok()) core_->log.warn("could not write an APIService's condition", {{"name", n}, {"error", wrote.error().message}});
      } else if (!it->second.checking) {
        it->second.checking = true;
        scope_->spawn(check(n));
      }
    }
  }
}

// Reads the objects: who serves what, in which order.
void Aggregator::look() {
  std::map<std::string, ApiServicePriority> priorities;
  std::map<std::string, int64_t> groups;
  std::set<std::string> seen;
  bool changed = false;
  for (auto& [key, o] : type_->storage->cache->objects()) {
    ValuePtr v = o->value();
    const Value& spec = (*v)["spec"];
    ApiServicePriority p;
    p.group = spec["groupPriorityMinimum"].as_int();
    p.version = spec["versionPriority"].as_int();
    priorities[o->name] = p;
    int64_t& g = groups[spec["group"].as_string()];
    g = std::max(g, p.group);
    if (!spec["service"].is_object()) continue;
    seen.insert(o->name);
    Remote& r = remotes_[o->name];
    std::string ca = base64_decode(spec["caBundle"].as_string()).value_or("");
    if (r.name.empty() || !(r.service == spec["service"]) || r.ca != ca) changed = true;
    r.name = o->name;
    r.group = spec["group"].as_string();
    r.version = spec["version"].as_string();
    r.service = spec["service"];
    r.ca = std::move(ca);
    r.insecure = spec["insecureSkipTLSVerify"].as_bool();
    r.priority = p;
  }
  for (auto it = remotes_.begin(); it != remotes_.end();) {
    if (seen.count(it->first)) {
      ++it;
      continue;
    }
    it = remotes_.erase(it);
    changed = true;
  }
  auto same = [](const ApiServicePriority& a, const ApiServicePriority& b) { return a.group == b.group && a.version == b.version; };
  changed = changed || priorities.size() != priorities_.size() ||
            !std::equal(priorities.begin(), priorities.end(), priorities_.begin(), [&](auto& a, auto& b) { return a.first == b.first && same(a.second, b.second); });
  priorities_ = std::move(priorities);
  group_priorities_ = std::move(groups);
  if (changed) ++generation_;
}

Task<Status> Aggregator::keep_local() {
  std::map<std::string, Value> wanted = local_api_services(core_->types);
  const bool first = !started_;
  started_ = true;
  for (auto& [name, object] : wanted) {
    const bool onstart = std::as_const(object)["metadata"]["labels"][kAutomanaged].as_string() == "onstart";
    if (onstart && !first) continue;
    ObjectPtr o = rest_->find(*type_, "", name);
    if (!o) {
      WriteCall call = call_of(type_, "", "");
      std::vector<std::string> unknown;
      Status fits = type_->model->accept(object, unknown);
      if (!fits.ok()) co_return fits;
      auto made = co_await rest_->create_object(&call, std::move(object));
      if (!made.ok() && made.error().code != Code::kAlreadyExists) co_return std::move(made).error();
      continue;
    }
    ValuePtr live = o->value();
    if ((*live)["metadata"]["labels"][kAutomanaged].as_string().empty()) continue;  // somebody's own
    const Value& spec = std::as_const(object)["spec"];
    if ((*live)["spec"] == spec) continue;
    WriteCall call = call_of(type_, name, "");
    auto wrote = co_await rest_->update_object(&call, with_member("spec", spec), true);
    if (!wrote.ok() && wrote.error().code != Code::kNotFound) co_return std::move(wrote).error();
  }
  std::vector<std::string> gone;
  for (auto& [key, o] : type_->storage->cache->objects()) {
    auto* managed = find_pair(o->labels, kAutomanaged);
    if (managed && *managed == "true" && !wanted.count(o->name)) gone.push_back(o->name);
  }
  for (auto& name : gone) {
    DeleteCall call;
    call.type = type_;
    call.name = name;
    call.user = self();
    auto d = co_await rest_->delete_object(std::move(call));
    if (!d.ok() && d.error().code != Code::kNotFound) co_return d.error();
  }
  co_return ok();
}

Task<Status> Aggregator::write_status(std::string name, Availability c) {
  ObjectPtr o = rest_->find(*type_, "", name);
  if (!o) co_return ok();
  ValuePtr live = o->value();
  Value status = with_available((*live)["status"], c, core_->ex.now());
  if (status == (*live)["status"]) co_return ok();
  WriteCall call = call_of(type_, name, "status");
  auto r = co_await rest_->update_object(&call, with_member("status", std::move(status)), true);
  if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
  co_return ok();
}

Result<RemoteServer> Aggregator::resolve(const Remote& r) const {
  const std::string &ns = r.service["namespace"].as_string(), &name = r.service["name"].as_string();
  const std::string port = std::to_string(r.service["port"].as_int(443));
  RemoteServer s;
  TRY(s.address, service_endpoint(*core_, ns, name, port));
  s.server_name = name + "." + ns + ".svc";
  s.host = s.server_name + ":" + port;
  s.ca = r.ca;
  s.insecure = r.insecure;
  return s;
}

Task<Result<net::ClientResponse>> Aggregator::get(std::string name, std::string path, std::string accept) {
  auto it = remotes_.find(name);
  if (it == remotes_.end()) co_return not_found("the APIService is gone");
  if (!transport_) co_return unavailable("this server has no way to aggregated API servers");
  auto to = resolve(it->second);
  if (!to.ok()) co_return std::move(to).error();
  net::ClientRequest q;
  q.url = std::move(path);
  q.headers = remote_user_headers(*self());
  q.headers.add("accept", accept);
  q.timeout = kAskTimeout;
  auto res = co_await transport_->exchange(std::move(*to), std::move(q));
  co_return res;
}

Task<Availability> Aggregator::ask_service(std::string name) {
  Availability c;
  c.status = "False";
  c.reason = "FailedDiscoveryCheck";
  for (int i = 0; i < kAsks; ++i) {
    auto it = remotes_.find(name);
    if (it == remotes_.end()) co_return c;
    const std::string path = "/apis/" + it->second.group + "/" + it->second.version;
    auto server = resolve(it->second);
    const std::string url = "https://" + (server.ok() ? server->address : std::string()) + path;
    auto res = co_await get(name, path, "application/json");
    if (res.ok() && res->status >= 200 && res->status < 300) {
      c.status = "True";
      c.reason = "Passed";
      c.message = "all checks passed";
      co_return c;
    }
    if (res.ok()) c.message = "failing or missing response from " + url + ": bad status from " + url + ": " + std::to_string(res->status);
    else c.message = "failing or missing response from " + url + ": Get \"" + url + "\": " + res.error().message;
  }
  co_return c;
}

Task<void> Aggregator::check(std::string name) {
  ObjectPtr o = rest_->find(*type_, "", name);
  if (o) {
    ValuePtr v = o->value();
    Availability c = availability(*core_, *v);
    if (c.status == "True") c = co_await ask_service(name);
    auto it = remotes_.find(name);
    const bool yes = c.status == "True";
    if (it != remotes_.end() && it->second.available != yes) {
      it->second.available = yes;
      ++generation_;
    }
    Status s = co_await write_status(name, std::move(c));
    if (!s.ok()) core_->log.warn("could not write an APIService's condition", {{"name", name}, {"error", s.error().message}});
    if (yes) co_await fetch_discovery(name);
  }
  auto it = remotes_.find(name);
  if (it != remotes_.end()) it->second.checking = false;
}

const Aggregator::Remote* Aggregator::find(std::string_view group, std::string_view version) const {
  if (remotes_.empty()) return nullptr;
  auto it = remotes_.find(std::string(version) + "." + std::string(group));
  return it == remotes_.end() ? nullptr : &it->second;
}

ApiServicePriority Aggregator::priority(const std::string& group, const std::string& version) const {
  ApiServicePriority p = builtin_priority(group, version);
  if (auto it = priorities_.find(version + "." + group); it != priorities_.end()) p = it->second;
  if (auto g = group_priorities_.find(group); g != group_priorities_.end()) p.group = g->second;
  return p;
}

const Aggregator::Remote* Aggregator::remote_of(const Request& r) const {
  if (remotes_.empty()) return nullptr;
  if (r.path.empty()) return r.is_resource ? find(r.group, r.version) : nullptr;  // of this process
  std::string_view p = r.path;
  const bool openapi = p.starts_with("/openapi/v3/apis/");
  if (openapi) p.remove_prefix(11);
  if (!p.starts_with("/apis/")) return nullptr;
  auto seg = split(p.substr(6), '/');
  if (seg.size() < 2 || seg[1].empty()) return nullptr;
  const Remote* remote = find(seg[0], seg[1]);
  return remote && (!openapi || seg.size() == 2) ? remote : nullptr;
}

Task<Status> Aggregator::forward(std::string name, const Request& r, net::ServerRequest& in, net::ResponseWriter& out) {
  auto it = remotes_.find(name);
  if (it == remotes_.end() || !it->second.available || !transport_) co_return unavailable("service unavailable");
  auto to = resolve(it->second);
  if (!to.ok()) co_return unavailable("service unavailable");
  net::Headers who = remote_user_headers(*r.user);
  auto done = co_await transport_->forward(std::move(*to), std::move(who), in, out);
  co_return done;
}

Task<Response> Aggregator::call(std::string name, const Request& r) {
  if (r.verb == "watch") co_return error_response(status::unavailable("resources of aggregated servers are watched over HTTPS only"));
  auto it = remotes_.find(name);
  if (it == remotes_.end() || !it->second.available || !transport_) co_return error_response(status::unavailable("service unavailable"));
  auto to = resolve(it->second);
  if (!to.ok()) co_return error_response(status::unavailable("service unavailable"));
  net::ClientRequest q;
  q.method = r.method;
  std::string query;
  for (auto& [k, v] : r.query) query += (query.empty() ? "?" : "&") + percent_encode(k) + "=" + percent_encode(v);
  std::string path = r.path;
  if (path.empty()) {  // a request that never was a URL
    path = "/apis/" + r.group + "/" + r.version + (r.ns.empty() ? "" : "/namespaces/" + r.ns) + "/" + r.plural;
    if (!r.name.empty()) path += "/" + r.name;
    if (!r.subresource.empty()) path += "/" + r.subresource;
  }
  q.url = path + query;
  q.headers = remote_user_headers(*r.user);
  q.headers.add("accept", r.accept.empty() ? "application/json" : r.accept);
  q.body = r.object.is_null() ? r.body : json::dump(r.object);
  if (!r.content_type.empty() && !q.body.empty()) q.headers.add("content-type", r.content_type);
  auto res = co_await transport_->exchange(std::move(*to), std::move(q));
  if (!res.ok()) co_return error_response(status::unavailable("error trying to reach service: " + res.error().message));
  Response out;
  out.status = res->status;
  if (std::string type = res->headers.get("content-type"); !type.empty()) out.content_type = std::move(type);
  out.body = std::make_shared<const std::string>(std::move(res->body));
  co_return out;
}

}  // namespace caravel::apiserver
