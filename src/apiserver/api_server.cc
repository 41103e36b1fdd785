#include "apiserver/api_server.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "apiserver/admission/dynamic.h"
#include "apiserver/admission/policy_status.h"
#include "apiserver/aggregation/aggregator.h"
#include "apiserver/authorization/access.h"
#include "apiserver/component_status.h"
#include "apiserver/crd.h"
#include "apiserver/discovery.h"
#include "apiserver/flow_control.h"
#include "apiserver/health.h"
#include "apiserver/in_process_transport.h"
#include "apiserver/reviews.h"
#include "apiserver/subresources.h"
#include "base/strings.h"

namespace caravel::apiserver {

ApiServer::ApiServer(Executor& ex, store::Store& store, ApiServerOptions options) : options_(std::move(options)), core_(ex, store), rest_(core_) {
  requests_total_ = &core_.metrics.counter("apiserver_request_total", "Counter of apiserver requests broken out for each verb, group, version, resource and HTTP response code.",
                                           {"verb", "group", "version", "resource", "subresource", "scope", "dry_run", "component", "code"});
  stored_objects_ = &core_.metrics.gauge("apiserver_storage_objects", "Number of stored objects at the time of last check split by kind.", {"resource"});
  registered_watchers_ = &core_.metrics.gauge("apiserver_registered_watchers", "Number of currently registered watchers for a given resources", {"group", "resource"});
  health_now_ = &slis_.gauge("kubernetes_healthcheck", "1 while a health check passes, else 0.", {"name", "type"});
  health_checks_ = &slis_.counter("kubernetes_healthchecks_total", "How often health checks were asked, by what they said.", {"name", "type", "status"});
  core_.metrics.gauge("kubernetes_build_info", "A metric with a constant '1' value labeled by major, minor, git version, git commit and platform.", {"git_version", "git_commit", "major", "minor", "platform"})
      .set({options_.version, options_.git_commit, "1", "36", "linux/amd64"}, 1);
}

// What is counted when somebody looks.
void ApiServer::gather_metrics() {
  std::map<const WatchCache*, bool> seen;
  for (auto& t : core_.types.all()) {
    if (!t->storage || !seen.emplace(t->storage->cache, true).second) continue;
    stored_objects_->set({t->resource.group_resource()}, static_cast<double>(t->storage->cache->size()));
    registered_watchers_->set({t->resource.group, t->resource.plural}, static_cast<double>(t->storage->cache->watchers()));
  }
}

ApiServer::~ApiServer() { scope_.cancel_all(); }

std::unique_ptr<kube::Transport> ApiServer::transport(User user) { return make_in_process_transport(*this, std::move(user)); }

namespace {

// The name that authorisation sees: of the URL, or the one that a field selector pins.
std::string authorized_name(const Request& r) {
  if (!r.name.empty() || (r.verb != "list" && r.verb != "watch" && r.verb != "deletecollection")) return r.name;
  auto* s = r.param("fieldSelector");
  if (!s || s->find("metadata.name") == std::string::npos) return "";
  auto f = FieldSelector::parse(*s);
  if (!f.ok()) return "";
  auto* n = f->exact("metadata.name");
  return n ? *n : "";
}

// What Go's ParseDuration says about a text; "" when it is a duration.
std::string go_duration_problem(const std::string& text) {
  if (parse_duration(text).ok()) return "";
  const std::string shown = json::quote(text);
  std::string_view s = text;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) s.remove_prefix(1);
  while (!s.empty()) {
    size_t number = std::min(s.find_first_not_of("0123456789."), s.size());
    if (number == 0 || s.substr(0, number).find_first_of("0123456789") == s.npos) break;
    s.remove_prefix(number);
    size_t unit = std::min(s.find_first_of("0123456789."), s.size());
    if (unit == 0) return "time: missing unit in duration " + shown;
    std::string_view u = s.substr(0, unit);
    bool known = false;
    for (std::string_view k : {"ns", "us", "µs", "μs", "ms", "s", "m", "h"}) known = known || u == k;
    if (!known) return "time: unknown unit " + json::quote(std::string(u)) + " in duration " + shown;
    s.remove_prefix(unit);
  }
  return "time: invalid duration " + shown;
}

// How long a client waits bounds requests that end; upstream refuses what it cannot read.
Status check_timeout(const Request& r) {
  const std::string* timeout = r.param("timeout");
  if (!timeout || timeout->empty() || r.verb == "watch" || r.verb == "proxy") return ok();
  for (std::string_view s : {"proxy", "exec", "attach", "portforward", "log"})
    if (r.subresource == s) return ok();
  std::string problem = go_duration_problem(*timeout);
  if (problem.empty()) return ok();
  return status::bad_request("invalid timeout specified in the request URL - " + problem);
}

std::string cannot(const Request& r, const std::string& why) {
  std::string m = "User \"" + r.user->name + "\" cannot ";
  if (!r.is_resource) return m + r.verb + " path \"" + r.path + "\"";
  std::string what = r.plural + (r.subresource.empty() ? "" : "/" + r.subresource);
  m += r.verb + " resource \"" + what + "\" in API group \"" + r.group + "\"";
  m += r.ns.empty() ? " at the cluster scope" : " in the namespace \"" + r.ns + "\"";
  if (!why.empty()) m += ": " + why;
  return m;
}

}  // namespace

