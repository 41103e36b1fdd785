#include "net/openssl_util.h"

namespace caravel::net {

Error openssl_error(std::string_view what) {
  std::string text(what);
  if (unsigned long code = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(code);
    text += std::string(": ") + (reason ? reason : "unknown OpenSSL error");
  }
  ERR_clear_error();
  return invalid(text);
}

BioPtr memory_bio(std::string_view text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  long n = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(n));
}

Result<KeyPtr> read_private_key(std::string_view pem) {
  BioPtr bio = memory_bio(pem);
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (!key) return openssl_error("not a PEM private key");
  return key;
}

Result<CertificatePtr> read_certificate(std::string_view pem) {
  BioPtr bio = memory_bio(pem);
  CertificatePtr c(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!c) return openssl_error("not a PEM certificate");
  return c;
}

Result<RequestPtr> read_request(std::string_view text) {
  RequestPtr r;
  if (text.find("-----BEGIN") != text.npos) {
    BioPtr bio = memory_bio(text);
    r.reset(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  } else {
    auto* p = reinterpret_cast<const unsigned char*>(text.data());
    r.reset(d2i_X509_REQ(nullptr, &p, static_cast<long>(text.size())));
  }
  if (!r) return openssl_error("not a certificate request");
  return r;
}

Result<std::string> public_key_text(EVP_PKEY* key) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_PUBKEY(bio.get(), key)) return openssl_error("writing a public key");
  return bio_text(bio.get());
}

}  // namespace caravel::net
