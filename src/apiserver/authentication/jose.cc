#include "apiserver/authentication/jose.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

const unsigned char* bytes(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

template <class T, void (*F)(T*)>
struct Freed {
  void operator()(T* p) const { F(p); }
};
using BigNum = std::unique_ptr<BIGNUM, Freed<BIGNUM, BN_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM, OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX, EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX, EVP_MD_CTX_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG, ECDSA_SIG_free>>;

BigNum number(std::string_view big_endian) { return BigNum(BN_bin2bn(bytes(big_endian), static_cast<int>(big_endian.size()), nullptr)); }

Result<std::string> member(const json::Value& jwk, std::string_view name) {
  auto raw = base64url_decode(jwk[name].as_string());
  if (!raw || raw->empty()) return invalid("the key's \"" + std::string(name) + "\" is not base64url");
  return std::move(*raw);
}

struct Curve {
  std::string_view name, group, alg;
  size_t size;  // of a coordinate
};
constexpr Curve kCurves[] = {{"P-256", "prime256v1", "ES256", 32}, {"P-384", "secp384r1", "ES384", 48}, {"P-521", "secp521r1", "ES512", 66}};

std::shared_ptr<void> make_key(const char* type, OSSL_PARAM_BLD* with) {
  Params params(OSSL_PARAM_BLD_to_param(with));
  KeyContext c(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !c || EVP_PKEY_fromdata_init(c.get()) != 1 || EVP_PKEY_fromdata(c.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) return nullptr;
  return std::shared_ptr<void>(key, [](void* p) { EVP_PKEY_free(static_cast<EVP_PKEY*>(p)); });
}

const EVP_MD* digest_of(std::string_view alg) {
  std::string_view bits = alg.substr(2);
  return bits == "256" ? EVP_sha256() : bits == "384" ? EVP_sha384()
                                                      : EVP_sha512();
}

}  // namespace

bool known_signing_alg(std::string_view alg) {
  if (alg.size() != 5) return false;
  std::string_view family = alg.substr(0, 2), bits = alg.substr(2);
  return (family == "RS" || family == "PS" || family == "ES") && (bits == "256" || bits == "384" || bits == "512");
}

Result<Jwt> parse_jwt(std::string_view token) {
  auto parts = split(token, '.');
  if (parts.size() != 3) return invalid("malformed jwt: it has " + std::to_string(parts.size()) + " parts, not 3");
  auto header = base64url_decode(parts[0]), claims = base64url_decode(parts[1]), signature = base64url_decode(parts[2]);
  if (!header || !claims || !signature) return invalid("malformed jwt: a part is not base64url");
  Jwt j;
  auto h = json::parse(*header);
  auto c = json::parse(*claims);
  if (!h.ok() || !c.ok() || !h->is_object() || !c->is_object()) return invalid("malformed jwt: a part is not a JSON object");
  j.header = std::move(*h);
  j.claims = std::move(*c);
  j.signed_text = parts[0] + "." + parts[1];
  j.signature = std::move(*signature);
  return j;
}

Result<VerificationKey> VerificationKey::parse(const json::Value& jwk) {
  VerificationKey out;
  out.kid = jwk["kid"].as_string();
  out.alg = jwk["alg"].as_string();
  out.use = jwk["use"].as_string();
  Builder b(OSSL_PARAM_BLD_new());
  const std::string& type = jwk["kty"].as_string();
  if (type == "RSA") {
    TRY(std::string n, member(jwk, "n"));
    TRY(std::string e, member(jwk, "e"));
    BigNum modulus = number(n), exponent = number(e);
    OSSL_PARAM_BLD_push_BN(b.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
    OSSL_PARAM_BLD_push_BN(b.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
    out.key_ = make_key("RSA", b.get());
  } else if (type == "EC") {
    const Curve* curve = nullptr;
    for (auto& c : kCurves)
      if (jwk["crv"].as_string() == c.name) curve = &c;
    if (!curve) return invalid("the key's curve " + json::quote(jwk["crv"].as_string()) + " is not P-256, P-384 or P-521");
    TRY(std::string x, member(jwk, "x"));
    TRY(std::string y, member(jwk, "y"));
    if (x.size() > curve->size || y.size() > curve->size) return invalid("the key's coordinates are too long for its curve");
    std::string point = "\x04" + std::string(curve->size - x.size(), '\0') + x + std::string(curve->size - y.size(), '\0') + y;
    const std::string group(curve->group);  // the builder keeps pointers until the key is made
    OSSL_PARAM_BLD_push_utf8_string(b.get(), OSSL_PKEY_PARAM_GROUP_NAME, group.c_str(), 0);
    OSSL_PARAM_BLD_push_octet_string(b.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    out.key_ = make_key("EC", b.get());
  } else {
    return invalid("keys of the type " + json::quote(type) + " are not understood; RSA and EC are");
  }
  if (!out.key_) return invalid("the key is no public key");
  return out;
}

bool VerificationKey::verifies(std::string_view alg, std::string_view text, std::string_view signature) const {
  if (!known_signing_alg(alg)) return false;
  auto* key = static_cast<EVP_PKEY*>(key_.get());
  const bool ec = alg[0] == 'E';
  if ((EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) != ec) return false;
  std::string der(signature);
  if (ec) {  // r and s, of equal length
    const Curve* curve = nullptr;
    for (auto& c : kCurves)
      if (alg == c.alg) curve = &c;
    char group[64] = {};
    if (!EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) || curve->group != group || signature.size() != 2 * curve->size) return false;
    EcSignature s(ECDSA_SIG_new());
    BigNum r = number(signature.substr(0, curve->size)), v = number(signature.substr(curve->size));
    if (ECDSA_SIG_set0(s.get(), r.get(), v.get()) != 1) return false;
    (void)r.release();
    (void)v.release();
    int size = i2d_ECDSA_SIG(s.get(), nullptr);
    der.assign(static_cast<size_t>(std::max(size, 0)), '\0');
    auto* at = reinterpret_cast<unsigned char*>(der.data());
    i2d_ECDSA_SIG(s.get(), &at);
  }
  DigestContext d(EVP_MD_CTX_new());
  EVP_PKEY_CTX* c = nullptr;
  if (EVP_DigestVerifyInit(d.get(), &c, digest_of(alg), nullptr, key) != 1) return false;
  if (alg[0] == 'P' && (EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PSS_PADDING) != 1 || EVP_PKEY_CTX_set_rsa_pss_saltlen(c, RSA_PSS_SALTLEN_DIGEST) != 1)) return false;
  return EVP_DigestVerify(d.get(), bytes(der), der.size(), bytes(text), text.size()) == 1;
}

}  // namespace caravel::apiserver
