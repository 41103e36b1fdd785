// Encryption at rest with a key management service: the kms provider, v2.
//
// The plug-in never sees our data. We make a seed; the plug-in encrypts it once, with the key it calls key_id;
// each value has a key of its own, derived from the seed and 32 random bytes (HKDF-SHA256), and carries the
// encrypted seed, so it can be read wherever the plug-in can be asked. The seed is used until the plug-in names
// another key_id: its status is asked every minute, and a seed whose status is older than three does not seal.
// Values: "k8s:enc:kms:v2:NAME:" and a protobuf EncryptedObject, as upstream; values of its earlier releases,
// where the plug-in encrypted a key of AES-GCM instead of a seed, are read.
// Seeds that the plug-in decrypted are remembered, kSeedsMax of them.
// Threading: one executor.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "apiserver/encryption.h"
#include "base/executor.h"
#include "base/scope.h"

namespace caravel::net {
class EventLoop;
}

namespace caravel::apiserver {

struct KmsStatus {
  std::string version, healthz, key_id;
};
struct KmsSealed {
  std::string ciphertext, key_id;
  std::map<std::string, std::string> annotations;
  bool operator==(const KmsSealed&) const = default;
};
// A plug-in: v2.KeyManagementService.
class KmsService {
 public:
  virtual ~KmsService() = default;
  virtual Task<Result<KmsStatus>> status() = 0;
  // `uid` names the call in the plug-in's log.
  virtual Task<Result<KmsSealed>> encrypt(std::string plain, std::string uid) = 0;
  virtual Task<Result<std::string>> decrypt(KmsSealed sealed, std::string uid) = 0;
};
// By gRPC over a Unix socket. The loop outlives it.
std::unique_ptr<KmsService> make_kms_client(net::EventLoop& loop, const std::string& socket, Duration timeout);

constexpr Duration kKmsStatusEvery = std::chrono::minutes(1), kKmsStatusAgain = std::chrono::seconds(10), kKmsStatusValid = std::chrono::minutes(3);
constexpr size_t kSeedsMax = 1'000;

class KmsTransformer final : public ValueTransformer {
 public:
  KmsTransformer(Executor& ex, std::string name, std::unique_ptr<KmsService> service);
  ~KmsTransformer() override { scope_.cancel_all(); }
  std::string prefix() const override { return "k8s:enc:kms:v2:" + name_ + ":"; }
  Result<std::string> seal(std::string_view plain, std::string_view key) const override;
  Result<std::string> open(std::string_view sealed, std::string_view key) const override;
  bool opens_now(std::string_view sealed) const override;
  Task<Status> prepare_open(std::string sealed) override;
  Task<Status> prepare_seal() override;
  bool outdated(std::string_view sealed) const override;
  std::optional<Status> remote_health() const override;

 private:
  struct Seed {
    std::string secret;
    KmsSealed sealed;
    Time until;
  };
  Task<void> keep_status();
  // Asks for the status; a new seed when the key is another one.
  Task<Status> refresh();
  Task<Status> new_seed(std::string key_id);
  std::string new_call_id();
  void remember(const std::string& digest, std::string secret);

  Executor* ex_;
  std::string name_;
  std::unique_ptr<KmsService> service_;
  std::optional<Seed> seed_;
  std::unordered_map<std::string, std::string> known_;  // digest of a sealed seed -> the seed
  bool refreshing_ = false;
  Event refreshed_;
  Status last_;
  TaskScope scope_;
};

}  // namespace caravel::apiserver
