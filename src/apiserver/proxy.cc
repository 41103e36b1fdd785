#include "apiserver/proxy.h"

#include <algorithm>

#include "apiserver/object_meta.h"
#include "apiserver/service_endpoint.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr size_t kHeadMax = 64u << 10;
constexpr int kKubeletPort = 10250;

bool hop_by_hop(const std::string& name) {
  static constexpr std::string_view kNames[] = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
                                               "upgrade", "host", "content-length", "authorization", "http2-settings"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || name.compare(0, 12, "impersonate-") == 0;
}

std::string query_text(const std::vector<std::pair<std::string, std::string>>& q) {
  std::string out;
  for (auto& [k, v] : q) out += (out.empty() ? "?" : "&") + percent_encode(k) + "=" + percent_encode(v);
  return out;
}

// "[scheme:]name[:port]"
struct Named {
  std::string scheme, name, port;
};
Named parse_named(const std::string& text) {
  auto parts = split(text, ':');
  Named n;
  if (parts.size() == 3) n = {parts[0], parts[1], parts[2]};
  else if (parts.size() == 2 && (parts[0] == "http" || parts[0] == "https")) n = {parts[0], parts[1], ""};
  else if (parts.size() == 2) n = {"", parts[0], parts[1]};
  else n = {"", text, ""};
  return n;
}

}  // namespace

NodeProxy::NodeProxy(net::EventLoop& loop, ApiServer& server, std::shared_ptr<net::TlsClientContext> tls) : loop_(&loop), server_(&server), tls_(std::move(tls)) {
  net::HttpClientOptions o;
  o.tls = tls_;
  o.http2 = false;
  client_ = std::make_unique<net::HttpClient>(loop, o);
}

Result<std::unique_ptr<NodeProxy>> NodeProxy::make(net::EventLoop& loop, ApiServer& server, const std::string& client_certificate, const std::string& client_key) {
  net::TlsClientOptions o;
  // Node agents serve with certificates of their own; as upstream without --kubelet-certificate-authority.
  o.insecure = true;
  o.certificate = client_certificate;
  o.key = client_key;
  TRY(auto tls, net::make_tls_client(o));
  return std::unique_ptr<NodeProxy>(new NodeProxy(loop, server, std::move(tls)));
}

bool NodeProxy::is_connection(const Request& r) {
  if (!r.group.empty()) return false;
  const std::string& s = r.subresource;
  if (r.plural == "pods") return s == "log" || s == "exec" || s == "attach" || s == "portforward" || s == "proxy";
  return (r.plural == "nodes" || r.plural == "services") && s == "proxy";
}

Result<std::string> NodeProxy::node_address(const std::string& node) const {
  ServedTypePtr t = server_->core().types.find("", "v1", "nodes");
  TRY(ValuePtr v, server_->rest().live(*t, "", node));
  std::string ip;
  for (auto& a : v->path({"status", "addresses"}).as_array())
    if (a["type"].as_string() == "InternalIP" && ip.empty()) ip = a["address"].as_string();
  if (ip.empty()) return status::unavailable("node " + node + " has no InternalIP address yet");
  int64_t port = v->path({"status", "daemonEndpoints", "kubeletEndpoint", "Port"}).as_int(kKubeletPort);
  if (ip.find(':') != ip.npos) ip = "[" + ip + "]";
  return ip + ":" + std::to_string(port ? port : kKubeletPort);
}