void ApiServer::set_access(std::unique_ptr<AccessChain> chain) {
  access_ = std::move(chain);
  core_.access = access_.get();
}

Task<Status> ApiServer::authorize(const Request& r) {
  Attributes a;
  a.user = r.user.get();
  a.verb = r.verb;
  a.is_resource = r.is_resource;
  std::string name;
  if (r.is_resource) {
    a.group = r.group;
    a.version = r.version;
    a.plural = r.plural;
    a.subresource = r.subresource;
    a.ns = r.ns;
    name = authorized_name(r);
    a.name = name;
  } else {
    a.path = r.path;
  }
  Decision d;
  json::Value fields, labels;
  if (access_ && r.is_resource && (r.verb == "list" || r.verb == "watch" || r.verb == "deletecollection")) {
    fields = field_requirements(r.param_or("fieldSelector"));
    labels = label_requirements(r.param_or("labelSelector"));
    if (!fields.is_null()) a.field_selector = &fields;
    if (!labels.is_null()) a.label_selector = &labels;
  }
  if (access_) d = co_await access_->decide(a);
  else d = authorizer_->authorize(a);
  if (r.trail) {
    r.trail->annotate("authorization.k8s.io/decision", d.allowed ? "allow" : "forbid");
    r.trail->annotate("authorization.k8s.io/reason", d.reason);
  }
  if (d.allowed) co_return ok();
  kube::Resource res;
  res.group = r.group;
  res.plural = r.plural;
  if (!r.is_resource) co_return status::forbidden_message({}, "", "forbidden: " + cannot(r, ""));
  co_return status::forbidden(res, name, cannot(r, d.reason));
}

namespace {

// As metrics name what a request does: by its method, but that lists, watches and applied configurations stand out.
std::string_view counted_verb(const Request& r) {
  static constexpr std::pair<std::string_view, std::string_view> kVerbs[] = {{"get", "GET"}, {"list", "LIST"}, {"watch", "WATCH"}, {"create", "POST"}, {"update", "PUT"}, {"delete", "DELETE"}, {"deletecollection", "DELETECOLLECTION"}};
  if (r.verb == "patch") return r.content_type.starts_with("application/apply-patch") ? "APPLY" : "PATCH";
  for (auto& [verb, name] : kVerbs)
    if (r.verb == verb) return name;
  return r.method;
}

// What every program says about its process. Empty where /proc does not tell.
std::string process_metrics() {
  auto first_line = [](const char* path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
  };
  const std::string stat = first_line("/proc/self/stat");
  const std::vector<std::string> f = split(stat.substr(std::min(stat.size(), stat.rfind(')') + 2)), ' ');  // from the state on
  if (f.size() < 22) return "";
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK)), page = static_cast<double>(sysconf(_SC_PAGESIZE));
  auto at = [&](size_t i) { return static_cast<double>(parse_int(f[i]).value_or(0)); };
  std::error_code none;
  const auto open_files = std::distance(std::filesystem::directory_iterator("/proc/self/fd", none), {});
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  double booted = 0;
  std::ifstream system("/proc/stat");
  for (std::string line; std::getline(system, line);)
    if (line.starts_with("btime ")) booted = static_cast<double>(parse_int(line.substr(6)).value_or(0));
  std::string out;
  auto say = [&](const char* name, const char* type, const char* help, double value) {
    out += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n" + name + " " + json::dump(json::Value(value)) + "\n";
  };
  say("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", (at(11) + at(12)) / ticks);
  say("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", booted + at(19) / ticks);
  say("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", at(20));
  say("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", at(21) * page);
  say("process_open_fds", "gauge", "Number of open file descriptors.", static_cast<double>(open_files));
  say("process_max_fds", "gauge", "Maximum number of open file descriptors.", static_cast<double>(files.rlim_cur));
  return out;
}

