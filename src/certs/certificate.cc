#include "certs/certificate.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "certs/resources.h"
#include "kube/conditions.h"
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

// As certificates are read back: the short, lower-case form. What is no address stays as it is.
std::string canonical_address(const std::string& text) {
  unsigned char bytes[sizeof(in6_addr)];
  char out[INET6_ADDRSTRLEN] = "";
  for (int family : {AF_INET, AF_INET6})
    if (inet_pton(family, text.c_str(), bytes) == 1 && inet_ntop(family, bytes, out, sizeof out)) return out;
  return text;
}

std::string or_default(const std::string& s, const char* fallback) { return s.empty() ? fallback : s; }

const json::Value& ref_of(const json::Value& o) { return o["spec"]["issuerRef"]; }
std::string kind_of(const json::Value& ref) { return or_default(ref["kind"].as_string(), "Issuer"); }
std::string group_of(const json::Value& ref) { return or_default(ref["group"].as_string(), "cert-manager.io"); }

// The names that a certificate must have. An issuer may choose a common name when none was asked for, and may
// add it to the DNS names.
std::vector<std::string> differing_names(const json::Value& certificate, const net::CertificateNames& got) {
  net::CertificateNames want = requested_names(certificate);
  std::vector<std::string> out;
  if (!want.common_name.empty() && want.common_name != got.common_name) out.push_back("spec.commonName");
  auto with_cn = want.dns_names;
  if (!want.common_name.empty()) with_cn.push_back(want.common_name);
  if (!same_set(want.dns_names, got.dns_names) && !same_set(with_cn, got.dns_names)) out.push_back("spec.dnsNames");
  if (!same_set(want.ip_addresses, got.ip_addresses)) out.push_back("spec.ipAddresses");
  if (!same_set(want.uris, got.uris)) out.push_back("spec.uris");
  return out;
}

std::optional<Violation> check_secret(const json::Value* secret) {
  if (!secret) return Violation{"DoesNotExist", "Issuing certificate as Secret does not exist"};
  std::string key = secret_data(*secret, "tls.key"), cert = secret_data(*secret, "tls.crt");
  if (!(*secret)["data"].size()) return Violation{"MissingData", "Issuing certificate as Secret does not contain any data"};
  if (key.empty()) return Violation{"MissingData", "Issuing certificate as Secret does not contain a private key"};
  if (cert.empty()) return Violation{"MissingData", "Issuing certificate as Secret does not contain a certificate"};
  if (!net::parse_certificate(cert).ok()) return Violation{"InvalidCertificate", "Issuing certificate as Secret contains an invalid certificate"};
  if (!net::key_matches_certificate(key, cert))
    return Violation{"InvalidKeyPair", "Issuing certificate as Secret contains an invalid key-pair: tls: private key does not match public key"};
  return std::nullopt;
}

std::optional<Violation> check_key_and_issuer(const json::Value& certificate, const json::Value& secret) {
  auto fields = differing_key_fields(certificate, secret_data(secret, "tls.key"));
  if (!fields.empty()) return Violation{"SecretMismatch", "Existing private key is not up to date for spec: [" + join(fields, " ") + "]"};
  json::Value issued_by = json::Value::object();  // a Secret without the annotations is nobody's
  issued_by["name"] = kube::annotation(secret, kIssuerNameKey);
  issued_by["kind"] = kube::annotation(secret, kIssuerKindKey);
  issued_by["group"] = kube::annotation(secret, kIssuerGroupKey);
  const json::Value& old = issued_by;
  const json::Value& ref = ref_of(certificate);
  if (!old["name"].as_string().empty() && (old["name"].as_string() != ref["name"].as_string() || kind_of(old) != kind_of(ref) || group_of(old) != group_of(ref)))
    return Violation{"IncorrectIssuer", "Issuing certificate as Secret was previously issued by \"" + kind_of(old) + "." + group_of(old) + "/" + old["name"].as_string() + "\""};
  return std::nullopt;
}

std::optional<Violation> check_spec(const json::Value& certificate, const json::Value& secret, const json::Value* request) {
  if (request) {
    if (!request_uses_key(*request, secret_data(secret, "tls.key")))
      return Violation{"SecretMismatch", "Secret contains a private key that does not match the current CertificateRequest"};
    auto fields = differing_request_fields(certificate, *request);
    if (!fields.empty()) return Violation{"RequestChanged", "Fields on existing CertificateRequest resource not up to date: [" + join(fields, " ") + "]"};
    return std::nullopt;
  }
  auto info = net::parse_certificate(secret_data(secret, "tls.crt"));
  if (!info.ok()) return std::nullopt;
  auto fields = differing_names(certificate, info->names);
  if (!fields.empty()) return Violation{"SecretMismatch", "Existing issued Secret is not up to date for spec: [" + join(fields, " ") + "]"};
  return std::nullopt;
}

Duration duration_or_default(const json::Value& text) {
  auto d = parse_duration(text.as_string());
  return d.ok() ? *d : Duration(std::chrono::hours(24 * 90));
}

}  // namespace

