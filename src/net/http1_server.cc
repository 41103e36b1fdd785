// One HTTP/1.1 connection of the server: requests one after the other, each handled to its end before
// the next is read. While a handler waits, the socket is watched so that a peer that leaves is noticed
// (peer_gone).
#include "base/log.h"
#include "base/strings.h"
#include "net/http_internal.h"
#include "net/x509.h"

namespace caravel::net {
namespace {

constexpr size_t kSmallBody = 64 * 1024;       // head and body go out in one write up to this
constexpr size_t kPiecesTogether = 32 * 1024;  // short pieces are gathered up to this
constexpr size_t kUnreadBodyMax = 256 * 1024;  // what is skipped of a body that the handler left unread

struct Connection {
  ServerShared& server;
  StreamPtr stream;
  BufferedReader reader;
  bool gone = false;  // nothing can be written any more
  Connection(ServerShared& s, StreamPtr st, std::string early) : server(s), stream(std::move(st)), reader(*stream, std::move(early)) {}
};

class Writer final : public ResponseWriter {
 public:
  Writer(Connection& c, bool http10, bool head_only, bool keep_alive) : c_(c), http10_(http10), head_only_(head_only), keep_alive_(keep_alive) {}

  ~Writer() override {
    if (streams_) --c_.server.streaming;
  }

  Task<Status> send(int status, Headers headers, std::string body) override {
    auto shared = std::make_shared<const std::string>(std::move(body));
    co_return co_await send_shared(status, std::move(headers), std::move(shared));
  }

  Task<Status> send_shared(int status, Headers headers, std::shared_ptr<const std::string> body) override {
    if (started_) co_return internal("a response was started twice");
    started_ = finished_ = true;
    bool no_body = status == 204 || status == 304 || status / 100 == 1;
    std::string head = head_text(status);
    if (!no_body && !headers.find("content-length")) head += "content-length: " + std::to_string(body->size()) + "\r\n";
    append_head(head, headers);
    if (head_only_ || no_body) co_return co_await put(head);
    if (body->size() <= kSmallBody) {
      head += *body;
      co_return co_await put(head);
    }
    CO_TRY_VOID(co_await put(head));
    co_return co_await put(*body);
  }

  Task<Status> start(int status, Headers headers) override {
    if (started_) co_return internal("a response was started twice");
    started_ = streams_ = true;
    ++c_.server.streaming;
    std::string head = head_text(status);
    chunked_ = !headers.find("content-length") && !http10_ && !head_only_;
    if (chunked_) head += "transfer-encoding: chunked\r\n";
    else if (http10_) keep_alive_ = false;
    append_head(head, headers);
    co_return co_await put(head);
  }

  Task<Status> write(std::string_view piece) override {
    if (!started_ || finished_) co_return internal("a piece was written outside a streamed response");
    if (piece.empty() || head_only_) co_return ok();
    if (!chunked_) co_return co_await put(piece);
    std::string framed = format("%zx\r\n", piece.size());
    framed += piece;
    framed += "\r\n";
    co_return co_await put(framed);
  }

  bool write_now(const std::shared_ptr<const std::string>&) override { return false; }  // nothing is queued here

  Task<Status> write_pieces(std::vector<std::shared_ptr<const std::string>> pieces) override {
    std::string gathered;
    for (auto& piece : pieces) {
      std::string_view rest = *piece;
      while (gathered.size() + rest.size() > kPiecesTogether) {
        if (gathered.empty()) {  // a long one goes out as it is
          auto wrote = co_await write(rest.substr(0, kPiecesTogether));
          if (!wrote.ok()) co_return wrote;
          rest.remove_prefix(kPiecesTogether);
          continue;
        }
        auto wrote = co_await write(gathered);
        if (!wrote.ok()) co_return wrote;
        gathered.clear();
      }
      gathered += rest;
      piece.reset();
    }
    auto wrote = co_await write(gathered);
    co_return wrote;
  }

  Task<Status> finish(Headers trailers) override {
    if (finished_) co_return ok();
    finished_ = true;
    if (!chunked_) co_return ok();
    std::string end = "0\r\n";
    append_head(end, trailers);
    co_return co_await put(end);
  }

  Task<Result<StreamPtr>> upgrade(Headers headers) override {
    if (started_) co_return internal("a response was started twice");
    started_ = finished_ = upgraded_ = true;
    std::string head = "HTTP/1.1 101 Switching Protocols\r\n";
    append_head(head, headers);
    CO_TRY_VOID(co_await put(head));
    co_return take_upgraded();
  }

  bool started() const override { return started_; }
  bool peer_gone() const override { return c_.gone || (c_.stream && c_.stream->peer_gone()); }
  bool finished() const { return finished_; }
  bool upgraded() const { return upgraded_; }
  bool keep_alive() const { return keep_alive_; }

 private:
  StreamPtr take_upgraded();
  std::string head_text(int status) {
    std::string head = "HTTP/1.1 " + std::to_string(status) + " ";
    head += status_text(status);
    head += "\r\ndate: ";
    head += http_date(c_.server.loop.now());
    head += "\r\n";
    if (!keep_alive_) head += "connection: close\r\n";
    return head;
  }
  Task<Status> put(std::string_view text) {
    auto r = co_await c_.stream->write(text);
    if (!r.ok()) c_.gone = true;
    co_return r;
  }

