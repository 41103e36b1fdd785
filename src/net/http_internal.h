// Inside net: what the HTTP server and client share between versions.
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "net/http.h"

namespace caravel::net {

class Http2Session;

// What a connection needs of its server. Outlives the connection's tasks.
struct ServerShared {
  EventLoop& loop;
  Handler handler;
  ServerLimits limits;
  size_t connections = 0;
  size_t open_requests = 0;
  size_t streaming = 0;  // of these: those whose response is being streamed
  bool closing = false;
  std::set<Http2Session*> http2;  // the open HTTP/2 connections: each may hold answers that are not sent yet
};

// Runs the handler for one request. When the peer has left (`gone`, looked at whenever `changed` is
// pulsed) the handler has a grace to notice; then it is destroyed where it stands, and the result is false.
Task<bool> run_handler(ServerShared& server, ServerRequest& request, ResponseWriter& writer, Event& changed, std::function<bool()> gone);

// Serve one connection to its end. `early` holds bytes already read from it.
Task<void> serve_http1(ServerShared& server, StreamPtr stream, bool tls, std::string early);
Task<void> serve_http2(ServerShared& server, StreamPtr stream, bool tls, std::string early);

// One client connection of HTTP/1.1: one exchange at a time.
class Http1Connection {
 public:
  Http1Connection(EventLoop& loop, StreamPtr stream);
  ~Http1Connection();
  // Sends the request and reads the response's head. `reused` tells the caller of a stale connection:
  // an error with `fresh_retry` set means nothing was answered and a new connection is worth a try.
  Task<Result<StreamingResponse>> exchange(ClientRequest& request, const std::string& target, const std::string& authority, bool& fresh_retry);
  // The connection can carry another exchange: the last body was read to its end.
  bool reusable() const;
  bool idle() const;
  // Hands over the raw stream after a 101.
  StreamPtr take_stream(std::string& early);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

// A client connection of HTTP/2: many streams.
class Http2Connection {
 public:
  virtual ~Http2Connection() = default;
  virtual Task<Result<StreamingResponse>> exchange(ClientRequest request, std::string target, std::string authority, bool tls) = 0;
  // Room for one more stream, not told to go away, alive.
  virtual bool can_open() const = 0;
  virtual size_t open_streams() const = 0;
};
// Over a connected stream (ALPN h2 or prior knowledge).
std::shared_ptr<Http2Connection> make_http2_connection(EventLoop& loop, StreamPtr stream);

// --- HTTP/1.1 syntax (RFC 9112) ---

struct Http1Head {
  std::string method, target;  // requests
  int status = 0;              // responses
  std::string reason;
  int minor_version = 1;
  Headers headers;
};
// Parses a head (without the final empty line). Strict: no bare CR, no obsolete folding, token names only.
Result<Http1Head> parse_http1_head(std::string_view text, bool response);

enum class BodyKind { kNone,
                      kLength,
                      kChunked,
                      kUntilClose };
struct BodyFraming {
  BodyKind kind = BodyKind::kNone;
  uint64_t length = 0;
};
// RFC 9112 section 6.3. A request with both transfer-encoding and content-length is refused.
Result<BodyFraming> request_framing(const Headers& headers);
Result<BodyFraming> response_framing(const std::string& method, const Http1Head& head);

// Bytes of a connection with a look-ahead buffer.
class BufferedReader {
 public:
  BufferedReader(Stream& stream, std::string early) : stream_(&stream), buffer_(std::move(early)) {}
  // The head up to the empty line; nullopt when the peer ended before the first byte.
  Task<Result<std::optional<std::string>>> head(size_t limit);
  // A line without its CRLF.
  Task<Result<std::string>> line(size_t limit);
  // 1..max bytes; "" at the end.
  Task<Result<std::string>> some(size_t max);
  std::string take_buffer() { return std::move(buffer_); }
  bool has_buffered() const { return !buffer_.empty(); }

 private:
  Task<Result<size_t>> fill();
  Stream* stream_;
  std::string buffer_;
};

// The body of a message over a BufferedReader.
class Http1Body final : public BodyReader {
 public:
  Http1Body(BufferedReader& reader, BodyFraming framing) : reader_(&reader), framing_(framing), left_(framing.length) { done_ = framing.kind == BodyKind::kNone || (framing.kind == BodyKind::kLength && left_ == 0); }
  Task<Result<std::optional<std::string>>> read() override;
  bool done() const { return done_; }
  // Runs once, before the first read: sends "100 Continue".
  std::function<Task<Status>()> before_first_read;

 private:
  Task<Status> end_of_chunks();
  BufferedReader* reader_;
  BodyFraming framing_;
  uint64_t left_;
  bool done_ = false, failed_ = false;
};

// The raw stream after a 101, with the bytes that were already read put in front; alpn() then tells the
// subprotocol that the upgrade chose, if any.
StreamPtr with_early_bytes(StreamPtr stream, std::string early, std::string protocol = "");

void append_head(std::string& out, const Headers& headers);

}  // namespace caravel::net