std::string secret_data(const json::Value& secret, std::string_view key) { return base64_decode(secret["data"][key].as_string()).value_or(""); }

Duration requested_duration(const json::Value& certificate) {
  return std::max<Duration>(duration_or_default(certificate["spec"]["duration"]), std::chrono::hours(1));
}

net::CertificateNames requested_names(const json::Value& certificate) {
  const json::Value& spec = certificate["spec"];
  net::CertificateNames n;
  n.common_name = spec["commonName"].as_string();
  n.organizations = strings_of(spec["subject"]["organizations"]);
  n.dns_names = strings_of(spec["dnsNames"]);
  for (auto& a : spec["ipAddresses"].as_array()) n.ip_addresses.push_back(canonical_address(a.as_string()));
  n.uris = strings_of(spec["uris"]);
  return n;
}

json::Value requested_usages(const json::Value& certificate) {
  const json::Value& usages = certificate["spec"]["usages"];
  return usages.size() ? usages : json::Value::array({"digital signature", "key encipherment"});
}

std::vector<std::string> differing_request_fields(const json::Value& certificate, const json::Value& request) {
  const json::Value& asked = request["spec"];
  const json::Value& spec = certificate["spec"];
  std::vector<std::string> out;
  auto csr = net::parse_csr(base64_decode(asked["request"].as_string()).value_or(""));
  if (csr.ok()) {
    out = differing_names(certificate, csr->names);
    if (spec["commonName"].as_string().empty() && !csr->names.common_name.empty()) out.push_back("spec.commonName");
    if (!same_set(strings_of(spec["subject"]["organizations"]), csr->names.organizations)) out.push_back("spec.subject.organizations");
  }
  if (asked["isCA"].as_bool() != spec["isCA"].as_bool()) out.push_back("spec.isCA");
  if (!same_set(strings_of(asked["usages"]), strings_of(requested_usages(certificate)))) out.push_back("spec.usages");
  if (duration_or_default(asked["duration"]) != duration_or_default(spec["duration"])) out.push_back("spec.duration");
  const json::Value &a = ref_of(request), &b = ref_of(certificate);
  if (a["name"].as_string() != b["name"].as_string() || kind_of(a) != kind_of(b) || group_of(a) != group_of(b)) out.push_back("spec.issuerRef");
  return out;
}

Result<net::KeyType> requested_key_type(const json::Value& certificate) {
  const json::Value& key = certificate["spec"]["privateKey"];
  std::string algorithm = or_default(key["algorithm"].as_string(), "RSA");
  int64_t size = key["size"].as_int();
  if (algorithm == "Ed25519") return net::KeyType::kEd25519;
  if (algorithm == "ECDSA") switch (size) {
      case 0:
      case 256: return net::KeyType::kEcdsaP256;
      case 384: return net::KeyType::kEcdsaP384;
      case 521: return net::KeyType::kEcdsaP521;
      default: return invalid("spec.privateKey.size: unsupported ECDSA key size " + std::to_string(size) + "; use 256, 384 or 521");
    }
  if (algorithm != "RSA") return invalid("spec.privateKey.algorithm: unsupported \"" + algorithm + "\"; use RSA, ECDSA or Ed25519");
  switch (size) {
    case 0:
    case 2048: return net::KeyType::kRsa2048;
    case 3072: return net::KeyType::kRsa3072;
    case 4096: return net::KeyType::kRsa4096;
    case 8192: return net::KeyType::kRsa8192;
    default: return invalid("spec.privateKey.size: unsupported RSA key size " + std::to_string(size) + "; use 2048, 3072, 4096 or 8192");
  }
}

std::vector<std::string> differing_key_fields(const json::Value& certificate, const std::string& key_pem) {
  const json::Value& want = certificate["spec"]["privateKey"];
  std::string algorithm = or_default(want["algorithm"].as_string(), "RSA");
  auto got = net::parse_key(key_pem);
  if (!got.ok()) return {};
  if (got->algorithm != algorithm) return {"spec.privateKey.algorithm"};
  if (algorithm == "Ed25519" || got->bits == want["size"].as_int(algorithm == "RSA" ? 2048 : 256)) return {};
  return {"spec.privateKey.size"};
}

bool request_uses_key(const json::Value& request, const std::string& key_pem) {
  auto csr = base64_decode(request["spec"]["request"].as_string());
  if (!csr) return false;
  auto of_key = net::public_key_pem(key_pem);
  auto of_csr = net::csr_public_key_pem(*csr);
  return of_key.ok() && of_csr.ok() && *of_key == *of_csr;
}

