// An ACME client (RFC 8555): account, orders, authorizations, challenges, certificate download.
// JWS signatures are made with the account's key: ES256, ES384 or RS256 by its kind. Nonces are pooled; a badNonce answer is retried.
// Every URL comes from the directory or from the server's answers, as the RFC demands.
// Threading: one executor. Errors: the server's problem document as one sentence; `details` holds its
// type ("urn:ietf:params:acme:error:rateLimited").
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "net/http.h"

namespace caravel::certs {

struct AcmeOrder {
  std::string url;
  std::string status;  // pending ready processing valid invalid
  std::string finalize_url;
  std::string certificate_url;
  std::vector<std::string> authorizations;
  std::string error;
};
struct AcmeChallenge {
  std::string type, url, token, status, error;
};
struct AcmeAuthorization {
  std::string url, status, identifier;
  bool wildcard = false;
  std::vector<AcmeChallenge> challenges;
};

class AcmeClient {
 public:
  // account_url may be empty before register_account(). The HTTP client outlives this object.
  AcmeClient(net::HttpClient& http, std::string directory_url, std::string account_key_pem, std::string account_url = "");
  // Over anything that answers requests.
  using Send = std::function<Task<Result<net::ClientResponse>>(net::ClientRequest)>;
  AcmeClient(Send send, std::string directory_url, std::string account_key_pem, std::string account_url = "");

  // Finds or makes the account for the key (terms of service agreed) and returns its URL.
  Task<Result<std::string>> register_account(std::string email);
  Task<Result<AcmeOrder>> new_order(std::vector<std::string> dns_names, std::vector<std::string> ip_addresses);
  Task<Result<AcmeOrder>> get_order(std::string url);
  Task<Result<AcmeAuthorization>> get_authorization(std::string url);
  Task<Result<AcmeChallenge>> get_challenge(std::string url);
  Task<Result<AcmeChallenge>> accept_challenge(std::string url);
  Task<Result<AcmeOrder>> finalize(AcmeOrder order, std::string csr_pem);
  // The chain, PEM, leaf first.
  Task<Result<std::string>> download(std::string certificate_url);
  // token "." thumbprint of the account key: what HTTP-01 serves.
  Result<std::string> key_authorization(const std::string& token) const;
  const std::string& account_url() const { return account_url_; }

 private:
  struct Answer {
    int status;
    net::Headers headers;
    std::string body;
    json::Value json;
  };
  Task<Status> load_directory();
  Task<Result<std::string>> nonce();
  // payload "" is a POST-as-GET.
  Task<Result<Answer>> post(std::string url, std::string payload, bool with_jwk = false);
  static AcmeOrder read_order(const json::Value& v, std::string url);
  static AcmeChallenge read_challenge(const json::Value& v);

  Send send_;
  std::string directory_url_, key_, account_url_;
  json::Value directory_;
  std::vector<std::string> nonces_;
};

}  // namespace caravel::certs
