#include "apiserver/http_frontend.h"

#include <zlib.h>

#include "apiserver/aggregation/aggregator.h"
#include "apiserver/flow_control.h"
#include "apiserver/message_stream.h"
#include "apiserver/object_meta.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

constexpr size_t kAuditIdMax = 64;

// The client's own id when it sent a sensible one.
std::string audit_id(const net::ServerRequest& in, ApiServer& server) {
  auto* h = in.headers.find("audit-id");
  if (h && !h->empty()) return h->substr(0, kAuditIdMax);
  return new_uid(server.core().ex);
}

constexpr size_t kBodyMax = 3u << 20;     // as upstream
constexpr size_t kPiece = 128u << 10;     // of a long list, handed over at once
constexpr size_t kGzipFrom = 128u << 10;  // responses from this size are compressed for who accepts it, unless on this host

Bytes gzip(const std::string& text) {
  z_stream z{};
  if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return nullptr;
  auto out = std::make_shared<std::string>();
  out->resize(deflateBound(&z, text.size()));
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out->data());
  z.avail_out = static_cast<uInt>(out->size());
  int rc = deflate(&z, Z_FINISH);
  out->resize(z.total_out);
  deflateEnd(&z);
  return rc == Z_STREAM_END ? Bytes(std::move(out)) : nullptr;
}

Credentials credentials_of(const net::ServerRequest& in) {
  Credentials c;
  c.certificate = in.peer_certificate;
  for (auto& [name, value] : in.headers) {
    if (name == "authorization") c.authorization = value;
    else if (name.compare(0, 12, "impersonate-") == 0) {
      if (name == "impersonate-user") c.impersonate_user = value;
      else if (name == "impersonate-group") c.impersonate_groups.push_back(value);
      else if (name == "impersonate-uid") c.impersonate_uid = value;
      else if (name.compare(0, 18, "impersonate-extra-") == 0) c.impersonate_extra[percent_decode(name.substr(18))].push_back(value);
    } else if (name == "sec-websocket-protocol" && c.authorization.empty()) {
      // Browsers put the token into a subprotocol.
      for (auto& p : split(value, ',')) {
        std::string_view t = trim(p);
        constexpr std::string_view kPrefix = "base64url.bearer.authorization.k8s.io.";
        if (t.substr(0, kPrefix.size()) == kPrefix)
          if (auto token = base64url_decode(t.substr(kPrefix.size()))) c.authorization = "Bearer " + *token;
      }
    }
  }
  return c;
}

// The ways in which a client tried to say who it is, in upstream's words.
std::vector<std::string> tried(const Credentials& c) {
  std::vector<std::string> out;
  if (c.authorization.compare(0, 6, "Basic ") == 0) out.push_back("basic");
  if (!c.certificate.empty()) out.push_back("x509");
  if (!c.authorization.empty() && out.empty()) out.push_back("bearer");
  return out;
}

std::string quote_warning(std::string_view text) {
  std::string out = "299 - \"";
  for (char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(c) >= 0x20) out.push_back(c);
  }
  return out + "\"";
}

std::string_view first_characters(std::string_view s, size_t n) {
  for (size_t i = 0; i < s.size(); ++i)
    if ((static_cast<unsigned char>(s[i]) & 0xc0) != 0x80 && n-- == 0) return s.substr(0, i);
  return s;
}

// Each text once. Headers have a limit: where all of them are too much, each is cut short, and the last are left out.
void add_warnings(net::Headers& h, const std::vector<std::string>& warnings) {
  constexpr size_t kAllMax = 4 * 1024, kEachMax = 256;
  std::vector<std::string_view> once;
  size_t all = 0;
  for (const std::string& w : warnings) {
    if (w.empty() || std::find(once.begin(), once.end(), w) != once.end()) continue;
    once.push_back(w);
    all += utf8_length(w);
  }
  const bool cut = all > kAllMax;
  size_t written = 0;
  for (std::string_view w : once) {
    if (cut && written >= kAllMax) break;
    if (cut) w = first_characters(w, kEachMax);
    written += utf8_length(w);
    h.add("warning", quote_warning(w));
  }
}