Result<json::Value> request_for(const json::Value& certificate, int64_t revision, const std::string& key_secret, const std::string& key_pem) {
  TRY(std::string csr, net::make_csr(requested_names(certificate), key_pem));
  json::Value r = json::Value::object();
  r["apiVersion"] = "cert-manager.io/v1";
  r["kind"] = "CertificateRequest";
  r["metadata"]["name"] = kube::name_of(certificate) + "-" + std::to_string(revision);
  r["metadata"]["namespace"] = kube::namespace_of(certificate);
  if (certificate["metadata"]["labels"].size()) r["metadata"]["labels"] = certificate["metadata"]["labels"];
  json::Value& annotations = r["metadata"]["annotations"];
  annotations[kCertificateNameKey] = kube::name_of(certificate);
  annotations[kRevisionKey] = std::to_string(revision);
  annotations[kPrivateKeySecretKey] = key_secret;
  r["metadata"]["ownerReferences"].push_back(kube::controller_reference(certificate));
  json::Value& spec = r["spec"];
  spec["request"] = base64_encode(csr);
  spec["issuerRef"] = ref_of(certificate);
  if (certificate["spec"]["duration"].is_string()) spec["duration"] = certificate["spec"]["duration"];
  if (certificate["spec"]["isCA"].as_bool()) spec["isCA"] = true;
  spec["usages"] = requested_usages(certificate);
  return r;
}

std::optional<json::Value> template_update(const json::Value& certificate, const json::Value& secret) {
  json::Value updated = secret;
  for (auto part : {"labels", "annotations"})
    for (auto& m : certificate["spec"]["secretTemplate"][part].as_object())
      // What cert-manager reads back later is its own to write.
      if (!m.key.str().starts_with("cert-manager.io/") && m.key.str() != kManagedSecretKey) updated["metadata"][part][m.key] = m.value;
  if (updated == secret) return std::nullopt;
  return updated;
}

json::Value issued_secret(const json::Value& certificate, const json::Value* existing, const json::Value& request, const std::string& key_pem) {
  json::Value secret = existing ? *existing : json::Value::object();
  if (!existing) {
    secret["apiVersion"] = "v1";
    secret["kind"] = "Secret";
    secret["metadata"]["name"] = certificate["spec"]["secretName"];
    secret["metadata"]["namespace"] = kube::namespace_of(certificate);
    secret["type"] = "kubernetes.io/tls";
  }
  secret["data"]["tls.key"] = base64_encode(key_pem);
  secret["data"]["tls.crt"] = request["status"]["certificate"];
  if (!request["status"]["ca"].as_string().empty()) secret["data"]["ca.crt"] = request["status"]["ca"];

  if (auto with_template = template_update(certificate, secret)) secret = std::move(*with_template);
  const json::Value& ref = ref_of(certificate);
  json::Value& annotations = secret["metadata"]["annotations"];
  annotations[kCertificateNameKey] = kube::name_of(certificate);
  annotations[kIssuerNameKey] = ref["name"];
  annotations[kIssuerKindKey] = kind_of(ref);
  annotations[kIssuerGroupKey] = ref["group"].as_string();
  auto info = net::parse_certificate(secret_data(secret, "tls.crt"));
  net::CertificateNames names = info.ok() ? info->names : net::CertificateNames();
  annotations["cert-manager.io/common-name"] = names.common_name;
  annotations["cert-manager.io/alt-names"] = join(names.dns_names, ",");
  annotations["cert-manager.io/ip-sans"] = join(names.ip_addresses, ",");
  annotations["cert-manager.io/uri-sans"] = join(names.uris, ",");
  secret["metadata"]["labels"][kManagedSecretKey] = "true";
  return secret;
}

Time renewal_time(const json::Value& certificate, Time not_before, Time not_after) {
  Duration life = not_after - not_before;
  Duration before = life / 3;
  int64_t percent = certificate["spec"]["renewBeforePercentage"].as_int();
  if (percent > 0 && percent < 100) before = life * percent / 100;
  auto asked = parse_duration(certificate["spec"]["renewBefore"].as_string());
  if (asked.ok() && *asked > Duration(0) && *asked < life) before = *asked;
  return Time::from_seconds((not_after - before).seconds());
}

std::optional<Violation> needs_issuance(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now) {
  if (auto v = check_secret(secret)) return v;
  if (auto v = check_key_and_issuer(certificate, *secret)) return v;
  if (auto v = check_spec(certificate, *secret, request)) return v;
  auto info = net::parse_certificate(secret_data(*secret, "tls.crt"));
  if (!info.ok()) return std::nullopt;
  Time renewal = renewal_time(certificate, info->not_before, info->not_after);
  if (now >= renewal) return Violation{"Renewing", "Renewing certificate as renewal was scheduled at " + format_rfc3339(renewal)};
  return std::nullopt;
}

std::optional<Violation> not_ready(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now) {
  if (auto v = check_secret(secret)) return v;
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

std::optional<Time> held_back_until(const json::Value& status, int64_t generation, Time now) {
  auto last_failure = parse_rfc3339(status["lastFailureTime"].as_string());
  if (!last_failure.ok()) return std::nullopt;
  auto* failed = kube::find_condition(status["conditions"], "Issuing");
  if (failed && (*failed)["observedGeneration"].as_int() != generation) return std::nullopt;
  Time retry = *last_failure + failure_backoff(status["failedIssuanceAttempts"].as_int());
  return now < retry ? std::optional<Time>(retry) : std::nullopt;
}

}  // namespace caravel::certs
