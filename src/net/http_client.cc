// The HTTP client: URLs, pooled connections, retries on stale ones, HTTP/2 where the server offers it.
#include <list>

#include "base/strings.h"
#include "net/http_internal.h"

namespace caravel::net {
namespace {

constexpr Duration kConnectTimeout = std::chrono::seconds(10);
constexpr Duration kIdleLife = std::chrono::seconds(60);

struct Url {
  bool tls = false;
  std::string address;    // what to dial: "host:port" or "unix:/path"
  std::string authority;  // Host header
  std::string host;       // for SNI
  std::string target;     // path?query
  std::string origin;     // pool key
};

Result<Url> parse_url(const std::string& text) {
  Url u;
  std::string_view rest = text;
  if (rest.starts_with("http+unix:")) {
    rest.remove_prefix(10);
    size_t colon = rest.find(':');
    u.address = "unix:" + std::string(rest.substr(0, colon));
    u.authority = u.host = "localhost";
    u.target = colon == rest.npos ? "/" : std::string(rest.substr(colon + 1));
    u.origin = u.address;
    return u;
  }
  if (rest.starts_with("https://")) u.tls = true, rest.remove_prefix(8);
  else if (rest.starts_with("http://")) rest.remove_prefix(7);
  else return invalid("\"" + text + "\" is not an http:// or https:// URL");
  size_t slash = rest.find_first_of("/?");
  u.authority = rest.substr(0, slash);
  u.target = slash == rest.npos ? "/" : std::string(rest.substr(slash));
  if (u.target[0] == '?') u.target = "/" + u.target;
  if (size_t at = u.authority.rfind('@'); at != std::string::npos) u.authority = u.authority.substr(at + 1);
  if (u.authority.empty()) return invalid("\"" + text + "\" names no host");
  size_t bracket = u.authority.rfind(']'), colon = u.authority.rfind(':');
  bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  u.host = has_port ? u.authority.substr(0, colon) : u.authority;
  u.address = has_port ? u.authority : u.authority + (u.tls ? ":443" : ":80");
  if (u.host.starts_with("[") && u.host.ends_with("]")) u.host = u.host.substr(1, u.host.size() - 2);
  u.origin = (u.tls ? "https://" : "http://") + u.address;
  for (unsigned char c : u.target)
    if (c <= 0x20 || c == 0x7f) return invalid("the URL \"" + text + "\" holds a character that must be percent-encoded");
  return u;
}

bool is_idempotent(const std::string& method) { return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS"; }

}  // namespace

struct HttpClient::Impl {
  EventLoop& loop;
  HttpClientOptions options;
  struct Idle {
    std::shared_ptr<Http1Connection> connection;
    Time since;
  };
  std::map<std::string, std::vector<Idle>> idle;                               // by origin
  std::map<std::string, std::vector<std::shared_ptr<Http2Connection>>> http2;  // by origin
  std::map<std::string, std::shared_ptr<Semaphore>> dialing;                   // one dial at a time where h2 may answer
  std::map<std::string, bool> speaks_http2;

  Impl(EventLoop& l, HttpClientOptions o) : loop(l), options(std::move(o)) {}

  std::shared_ptr<Http2Connection> find_http2(const std::string& origin) {
    auto it = http2.find(origin);
    if (it == http2.end()) return nullptr;
    std::shared_ptr<Http2Connection> best;
    std::erase_if(it->second, [](auto& c) { return !c->can_open() && c->open_streams() == 0; });
    for (auto& c : it->second)
      if (c->can_open() && (!best || c->open_streams() < best->open_streams())) best = c;
    return best;
  }

  std::shared_ptr<Http1Connection> find_idle(const std::string& origin) {
    auto& list = idle[origin];
    Time now = loop.now();
    std::erase_if(list, [&](Idle& i) { return !i.connection->reusable() || (i.connection->idle() && now - i.since > kIdleLife); });
    for (auto it = list.rbegin(); it != list.rend(); ++it)
      if (it->connection->idle()) {
        it->since = now;
        return it->connection;
      }
    return nullptr;
  }

  Task<Result<StreamPtr>> dial(Url url, bool offer_http2) {
    if (options.dial) co_return co_await options.dial();
    ConnectOptions c;
    c.timeout = kConnectTimeout;
    if (url.tls) {
      c.tls = options.tls;
      if (!c.tls) {
        TlsClientOptions defaults;
        auto made = make_tls_client(defaults);
        if (!made.ok()) co_return std::move(made).error();
        options.tls = c.tls = *made;
      }
      c.server_name = options.server_name.empty() ? url.host : options.server_name;
      c.alpn = offer_http2 ? "h2,http/1.1" : "http/1.1";
    }
    Address address{options.connect_to.empty() ? url.address : options.connect_to};
    co_return co_await connect(loop, std::move(address), std::move(c));
  }

  Task<Result<StreamingResponse>> over_http1(ClientRequest& request, Url url) {
    auto connection = find_idle(url.origin);
    while (true) {
      if (!connection) {
        auto stream = co_await dial(url, false);
        if (!stream.ok()) co_return std::move(stream).error();
        connection = add_http1(url.origin, std::move(*stream));
      }
      bool fresh_retry = false;
      auto r = co_await connection->exchange(request, url.target, url.authority, fresh_retry);
      // A kept connection that the server had closed meanwhile: nothing was processed.
      if (r.ok() || !fresh_retry || !is_idempotent(request.method)) co_return r;
      connection = nullptr;
    }
  }

