// One HTTP/2 connection of the server: each stream's request is handled in its own task.
#include "base/strings.h"
#include "net/http2_session.h"

namespace caravel::net {
namespace {

constexpr Duration kLookForHandlers = std::chrono::milliseconds(100);

class Writer final : public ResponseWriter {
 public:
  Writer(ServerShared& server, std::shared_ptr<Http2Session> session, Http2StreamPtr stream, bool head_only)
      : server_(server), session_(std::move(session)), stream_(std::move(stream)), head_only_(head_only) {}

  ~Writer() override {
    if (streams_) --server_.streaming;
  }
  Task<Status> send(int status, Headers headers, std::string body) override {
    auto shared = std::make_shared<const std::string>(std::move(body));
    co_return co_await send_shared(status, std::move(headers), std::move(shared));
  }
  Task<Status> send_shared(int status, Headers headers, std::shared_ptr<const std::string> body) override {
    if (started_) co_return internal("a response was started twice");
    started_ = finished_ = true;
    bool no_body = head_only_ || body->empty() || status == 204 || status == 304;
    if (status != 204 && status != 304 && !headers.find("content-length")) headers.add("content-length", std::to_string(body->size()));
    if (!no_body) {
      session_->queue_shared(*stream_, std::move(body));
      stream_->local_end = true;
    }
    co_return session_->respond(*stream_, status, headers, no_body);
  }
  Task<Status> start(int status, Headers headers) override {
    if (started_) co_return internal("a response was started twice");
    started_ = streams_ = true;
    ++server_.streaming;
    co_return session_->respond(*stream_, status, headers, head_only_);
  }
  Task<Status> write(std::string_view piece) override {
    if (!started_ || finished_) co_return internal("a piece was written outside a streamed response");
    if (head_only_ || piece.empty()) co_return ok();
    co_return co_await session_->queue(stream_, std::string(piece));
  }
  bool write_now(const std::shared_ptr<const std::string>& piece) override {
    if (!started_ || finished_) return false;
    return head_only_ || piece->empty() || session_->queue_now(*stream_, piece);
  }
  Task<Status> write_pieces(std::vector<std::shared_ptr<const std::string>> pieces) override {
    if (!started_ || finished_) co_return internal("a piece was written outside a streamed response");
    if (head_only_) co_return ok();
    co_return co_await session_->queue_pieces(stream_, std::move(pieces));
  }
  Task<Status> finish(Headers trailers) override {
    if (finished_) co_return ok();
    finished_ = true;
    if (!head_only_) session_->end(*stream_, trailers);
    co_return ok();
  }
  Task<Result<StreamPtr>> upgrade(Headers) override { co_return make_error(Code::kUnsupported, "HTTP/2 connections cannot be upgraded; use HTTP/1.1"); }
  bool started() const override { return started_; }
  bool peer_gone() const override { return stream_->closed || session_->dead(); }
  bool finished() const { return finished_; }

 private:
  ServerShared& server_;
  std::shared_ptr<Http2Session> session_;
  Http2StreamPtr stream_;
  bool head_only_;
  bool started_ = false, streams_ = false, finished_ = false;
};

Task<void> handle(ServerShared& server, std::shared_ptr<Http2Session> session, Http2StreamPtr stream, bool tls, std::string certificate) {
  ServerRequest request;
  request.version = 2;
  request.tls = tls;
  request.peer = session->stream().peer();
  request.peer_certificate = std::move(certificate);
  for (auto& [k, v] : std::move(stream->headers).take()) {
    if (k == ":method") request.method = std::move(v);
    else if (k == ":authority") request.authority = std::move(v);
    else if (k == ":path") {
      size_t q = v.find('?');
      if (q != v.npos) {
        request.target.query = v.substr(q + 1);
        v.resize(q);
      }
      request.target.path = std::move(v);
    } else if (!k.starts_with(":")) request.headers.append(std::move(k), std::move(v));
  }
  if (request.authority.empty()) request.authority = request.headers.get("host");
  Http2Body body(session, stream, false);
  request.body = &body;
  Writer writer(server, session, stream, request.method == "HEAD");
  bool done = co_await run_handler(server, request, writer, stream->changed, [&writer] { return writer.peer_gone(); });
  if (!done) co_return;
  if (!writer.started()) {
    Headers headers{{"content-type", "text/plain"}};
    auto sent = co_await writer.send(500, headers, "the request was not answered\n");
    (void)sent;
  } else if (!writer.finished()) {
    session->reset(*stream, NGHTTP2_INTERNAL_ERROR);
  }
  // The peer may go on sending a body that nobody reads: tell it to stop.
  if (!stream->remote_end && !stream->closed && writer.finished() && stream->out.empty()) session->reset(*stream, NGHTTP2_NO_ERROR);
}

}  // namespace

Task<void> serve_http2(ServerShared& server, StreamPtr stream, bool tls, std::string early) {
  std::string certificate = stream->peer_certificate();
  auto session = std::make_shared<Http2Session>(server.loop, std::move(stream), true, server.limits.streams_per_connection_max);
  TaskScope requests;
  server.http2.insert(session.get());
  struct Leave {
    ServerShared& server;
    Http2Session* session;
    ~Leave() { server.http2.erase(session); }
  } leave{server, session.get()};
  std::vector<Http2StreamPtr> arrived;
  session->on_request = [&](Http2StreamPtr s) { arrived.push_back(std::move(s)); };
  session->after_input = [&] {
    std::vector<Http2StreamPtr> now;
    now.swap(arrived);
    for (auto& s : now)
      if (!session->dead() && !s->closed) requests.spawn(handle(server, session, std::move(s), tls, certificate));
  };
  co_await session->run(std::move(early));
  session->on_request = nullptr;
  session->after_input = nullptr;
  // Handlers see peer_gone(), or are ended after their grace.
  while (requests.running() > 0) co_await sleep(server.loop, kLookForHandlers);
}

}  // namespace caravel::net
