// EncryptionConfiguration: reading and checking.
#include <set>

#include "apiserver/encryption.h"
#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::apiserver {

namespace {

using json::Value;

Result<std::string> secret_of(const Value& key, const std::string& at, bool only_32) {
  if (key["name"].as_string().empty()) return invalid(at + ".name: Required value: " + "missing name for key");
  if (key["name"].as_string().find(':') != std::string::npos) return invalid(at + ".name: Invalid value: a key's name must not contain ':'");
  if (key["secret"].as_string().empty()) return invalid(at + ".secret: Required value: secret can't be empty");
  auto secret = base64_decode(key["secret"].as_string());
  if (!secret) return invalid(at + ".secret: Invalid value: \"REDACTED\": secrets must be base64 encoded");
  size_t n = secret->size();
  if (only_32 ? n != 32 : n != 16 && n != 24 && n != 32)
    return invalid(at + ".secret: Invalid value: \"REDACTED\": secret is not of the expected length, got " + std::to_string(n) + ", expected one of " + (only_32 ? "[32]" : "[16 24 32]"));
  return std::move(*secret);
}

}  // namespace

Result<std::vector<EncryptionRule>> parse_encryption_config(std::string_view text) {
  TRY(const Value config, yaml::parse_json_or_yaml(std::string(text)));
  if (config["kind"].as_string() != "EncryptionConfiguration" || config["apiVersion"].as_string() != "apiserver.config.k8s.io/v1")
    return invalid("the file is not an EncryptionConfiguration of apiserver.config.k8s.io/v1");
  if (config["resources"].size() == 0) return invalid("resources: Required value: provider config must have at least one resource");
  std::vector<EncryptionRule> rules;
  std::set<std::string> listed;
  for (size_t i = 0; i < config["resources"].size(); ++i) {
    const Value& r = config["resources"].at(i);
    std::string at = "resources[" + std::to_string(i) + "]";
    EncryptionRule rule;
    for (auto& name : r["resources"].as_array()) {
      if (name.as_string().empty()) return invalid(at + ".resources: Invalid value: resource name should not be empty");
      if (!listed.insert(name.as_string()).second) return invalid(at + ".resources: Invalid value: " + json::quote(name.as_string()) + " is listed twice");
      rule.resources.push_back(name.as_string());
    }
    if (rule.resources.empty()) return invalid(at + ".resources: Required value: at least one resource must be listed");
    if (r["providers"].size() == 0) return invalid(at + ".providers: Required value: at least one provider must be given");
    for (size_t j = 0; j < r["providers"].size(); ++j) {
      const Value& p = r["providers"].at(j);
      std::string where = at + ".providers[" + std::to_string(j) + "]";
      if (p.size() != 1) return invalid(where + ": a provider must have exactly one of aesgcm, aescbc, secretbox, identity");
      const std::string& kind = p.as_object().begin()->key;
      if (kind == "identity") {
        rule.transformers.push_back(make_identity());
        continue;
      }
      if (kind == "kms") return invalid(where + ".kms: key management plug-ins are not supported; use aesgcm, aescbc, secretbox or identity");
      if (kind != "aesgcm" && kind != "aescbc" && kind != "secretbox") return invalid(where + ": unknown provider " + json::quote(kind));
      const Value& keys = p[kind]["keys"];
      if (keys.size() == 0) return invalid(where + "." + kind + ".keys: Required value: at least one key is needed");
      for (size_t k = 0; k < keys.size(); ++k) {
        TRY(std::string secret, secret_of(keys.at(k), where + "." + kind + ".keys[" + std::to_string(k) + "]", kind == "secretbox"));
        std::string name = keys.at(k)["name"].as_string();
        rule.transformers.push_back(kind == "aesgcm" ? make_aes_gcm(name, secret) : kind == "aescbc" ? make_aes_cbc(name, secret)
                                                                                                     : make_secretbox(name, secret));
      }
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace caravel::apiserver
