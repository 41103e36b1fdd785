#include "node/remote_io.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/websocket.h"

namespace caravel::node {
namespace {

const Log kStreamLog{"node-server"};
constexpr Duration kStreamWait = std::chrono::seconds(30);  // for the client to open its streams
constexpr Duration kGoodbye = std::chrono::seconds(2);
constexpr size_t kQueue = 64;
constexpr const char* kTunnelProtocol = "SPDY/3.1+portforward.k8s.io";

std::vector<std::string> channel_protocols() { return {"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"}; }
std::vector<std::string> tunnel_protocols() { return {kTunnelProtocol}; }

class WebSocketIo final : public RemoteIo {
 public:
  explicit WebSocketIo(std::unique_ptr<net::WebSocket> socket) : socket_(std::move(socket)) {}
  // Tells the client that the streams are there.
  Task<Status> hello() { return socket_->send(channel_message(kStdout, ""), false); }

  Task<RemoteInput> read() override {
    RemoteInput in;
    while (true) {
      auto m = co_await socket_->read();
      if (!m.ok() || !m->has_value()) co_return in;
      const std::string& data = (*m)->data;
      if (data.empty()) continue;
      const auto channel = static_cast<unsigned char>(data[0]);
      if (channel == kStdin && data.size() > 1) in.kind = RemoteInput::kData;
      else if (channel == kResizeChannel) in.kind = RemoteInput::kResize;
      else if (channel == kClose && data.size() > 1 && data[1] == kStdin) in.kind = RemoteInput::kEndOfInput;
      else continue;
      in.data = data.substr(1);
      co_return in;
    }
  }
  Task<Status> write(bool error_stream, std::string data) override {
    return socket_->send(channel_message(error_stream ? kStderr : kStdout, data), false);
  }
  Task<void> finish(std::string status) override {
    Status s = ok();
    if (socket_->protocol().starts_with("v")) {  // v4 and later
      s = co_await socket_->send(channel_message(kError, status), false);
    } else if (auto v = json::parse(status); v.ok() && std::as_const(*v)["status"].as_string() != "Success") {  // the first one tells of failures only
      s = co_await socket_->send(channel_message(kError, std::as_const(*v)["message"].as_string()), false);
    }
    if (s.ok()) co_await socket_->close(1000, "");
  }

 private:
  std::unique_ptr<net::WebSocket> socket_;
};

class SpdyIo final : public RemoteIo {
 public:
  SpdyIo(net::EventLoop& loop, net::StreamPtr stream, RemoteOptions options)
      : loop_(&loop), o_(options), connection_(loop, std::move(stream)), changed_(loop), ended_(loop), inputs_(loop, kQueue) {
    scope_.spawn(serve());
  }

  // True when the client has opened all streams that it announced.
  Task<bool> wait_streams() {
    const Time until = loop_->now() + kStreamWait;
    while (!complete()) {
      if (ended_.is_set() || loop_->now() >= until) co_return false;
      changed_.reset();
      co_await changed_.wait(std::chrono::milliseconds(200));
    }
    if (o_.input) scope_.spawn(pump(streams_["stdin"], RemoteInput::kData));
    if (o_.tty && streams_.count("resize")) scope_.spawn(pump(streams_["resize"], RemoteInput::kResize));
    co_return true;
  }

  Task<RemoteInput> read() override {
    auto in = co_await inputs_.pop();
    co_return in ? std::move(*in) : RemoteInput();
  }
  Task<Status> write(bool error_stream, std::string data) override {
    auto it = streams_.find(error_stream ? "stderr" : "stdout");
    if (it == streams_.end()) co_return ok();
    co_return co_await connection_.send(it->second->id, std::move(data));
  }
  Task<void> finish(std::string status) override {
    for (const char* name : {"stdout", "stderr", "error"}) {
      auto it = streams_.find(name);
      if (it == streams_.end()) continue;
      std::string last;
      if (it->first == "error") last = status;
      Status s = co_await connection_.send(it->second->id, std::move(last), true);
      if (!s.ok()) co_return;
    }
    co_await connection_.close();
    co_await ended_.wait(kGoodbye);
  }

 private:
  bool complete() const {
    return streams_.count("error") && (!o_.input || streams_.count("stdin")) && (!o_.output || streams_.count("stdout")) &&
           (!o_.error || o_.tty || streams_.count("stderr"));
  }
  Task<void> serve() {
    std::function<void(SpdyStream*)> opened = [this](SpdyStream* s) {
      streams_[s->headers["streamtype"]] = s;
      changed_.set();
    };
    co_await connection_.run(std::move(opened));
    ended_.set();
    changed_.set();
    inputs_.close();
  }
  Task<void> pump(SpdyStream* from, RemoteInput::Kind kind) {
    while (true) {
      auto data = co_await from->incoming->pop();
      RemoteInput in;
      in.kind = data ? kind : RemoteInput::kEndOfInput;
      if (data) in.data = std::move(*data);
      const bool last = !data;
      if (last && (kind != RemoteInput::kData || ended_.is_set())) co_return;
      bool taken = co_await inputs_.push(std::move(in));
      if (!taken || last) co_return;
    }
  }

