#include "net/tls_stream.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/socket_util.h"
#include "net/tls_context.h"

namespace caravel::net {
namespace {

constexpr Duration kServerHandshakeTimeout = std::chrono::seconds(10);
constexpr size_t kSealBytes = 64 * 1024;     // sealed into records before the socket is asked: one call of the kernel for several records
constexpr size_t kScratchBytes = 96 * 1024;  // room that a thread's streams share for it

struct SslDeleter {
  void operator()(SSL* p) const { SSL_free(p); }
};

// OpenSSL's side of what a stream sends: a BIO that appends to the string it was given and is never full.
int append_records(BIO* bio, const char* bytes, int n) {
  static_cast<std::string*>(BIO_get_data(bio))->append(bytes, static_cast<size_t>(n));
  return n;
}
long control_records(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* record_method() {
  static BIO_METHOD* method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "records");
    BIO_meth_set_write(m, append_records);
    BIO_meth_set_ctrl(m, control_records);
    return m;
  }();
  return method;
}

// Owns the socket: OpenSSL reads it directly. What it writes gathers in records_ and goes out in one call. Records are sealed into
// the thread's scratch, so that a stream holds memory only for what the socket did not take.
class TlsStream final : public Stream {
 public:
  TlsStream(EventLoop& loop, StreamPtr plain, SSL* ssl) : loop_(loop), peer_(plain->peer()), local_(plain->local()), fd_(plain->release_fd()), ssl_(ssl) {
    records_bio_ = BIO_new(record_method());
    BIO_set_data(records_bio_, &records_);
    BIO_set_init(records_bio_, 1);
    SSL_set0_rbio(ssl_.get(), BIO_new_socket(fd_, BIO_NOCLOSE));
    SSL_set0_wbio(ssl_.get(), records_bio_);
  }
  ~TlsStream() override { close(); }

