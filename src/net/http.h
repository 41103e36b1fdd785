// HTTP/1.1 and HTTP/2 (nghttp2), server and client, behind one set of plain types.
//
// Server: one Handler per server; a request is handled in its own task; its body is read on demand
// (flow control reaches the sender) or at once with read_all(). A response is sent whole, streamed, or
// replaced by an upgraded byte stream (WebSocket, SPDY). Limits are named in ServerLimits; a peer that
// breaks them is answered 4xx or cut off.
// Client: pooled keep-alive connections per origin, HTTP/2 where ALPN offers it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/scope.h"
#include "base/task.h"
#include "net/stream.h"

namespace caravel::net {

// Header names are kept in lower case; order is kept; names may repeat.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> items) {
    for (auto& [k, v] : items) add(k, v);
  }
  void add(std::string_view name, std::string_view value);
  // The same for a name that is in lower case already.
  void append(std::string name, std::string value) { items_.emplace_back(std::move(name), std::move(value)); }
  void set(std::string_view name, std::string_view value);
  void erase(std::string_view name);
  const std::string* find(std::string_view name) const;  // the first, any case
  std::string get(std::string_view name) const;          // "" when absent
  std::vector<std::string> all(std::string_view name) const;
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  size_t size() const { return items_.size(); }
  std::vector<std::pair<std::string, std::string>> take() && { return std::move(items_); }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

// A parsed request target: "/api/v1/pods?watch=1&x=a%20b".
struct Target {
  std::string path;                           // raw, as sent
  std::string query;                          // raw, without '?'
  std::vector<std::string> segments() const;  // decoded path segments, empty ones left out
  // Decoded parameters in order; repeated names are kept.
  std::vector<std::pair<std::string, std::string>> parameters() const;
};

// The body of a request (server) or response (client), read as it arrives.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next piece, nullopt at the end. An error if the peer went away.
  virtual Task<Result<std::optional<std::string>>> read() = 0;
  // Everything, or kTooLarge beyond `limit` bytes.
  // `expected`: how long it says to be, 0 if it does not.
  Task<Result<std::string>> read_all(size_t limit, size_t expected = 0);
};

struct ServerRequest {
  std::string method;
  Target target;
  std::string authority;  // Host / :authority
  Headers headers;
  BodyReader* body = nullptr;    // never null while the handler runs
  std::string peer;              // "ip:port"
  std::string peer_certificate;  // verified client certificate, PEM, or ""
  bool tls = false;
  int version = 1;  // 1 or 2
};

class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  // A whole response. `body` may be shared and large; it is not copied.
  virtual Task<Status> send(int status, Headers headers, std::string body) = 0;
  virtual Task<Status> send_shared(int status, Headers headers, std::shared_ptr<const std::string> body) = 0;
  // A streamed response: start, write pieces (each is flushed), finish. write() waits for the peer to
  // take the data (bounded buffering); it fails when the peer is gone.
  virtual Task<Status> start(int status, Headers headers) = 0;
  virtual Task<Status> write(std::string_view piece) = 0;
  // Within a streamed response: takes a shared piece at once, without waiting and without copying it. False when
  // that cannot be (the peer is gone or has not taken what was written before): write() is for that.
  virtual bool write_now(const std::shared_ptr<const std::string>& piece) = 0;
  // Within a streamed response: pieces one after the other, as write() but without copying long runs of them.
  virtual Task<Status> write_pieces(std::vector<std::shared_ptr<const std::string>> pieces) = 0;
  virtual Task<Status> finish(Headers trailers = {}) = 0;
  // HTTP/1.1 only: answers 101 with these headers and hands over the raw stream.
  virtual Task<Result<StreamPtr>> upgrade(Headers headers) = 0;
  virtual bool started() const = 0;
  // Set when the peer has gone away: long-running handlers watch it.
  virtual bool peer_gone() const = 0;
};

using Handler = std::function<Task<void>(ServerRequest&, ResponseWriter&)>;

struct ServerLimits {
  size_t header_bytes_max = 64 * 1024;
  Duration header_timeout = std::chrono::seconds(15);
  Duration idle_timeout = std::chrono::seconds(180);
  size_t connections_max = 20'000;
  uint32_t streams_per_connection_max = 250;
};

// Serves until the returned server is destroyed or closed. The handler outlives it.
class HttpServer {
 public:
  HttpServer(EventLoop& loop, Handler handler, ServerLimits limits = {});
  ~HttpServer();
  void serve(std::unique_ptr<Listener> listener, std::shared_ptr<TlsServerContext> tls = nullptr);
  // Serves one connection that was accepted elsewhere.
  void serve_connection(StreamPtr stream);
  // No new connections; open requests have until `grace` to end.
  Task<void> close(Duration grace);
  size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A request body that is sent while the response is read (HTTP/2 only: gRPC streams).
struct StreamedBody {
  explicit StreamedBody(EventLoop& loop) : opened(loop) {}
  Event opened;  // set when write and finish may be called
  std::function<Task<Status>(std::string)> write;
  std::function<void()> finish;
};

struct ClientRequest {
  std::string method = "GET";
  std::string url;  // "https://host:port/path?query", "http://...", or "http+unix:/run/x.sock:/path"
  Headers headers;
  std::string body;
  Duration timeout = std::chrono::seconds(30);  // until the response headers; 0: none
  std::shared_ptr<StreamedBody> streamed_body;  // instead of `body`
};
struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};
struct StreamingResponse {
  int status = 0;
  Headers headers;
  std::unique_ptr<BodyReader> body;  // destroying it cancels the request
  // Trailers, once the body has ended (gRPC).
  std::function<Headers()> trailers;
};

struct HttpClientOptions {
  std::shared_ptr<TlsClientContext> tls;  // null: the system's trust anchors
  std::string server_name;                // overrides the name to verify
  // Dials instead of the url's host: "10.0.11.4:443" (the url keeps its Host header and SNI).
  std::string connect_to;
  // Opens each connection instead: for servers that no address of this process' network leads to.
  std::function<Task<Result<StreamPtr>>()> dial;
  bool http2 = true;                   // offer h2
  bool http2_prior_knowledge = false;  // h2 without TLS (gRPC over a Unix socket)
  size_t connections_per_origin_max = 64;
};

class HttpClient {
 public:
  HttpClient(EventLoop& loop, HttpClientOptions options = {});
  ~HttpClient();
  // The whole response; bodies above body_max are kTooLarge. Idempotent requests are retried once on a
  // stale keep-alive connection.
  Task<Result<ClientResponse>> send(ClientRequest request, size_t body_max = 256 << 20);
  Task<Result<StreamingResponse>> stream(ClientRequest request);
  // HTTP/1.1 upgrade (WebSocket, SPDY): the raw stream after a 101, or the refusing response as an error.
  Task<Result<StreamPtr>> upgrade(ClientRequest request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "Wed, 21 Oct 2015 07:28:00 GMT"
std::string http_date(Time t);
std::string_view status_text(int status);

}  // namespace caravel::net
