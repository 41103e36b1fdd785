// `caravel edge`: the internet in front of the load balancers. A connection that comes in on the host's
// 127.0.0.1:8080 or :8443 leaves from a public address inside the world towards a load balancer's public
// address, port 80 or 443. Which one: the name that the client asks for (HTTP Host, TLS SNI) if the VPC's
// records have it, else the first load balancer that listens on the port, an ALB before an NLB.
#include <csignal>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"
#include "net/stream.h"
#include "world/command.h"

namespace caravel::world {
namespace {

constexpr size_t kPeekBytes = 4096;
constexpr Duration kPeekTimeout = std::chrono::seconds(10);

std::string sni_of(std::string_view hello) {
  // TLS record (5), handshake header (4), version (2), random (32), session id, ciphers, compression, extensions.
  auto u8 = [&](size_t i) -> size_t { return i < hello.size() ? static_cast<unsigned char>(hello[i]) : 0; };
  auto u16 = [&](size_t i) -> size_t { return u8(i) << 8 | u8(i + 1); };
  if (hello.size() < 44 || u8(0) != 22 || u8(5) != 1) return "";
  size_t at = 43;
  at += 1 + u8(at);
  at += 2 + u16(at);
  at += 1 + u8(at);
  size_t end = std::min(hello.size(), at + 2 + u16(at));
  at += 2;
  while (at + 4 <= end) {
    size_t type = u16(at), size = u16(at + 2);
    if (type == 0 && at + 9 <= end) {
      size_t n = u16(at + 7);
      return at + 9 + n <= end ? std::string(hello.substr(at + 9, n)) : "";
    }
    at += 4 + size;
  }
  return "";
}

std::string host_of(std::string_view request) {
  for (auto& line : split(request, '\n'))
    if (line.size() > 5 && equals_ignore_case(line.substr(0, 5), "host:")) {
      std::string_view v = trim(std::string_view(line).substr(5));
      return to_lower(v.substr(0, v.rfind(':') == v.npos ? v.npos : v.rfind(':')));
    }
  return "";
}

class Edge {
 public:
  Edge(net::EventLoop& loop, std::string records, std::string doors, std::string from) : loop_(loop), records_(std::move(records)), doors_(std::move(doors)), from_(std::move(from)) {}
  Task<void> accept_loop(std::unique_ptr<net::Listener> listener, int port) {
    while (true) {
      auto stream = co_await listener->accept();
      if (!stream.ok()) {
        if (stream.error().code == Code::kCancelled) co_return;
        co_await sleep(loop_, 50ms);
        continue;
      }
      scope_.spawn(carry(std::move(*stream), port));
    }
  }
  TaskScope& scope() { return scope_; }

 private:
  static json::Value read(const std::string& file) {
    auto text = net::read_file(file);
    if (!text.ok()) return json::Value();
    return json::parse(*text).value_or(json::Value());
  }

  // The address of the load balancer for a name; "" while there is none.
  std::string find(const std::string& name, int port) {
    const json::Value records = read(records_), doors = read(doors_);
    if (const json::Value* r = records.find(name + ".")) return r->at(0).as_string();
    for (const json::Value& balancer : doors[std::to_string(port)].as_array())
      if (const json::Value* r = records.find(balancer.as_string() + ".")) return r->at(0).as_string();
    return "";
  }

  Task<void> carry(net::StreamPtr client, int port) {
    std::string first(kPeekBytes, '\0');
    std::span<char> room(first.data(), first.size());
    auto reading = client->read(room);
    auto n = co_await within(loop_, kPeekTimeout, std::move(reading));
    if (!n || !n->ok() || **n == 0) co_return;
    first.resize(**n);
    std::string name = port == 443 ? sni_of(first) : host_of(first);
    std::string to = find(name, port);
    if (to.empty()) {
      if (port == 80) {
        auto sent = co_await client->write("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 31\r\n\r\nthere is no load balancer yet.\n");
        (void)sent;
      }
      co_return;
    }
    net::Address address{to + ":" + std::to_string(port)};
    net::ConnectOptions options;
    options.timeout = 5s;
    options.bind_address = from_;
    auto server = co_await net::connect(loop_, std::move(address), std::move(options));
    if (!server.ok()) {
      log_.warn("the load balancer does not answer", {{"address", to}, {"error", server.error().message}});
      co_return;
    }
    auto sent = co_await (*server)->write(first);
    if (!sent.ok()) co_return;
    co_await net::splice(loop_, *client, **server);
  }

  net::EventLoop& loop_;
  std::string records_, doors_, from_;
  Log log_{"edge"};
  TaskScope scope_;
};

Result<int> run_edge(const Flags& flags) {
  net::EventLoop loop;
  Edge edge(loop, flags.get("records"), flags.get("doors"), flags.get("from"));
  struct Door {
    const char* flag;
    int port;
  };
  for (auto& d : {Door{"http-fd", 80}, Door{"https-fd", 443}}) {
    if (!flags.given(d.flag)) continue;
    TRY(int64_t fd, flags.get_int(d.flag));
    TRY(auto listener, net::listen_fd(loop, static_cast<int>(fd)));
    edge.scope().spawn(edge.accept_loop(std::move(listener), d.port));
  }
  loop.handle_signal(SIGTERM, [&loop] { loop.stop(); });
  loop.run();
  return 0;
}

}  // namespace

const Command kEdgeCommand = {
    "edge",
    "carries the host's HTTP ports to the load balancers",
    "Started by `caravel up`.\n",
    {
        {"records", "FILE", "the VPC's DNS records"},
        {"doors", "FILE", "names of the load balancers that listen, by port"},
        {"from", "ADDRESS", "the public address that clients seem to have", "198.51.100.10"},
        {"http-fd", "N", "inherited listening socket for port 80"},
        {"https-fd", "N", "inherited listening socket for port 443"},
    },
    run_edge,
    true,
};

}  // namespace caravel::world
