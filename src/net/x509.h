// Keys, certificates and signatures (OpenSSL behind plain text). Keys are PEM (PKCS#8), certificates PEM.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace caravel::net {

enum class KeyType { kEcdsaP256,
                     kEcdsaP384,
                     kEcdsaP521,
                     kRsa2048,
                     kRsa3072,
                     kRsa4096,
                     kRsa8192,
                     kEd25519 };
Result<std::string> generate_key(KeyType type);
Result<std::string> public_key_pem(std::string_view key_pem);
struct KeyInfo {
  std::string algorithm;  // "RSA", "ECDSA", "Ed25519"
  int bits = 0;
};
Result<KeyInfo> parse_key(std::string_view key_pem);

struct CertificateNames {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  std::vector<std::string> uris;
};
struct CertificateSpec {
  CertificateNames names;
  Time not_before, not_after;
  bool is_ca = false;
  bool server_auth = false, client_auth = false;
};
// A certificate for the public key of `key_pem`, signed by the CA (or by itself if ca_key is empty).
Result<std::string> make_certificate(const CertificateSpec& spec, std::string_view key_pem, std::string_view ca_certificate, std::string_view ca_key);
Result<std::string> make_csr(const CertificateNames& names, std::string_view key_pem);

struct CsrInfo {
  CertificateNames names;
  std::string key_type;  // "RSA", "ECDSA", "Ed25519"
};
Result<CsrInfo> parse_csr(std::string_view pem_or_der);  // verifies the signature of the request
// Signs a request as `spec` says (spec.names are taken as given, not from the request).
Result<std::string> sign_csr(std::string_view csr_pem, const CertificateSpec& spec, std::string_view ca_certificate, std::string_view ca_key);
// The public key inside a request, as public_key_pem() writes keys.
Result<std::string> csr_public_key_pem(std::string_view pem_or_der);
Result<std::string> csr_to_der(std::string_view csr_pem);

struct CertificateInfo {
  CertificateNames names;
  std::string issuer_common_name;
  std::string serial_hex;
  Time not_before, not_after;
  bool is_ca = false;
  std::string public_key_pem;
  std::vector<std::string> key_usages;  // "server auth", "client auth", ...
};
// The first certificate of a PEM text.
Result<CertificateInfo> parse_certificate(std::string_view pem);
std::vector<std::string> split_pem(std::string_view pem);
bool key_matches_certificate(std::string_view key_pem, std::string_view certificate_pem);
// True when `leaf` (with `intermediates`) verifies against `roots` at `now`.
bool verify_chain(std::string_view leaf, std::string_view intermediates, std::string_view roots, Time now);

// JOSE signatures (raw r||s for ECDSA): alg "RS256", "ES256", "ES384".
Result<std::string> jose_sign(std::string_view alg, std::string_view key_pem, std::string_view data);
bool jose_verify(std::string_view alg, std::string_view public_key_pem, std::string_view data, std::string_view signature);
// The public key as a JWK object's JSON text (members in RFC 7638 thumbprint order) and its kid-less thumbprint.
Result<std::string> public_jwk(std::string_view key_pem);
std::string jwk_thumbprint(std::string_view jwk_json);
std::string random_bytes(size_t n);

}  // namespace caravel::net
