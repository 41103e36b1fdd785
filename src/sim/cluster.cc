#include "sim/cluster.h"

#include <algorithm>

#include "base/log.h"
#include "base/yaml.h"
#include "controllers/controllers.h"
#include "kube/kinds.h"
#include "kube/types/core.h"

namespace caravel::sim {

Cluster::Cluster(uint64_t seed, ClusterOptions options) : ex_(seed), options_(std::move(options)), trace_(ex_, options_.trace), loads_(ex_), store_(store::make_memory_store(ex_)) {}

Cluster::~Cluster() {
  for (auto& c : components())
    if (c != "apiserver") crash(c);
  crash("scheduler-b");
  crash("apiserver");
}

std::vector<std::string> Cluster::components() const {
  std::vector<std::string> out = {"apiserver", "controllers", "scheduler", "hollow"};
  if (options_.elected) out.push_back("controllers-b");
  return out;
}

Executor& Cluster::clock_of(const std::string& component) {
  auto& c = clocks_[component];
  if (!c) c = std::make_unique<SkewedExecutor>(ex_);
  return *c;
}

void Cluster::jump_clock(const std::string& component, Duration by) {
  clock_of(component);
  SkewedExecutor& c = *clocks_[component];
  if (by == Duration(0)) c.set_right();
  else c.jump(by);
  trace_.note("sim", "the clock of " + component + " is off by " + format_duration(c.skew()));
}

void Cluster::fail_node(const std::string& name) {
  if (!hollow_ || !failed_nodes_.insert(name).second) return;
  hollow_->fail(name);
  trace_.note("sim", "node " + name + " falls silent");
}

void Cluster::recover_node(const std::string& name) {
  if (failed_nodes_.erase(name) == 0 || !hollow_) return;
  hollow_->recover(name);
  trace_.note("sim", "node " + name + " is back");
}

void Cluster::connect(const std::string& who) {
  apiserver::User user;
  user.name = who == "admin" ? who : "system:" + who;
  user.groups = {"system:masters", "system:authenticated"};
  doors_.find(who)->second->connect(process_, server_ ? loads_.serve(server_->transport(user)) : nullptr);
}

kube::Transport& Cluster::transport(std::string_view who) {
  auto it = doors_.find(who);
  if (it == doors_.end()) {
    std::string name(who);
    it = doors_.emplace(name, std::make_unique<FaultTransport>(ex_, name, name == "admin" ? none_ : faults_, trace_)).first;
    connect(name);
  }
  return *it->second;
}

bool Cluster::start_server() {
  auto started = run_task(ex_, apiserver::ApiServer::start(clock_of("apiserver"), *store_, apiserver::ApiServerOptions()));
  if (!started.ok()) {
    Log("sim").error("the API server does not start", {{"error", started.error().message}});
    return false;
  }
  server_ = std::move(*started);
  process_ = std::make_shared<ServerProcess>();
  for (auto& [who, door] : doors_) connect(who);
  return true;
}

bool Cluster::start() {
  if (!start_server()) return false;
  for (auto& c : components()) revive(c);
  return true;
}

void Cluster::crash(const std::string& component) {
  if (component == "apiserver") {
    if (!server_) return;
    trace_.note("sim", "crash apiserver");
    process_->die();
    for (auto& [who, door] : doors_) door->connect(process_, nullptr);
    server_.reset();
    return;
  }
  if (scopes_.erase(component) == 0) return;
  schedulers_.erase(component);
  if (component == "hollow") {
    hollow_.reset();
    failed_nodes_.clear();
  }
  if (server_) trace_.note("sim", "crash " + component);
}

void Cluster::start_controllers(Executor& ex, TaskScope& scope) {
  controllers::Options o;
  o.root_ca = "-----BEGIN CERTIFICATE-----\nsimulated\n-----END CERTIFICATE-----\n";
  controllers::start_all(
      ex, [this](std::string_view who) -> kube::Transport& { return transport(who); }, std::move(o), scope);
}

Task<void> Cluster::lead(Executor* ex, kube::LeaderElectionOptions options) {
  const std::string who = options.identity;
  std::function<Task<void>(StopToken)> run = [this, ex, who](StopToken lost) { return run_as_leader(ex, who, std::move(lost)); };
  kube::Client client(transport(who), who);
  StopToken never;
  co_await kube::run_with_leader_election(*ex, client, std::move(options), never, std::move(run));
}

Task<void> Cluster::run_as_leader(Executor* ex, std::string who, StopToken lost) {
  struct Count {
    Cluster* c;
    explicit Count(Cluster* cluster) : c(cluster) { c->leaders_max_ = std::max(c->leaders_max_, ++c->leaders_); }
    ~Count() { --c->leaders_; }
  };
  Count count(this);
  trace_.note(who, "leads");
  TaskScope scope;
  start_controllers(*ex, scope);
  co_await lost.wait(*ex);
  trace_.note(who, "leads no more");
}

void Cluster::revive(const std::string& component) {
  if (component == "apiserver") {
    if (server_) return;
    trace_.note("sim", "start apiserver");
    start_server();
    return;
  }
  if (scopes_.count(component)) return;
  trace_.note("sim", "start " + component);
  Executor& ex = clock_of(component);
  auto& scope = scopes_[component] = std::make_unique<TaskScope>();
  if (component == "controllers" && !options_.elected) {
    start_controllers(ex, *scope);
  } else if (component.starts_with("controllers")) {
    kube::LeaderElectionOptions o;
    o.ns = "kube-system";
    o.name = "kube-controller-manager";
    o.identity = component;
    scope->spawn(lead(&ex, std::move(o)));
  } else if (component.starts_with("scheduler")) {
    auto& scheduler = schedulers_[component] = std::make_unique<scheduler::Scheduler>(ex, kube::Client(transport("kube-scheduler"), "kube-scheduler"));
    scheduler->start(*scope);
  } else {
    hollow_ = std::make_unique<hollow::HollowNodes>(ex, kube::Client(transport("hollow"), "hollow"), options_.hollow);
    auto list = options_.node_list.empty() ? hollow::uniform_nodes(options_.nodes, options_.zones) : options_.node_list;
    for (auto& n : list) hollow_->add(n);
  }
}

kube::Client Cluster::admin() { return kube::Client(transport("admin"), "admin"); }

Status Cluster::apply(const std::string& yaml) {
  TRY(auto documents, yaml::parse_all(yaml));
  for (auto& d : documents) {
    const json::Value& v = d;
    auto gv = kube::parse_group_version(v["apiVersion"].as_string());
    const kube::KindInfo* kind = kube::find_kind(gv.group, gv.version, v["kind"].as_string());
    if (!kind) return invalid("no kind " + v["kind"].as_string());
    std::string ns = v["metadata"]["namespace"].as_string(), name = v["metadata"]["name"].as_string();
    if (ns.empty() && kind->resource().namespaced) ns = "default";
    kube::Client c = admin();
    auto r = run_task(ex_, c.create(kind->resource(), ns, d));
    if (!r.ok() && r.error().code == Code::kAlreadyExists) r = run_task(ex_, c.patch(kind->resource(), ns, name, kube::PatchType::kMerge, d));
    if (!r.ok()) return wrap(std::move(r).error(), "applying " + name);
  }
  return ok();
}

std::vector<json::Value> Cluster::list(const kube::Resource& r, const std::string& ns) {
  kube::ListOptions o;
  o.ns = ns;
  kube::Client c = admin();
  auto l = run_task(ex_, c.list(r, o));
  return l.ok() ? std::move(l->items) : std::vector<json::Value>();
}

Result<json::Value> Cluster::get(const kube::Resource& r, const std::string& ns, const std::string& name) {
  kube::Client c = admin();
  return run_task(ex_, c.get(r, ns, name));
}

Status Cluster::patch(const kube::Resource& r, const std::string& ns, const std::string& name, json::Value merge) {
  kube::Client c = admin();
  auto p = run_task(ex_, c.patch(r, ns, name, kube::PatchType::kMerge, std::move(merge)));
  if (!p.ok()) return std::move(p).error();
  return ok();
}

Status Cluster::evict(const std::string& ns, const std::string& pod) {
  json::Value e;
  e["apiVersion"] = "policy/v1";
  e["kind"] = "Eviction";
  e["metadata"]["name"] = pod;
  e["metadata"]["namespace"] = ns;
  kube::Client c = admin();
  auto r = run_task(ex_, c.create_subresource(kube::core::Pod::resource(), ns, pod, "eviction", std::move(e)));
  if (!r.ok()) return std::move(r).error();
  return ok();
}

Status Cluster::remove(const kube::Resource& r, const std::string& ns, const std::string& name, const std::string& propagation) {
  kube::DeleteOptions o;
  o.propagation_policy = propagation;
  kube::Client c = admin();
  auto p = run_task(ex_, c.remove(r, ns, name, o));
  if (!p.ok()) return std::move(p).error();
  return ok();
}

}  // namespace caravel::sim
