#include "cli/flows.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/conditions.h"
#include "kube/dynamic_informer.h"
#include "kube/quantity.h"
#include "net/process.h"

namespace caravel::cli {
namespace {

const kube::Resource kApplications{"argoproj.io", "v1alpha1", "applications", "Application", true};
const kube::Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};
const kube::Resource kPods{"", "v1", "pods", "Pod", true};
const kube::Resource kNodes{"", "v1", "nodes", "Node", false};
const kube::Resource kNodeClaims{"karpenter.sh", "v1", "nodeclaims", "NodeClaim", false};
const kube::Resource kCertificates{"cert-manager.io", "v1", "certificates", "Certificate", true};
const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};
constexpr Duration kFlowTimeout = std::chrono::seconds(120);
constexpr Duration kPoll = std::chrono::milliseconds(100);

// A list of words, made outside the coroutines: GCC 12 cannot keep initializer lists in their frames.
template <class... T>
std::vector<std::string> words(T... parts) {
  std::vector<std::string> out;
  (out.push_back(std::string(parts)), ...);
  return out;
}

struct Stopwatch {
  net::EventLoop& loop;
  Time start;
  explicit Stopwatch(net::EventLoop& l) : loop(l), start(l.now()) {}
  double seconds() const { return static_cast<double>((loop.now() - start).count()) / 1e9; }
  bool over() const { return loop.now() - start > kFlowTimeout; }
};

FlowResult done(std::string name, const Stopwatch& w, std::string detail) { return {std::move(name), true, false, w.seconds(), std::move(detail)}; }
FlowResult skipped(std::string name, std::string why) { return {std::move(name), false, true, 0, std::move(why)}; }

constexpr int64_t kBurstMilliCpu = 1500;

// What the scaling flow scales: each pod answers HTTP (its readiness is that answer) and asks for most of a small node.
json::Value burst_deployment() {
  json::Value d = json::Value::object();
  d["apiVersion"] = "apps/v1";
  d["kind"] = "Deployment";
  d["metadata"]["name"] = "burst";
  d["metadata"]["namespace"] = "default";
  d["spec"]["replicas"] = 1;
  d["spec"]["selector"]["matchLabels"]["app"] = "burst";
  json::Value& t = d["spec"]["template"];
  t["metadata"]["labels"]["app"] = "burst";
  json::Value container = json::Value::object();
  container["name"] = "burst";
  container["image"] = "caravel.local/busybox:latest";
  container["imagePullPolicy"] = "IfNotPresent";
  container["command"] = json::Value::array({"httpd", "-f", "-p", "8080", "-h", "/etc"});
  container["readinessProbe"]["httpGet"]["path"] = "/hostname";
  container["readinessProbe"]["httpGet"]["port"] = 8080;
  container["readinessProbe"]["periodSeconds"] = 1;
  container["resources"]["requests"]["cpu"] = std::to_string(kBurstMilliCpu) + "m";
  container["resources"]["requests"]["memory"] = "256Mi";
  t["spec"]["containers"].push_back(std::move(container));
  t["spec"]["terminationGracePeriodSeconds"] = 0;
  return d;
}

// How many more of those pods the nodes can take, going by CPU requests.
int64_t burst_room(const std::vector<json::Value>& nodes, const std::vector<json::Value>& pods) {
  int64_t room = 0;
  for (const json::Value& node : nodes) {
    int64_t free = kube::Quantity::of(node["status"]["allocatable"]["cpu"].as_string()).milli_value();
    for (const json::Value& pod : pods)
      if (pod["spec"]["nodeName"].as_string() == kube::name_of(node))
        for (const json::Value& c : pod["spec"]["containers"].as_array())
          free -= kube::Quantity::of(c["resources"]["requests"]["cpu"].as_string()).milli_value();
    if (free > 0) room += free / kBurstMilliCpu;
  }
  return room;
}

FlowResult failed(std::string name, const Stopwatch& w, std::string why) { return {std::move(name), false, false, w.seconds(), std::move(why)}; }

