#include "certs/context.h"

#include "base/strings.h"

namespace caravel::certs {

Task<Status> write_status(Context& c, const kube::Resource& resource, const json::Value& object, json::Value status) {
  // A look-up of an absent member leaves a null behind; it is no part of the status.
  std::vector<std::string> empty;
  for (auto& m : status.obj())
    if (m.value.is_null()) empty.push_back(m.key);
  for (auto& key : empty) status.erase(key);
  if (object["status"] == status) co_return ok();
  json::Value updated = object;
  updated["status"] = std::move(status);
  kube::WriteOptions options;
  options.subresource = "status";
  auto r = co_await c.client.update(resource, std::move(updated), std::move(options));
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

Result<std::unique_ptr<net::HttpClient>> acme_http(Context& c, const json::Value& issuer) {
  const json::Value& acme = issuer["spec"]["acme"];
  net::TlsClientOptions tls;
  tls.insecure = acme["skipTLSVerify"].as_bool();
  tls.ca = base64_decode(acme["caBundle"].as_string()).value_or("");
  net::HttpClientOptions options;
  TRY(options.tls, net::make_tls_client(tls));
  return std::make_unique<net::HttpClient>(c.loop, options);
}

}  // namespace caravel::certs
