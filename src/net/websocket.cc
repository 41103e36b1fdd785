// WebSocket framing (RFC 6455), both sides.
#include "net/websocket.h"

#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::net {
namespace {

constexpr char kGuid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr size_t kReadBytes = 32 * 1024;
enum Opcode { kContinuation = 0,
              kText = 1,
              kBinary = 2,
              kClose = 8,
              kPing = 9,
              kPong = 10 };

std::string accept_key(std::string_view key) { return base64_encode(sha1(std::string(key) + kGuid)); }

class Socket final : public WebSocket {
 public:
  Socket(EventLoop& loop, StreamPtr stream, bool client, std::string protocol, size_t message_max)
      : stream_(std::move(stream)), client_(client), protocol_(std::move(protocol)), message_max_(message_max), sending_(loop, 1) {}

  Task<Result<std::optional<WebSocketMessage>>> read() override {
    WebSocketMessage message;
    bool in_message = false;
    while (true) {
      CO_TRY_VOID(co_await need(2));
      unsigned char b0 = byte(0), b1 = byte(1);
      bool fin = b0 & 0x80, masked = b1 & 0x80;
      int opcode = b0 & 0x0f;
      uint64_t length = b1 & 0x7f;
      size_t head = 2;
      if (b0 & 0x70) co_return make_error(Code::kBadRequest, "WebSocket: reserved bits are set");
      if (length == 126 || length == 127) {
        size_t n = length == 126 ? 2 : 8;
        CO_TRY_VOID(co_await need(2 + n));
        length = 0;
        for (size_t i = 0; i < n; ++i) length = length << 8 | byte(2 + i);
        head += n;
      }
      if (masked == client_) co_return make_error(Code::kBadRequest, "WebSocket: wrong masking");
      if (opcode >= 8 && (length > 125 || !fin)) co_return make_error(Code::kBadRequest, "WebSocket: malformed control frame");
      if (length + message.data.size() > message_max_) co_return make_error(Code::kTooLarge, "WebSocket: a message is larger than " + std::to_string(message_max_) + " bytes");
      if (masked) head += 4;
      CO_TRY_VOID(co_await need(head + length));
      std::string payload = buffer_.substr(head, length);
      if (masked)
        for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ buffer_[head - 4 + (i & 3)]);
      buffer_.erase(0, head + length);
      if (opcode == kPing) {
        CO_TRY_VOID(co_await frame(kPong, payload));
        continue;
      }
      if (opcode == kPong) continue;
      if (opcode == kClose) {
        if (!closed_) {
          closed_ = true;
          auto sent = co_await frame(kClose, payload);
          (void)sent;
        }
        co_return std::optional<WebSocketMessage>();
      }
      if ((opcode == kContinuation) != in_message || opcode > kBinary) co_return make_error(Code::kBadRequest, "WebSocket: unexpected frame");
      if (!in_message) message.text = opcode == kText;
      in_message = true;
      if (message.data.empty()) message.data = std::move(payload);
      else message.data += payload;
      if (fin) {
        std::optional<WebSocketMessage> out(std::move(message));
        co_return out;
      }
    }
  }

  Task<Status> send(std::string_view data, bool text) override { return frame(text ? kText : kBinary, std::string(data)); }

  Task<void> close(int code, std::string_view reason) override {
    if (closed_) co_return;
    closed_ = true;
    std::string payload;
    payload += static_cast<char>(code >> 8);
    payload += static_cast<char>(code & 0xff);
    payload += reason.substr(0, 120);
    auto sent = co_await frame(kClose, payload);
    (void)sent;
    auto end = co_await stream_->shutdown_write();
    (void)end;
  }

  const std::string& protocol() const override { return protocol_; }

 private:
  unsigned char byte(size_t i) const { return static_cast<unsigned char>(buffer_[i]); }

  Task<Status> need(size_t n) {
    while (buffer_.size() < n) {
      size_t old = buffer_.size();
      buffer_.resize(old + kReadBytes);
      std::span<char> room(buffer_.data() + old, kReadBytes);
      auto got = co_await stream_->read(room);
      buffer_.resize(old + (got.ok() ? *got : 0));
      if (!got.ok()) co_return std::move(got).error();
      if (*got == 0) co_return unavailable("the WebSocket's peer went away");
    }
    co_return ok();
  }

