#include "apiserver/webhook_endpoint.h"

namespace caravel::apiserver {

namespace {
constexpr int kWebhookTries = 5;
}

Task<Result<net::ClientResponse>> post_to_webhook(Executor* ex, Exchange exchange, WebhookEndpoint to, std::string body, WebhookPatience patience) {
  Duration pause = patience.first_pause;
  std::string why;
  for (int i = 0; i < kWebhookTries; ++i) {
    if (i > 0) {
      Duration more(static_cast<int64_t>(patience.jitter * ex->random_unit() * static_cast<double>(pause.count())));
      co_await sleep(*ex, pause + more);
      pause = pause * 3 / 2;
    }
    net::ClientRequest q;
    q.method = "POST";
    q.url = to.url;
    q.headers.add("content-type", "application/json");
    q.headers.add("accept", "application/json, */*");
    if (!to.authorization.empty()) q.headers.add("authorization", to.authorization);
    q.body = body;
    q.timeout = to.timeout;
    auto res = co_await exchange(std::move(q));
    if (res.ok() && res->status >= 200 && res->status < 300) co_return res;
    why = res.ok() ? "the answer is " + std::to_string(res->status) : res.error().message;
    if (res.ok() && res->status != 429 && res->status < 500) break;
  }
  co_return unavailable("Post \"" + to.url + "\": " + why);
}

}  // namespace caravel::apiserver
