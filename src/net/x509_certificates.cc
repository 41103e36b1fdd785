// Certificates and requests (see x509.h).
#include <arpa/inet.h>

#include <cstring>

#include "base/strings.h"
#include "net/openssl_util.h"
#include "net/x509.h"

namespace caravel::net {
namespace {

void set_names(X509_NAME* subject, const CertificateNames& names) {
  auto add = [&](const char* field, const std::string& value) {
    if (!value.empty())
      X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()), static_cast<int>(value.size()), -1, 0);
  };
  for (auto& o : names.organizations) add("O", o);
  add("CN", names.common_name);
}

GENERAL_NAME* general_name(int type, const std::string& text) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (type == GEN_IPADD) {
    unsigned char bytes[16];
    int n = inet_pton(AF_INET, text.c_str(), bytes) == 1 ? 4 : inet_pton(AF_INET6, text.c_str(), bytes) == 1 ? 16
                                                                                                             : 0;
    ASN1_OCTET_STRING* ip = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(ip, bytes, n);
    GENERAL_NAME_set0_value(name, GEN_IPADD, ip);
  } else {
    ASN1_IA5STRING* s = ASN1_IA5STRING_new();
    ASN1_STRING_set(s, text.data(), static_cast<int>(text.size()));
    GENERAL_NAME_set0_value(name, type, s);
  }
  return name;
}

using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;
NamesPtr alt_names(const CertificateNames& names) {
  NamesPtr out(GENERAL_NAMES_new());
  for (auto& d : names.dns_names) sk_GENERAL_NAME_push(out.get(), general_name(GEN_DNS, d));
  for (auto& ip : names.ip_addresses) sk_GENERAL_NAME_push(out.get(), general_name(GEN_IPADD, ip));
  for (auto& u : names.uris) sk_GENERAL_NAME_push(out.get(), general_name(GEN_URI, u));
  return out;
}

CertificateNames read_names(const X509_NAME* subject, GENERAL_NAMES* alts) {
  CertificateNames out;
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    X509_NAME_ENTRY* e = X509_NAME_get_entry(subject, i);
    unsigned char* utf8 = nullptr;
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
    if (n < 0) continue;
    std::string value(reinterpret_cast<char*>(utf8), static_cast<size_t>(n));
    OPENSSL_free(utf8);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
    if (nid == NID_commonName) out.common_name = value;
    if (nid == NID_organizationName) out.organizations.push_back(value);
  }
  for (int i = 0; alts && i < sk_GENERAL_NAME_num(alts); ++i) {
    int type;
    auto* value = static_cast<ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(alts, i), &type));
    if (type != GEN_DNS && type != GEN_URI && type != GEN_IPADD) continue;
    std::string bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)), static_cast<size_t>(ASN1_STRING_length(value)));
    if (type == GEN_DNS) out.dns_names.push_back(bytes);
    if (type == GEN_URI) out.uris.push_back(bytes);
    if (type == GEN_IPADD) {
      char text[INET6_ADDRSTRLEN] = "";
      inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
      out.ip_addresses.push_back(text);
    }
  }
  return out;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX ctx;
  X509V3_set_ctx_nodb(&ctx);
  X509V3_set_ctx(&ctx, issuer, certificate, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>> ext(X509V3_EXT_nconf_nid(nullptr, &ctx, nid, value));
  return ext && X509_add_ext(certificate, ext.get(), -1) == 1;
}

const EVP_MD* signature_digest(EVP_PKEY* key) { return EVP_PKEY_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256(); }

Time asn1_time(const ASN1_TIME* t) {
  tm parts{};
  if (!t || !ASN1_TIME_to_tm(t, &parts)) return {};
  return Time::from_seconds(timegm(&parts));
}

