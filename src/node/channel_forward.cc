#include "node/channel_forward.h"

#include <algorithm>

#include "base/log.h"
#include "base/scope.h"
#include "base/strings.h"
#include "net/websocket.h"
#include "node/port_forward.h"
#include "node/remote_io.h"

namespace caravel::node {

namespace {

const Log kForwardLog{"node-server"};
constexpr size_t kForwardPiece = 32 << 10;
constexpr size_t kForwardQueue = 64;  // messages
constexpr size_t kForwardPortsMax = 100;
constexpr const char* kBinaryChannels = "v4.channel.k8s.io";
constexpr const char* kTextChannels = "v4.base64.channel.k8s.io";

class ChannelForward {
 public:
  ChannelForward(net::EventLoop& loop, std::unique_ptr<net::WebSocket> socket, const std::vector<int>& ports, std::string netns)
      : loop_(loop), socket_(std::move(socket)), netns_(std::move(netns)), outgoing_(loop, kForwardQueue), over_(loop), written_(loop) {
    text_ = socket_->protocol() == kTextChannels;
    for (int p : ports) ports_.push_back(std::make_unique<Port>(loop, p));
  }

  Task<void> run() {
    scope_.spawn(write_out());
    for (size_t i = 0; i < ports_.size(); ++i) {
      const std::string number{static_cast<char>(ports_[i]->port & 0xff), static_cast<char>(ports_[i]->port >> 8)};
      for (size_t channel : {2 * i, 2 * i + 1}) {
        bool taken = co_await send(channel, number);
        if (!taken) co_return;
      }
    }
    scope_.spawn(read_in());
    running_ = ports_.size();
    for (size_t i = 0; i < ports_.size(); ++i) scope_.spawn(serve(i));
    co_await over_.wait();
    outgoing_.close();
    co_await written_.wait();
    co_await socket_->close(1000, "");
  }

 private:
  struct Port {
    Port(net::EventLoop& loop, int number) : port(number), incoming(loop, kForwardQueue) {}
    int port;
    Channel<std::string> incoming;
  };

  Task<bool> send(size_t channel, std::string data) {
    std::string message(1, static_cast<char>(text_ ? '0' + channel : channel));
    message += text_ ? base64_encode(data) : data;
    co_return co_await outgoing_.push(std::move(message));
  }
  Task<void> write_out() {
    while (true) {
      auto message = co_await outgoing_.pop();
      if (!message) break;
      Status s = co_await socket_->send(*message, text_);
      if (!s.ok()) break;
    }
    outgoing_.close();
    over_.set();
    written_.set();
  }
  Task<void> read_in() {
    while (true) {
      auto m = co_await socket_->read();
      if (!m.ok() || !m->has_value()) break;
      const std::string& raw = (*m)->data;
      if (raw.empty()) continue;
      const size_t channel = static_cast<unsigned char>(raw[0]) - (text_ ? size_t{'0'} : 0);
      if (channel % 2 == 1 || channel / 2 >= ports_.size()) continue;  // nobody writes errors to the node
      std::string data = raw.substr(1);
      if (text_) data = base64_decode(data).value_or("");
      if (data.empty()) continue;
      bool taken = co_await ports_[channel / 2]->incoming.push(std::move(data));
      (void)taken;  // the pod's side may have ended
    }
    for (auto& p : ports_) p->incoming.close();
    over_.set();
  }
  Task<void> to_pod_side(Port* from, net::Stream* to) {
    while (true) {
      auto piece = co_await from->incoming.pop();
      if (!piece) break;
      Status s = co_await to->write(*piece);
      if (!s.ok()) break;
    }
    Status s = co_await to->shutdown_write();
    if (!s.ok()) kForwardLog.debug("half-close failed", {{"error", s.error().message}});
  }
  Task<void> serve(size_t i) {
    Port* port = ports_[i].get();
    auto opened = co_await connect_inside(loop_, netns_, port->port);
    if (!opened.ok()) {
      std::string why = "error forwarding port " + std::to_string(port->port) + ": " + opened.error().message;
      bool told = co_await send(2 * i + 1, std::move(why));
      (void)told;  // a client that has gone needs no reason
    } else {
      net::StreamPtr pod = std::move(*opened);
      TaskScope inner;
      inner.spawn(to_pod_side(port, pod.get()));
      std::string buffer(kForwardPiece, 0);
      while (true) {
        auto n = co_await pod->read(std::span<char>(buffer.data(), buffer.size()));
        if (!n.ok() || *n == 0) break;
        bool taken = co_await send(2 * i, buffer.substr(0, *n));
        if (!taken) break;
      }
    }
    port->incoming.close();
    if (--running_ == 0) over_.set();
  }

  net::EventLoop& loop_;
  std::unique_ptr<net::WebSocket> socket_;
  std::string netns_;
  bool text_ = false;
  std::vector<std::unique_ptr<Port>> ports_;
  size_t running_ = 0;
  Channel<std::string> outgoing_;
  Event over_, written_;
  TaskScope scope_;
};

}  // namespace

bool wants_forward_channels(const net::ServerRequest& q) {
  if (!net::is_websocket_upgrade(q)) return false;
  for (auto& header : q.headers.all("sec-websocket-protocol"))
    for (auto& p : split(header, ','))
      if (trim(p).starts_with("SPDY/")) return false;
  return true;
}

Result<std::vector<int>> forwarded_ports(const net::ServerRequest& q) {
  std::vector<int> out;
  bool named = false;
  for (auto& [k, v] : q.target.parameters()) {
    if (k != "port") continue;
    named = true;
    if (v.empty()) return make_error(Code::kBadRequest, "query parameter \"port\" cannot be empty");
    for (auto& p : split(v, ',')) {
      auto n = parse_int(p);
      if (!n || *n < 0 || *n > 65535) return make_error(Code::kBadRequest, "unable to parse \"" + v + "\" as a port");
      if (*n == 0) return make_error(Code::kBadRequest, "port \"" + v + "\" must be > 0");
      out.push_back(static_cast<int>(*n));
    }
  }
  if (!named) return make_error(Code::kBadRequest, "query parameter \"port\" is required");
  if (out.size() > kForwardPortsMax) return make_error(Code::kBadRequest, "more than " + std::to_string(kForwardPortsMax) + " ports");
  return out;
}

Task<void> serve_forward_channels(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, std::string netns) {
  auto ports = forwarded_ports(q);
  if (!ports.ok()) {
    std::string why = ports.error().message;
    co_await refuse(w, 400, std::move(why));
    co_return;
  }
  std::vector<std::string> spoken = {kBinaryChannels, kTextChannels};
  auto socket = co_await net::accept_websocket(loop, q, w, std::move(spoken));
  if (!socket.ok()) {
    std::string why = "unable to upgrade websocket connection: " + socket.error().message;
    co_await refuse(w, 400, std::move(why));
    co_return;
  }
  ChannelForward forward(loop, std::move(*socket), *ports, std::move(netns));
  co_await forward.run();
}

}  // namespace caravel::node
