// `caravel up`: the story from nothing to a platform that serves.
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <set>

#include "aws/http_client.h"
#include "base/scope.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/data_directory.h"
#include "cli/first_nodes.h"
#include "cli/flows.h"
#include "cli/installer.h"
#include "cli/memory.h"
#include "cli/report.h"
#include "kube/conditions.h"
#include "kube/dynamic_informer.h"
#include "kube/kubeconfig.h"
#include "net/process.h"
#include "net/x509.h"
#include "world/launch.h"

namespace caravel::cli {
namespace {

const kube::Resource kNodes{"", "v1", "nodes", "Node", false};
const kube::Resource kPods{"", "v1", "pods", "Pod", true};
const kube::Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease", true};
const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};
const kube::Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};
const kube::Resource kDaemonSets{"apps", "v1", "daemonsets", "DaemonSet", true};
constexpr Duration kStartTimeout = std::chrono::seconds(120);
constexpr Duration kPoll = std::chrono::milliseconds(50);

// Where the parts of a world find each other.
struct Addresses {
  std::string cluster, api_host, aws, acme, git;
};
Addresses addresses(bool hollow) {
  if (hollow) return {"https://127.0.0.1:6443", "127.0.0.1", "http://127.0.0.1:4566", "https://acme.invalid/dir", "http://127.0.0.1:3000/platform.git"};
  return {"https://10.0.11.10:443", "10.0.11.10", "http://10.0.0.4:4566", "https://10.0.0.6:14000/dir", "http://10.0.0.5:3000/platform.git"};
}

struct Options {
  std::string data, program, source, platform;
  int nodes = 3;
  std::string instance_type;
  bool flows = true, hollow = false;
};

int64_t memory_of_world(const std::string& data) {
  int pid = world::running_world(data);
  if (!pid) return 0;
  return world::is_hollow_world(data) ? tree_memory(pid) : world_memory(pid);
}

class Up {
 public:
  Up(net::EventLoop& loop, Options options, Report& report) : loop_(loop), o_(std::move(options)), report_(report), start_(loop.now()), at_(addresses(o_.hollow)) {}
  Task<Result<int>> run();

 private:
  void say(const std::string& what) { report_.step(start_, loop_.now(), what); }
  Task<Status> start_world();
  Task<Status> wait_processes();
  Task<Status> connect();
  Task<Result<std::string>> bootstrap_token();
  Task<Status> launch_nodes();
  Task<Status> install();
  Task<Status> wait_nodes();
  Task<Status> wait_workloads();
  using Flow = Task<FlowResult> (*)(FlowContext&);
  Task<void> drive(FlowContext& c, Flow flow);
  Task<void> drive_flows();

  net::EventLoop& loop_;
  Options o_;
  Report& report_;
  Time start_;
  Addresses at_;
  std::string token_;
  std::optional<Time> started_;  // when this call started the world; absent when it ran already
  kube::ClientConfig config_;
  std::unique_ptr<kube::Transport> transport_;
  std::unique_ptr<kube::Client> client_;
};

Task<Status> Up::start_world() {
  if (world::running_world(o_.data)) {
    if (world::is_hollow_world(o_.data) != o_.hollow)
      co_return make_error(Code::kAlreadyExists, std::string("a ") + (o_.hollow ? "whole" : "hollow") + " world runs on " + o_.data + "; `caravel down` ends it, then this one can start");
    say("a world is running already");
    co_return ok();
  }
  started_ = loop_.now();
  world::WorldOptions w;
  w.data_directory = o_.data;
  w.program = o_.program;
  w.sample_repository = o_.source + "/examples/platform";
  w.hollow = o_.hollow;
  co_return co_await world::start_world(loop_, std::move(w));
}

Task<Status> Up::wait_processes() {
  Time deadline = loop_.now() + kStartTimeout;
  std::set<std::string> told;
  while (true) {
    auto text = net::read_file(o_.data + "/world/status.json");
    auto v = text.ok() ? json::parse(*text) : Result<json::Value>(not_found(""));
    bool all = v.ok();
    std::string waiting;
    if (v.ok())
      for (const auto& m : std::as_const(*v)["processes"].as_object()) {
        bool ready = m.value["ready"].as_bool();
        if (ready && told.insert(m.key).second) say(m.key + " is ready");
        if (!ready) {
          all = false;
          waiting += (waiting.empty() ? "" : ", ") + m.key;
        }
      }
    if (all) co_return ok();
    if (!world::running_world(o_.data)) co_return internal("the world ended; see " + o_.data + "/world/logs/world.log");
    if (loop_.now() > deadline) co_return make_error(Code::kTimeout, "not ready after " + format_duration(kStartTimeout) + ": " + waiting + "; see " + o_.data + "/world/logs/");
    co_await sleep(loop_, kPoll);
  }
}

