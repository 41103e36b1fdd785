// How the API server calls the webhooks of admission and conversion.
//
// The transport is handed in: HTTPS in the product, a fake in tests. Certificates are verified against the
// configuration's caBundle (or the system's authorities) and the name of the url, or of the service:
// name.namespace.svc.
#pragma once

#include <memory>
#include <string>

#include "apiserver/core.h"

namespace caravel::net {
class EventLoop;
}

namespace caravel::apiserver {

struct WebhookCall {
  std::string url;         // with its query
  std::string connect_to;  // "address:port"; "": the url's host
  std::string ca;          // PEM; "": the system's authorities
  std::string body;        // JSON
  Duration timeout = Duration(0);
};
struct WebhookReply {
  int status = 0;
  std::string body;
};

class WebhookTransport {
 public:
  virtual ~WebhookTransport() = default;
  virtual Task<Result<WebhookReply>> post(WebhookCall call) = 0;
};
std::unique_ptr<WebhookTransport> make_https_webhook_transport(net::EventLoop& loop);

// A clientConfig of a webhook.
struct WebhookTarget {
  std::string url, ca;
  std::string service_ns, service_name, service_path;  // instead of url
  int64_t service_port = 443;
  static WebhookTarget parse(const json::Value& client_config);
};
// The body of the answer. Errors read like those of upstream's client: Post "https://...": ...
Task<Result<std::string>> call_webhook(Core& core, WebhookTarget target, std::string body, Duration timeout);

}  // namespace caravel::apiserver
