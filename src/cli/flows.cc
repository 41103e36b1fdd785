#include "cli/flows.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "cli/flow_steps.h"
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
const kube::Resource kIngresses{"networking.k8s.io", "v1", "ingresses", "Ingress", true};

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
  // The ALB: the load balancer controller writes its name into the Ingress that stands for it.
  std::string balancer;
  while (!watch.over() && balancer.empty()) {
    auto ingress = co_await c.client.get(kIngresses, "ingress-nginx", "alb");
    if (ingress.ok()) balancer = std::as_const(*ingress)["status"]["loadBalancer"]["ingress"].at(0)["hostname"].as_string();
    if (balancer.empty()) co_await sleep(c.loop, kPoll);
  }
  if (balancer.empty()) co_return failed(name, watch, "the Ingress ingress-nginx/alb has no load balancer; `kubectl -n ingress-nginx describe ingress alb` tells why");
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
  std::string detail = std::to_string(good) + " of " + std::to_string(good + bad) + " requests answered through ALB " + balancer.substr(0, balancer.find('.')) + ", nginx and pods in " + std::to_string(zones.size()) + " zones while " + victim + " was deleted";
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

}  // namespace caravel::cli
