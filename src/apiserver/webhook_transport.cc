#include "apiserver/webhook_transport.h"

#include "apiserver/admission/review.h"
#include "apiserver/service_endpoint.h"
#include "base/strings.h"
#include "net/http.h"
#include "net/tls.h"

namespace caravel::apiserver {

namespace {

constexpr size_t kClientsMax = 64;  // kept for their connections, by caBundle and address
constexpr size_t kAnswerMax = 16u << 20;

class HttpsTransport final : public WebhookTransport {
 public:
  explicit HttpsTransport(net::EventLoop& loop) : loop_(&loop) {}

  Task<Result<WebhookReply>> post(WebhookCall call) override {
    bool kept = clients_.count(key_of(call)) > 0;
    auto r = co_await exchange(call);
    if (r.ok() || !kept || r.error().code == Code::kTimeout) co_return r;
    // A kept connection may have died with the webhook's last instance: once more on a new one.
    clients_.erase(key_of(call));
    auto again = co_await exchange(std::move(call));
    co_return again;
  }

 private:
  Task<Result<WebhookReply>> exchange(WebhookCall call) {
    auto client = client_for(call);
    if (!client.ok()) co_return std::move(client).error();
    std::shared_ptr<net::HttpClient> held = *client;
    net::ClientRequest q;
    q.method = "POST";
    q.url = std::move(call.url);
    q.headers.add("content-type", "application/json");
    q.headers.add("accept", "application/json, */*");
    q.headers.add("user-agent", "kube-apiserver-admission");
    q.body = std::move(call.body);
    q.timeout = call.timeout;
    auto res = co_await held->send(std::move(q), kAnswerMax);
    if (!res.ok()) co_return std::move(res).error();
    WebhookReply out;
    out.status = res->status;
    out.body = std::move(res->body);
    co_return out;
  }
  static std::string key_of(const WebhookCall& call) { return call.connect_to + "\n" + call.ca; }
  Result<std::shared_ptr<net::HttpClient>> client_for(const WebhookCall& call) {
    std::string key = key_of(call);
    if (auto it = clients_.find(key); it != clients_.end()) return it->second;
    net::TlsClientOptions t;
    t.ca = call.ca;
    net::HttpClientOptions o;
    auto tls = net::make_tls_client(t);
    if (!tls.ok()) return invalid("unable to load root certificates: " + tls.error().message);
    o.tls = *tls;
    o.connect_to = call.connect_to;
    if (clients_.size() >= kClientsMax) clients_.clear();
    auto made = std::make_shared<net::HttpClient>(*loop_, o);
    clients_[key] = made;
    return made;
  }

  net::EventLoop* loop_;
  std::map<std::string, std::shared_ptr<net::HttpClient>> clients_;
};

}  // namespace

std::unique_ptr<WebhookTransport> make_https_webhook_transport(net::EventLoop& loop) { return std::make_unique<HttpsTransport>(loop); }

WebhookTarget WebhookTarget::parse(const json::Value& c) {
  WebhookTarget t;
  t.url = c["url"].as_string();
  t.ca = base64_decode(c["caBundle"].as_string()).value_or("");
  if (const json::Value& s = c["service"]; s.is_object()) {
    t.service_ns = s["namespace"].as_string();
    t.service_name = s["name"].as_string();
    t.service_path = s["path"].as_string();
    t.service_port = s["port"].as_int(443);
  }
  return t;
}

Task<Result<std::string>> call_webhook(Core& core, WebhookTarget target, std::string body, Duration timeout) {
  WebhookCall call;
  call.ca = target.ca;
  call.timeout = timeout;
  call.body = std::move(body);
  call.url = target.url;
  Status reachable;
  if (!target.service_name.empty()) {
    std::string path = target.service_path.empty() ? "/" : target.service_path;
    call.url = "https://" + target.service_name + "." + target.service_ns + ".svc:" + std::to_string(target.service_port) + path;
    auto address = service_endpoint(core, target.service_ns, target.service_name, std::to_string(target.service_port));
    if (address.ok()) call.connect_to = *address;
    else reachable = std::move(address).error();
  }
  call.url += "?timeout=" + format_duration(timeout);
  const std::string failed = "Post \"" + call.url + "\": ";
  if (!reachable.ok()) co_return unavailable(failed + reachable.error().message);
  if (!core.webhooks) co_return unavailable(failed + "this server has no way to webhooks");
  auto work = core.webhooks->post(std::move(call));
  auto raced = co_await within(core.ex, timeout, std::move(work));
  if (!raced) co_return make_error(Code::kTimeout, failed + "context deadline exceeded");
  Result<WebhookReply>& reply = *raced;
  if (!reply.ok()) {
    if (reply.error().code == Code::kTimeout) co_return make_error(Code::kTimeout, failed + "context deadline exceeded");
    std::string why = reply.error().message;
    if (why.starts_with("POST ")) {  // the client named the url already
      if (size_t colon = why.find(": "); colon != why.npos) why = why.substr(colon + 2);
    }
    co_return unavailable(failed + why);
  }
  if (reply->status < 200 || reply->status > 299) co_return unavailable(http_failure(reply->status, reply->body));
  co_return std::move(reply->body);
}

}  // namespace caravel::apiserver
