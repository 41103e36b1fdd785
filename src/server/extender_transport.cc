#include "server/extender_transport.h"

#include <map>

#include "net/http.h"
#include "net/process.h"
#include "net/tls.h"

namespace caravel::server {

namespace {

constexpr size_t kAnswerMax = 64u << 20;

class HttpExtenders final : public scheduler::ExtenderTransport {
 public:
  explicit HttpExtenders(net::EventLoop& loop) : loop_(&loop) {}

  Task<Result<json::Value>> post(const scheduler::ExtenderConfig& e, std::string verb, json::Value body) override {
    auto client = client_of(e);
    if (!client.ok()) co_return std::move(client).error();
    std::shared_ptr<net::HttpClient> held = *client;
    std::string url = e.url_prefix;
    while (!url.empty() && url.back() == '/') url.pop_back();
    url += "/" + verb;
    net::ClientRequest q;
    q.method = "POST";
    q.url = url;
    q.headers.add("content-type", "application/json");
    q.body = json::dump(body);
    q.timeout = e.timeout;
    Task<Result<net::ClientResponse>> work = held->send(std::move(q), kAnswerMax);
    auto raced = co_await within(*loop_, e.timeout, std::move(work));
    if (!raced) co_return make_error(Code::kTimeout, "Post \"" + url + "\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    Result<net::ClientResponse>& reply = *raced;
    if (!reply.ok()) co_return unavailable("Post \"" + url + "\": " + reply.error().message);
    if (reply->status != 200)
      co_return internal("failed " + verb + " with extender at URL " + e.url_prefix + ", code " + std::to_string(reply->status));
    Result<json::Value> answer = json::parse(reply->body);
    if (!answer.ok()) co_return internal("the answer of " + url + " is not JSON: " + answer.error().message);
    co_return answer;
  }

 private:
  // One client for each extender, kept for its connections.
  Result<std::shared_ptr<net::HttpClient>> client_of(const scheduler::ExtenderConfig& e) {
    if (auto it = clients_.find(e.url_prefix); it != clients_.end()) return it->second;
    net::HttpClientOptions o;
    if (e.https) {
      net::TlsClientOptions t;
      t.ca = e.ca_data, t.certificate = e.cert_data, t.key = e.key_data;
      for (auto [file, to] : {std::pair(&e.ca_file, &t.ca), std::pair(&e.cert_file, &t.certificate), std::pair(&e.key_file, &t.key)}) {
        if (file->empty() || !to->empty()) continue;
        TRY(*to, net::read_file(*file));
      }
      t.insecure = e.insecure || t.ca.empty();  // upstream trusts an extender for which no authority is named
      TRY(o.tls, net::make_tls_client(t));
      o.server_name = e.server_name;
    }
    auto made = std::make_shared<net::HttpClient>(*loop_, o);
    clients_[e.url_prefix] = made;
    return made;
  }

  net::EventLoop* loop_;
  std::map<std::string, std::shared_ptr<net::HttpClient>> clients_;
};

}  // namespace

std::unique_ptr<scheduler::ExtenderTransport> make_extender_transport(net::EventLoop& loop) { return std::make_unique<HttpExtenders>(loop); }

}  // namespace caravel::server