  net::EventLoop* loop_;
  RemoteOptions o_;
  SpdyConnection connection_;
  std::map<std::string, SpdyStream*> streams_;
  Event changed_, ended_;
  Channel<RemoteInput> inputs_;
  TaskScope scope_;
};

// A byte stream inside a WebSocket's binary messages.
class TunnelStream final : public net::Stream {
 public:
  explicit TunnelStream(std::unique_ptr<net::WebSocket> socket) : socket_(std::move(socket)) {}
  Task<Result<size_t>> read(std::span<char> buffer) override {
    while (rest_.empty()) {
      auto m = co_await socket_->read();
      if (!m.ok()) co_return std::move(m).error();
      if (!m->has_value()) co_return size_t{0};
      rest_ = std::move((*m)->data);
    }
    const size_t n = std::min(buffer.size(), rest_.size());
    std::copy_n(rest_.data(), n, buffer.data());
    rest_.erase(0, n);
    co_return n;
  }
  Task<Status> write(std::string_view data) override { return socket_->send(data, false); }
  Task<Status> shutdown_write() override {
    co_await socket_->close(1000, "");
    co_return ok();
  }
  void close() override { rest_.clear(); }
  std::string peer() const override { return "websocket"; }
  std::string local() const override { return "websocket"; }

 private:
  std::unique_ptr<net::WebSocket> socket_;
  std::string rest_;
};

bool is_spdy_upgrade(const net::ServerRequest& q) { return equals_ignore_case(q.headers.get("upgrade"), "SPDY/3.1"); }

// The stream protocol to speak: the first of ours that the client offered.
std::string choose_protocol(const net::ServerRequest& q, const std::vector<std::string>& ours) {
  std::vector<std::string> offered;
  for (auto& h : q.headers.all("x-stream-protocol-version"))
    for (auto& p : split(h, ',')) offered.emplace_back(trim(p));
  for (auto& p : ours)
    if (std::find(offered.begin(), offered.end(), p) != offered.end()) return p;
  return "";
}

net::Headers spdy_headers(const std::string& protocol) {
  net::Headers h;
  h.set("connection", "Upgrade");
  h.set("upgrade", "SPDY/3.1");
  h.set("x-stream-protocol-version", protocol);
  return h;
}

std::vector<std::string> command_protocols() { return {"v5.channel.k8s.io", "v4.channel.k8s.io"}; }
std::vector<std::string> forward_protocols() { return {"portforward.k8s.io"}; }

}  // namespace

std::string channel_message(unsigned char channel, std::string_view data) {
  std::string out(1, static_cast<char>(channel));
  out += data;
  return out;
}

Task<void> refuse(net::ResponseWriter& w, int status, std::string text) {
  net::Headers h;
  h.set("content-type", "text/plain; charset=utf-8");
  Status s = co_await w.send(status, std::move(h), text + "\n");
  if (!s.ok()) kStreamLog.debug("answer not delivered", {{"error", s.error().message}});
}

Task<std::unique_ptr<RemoteIo>> open_remote_io(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteOptions options) {
  std::unique_ptr<RemoteIo> none;
  if (net::is_websocket_upgrade(q)) {
    auto socket = co_await net::accept_websocket(loop, q, w, channel_protocols());
    if (!socket.ok()) co_return none;
    auto io = std::make_unique<WebSocketIo>(std::move(*socket));
    Status s = co_await io->hello();
    if (!s.ok()) co_return none;
    co_return io;
  }
  if (!is_spdy_upgrade(q)) {
    co_await refuse(w, 400, "Upgrade request required");
    co_return none;
  }
  const std::string protocol = choose_protocol(q, command_protocols());
  if (protocol.empty()) {
    co_await refuse(w, 403, "unable to upgrade: unable to negotiate protocol: this node speaks v4.channel.k8s.io");
    co_return none;
  }
  auto stream = co_await w.upgrade(spdy_headers(protocol));
  if (!stream.ok()) co_return none;
  auto io = std::make_unique<SpdyIo>(loop, std::move(*stream), options);
  bool complete = co_await io->wait_streams();
  if (!complete) co_return none;
  co_return io;
}

Task<std::unique_ptr<SpdyConnection>> open_port_forward(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w) {
  std::unique_ptr<SpdyConnection> none;
  if (net::is_websocket_upgrade(q)) {
    auto socket = co_await net::accept_websocket(loop, q, w, tunnel_protocols());
    if (!socket.ok()) co_return none;
    co_return std::make_unique<SpdyConnection>(loop, std::make_unique<TunnelStream>(std::move(*socket)));
  }
  if (!is_spdy_upgrade(q)) {
    co_await refuse(w, 400, "Upgrade request required");
    co_return none;
  }
  const std::string protocol = choose_protocol(q, forward_protocols());
  if (protocol.empty()) {
    co_await refuse(w, 403, "unable to upgrade: unable to negotiate protocol: this node speaks portforward.k8s.io");
    co_return none;
  }
  auto stream = co_await w.upgrade(spdy_headers(protocol));
  if (!stream.ok()) co_return none;
  co_return std::make_unique<SpdyConnection>(loop, std::move(*stream));
}

}  // namespace caravel::node