  // One frame at a time: an answer to a ping must not land inside another task's frame.
  Task<Status> frame(int opcode, std::string payload) {
    std::string out;
    out += static_cast<char>(0x80 | opcode);
    char mask_bit = client_ ? static_cast<char>(0x80) : 0;
    if (payload.size() < 126) {
      out += static_cast<char>(mask_bit | static_cast<char>(payload.size()));
    } else {
      int n = payload.size() < 65536 ? 2 : 8;
      out += static_cast<char>(mask_bit | (n == 2 ? 126 : 127));
      for (int i = n - 1; i >= 0; --i) out += static_cast<char>(payload.size() >> (8 * i));
    }
    if (client_) {
      std::string mask = random_bytes(4);
      out += mask;
      for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ mask[i & 3]);
    }
    out += payload;
    co_await sending_.acquire();
    auto r = co_await stream_->write(out);
    sending_.release();
    co_return r;
  }

  StreamPtr stream_;
  bool client_;
  std::string protocol_;
  size_t message_max_;
  Semaphore sending_;
  std::string buffer_;
  bool closed_ = false;
};

}  // namespace

bool is_websocket_upgrade(const ServerRequest& request) {
  return equals_ignore_case(request.headers.get("upgrade"), "websocket") && to_lower(request.headers.get("connection")).find("upgrade") != std::string::npos &&
         !request.headers.get("sec-websocket-key").empty();
}

Task<Result<std::unique_ptr<WebSocket>>> accept_websocket(EventLoop& loop, ServerRequest& request, ResponseWriter& writer, std::vector<std::string> protocols,
                                                          size_t message_max) {
  if (!is_websocket_upgrade(request)) co_return make_error(Code::kBadRequest, "not a WebSocket upgrade");
  std::vector<std::string> offered;
  for (auto& header : request.headers.all("sec-websocket-protocol"))
    for (auto& p : split(header, ',')) offered.emplace_back(trim(p));
  std::string chosen;
  for (auto& p : protocols)
    if (chosen.empty() && std::find(offered.begin(), offered.end(), p) != offered.end()) chosen = p;
  if (chosen.empty() && !offered.empty() && !protocols.empty())
    co_return make_error(Code::kBadRequest, "none of the offered WebSocket protocols (" + join(offered, ", ") + ") is spoken here; use " + join(protocols, ", "));
  Headers headers{{"upgrade", "websocket"}, {"connection", "Upgrade"}, {"sec-websocket-accept", accept_key(request.headers.get("sec-websocket-key"))}};
  if (!chosen.empty()) headers.add("sec-websocket-protocol", chosen);
  auto stream = co_await writer.upgrade(std::move(headers));
  if (!stream.ok()) co_return std::move(stream).error();
  std::unique_ptr<WebSocket> out = std::make_unique<Socket>(loop, std::move(*stream), false, chosen, message_max);
  co_return out;
}

Task<Result<std::unique_ptr<WebSocket>>> connect_websocket(EventLoop& loop, HttpClient& client, ClientRequest request, std::vector<std::string> protocols) {
  request.method = "GET";
  request.headers.set("upgrade", "websocket");
  request.headers.set("connection", "Upgrade");
  request.headers.set("sec-websocket-version", "13");
  request.headers.set("sec-websocket-key", base64_encode(random_bytes(16)));
  if (!protocols.empty()) request.headers.set("sec-websocket-protocol", join(protocols, ", "));
  auto stream = co_await client.upgrade(std::move(request));
  if (!stream.ok()) co_return std::move(stream).error();
  std::string chosen = (*stream)->alpn();
  std::unique_ptr<WebSocket> out = std::make_unique<Socket>(loop, std::move(*stream), true, chosen == "http/1.1" ? "" : chosen, 32u << 20);
  co_return out;
}

}  // namespace caravel::net