Result<std::string> build(const CertificateSpec& spec, EVP_PKEY* subject_key, std::string_view ca_certificate, std::string_view ca_key, EVP_PKEY* self_key) {
  CertificatePtr c(X509_new());
  X509_set_version(c.get(), 2);
  // 16 random bytes, positive.
  std::string serial = random_bytes(16);
  serial[0] = static_cast<char>((serial[0] & 0x7f) | 0x40);
  BIGNUM* n = BN_bin2bn(reinterpret_cast<unsigned char*>(serial.data()), 16, nullptr);
  BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c.get()));
  BN_free(n);
  ASN1_TIME_set(X509_getm_notBefore(c.get()), spec.not_before.seconds());
  ASN1_TIME_set(X509_getm_notAfter(c.get()), spec.not_after.seconds());
  set_names(X509_get_subject_name(c.get()), spec.names);
  X509_set_pubkey(c.get(), subject_key);

  CertificatePtr ca;
  KeyPtr signer;
  X509* issuer = c.get();
  EVP_PKEY* signing_key = self_key;
  if (!ca_key.empty()) {
    TRY(ca, read_certificate(ca_certificate));
    TRY(signer, read_private_key(ca_key));
    issuer = ca.get();
    signing_key = signer.get();
  }
  if (!signing_key) return invalid("a certificate without a CA needs its own key to sign with");
  X509_set_issuer_name(c.get(), X509_get_subject_name(issuer));
  bool good = add_extension(c.get(), issuer, NID_basic_constraints, spec.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  good = good && add_extension(c.get(), issuer, NID_key_usage, spec.is_ca ? "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment");
  std::string usage = spec.server_auth && spec.client_auth ? "serverAuth,clientAuth" : spec.server_auth ? "serverAuth"
                                                                                   : spec.client_auth   ? "clientAuth"
                                                                                                        : "";
  if (!usage.empty()) good = good && add_extension(c.get(), issuer, NID_ext_key_usage, usage.c_str());
  good = good && add_extension(c.get(), issuer, NID_subject_key_identifier, "hash");
  if (issuer != c.get()) good = good && add_extension(c.get(), issuer, NID_authority_key_identifier, "keyid");
  NamesPtr alts = alt_names(spec.names);
  if (sk_GENERAL_NAME_num(alts.get()) > 0) good = good && X509_add1_ext_i2d(c.get(), NID_subject_alt_name, alts.get(), 0, X509V3_ADD_APPEND) == 1;
  if (!good) return openssl_error("building a certificate");
  if (!X509_sign(c.get(), signing_key, signature_digest(signing_key))) return openssl_error("signing a certificate");
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), c.get());
  return bio_text(bio.get());
}

}  // namespace

Result<std::string> make_certificate(const CertificateSpec& spec, std::string_view key_pem, std::string_view ca_certificate, std::string_view ca_key) {
  TRY(KeyPtr key, read_private_key(key_pem));
  return build(spec, key.get(), ca_certificate, ca_key, key.get());
}

Result<std::string> make_csr(const CertificateNames& names, std::string_view key_pem) {
  TRY(KeyPtr key, read_private_key(key_pem));
  RequestPtr r(X509_REQ_new());
  X509_REQ_set_version(r.get(), 0);
  set_names(X509_REQ_get_subject_name(r.get()), names);
  X509_REQ_set_pubkey(r.get(), key.get());
  NamesPtr alts = alt_names(names);
  if (sk_GENERAL_NAME_num(alts.get()) > 0) {
    std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>> ext(X509V3_EXT_i2d(NID_subject_alt_name, 0, alts.get()));
    STACK_OF(X509_EXTENSION)* list = sk_X509_EXTENSION_new_null();
    sk_X509_EXTENSION_push(list, ext.get());
    X509_REQ_add_extensions(r.get(), list);
    sk_X509_EXTENSION_free(list);
  }
  if (!X509_REQ_sign(r.get(), key.get(), signature_digest(key.get()))) return openssl_error("signing a certificate request");
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), r.get());
  return bio_text(bio.get());
}

Result<CsrInfo> parse_csr(std::string_view text) {
  TRY(RequestPtr r, read_request(text));
  EVP_PKEY* key = X509_REQ_get0_pubkey(r.get());
  if (!key || X509_REQ_verify(r.get(), key) != 1) return openssl_error("the certificate request's signature is wrong");
  CsrInfo out;
  STACK_OF(X509_EXTENSION)* list = X509_REQ_get_extensions(r.get());
  auto* alts = static_cast<GENERAL_NAMES*>(X509V3_get_d2i(list, NID_subject_alt_name, nullptr, nullptr));
  out.names = read_names(X509_REQ_get_subject_name(r.get()), alts);
  GENERAL_NAMES_free(alts);
  sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
  int type = EVP_PKEY_base_id(key);
  out.key_type = type == EVP_PKEY_RSA ? "RSA" : type == EVP_PKEY_EC    ? "ECDSA"
                                            : type == EVP_PKEY_ED25519 ? "Ed25519"
                                                                       : "";
  return out;
}

