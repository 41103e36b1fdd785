// The streams of a remote command, whichever way the client brought them: WebSocket with
// v5/v4.channel.k8s.io, or SPDY/3.1 with v4.channel.k8s.io.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/http.h"
#include "node/spdy.h"

namespace caravel::node {

// The byte before each message of channel.k8s.io, which names its stream.
enum ChannelByte : unsigned char { kStdin = 0,
                                   kStdout = 1,
                                   kStderr = 2,
                                   kError = 3,
                                   kResizeChannel = 4,
                                   kClose = 255 };
std::string channel_message(unsigned char channel, std::string_view data);

struct RemoteOptions {
  bool input = false, output = false, error = false, tty = false;
};

struct RemoteInput {
  enum Kind { kData,
              kEndOfInput,
              kResize,
              kGone } kind = kGone;
  std::string data;  // bytes for the command, or the JSON of a new terminal size
};

class RemoteIo {
 public:
  virtual ~RemoteIo() = default;
  virtual Task<RemoteInput> read() = 0;
  virtual Task<Status> write(bool error_stream, std::string data) = 0;
  // The command's Status; then the connection is closed.
  virtual Task<void> finish(std::string status_json) = 0;
};

// Answers the upgrade. Null when it was refused (and answered).
Task<std::unique_ptr<RemoteIo>> open_remote_io(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteOptions options);

// A SPDY connection for port-forward: an upgrade to SPDY/3.1, or SPDY inside a WebSocket
// (subprotocol SPDY/3.1+portforward.k8s.io). Null when it was refused.
Task<std::unique_ptr<SpdyConnection>> open_port_forward(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w);

// Text for clients that asked for no upgrade or an unknown one.
Task<void> refuse(net::ResponseWriter& w, int status, std::string text);

}  // namespace caravel::node
