// A server of one small answer, for wrk and h2load:
//   http_bench 127.0.0.1:9443 tls      then: wrk -t1 -c64 -d5 https://127.0.0.1:9443/   h2load -t1 -c8 -m32 -D5 https://127.0.0.1:9443/
#include <cstdio>
#include <cstring>

#include "net/http.h"
#include "net/x509.h"

using namespace caravel;

namespace {

Task<void> answer(std::shared_ptr<const std::string> body, net::ServerRequest&, net::ResponseWriter& writer) {
  net::Headers headers{{"content-type", "application/json"}};
  Status s = co_await writer.send_shared(200, headers, body);
  (void)s;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  net::EventLoop loop;
  auto body = std::make_shared<const std::string>(1024, 'x');
  net::HttpServer server(loop, [body](net::ServerRequest& q, net::ResponseWriter& w) { return answer(body, q, w); });
  std::shared_ptr<net::TlsServerContext> tls;
  if (argc > 2 && !strcmp(argv[2], "tls")) {
    net::CertificateSpec spec;
    spec.names.common_name = "bench";
    spec.not_before = loop.now() - 1h;
    spec.not_after = loop.now() + 24h;
    spec.server_auth = true;
    std::string key = *net::generate_key(net::KeyType::kEcdsaP256);
    tls = *net::make_tls_server({*net::make_certificate(spec, key, "", ""), key});
  }
  auto listener = net::listen(loop, {argv[1]});
  if (!listener.ok()) {
    std::fprintf(stderr, "%s\n", listener.error().message.c_str());
    return 1;
  }
  server.serve(std::move(*listener), tls);
  loop.run();
}
