#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstring>

#include "base/strings.h"
#include "net/tls_context.h"

namespace caravel::net {
namespace {

// As Go's servers and clients prefer them: AES-128 first, a quarter less work than AES-256.
constexpr const char* kCiphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr size_t kReadAhead = 64 * 1024;  // of what a socket has, in one call; held only while it is being read

struct BioDeleter {
  void operator()(BIO* p) const { BIO_free(p); }
};
using Bio = std::unique_ptr<BIO, BioDeleter>;
struct X509Deleter {
  void operator()(X509* p) const { X509_free(p); }
};
using Certificate = std::unique_ptr<X509, X509Deleter>;
struct KeyDeleter {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};

Bio memory(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

Status use_certificate(SSL_CTX* ctx, const std::string& chain, const std::string& key) {
  Bio in = memory(chain);
  Certificate leaf(PEM_read_bio_X509_AUX(in.get(), nullptr, nullptr, nullptr));
  if (!leaf) return invalid("the TLS certificate is not a PEM certificate: " + openssl_errors());
  if (SSL_CTX_use_certificate(ctx, leaf.get()) != 1) return invalid("the TLS certificate cannot be used: " + openssl_errors());
  SSL_CTX_clear_chain_certs(ctx);
  while (X509* next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
      X509_free(next);
      return invalid("the TLS certificate chain cannot be used: " + openssl_errors());
    }
  }
  ERR_clear_error();  // the end of the file is an error to OpenSSL
  Bio key_in = memory(key);
  std::unique_ptr<EVP_PKEY, KeyDeleter> pkey(PEM_read_bio_PrivateKey(key_in.get(), nullptr, nullptr, nullptr));
  if (!pkey) return invalid("the TLS private key is not a PEM key: " + openssl_errors());
  if (SSL_CTX_use_PrivateKey(ctx, pkey.get()) != 1 || SSL_CTX_check_private_key(ctx) != 1)
    return invalid("the TLS private key does not belong to the certificate: " + openssl_errors());
  return ok();
}

// Adds each certificate of a PEM text to the trust anchors; with `names` also to the list that the
// server sends when it asks for a client certificate.
Status trust(SSL_CTX* ctx, const std::string& pem, bool names) {
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  Bio in = memory(pem);
  int n = 0;
  for (;;) {
    Certificate c(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
    if (!c) break;
    X509_STORE_add_cert(store, c.get());
    if (names) SSL_CTX_add_client_CA(ctx, c.get());
    ++n;
  }
  ERR_clear_error();
  if (n == 0) return invalid("the CA bundle holds no PEM certificate");
  return ok();
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* offered, unsigned offered_length, void* arg) {
  auto* wire = static_cast<std::string*>(arg);
  int rc = SSL_select_next_proto(const_cast<unsigned char**>(out), out_length, reinterpret_cast<const unsigned char*>(wire->data()), static_cast<unsigned>(wire->size()),
                                 offered, offered_length);
  return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

// A client certificate that does not verify is treated as none was sent: the request is then anonymous
// or carries another credential, as with Kubernetes' API server.
int accept_any_client_certificate(int, X509_STORE_CTX*) { return 1; }

void common(SSL_CTX* ctx) {
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_ciphersuites(ctx, kCiphers);
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_default_read_buffer_len(ctx, kReadAhead);
}

Status fill_server(SSL_CTX* ctx, const TlsServerOptions& o) {
  common(ctx);
  TRY_VOID(use_certificate(ctx, o.certificate, o.key));
  if (!o.client_ca.empty()) {
    TRY_VOID(trust(ctx, o.client_ca, true));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_any_client_certificate);
  }
  // Resumed sessions must not cross contexts (other servers in the process with other client CAs).
  static const unsigned char kSessionContext[] = "caravel";
  SSL_CTX_set_session_id_context(ctx, kSessionContext, sizeof kSessionContext - 1);
  SSL_CTX_set_num_tickets(ctx, 1);
  return ok();
}

}  // namespace

std::string alpn_wire_format(std::string_view names) {
  std::string out;
  for (auto& n : split(names, ',')) {
    if (n.empty() || n.size() > 255) continue;
    out += static_cast<char>(n.size());
    out += n;
  }
  return out;
}

std::string openssl_errors() {
  std::string out;
  while (unsigned long e = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(e);
    if (!out.empty()) out += "; ";
    out += reason ? reason : ERR_GET_LIB(e) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(e))
                                                           : "unknown error";
  }
  return out.empty() ? "no further detail" : out;
}

std::string certificate_pem(X509* certificate) {
  Bio out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), certificate);
  char* data = nullptr;
  long n = BIO_get_mem_data(out.get(), &data);
  return std::string(data, static_cast<size_t>(n));
}

Result<std::shared_ptr<TlsServerContext>> make_tls_server(const TlsServerOptions& options) {
  auto out = std::make_shared<TlsServerContext>();
  TRY_VOID(reload(*out, options));
  return out;
}

Status reload(TlsServerContext& context, const TlsServerOptions& options) {
  SslCtx ctx(SSL_CTX_new(TLS_server_method()));
  if (!ctx) return internal("OpenSSL cannot make a TLS context: " + openssl_errors());
  TRY_VOID(fill_server(ctx.get(), options));
  context.alpn_wire = alpn_wire_format(options.alpn);
  SSL_CTX_set_alpn_select_cb(ctx.get(), select_alpn, &context.alpn_wire);
  context.ctx = std::move(ctx);  // connections that are open hold a reference to the old one
  return ok();
}

Result<std::shared_ptr<TlsClientContext>> make_tls_client(const TlsClientOptions& options) {
  auto out = std::make_shared<TlsClientContext>();
  out->ctx.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* ctx = out->ctx.get();
  if (!ctx) return internal("OpenSSL cannot make a TLS context: " + openssl_errors());
  common(ctx);
  out->insecure = options.insecure;
  if (options.ca.empty()) {
    if (!options.insecure) SSL_CTX_set_default_verify_paths(ctx);
  } else {
    TRY_VOID(trust(ctx, options.ca, false));
    // An intermediate or a leaf given as anchor is trusted as such, as Go's verifier does.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
  }
  SSL_CTX_set_verify(ctx, options.insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!options.certificate.empty()) TRY_VOID(use_certificate(ctx, options.certificate, options.key));
  ERR_clear_error();
  return out;
}

}  // namespace caravel::net