// As upstream's filter answers: text, not a Status.
Response too_many() {
  Response res;
  res.status = 429;
  res.content_type = "text/plain; charset=utf-8";
  res.body = std::make_shared<const std::string>("Too many requests, please try again later.\n");
  res.headers.emplace_back("Retry-After", "1");
  res.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return res;
}

// What upstream's aggregator says when a service does not answer: text, not a Status.
Response no_service(const std::string& why) {
  Response res;
  res.status = 503;
  res.content_type = "text/plain; charset=utf-8";
  res.body = std::make_shared<const std::string>(why + "\n");
  res.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return res;
}

std::string scope_of(const Request& r) {
  if (!r.is_resource) return "";
  if (!r.name.empty() || r.verb == "create") return "resource";
  return r.ns.empty() ? "cluster" : "namespace";
}

std::string to_upper_verb(const Request& r) {
  if (r.verb == "list" || r.verb == "watch") return r.verb == "list" ? "LIST" : "WATCH";
  if (r.verb == "deletecollection") return "DELETECOLLECTION";
  return r.method == "PATCH" && r.content_type.compare(0, 23, "application/apply-patch") == 0 ? "APPLY" : r.method;
}

// Counts a request while it is served.
class InFlight {
 public:
  explicit InFlight(double* count) : count_(count) { ++*count_; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  ~InFlight() { --*count_; }

 private:
  double* count_;
};

class Gone {
 public:
  Gone(MetricFamily* m, LabelValues labels) : metric_(m), labels_(std::move(labels)) {}
  Gone(const Gone&) = delete;
  Gone& operator=(const Gone&) = delete;
  ~Gone() { metric_->inc(labels_, -1); }

 private:
  MetricFamily* metric_;
  LabelValues labels_;
};

const std::vector<double> kSecondBuckets = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60};
const std::vector<double> kSizeBuckets = {1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

// Never on loopback: it takes longer than the network.
bool wants_gzip(const net::ServerRequest& in) {
  if (in.method != "GET" || in.peer.compare(0, 4, "127.") == 0) return false;
  auto* a = in.headers.find("accept-encoding");
  return a && a->find("gzip") != std::string::npos;
}

}  // namespace

void HttpFrontend::observe(const Request& r, const Response& res, Duration took) {
  if (!r.is_resource) return;
  LabelValues labels = {to_upper_verb(r), r.group, r.version, r.plural, r.subresource, scope_of(r), "apiserver"};
  const double seconds = std::chrono::duration<double>(took).count();
  sli_durations_->observe(labels, seconds);
  LabelValues with_dry_run = labels;
  with_dry_run.push_back(r.param_or("dryRun"));
  durations_->observe(with_dry_run, seconds);
  if (r.method == "GET") sizes_->observe(labels, static_cast<double>(res.parts ? res.parts->size() : res.body ? res.body->size()
                                                                                                              : 0));
}

