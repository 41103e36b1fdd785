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

constexpr Duration kKmsTimeout = std::chrono::seconds(3);

// A kms section; `seen` are the names of those before.
Result<std::unique_ptr<ValueTransformer>> kms_of(const Value& v, const std::string& at, const KmsConnect& connect, std::set<std::string>& seen) {
  const std::string &version = v["apiVersion"].as_string(), &name = v["name"].as_string(), &endpoint = v["endpoint"].as_string();
  if (version.empty() || version == "v1")
    return invalid(at + ".apiVersion: KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead: set apiVersion to v2");
  if (version != "v2") return invalid(at + ".apiVersion: Invalid value: " + json::quote(version) + ": unsupported apiVersion " + version + " for KMS provider, only v1 and v2 are supported");
  if (name.empty()) return invalid(at + ".name: Required value: name is a required field");
  if (name.find(':') != name.npos) return invalid(at + ".name: Invalid value: " + json::quote(name) + ": invalid KMS provider name " + name + ", must not contain ':'");
  if (!seen.insert(name).second) return invalid(at + ".name: Invalid value: " + json::quote(name) + ": duplicate KMS provider name " + name + ", names must be unique");
  if (!v["cachesize"].is_null()) return invalid(at + ".cachesize: Invalid value: cachesize is not supported in v2");
  Duration timeout = kKmsTimeout;
  if (const std::string& t = v["timeout"].as_string(); !t.empty()) {
    auto d = parse_duration(t);
    if (!d.ok() || *d <= Duration(0)) return invalid(at + ".timeout: Invalid value: " + json::quote(t) + ": timeout should be a positive value");
    timeout = *d;
  }
  if (endpoint.empty()) return invalid(at + ".endpoint: Required value: endpoint is a required field");
  constexpr std::string_view kUnix = "unix://";
  if (!endpoint.starts_with(kUnix))
    return invalid(at + ".endpoint: Invalid value: " + json::quote(endpoint) + ": unsupported scheme " + json::quote(endpoint.substr(0, endpoint.find(':'))) + " for KMS provider, only unix is supported");
  if (!connect) return invalid(at + ": key management plug-ins cannot be reached from here");
  return connect(name, endpoint.substr(kUnix.size()), timeout);
}

}  // namespace

Result<std::vector<EncryptionRule>> parse_encryption_config(std::string_view text, const KmsConnect& connect) {
  TRY(const Value config, yaml::parse_json_or_yaml(std::string(text)));
  if (config["kind"].as_string() != "EncryptionConfiguration" || config["apiVersion"].as_string() != "apiserver.config.k8s.io/v1")
    return invalid("the file is not an EncryptionConfiguration of apiserver.config.k8s.io/v1");
  if (config["resources"].size() == 0) return invalid("resources: Required value: provider config must have at least one resource");
  std::vector<EncryptionRule> rules;
  std::set<std::string> listed, kms_names;
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
      if (p.size() != 1) return invalid(where + ": a provider must have exactly one of aesgcm, aescbc, secretbox, kms, identity");
      const std::string& kind = p.as_object().begin()->key;
      if (kind == "identity") {
        rule.transformers.push_back(make_identity());
        continue;
      }
      if (kind == "kms") {
        TRY(auto kms, kms_of(p[kind], where + ".kms", connect, kms_names));
        rule.transformers.push_back(std::move(kms));
        continue;
      }
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