// The successor of apiserver_storage_objects.
std::string resource_objects(const TypeTable& types) {
  std::string out = "# HELP apiserver_resource_objects Number of stored objects at the time of last check split by kind.\n# TYPE apiserver_resource_objects gauge\n";
  std::set<const WatchCache*> seen;
  for (auto& t : types.all())
    if (t->storage && seen.insert(t->storage->cache).second)
      out += "apiserver_resource_objects{group=" + json::quote(t->resource.group) + ",resource=" + json::quote(t->resource.plural) + "} " + std::to_string(t->storage->cache->size()) + "\n";
  return out;
}

}  // namespace

void ApiServer::count(const Request& r, int status) {
  const bool one = !r.name.empty() || r.verb == "create";
  const std::string_view scope = !r.is_resource ? "" : one        ? "resource"
                                                   : r.ns.empty() ? "cluster"
                                                                  : "namespace";
  const std::string* dry_run = r.param("dryRun");
  const std::string_view labels[] = {counted_verb(r), r.group, r.version, r.plural, r.subresource, scope, dry_run ? std::string_view(*dry_run) : "", r.is_resource ? "apiserver" : ""};
  size_t hash = static_cast<size_t>(status);
  for (std::string_view l : labels) hash = hash * 31 + std::hash<std::string_view>()(l);
  for (auto [it, end] = counted_.equal_range(hash); it != end; ++it) {
    const Counted& c = it->second;
    if (c.status == status && std::equal(std::begin(labels), std::end(labels), c.labels.begin())) {
      ++*c.value;
      return;
    }
  }
  Counted c;
  c.status = status;
  c.labels.assign(std::begin(labels), std::end(labels));
  LabelValues all = c.labels;
  all.push_back(std::to_string(status));
  c.value = &requests_total_->cell(all);
  ++*c.value;
  counted_.emplace(hash, std::move(c));
}

Task<Response> ApiServer::handle_audited(Request& r) {
  r.audited = true;
  std::shared_ptr<AuditTrail> trail = auditor_->received(r);
  if (!trail) {
    Response res = co_await handle(r);
    co_return res;
  }
  r.trail = trail;
  if (!trail->settled()) {
    bool all = co_await trail->delivered();
    if (!all) co_return error_response(status::internal("failed to store audit event"));
  }
  Response res = co_await handle(r);
  if (res.watch) trail->started(res);
  else trail->completed(res);
  if (!trail->settled()) co_await trail->delivered();
  if (res.watch) res.watch = audited_watch(std::move(res.watch), std::move(trail));
  co_return res;
}

Task<Response> ApiServer::handle(Request& r) {
  if (auditor_ && !r.audited) {
    Response res = co_await handle_audited(r);
    co_return res;
  }
  if (Status s = check_timeout(r); !s.ok()) co_return error_response(s.error());
  Status allowed = co_await authorize(r);
  if (!allowed.ok()) {
    Response res = error_response(allowed.error());
    count(r, res.status);
    co_return res;
  }
  if (const Aggregator::Remote* remote = aggregator_->remote_of(r)) {
    Response res = co_await aggregator_->call(remote->name, r);
    co_return res;
  }
  if (r.is_resource) {
    // The hot path without a task of its own.
    if (r.verb == "get" && r.subresource.empty() && !r.name.empty()) {
      ServedTypePtr t = core_.types.find(r.group, r.version, r.plural);
      if (t && t->storage && t->resource.namespaced == !r.ns.empty() && t->has_verb("get") && t->deprecation_warning.empty() && !t->converter) {
        Response res = rest_.get(r, t);
        count(r, res.status);
        co_return res;
      }
    }
    Response res = co_await serve_resource(r);
    if (ServedTypePtr t = core_.types.find(r.group, r.version, r.plural); t && !t->deprecation_warning.empty() && (t->has_verb(r.verb) || r.verb == "watch")) res.warnings.push_back(t->deprecation_warning);
    count(r, res.status);
    co_return res;
  }
  Response res = co_await serve_path(r);
  co_return res;
}