Result<NodeProxy::Goal> NodeProxy::pod_goal(const Request& r) const {
  ServedTypePtr t = server_->core().types.find("", "v1", "pods");
  TRY(ValuePtr pod, server_->rest().live(*t, r.ns, r.name));
  const std::string& node = pod->path({"spec", "nodeName"}).as_string();
  std::string container = r.param_or("container");
  if (r.subresource != "portforward") {
    std::vector<std::string> names;
    bool known = false;
    for (std::string_view list : {"containers", "initContainers", "ephemeralContainers"})
      for (auto& c : (*pod)["spec"][list].as_array()) {
        if (list == "containers") names.push_back(c["name"].as_string());
        known = known || c["name"].as_string() == container;
      }
    if (container.empty()) {
      const std::string& preferred = pod->path({"metadata", "annotations", "kubectl.kubernetes.io/default-container"}).as_string();
      if (names.size() == 1) container = names[0];
      else if (std::find(names.begin(), names.end(), preferred) != names.end()) container = preferred;
      else return status::bad_request("a container name must be specified for pod " + r.name + ", choose one of: [" + join(names, " ") + "]");
    } else if (!known) {
      return status::bad_request("container " + container + " is not valid for pod " + r.name);
    }
  }
  if (node.empty()) {
    if (r.subresource == "log") return status::bad_request("container \"" + container + "\" in pod \"" + r.name + "\" is waiting to start: the pod has not been scheduled to a node yet");
    return status::bad_request("pod " + r.name + " does not have a host assigned");
  }
  Goal g;
  TRY(g.address, node_address(node));
  g.tls = true;
  std::vector<std::pair<std::string, std::string>> q;
  auto on = [&](std::string_view key) { return r.param(key) && r.flag(key); };
  if (r.subresource == "log") {
    for (auto& [k, v] : r.query)
      if (k != "container" && k != "insecureSkipTLSVerifyBackend") q.emplace_back(k, v);
    g.path = "/containerLogs/" + r.ns + "/" + r.name + "/" + container;
  } else if (r.subresource == "portforward") {
    for (auto& [k, v] : r.query)
      if (k == "ports" || k == "port") q.emplace_back("port", v);
    g.path = "/portForward/" + r.ns + "/" + r.name;
  } else {
    if (on("stdin")) q.emplace_back("input", "1");
    if (r.subresource == "exec" ? on("stdout") : (on("stdout") || !r.param("stdout"))) q.emplace_back("output", "1");
    if (r.subresource == "exec" ? on("stderr") : (on("stderr") || !r.param("stderr"))) q.emplace_back("error", "1");
    if (on("tty")) {
      q.emplace_back("tty", "1");
      std::erase_if(q, [](auto& p) { return p.first == "error"; });
    }
    for (auto& [k, v] : r.query)
      if (k == "command") q.emplace_back(k, v);
    g.path = "/" + r.subresource + "/" + r.ns + "/" + r.name + "/" + container;
  }
  g.path += query_text(q);
  return g;
}

Result<NodeProxy::Goal> NodeProxy::goal_of(const Request& r, const net::ServerRequest& in) const {
  if (r.plural == "pods" && r.subresource != "proxy") return pod_goal(r);
  Goal g;
  g.path = "/" + r.rest + (in.target.query.empty() ? "" : "?" + in.target.query);
  if (r.plural == "nodes") {
    TRY(g.address, node_address(parse_named(r.name).name));
    g.tls = true;
    return g;
  }
  Named n = parse_named(r.name);
  g.tls = n.scheme == "https";
  Core& core = server_->core();
  if (r.plural == "pods") {
    TRY(ValuePtr pod, server_->rest().live(*core.types.find("", "v1", "pods"), r.ns, n.name));
    const std::string& ip = pod->path({"status", "podIP"}).as_string();
    if (ip.empty()) return status::unavailable("address not allowed: pod " + n.name + " has no address yet");
    std::string port = n.port;
    if (port.empty()) {
      const Value& p = pod->path({"spec", "containers"}).at(0)["ports"].at(0)["containerPort"];
      port = p.is_int() ? std::to_string(p.as_int()) : "80";
    }
    g.address = ip + ":" + port;
    return g;
  }
  TRY(g.address, service_endpoint(core, r.ns, n.name, n.port));
  return g;
}

Task<Status> NodeProxy::serve(Request& r, net::ServerRequest& in, net::ResponseWriter& out) {
  auto goal = goal_of(r, in);
  if (!goal.ok()) co_return std::move(goal).error();
  bool upgrade = in.headers.find("upgrade") && to_lower(in.headers.get("connection")).find("upgrade") != std::string::npos;
  if (upgrade) {
    Status s = co_await forward_upgrade(*goal, in, out);
    co_return s;
  }
  bool streaming = r.plural == "pods" && (r.subresource == "exec" || r.subresource == "attach" || r.subresource == "portforward");
  if (streaming) co_return status::bad_request("Upgrade request required");
  Status s = co_await forward(*goal, in, out);
  co_return s;
}

