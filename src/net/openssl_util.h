// Owners for OpenSSL's objects and the text of its errors. Only for net's .cc files.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caravel::net {

template <auto F>
struct Freer {
  template <class T>
  void operator()(T* p) const {
    F(p);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;

// "what: reason of the library" and empties the library's queue.
Error openssl_error(std::string_view what);
BioPtr memory_bio(std::string_view text);
std::string bio_text(BIO* bio);
Result<KeyPtr> read_private_key(std::string_view pem);
Result<CertificatePtr> read_certificate(std::string_view pem);
Result<RequestPtr> read_request(std::string_view pem_or_der);
Result<std::string> public_key_text(EVP_PKEY* key);

}  // namespace caravel::net
