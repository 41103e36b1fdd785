#include "server/webhook_client.h"

#include "base/strings.h"
#include "net/process.h"
#include "net/tls.h"

namespace caravel::server {

Result<kube::ClientConfig> read_client(const std::string& path, const std::string& flag) {
  auto c = kube::load_kubeconfig(path);
  if (!c.ok()) return wrap(std::move(c).error(), "--" + flag);
  if (!c->token_file.empty() && c->token.empty()) {
    TRY(std::string token, net::read_file(c->token_file));
    c->token = std::string(trim(token));
  }
  return c;
}

Result<apiserver::Exchange> exchange_with(net::EventLoop& loop, const kube::ClientConfig& c) {
  net::TlsClientOptions t;
  t.ca = c.ca;
  t.insecure = c.insecure;
  t.certificate = c.client_certificate;
  t.key = c.client_key;
  return apiserver::make_exchange(loop, t);
}

apiserver::WebhookEndpoint endpoint_of(const kube::ClientConfig& c, const std::string& version) {
  apiserver::WebhookEndpoint e;
  e.url = c.server;
  e.version = version;
  if (!c.token.empty()) e.authorization = "Bearer " + c.token;
  return e;
}

Result<Duration> read_duration(const Flags& flags, const char* name) {
  auto d = parse_duration(flags.get(name));
  if (!d.ok()) return wrap(std::move(d).error(), "--" + std::string(name));
  return d;
}

}  // namespace caravel::server