Result<std::string> csr_public_key_pem(std::string_view text) {
  TRY(RequestPtr r, read_request(text));
  EVP_PKEY* key = X509_REQ_get0_pubkey(r.get());
  if (!key) return openssl_error("the certificate request holds no public key");
  return public_key_text(key);
}

Result<std::string> sign_csr(std::string_view csr_pem, const CertificateSpec& spec, std::string_view ca_certificate, std::string_view ca_key) {
  TRY(RequestPtr r, read_request(csr_pem));
  EVP_PKEY* key = X509_REQ_get0_pubkey(r.get());
  if (!key || X509_REQ_verify(r.get(), key) != 1) return openssl_error("the certificate request's signature is wrong");
  return build(spec, key, ca_certificate, ca_key, nullptr);
}

Result<std::string> csr_to_der(std::string_view csr_pem) {
  TRY(RequestPtr r, read_request(csr_pem));
  unsigned char* out = nullptr;
  int n = i2d_X509_REQ(r.get(), &out);
  if (n <= 0) return openssl_error("encoding a certificate request");
  std::string der(reinterpret_cast<char*>(out), static_cast<size_t>(n));
  OPENSSL_free(out);
  return der;
}

Result<CertificateInfo> parse_certificate(std::string_view pem) {
  TRY(CertificatePtr c, read_certificate(pem));
  CertificateInfo out;
  auto* alts = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(c.get(), NID_subject_alt_name, nullptr, nullptr));
  out.names = read_names(X509_get_subject_name(c.get()), alts);
  GENERAL_NAMES_free(alts);
  out.issuer_common_name = read_names(X509_get_issuer_name(c.get()), nullptr).common_name;
  BIGNUM* serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(c.get()), nullptr);
  char* hex = BN_bn2hex(serial);
  out.serial_hex = to_lower(hex);
  OPENSSL_free(hex);
  BN_free(serial);
  out.not_before = asn1_time(X509_get0_notBefore(c.get()));
  out.not_after = asn1_time(X509_get0_notAfter(c.get()));
  out.is_ca = X509_check_ca(c.get()) > 0;
  TRY(out.public_key_pem, public_key_text(X509_get0_pubkey(c.get())));
  uint32_t extended = X509_get_extended_key_usage(c.get());
  if (extended != UINT32_MAX) {
    if (extended & XKU_SSL_SERVER) out.key_usages.push_back("server auth");
    if (extended & XKU_SSL_CLIENT) out.key_usages.push_back("client auth");
  }
  return out;
}

std::vector<std::string> split_pem(std::string_view pem) {
  std::vector<std::string> out;
  while (true) {
    size_t begin = pem.find("-----BEGIN ");
    if (begin == pem.npos) return out;
    size_t end = pem.find("-----END ", begin);
    if (end == pem.npos) return out;
    size_t line = pem.find('\n', end);
    size_t stop = line == pem.npos ? pem.size() : line + 1;
    out.push_back(std::string(pem.substr(begin, stop - begin)) + (line == pem.npos ? "\n" : ""));
    pem.remove_prefix(stop);
  }
}

bool key_matches_certificate(std::string_view key_pem, std::string_view certificate_pem) {
  auto key = read_private_key(key_pem);
  auto certificate = read_certificate(certificate_pem);
  if (!key.ok() || !certificate.ok()) return false;
  bool same = X509_check_private_key(certificate->get(), key->get()) == 1;
  ERR_clear_error();
  return same;
}

bool verify_chain(std::string_view leaf, std::string_view intermediates, std::string_view roots, Time now) {
  auto certificate = read_certificate(leaf);
  if (!certificate.ok()) return false;
  std::unique_ptr<X509_STORE, Freer<X509_STORE_free>> store(X509_STORE_new());
  for (auto& pem : split_pem(roots)) {
    auto root = read_certificate(pem);
    if (root.ok()) X509_STORE_add_cert(store.get(), root->get());
  }
  STACK_OF(X509)* chain = sk_X509_new_null();
  for (auto& pem : split_pem(intermediates)) {
    auto c = read_certificate(pem);
    if (c.ok()) sk_X509_push(chain, c->release());
  }
  std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>> ctx(X509_STORE_CTX_new());
  X509_STORE_CTX_init(ctx.get(), store.get(), certificate->get(), chain);
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_time(param, now.seconds());
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  bool good = X509_verify_cert(ctx.get()) == 1;
  sk_X509_pop_free(chain, X509_free);
  ERR_clear_error();
  return good;
}

}  // namespace caravel::net