namespace {

// PodExecOptions and its like, from the parameters of the URL.
json::Value connection_options(const Request& r, const ServedType& t) {
  json::Value o = json::Value::object();
  auto* sub = t.subresource(r.subresource);
  o["kind"] = sub ? sub->kind : "";
  o["apiVersion"] = "v1";
  if (r.subresource == "proxy") {
    if (!r.rest.empty()) o["path"] = "/" + r.rest;
    return o;
  }
  for (std::string_view flag : {"stdin", "stdout", "stderr", "tty"})
    if (r.param(flag) && r.flag(flag)) o[flag] = true;
  if (auto* c = r.param("container"); c && !c->empty()) o["container"] = *c;
  for (auto& [k, v] : r.query) {
    if (k == "command") o["command"].push_back(v);
    if (k == "ports")
      if (auto port = parse_int(v)) o["ports"].push_back(*port);
  }
  return o;
}

}  // namespace

Task<Status> ApiServer::admit_connection(const Request& r) {
  ServedTypePtr t = core_.types.find(r.group, r.version, r.plural);
  if (!t || r.subresource == "log") co_return ok();  // logs are read
  WriteCall call = rest_.write_call(r, t);
  json::Value options = connection_options(r, *t);
  Rest::OtherWrite write;
  write.operation = Operation::kConnect;
  write.object = &options;
  Status s = co_await rest_.admit_other(&call, write);
  co_return s;
}

// What is below a path of the server's own answers with a Status, anything else like any web server.
Error ApiServer::unknown_path(const std::string& path) const {
  if (path.starts_with("/api/") || path.starts_with("/version/")) return status::path_not_found();
  constexpr std::string_view kGroups = "/apis/";
  if (path.starts_with(kGroups)) {
    const std::string group = path.substr(kGroups.size(), path.find('/', kGroups.size()) - kGroups.size());
    for (auto& t : core_.types.all())
      if (!t->custom && t->resource.group == group) return status::path_not_found();
  }
  return status::no_such_path();
}

Task<Response> ApiServer::serve_resource(Request& r) {
  ServedTypePtr t = core_.types.find(r.group, r.version, r.plural);
  if (!t) co_return error_response(unknown_path(r.path));
  bool names_itself = r.plural == "namespaces" && r.group.empty();
  if (names_itself) r.ns.clear();
  if (!t->resource.namespaced && !r.ns.empty()) co_return error_response(status::path_not_found());
  bool across = r.verb == "list" || r.verb == "watch";
  if (t->resource.namespaced && r.ns.empty() && !across) {
    if (r.verb == "deletecollection" || r.verb == "create") co_return error_response(status::method_not_allowed());
    co_return error_response(status::path_not_found());
  }
  if (!r.subresource.empty()) {
    Response res = co_await serve_subresource(r, t);
    co_return res;
  }
  if (!t->storage && t->has_verb("list")) {
    if (r.verb == "watch") co_return error_response(status::method_not_supported(t->resource, "watch"));
    if (!t->has_verb(r.verb)) co_return error_response(status::method_not_allowed());
    co_return serve_component_statuses(rest_, r, *t);
  }
  if (!t->storage) {  // reviews
    if (r.verb != "create") co_return error_response(status::method_not_allowed());
    if (auto form = negotiate(r); form.ok() && form->as != Output::kFull)
      co_return error_response(status::not_acceptable("the server was unable to respond with a content type that the client supports"));
    Response res = co_await serve_review(*this, r, t);
    co_return res;
  }
  if (!t->has_verb(r.verb)) co_return error_response(status::method_not_allowed());
  if (r.name.empty() && (r.verb == "update" || r.verb == "patch")) co_return error_response(status::method_not_allowed());
  if (r.verb == "create" && !r.name.empty()) co_return error_response(status::method_not_allowed());
  if (r.verb == "get") {
    Response res = co_await rest_.get_any(r, t);
    co_return res;
  }
  if (r.verb == "list") {
    Response res = co_await rest_.list(r, t);
    co_return res;
  }
  if (r.verb == "watch") {
    Response res = co_await rest_.watch(r, t);
    co_return res;
  }
  if (r.verb == "create") {
    Response res = co_await rest_.create(r, t);
    co_return res;
  }
  if (r.verb == "update") {
    Response res = co_await rest_.update(r, t);
    co_return res;
  }
  if (r.verb == "patch") {
    Response res = co_await rest_.patch(r, t);
    co_return res;
  }
  if (r.verb == "delete") {
    Response res = co_await rest_.remove(r, t);
    co_return res;
  }
  if (r.verb == "deletecollection") {
    Response res = co_await rest_.remove_collection(r, t);
    co_return res;
  }
  co_return error_response(status::method_not_allowed());
}

