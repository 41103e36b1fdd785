// Objects encrypted at rest: what `--encryption-provider-config` asks for (EncryptionConfiguration,
// apiserver.config.k8s.io/v1).
//
// The encrypted store stands in front of another one: the values of the listed resources are encrypted when
// they are written and decrypted when they are read, listed or watched. The first provider of a resource
// writes, all are tried for reading, so keys rotate by putting a new one first. Values carry upstream's
// prefixes ("k8s:enc:aesgcm:v1:KEY:"). What was written before encryption stays readable where `identity`
// is among the providers.
// Providers: aesgcm, aescbc, secretbox, identity. kms is refused with a sentence.
// Threading: as the store.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

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
// From YAML or JSON. Errors name the field, as upstream.
Result<std::vector<EncryptionRule>> parse_encryption_config(std::string_view text);

// Takes the store that it stands in front of.
std::unique_ptr<store::Store> make_encrypted_store(std::unique_ptr<store::Store> inner, std::vector<EncryptionRule> rules);

}  // namespace caravel::apiserver
