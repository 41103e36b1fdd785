#include "node/prober.h"

#include <algorithm>

#include "base/strings.h"
#include "net/grpc.h"

namespace caravel::node {
namespace {

constexpr size_t kBodyMax = 10 << 10;  // bytes of an answer that we look at
constexpr int kRedirectsMax = 10;
constexpr const char* kUserAgent = "kube-probe/1.36";

class Runner final : public ProbeRunner {
 public:
  Runner(net::EventLoop& loop, cri::Runtime& runtime) : loop_(&loop), runtime_(&runtime) {
    net::TlsClientOptions tls;
    tls.insecure = true;  // as upstream: probes do not verify
    net::HttpClientOptions options;
    if (auto context = net::make_tls_client(tls); context.ok()) options.tls = *context;
    options.http2 = false;
    http_ = std::make_unique<net::HttpClient>(loop, options);
  }

  Task<Result<ProbeNote>> check(core::Probe probe, std::string container_id, std::string host, std::vector<core::ContainerPort> ports) override {
    const Duration timeout = std::chrono::seconds(std::max(1, probe.timeout_seconds));
    if (probe.exec) return exec(probe.exec->command, std::move(container_id), std::max(1, probe.timeout_seconds));
    if (probe.http_get) return http(*probe.http_get, std::move(host), std::move(ports), timeout);
    if (probe.tcp_socket) return tcp(*probe.tcp_socket, std::move(host), std::move(ports), timeout);
    if (probe.grpc) return grpc(*probe.grpc, std::move(host), timeout);
    return nothing();
  }

 private:
  Task<Result<ProbeNote>> nothing() { co_return invalid("missing probe handler"); }

  Task<Result<ProbeNote>> exec(std::vector<std::string> command, std::string id, int64_t timeout) {
    auto r = co_await runtime_->exec_sync(std::move(id), std::move(command), timeout);
    if (!r.ok()) co_return std::move(r).error();
    if (r->exit_code != 0) co_return invalid(r->stdout_ + r->stderr_);
    co_return ProbeNote{};
  }

  Task<Result<ProbeNote>> http(core::HTTPGetAction a, std::string host, std::vector<core::ContainerPort> ports, Duration timeout) {
    CO_TRY(int port, resolve_port(a.port, ports));
    if (!a.host.empty()) host = a.host;
    net::ClientRequest q;
    std::string path = a.path.empty() ? "/" : a.path[0] == '/' ? a.path
                                                               : "/" + a.path;
    q.url = (a.scheme == "HTTPS" ? "https://" : "http://") + host + ":" + std::to_string(port) + path;
    q.headers.set("user-agent", kUserAgent);
    q.headers.set("accept", "*/*");
    q.headers.set("connection", "close");
    for (auto& h : a.http_headers) q.headers.set(h.name, h.value);
    q.timeout = timeout;
    const std::string first_url = q.url;
    for (int redirects = 0;; ++redirects) {
      const std::string url = q.url;
      net::ClientRequest one = q;
      auto r = co_await http_->send(std::move(one), kBodyMax);
      if (!r.ok()) {
        if (r.error().code == Code::kTooLarge) co_return ProbeNote{};
        co_return make_error(r.error().code, "Get \"" + url + "\": " + r.error().message);
      }
      if (r->status < 200 || r->status >= 400) co_return invalid("HTTP probe failed with statuscode: " + std::to_string(r->status));
      if (r->status < 300) co_return ProbeNote{};
      const std::string location = r->headers.get("location");
      const Redirect to = redirect_of(url, location);
      const bool followed = r->status != 304 && !location.empty() && redirect_of(first_url, to.url).same_host;
      if (!followed) co_return ProbeNote{"Probe terminated redirects, Response body: " + r->body};
      if (redirects + 1 >= kRedirectsMax) co_return invalid("Get \"" + to.url + "\": stopped after 10 redirects");
      q.url = to.url;
    }
  }

  Task<Result<ProbeNote>> tcp(core::TCPSocketAction a, std::string host, std::vector<core::ContainerPort> ports, Duration timeout) {
    CO_TRY(int port, resolve_port(a.port, ports));
    if (!a.host.empty()) host = a.host;
    net::ConnectOptions o;
    o.timeout = timeout;
    net::Address to;
    to.text = host + ":" + std::to_string(port);
    auto r = co_await net::connect(*loop_, to, o);
    if (!r.ok()) co_return make_error(r.error().code, "dial tcp " + to.text + ": " + r.error().message);
    co_return ProbeNote{};
  }

  // grpc.health.v1.Health/Check over HTTP/2 without TLS.
  Task<Result<ProbeNote>> grpc(core::GRPCAction a, std::string host, Duration timeout) {
    auto client = net::make_grpc_client(*loop_, "http://" + host + ":" + std::to_string(a.port));
    std::string request;
    const std::string service = a.service.value_or("");
    if (!service.empty()) request = std::string("\x0a") + static_cast<char>(service.size()) + service;
    auto r = co_await client->call("/grpc.health.v1.Health/Check", request, timeout);
    if (!r.ok()) co_return make_error(r.error().code, "rpc error: " + r.error().message);
    // HealthCheckResponse{status = 1}: SERVING.
    if (*r != std::string("\x08\x01", 2)) co_return invalid("service unhealthy (responded with \"NOT_SERVING\")");
    co_return ProbeNote{};
  }

