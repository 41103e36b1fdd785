#include "certs/certificate.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "certs/resources.h"
#include "kube/dynamic_informer.h"

namespace caravel::certs {
namespace {

std::vector<std::string> strings_of(const json::Value& list) {
  std::vector<std::string> out;
  for (auto& v : list.as_array()) out.push_back(v.as_string());
  return out;
}

bool same_set(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::set<std::string>(a.begin(), a.end()) == std::set<std::string>(b.begin(), b.end());
}

std::string or_default(const std::string& s, const char* fallback) { return s.empty() ? fallback : s; }

std::optional<Violation> check_secret(const json::Value& certificate, const json::Value* secret) {
  if (!secret) return Violation{"DoesNotExist", "Issuing certificate as Secret does not exist"};
  std::string key = secret_data(*secret, "tls.key"), cert = secret_data(*secret, "tls.crt");
  if (!(*secret)["data"].size()) return Violation{"MissingData", "Issuing certificate as Secret does not contain any data"};
  if (key.empty()) return Violation{"MissingData", "Issuing certificate as Secret does not contain a private key"};
  if (cert.empty()) return Violation{"MissingData", "Issuing certificate as Secret does not contain a certificate"};
  if (!net::parse_certificate(cert).ok()) return Violation{"InvalidCertificate", "Issuing certificate as Secret contains an invalid certificate"};
  if (!net::key_matches_certificate(key, cert))
    return Violation{"InvalidKeyPair", "Issuing certificate as Secret contains an invalid key-pair: tls: private key does not match public key"};
  const json::Value& ref = certificate.path({"spec", "issuerRef"});
  std::string name = kube::annotation(*secret, kIssuerNameKey), kind = or_default(kube::annotation(*secret, kIssuerKindKey), "Issuer");
  if (!name.empty() && (name != ref["name"].as_string() || kind != or_default(ref["kind"].as_string(), "Issuer")))
    return Violation{"IncorrectIssuer", "Issuing certificate as Secret was previously issued by \"" + kind + ".cert-manager.io/" + name + "\""};
  return std::nullopt;
}

std::optional<Violation> check_spec(const json::Value& certificate, const json::Value& secret, const json::Value* request) {
  std::vector<std::string> fields;
  if (request) {
    auto csr = net::parse_csr(base64_decode((*request)["spec"]["request"].as_string()).value_or(""));
    if (csr.ok()) fields = differing_fields(certificate, csr->names);
    const json::Value& a = (*request)["spec"]["issuerRef"];
    const json::Value& b = certificate["spec"]["issuerRef"];
    if (a["name"].as_string() != b["name"].as_string() || or_default(a["kind"].as_string(), "Issuer") != or_default(b["kind"].as_string(), "Issuer"))
      fields.push_back("spec.issuerRef");
    if (!fields.empty()) return Violation{"RequestChanged", "Fields on existing CertificateRequest resource not up to date: [" + join(fields, " ") + "]"};
    return std::nullopt;
  }
  auto info = net::parse_certificate(secret_data(secret, "tls.crt"));
  if (info.ok()) fields = differing_fields(certificate, info->names);
  if (!fields.empty())
    return Violation{"SecretMismatch", "Existing issued Secret is not up to date for spec: [" + join(fields, " ") + "]"};
  return std::nullopt;
}

}  // namespace

std::string secret_data(const json::Value& secret, std::string_view key) { return base64_decode(secret["data"][key].as_string()).value_or(""); }

Duration requested_duration(const json::Value& certificate) {
  auto d = parse_duration(certificate["spec"]["duration"].as_string());
  Duration out = d.ok() ? *d : Duration(std::chrono::hours(24 * 90));
  return std::max<Duration>(out, std::chrono::hours(1));
}

net::CertificateNames requested_names(const json::Value& certificate) {
  const json::Value& spec = certificate["spec"];
  net::CertificateNames n;
  n.common_name = spec["commonName"].as_string();
  n.organizations = strings_of(spec["subject"]["organizations"]);
  n.dns_names = strings_of(spec["dnsNames"]);
  n.ip_addresses = strings_of(spec["ipAddresses"]);
  n.uris = strings_of(spec["uris"]);
  return n;
}

std::vector<std::string> differing_fields(const json::Value& certificate, const net::CertificateNames& got) {
  net::CertificateNames want = requested_names(certificate);
  std::vector<std::string> out;
  // An issuer may choose a common name when none was asked for, and may add it to the DNS names.
  if (!want.common_name.empty() && want.common_name != got.common_name) out.push_back("spec.commonName");
  auto with_cn = want.dns_names;
  if (!want.common_name.empty()) with_cn.push_back(want.common_name);
  if (!same_set(want.dns_names, got.dns_names) && !same_set(with_cn, got.dns_names)) out.push_back("spec.dnsNames");
  if (!same_set(want.ip_addresses, got.ip_addresses)) out.push_back("spec.ipAddresses");
  if (!same_set(want.uris, got.uris)) out.push_back("spec.uris");
  return out;
}

net::KeyType requested_key_type(const json::Value& certificate) {
  const json::Value& key = certificate["spec"]["privateKey"];
  std::string algorithm = key["algorithm"].as_string();
  int64_t size = key["size"].as_int();
  if (algorithm == "ECDSA") return size == 384 ? net::KeyType::kEcdsaP384 : net::KeyType::kEcdsaP256;
  if (algorithm == "Ed25519") return net::KeyType::kEd25519;
  return size == 4096 ? net::KeyType::kRsa4096 : net::KeyType::kRsa2048;
}

Time renewal_time(const json::Value& certificate, Time not_before, Time not_after) {
  Duration life = not_after - not_before;
  Duration before = life / 3;
  auto asked = parse_duration(certificate["spec"]["renewBefore"].as_string());
  if (asked.ok() && *asked > Duration(0) && *asked < life) before = *asked;
  int64_t percent = certificate["spec"]["renewBeforePercentage"].as_int();
  if (percent > 0 && percent < 100) before = life * percent / 100;
  return Time::from_seconds((not_after - before).seconds());
}

std::optional<Violation> needs_issuance(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now) {
  if (auto v = check_secret(certificate, secret)) return v;
  if (auto v = check_spec(certificate, *secret, request)) return v;
  auto info = net::parse_certificate(secret_data(*secret, "tls.crt"));
  if (!info.ok()) return std::nullopt;
  Time renewal = renewal_time(certificate, info->not_before, info->not_after);
  if (now >= renewal) return Violation{"Renewing", "Renewing certificate as renewal was scheduled at " + format_rfc3339(renewal)};
  return std::nullopt;
}

std::optional<Violation> not_ready(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now) {
  if (auto v = check_secret(certificate, secret)) return v;
  if (auto v = check_spec(certificate, *secret, request)) return v;
  auto info = net::parse_certificate(secret_data(*secret, "tls.crt"));
  if (info.ok() && now >= info->not_after) return Violation{"Expired", "Certificate expired on " + format_rfc3339(info->not_after)};
  return std::nullopt;
}

Duration failure_backoff(int64_t attempts) {
  int64_t hours = 1;
  for (int64_t i = 1; i < attempts && hours < 32; ++i) hours *= 2;
  return std::chrono::hours(hours);
}

}  // namespace caravel::certs
