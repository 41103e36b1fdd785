// The messages of v2.KeyManagementService, and the calls.
#include "apiserver/encryption_kms.h"
#include "kube/wire.h"
#include "net/grpc.h"

namespace caravel::apiserver {

namespace {

namespace wire = kube::wire;

Error senseless(const char* method) { return make_error(Code::kUnavailable, std::string("the KMS plug-in's answer to ") + method + " makes no sense"); }

bool read_entry(std::string_view bytes, std::map<std::string, std::string>& out) {
  wire::Reader r(bytes);
  std::string k, v;
  for (wire::Item i; r.next(i);) {
    if (i.number == 1) k = i.bytes;
    if (i.number == 2) v = i.bytes;
  }
  if (!r.failed()) out[k] = v;
  return !r.failed();
}

class KmsClient final : public KmsService {
 public:
  KmsClient(std::unique_ptr<net::GrpcClient> grpc, Duration timeout) : grpc_(std::move(grpc)), timeout_(timeout) {}

  Task<Result<KmsStatus>> status() override {
    auto answer = co_await grpc_->call("/v2.KeyManagementService/Status", "", timeout_);
    if (!answer.ok()) co_return std::move(answer).error();
    KmsStatus s;
    wire::Reader r(*answer);
    for (wire::Item i; r.next(i);) {
      if (i.number == 1) s.version = i.bytes;
      if (i.number == 2) s.healthz = i.bytes;
      if (i.number == 3) s.key_id = i.bytes;
    }
    if (r.failed()) co_return senseless("Status");
    co_return s;
  }

  Task<Result<KmsSealed>> encrypt(std::string plain, std::string uid) override {
    std::string message;
    wire::put_bytes(message, 1, plain);
    wire::put_bytes(message, 2, uid);
    auto answer = co_await grpc_->call("/v2.KeyManagementService/Encrypt", std::move(message), timeout_);
    if (!answer.ok()) co_return std::move(answer).error();
    KmsSealed s;
    wire::Reader r(*answer);
    bool good = true;
    for (wire::Item i; r.next(i);) {
      if (i.number == 1) s.ciphertext = i.bytes;
      if (i.number == 2) s.key_id = i.bytes;
      if (i.number == 3) good = read_entry(i.bytes, s.annotations) && good;
    }
    if (r.failed() || !good) co_return senseless("Encrypt");
    co_return s;
  }

  Task<Result<std::string>> decrypt(KmsSealed sealed, std::string uid) override {
    std::string message;
    wire::put_bytes(message, 1, sealed.ciphertext);
    wire::put_bytes(message, 2, uid);
    wire::put_bytes(message, 3, sealed.key_id);
    for (auto& [k, v] : sealed.annotations) {
      std::string entry;
      wire::put_bytes(entry, 1, k);
      wire::put_bytes(entry, 2, v);
      wire::put_bytes(message, 4, entry);
    }
    auto answer = co_await grpc_->call("/v2.KeyManagementService/Decrypt", std::move(message), timeout_);
    if (!answer.ok()) co_return std::move(answer).error();
    std::string plain;
    wire::Reader r(*answer);
    for (wire::Item i; r.next(i);)
      if (i.number == 1) plain = i.bytes;
    if (r.failed()) co_return senseless("Decrypt");
    co_return plain;
  }

 private:
  std::unique_ptr<net::GrpcClient> grpc_;
  Duration timeout_;
};

}  // namespace

std::unique_ptr<KmsService> make_kms_client(net::EventLoop& loop, const std::string& socket, Duration timeout) {
  return std::make_unique<KmsClient>(net::make_grpc_client(loop, "unix:" + socket), timeout);
}

}  // namespace caravel::apiserver