  std::shared_ptr<Http1Connection> add_http1(const std::string& origin, StreamPtr stream) {
    auto c = std::make_shared<Http1Connection>(loop, std::move(stream));
    idle[origin].push_back({c, loop.now()});
    return c;
  }

  Task<Result<StreamingResponse>> open(ClientRequest request) {
    CO_TRY(Url url, parse_url(request.url));
    bool may_http2 = options.http2_prior_knowledge || (options.http2 && url.tls);
    if (auto it = speaks_http2.find(url.origin); it != speaks_http2.end()) may_http2 = may_http2 && it->second;
    if (!may_http2) co_return co_await over_http1(request, url);

    auto connection = find_http2(url.origin);
    if (!connection) {
      auto& gate = dialing[url.origin];
      if (!gate) gate = std::make_shared<Semaphore>(loop, 1);
      auto held = gate;
      co_await held->acquire();
      connection = find_http2(url.origin);
      if (!connection) {
        auto stream = co_await dial(url, true);
        if (!stream.ok()) {
          held->release();
          co_return std::move(stream).error();
        }
        if (!options.http2_prior_knowledge && (*stream)->alpn() != "h2") {
          speaks_http2[url.origin] = false;
          held->release();
          add_http1(url.origin, std::move(*stream));
          co_return co_await over_http1(request, url);
        }
        speaks_http2[url.origin] = true;
        connection = make_http2_connection(loop, std::move(*stream));
        http2[url.origin].push_back(connection);
      }
      held->release();
    }
    std::string target = url.target, authority = url.authority;
    ClientRequest again = is_idempotent(request.method) ? request : ClientRequest{};
    auto r = co_await connection->exchange(std::move(request), target, authority, url.tls);
    if (r.ok() || again.url.empty() || r.error().code != Code::kUnavailable || connection->can_open()) co_return r;
    // The connection died under an idempotent request: once more on a new one.
    auto stream = co_await dial(url, true);
    if (!stream.ok()) co_return std::move(stream).error();
    if (!options.http2_prior_knowledge && (*stream)->alpn() != "h2") co_return r;
    connection = make_http2_connection(loop, std::move(*stream));
    http2[url.origin].push_back(connection);
    co_return co_await connection->exchange(std::move(again), target, authority, url.tls);
  }
};

HttpClient::HttpClient(EventLoop& loop, HttpClientOptions options) : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
HttpClient::~HttpClient() = default;

Task<Result<StreamingResponse>> HttpClient::stream(ClientRequest request) {
  Duration limit = request.timeout;
  std::string what = request.method + " " + request.url.substr(0, request.url.find('?'));
  if (limit <= Duration(0)) limit = std::chrono::hours(24 * 365);
  auto work = impl_->open(std::move(request));
  auto r = co_await within(impl_->loop, limit, std::move(work));
  if (!r) co_return make_error(Code::kTimeout, what + ": no answer within " + format_duration(limit));
  if (!r->ok()) co_return wrap(std::move(*r).error(), what);
  co_return std::move(*r);
}

Task<Result<ClientResponse>> HttpClient::send(ClientRequest request, size_t body_max) {
  auto r = co_await stream(std::move(request));
  if (!r.ok()) co_return std::move(r).error();
  ClientResponse out;
  out.status = r->status;
  out.headers = std::move(r->headers);
  if (r->body) {
    const size_t expected = static_cast<size_t>(std::max<int64_t>(0, parse_int(out.headers.get("content-length")).value_or(0)));
    auto body = co_await r->body->read_all(body_max, expected);
    if (!body.ok()) co_return std::move(body).error();
    out.body = std::move(*body);
  }
  co_return out;
}

Task<Result<StreamPtr>> HttpClient::upgrade(ClientRequest request) {
  CO_TRY(Url url, parse_url(request.url));
  auto stream = co_await impl_->dial(url, false);
  if (!stream.ok()) co_return std::move(stream).error();
  auto connection = std::make_shared<Http1Connection>(impl_->loop, std::move(*stream));
  bool fresh_retry = false;
  auto r = co_await connection->exchange(request, url.target, url.authority, fresh_retry);
  if (!r.ok()) co_return std::move(r).error();
  if (r->status != 101) {
    std::string body;
    if (r->body) {
      auto text = co_await r->body->read_all(64 * 1024);
      if (text.ok()) body = std::move(*text);
    }
    Code code = r->status == 401 ? Code::kUnauthorized : r->status == 403 ? Code::kForbidden
                                                     : r->status == 404   ? Code::kNotFound
                                                                          : Code::kBadRequest;
    co_return Error{code, "the server refused to upgrade: " + std::to_string(r->status) + " " + body, body};
  }
  std::string early;
  StreamPtr raw = connection->take_stream(early);
  co_return with_early_bytes(std::move(raw), std::move(early), r->headers.get("sec-websocket-protocol"));
}

}  // namespace caravel::net