Result<std::string> ApiServer::secret_token(const std::string& ns, const std::string& account, const std::string& account_uid, const std::string& secret) {
  if (!tokens_) return make_error(Code::kUnavailable, "this server issues no tokens");
  return tokens_->secret_token(ns, account, account_uid, secret);
}
std::string ApiServer::token_keys() const { return tokens_ ? json::dump(tokens_->jwks()) : ""; }

Task<Response> ApiServer::serve_subresource(Request& r, ServedTypePtr t) {
  if (!t->subresource(r.subresource)) co_return error_response(status::path_not_found());
  const std::string& s = r.subresource;
  bool plain = s == "status" || s == "approval" || s == "finalize" || s == "ephemeralcontainers" || s == "resize";
  if (plain) {
    if (r.verb == "get") {
      Response res = co_await rest_.get_any(r, t);
      co_return res;
    }
    if (r.verb == "update" && s == "finalize") {
      Response res = co_await finalize_namespace(*this, r, t);
      co_return res;
    }
    if (r.verb == "update") {
      Response res = co_await rest_.update(r, t);
      co_return res;
    }
    if (r.verb == "patch") {
      Response res = co_await rest_.patch(r, t);
      co_return res;
    }
    co_return error_response(status::method_not_allowed());
  }
  Response res = co_await serve_special_subresource(*this, r, t);
  co_return res;
}

Task<Response> ApiServer::serve_path(Request& r) {
  Response res;
  const std::string& p = r.path;
  HealthResults count_check = [this](std::string_view type, const std::string& name, std::string_view status) {
    health_checks_->inc({name, std::string(type), std::string(status)});
    health_now_->set({name, std::string(type)}, status == "success" ? 1 : 0);
  };
  if (std::optional<Response> health = serve_health(r, core_.ready, core_.health, count_check)) co_return std::move(*health);
  if (std::optional<Response> dump = flow_->serve_dump(r)) co_return std::move(*dump);
  if (p == "/metrics/slis") {
    res.content_type = "text/plain; version=0.0.4; charset=utf-8";
    res.body = std::make_shared<const std::string>(slis_.expose());
    co_return res;
  }
  if (p == "/metrics") {
    res.content_type = "text/plain; version=0.0.4; charset=utf-8";
    gather_metrics();
    res.body = std::make_shared<const std::string>(core_.metrics.expose() + resource_objects(core_.types) + process_metrics());
    co_return res;
  }
  if (p == "/.well-known/openid-configuration" && tokens_) co_return json_response(200, tokens_->discovery_document());
  if (p == "/openid/v1/jwks" && tokens_) {
    res = json_response(200, tokens_->jwks());
    res.content_type = "application/jwk-set+json";
    co_return res;
  }
  if (discovery_->serve(r, &res)) co_return res;
  co_return error_response(unknown_path(p));
}

}  // namespace caravel::apiserver
