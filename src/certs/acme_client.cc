#include "certs/acme_client.h"

#include "base/hash.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::certs {
namespace {

constexpr int kBadNonceRetries = 5;
constexpr size_t kNoncesMax = 32;

std::string problem_text(const json::Value& problem) {
  std::string out = problem["detail"].as_string();
  for (auto& sub : problem["subproblems"].as_array())
    out += "; " + sub.path({"identifier", "value"}).as_string() + ": " + sub["detail"].as_string();
  return out;
}

std::string signature_algorithm(const json::Value& jwk) {
  if (jwk["kty"].as_string() == "RSA") return "RS256";
  return jwk["crv"].as_string() == "P-384" ? "ES384" : "ES256";
}

}  // namespace

AcmeClient::AcmeClient(net::HttpClient& http, std::string directory_url, std::string account_key_pem, std::string account_url)
    : AcmeClient([&http](net::ClientRequest r) { return http.send(std::move(r)); }, std::move(directory_url), std::move(account_key_pem), std::move(account_url)) {}

AcmeClient::AcmeClient(Send send, std::string directory_url, std::string account_key_pem, std::string account_url)
    : send_(std::move(send)), directory_url_(std::move(directory_url)), key_(std::move(account_key_pem)), account_url_(std::move(account_url)) {}

Task<Status> AcmeClient::load_directory() {
  if (directory_.is_object()) co_return ok();
  net::ClientRequest request;
  request.url = directory_url_;
  auto r = co_await send_(std::move(request));
  if (!r.ok()) co_return wrap(std::move(r).error(), "reading the ACME directory " + directory_url_);
  if (r->status != 200) co_return unavailable("the ACME directory " + directory_url_ + " answered " + std::to_string(r->status));
  CO_TRY(directory_, json::parse(r->body));
  co_return ok();
}

Task<Result<std::string>> AcmeClient::nonce() {
  if (!nonces_.empty()) {
    std::string n = std::move(nonces_.back());
    nonces_.pop_back();
    co_return n;
  }
  net::ClientRequest request;
  request.method = "HEAD";
  request.url = directory_["newNonce"].as_string();
  auto r = co_await send_(std::move(request));
  if (!r.ok()) co_return std::move(r).error();
  std::string n = r->headers.get("replay-nonce");
  if (n.empty()) co_return unavailable("the ACME server " + directory_url_ + " gave no nonce");
  co_return n;
}

Task<Result<AcmeClient::Answer>> AcmeClient::post(std::string url, std::string payload, bool with_jwk) {
  CO_TRY_VOID(co_await load_directory());
  for (int attempt = 0;; ++attempt) {
    CO_TRY(std::string n, co_await nonce());
    json::Value head = json::Value::object();
    CO_TRY(std::string jwk_text, net::public_jwk(key_));
    CO_TRY(json::Value jwk, json::parse(jwk_text));
    std::string algorithm = signature_algorithm(jwk);
    head["alg"] = algorithm;
    if (with_jwk || account_url_.empty()) head["jwk"] = std::move(jwk);
    else head["kid"] = account_url_;
    head["nonce"] = n;
    head["url"] = url;
    std::string protected_part = base64url_encode(json::dump(head));
    std::string payload_part = payload.empty() ? "" : base64url_encode(payload);
    CO_TRY(std::string signature, net::jose_sign(algorithm, key_, protected_part + "." + payload_part));
    json::Value jws = json::Value::object();
    jws["protected"] = protected_part;
    jws["payload"] = payload_part;
    jws["signature"] = base64url_encode(signature);

    net::ClientRequest request;
    request.method = "POST";
    request.url = url;
    request.headers.set("content-type", "application/jose+json");
    request.body = json::dump(jws);
    auto r = co_await send_(std::move(request));
    if (!r.ok()) co_return std::move(r).error();
    if (auto* fresh = r->headers.find("replay-nonce"); fresh && nonces_.size() < kNoncesMax) nonces_.push_back(*fresh);

    Answer answer;
    answer.status = r->status;
    answer.headers = std::move(r->headers);
    answer.body = std::move(r->body);
    if (answer.headers.get("content-type").find("json") != std::string::npos) {
      auto parsed = json::parse(answer.body);
      if (parsed.ok()) answer.json = std::move(*parsed);
    }
    if (answer.status < 400) co_return answer;
    std::string type = answer.json["type"].as_string();
    if (type.ends_with(":badNonce") && attempt < kBadNonceRetries) continue;
    Code code = answer.status == 429 ? Code::kTooMany : answer.status >= 500 ? Code::kUnavailable
                                                    : answer.status == 404   ? Code::kNotFound
                                                                             : Code::kInvalid;
    std::string why = problem_text(answer.json);
    co_return Error{code, std::to_string(answer.status) + " " + type + ": " + (why.empty() ? answer.body.substr(0, 200) : why), type};
  }
}

