// The HTTP server: accepts, shakes hands, picks the version, owns the connections.
#include <algorithm>

#include "base/log.h"
#include "net/http2_session.h"
#include "net/http_internal.h"

namespace caravel::net {
namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);
constexpr Duration kAcceptRetry = std::chrono::milliseconds(50);

// A peer that leaves while its response streams (a watch) has left for good. One that leaves before may
// only have closed its sending side.
constexpr Duration kStreamGoneGrace = std::chrono::seconds(1), kRequestGoneGrace = std::chrono::seconds(30);

constexpr Duration kStreamCloseGrace = std::chrono::milliseconds(300);

Task<void> call_handler(ServerShared& server, ServerRequest& request, ResponseWriter& writer, bool& done, Event& changed) {
  struct Count {
    size_t& n;
    ~Count() { --n; }
  } count{++server.open_requests};
  co_await server.handler(request, writer);
  done = true;
  changed.pulse();
}

struct Closer {
  EventLoop& loop;
  Executor::TimerId id;
  Closer(EventLoop& l, Duration d, Stream* s) : loop(l), id(l.run_after(d, [s] { s->close(); })) {}
  ~Closer() { loop.cancel(id); }
};

// Plain connections may speak HTTP/2 without asking (prior knowledge): the first bytes tell.
Task<Result<std::string>> first_bytes(EventLoop& loop, Stream& stream, Duration limit) {
  Closer closer(loop, limit, &stream);
  std::string early;
  char room[512];
  do {
    std::span<char> span(room, sizeof room);
    auto n = co_await stream.read(span);
    if (!n.ok()) co_return std::move(n).error();
    if (*n == 0) break;
    early.append(room, *n);
  } while (early.size() < kHttp2Preface.size() && kHttp2Preface.starts_with(early));
  co_return early;
}

Task<void> serve_one(ServerShared& shared, StreamPtr stream, std::shared_ptr<TlsServerContext> tls) {
  ++shared.connections;
  struct Leave {
    ServerShared& s;
    ~Leave() { --s.connections; }
  } leave{shared};
  std::string early;
  bool http2 = false;
  if (tls) {
    auto handshake = tls_accept(shared.loop, std::move(stream), tls);
    auto secured = co_await within(shared.loop, kHandshakeTimeout, std::move(handshake));
    if (!secured || !secured->ok()) co_return;
    stream = std::move(**secured);
    http2 = stream->alpn() == "h2";
  } else {
    auto bytes = co_await first_bytes(shared.loop, *stream, shared.limits.header_timeout);
    if (!bytes.ok() || bytes->empty()) co_return;
    early = std::move(*bytes);
    http2 = early.starts_with(kHttp2Preface);
  }
  if (http2) co_await serve_http2(shared, std::move(stream), tls != nullptr, std::move(early));
  else co_await serve_http1(shared, std::move(stream), tls != nullptr, std::move(early));
}

}  // namespace

Task<bool> run_handler(ServerShared& server, ServerRequest& request, ResponseWriter& writer, Event& changed, std::function<bool()> gone) {
  bool done = false;
  TaskScope work;
  work.spawn(call_handler(server, request, writer, done, changed));
  Time give_up{};
  while (!done) {
    if (!gone()) {
      co_await changed.wait();
      continue;
    }
    Time now = server.loop.now();
    if (give_up.is_zero()) give_up = now + (writer.started() ? kStreamGoneGrace : kRequestGoneGrace);
    if (now >= give_up) co_return false;
    co_await changed.wait(give_up - now);
  }
  co_return true;
}

struct HttpServer::Impl {
  ServerShared shared;
  std::vector<std::shared_ptr<Listener>> listeners;
  TaskScope scope;  // last: its tasks use the rest

  Task<void> accept_loop(std::shared_ptr<Listener> listener, std::shared_ptr<TlsServerContext> tls) {
    while (true) {
      auto stream = co_await listener->accept();
      if (!stream.ok()) {
        if (stream.error().code == Code::kCancelled) co_return;
        log_line(LogLevel::kWarning, "http", "cannot accept a connection", {{"address", listener->address()}, {"error", stream.error().message}});
        co_await sleep(shared.loop, kAcceptRetry);
        continue;
      }
      if (shared.connections >= shared.limits.connections_max) continue;  // dropped: the client sees a reset
      scope.spawn(serve_one(shared, std::move(*stream), tls));
    }
  }
};

HttpServer::HttpServer(EventLoop& loop, Handler handler, ServerLimits limits)
    : impl_(new Impl{ServerShared{loop, std::move(handler), limits}, {}, {}}) {}
HttpServer::~HttpServer() = default;

void HttpServer::serve(std::unique_ptr<Listener> listener, std::shared_ptr<TlsServerContext> tls) {
  std::shared_ptr<Listener> shared(std::move(listener));
  impl_->listeners.push_back(shared);
  impl_->scope.spawn(impl_->accept_loop(std::move(shared), std::move(tls)));
}

void HttpServer::serve_connection(StreamPtr stream) { impl_->scope.spawn(serve_one(impl_->shared, std::move(stream), nullptr)); }

Task<void> HttpServer::close(Duration grace) {
  impl_->shared.closing = true;
  for (auto& l : impl_->listeners) l->close();
  ServerShared& shared = impl_->shared;
  Time start = shared.loop.now();
  for (;;) {
    Duration waited = shared.loop.now() - start;
    // Streams (watches, followed logs) have no end of their own to wait for.
    size_t unanswered = 0;  // also counts answers that handlers have given and the network has not taken
    for (Http2Session* s : shared.http2) unanswered += s->dead() ? 0 : s->open_streams();
    unanswered = std::max(unanswered, shared.open_requests);
    bool wait = unanswered > shared.streaming ? waited < grace : shared.streaming > 0 && waited < std::min(grace, kStreamCloseGrace);
    if (!wait) break;
    co_await sleep(shared.loop, 10ms);
  }
  impl_->scope.cancel_all();
}

size_t HttpServer::connections() const { return impl_->shared.connections; }

}  // namespace caravel::net
