// The ciphers of encryption at rest, in upstream's layouts:
//   aesgcm     12 bytes nonce, ciphertext, 16 bytes tag; the store's key is authenticated
//   aescbc     16 bytes initial vector, ciphertext with PKCS #7 padding
//   secretbox  24 bytes nonce, 16 bytes tag, ciphertext (NaCl's XSalsa20 and Poly1305)
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstring>

#include "apiserver/encryption.h"

namespace caravel::apiserver {

namespace {

using CipherPtr = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
const unsigned char* bytes(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }
unsigned char* bytes(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

Result<std::string> random_bytes(size_t n) {
  std::string out(n, '\0');
  if (RAND_bytes(bytes(out), static_cast<int>(n)) != 1) return make_error(Code::kInternal, "no random bytes for a nonce could be had");
  return out;
}

const EVP_CIPHER* aes(size_t key_size, bool gcm) {
  if (key_size == 16) return gcm ? EVP_aes_128_gcm() : EVP_aes_128_cbc();
  if (key_size == 24) return gcm ? EVP_aes_192_gcm() : EVP_aes_192_cbc();
  return gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
}

class AesGcm final : public ValueTransformer {
 public:
  AesGcm(std::string name, std::string secret) : name_(std::move(name)), secret_(std::move(secret)) {}
  std::string prefix() const override { return "k8s:enc:aesgcm:v1:" + name_ + ":"; }
  Result<std::string> seal(std::string_view plain, std::string_view key) const override {
    TRY(std::string nonce, random_bytes(kNonce));
    CipherPtr c(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    std::string out(plain.size(), '\0'), tag(kTag, '\0');
    int n = 0, m = 0;
    bool done = EVP_EncryptInit_ex(c.get(), aes(secret_.size(), true), nullptr, bytes(secret_), bytes(nonce)) == 1 &&
                EVP_EncryptUpdate(c.get(), nullptr, &n, bytes(key), static_cast<int>(key.size())) == 1 &&
                EVP_EncryptUpdate(c.get(), bytes(out), &n, bytes(plain), static_cast<int>(plain.size())) == 1 &&
                EVP_EncryptFinal_ex(c.get(), bytes(out) + n, &m) == 1 && EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_GCM_GET_TAG, kTag, tag.data()) == 1;
    if (!done) return make_error(Code::kInternal, "a value could not be encrypted with aesgcm");
    return nonce + out + tag;
  }
  Result<std::string> open(std::string_view sealed, std::string_view key) const override {
    if (sealed.size() < kNonce + kTag) return make_error(Code::kInternal, "the stored data was shorter than the required size");
    std::string_view nonce = sealed.substr(0, kNonce), body = sealed.substr(kNonce, sealed.size() - kNonce - kTag);
    std::string tag(sealed.substr(sealed.size() - kTag)), out(body.size(), '\0');
    CipherPtr c(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    int n = 0, m = 0;
    bool done = EVP_DecryptInit_ex(c.get(), aes(secret_.size(), true), nullptr, bytes(secret_), bytes(nonce)) == 1 &&
                EVP_DecryptUpdate(c.get(), nullptr, &n, bytes(key), static_cast<int>(key.size())) == 1 &&
                EVP_DecryptUpdate(c.get(), bytes(out), &n, bytes(body), static_cast<int>(body.size())) == 1 &&
                EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag.data()) == 1 && EVP_DecryptFinal_ex(c.get(), bytes(out) + n, &m) == 1;
    if (!done) return make_error(Code::kInternal, "cipher: message authentication failed");
    return out;
  }

 private:
  static constexpr size_t kNonce = 12;
  static constexpr int kTag = 16;
  std::string name_, secret_;
};

class AesCbc final : public ValueTransformer {
 public:
  AesCbc(std::string name, std::string secret) : name_(std::move(name)), secret_(std::move(secret)) {}
  std::string prefix() const override { return "k8s:enc:aescbc:v1:" + name_ + ":"; }
  Result<std::string> seal(std::string_view plain, std::string_view) const override {
    TRY(std::string iv, random_bytes(kBlock));
    CipherPtr c(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    std::string out(plain.size() + kBlock, '\0');
    int n = 0, m = 0;
    bool done = EVP_EncryptInit_ex(c.get(), aes(secret_.size(), false), nullptr, bytes(secret_), bytes(iv)) == 1 &&
                EVP_EncryptUpdate(c.get(), bytes(out), &n, bytes(plain), static_cast<int>(plain.size())) == 1 && EVP_EncryptFinal_ex(c.get(), bytes(out) + n, &m) == 1;
    if (!done) return make_error(Code::kInternal, "a value could not be encrypted with aescbc");
    out.resize(static_cast<size_t>(n + m));
    return iv + out;
  }
  Result<std::string> open(std::string_view sealed, std::string_view) const override {
    if (sealed.size() < 2 * kBlock || sealed.size() % kBlock) return make_error(Code::kInternal, "the stored data is not a whole number of blocks");
    std::string_view iv = sealed.substr(0, kBlock), body = sealed.substr(kBlock);
    CipherPtr c(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    std::string out(body.size() + kBlock, '\0');
    int n = 0, m = 0;
    bool done = EVP_DecryptInit_ex(c.get(), aes(secret_.size(), false), nullptr, bytes(secret_), bytes(iv)) == 1 &&
                EVP_DecryptUpdate(c.get(), bytes(out), &n, bytes(body), static_cast<int>(body.size())) == 1 && EVP_DecryptFinal_ex(c.get(), bytes(out) + n, &m) == 1;
    if (!done) return make_error(Code::kInternal, "invalid padding on input");
    out.resize(static_cast<size_t>(n + m));
    return out;
  }

 private:
  static constexpr size_t kBlock = 16;
  std::string name_, secret_;
};

// --- Salsa20, after its specification: 16 words of constants, key, nonce and counter; 20 rounds.
using Words = std::array<uint32_t, 16>;
uint32_t word_at(std::string_view s, size_t i) {
  uint32_t v = 0;
  for (int k = 3; k >= 0; --k) v = v << 8 | static_cast<unsigned char>(s[i * 4 + static_cast<size_t>(k)]);
  return v;
}
void put_word(std::string& out, uint32_t v) {
  for (int k = 0; k < 4; ++k) out.push_back(static_cast<char>(v >> (8 * k)));
}
Words salsa_input(std::string_view key, std::string_view sixteen) {
  constexpr std::string_view kSigma = "expand 32-byte k";
  Words x{};
  for (size_t i = 0; i < 4; ++i) x[i * 5] = word_at(kSigma, i);
  for (size_t i = 0; i < 4; ++i) x[1 + i] = word_at(key, i), x[11 + i] = word_at(key, 4 + i), x[6 + i] = word_at(sixteen, i);
  return x;
}
void salsa_rounds(Words& x) {
  auto quarter = [&x](size_t a, size_t b, size_t c, size_t d) {
    auto rotated = [](uint32_t v, int n) { return v << n | v >> (32 - n); };
    x[b] ^= rotated(x[a] + x[d], 7);
    x[c] ^= rotated(x[b] + x[a], 9);
    x[d] ^= rotated(x[c] + x[b], 13);
    x[a] ^= rotated(x[d] + x[c], 18);
  };
  for (int i = 0; i < 10; ++i) {
    quarter(0, 4, 8, 12), quarter(5, 9, 13, 1), quarter(10, 14, 2, 6), quarter(15, 3, 7, 11);
    quarter(0, 1, 2, 3), quarter(5, 6, 7, 4), quarter(10, 11, 8, 9), quarter(15, 12, 13, 14);
  }
}
// XSalsa20's key stream: `n` bytes.
std::string key_stream(std::string_view key, std::string_view nonce, size_t n) {
  Words h = salsa_input(key, nonce.substr(0, 16));
  salsa_rounds(h);
  std::string sub;
  for (size_t i : {0, 5, 10, 15, 6, 7, 8, 9}) put_word(sub, h[i]);
  std::string out;
  for (uint64_t counter = 0; out.size() < n; ++counter) {
    std::string sixteen(nonce.substr(16, 8));
    put_word(sixteen, static_cast<uint32_t>(counter));
    put_word(sixteen, static_cast<uint32_t>(counter >> 32));
    Words in = salsa_input(sub, sixteen), x = in;
    salsa_rounds(x);
    for (size_t i = 0; i < 16; ++i) put_word(out, x[i] + in[i]);
  }
  out.resize(n);
  return out;
}

class Secretbox final : public ValueTransformer {
 public:
  Secretbox(std::string name, std::string secret) : name_(std::move(name)), secret_(std::move(secret)) {}
  std::string prefix() const override { return "k8s:enc:secretbox:v1:" + name_ + ":"; }
  Result<std::string> seal(std::string_view plain, std::string_view) const override {
    TRY(std::string nonce, random_bytes(kNonce));
    std::string stream = key_stream(secret_, nonce, kOneTimeKey + plain.size()), body(plain);
    for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(body[i] ^ stream[kOneTimeKey + i]);
    TRY(std::string tag, tag_of(stream.substr(0, kOneTimeKey), body));
    return nonce + tag + body;
  }
  Result<std::string> open(std::string_view sealed, std::string_view) const override {
    if (sealed.size() < kNonce + kTag) return make_error(Code::kInternal, "the stored data was shorter than the required size");
    std::string_view nonce = sealed.substr(0, kNonce), tag = sealed.substr(kNonce, kTag);
    std::string body(sealed.substr(kNonce + kTag));
    std::string stream = key_stream(secret_, nonce, kOneTimeKey + body.size());
    TRY(std::string wanted, tag_of(stream.substr(0, kOneTimeKey), body));
    if (CRYPTO_memcmp(wanted.data(), tag.data(), kTag) != 0) return make_error(Code::kInternal, "message authentication failed");
    for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(body[i] ^ stream[kOneTimeKey + i]);
    return body;
  }

 private:
  static constexpr size_t kNonce = 24, kTag = 16, kOneTimeKey = 32;
  static Result<std::string> tag_of(const std::string& key, const std::string& body) {
    std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(EVP_MAC_fetch(nullptr, "POLY1305", nullptr), EVP_MAC_free);
    std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> c(mac ? EVP_MAC_CTX_new(mac.get()) : nullptr, EVP_MAC_CTX_free);
    std::string out(kTag, '\0');
    size_t n = 0;
    bool done = c && EVP_MAC_init(c.get(), bytes(key), key.size(), nullptr) == 1 && EVP_MAC_update(c.get(), bytes(body), body.size()) == 1 &&
                EVP_MAC_final(c.get(), bytes(out), &n, out.size()) == 1;
    if (!done) return make_error(Code::kInternal, "this machine's OpenSSL has no Poly1305; use aesgcm or aescbc instead of secretbox");
    return out;
  }
  std::string name_, secret_;
};

class Identity final : public ValueTransformer {
 public:
  std::string prefix() const override { return ""; }
  Result<std::string> seal(std::string_view plain, std::string_view) const override { return std::string(plain); }
  Result<std::string> open(std::string_view sealed, std::string_view) const override {
    if (sealed.substr(0, 8) == "k8s:enc:") return make_error(Code::kInternal, "identity transformer tried to read encrypted data");
    return std::string(sealed);
  }
};

}  // namespace

std::unique_ptr<ValueTransformer> make_aes_gcm(std::string n, std::string s) { return std::make_unique<AesGcm>(std::move(n), std::move(s)); }
std::unique_ptr<ValueTransformer> make_aes_cbc(std::string n, std::string s) { return std::make_unique<AesCbc>(std::move(n), std::move(s)); }
std::unique_ptr<ValueTransformer> make_secretbox(std::string n, std::string s) { return std::make_unique<Secretbox>(std::move(n), std::move(s)); }
std::unique_ptr<ValueTransformer> make_identity() { return std::make_unique<Identity>(); }

}  // namespace caravel::apiserver
