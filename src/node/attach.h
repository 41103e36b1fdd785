// Attach: the streams of a container's own first process, carried between a RemoteIo and the runtime's streaming server.
//
// The runtime is spoken to over WebSocket with v4.channel.k8s.io: one byte that names the stream before each message. That
// protocol cannot say that the input has ended but by closing the connection, so input has a connection of its own: when
// the client's input ends it is closed, upon which the runtime ends the input of a container with stdinOnce, and the output
// goes on over the other.
#pragma once

#include <string>

#include "node/cri/runtime.h"
#include "node/remote_io.h"

namespace caravel::node {

struct AttachTarget {
  std::string container_id;
  bool stdin_once = false;
};

// Until the container ends, the client goes, or its input ends that is not the container's last (no stdinOnce).
Task<void> serve_attach(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteOptions options, cri::Runtime& runtime, AttachTarget target);

}  // namespace caravel::node