  Task<Status> handshake(bool server, Duration timeout) {
    Time deadline = loop_.now() + timeout;
    for (;;) {
      ERR_clear_error();
      int rc = server ? SSL_accept(ssl_.get()) : SSL_connect(ssl_.get());
      int e = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), rc);
      if (e != SSL_ERROR_NONE && e != SSL_ERROR_WANT_READ) {
        int saved = errno;
        push();  // the alert
        errno = saved;
        Error error = handshake_error(e);
        close();
        co_return error;
      }
      if (!push()) {
        if (broken_) co_return errno_error("TLS handshake with " + peer_, errno);
        e = SSL_ERROR_WANT_WRITE;
      }
      if (e == SSL_ERROR_NONE) co_return ok();
      Duration left = deadline - loop_.now();
      FdWait::Outcome o = FdWait::Outcome::kTimeout;
      if (left.count() > 0) {
        FdWait w(loop_, fd_, e == SSL_ERROR_WANT_READ ? FdWait::kRead : FdWait::kWrite, left);
        o = co_await w;
      }
      if (o == FdWait::Outcome::kForgotten) co_return make_error(Code::kCancelled, "the stream was closed on this side");
      if (o == FdWait::Outcome::kTimeout) {
        close();
        co_return make_error(Code::kTimeout, "TLS handshake with " + peer_ + ": no answer in time");
      }
    }
  }

  Task<Result<size_t>> read(std::span<char> buffer) override {
    for (;;) {
      if (fd_ < 0) co_return make_error(Code::kCancelled, "the stream was closed on this side");
      ERR_clear_error();
      size_t n = 0;
      int rc = SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &n);
      if (rc == 1) co_return n;
      int e = SSL_get_error(ssl_.get(), rc);
      if (!records_.empty() && !writing_) {  // an alert or the answer to a key update; what does not fit goes with the next write
        int saved = errno;
        push();
        errno = saved;
      }
      if (e == SSL_ERROR_ZERO_RETURN) co_return size_t{0};
      if (e != SSL_ERROR_WANT_READ) co_return failure("reading from", e);
      FdWait w(loop_, fd_, FdWait::kRead);
      FdWait::Outcome o = co_await w;
      if (o != FdWait::Outcome::kReady) co_return make_error(Code::kCancelled, "the stream was closed on this side");
    }
  }
  Task<Status> write(std::string_view data) override {
    while (!data.empty() || !records_.empty()) {
      if (fd_ < 0) co_return make_error(Code::kCancelled, "the stream was closed on this side");
      if (records_.empty() && !seal_and_send(data)) co_return failure("writing to", error_);
      if (!records_.empty() && !push()) {
        if (broken_) co_return failure("writing to", SSL_ERROR_SYSCALL);
        writing_ = true;
        FdWait w(loop_, fd_, FdWait::kWrite);
        FdWait::Outcome o = co_await w;
        writing_ = false;
        if (o != FdWait::Outcome::kReady) co_return make_error(Code::kCancelled, "the stream was closed on this side");
      }
    }
    co_return ok();
  }
  Task<Status> shutdown_write() override {
    if (fd_ < 0) co_return make_error(Code::kCancelled, "the stream was closed on this side");
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
    push();
    ::shutdown(fd_, SHUT_WR);
    co_return ok();
  }
  void close() override {
    if (fd_ < 0) return;
    loop_.forget(fd_);
    if (SSL_is_init_finished(ssl_.get()) && !broken_) {
      ERR_clear_error();
      SSL_shutdown(ssl_.get());  // best effort: the alert tells an end from a cut
      push();
    }
    ERR_clear_error();
    ::close(std::exchange(fd_, -1));
  }
  std::string peer() const override { return peer_; }
  std::string local() const override { return local_; }
  std::string alpn() const override {
    const unsigned char* p = nullptr;
    unsigned n = 0;
    SSL_get0_alpn_selected(ssl_.get(), &p, &n);
    return std::string(reinterpret_cast<const char*>(p), n);
  }
  std::string peer_certificate() const override {
    if (SSL_get_verify_result(ssl_.get()) != X509_V_OK) return "";
    X509* c = SSL_get0_peer_certificate(ssl_.get());
    return c ? certificate_pem(c) : "";
  }
  bool peer_gone() const override { return fd_ < 0 || loop_.hung_up(fd_); }
  Task<void> wait_peer_gone() override {
    FdWait w(loop_, fd_, FdWait::kHangup);
    co_await w;
  }

 private:
  // Seals up to kSealBytes of data (which it shortens) and offers the records to the socket; what it does not take stays in records_.
  bool seal_and_send(std::string_view& data) {
    static thread_local std::string scratch;
    scratch.clear();
    if (scratch.capacity() < kScratchBytes) scratch.reserve(kScratchBytes);
    BIO_set_data(records_bio_, &scratch);
    ERR_clear_error();
    error_ = SSL_ERROR_NONE;
    for (size_t left = std::min(kSealBytes, data.size()); left > 0 && error_ == SSL_ERROR_NONE;) {
      size_t n = 0;
      int rc = SSL_write_ex(ssl_.get(), data.data(), left, &n);
      if (rc != 1) error_ = SSL_get_error(ssl_.get(), rc);
      data.remove_prefix(n);
      left -= n;
    }
    BIO_set_data(records_bio_, &records_);
    if (error_ != SSL_ERROR_NONE) return false;
    size_t sent = send(scratch);
    if (sent < scratch.size()) records_.assign(scratch, sent);
    return true;
  }
  // True when nothing is left; false when the socket is full or, with broken_ set, failed.
  bool push() {
    size_t sent = send(records_);
    if (sent < records_.size()) {
      records_.erase(0, sent);
      return false;
    }
    records_ = std::string();
    return true;
  }
  size_t send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n >= 0) sent += static_cast<size_t>(n);
      else if (errno != EINTR) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) broken_ = true;
        break;
      }
    }
    return sent;
  }
  Error failure(const char* what, int e) {
    int saved = errno;
    broken_ = true;
    std::string where = std::string(what) + " " + peer_ + " over TLS";
    if (e == SSL_ERROR_SYSCALL) return errno_error(where, saved ? saved : ECONNRESET);
    return unavailable(where + ": " + openssl_errors());
  }
  Error handshake_error(int e) {
    int saved = errno;
    broken_ = true;
    std::string where = "TLS handshake with " + peer_;
    long verify = SSL_get_verify_result(ssl_.get());
    if (!SSL_is_server(ssl_.get()) && verify != X509_V_OK)
      return make_error(Code::kForbidden, where + ": the server's certificate is not trusted: " + X509_verify_cert_error_string(verify));
    if (e == SSL_ERROR_SYSCALL) return errno_error(where, saved ? saved : ECONNRESET);
    return unavailable(where + ": " + openssl_errors());
  }

  EventLoop& loop_;
  std::string peer_, local_;
  int fd_;
  bool broken_ = false;
  bool writing_ = false;  // a write() waits for the socket
  int error_ = SSL_ERROR_NONE;
  std::string records_;  // sealed and not yet taken by the socket
  BIO* records_bio_;     // belongs to ssl_
  std::unique_ptr<SSL, SslDeleter> ssl_;
};

}  // namespace

Task<Result<StreamPtr>> tls_accept(EventLoop& loop, StreamPtr plain, std::shared_ptr<TlsServerContext> tls) {
  if (plain->fd() < 0) co_return invalid("TLS needs a stream that is a socket");
  auto stream = std::make_unique<TlsStream>(loop, std::move(plain), SSL_new(tls->ctx.get()));
  Status s = co_await stream->handshake(true, kServerHandshakeTimeout);
  if (!s.ok()) co_return std::move(s).error();
  StreamPtr out = std::move(stream);
  co_return out;
}

Task<Result<StreamPtr>> tls_connect(EventLoop& loop, StreamPtr plain, std::shared_ptr<TlsClientContext> tls, std::string server_name, std::string alpn,
                                    Duration timeout) {
  if (plain->fd() < 0) co_return invalid("TLS needs a stream that is a socket");
  SSL* ssl = SSL_new(tls->ctx.get());
  auto stream = std::make_unique<TlsStream>(loop, std::move(plain), ssl);
  if (!server_name.empty()) {
    in6_addr a;
    bool ip = inet_pton(AF_INET, server_name.c_str(), &a) == 1 || inet_pton(AF_INET6, server_name.c_str(), &a) == 1;
    if (!ip) SSL_set_tlsext_host_name(ssl, server_name.c_str());
    if (!tls->insecure) {
      if (ip) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name.c_str());
      else SSL_set1_host(ssl, server_name.c_str());
    }
  }
  std::string wire = alpn_wire_format(alpn);
  if (!wire.empty()) SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(wire.data()), static_cast<unsigned>(wire.size()));
  Status s = co_await stream->handshake(false, timeout);
  if (!s.ok()) co_return std::move(s).error();
  StreamPtr out = std::move(stream);
  co_return out;
}

}  // namespace caravel::net
