// The cluster's keys and certificates, kept under DATA/pki and made when they are missing: the CA, the
// serving certificate, the client certificates of the administrator, of the API server towards node agents
// and, from a CA of its own, towards aggregated API servers, the key that signs ServiceAccount tokens.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "controllers/controllers.h"

namespace caravel::server {

struct KeyPair {
  std::string certificate, key;  // PEM
};
struct Pki {
  KeyPair ca, serving, admin, kubelet_client, front_proxy_ca, front_proxy_client;
  std::string token_key;
};

// `names` are further subject alternative names of the serving certificate (DNS names or addresses).
Result<Pki> load_or_make_pki(const std::string& directory, const std::vector<std::string>& names, Time now);

// Signs certificate requests with the cluster's CA, as the kubernetes.io signers do.
class CaSigner final : public controllers::Signer {
 public:
  CaSigner(KeyPair ca, Executor& ex) : ca_(std::move(ca)), ex_(&ex) {}
  Result<Subject> inspect(const std::string& csr_pem) override;
  Result<std::string> sign(const Request& request) override;

 private:
  KeyPair ca_;
  Executor* ex_;
};

}  // namespace caravel::server
