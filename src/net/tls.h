// TLS contexts. Certificates and keys are PEM text. TLS 1.2 and 1.3 with OpenSSL's modern defaults.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caravel::net {

class TlsServerContext;
class TlsClientContext;

struct TlsServerOptions {
  std::string certificate;  // chain, leaf first
  std::string key;
  std::string client_ca;  // when set, client certificates are asked for (not required) and verified
  std::string alpn = "h2,http/1.1";
};
struct TlsClientOptions {
  std::string ca;                // trust anchors; empty: the system's
  bool insecure = false;         // do not verify
  std::string certificate, key;  // client certificate, optional
};
Result<std::shared_ptr<TlsServerContext>> make_tls_server(const TlsServerOptions& options);
// New handshakes use the new certificate: rotation without a restart.
Status reload(TlsServerContext& context, const TlsServerOptions& options);
Result<std::shared_ptr<TlsClientContext>> make_tls_client(const TlsClientOptions& options);

}  // namespace caravel::net
