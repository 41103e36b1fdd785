// WebSocket (RFC 6455), both sides, over an upgraded stream.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http.h"

namespace caravel::net {

struct WebSocketMessage {
  bool text = false;
  std::string data;
};

class WebSocket {
 public:
  virtual ~WebSocket() = default;
  // The next message; nullopt after the peer's close. Pings are answered inside.
  virtual Task<Result<std::optional<WebSocketMessage>>> read() = 0;
  virtual Task<Status> send(std::string_view data, bool text) = 0;
  virtual Task<void> close(int code, std::string_view reason) = 0;
  virtual const std::string& protocol() const = 0;  // the chosen subprotocol
};

bool is_websocket_upgrade(const ServerRequest& request);
// Answers the upgrade; picks the first of `protocols` that the client offered ("" if none offered).
// kBadRequest if the client offered only unknown ones.
Task<Result<std::unique_ptr<WebSocket>>> accept_websocket(EventLoop& loop, ServerRequest& request, ResponseWriter& writer, std::vector<std::string> protocols,
                                                          size_t message_max = 32 << 20);
Task<Result<std::unique_ptr<WebSocket>>> connect_websocket(EventLoop& loop, HttpClient& client, ClientRequest request, std::vector<std::string> protocols);

}  // namespace caravel::net
