#include "apiserver/message_stream.h"

#include "base/strings.h"

namespace caravel::apiserver {

namespace {
constexpr const char* kBase64Protocol = "base64.binary.k8s.io";
constexpr int kNormalClosure = 1000;

std::vector<std::string> message_protocols() { return {"binary.k8s.io", kBase64Protocol}; }
}  // namespace

Task<Result<std::unique_ptr<MessageStream>>> MessageStream::accept(net::EventLoop& loop, net::ServerRequest& in, net::ResponseWriter& out) {
  auto socket = co_await net::accept_websocket(loop, in, out, message_protocols());
  if (!socket.ok()) co_return std::move(socket).error();
  co_return std::unique_ptr<MessageStream>(new MessageStream(std::move(*socket)));
}

Task<Status> MessageStream::send(std::string data, bool text) {
  if (socket_->protocol() == kBase64Protocol) {
    data = base64_encode(data);
    text = true;
  }
  Status s = co_await socket_->send(data, text);
  co_return s;
}

Task<void> MessageStream::close() { co_await socket_->close(kNormalClosure, ""); }

}  // namespace caravel::apiserver