Task<Status> NodeProxy::forward(const Goal& goal, net::ServerRequest& in, net::ResponseWriter& out) {
  net::ClientRequest q;
  q.method = in.method;
  q.url = std::string(goal.tls ? "https://" : "http://") + goal.address + goal.path;
  for (auto& [k, v] : in.headers)
    if (!hop_by_hop(k) && k != "accept-encoding") q.headers.add(k, v);
  auto body = co_await in.body->read_all(64u << 20);
  if (!body.ok()) co_return std::move(body).error();
  q.body = std::move(*body);
  auto res = co_await client_->stream(std::move(q));
  if (!res.ok()) co_return status::unavailable("error trying to reach " + goal.address + ": " + res.error().message);
  net::Headers h;
  for (auto& [k, v] : res->headers)
    if (!hop_by_hop(k)) h.add(k, v);
  auto started = co_await out.start(res->status, std::move(h));
  if (!started.ok()) co_return started;
  while (true) {
    auto piece = co_await res->body->read();
    if (!piece.ok()) break;
    if (!piece->has_value()) break;
    auto wrote = co_await out.write(**piece);
    if (!wrote.ok()) co_return wrote;
  }
  auto finished = co_await out.finish();
  co_return finished;
}

Task<Status> NodeProxy::forward_upgrade(const Goal& goal, net::ServerRequest& in, net::ResponseWriter& out) {
  net::ConnectOptions co;
  if (goal.tls) co.tls = tls_;
  net::Address address{goal.address};
  auto stream = co_await net::connect(*loop_, address, co);
  if (!stream.ok()) co_return status::unavailable("error dialing backend " + goal.address + ": " + stream.error().message);
  net::Stream& backend = **stream;
  std::string head = in.method + " " + goal.path + " HTTP/1.1\r\nHost: " + goal.address + "\r\n";
  for (auto& [k, v] : in.headers)
    if (!hop_by_hop(k)) head += k + ": " + v + "\r\n";
  head += "Connection: Upgrade\r\nUpgrade: " + in.headers.get("upgrade") + "\r\n";
  if (in.method == "POST") head += "Content-Length: 0\r\n";
  head += "\r\n";
  auto wrote = co_await backend.write(head);
  if (!wrote.ok()) co_return status::unavailable("error talking to " + goal.address + ": " + wrote.error().message);
  std::string got;
  std::vector<char> buffer(16 * 1024);
  size_t end = std::string::npos;
  while (end == std::string::npos) {
    auto n = co_await backend.read(std::span<char>(buffer));
    if (!n.ok()) co_return status::unavailable("error talking to " + goal.address + ": " + n.error().message);
    if (*n == 0) co_return status::unavailable(goal.address + " closed the connection before it answered");
    got.append(buffer.data(), *n);
    end = got.find("\r\n\r\n");
    if (got.size() > kHeadMax) co_return status::unavailable(goal.address + " sent too large a head");
  }
  auto lines = split(std::string_view(got).substr(0, end), '\n');
  auto first = split_words(lines[0]);
  int code = first.size() > 1 ? static_cast<int>(parse_int(first[1]).value_or(502)) : 502;
  net::Headers h;
  int64_t length = -1;
  for (size_t i = 1; i < lines.size(); ++i) {
    std::string_view line = trim(lines[i]);
    size_t colon = line.find(':');
    if (colon == line.npos) continue;
    std::string name = to_lower(line.substr(0, colon));
    std::string value(trim(line.substr(colon + 1)));
    if (name == "content-length") length = parse_int(value).value_or(-1);
    if (code == 101 ? name != "content-length" : !hop_by_hop(name)) h.add(name, value);
  }
  std::string rest = got.substr(end + 4);
  if (code != 101) {
    while (length < 0 || rest.size() < static_cast<size_t>(length)) {
      auto n = co_await backend.read(std::span<char>(buffer));
      if (!n.ok()) break;
      if (*n == 0) break;
      rest.append(buffer.data(), *n);
      if (rest.size() > (1u << 20)) break;
    }
    auto sent = co_await out.send(code, std::move(h), std::move(rest));
    co_return sent;
  }
  auto client = co_await out.upgrade(std::move(h));
  if (!client.ok()) co_return std::move(client).error();
  if (!rest.empty()) {
    auto passed = co_await (*client)->write(rest);
    if (!passed.ok()) co_return ok();
  }
  co_await net::splice(*loop_, **client, backend);
  co_return ok();
}

}  // namespace caravel::apiserver
