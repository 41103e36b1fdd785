#include "apiserver/aggregation/https_transport.h"

#include "apiserver/forward.h"

namespace caravel::apiserver {

namespace {

constexpr size_t kClientsMax = 64;  // kept for their connections
constexpr size_t kAnswerMax = 64u << 20;

class HttpsTransport final : public AggregateTransport {
 public:
  HttpsTransport(net::EventLoop& loop, std::string certificate, std::string key) : loop_(&loop), certificate_(std::move(certificate)), key_(std::move(key)) {}

  Task<Result<net::ClientResponse>> exchange(RemoteServer to, net::ClientRequest q) override {
    auto way = way_to(to);
    if (!way.ok()) co_return std::move(way).error();
    std::shared_ptr<Way> held = *way;
    q.url = "https://" + to.host + q.url;
    auto res = co_await held->client->send(std::move(q), kAnswerMax);
    co_return res;
  }

  Task<Status> forward(RemoteServer to, net::Headers who, net::ServerRequest& in, net::ResponseWriter& out) override {
    auto way = way_to(to);
    if (!way.ok()) co_return std::move(way).error();
    std::shared_ptr<Way> held = *way;
    ForwardGoal goal;
    goal.address = to.address;
    goal.host = to.host;
    goal.tls = true;
    goal.path = in.target.path + (in.target.query.empty() ? "" : "?" + in.target.query);
    goal.context = held->tls;
    goal.server_name = to.server_name;
    goal.extra = std::move(who);
    if (wants_upgrade(in)) {
      Status s = co_await forward_upgrade(loop_, goal, in, out);
      co_return s;
    }
    Status s = co_await forward_request(held->client.get(), goal, in, out);
    co_return s;
  }

 private:
  struct Way {
    std::shared_ptr<net::TlsClientContext> tls;
    std::unique_ptr<net::HttpClient> client;
  };
  Result<std::shared_ptr<Way>> way_to(const RemoteServer& to) {
    std::string key = to.address + "\n" + to.host + "\n" + (to.insecure ? "-" : to.ca);
    if (auto it = ways_.find(key); it != ways_.end()) return it->second;
    auto way = std::make_shared<Way>();
    net::TlsClientOptions t;
    t.ca = to.ca;
    t.insecure = to.insecure;
    t.certificate = certificate_;
    t.key = key_;
    TRY(way->tls, net::make_tls_client(t));
    net::HttpClientOptions o;
    o.tls = way->tls;
    o.server_name = to.server_name;
    o.connect_to = to.address;
    o.http2 = false;
    way->client = std::make_unique<net::HttpClient>(*loop_, std::move(o));
    if (ways_.size() >= kClientsMax) ways_.clear();
    ways_[key] = way;
    return way;
  }

  net::EventLoop* loop_;
  std::string certificate_, key_;
  std::map<std::string, std::shared_ptr<Way>> ways_;
};

}  // namespace

std::unique_ptr<AggregateTransport> make_https_aggregate_transport(net::EventLoop& loop, std::string client_certificate, std::string client_key) {
  return std::make_unique<HttpsTransport>(loop, std::move(client_certificate), std::move(client_key));
}

}  // namespace caravel::apiserver