Task<Status> Up::connect() {
  CO_TRY(config_, kube::load_kubeconfig(o_.data + "/server/kubeconfig"));
  config_.user_agent = "caravel-up";
  CO_TRY(transport_, kube::make_http_transport(loop_, config_));
  client_ = std::make_unique<kube::Client>(*transport_, "caravel");
  Time deadline = loop_.now() + kStartTimeout;
  while (true) {
    auto ready = co_await client_->get_path("/readyz");
    if (ready.ok()) co_return ok();
    if (loop_.now() > deadline) co_return wrap(std::move(ready).error(), "the API server is not ready");
    co_await sleep(loop_, kPoll);
  }
}

// The token with which the nodes ask for their certificates: made once, kept in the cluster.
Task<Result<std::string>> Up::bootstrap_token() {
  auto existing = co_await client_->get(kSecrets, "kube-system", "bootstrap-token-carave");
  auto value = [](const json::Value& s, const char* k) { return base64_decode(s["data"][k].as_string()).value_or(""); };
  if (existing.ok()) co_return value(*existing, "token-id") + "." + value(*existing, "token-secret");
  if (existing.error().code != Code::kNotFound) co_return std::move(existing).error();
  std::string secret = hex_encode(net::random_bytes(8));
  json::Value s = json::Value::object();
  s["apiVersion"] = "v1";
  s["kind"] = "Secret";
  s["type"] = "bootstrap.kubernetes.io/token";
  s["metadata"]["name"] = "bootstrap-token-carave";
  s["metadata"]["namespace"] = "kube-system";
  json::Value& d = s["data"];
  d["token-id"] = base64_encode("carave");
  d["token-secret"] = base64_encode(secret);
  d["usage-bootstrap-authentication"] = base64_encode("true");
  d["usage-bootstrap-signing"] = base64_encode("true");
  d["auth-extra-groups"] = base64_encode("system:bootstrappers:caravel");
  auto made = co_await client_->create(kSecrets, "kube-system", std::move(s));
  if (!made.ok()) co_return std::move(made).error();
  co_return "carave." + secret;
}

Task<Status> Up::launch_nodes() {
  NodeGroup g;
  g.size = o_.nodes;
  g.instance_type = o_.instance_type;
  g.cluster_endpoint = at_.cluster;
  g.cluster_ca = config_.ca;
  CO_TRY(token_, co_await bootstrap_token());
  g.bootstrap_token = token_;
  aws::ClientOptions a;
  a.region = "us-east-1";
  a.endpoint = "http://127.0.0.1:4566";
  a.credentials.access_key = "test";
  a.credentials.secret_key = "test";
  a.use_imds = false;
  auto aws = aws::make_http_client(loop_, a);
  CO_TRY(int launched, co_await ensure_nodes(*aws, g));
  if (launched) say("launched " + std::to_string(launched) + " EC2 instances of type " + g.instance_type);
  co_return ok();
}

Task<Status> Up::install() {
  auto ca = net::read_file(o_.data + "/world/pebble/ca.pem");
  std::map<std::string, std::string> values = {
      {"CLUSTER_NAME", "caravel"},
      {"CLUSTER_ENDPOINT", at_.cluster},
      {"API_HOST", at_.api_host},
      {"AWS_ENDPOINT", at_.aws},
      {"ACME_SERVER", at_.acme},
      {"ACME_CA", ca.ok() ? base64_encode(*ca) : ""},
      {"BOOTSTRAP_TOKEN", token_},
      {"GIT_URL", at_.git},
  };
  Installer installer(loop_, *client_, values, [this](std::string what) { say(what); });
  CO_TRY_VOID(co_await installer.install_definitions());
  say("custom resource definitions are established");
  co_return co_await installer.install_directory(o_.platform);
}

// True for a pod whose status still tells of containers that an earlier run of the world had.
bool left_from_before(const json::Value& pod, Time started) {
  for (const json::Value& c : pod["status"]["containerStatuses"].as_array()) {
    auto since = parse_rfc3339(c["state"]["running"]["startedAt"].as_string());
    if (since.ok() && since->seconds() < started.seconds()) return true;
  }
  return false;
}

