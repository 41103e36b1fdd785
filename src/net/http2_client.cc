// One HTTP/2 connection of the client.
#include "base/strings.h"
#include "net/http2_session.h"

namespace caravel::net {
namespace {

constexpr uint32_t kStreamsKeptFree = 4;  // below the peer's limit, so that short calls find room beside watches

class Connection final : public Http2Connection {
 public:
  Connection(EventLoop& loop, StreamPtr stream) : session_(std::make_shared<Http2Session>(loop, std::move(stream), false, 0)) { scope_.spawn(run(session_)); }

  bool can_open() const override {
    if (session_->dead() || session_->going_away()) return false;
    uint32_t limit = std::min<uint32_t>(session_->peer_streams_max(), 1000);
    return session_->open_streams() + kStreamsKeptFree < std::max<uint32_t>(limit, kStreamsKeptFree + 1);
  }
  size_t open_streams() const override { return session_->open_streams(); }

  Task<Result<StreamingResponse>> exchange(ClientRequest request, std::string target, std::string authority, bool tls) override {
    auto session = session_;
    if (session->dead()) co_return unavailable("the HTTP/2 connection is closed");
    std::vector<std::pair<std::string_view, std::string_view>> fields = {{":method", request.method}, {":scheme", tls ? "https" : "http"}, {":authority", authority}, {":path", target}};
    for (auto& [k, v] : request.headers)
      if (k != "host" && k != "connection") fields.emplace_back(k, v);
    const std::string length = std::to_string(request.body.size());
    bool may_have_body = request.method != "GET" && request.method != "HEAD" && request.method != "DELETE";
    bool end = request.body.empty() && !request.streamed_body;
    if (!request.streamed_body && (!request.body.empty() || may_have_body)) fields.emplace_back("content-length", length);
    auto opened = session->request(fields, end);
    if (!opened.ok()) co_return std::move(opened).error();
    Http2StreamPtr stream = std::move(*opened);
    // Whatever happens from here, dropping the body ends the stream.
    auto body = std::make_unique<Http2Body>(session, stream, true);
    if (!request.body.empty()) {
      auto sent = co_await session->queue(stream, std::move(request.body));
      if (!sent.ok()) co_return std::move(sent).error();
    }
    if (request.streamed_body) {
      request.streamed_body->write = [session, stream](std::string data) { return session->queue(stream, std::move(data)); };
      request.streamed_body->finish = [session, stream] { session->end(*stream, {}); };
      request.streamed_body->opened.set();
    } else if (!end) {
      session->end(*stream, {});
    }
    while (!stream->headers_done && !stream->closed) co_await stream->changed.wait();
    if (!stream->headers_done) co_return unavailable("the HTTP/2 stream was reset before an answer (" + std::string(nghttp2_http2_strerror(stream->error_code)) + ")");
    StreamingResponse out;
    out.status = static_cast<int>(parse_int(stream->headers.get(":status")).value_or(0));
    for (auto& [k, v] : std::move(stream->headers).take())
      if (!k.starts_with(":")) out.headers.append(std::move(k), std::move(v));
    out.body = std::move(body);
    out.trailers = [stream] { return stream->trailers; };
    co_return out;
  }

 private:
  static Task<void> run(std::shared_ptr<Http2Session> session) { co_await session->run(""); }
  std::shared_ptr<Http2Session> session_;
  TaskScope scope_;
};

}  // namespace

std::shared_ptr<Http2Connection> make_http2_connection(EventLoop& loop, StreamPtr stream) { return std::make_shared<Connection>(loop, std::move(stream)); }

}  // namespace caravel::net