HttpFrontend::HttpFrontend(net::EventLoop& loop, ApiServer& server, NodeProxy* proxy) : loop_(&loop), server_(&server), proxy_(proxy) {
  watch_events_ = &server.core().metrics.counter("apiserver_watch_events_total", "Number of events sent in watch clients", {"group", "version", "resource"});
  MetricRegistry& m = server.core().metrics;
  const std::vector<std::string> labels = {"verb", "group", "version", "resource", "subresource", "scope", "component"};
  std::vector<std::string> with_dry_run = labels;
  with_dry_run.push_back("dry_run");
  durations_ = &m.histogram("apiserver_request_duration_seconds", "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.", with_dry_run, kSecondBuckets);
  const std::vector<double> longer(kSecondBuckets.begin() + 2, kSecondBuckets.end());
  sli_durations_ = &m.histogram("apiserver_request_sli_duration_seconds", "Response latency distribution in seconds for each verb, group, version, resource, subresource, scope and component, for service level indicators.", labels, longer);
  sizes_ = &m.histogram("apiserver_response_sizes", "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.", labels, kSizeBuckets);
  MetricFamily& in_flight = m.gauge("apiserver_current_inflight_requests", "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.", {"request_kind"});
  reading_ = &in_flight.cell({"readOnly"});
  mutating_ = &in_flight.cell({"mutating"});
  long_running_ = &m.gauge("apiserver_longrunning_requests", "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component.", {"verb", "group", "version", "resource", "scope"});
}

net::Handler HttpFrontend::handler() {
  return [this](net::ServerRequest& in, net::ResponseWriter& out) { return serve(in, out); };
}

namespace {

// Ends a trail, if there is one, and waits until its events are where they must be.
Task<void> complete(std::shared_ptr<AuditTrail> trail, const Response& res) {
  if (!trail) co_return;
  trail->completed(res);
  if (trail->settled()) co_return;
  bool all = co_await trail->delivered();
  (void)all;
}

}  // namespace

// For what does not come through ApiServer::handle().
Task<Status> HttpFrontend::begin_trail(Request& r) {
  r.trail = server_->audit(r);
  if (!r.trail || r.trail->settled()) co_return ok();
  bool all = co_await r.trail->delivered();
  if (!all) co_return status::internal("failed to store audit event");
  co_return ok();
}

Task<void> HttpFrontend::serve(net::ServerRequest& in, net::ResponseWriter& out) {
  Request r;
  r.method = in.method;
  r.path = in.target.path.find('%') == std::string::npos ? in.target.path : percent_decode(in.target.path);
  if (!in.target.query.empty()) r.query = in.target.parameters();
  if (auto* h = in.headers.find("accept")) r.accept = *h;
  if (auto* h = in.headers.find("user-agent")) r.user_agent = *h;
  if (auto* h = in.headers.find("content-type")) r.content_type = *h;
  if (server_->auditing()) {
    r.audit_id = audit_id(in, *server_);
    r.source = in.peer.substr(0, in.peer.rfind(':'));
  }
  parse_request_info(r);
  Credentials credentials = credentials_of(in);
  UserPtr real;
  auto user = co_await server_->authenticator().authenticate(credentials, r.path, &real);
  if (!user.ok()) {
    Response refused = error_response(user.error());
    if (server_->auditing()) {
      r.user = real;
      if (!real) server_->auditor()->unauthenticated(r, tried(credentials));
      else co_await complete(server_->audit(r), refused);
    }
    co_await send(in, out, r, std::move(refused));
    co_return;
  }
  r.user = *user;
  if (const Aggregator::Remote* remote = server_->aggregator().remote_of(r)) {
    co_await pass_on(remote->name, r, in, out);
    co_return;
  }
  if (r.is_resource && !r.subresource.empty() && NodeProxy::is_connection(r)) {
    Status allowed = co_await begin_trail(r);
    if (allowed.ok()) allowed = co_await server_->authorize(r);
    if (!allowed.ok()) {
      Response refused = error_response(allowed.error());
      co_await complete(r.trail, refused);
      co_await send(in, out, r, std::move(refused));
      co_return;
    }
    if (!proxy_) {
      Response refused = error_response(status::unavailable("this server has no way to nodes"));
      co_await send(in, out, r, std::move(refused));
      co_return;
    }
    std::shared_ptr<AuditTrail> trail = r.trail;
    Status done = co_await server_->admit_connection(r);
    if (done.ok()) done = co_await proxy_->serve(r, in, out);
    if (trail) {
      Response answered;
      answered.status = done.ok() ? 101 : error_response(done.error()).status;
      co_await complete(trail, answered);
    }
    if (!done.ok() && !out.started()) {
      Response refused = error_response(done.error());
      co_await send(in, out, r, std::move(refused));
    }
    co_return;
  }
  if (r.method != "GET" && r.method != "HEAD") {
    auto body = co_await in.body->read_all(kBodyMax);
    if (!body.ok()) {
      Error e = body.error().code == Code::kTooLarge ? status::too_large("Request entity too large: limit is " + std::to_string(kBodyMax)) : status::bad_request(body.error().message);
      Response refused = error_response(e);
      co_await send(in, out, r, std::move(refused));
      co_return;
    }
    r.body = std::move(*body);
  }
  FlowControl::Admitted admitted = co_await server_->flow_control()->enter(r);
  Response res;
  if (admitted.refused) {
    res = too_many();
  } else {
    const bool reads = r.method == "GET" || r.method == "HEAD";
    InFlight running(reads ? reading_ : mutating_);
    Time begin = server_->core().ex.now();
    r.takes_parts = !wants_gzip(in);
    res = co_await server_->handle(r);
    if (!res.watch) observe(r, res, server_->core().ex.now() - begin);
  }
  if (!admitted.schema_uid.empty()) {
    res.headers.emplace_back("X-Kubernetes-PF-FlowSchema-UID", admitted.schema_uid);
    res.headers.emplace_back("X-Kubernetes-PF-PriorityLevel-UID", admitted.level_uid);
  }
  if (res.watch) {
    admitted.seat.release();  // it has begun
    long_running_->inc({"WATCH", r.group, r.version, r.plural, scope_of(r)}, 1);
    Gone gone(long_running_, {"WATCH", r.group, r.version, r.plural, scope_of(r)});
    double* sent = &watch_events_->cell({r.group, r.version, r.plural});
    if (net::is_websocket_upgrade(in)) co_await send_watch_messages(in, out, std::move(res), sent);
    else co_await send_watch(out, std::move(res), sent);
    co_return;
  }
  co_await send(in, out, r, std::move(res));
}

