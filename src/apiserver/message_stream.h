// Answers that go on, as the messages of a WebSocket: watches (one JSON text each) and logs (bytes as they come).
// Upstream's subprotocols: none or "binary.k8s.io" sends what there is, "base64.binary.k8s.io" sends it as base64 text.
#pragma once

#include <memory>

#include "net/event_loop.h"
#include "net/websocket.h"

namespace caravel::apiserver {

class MessageStream {
 public:
  // Answers the upgrade; kBadRequest when the client offers other subprotocols only.
  static Task<Result<std::unique_ptr<MessageStream>>> accept(net::EventLoop& loop, net::ServerRequest& in, net::ResponseWriter& out);
  Task<Status> send(std::string data, bool text);
  Task<void> close();

 private:
  explicit MessageStream(std::unique_ptr<net::WebSocket> socket) : socket_(std::move(socket)) {}
  std::unique_ptr<net::WebSocket> socket_;
};

}  // namespace caravel::apiserver