  Connection& c_;
  bool http10_, head_only_, keep_alive_;
  bool started_ = false, streams_ = false, finished_ = false, chunked_ = false, upgraded_ = false;
};

StreamPtr Writer::take_upgraded() { return with_early_bytes(std::move(c_.stream), c_.reader.take_buffer()); }

Task<void> refuse(Connection& c, const Error& why) {
  int status = why.code == Code::kTooLarge ? 431 : why.code == Code::kUnsupported ? 501
                                               : why.code == Code::kTimeout       ? 408
                                                                                  : 400;
  std::string body = why.message + "\n";
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + std::string(status_text(status)) +
                     "\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  auto sent = co_await c.stream->write(text);
  (void)sent;
}

bool wants_keep_alive(const Http1Head& head) {
  std::string connection = to_lower(head.headers.get("connection"));
  if (connection.find("close") != connection.npos) return false;
  return head.minor_version == 1 || connection.find("keep-alive") != connection.npos;
}

Task<Status> send_continue(Connection& c) { co_return co_await c.stream->write("HTTP/1.1 100 Continue\r\n\r\n"); }

Task<void> watch_peer(Stream& stream, Event& changed) {
  co_await stream.wait_peer_gone();
  changed.pulse();
}

struct Deadline {
  EventLoop& loop;
  Executor::TimerId id;
  bool passed = false;
  Deadline(EventLoop& l, Duration d, Stream* s) : loop(l) {
    id = loop.run_after(d, [this, s] {
      passed = true;
      s->close();
    });
  }
  ~Deadline() { loop.cancel(id); }
};

// Handles one request; false when the connection must end.
Task<bool> handle_one(Connection& c, Http1Head head, bool tls, const std::string& certificate) {
  auto framing = request_framing(head.headers);
  if (!framing.ok()) {
    co_await refuse(c, framing.error());
    co_return false;
  }
  ServerRequest request;
  request.method = head.method;
  size_t q = head.target.find('?');
  request.target.path = head.target.substr(0, q);
  if (q != head.target.npos) request.target.query = head.target.substr(q + 1);
  // The absolute form (proxies): keep the path.
  if (request.target.path.starts_with("http://") || request.target.path.starts_with("https://")) {
    size_t slash = request.target.path.find('/', 8);
    request.target.path = slash == std::string::npos ? "/" : request.target.path.substr(slash);
  }
  request.authority = head.headers.get("host");
  if (request.authority.empty() && head.minor_version == 1) {
    co_await refuse(c, make_error(Code::kBadRequest, "the Host header is missing"));
    co_return false;
  }
  request.headers = std::move(head.headers);
  request.peer = c.stream->peer();
  request.peer_certificate = certificate;
  request.tls = tls;
  Http1Body body(c.reader, *framing);
  if (equals_ignore_case(request.headers.get("expect"), "100-continue")) body.before_first_read = [&c] { return send_continue(c); };
  request.body = &body;
  head.headers = {};
  Http1Head shape;
  shape.minor_version = head.minor_version;
  shape.headers = request.headers;
  Writer writer(c, head.minor_version == 0, request.method == "HEAD", wants_keep_alive(shape) && !c.server.closing);

  Event changed(c.server.loop);
  TaskScope watcher;
  watcher.spawn(watch_peer(*c.stream, changed));
  // After an upgrade the handler reads the stream itself and so learns of its end.
  bool done = co_await run_handler(c.server, request, writer, changed, [&writer] { return writer.peer_gone() && !writer.upgraded(); });
  watcher.cancel_all();
  if (!done) co_return false;
  if (writer.upgraded()) co_return false;
  if (!writer.started()) {
    net::Headers headers{{"content-type", "text/plain"}};
    auto sent = co_await writer.send(500, headers, "the request was not answered\n");
    (void)sent;
  }
  if (!writer.finished()) co_return false;  // a streamed response that broke off: the peer must see it
  if (c.gone || !writer.keep_alive()) co_return false;
  size_t skipped = 0;
  while (!body.done()) {
    if (body.before_first_read) co_return false;  // the client still waits for 100 Continue
    auto piece = co_await body.read();
    if (!piece.ok()) co_return false;
    if (*piece) skipped += (*piece)->size();
    if (skipped > kUnreadBodyMax) co_return false;
  }
  co_return true;
}

}  // namespace

Task<void> serve_http1(ServerShared& server, StreamPtr stream, bool tls, std::string early) {
  Connection c(server, std::move(stream), std::move(early));
  std::string certificate = c.stream->peer_certificate();
  bool first = true;
  while (c.stream && !c.gone) {
    Result<std::optional<std::string>> text = std::optional<std::string>();
    {
      Deadline deadline(server.loop, first ? server.limits.header_timeout : server.limits.idle_timeout, c.stream.get());
      text = co_await c.reader.head(server.limits.header_bytes_max);
      if (deadline.passed) break;
    }
    first = false;
    if (!text.ok()) {
      if (text.error().code == Code::kTooLarge) co_await refuse(c, text.error());
      break;
    }
    if (!*text) break;
    auto head = parse_http1_head(**text, false);
    if (!head.ok()) {
      co_await refuse(c, head.error());
      break;
    }
    bool go_on = co_await handle_one(c, std::move(*head), tls, certificate);
    if (!go_on) break;
  }
  if (c.stream) {
    auto end = co_await c.stream->shutdown_write();
    (void)end;
    c.stream->close();
  }
}

}  // namespace caravel::net