  net::EventLoop* loop_;
  cri::Runtime* runtime_;
  std::unique_ptr<net::HttpClient> http_;
};

}  // namespace

Redirect redirect_of(const std::string& asked, const std::string& location) {
  const size_t scheme_end = asked.find("://");
  const std::string scheme = asked.substr(0, scheme_end);
  const size_t host_at = scheme_end + 3, path_at = std::min(asked.find_first_of("/?", host_at), asked.size());
  const std::string authority = asked.substr(host_at, path_at - host_at);
  Redirect out;
  if (location.find("://") != location.npos && location.find("://") < location.find('/') + 1) out.url = location;
  else if (location.starts_with("//")) out.url = scheme + ":" + location;
  else if (location.starts_with("/")) out.url = scheme + "://" + authority + location;
  else {
    const std::string path = asked.substr(path_at, asked.find('?', path_at) - path_at);
    out.url = scheme + "://" + authority + path.substr(0, path.rfind('/') + 1) + (path.empty() ? "/" : "") + location;
  }
  // Host names, without ports: upstream compares no more.
  auto name_of = [](const std::string& url) {
    const size_t at = url.find("://") + 3;
    std::string host = url.substr(at, url.find_first_of("/?#", at) - at);
    host.erase(0, host.find('@') + 1);
    return to_lower(host.starts_with("[") ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':')));
  };
  out.same_host = name_of(out.url) == name_of(asked);
  return out;
}

Result<int> resolve_port(const kube::IntOrString& port, const std::vector<core::ContainerPort>& ports) {
  if (!port.is_string) return static_cast<int>(port.int_value);
  for (auto& p : ports)
    if (p.name == port.string_value) return static_cast<int>(p.container_port);
  if (auto n = parse_int(port.string_value)) return static_cast<int>(*n);
  return not_found("couldn't find port: " + port.string_value);
}

std::unique_ptr<ProbeRunner> make_probe_runner(net::EventLoop& loop, cri::Runtime& runtime) { return std::make_unique<Runner>(loop, runtime); }

ContainerProber::ContainerProber(Executor& ex, ProbeRunner& runner, core::Container container, ContainerRecord record, std::string host,
                                 std::optional<core::ContainerStatus> known, std::function<void(std::string, std::string)> unhealthy, std::function<void()> changed)
    : ex_(&ex),
      runner_(&runner),
      container_(std::move(container)),
      record_(std::move(record)),
      host_(std::move(host)),
      unhealthy_(std::move(unhealthy)),
      changed_(std::move(changed)),
      started_(ex) {
  state_.container_id = record_.id;
  const bool same = known && known->container_id == "containerd://" + record_.id;
  if (same) state_.ready = known->ready;
  if (container_.startup_probe && !(same && known->started.value_or(false))) {
    scope_.spawn(loop(Kind::kStartup, *container_.startup_probe));
  } else {
    state_.started = true;
    started_.set();
  }
  if (container_.readiness_probe) scope_.spawn(loop(Kind::kReadiness, *container_.readiness_probe));
  else state_.ready = true;
  if (container_.liveness_probe) scope_.spawn(loop(Kind::kLiveness, *container_.liveness_probe));
}

ContainerProber::~ContainerProber() = default;

Task<void> ContainerProber::wait_started() { co_await started_.wait(); }

Task<void> ContainerProber::loop(Kind kind, core::Probe probe) {
  const char* name = kind == Kind::kStartup ? "Startup" : kind == Kind::kLiveness ? "Liveness"
                                                                                  : "Readiness";
  const Duration period = std::chrono::seconds(probe.period_seconds > 0 ? probe.period_seconds : 10);
  const int successes_wanted = std::max(1, probe.success_threshold), failures_wanted = probe.failure_threshold > 0 ? probe.failure_threshold : 3;
  if (kind != Kind::kStartup) co_await wait_started();
  const Time first = record_.started_at + std::chrono::seconds(probe.initial_delay_seconds);
  if (first > ex_->now()) co_await sleep(*ex_, first - ex_->now());
  int successes = 0, failures = 0;
  while (true) {
    auto s = co_await runner_->check(probe, record_.id, host_, container_.ports);
    if (s.ok()) {
      failures = 0;
      ++successes;
      if (!s->warning.empty()) unhealthy_("ProbeWarning", std::string(name) + " probe warning: " + s->warning);
    } else {
      successes = 0;
      ++failures;
      unhealthy_("Unhealthy", std::string(name) + " probe failed: " + s.error().message);
    }
    if (successes == successes_wanted) {
      if (kind == Kind::kStartup) {
        state_.started = true;
        started_.set();
        changed_();
        co_return;
      }
      if (kind == Kind::kReadiness && !state_.ready) {
        state_.ready = true;
        changed_();
      }
    }
    if (failures >= failures_wanted) {
      if (kind == Kind::kReadiness) {
        if (std::exchange(state_.ready, false)) changed_();
      } else {
        state_.failed = true;
        state_.grace = probe.termination_grace_period_seconds;
        state_.failure_message = "Container " + container_.name + " failed " + to_lower(name) + " probe, will be restarted";
        changed_();
        co_return;
      }
    }
    co_await sleep(*ex_, period);
  }
}

}  // namespace caravel::node
