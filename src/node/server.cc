#include "node/server.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "base/strings.h"
#include "net/x509.h"
#include "node/attach.h"
#include "node/logs.h"
#include "node/port_forward.h"
#include "node/remote_command.h"

namespace caravel::node {
namespace {

const Log kLog{"node-server"};
constexpr const char* kSystemLogs = "/var/log";
constexpr size_t kLogPiece = 64 << 10;  // bytes

std::string escape_html(const std::string& text) { return replace_all(replace_all(replace_all(replace_all(text, "&", "&amp;"), "<", "&lt;"), ">", "&gt;"), "\"", "&#34;"); }

std::string parameter(const net::ServerRequest& q, std::string_view name) {
  for (auto& [k, v] : q.target.parameters())
    if (k == name) return v;
  return "";
}
bool truthy(const std::string& v) { return v == "1" || v == "true"; }

net::Headers text_headers() {
  net::Headers h;
  h.set("content-type", "text/plain; charset=utf-8");
  return h;
}
net::Headers json_headers() {
  net::Headers h;
  h.set("content-type", "application/json");
  return h;
}

int http_status(Code code) {
  switch (code) {
    case Code::kNotFound: return 404;
    case Code::kBadRequest:
    case Code::kInvalid: return 400;
    case Code::kForbidden: return 403;
    case Code::kUnauthorized: return 401;
    default: return 500;
  }
}

Task<void> fail(net::ResponseWriter& w, Error e) {
  Status s = co_await w.send(http_status(e.code), text_headers(), e.message + "\n");
  if (!s.ok()) kLog.debug("answer not delivered", {{"error", s.error().message}});
}

Task<Status> write_piece(net::ResponseWriter* w, std::string piece) { co_return co_await w->write(piece); }

RemoteOptions remote_options(const net::ServerRequest& q) {
  RemoteOptions o;
  for (auto& [k, v] : q.target.parameters()) {
    if (k == "input" || k == "stdin") o.input = truthy(v);
    if (k == "output" || k == "stdout") o.output = truthy(v);
    if (k == "error" || k == "stderr") o.error = truthy(v);
    if (k == "tty") o.tty = truthy(v);
  }
  return o;
}

// The record of a container of a pod; `previous`: the one before.
Result<ContainerRecord> find_record(const PodWorker* worker, const std::string& container, bool previous) {
  if (!worker) return not_found("pod not found");
  auto it = worker->runtime_state().containers.find(container);
  const size_t index = previous ? 1 : 0;
  if (it == worker->runtime_state().containers.end() || it->second.size() <= index) {
    if (previous) return make_error(Code::kBadRequest, "previous terminated container \"" + container + "\" in pod \"" + worker->pod().metadata.name + "\" not found");
    if (!find_container(worker->pod(), container))
      return make_error(Code::kBadRequest, "container " + container + " is not valid for pod " + worker->pod().metadata.name);
    return make_error(Code::kBadRequest,
                      "container \"" + container + "\" in pod \"" + worker->pod().metadata.name + "\" is waiting to start: ContainerCreating");
  }
  return it->second[index];
}

}  // namespace

NodeServer::NodeServer(net::EventLoop& loop, Agent& agent, cri::Runtime& runtime, NodeAuthorizer& authorizer, std::string client_ca)
    : loop_(&loop), agent_(&agent), runtime_(&runtime), authorizer_(&authorizer), client_ca_(std::move(client_ca)) {}
NodeServer::~NodeServer() = default;

Status NodeServer::listen(const std::string& address, const Identity& identity) {
  tls_options_.certificate = identity.certificate;
  tls_options_.key = identity.key;
  tls_options_.client_ca = client_ca_;
  tls_options_.alpn = "http/1.1";
  TRY(tls_, net::make_tls_server(tls_options_));
  net::Address at;
  at.text = address;
  TRY(auto listener, net::listen(*loop_, at));
  http_ = std::make_unique<net::HttpServer>(*loop_, [this](net::ServerRequest& q, net::ResponseWriter& w) { return handle(q, w); });
  http_->serve(std::move(listener), tls_);
  return ok();
}

Status NodeServer::use_identity(const Identity& identity) {
  tls_options_.certificate = identity.certificate;
  tls_options_.key = identity.key;
  return net::reload(*tls_, tls_options_);
}

Task<void> NodeServer::handle(net::ServerRequest& q, net::ResponseWriter& w) {
  const std::vector<std::string> path = q.target.segments();
  const std::string what = path.empty() ? "" : path[0];
  Status allowed = co_await authorizer_->judge(q);
  if (!allowed.ok()) {
    co_await fail(w, allowed.error());
    co_return;
  }
  if (what == "healthz") {
    const std::string reason = agent_->not_ready();
    const std::string body = reason.empty() ? "ok" : reason;
    Status s = co_await w.send(reason.empty() ? 200 : 500, text_headers(), body);
    co_return;
  }
  if (what == "containerLogs" && path.size() == 4) co_await container_logs(q, w);
  else if (what == "exec" && path.size() >= 4) co_await exec(q, w);
  else if (what == "attach" && path.size() >= 4) co_await attach(q, w);
  else if (what == "portForward" && path.size() >= 3) co_await port_forward(q, w);
  else if (what == "pods" || what == "runningpods") co_await pods(w);
  else if (what == "stats" && path.size() == 2 && path[1] == "summary") co_await stats_summary(w);
  else if (what == "metrics") co_await metrics(w);
  else if (what == "logs") co_await system_logs(q, w);
  else co_await fail(w, not_found("404 page not found"));
}

Task<void> NodeServer::container_logs(net::ServerRequest& q, net::ResponseWriter& w) {
  const std::vector<std::string> path = q.target.segments();
  const std::string ns = path[1], pod = path[2], container = path[3];
  auto record = find_record(agent_->find(ns, pod), container, truthy(parameter(q, "previous")));
  if (!record.ok()) {
    co_await fail(w, std::move(record).error());
    co_return;
  }
  LogOptions o;
  o.follow = truthy(parameter(q, "follow"));
  o.timestamps = truthy(parameter(q, "timestamps"));
  o.stream = parameter(q, "stream");
  o.tail_lines = parse_int(parameter(q, "tailLines"));
  o.limit_bytes = parse_int(parameter(q, "limitBytes"));
  if (auto s = parse_int(parameter(q, "sinceSeconds"))) o.since = loop_->now() - std::chrono::seconds(*s);
  if (auto t = parse_rfc3339(parameter(q, "sinceTime")); t.ok()) o.since = *t;
  Status started = co_await w.start(200, text_headers());
  if (!started.ok()) co_return;
  const std::string id = record->id;
  std::function<bool()> running = [this, ns, pod, container, id] {
    const PodWorker* worker = agent_->find(ns, pod);
    if (!worker) return false;
    const ContainerRecord* r = worker->runtime_state().latest(container);
    return r && r->id == id && r->state == cri::kRunning;
  };
  net::ResponseWriter* writer = &w;
  std::function<Task<Status>(std::string)> write = [writer](std::string piece) { return write_piece(writer, std::move(piece)); };
  Status s = co_await read_log(*loop_, record->log_path, o, running, write);
  if (!s.ok()) {
    Status told = co_await w.write("failed to read the log: " + s.error().message + "\n");
    if (!told.ok()) co_return;
  }
  Status end = co_await w.finish();
  if (!end.ok()) kLog.debug("log reader has gone", {{"pod", ns + "/" + pod}});
}

Task<void> NodeServer::exec(net::ServerRequest& q, net::ResponseWriter& w) {
  const std::vector<std::string> path = q.target.segments();
  const std::string container = path.back();
  auto record = find_record(agent_->find(path[1], path[2]), container, false);
  if (!record.ok()) {
    co_await fail(w, std::move(record).error());
    co_return;
  }
  RemoteCommand c;
  c.container_id = record->id;
  for (auto& [k, v] : q.target.parameters()) {
    if (k == "command") c.command.push_back(v);
  }
  c.options = remote_options(q);
  if (c.command.empty()) {
    co_await fail(w, make_error(Code::kBadRequest, "you must specify at least 1 command for the container"));
    co_return;
  }
  co_await serve_exec(*loop_, q, w, std::move(c));
}

Task<void> NodeServer::attach(net::ServerRequest& q, net::ResponseWriter& w) {
  const std::vector<std::string> path = q.target.segments();
  const std::string ns = path[1], pod = path[2], container = path.back();
  auto record = find_record(agent_->find(ns, pod), container, false);
  if (!record.ok()) {
    co_await fail(w, std::move(record).error());
    co_return;
  }
  AttachTarget target{record->id, false};
  if (auto c = find_container(agent_->find(ns, pod)->pod(), container)) target.stdin_once = c->stdin_once;
  co_await serve_attach(*loop_, q, w, remote_options(q), *runtime_, std::move(target));
}

Task<void> NodeServer::port_forward(net::ServerRequest& q, net::ResponseWriter& w) {
  const std::vector<std::string> path = q.target.segments();
  const PodWorker* worker = agent_->find(path[1], path[2]);
  const SandboxRecord* box = worker ? worker->runtime_state().sandbox() : nullptr;
  if (!box) {
    co_await fail(w, not_found("pod " + path[1] + "/" + path[2] + " is not running on this node"));
    co_return;
  }
  std::string netns;
  if (!worker->pod().spec.host_network) {
    auto status = co_await runtime_->pod_sandbox_status(box->id, true);
    auto info = status.ok() ? json::parse(status->info["info"]) : Result<json::Value>(status.error());
    const int64_t pid = info.ok() ? static_cast<const json::Value&>(*info)["pid"].as_int() : 0;
    if (pid <= 0) {
      co_await fail(w, internal("the pod's network namespace is not known"));
      co_return;
    }
    netns = "/proc/" + std::to_string(pid) + "/ns/net";
  }
  co_await serve_port_forward(*loop_, q, w, netns);
}

// The files under /var/log, as upstream's enableSystemLogHandler shows them: directories as lists of links, files as text.
Task<void> NodeServer::system_logs(net::ServerRequest& q, net::ResponseWriter& w) {
  const std::vector<std::string> path = q.target.segments();
  std::string at = kSystemLogs;
  for (size_t i = 1; i < path.size(); ++i) {
    if (path[i] == ".." || path[i].find('/') != std::string::npos) {
      co_await fail(w, make_error(Code::kBadRequest, "invalid URL path"));
      co_return;
    }
    if (!path[i].empty()) at += "/" + path[i];
  }
  std::error_code ec;
  if (std::filesystem::is_directory(at, ec)) {
    std::vector<std::string> names;
    for (auto& e : std::filesystem::directory_iterator(at, ec)) names.push_back(e.path().filename().string() + (e.is_directory(ec) ? "/" : ""));
    std::sort(names.begin(), names.end());
    std::string body = "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n";
    for (auto& n : names) body += "<a href=\"" + percent_encode(n) + "\">" + escape_html(n) + "</a>\n";
    net::Headers html;
    html.set("content-type", "text/html; charset=utf-8");
    Status s = co_await w.send(200, std::move(html), body + "</pre>\n");
    co_return;
  }
  std::ifstream in(at, std::ios::binary);
  if (!in || !std::filesystem::is_regular_file(at, ec)) {
    co_await fail(w, not_found("404 page not found"));
    co_return;
  }
  Status sent = co_await w.start(200, text_headers());
  for (std::string piece(kLogPiece, '\0'); sent.ok() && in.read(piece.data(), static_cast<std::streamsize>(piece.size())).gcount() > 0;) {
    std::string read = piece.substr(0, static_cast<size_t>(in.gcount()));
    sent = co_await write_piece(&w, std::move(read));
  }
  if (sent.ok()) sent = co_await w.finish();
  if (!sent.ok()) kLog.debug("log reader has gone", {{"file", at}});
}

Task<void> NodeServer::pods(net::ResponseWriter& w) {
  json::Value out = json::Value::object();
  out["kind"] = "PodList";
  out["apiVersion"] = "v1";
  out["metadata"] = json::Value::object();
  out["items"] = json::Value::array();
  for (auto& p : agent_->pods()) out["items"].push_back(kube::to_json(*p));
  Status s = co_await w.send(200, json_headers(), json::dump(out));
  if (!s.ok()) co_return;
}

Task<void> NodeServer::stats_summary(net::ResponseWriter& w) {
  cri::StringMap mine;
  mine[kNodeLabel] = agent_->context().settings->node_name;
  auto stats = co_await runtime_->list_container_stats(mine);
  if (!stats.ok()) {
    co_await fail(w, std::move(stats).error());
    co_return;
  }
  std::map<std::string, json::Value> by_pod;
  uint64_t cpu = 0, memory = 0;
  for (auto& c : *stats) {
    json::Value& pod = by_pod[c.attributes.labels[kPodUidLabel]];
    pod["podRef"]["name"] = c.attributes.labels[kPodNameLabel];
    pod["podRef"]["namespace"] = c.attributes.labels[kPodNamespaceLabel];
    pod["podRef"]["uid"] = c.attributes.labels[kPodUidLabel];
    json::Value o = json::Value::object();
    const std::string time = format_rfc3339(Time{c.cpu.timestamp});
    o["name"] = c.attributes.metadata.name;
    o["cpu"]["time"] = time;
    o["cpu"]["usageCoreNanoSeconds"] = c.cpu.usage_core_nano_seconds.value;
    o["cpu"]["usageNanoCores"] = c.cpu.usage_nano_cores.value;
    o["memory"]["time"] = time;
    o["memory"]["workingSetBytes"] = c.memory.working_set_bytes.value;
    o["memory"]["usageBytes"] = c.memory.usage_bytes.value;
    o["memory"]["rssBytes"] = c.memory.rss_bytes.value;
    o["rootfs"]["usedBytes"] = c.writable_layer.used_bytes.value;
    cpu += c.cpu.usage_core_nano_seconds.value;
    memory += c.memory.working_set_bytes.value;
    pod["containers"].push_back(std::move(o));
  }
  json::Value out = json::Value::object();
  const std::string now = format_rfc3339(loop_->now());
  out["node"]["nodeName"] = agent_->context().settings->node_name;
  out["node"]["cpu"]["time"] = now;
  out["node"]["cpu"]["usageCoreNanoSeconds"] = cpu;
  out["node"]["memory"]["time"] = now;
  out["node"]["memory"]["workingSetBytes"] = memory;
  out["pods"] = json::Value::array();
  for (auto& [uid, p] : by_pod) out["pods"].push_back(std::move(p));
  Status s = co_await w.send(200, json_headers(), json::dump(out));
  if (!s.ok()) co_return;
}

// What metrics-server and Prometheus read: /metrics/resource and /metrics/cadvisor in one.
Task<void> NodeServer::metrics(net::ResponseWriter& w) {
  cri::StringMap mine;
  mine[kNodeLabel] = agent_->context().settings->node_name;
  auto stats = co_await runtime_->list_container_stats(mine);
  if (!stats.ok()) {
    co_await fail(w, std::move(stats).error());
    co_return;
  }
  std::string cpu = "# TYPE container_cpu_usage_seconds_total counter\n", memory = "# TYPE container_memory_working_set_bytes gauge\n";
  double node_cpu = 0, node_memory = 0;
  for (auto& c : *stats) {
    const std::string labels = "{container=\"" + c.attributes.metadata.name + "\",namespace=\"" + c.attributes.labels[kPodNamespaceLabel] + "\",pod=\"" +
                               c.attributes.labels[kPodNameLabel] + "\"} ";
    const double seconds = static_cast<double>(c.cpu.usage_core_nano_seconds.value) / 1e9;
    const auto bytes = static_cast<double>(c.memory.working_set_bytes.value);
    const std::string stamp = " " + std::to_string(Time{c.cpu.timestamp}.millis()) + "\n";
    cpu += "container_cpu_usage_seconds_total" + labels + format("%.6f", seconds) + stamp;
    memory += "container_memory_working_set_bytes" + labels + format("%.0f", bytes) + stamp;
    node_cpu += seconds;
    node_memory += bytes;
  }
  const std::string out = cpu + memory + "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total " + format("%.6f", node_cpu) +
                          "\n# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes " + format("%.0f", node_memory) + "\n";
  net::Headers h;
  h.set("content-type", "text/plain; version=0.0.4; charset=utf-8");
  Status s = co_await w.send(200, std::move(h), out);
  if (!s.ok()) co_return;
}

}  // namespace caravel::node