Task<Status> Up::wait_nodes() {
  Time deadline = loop_.now() + kStartTimeout;
  std::set<std::string> told;
  std::string why;
  kube::ListOptions in_node_leases;
  in_node_leases.ns = "kube-node-lease";
  while (true) {
    auto nodes = co_await client_->list(kNodes);
    auto leases = co_await client_->list(kLeases, in_node_leases);
    std::set<std::string> alive;
    if (leases.ok())
      for (const json::Value& l : leases->items) {
        auto renewed = parse_rfc3339(l["spec"]["renewTime"].as_string());
        if (started_ && renewed.ok() && *renewed > *started_) alive.insert(kube::name_of(l));
      }
    int ready = 0;
    if (nodes.ok()) {
      for (const json::Value& n : nodes->items) {
        if (!kube::condition_is(n["status"]["conditions"], "Ready", "True")) continue;
        if (started_ && !alive.count(kube::name_of(n))) continue;  // what an earlier run left
        ++ready;
        if (told.insert(kube::name_of(n)).second) say("node " + kube::name_of(n) + " (" + kube::label(n, "topology.kubernetes.io/zone") + ") is Ready");
      }
    } else {
      why = "; " + nodes.error().message;
    }
    if (ready >= o_.nodes) co_return ok();
    if (loop_.now() > deadline) co_return make_error(Code::kTimeout, std::to_string(ready) + " of " + std::to_string(o_.nodes) + " nodes are Ready" + why + (o_.hollow ? "; see " + o_.data + "/world/logs/hollow-nodes.log" : "; the instances' consoles are in " + o_.data + "/machines/*/console.log"));
    co_await sleep(loop_, kPoll);
  }
}

Task<Status> Up::wait_workloads() {
  static const std::set<std::string> kPlatform = {"kube-system", "ingress-nginx", "cert-manager", "argocd", "karpenter"};
  Time deadline = loop_.now() + kStartTimeout;
  std::set<std::string> told;
  while (true) {
    std::string waiting;
    auto look = [&](const json::Value& w, int64_t want, int64_t have, const char* kind) {
      if (!kPlatform.count(kube::namespace_of(w))) return;
      std::string name = kube::namespace_of(w) + "/" + kube::name_of(w);
      if (have >= want && want > 0) {
        if (told.insert(std::string(kind) + name).second) say(std::string(kind) + " " + name + " is ready (" + std::to_string(have) + ")");
      } else {
        waiting += (waiting.empty() ? "" : ", ") + name + " " + std::to_string(have) + "/" + std::to_string(want);
      }
    };
    auto pods = co_await client_->list(kPods);
    if (started_ && !o_.hollow && pods.ok())
      for (const json::Value& p : pods->items)
        if (left_from_before(p, *started_)) waiting += (waiting.empty() ? "" : ", ") + kube::namespace_of(p) + "/" + kube::name_of(p) + " (not yet restarted)";
    auto deployments = co_await client_->list(kDeployments);
    auto daemon_sets = co_await client_->list(kDaemonSets);
    if (deployments.ok() && daemon_sets.ok() && pods.ok()) {
      for (const json::Value& d : deployments->items) look(d, d["spec"]["replicas"].as_int(1), d["status"]["readyReplicas"].as_int(), "Deployment");
      for (const json::Value& d : daemon_sets->items) look(d, d["status"]["desiredNumberScheduled"].as_int(), d["status"]["numberReady"].as_int(), "DaemonSet");
      if (waiting.empty()) co_return ok();
    }
    if (loop_.now() > deadline) co_return make_error(Code::kTimeout, "workloads are not ready: " + waiting + "; `kubectl describe pods -A` tells why");
    co_await sleep(loop_, kPoll);
  }
}

Task<void> Up::drive(FlowContext& c, Flow flow) {
  FlowResult r = co_await flow(c);
  report_.flow(r);
}

Task<void> Up::drive_flows() {
  FlowContext c{loop_, *client_, o_.data + "/up", "http://127.0.0.1:3000/platform.git", "127.0.0.1:8080", "127.0.0.1:8443", o_.hollow};
  auto made = net::make_directories(c.work_directory, 0700);
  (void)made;
  for (Flow f : {&deployment_flow, &traffic_flow}) co_await drive(c, f);
  // The two that wait most of their time wait together.
  TaskScope beside;
  beside.spawn(drive(c, &scaling_flow));
  co_await drive(c, &certificate_flow);
  while (beside.running()) co_await sleep(loop_, kPoll);
}

Task<Result<int>> Up::run() {
  CO_TRY_VOID(co_await start_world());
  CO_TRY_VOID(co_await wait_processes());
  CO_TRY_VOID(co_await connect());
  say("the API server answers at " + config_.server);
  CO_TRY_VOID(co_await launch_nodes());
  CO_TRY_VOID(co_await install());
  CO_TRY_VOID(co_await wait_nodes());
  CO_TRY_VOID(co_await wait_workloads());
  if (o_.flows) co_await drive_flows();
  json::Value& extra = report_.extra();
  extra["urls"]["kubernetes"] = "https://127.0.0.1:6443";
  extra["urls"]["aws"] = "http://127.0.0.1:4566";
  if (!o_.hollow) extra["urls"]["application"] = "http://demo.localhost:8080/ and https://demo.localhost:8443/";
  extra["urls"]["git"] = "http://127.0.0.1:3000/platform.git";
  extra["kubeconfig"] = o_.data + "/server/kubeconfig";
  double seconds = static_cast<double>((loop_.now() - start_).count()) / 1e9;
  co_return report_.finish(seconds, memory_of_world(o_.data));
}