Task<Result<std::string>> AcmeClient::register_account(std::string email) {
  CO_TRY_VOID(co_await load_directory());
  json::Value body = json::Value::object();
  body["termsOfServiceAgreed"] = true;
  if (!email.empty()) body["contact"].push_back("mailto:" + email);
  CO_TRY(Answer a, co_await post(directory_["newAccount"].as_string(), json::dump(body), true));
  account_url_ = a.headers.get("location");
  if (account_url_.empty()) co_return unavailable("the ACME server gave no account URL");
  co_return account_url_;
}

AcmeOrder AcmeClient::read_order(const json::Value& v, std::string url) {
  AcmeOrder o;
  o.url = std::move(url);
  o.status = v["status"].as_string();
  o.finalize_url = v["finalize"].as_string();
  o.certificate_url = v["certificate"].as_string();
  for (auto& a : v["authorizations"].as_array()) o.authorizations.push_back(a.as_string());
  if (v["error"].is_object()) o.error = problem_text(v["error"]);
  return o;
}

AcmeChallenge AcmeClient::read_challenge(const json::Value& v) {
  AcmeChallenge c;
  c.type = v["type"].as_string();
  c.url = v["url"].as_string();
  c.token = v["token"].as_string();
  c.status = v["status"].as_string();
  if (v["error"].is_object()) c.error = v.path({"error", "type"}).as_string() + ": " + problem_text(v["error"]);
  return c;
}

Task<Result<AcmeOrder>> AcmeClient::new_order(std::vector<std::string> dns_names, std::vector<std::string> ip_addresses) {
  CO_TRY_VOID(co_await load_directory());
  json::Value body = json::Value::object();
  body["identifiers"] = json::Value::array();
  for (auto& name : dns_names) {
    json::Value id = json::Value::object();
    id["type"] = "dns";
    id["value"] = name;
    body["identifiers"].push_back(std::move(id));
  }
  for (auto& ip : ip_addresses) {
    json::Value id = json::Value::object();
    id["type"] = "ip";
    id["value"] = ip;
    body["identifiers"].push_back(std::move(id));
  }
  CO_TRY(Answer a, co_await post(directory_["newOrder"].as_string(), json::dump(body)));
  co_return read_order(a.json, a.headers.get("location"));
}

Task<Result<AcmeOrder>> AcmeClient::get_order(std::string url) {
  CO_TRY(Answer a, co_await post(url, ""));
  co_return read_order(a.json, url);
}

Task<Result<AcmeAuthorization>> AcmeClient::get_authorization(std::string url) {
  CO_TRY(Answer a, co_await post(url, ""));
  AcmeAuthorization out;
  out.url = url;
  out.status = a.json["status"].as_string();
  out.identifier = a.json.path({"identifier", "value"}).as_string();
  out.wildcard = a.json["wildcard"].as_bool();
  for (auto& c : a.json["challenges"].as_array()) out.challenges.push_back(read_challenge(c));
  co_return out;
}

Task<Result<AcmeChallenge>> AcmeClient::get_challenge(std::string url) {
  CO_TRY(Answer a, co_await post(url, ""));
  co_return read_challenge(a.json);
}

Task<Result<AcmeChallenge>> AcmeClient::accept_challenge(std::string url) {
  CO_TRY(Answer a, co_await post(url, "{}"));
  co_return read_challenge(a.json);
}

Task<Result<AcmeOrder>> AcmeClient::finalize(AcmeOrder order, std::string csr_pem) {
  CO_TRY(std::string der, net::csr_to_der(csr_pem));
  json::Value body = json::Value::object();
  body["csr"] = base64url_encode(der);
  CO_TRY(Answer a, co_await post(order.finalize_url, json::dump(body)));
  co_return read_order(a.json, order.url);
}

Task<Result<std::string>> AcmeClient::download(std::string certificate_url) {
  CO_TRY(Answer a, co_await post(certificate_url, ""));
  co_return a.body;
}

Result<std::string> AcmeClient::key_authorization(const std::string& token) const {
  TRY(std::string jwk, net::public_jwk(key_));
  return token + "." + net::jwk_thumbprint(jwk);
}

}  // namespace caravel::certs