Task<Result<std::string>> run(net::EventLoop& loop, std::vector<std::string> argv, std::string directory = "") {
  net::ProcessOptions o;
  std::string text = join(argv, " ");
  o.argv = std::move(argv);
  o.directory = std::move(directory);
  auto r = co_await net::run_process(loop, std::move(o), "", 60s);
  if (!r.ok()) co_return std::move(r).error();
  if (r->exit.code != 0) co_return internal("`" + text + "` failed (" + std::to_string(r->exit.code) + "): " + std::string(trim(r->err)));
  co_return r->out;
}

Task<Result<std::string>> fetch(FlowContext& c, std::vector<std::string> extra) {
  std::vector<std::string> argv = words("curl", "-sS", "--fail", "-m", "5");
  argv.insert(argv.end(), extra.begin(), extra.end());
  co_return co_await run(c.loop, std::move(argv));
}

std::string port_of(const std::string& address) { return address.substr(address.rfind(':') + 1); }

}  // namespace

Task<FlowResult> deployment_flow(FlowContext& c) {
  const std::string name = "deployment";
  Stopwatch watch(c.loop);
  std::string dir = c.work_directory + "/clone";
  auto cleared = net::remove_tree(dir);
  (void)cleared;
  std::vector<std::string> argv1 = words("git", "clone", "-q", c.git_url, dir);
  auto cloned = co_await run(c.loop, argv1);
  if (!cloned.ok()) co_return failed(name, watch, cloned.error().message);
  std::string page = dir + "/demo/page.yaml", stamp = std::to_string(c.loop.now().millis());
  auto text = net::read_file(page);
  if (!text.ok()) co_return failed(name, watch, text.error().message);
  size_t at = text->find("<p>version ");
  if (at == std::string::npos) co_return failed(name, watch, "the sample page has no line \"<p>version ...\" to change");
  text->replace(at, text->find("</p>", at) - at, "<p>version " + stamp);
  auto written = net::write_file_atomic(page, *text);
  if (!written.ok()) co_return failed(name, watch, written.error().message);
  std::vector<std::string> argv2 = words("git", "-c", "user.name=Caravel", "-c", "user.email=up@caravel.internal", "commit", "-qam", "Page version " + stamp);
  auto committed = co_await run(c.loop, argv2, dir);
  if (!committed.ok()) co_return failed(name, watch, committed.error().message);
  std::vector<std::string> argv3 = words("git", "push", "-q", "origin", "HEAD:main");
  auto pushed = co_await run(c.loop, argv3, dir);
  if (!pushed.ok()) co_return failed(name, watch, pushed.error().message);
  std::vector<std::string> argv4 = words("git", "rev-parse", "HEAD");
  auto sha = co_await run(c.loop, argv4, dir);
  if (!sha.ok()) co_return failed(name, watch, sha.error().message);
  std::string revision(trim(*sha)), seen;
  while (!watch.over()) {
    auto app = co_await c.client.get(kApplications, "argocd", "demo");
    if (app.ok()) {
      const json::Value& s = std::as_const(*app)["status"];
      seen = "sync " + s["sync"]["status"].as_string() + " at " + s["sync"]["revision"].as_string().substr(0, 7) + ", health " + s["health"]["status"].as_string();
      bool health = s["health"]["status"].as_string() == "Healthy" || s["health"]["status"].as_string() == "Progressing";
      if (s["sync"]["status"].as_string() == "Synced" && s["sync"]["revision"].as_string() == revision && health && s["operationState"]["phase"].as_string() == "Succeeded") {
        auto deployment = co_await c.client.get(kDeployments, "demo", "web");
        if (deployment.ok() && std::as_const(*deployment)["status"]["readyReplicas"].as_int() >= 3)
          co_return done(name, watch, "pushed " + revision.substr(0, 7) + " to " + c.git_url + "; Argo CD: " + seen + "; 3 pods ready");
        if (deployment.ok()) seen += "; " + std::to_string(std::as_const(*deployment)["status"]["readyReplicas"].as_int()) + " of 3 pods ready";
      }
    } else {
      seen = app.error().message;
    }
    co_await sleep(c.loop, kPoll);
  }
  co_return failed(name, watch, "the push of " + revision.substr(0, 7) + " was not deployed: " + seen);
}