std::string self() {
  char buf[4096];
  ssize_t n = readlink("/proc/self/exe", buf, sizeof buf);
  return n > 0 ? std::string(buf, static_cast<size_t>(n)) : "caravel";
}

// The checkout that this binary was built in: the folder above build/ that has platform/.
std::string find_source(const std::string& program) {
  std::string dir = program;
  while (dir.size() > 1) {
    dir = dir.substr(0, dir.rfind('/'));
    if (net::path_exists(dir + "/platform") && net::path_exists(dir + "/examples/platform")) return dir;
  }
  return "";
}

Result<int> bring_up(const Flags& flags, Report& report) {
  net::EventLoop loop;
  Options o;
  o.data = flags.get("data-dir");
  o.program = self();
  o.source = find_source(o.program);
  o.platform = flags.given("platform") ? flags.get("platform") : o.source + "/platform";
  TRY(int64_t nodes, flags.get_int("nodes"));
  o.nodes = static_cast<int>(nodes);
  o.instance_type = flags.get("instance-type");
  o.flows = !flags.on("no-flows");
  if (o.source.empty()) return invalid("cannot find platform/ and examples/platform/ above " + o.program + "; run the binary inside its checkout, or give --platform DIR");
  o.hollow = flags.on("hollow");
  auto missing = world::missing_requirements(o.program, o.hollow);
  if (!missing.empty()) {
    std::string all;
    for (auto& m : missing) all += "\n  - " + m;
    return make_error(Code::kUnsupported, "this machine cannot run a world:" + all);
  }
  Up story(loop, o, report);
  return net::run_on(loop, story.run());
}

Result<int> up(const Flags& flags) {
  if (!flags.get("output").empty() && flags.get("output") != "json") return invalid("-o takes json, not " + flags.get("output"));
  Report report(flags.get("output") == "json");
  auto code = bring_up(flags, report);
  if (!code.ok()) report.fail(code.error().message);
  return code;
}

Result<int> down(const Flags& flags) {
  net::EventLoop loop;
  bool ran = world::running_world(flags.get("data-dir")) != 0;
  TRY_VOID(net::run_on(loop, world::end_world(loop, flags.get("data-dir"))));
  std::puts(ran ? "stopped; data stays in the data directory" : "nothing was running");
  return 0;
}

Result<int> status(const Flags& flags) {
  std::string data = flags.get("data-dir");
  int pid = world::running_world(data);
  auto text = net::read_file(data + "/world/status.json");
  json::Value v = json::Value::object();
  if (pid && text.ok()) {
    TRY(v, json::parse(*text));
  }
  v["running"] = pid != 0;
  v["memoryBytes"] = memory_of_world(data);
  if (pid) v["hollow"] = world::is_hollow_world(data);
  v["kubeconfig"] = data + "/server/kubeconfig";
  if (flags.get("output") == "json") {
    std::puts(json::dump_pretty(v).c_str());
    return pid ? 0 : 3;
  }
  if (!pid) {
    std::puts("not running; `caravel up` starts it");
    return 3;
  }
  std::printf("running, memory %.0f MB\n", static_cast<double>(v["memoryBytes"].as_int()) / 1e6);
  for (const auto& m : std::as_const(v)["processes"].as_object())
    std::printf("  %-12s %-10s restarts %lld\n", m.key.str().c_str(), m.value["ready"].as_bool() ? "ready" : "not ready", static_cast<long long>(m.value["restarts"].as_int()));
  return 0;
}

const Flag kData{"data-dir", "DIR", "everything that is kept", default_data_directory()};
const Flag kOutput{"output", "json", "-o json: one document instead of lines", ""};

}  // namespace

const Command kUpCommand = {
    "up",
    "bring the whole platform up on this machine and drive its four flows",
    "caravel up                 start (or look after) the platform in /var/lib/caravel\ncaravel up -o json         the same, for scripts\ncaravel up --hollow        without root: control plane, GitOps and scaling flows with simulated nodes\n",
    {kData, kOutput, {"nodes", "N", "instances of the system node group", "3"}, {"instance-type", "TYPE", "their EC2 instance type, for those that are launched", "t3.medium"}, {"platform", "DIR", "manifests to install instead of platform/"}, {"no-flows", "", "only bring it up"}, {"hollow", "", "simulated nodes, no containers and no packets: needs no root"}},
    up,
    false,
};
const Command kDownCommand = {"down", "stop the platform; data stays", "caravel down\n", {kData}, down, false};
const Command kStatusCommand = {"status", "what runs, and how much memory it takes", "caravel status [-o json]\n", {kData, kOutput}, status, false};

}  // namespace caravel::cli