// To an aggregated API server.
Task<void> HttpFrontend::pass_on(std::string service, Request& r, net::ServerRequest& in, net::ResponseWriter& out) {
  Status allowed = co_await begin_trail(r);
  std::shared_ptr<AuditTrail> trail = r.trail;
  FlowControl::Admitted admitted = co_await server_->flow_control()->enter(r);
  if (admitted.refused) {
    Response refused = too_many();
    co_await complete(trail, refused);
    co_await send(in, out, r, std::move(refused));
    co_return;
  }
  if (allowed.ok()) allowed = co_await server_->authorize(r);
  if (!allowed.ok()) {
    Response refused = error_response(allowed.error());
    co_await complete(trail, refused);
    co_await send(in, out, r, std::move(refused));
    co_return;
  }
  // What goes on for long gives its seats back when it begins.
  if (r.verb == "watch" || !r.subresource.empty()) admitted.seat.release();
  Status done = co_await server_->aggregator().forward(std::move(service), r, in, out);
  Response answered;
  if (!done.ok()) answered = no_service(done.error().message);
  co_await complete(trail, answered);
  if (done.ok() || out.started()) co_return;
  co_await send(in, out, r, std::move(answered));
}

Task<void> HttpFrontend::send(net::ServerRequest& in, net::ResponseWriter& out, Request& r, Response res) {
  net::Headers h;
  h.add("audit-id", r.audit_id.empty() ? audit_id(in, *server_) : r.audit_id);
  h.add("cache-control", "no-cache, private");
  h.add("content-type", res.content_type);
  add_warnings(h, res.warnings);
  for (auto& [k, v] : res.headers) {
    if (equals_ignore_case(k, "cache-control")) h.set("cache-control", v);
    else h.add(k, v);
  }
  if (auto* tag = in.headers.find("if-none-match"); tag && h.get("etag") == *tag && !tag->empty()) {
    auto sent = co_await out.send(304, std::move(h), "");
    (void)sent;
    co_return;
  }
  if (res.parts) {
    co_await send_parts(out, std::move(h), std::move(res));
    co_return;
  }
  if (res.body && res.body->size() >= kGzipFrom && wants_gzip(in)) {
    Bytes plain = res.body;
    std::function<Bytes()> work = [plain] { return gzip(*plain); };
    Bytes z = co_await run_blocking<Bytes>(*loop_, std::move(work));
    if (z) {
      res.body = std::move(z);
      h.add("content-encoding", "gzip");
      h.add("vary", "Accept-Encoding");
    }
  }
  Bytes body = res.body ? res.body : std::make_shared<const std::string>();
  auto sent = co_await out.send_shared(res.status, std::move(h), std::move(body));
  (void)sent;
}

