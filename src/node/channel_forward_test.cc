// Port-forward over WebSocket channels, against an echo service on this machine.
#include "node/channel_forward.h"

#include <gtest/gtest.h>

#include "net/http.h"
#include "net/stream.h"
#include "net/websocket.h"

namespace caravel::node {
namespace {

Task<void> echo(net::Listener& listener) {
  auto peer = co_await listener.accept();
  if (!peer.ok()) co_return;
  std::string buffer(100, 0);
  while (true) {
    auto n = co_await (*peer)->read(std::span<char>(buffer.data(), buffer.size()));
    if (!n.ok() || *n == 0) co_return;
    const std::string data = buffer.substr(0, *n);
    Status s = co_await (*peer)->write(data);
    if (!s.ok()) co_return;
  }
}

struct Talk {
  std::string protocol, port_data, port_error, answer, failure;
};

// One port where something listens and one where nothing does.
Task<Talk> talk(net::EventLoop& loop, net::HttpClient& client, std::string url, std::string protocol, std::string message) {
  Talk out;
  net::ClientRequest r;
  r.url = std::move(url);
  std::vector<std::string> protocols = {protocol};
  auto ws = co_await net::connect_websocket(loop, client, std::move(r), protocols);
  if (!ws.ok()) {
    out.failure = ws.error().message;
    co_return out;
  }
  out.protocol = (*ws)->protocol();
  Status s = co_await (*ws)->send(message, false);
  if (!s.ok()) co_return out;
  const char first = protocol.find("base64") == std::string::npos ? 0 : '0';
  while (out.answer.empty() || out.failure.empty()) {
    auto m = co_await (*ws)->read();
    if (!m.ok() || !*m) break;
    const std::string data = (*m)->data;
    const int channel = data[0] - first;
    if (channel == 0 && out.port_data.empty()) out.port_data = data.substr(1);
    else if (channel == 1) out.port_error = data.substr(1);
    else if (channel == 0) out.answer += data.substr(1);
    else if (channel == 3 && data.size() > 5) out.failure = data.substr(1);
  }
  co_return out;
}

struct ChannelForwardTest : testing::Test {
  void SetUp() override {
    auto l = net::listen(loop, {"127.0.0.1:0"});
    ASSERT_TRUE(l.ok()) << l.error().message;
    service = std::move(*l);
    const std::string at = service->address();
    port = at.substr(at.rfind(':') + 1);
    scope.spawn(echo(*service));
    server = std::make_unique<net::HttpServer>(
        loop, [this](net::ServerRequest& q, net::ResponseWriter& w) { return serve_forward_channels(loop, q, w, ""); }, net::ServerLimits());
    auto listener = net::listen(loop, {"127.0.0.1:0"});
    ASSERT_TRUE(listener.ok());
    address = (*listener)->address();
    server->serve(std::move(*listener), nullptr);
    client = std::make_unique<net::HttpClient>(loop, net::HttpClientOptions());
  }
  net::EventLoop loop;
  TaskScope scope;
  std::unique_ptr<net::Listener> service;
  std::unique_ptr<net::HttpServer> server;
  std::unique_ptr<net::HttpClient> client;
  std::string port, address;
};

TEST_F(ChannelForwardTest, EachPortHasAChannelForDataAndOneForErrors) {
  Talk t = run_on(loop, talk(loop, *client, "http://" + address + "/portForward/n/p?port=" + port + "&port=1", "v4.channel.k8s.io", std::string("\0hello", 6)));
  const int number = std::stoi(port);
  const std::string bytes{static_cast<char>(number & 0xff), static_cast<char>(number >> 8)};
  EXPECT_EQ(t.protocol, "v4.channel.k8s.io");
  EXPECT_EQ(t.port_data, bytes);
  EXPECT_EQ(t.port_error, bytes);
  EXPECT_EQ(t.answer, "hello");
  EXPECT_EQ(t.failure.substr(0, 24), "error forwarding port 1:");
}

TEST_F(ChannelForwardTest, TextClientsGetBase64) {
  Talk t = run_on(loop, talk(loop, *client, "http://" + address + "/portForward/n/p?port=" + port + ",1", "v4.base64.channel.k8s.io", "0aGVsbG8="));
  EXPECT_EQ(t.answer, "aGVsbG8=");
}

TEST_F(ChannelForwardTest, PortsAreAskedFor) {
  net::ServerRequest q;
  auto says = [&](const char* query) {
    q.target.query = query;
    auto r = forwarded_ports(q);
    return r.ok() ? std::to_string(r->size()) : r.error().message;
  };
  EXPECT_EQ(says("port=80&port=443,8080"), "3");
  EXPECT_EQ(says(""), "query parameter \"port\" is required");
  EXPECT_EQ(says("port="), "query parameter \"port\" cannot be empty");
  EXPECT_EQ(says("port=0"), "port \"0\" must be > 0");
  EXPECT_EQ(says("port=x"), "unable to parse \"x\" as a port");
}

}  // namespace
}  // namespace caravel::node
