#include "sim/cluster.h"

#include "base/yaml.h"
#include "controllers/controllers.h"
#include "kube/kinds.h"

namespace caravel::sim {

Cluster::Cluster(uint64_t seed, ClusterOptions options) : ex_(seed), options_(std::move(options)), trace_(ex_), store_(store::make_memory_store(ex_)) {}

Cluster::~Cluster() {
  for (auto& c : components()) crash(c);
}

kube::Transport& Cluster::transport(std::string_view who) {
  auto it = doors_.find(who);
  if (it == doors_.end()) {
    apiserver::User user;
    user.name = "system:" + std::string(who);
    user.groups = {"system:masters", "system:authenticated"};
    Door d;
    d.direct = server_->transport(user);
    d.faulty = std::make_unique<FaultTransport>(ex_, std::string(who), *d.direct, faults_, trace_);
    it = doors_.emplace(std::string(who), std::move(d)).first;
  }
  return *it->second.faulty;
}

bool Cluster::start() {
  auto started = run_task(ex_, apiserver::ApiServer::start(ex_, *store_, apiserver::ApiServerOptions()));
  if (!started.ok()) {
    Log("sim").error("the API server does not start", {{"error", started.error().message}});
    return false;
  }
  server_ = std::move(*started);
  apiserver::User admin;
  admin.name = "admin";
  admin.groups = {"system:masters", "system:authenticated"};
  admin_ = server_->transport(admin);
  for (auto& c : components()) revive(c);
  return true;
}

void Cluster::crash(const std::string& component) {
  scopes_.erase(component);
  if (component == "scheduler") scheduler_.reset();
  if (component == "hollow") hollow_.reset();
  if (server_) trace_.note("sim", "crash " + component);
}

void Cluster::revive(const std::string& component) {
  if (scopes_.count(component)) return;
  trace_.note("sim", "start " + component);
  auto& scope = scopes_[component] = std::make_unique<TaskScope>();
  if (component == "controllers") {
    controllers::Options o;
    o.root_ca = "-----BEGIN CERTIFICATE-----\nsimulated\n-----END CERTIFICATE-----\n";
    controllers::start_all(ex_, [this](std::string_view who) -> kube::Transport& { return transport(who); }, std::move(o), *scope);
  } else if (component == "scheduler") {
    scheduler_ = std::make_unique<scheduler::Scheduler>(ex_, kube::Client(transport("kube-scheduler"), "kube-scheduler"));
    scheduler_->start(*scope);
  } else {
    hollow_ = std::make_unique<hollow::HollowNodes>(ex_, kube::Client(transport("hollow"), "hollow"), options_.hollow);
    auto list = options_.node_list.empty() ? hollow::uniform_nodes(options_.nodes, options_.zones) : options_.node_list;
    for (auto& n : list) hollow_->add(n);
  }
}

kube::Client Cluster::admin() { return kube::Client(*admin_, "admin"); }

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

Status Cluster::remove(const kube::Resource& r, const std::string& ns, const std::string& name, const std::string& propagation) {
  kube::DeleteOptions o;
  o.propagation_policy = propagation;
  kube::Client c = admin();
  auto p = run_task(ex_, c.remove(r, ns, name, o));
  if (!p.ok()) return std::move(p).error();
  return ok();
}

}  // namespace caravel::sim
