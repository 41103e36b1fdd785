// SPDY/3.1 framing, server side, as far as Kubernetes' exec, attach and port-forward use it: the client
// opens streams (their headers say what they are), both sides send data and half-close. Clients ignore
// SPDY's flow control, so there is none here either; back-pressure is that of the connection.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/scope.h"
#include "net/stream.h"

namespace caravel::node {

class SpdyConnection;

// One stream. Valid as long as its connection.
struct SpdyStream {
  uint32_t id = 0;
  std::map<std::string, std::string> headers;      // names in lower case
  std::unique_ptr<Channel<std::string>> incoming;  // closed at the peer's half-close or reset
};

class SpdyConnection {
 public:
  SpdyConnection(net::EventLoop& loop, net::StreamPtr transport);
  ~SpdyConnection();
  // Reads until the peer goes; every new stream is answered and handed over.
  Task<void> run(std::function<void(SpdyStream*)> opened);
  Task<Status> send(uint32_t stream, std::string data, bool last = false);
  Task<Status> reset(uint32_t stream);
  // GOAWAY, then closes.
  Task<void> close();

 private:
  struct Codec;
  Task<Status> write_frame(std::string frame);
  Task<bool> read_exactly(char* out, size_t n);
  Task<bool> control(uint16_t type, uint8_t flags, std::string payload);

  net::EventLoop* loop_;
  net::StreamPtr transport_;
  std::unique_ptr<Codec> codec_;
  std::map<uint32_t, std::unique_ptr<SpdyStream>> streams_;
  std::function<void(SpdyStream*)> opened_;
  Semaphore writing_;
};

}  // namespace caravel::node
