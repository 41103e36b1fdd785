// Objects encrypted at rest: what `--encryption-provider-config` asks for (EncryptionConfiguration,
// apiserver.config.k8s.io/v1).
//
// The encrypted store stands in front of another one: the values of the listed resources are encrypted when
// they are written and decrypted when they are read, listed or watched. The first provider of a resource
// writes, all are tried for reading, so keys rotate by putting a new one first; a write that changes nothing still moves
// a value to the new key (`kubectl get secrets -A -o json | kubectl replace -f -`). Values carry upstream's
// prefixes ("k8s:enc:aesgcm:v1:KEY:"). What was written before encryption stays readable where `identity`
// is among the providers.
// Providers: aesgcm, aescbc, secretbox, identity and kms v2 (encryption_kms.h); kms v1 is refused with a sentence.
// A provider whose keys are elsewhere is asked to prepare() before a value is sealed or opened, which may take a
// conversation; watches hold back events, in their order, until their values can be opened.
// Threading: as the store.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "store/store.h"

namespace caravel::apiserver {

// One way to keep a value; text in, text out. `key` is the store's key, authenticated with the value where
// the cipher can.
class ValueTransformer {
 public:
  virtual ~ValueTransformer() = default;
  virtual std::string prefix() const = 0;  // "" for identity
  virtual Result<std::string> seal(std::string_view plain, std::string_view key) const = 0;
  virtual Result<std::string> open(std::string_view sealed, std::string_view key) const = 0;  // without the prefix

  // Whether open() has what it needs; prepare_open() fetches it. prepare_seal() likewise for seal().
  virtual bool opens_now(std::string_view) const { return true; }
  virtual Task<Status> prepare_open(std::string sealed);
  virtual Task<Status> prepare_seal();
  // Whether seal() would use another key by now. Without the prefix.
  virtual bool outdated(std::string_view) const { return false; }
  // For health checks: nullopt where keys are here, else whether the one who has them was well when last asked.
  virtual std::optional<Status> remote_health() const { return std::nullopt; }
};
using Transformers = std::vector<std::unique_ptr<ValueTransformer>>;  // in order of the configuration

std::unique_ptr<ValueTransformer> make_aes_gcm(std::string key_name, std::string secret);
std::unique_ptr<ValueTransformer> make_aes_cbc(std::string key_name, std::string secret);
std::unique_ptr<ValueTransformer> make_secretbox(std::string key_name, std::string secret);
std::unique_ptr<ValueTransformer> make_identity();

struct EncryptionRule {
  std::vector<std::string> resources;  // "secrets", "widgets.example.com", "*.", "*.apps", "*.*"
  Transformers transformers;
};
// Makes the provider of a kms section; empty: there is no way to plug-ins.
using KmsConnect = std::function<std::unique_ptr<ValueTransformer>(std::string name, std::string endpoint, Duration timeout)>;
// From YAML or JSON. Errors name the field, as upstream.
Result<std::vector<EncryptionRule>> parse_encryption_config(std::string_view text, const KmsConnect& connect = nullptr);
// The health of each provider whose keys are elsewhere, in order of the configuration.
std::vector<Status> remote_health(const std::vector<EncryptionRule>& rules);
// Whether all that write can.
Task<Status> prepare_to_seal(std::shared_ptr<const std::vector<EncryptionRule>> rules);

// The rules that hold now. What is being read or written goes on with those that it began with.
struct EncryptionRules {
  std::shared_ptr<const std::vector<EncryptionRule>> now;
  explicit EncryptionRules(std::vector<EncryptionRule> r) { set(std::move(r)); }
  void set(std::vector<EncryptionRule> r) { now = std::make_shared<const std::vector<EncryptionRule>>(std::move(r)); }
};
// Takes the store that it stands in front of.
std::unique_ptr<store::Store> make_encrypted_store(Executor& ex, std::unique_ptr<store::Store> inner, std::shared_ptr<EncryptionRules> rules);

}  // namespace caravel::apiserver
