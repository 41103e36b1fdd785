// Byte streams and listeners: TCP, Unix sockets, TLS, in-memory pairs, all behind Stream.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "net/event_loop.h"
#include "net/tls.h"

namespace caravel::net {

// "127.0.0.1:6443", "[::1]:80", "unix:/run/x.sock". Port 0 asks for any free port.
struct Address {
  std::string text;
};

class Stream {
 public:
  virtual ~Stream() = default;
  // Reads 1..buffer.size() bytes; 0 at the orderly end. At most one read and one write at a time.
  virtual Task<Result<size_t>> read(std::span<char> buffer) = 0;
  // Writes all of it.
  virtual Task<Status> write(std::string_view data) = 0;
  // Sends end-of-stream (FIN / close_notify); reading goes on.
  virtual Task<Status> shutdown_write() = 0;
  // Closes at once; pending reads and writes fail with kCancelled.
  virtual void close() = 0;
  virtual std::string peer() const = 0;  // "10.0.11.5:41234"
  virtual std::string local() const = 0;
  // The protocol chosen by ALPN ("h2", "http/1.1") or "".
  virtual std::string alpn() const { return ""; }
  // The verified client or server certificate, PEM; empty without TLS or certificate.
  virtual std::string peer_certificate() const { return ""; }

  // Writes both, in one packet where the transport can.
  virtual Task<Status> write_two(std::string_view first, std::string_view second);
  // The other end has closed its side, as far as is known without reading.
  virtual bool peer_gone() const { return false; }
  // Returns when peer_gone() has become true or the stream was closed; never, if that cannot be told.
  virtual Task<void> wait_peer_gone();
  // The socket under a plain stream, -1 when there is none: for handing over with release_fd().
  virtual int fd() const { return -1; }
  // Gives the socket away; the stream is closed afterwards.
  virtual int release_fd() { return -1; }
};
using StreamPtr = std::unique_ptr<Stream>;

struct ConnectOptions {
  Duration timeout = std::chrono::seconds(10);
  std::shared_ptr<TlsClientContext> tls;  // null: plain
  std::string server_name;                // SNI and the name to verify; default: the host of the address
  std::string alpn;                       // "h2,http/1.1"
  std::string bind_address;               // local address, optional
};
// Host names are resolved with the system's resolver off the loop.
Task<Result<StreamPtr>> connect(EventLoop& loop, Address address, ConnectOptions options = {});

class Listener {
 public:
  virtual ~Listener() = default;
  virtual Task<Result<StreamPtr>> accept() = 0;
  virtual std::string address() const = 0;  // with the real port
  virtual void close() = 0;
};
// Binds with SO_REUSEADDR; errors name the address and the cure ("... is in use by another program; ...").
Result<std::unique_ptr<Listener>> listen(EventLoop& loop, Address address);
// Takes over a listening socket that was opened elsewhere (before entering a namespace).
Result<std::unique_ptr<Listener>> listen_fd(EventLoop& loop, int fd);
// Server handshake over an accepted stream.
Task<Result<StreamPtr>> tls_accept(EventLoop& loop, StreamPtr plain, std::shared_ptr<TlsServerContext> tls);

// Copies both ways until both sides have ended or one fails: for proxies. Half-closes are kept.
Task<void> splice(EventLoop& loop, Stream& a, Stream& b);

// A stream over any non-blocking descriptor (pipe end, pseudo terminal, socket), which it then owns.
StreamPtr stream_from_fd(EventLoop& loop, int fd);
// A stream that gives `first` before what `inner` has.
StreamPtr prefixed_stream(std::string first, StreamPtr inner);

// Two connected in-memory streams: for tests.
std::pair<StreamPtr, StreamPtr> stream_pair(EventLoop& loop);

}  // namespace caravel::net
