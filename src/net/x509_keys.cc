// Keys and JOSE signatures (see x509.h).
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/strings.h"
#include "net/openssl_util.h"
#include "net/x509.h"

namespace caravel::net {
namespace {

const EVP_MD* digest_of(std::string_view alg) {
  if (alg == "RS256" || alg == "ES256") return EVP_sha256();
  if (alg == "ES384") return EVP_sha384();
  return nullptr;
}
int half_size(std::string_view alg) { return alg == "ES384" ? 48 : 32; }

std::string padded(const BIGNUM* n, int size) {
  std::string out(static_cast<size_t>(size), '\0');
  BN_bn2binpad(n, reinterpret_cast<unsigned char*>(out.data()), size);
  return out;
}

std::string big_number(EVP_PKEY* key, const char* name, int size) {
  BIGNUM* n = nullptr;
  if (!EVP_PKEY_get_bn_param(key, name, &n)) return "";
  std::string out = padded(n, size ? size : BN_num_bytes(n));
  BN_free(n);
  return out;
}

}  // namespace

Result<std::string> generate_key(KeyType type) {
  KeyPtr key;
  switch (type) {
    case KeyType::kEcdsaP256: key.reset(EVP_EC_gen("P-256")); break;
    case KeyType::kEcdsaP384: key.reset(EVP_EC_gen("P-384")); break;
    case KeyType::kEcdsaP521: key.reset(EVP_EC_gen("P-521")); break;
    case KeyType::kRsa2048: key.reset(EVP_RSA_gen(2048)); break;
    case KeyType::kRsa3072: key.reset(EVP_RSA_gen(3072)); break;
    case KeyType::kRsa4096: key.reset(EVP_RSA_gen(4096)); break;
    case KeyType::kRsa8192: key.reset(EVP_RSA_gen(8192)); break;
    case KeyType::kEd25519: key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); break;
  }
  if (!key) return openssl_error("making a key");
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr)) return openssl_error("writing a key");
  return bio_text(bio.get());
}

Result<std::string> public_key_pem(std::string_view key_pem) {
  TRY(KeyPtr key, read_private_key(key_pem));
  return public_key_text(key.get());
}

Result<KeyInfo> parse_key(std::string_view key_pem) {
  TRY(KeyPtr key, read_private_key(key_pem));
  int type = EVP_PKEY_base_id(key.get());
  return KeyInfo{type == EVP_PKEY_RSA ? "RSA" : type == EVP_PKEY_EC ? "ECDSA"
                                                                    : "Ed25519",
                 EVP_PKEY_bits(key.get())};
}

Result<std::string> jose_sign(std::string_view alg, std::string_view key_pem, std::string_view data) {
  const EVP_MD* md = digest_of(alg);
  if (!md) return invalid("the signature algorithm " + std::string(alg) + " is not RS256, ES256 or ES384");
  TRY(KeyPtr key, read_private_key(key_pem));
  std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> ctx(EVP_MD_CTX_new());
  size_t n = 0;
  auto* in = reinterpret_cast<const unsigned char*>(data.data());
  if (EVP_DigestSignInit(ctx.get(), nullptr, md, nullptr, key.get()) != 1 || EVP_DigestSign(ctx.get(), nullptr, &n, in, data.size()) != 1)
    return openssl_error("signing");
  std::string out(n, '\0');
  if (EVP_DigestSign(ctx.get(), reinterpret_cast<unsigned char*>(out.data()), &n, in, data.size()) != 1) return openssl_error("signing");
  out.resize(n);
  if (alg == "RS256") return out;
  auto* p = reinterpret_cast<const unsigned char*>(out.data());
  std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>> sig(d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(out.size())));
  if (!sig) return openssl_error("signing: the key is no EC key");
  return padded(ECDSA_SIG_get0_r(sig.get()), half_size(alg)) + padded(ECDSA_SIG_get0_s(sig.get()), half_size(alg));
}

bool jose_verify(std::string_view alg, std::string_view public_key, std::string_view data, std::string_view signature) {
  const EVP_MD* md = digest_of(alg);
  BioPtr bio = memory_bio(public_key);
  KeyPtr key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!md || !key) return false;
  // The key's type must be the algorithm's: "alg" comes from the token.
  if (EVP_PKEY_base_id(key.get()) != (alg == "RS256" ? EVP_PKEY_RSA : EVP_PKEY_EC)) return false;
  std::string der(signature);
  if (alg != "RS256") {
    int half = half_size(alg);
    if (signature.size() != static_cast<size_t>(2 * half)) return false;
    auto* raw = reinterpret_cast<const unsigned char*>(signature.data());
    std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>> sig(ECDSA_SIG_new());
    ECDSA_SIG_set0(sig.get(), BN_bin2bn(raw, half, nullptr), BN_bin2bn(raw + half, half, nullptr));
    unsigned char* out = nullptr;
    int n = i2d_ECDSA_SIG(sig.get(), &out);
    if (n <= 0) return false;
    der.assign(reinterpret_cast<char*>(out), static_cast<size_t>(n));
    OPENSSL_free(out);
  }
  std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> ctx(EVP_MD_CTX_new());
  bool good = EVP_DigestVerifyInit(ctx.get(), nullptr, md, nullptr, key.get()) == 1 &&
              EVP_DigestVerify(ctx.get(), reinterpret_cast<const unsigned char*>(der.data()), der.size(), reinterpret_cast<const unsigned char*>(data.data()),
                               data.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<std::string> public_jwk(std::string_view pem) {
  KeyPtr key;
  if (pem.find("PRIVATE KEY") != pem.npos) {
    TRY(key, read_private_key(pem));
  } else {
    BioPtr bio = memory_bio(pem);
    key.reset(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
    if (!key) return openssl_error("not a PEM public key");
  }
  int type = EVP_PKEY_base_id(key.get());
  if (type == EVP_PKEY_EC) {
    bool p384 = EVP_PKEY_bits(key.get()) == 384;
    int half = p384 ? 48 : 32;
    return std::string("{\"crv\":\"") + (p384 ? "P-384" : "P-256") + "\",\"kty\":\"EC\",\"x\":\"" + base64url_encode(big_number(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, half)) +
           "\",\"y\":\"" + base64url_encode(big_number(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, half)) + "\"}";
  }
  if (type == EVP_PKEY_RSA)
    return "{\"e\":\"" + base64url_encode(big_number(key.get(), OSSL_PKEY_PARAM_RSA_E, 0)) + "\",\"kty\":\"RSA\",\"n\":\"" +
           base64url_encode(big_number(key.get(), OSSL_PKEY_PARAM_RSA_N, 0)) + "\"}";
  return invalid("a JWK can be made of an RSA or EC key only");
}

std::string jwk_thumbprint(std::string_view jwk_json) { return base64url_encode(sha256(jwk_json)); }

std::string random_bytes(size_t n) {
  std::string out(n, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(n)) != 1) std::abort();
  return out;
}

}  // namespace caravel::net