Task<FlowResult> traffic_flow(FlowContext& c) {
  const std::string name = "traffic";
  Stopwatch watch(c.loop);
  if (c.hollow) co_return skipped(name, "simulated nodes carry no packets; run without --hollow");
  std::string url = "http://demo.localhost:" + port_of(c.http) + "/", last;
  std::vector<std::string> resolve = words("--resolve", "demo.localhost:" + port_of(c.http) + ":127.0.0.1", url);
  bool answered = false;
  while (!watch.over() && !answered) {
    auto body = co_await fetch(c, resolve);
    answered = body.ok() && body->find("Hello from Caravel") != std::string::npos;
    last = body.ok() ? "an unexpected page" : body.error().message;
    if (!answered) co_await sleep(c.loop, kPoll);
  }
  if (!answered) co_return failed(name, watch, url + " does not answer: " + last);
  // Under load, one pod goes.
  kube::ListOptions of_web;
  of_web.ns = "demo";
  of_web.label_selector = "app=web";
  auto pods = co_await c.client.list(kPods, of_web);
  if (!pods.ok() || pods->items.empty()) co_return failed(name, watch, "no pods of the application");
  std::set<std::string> zones;
  for (const json::Value& p : pods->items) {
    auto node = co_await c.client.get(kNodes, "", p["spec"]["nodeName"].as_string());
    if (node.ok()) zones.insert(kube::label(*node, "topology.kubernetes.io/zone"));
  }
  std::string victim = kube::name_of(pods->items[0]);
  int good = 0, bad = 0;
  std::string why;
  for (int i = 0; i < 60; ++i) {
    if (i == 10) {
      auto removed = co_await c.client.remove(kPods, "demo", victim);
      if (!removed.ok()) co_return failed(name, watch, removed.error().message);
    }
    auto body = co_await fetch(c, resolve);
    if (body.ok()) ++good;
    else ++bad, why = body.error().message;
  }
  std::string detail = std::to_string(good) + " of " + std::to_string(good + bad) + " requests answered through load balancer, nginx and pods in " + std::to_string(zones.size()) + " zones while " + victim + " was deleted";
  if (bad) co_return failed(name, watch, detail + "; " + why);
  co_return done(name, watch, detail);
}

Task<FlowResult> scaling_flow(FlowContext& c) {
  const std::string name = "scaling";
  Stopwatch watch(c.loop);
  auto dropped = co_await c.client.remove(kDeployments, "default", "burst");
  (void)dropped;
  Result<json::Value> made = json::Value();
  while (!watch.over()) {
    made = co_await c.client.create(kDeployments, "default", burst_deployment());
    if (made.ok() || made.error().code != Code::kAlreadyExists) break;
    co_await sleep(c.loop, kPoll);
  }
  if (!made.ok()) co_return failed(name, watch, made.error().message);
  // Scaled to one more than the nodes can take.
  auto nodes_before = co_await c.client.list(kNodes);
  if (!nodes_before.ok()) co_return failed(name, watch, nodes_before.error().message);
  auto all_pods = co_await c.client.list(kPods);
  if (!all_pods.ok()) co_return failed(name, watch, all_pods.error().message);
  std::erase_if(all_pods->items, [](const json::Value& p) { return kube::label(p, "app") == "burst"; });
  const int64_t replicas = burst_room(nodes_before->items, all_pods->items) + 1;
  json::Value scale = json::Value::object();
  scale["spec"]["replicas"] = replicas;
  kube::WriteOptions of_scale;
  of_scale.subresource = "scale";
  auto scaled = co_await c.client.patch(kDeployments, "default", "burst", kube::PatchType::kMerge, scale, of_scale);
  if (!scaled.ok()) co_return failed(name, watch, "scaling the Deployment: " + scaled.error().message);
  std::string pending, claim, type, node, seen = "no pods yet";
  bool running = false;
  kube::ListOptions of_burst;
  of_burst.ns = "default";
  of_burst.label_selector = "app=burst";
  while (!watch.over() && !running) {
    auto pods = co_await c.client.list(kPods, of_burst);
    size_t ready = 0;
    if (pods.ok())
      for (const json::Value& p : pods->items) {
        if (kube::condition_is(p["status"]["conditions"], "Ready", "True")) ++ready;
        auto* scheduled = kube::find_condition(p["status"]["conditions"], "PodScheduled");
        if (scheduled && (*scheduled)["status"].as_string() == "False" && pending.empty()) pending = (*scheduled)["message"].as_string();
      }
    auto claims = co_await c.client.list(kNodeClaims);
    if (claims.ok())
      for (const json::Value& k : claims->items) {
        claim = kube::name_of(k);
        type = kube::label(k, "node.kubernetes.io/instance-type");
        if (!k["status"]["nodeName"].as_string().empty()) node = k["status"]["nodeName"].as_string();
      }
    seen = std::to_string(ready) + " of " + std::to_string(replicas) + " pods ready; claim " + (claim.empty() ? "none" : claim) + (node.empty() ? "" : ", node " + node);
    running = pods.ok() && ready == static_cast<size_t>(replicas) && !node.empty();
    if (!running) co_await sleep(c.loop, kPoll);
  }
  if (!running) co_return failed(name, watch, seen + (pending.empty() ? "" : "; " + pending));
  double up = watch.seconds();
  auto removed = co_await c.client.remove(kDeployments, "default", "burst");
  if (!removed.ok()) co_return failed(name, watch, removed.error().message);
  bool gone = false;
  while (!watch.over() && !gone) {
    auto claims = co_await c.client.list(kNodeClaims);
    auto left = co_await c.client.get(kNodes, "", node);
    gone = claims.ok() && claims->items.empty() && !left.ok() && left.error().code == Code::kNotFound;
    if (!gone) co_await sleep(c.loop, kPoll);
  }
  std::string detail = std::to_string(replicas) + " replicas did not fit" + (pending.empty() ? "" : " (" + pending + ")") + "; Karpenter brought " + type + " " + node + " in " + format("%.1f", up) + " s";
  if (!gone) co_return failed(name, watch, detail + ", but the empty node was not removed");
  co_return done(name, watch, detail + "; scaled back, it was terminated " + format("%.1f", watch.seconds() - up) + " s later");
}

