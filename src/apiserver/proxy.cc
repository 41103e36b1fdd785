#include "apiserver/proxy.h"

#include <algorithm>

#include "apiserver/message_stream.h"
#include "apiserver/object_meta.h"
#include "apiserver/service_endpoint.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr int kKubeletPort = 10250;

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

Result<ForwardGoal> NodeProxy::pod_goal(const Request& r) const {
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
  ForwardGoal g;
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

Result<ForwardGoal> NodeProxy::goal_of(const Request& r, const net::ServerRequest& in) const {
  if (r.plural == "pods" && r.subresource != "proxy") return pod_goal(r);
  ForwardGoal g;
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

Task<Status> NodeProxy::serve_log_messages(const ForwardGoal& goal, net::ServerRequest& in, net::ResponseWriter& out) {
  net::ClientRequest q;
  q.url = "https://" + goal.address + goal.path;
  auto res = co_await client_->stream(std::move(q));
  if (!res.ok()) co_return status::unavailable("error trying to reach " + goal.address + ": " + res.error().message);
  if (res->status != 200) {
    auto why = co_await res->body->read_all(64u << 10);
    co_return status::bad_request(why.ok() ? std::string(trim(*why)) : "the log cannot be read");
  }
  auto stream = co_await MessageStream::accept(*loop_, in, out);
  if (!stream.ok()) co_return status::bad_request(stream.error().message);
  while (true) {
    auto piece = co_await res->body->read();
    if (!piece.ok() || !piece->has_value()) break;
    Status sent = co_await (*stream)->send(std::move(**piece), false);
    if (!sent.ok()) co_return ok();
  }
  co_await (*stream)->close();
  co_return ok();
}

Task<Status> NodeProxy::serve(Request& r, net::ServerRequest& in, net::ResponseWriter& out) {
  auto goal = goal_of(r, in);
  if (!goal.ok()) co_return std::move(goal).error();
  goal->context = tls_;
  if (r.subresource == "proxy") {
    const std::string& whole = in.target.path;
    size_t name = whole.find("/" + r.plural + "/");
    if (name != whole.npos)
      if (size_t at = whole.find("/proxy", name + r.plural.size() + 2); at != whole.npos) goal->link_prefix = whole.substr(0, at + 6);
  }
  if (r.plural == "pods" && r.subresource == "log" && net::is_websocket_upgrade(in)) {
    Status s = co_await serve_log_messages(*goal, in, out);
    co_return s;
  }
  if (wants_upgrade(in)) {
    Status s = co_await forward_upgrade(loop_, *goal, in, out);
    co_return s;
  }
  // Relative links of the page that is proxied need the last slash.
  const std::string& path = in.target.path;
  if (r.subresource == "proxy" && r.rest.empty() && !path.empty() && path.back() != '/' && (in.method == "GET" || in.method == "HEAD")) {
    net::Headers h;
    h.add("location", path + "/" + (in.target.query.empty() ? "" : "?" + in.target.query));
    Status moved = co_await out.send(301, std::move(h), "");
    co_return moved;
  }
  bool streaming = r.plural == "pods" && (r.subresource == "exec" || r.subresource == "attach" || r.subresource == "portforward");
  if (streaming) co_return status::bad_request("Upgrade request required");
  Status s = co_await forward_request(client_.get(), *goal, in, out);
  co_return s;
}

}  // namespace caravel::apiserver