// Piece by piece: the peer reads the beginning while the rest is gathered, and 20 MB are never in one place.
Task<void> HttpFrontend::send_parts(net::ResponseWriter& out, net::Headers h, Response res) {
  h.add("content-length", std::to_string(res.parts->size()));
  auto started = co_await out.start(res.status, std::move(h));
  if (!started.ok()) co_return;
  size_t next = 0;
  for (bool all = false; !all && !out.peer_gone();) {
    auto piece = std::make_shared<std::string>();
    all = res.parts->append(*piece, next, kPiece);
    std::vector<Bytes> pieces{std::move(piece)};
    auto sent = co_await out.write_pieces(std::move(pieces));
    if (!sent.ok()) co_return;
  }
  auto finished = co_await out.finish();
  (void)finished;
}

Task<void> HttpFrontend::send_watch(net::ResponseWriter& out, Response res, double* sent) {
  net::Headers h;
  h.add("audit-id", new_uid(server_->core().ex));
  h.add("cache-control", "no-cache, private");
  h.add("content-type", res.content_type);
  add_warnings(h, res.warnings);
  for (auto& [k, v] : res.headers) h.add(k, v);
  auto started = co_await out.start(200, std::move(h));
  if (!started.ok()) co_return;
  net::ResponseWriter* writer = &out;
  res.watch->abandoned = [writer] { return writer->peer_gone(); };
  res.watch->deliver = [writer, sent](const Bytes& wire) {
    if (!writer->write_now(wire)) return false;
    ++*sent;
    return true;
  };
  while (!out.peer_gone()) {
    auto events = co_await res.watch->next();
    if (events.empty()) break;
    *sent += static_cast<double>(events.size());
    std::vector<Bytes> wires;  // which all watchers share
    wires.reserve(events.size());
    for (WireEvent& e : events) wires.push_back(std::move(e.wire));
    events = {};
    auto wrote = co_await out.write_pieces(std::move(wires));
    if (!wrote.ok()) co_return;
  }
  auto finished = co_await out.finish();
  (void)finished;
}

Task<void> HttpFrontend::send_watch_messages(net::ServerRequest& in, net::ResponseWriter& out, Response res, double* sent) {
  auto stream = co_await MessageStream::accept(*loop_, in, out);
  if (!stream.ok()) {
    if (!out.started()) (void)co_await out.send(400, {}, stream.error().message + "\n");
    co_return;
  }
  net::ResponseWriter* writer = &out;
  res.watch->abandoned = [writer] { return writer->peer_gone(); };
  while (!out.peer_gone()) {
    auto events = co_await res.watch->next();
    if (events.empty()) break;
    for (WireEvent& e : events) {
      std::string text = *e.wire;
      if (!text.empty() && text.back() == '\n') text.pop_back();
      Status wrote = co_await (*stream)->send(std::move(text), true);
      if (!wrote.ok()) co_return;
      ++*sent;
    }
  }
  co_await (*stream)->close();
}

}  // namespace caravel::apiserver