Task<FlowResult> certificate_flow(FlowContext& c) {
  const std::string name = "certificate";
  Stopwatch watch(c.loop);
  if (c.hollow) co_return skipped(name, "HTTP-01 needs packets; run without --hollow");
  std::string seen;
  bool ready = false;
  while (!watch.over() && !ready) {
    auto certificate = co_await c.client.get(kCertificates, "demo", "web-tls");
    if (certificate.ok()) {
      const json::Value& conditions = std::as_const(*certificate)["status"]["conditions"];
      ready = kube::condition_is(conditions, "Ready", "True");
      auto* r = kube::find_condition(conditions, "Ready");
      seen = r ? (*r)["message"].as_string() : "no conditions yet";
    } else {
      seen = certificate.error().message;
    }
    if (!ready) co_await sleep(c.loop, kPoll);
  }
  if (!ready) co_return failed(name, watch, "the certificate demo/web-tls is not ready: " + seen);
  // The root that signed it: Pebble shows it on its management address, inside the world; the chain's last
  // certificate is the intermediate, which curl accepts as the anchor.
  auto secret = co_await c.client.get(kSecrets, "demo", "web-tls");
  if (!secret.ok()) co_return failed(name, watch, secret.error().message);
  std::string chain = base64_decode(std::as_const(*secret)["data"]["tls.crt"].as_string()).value_or("");
  size_t last = chain.rfind("-----BEGIN CERTIFICATE-----");
  std::string ca = c.work_directory + "/acme-ca.pem";
  auto written = net::write_file_atomic(ca, last == std::string::npos ? "" : chain.substr(last));
  if (!written.ok()) co_return failed(name, watch, written.error().message);
  std::string port = port_of(c.https);
  std::vector<std::string> argv = words("--cacert", ca, "--resolve", "demo.localhost:" + port + ":127.0.0.1", "-w", "\n%{ssl_verify_result} %{http_code}", "https://demo.localhost:" + port + "/");
  while (!watch.over()) {
    auto body = co_await fetch(c, argv);
    if (body.ok() && body->find("Hello from Caravel") != std::string::npos && body->ends_with("\n0 200"))
      co_return done(name, watch, "Ingress -> Certificate -> ACME HTTP-01 -> Secret demo/web-tls; curl --cacert verified https://demo.localhost:" + port + "/");
    seen = body.ok() ? "an unexpected answer" : body.error().message;
    co_await sleep(c.loop, kPoll);
  }
  co_return failed(name, watch, "the certificate is issued, but not served: " + seen);
}

}  // namespace caravel::cli
