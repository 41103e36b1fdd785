#include "apiserver/exchange.h"

namespace caravel::apiserver {

namespace {
constexpr size_t kAnswerMax = 4u << 20;
}

Result<Exchange> make_exchange(net::EventLoop& loop, const net::TlsClientOptions& tls) {
  net::HttpClientOptions o;
  TRY(o.tls, net::make_tls_client(tls));
  auto client = std::make_shared<net::HttpClient>(loop, std::move(o));
  return Exchange([client](net::ClientRequest q) { return client->send(std::move(q), kAnswerMax); });
}

}  // namespace caravel::apiserver
