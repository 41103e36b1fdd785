#include "certs/ingress_shim.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/dynamic_informer.h"

namespace caravel::certs {
namespace {

struct PassedOn {
  const char* annotation;
  std::initializer_list<std::string_view> field;
  enum { kText,
         kDuration,
         kNumber,
         kList } kind;
};

const PassedOn kPassedOn[] = {
    {"cert-manager.io/common-name", {"commonName"}, PassedOn::kText},
    {"cert-manager.io/duration", {"duration"}, PassedOn::kDuration},
    {"cert-manager.io/renew-before", {"renewBefore"}, PassedOn::kDuration},
    {"cert-manager.io/renew-before-percentage", {"renewBeforePercentage"}, PassedOn::kNumber},
    {"cert-manager.io/revision-history-limit", {"revisionHistoryLimit"}, PassedOn::kNumber},
    {"cert-manager.io/usages", {"usages"}, PassedOn::kList},
    {"cert-manager.io/ip-sans", {"ipAddresses"}, PassedOn::kList},
    {"cert-manager.io/uri-sans", {"uris"}, PassedOn::kList},
    {"cert-manager.io/email-sans", {"emailAddresses"}, PassedOn::kList},
    {"cert-manager.io/subject-organizations", {"subject", "organizations"}, PassedOn::kList},
    {"cert-manager.io/subject-countries", {"subject", "countries"}, PassedOn::kList},
    {"cert-manager.io/private-key-algorithm", {"privateKey", "algorithm"}, PassedOn::kText},
    {"cert-manager.io/private-key-encoding", {"privateKey", "encoding"}, PassedOn::kText},
    {"cert-manager.io/private-key-size", {"privateKey", "size"}, PassedOn::kNumber},
    {"cert-manager.io/private-key-rotation-policy", {"privateKey", "rotationPolicy"}, PassedOn::kText},
};

Status pass_annotations(const json::Value& ingress, json::Value& spec) {
  for (auto& p : kPassedOn) {
    const std::string& text = kube::annotation(ingress, p.annotation);
    if (text.empty()) continue;
    json::Value* at = &spec;
    for (auto step : p.field) at = &(*at)[step];
    switch (p.kind) {
      case PassedOn::kText: *at = text; break;
      case PassedOn::kDuration: {
        auto d = parse_duration(text);
        if (!d.ok()) return invalid(std::string("invalid annotation ") + p.annotation + ": " + d.error().message);
        *at = format_duration(*d);
        break;
      }
      case PassedOn::kNumber: {
        auto n = parse_int(text);
        if (!n) return invalid(std::string("invalid annotation ") + p.annotation + ": \"" + text + "\" is not a whole number");
        *at = *n;
        break;
      }
      case PassedOn::kList:
        if (!at->is_array()) *at = json::Value::array();
        for (auto& item : split(text, ',')) at->push_back(trim(item));
        break;
    }
  }
  return ok();
}

bool is_address(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

constexpr char kIssuer[] = "cert-manager.io/issuer";
constexpr char kClusterIssuer[] = "cert-manager.io/cluster-issuer";
constexpr char kIssuerKind[] = "cert-manager.io/issuer-kind";
constexpr char kIssuerGroup[] = "cert-manager.io/issuer-group";

Result<json::Value> issuer_of_ingress(const json::Value& ingress) {
  auto given = [&](const char* name) { return !kube::annotation(ingress, name).empty(); };
  for (auto* other : {kIssuer, kIssuerKind, kIssuerGroup})
    if (given(kClusterIssuer) && given(other))
      return invalid(std::string("Could not determine issuer for ingress due to bad annotations: both \"") + other + "\" and \"" + kClusterIssuer + "\" may not be set");
  json::Value ref = json::Value::object();
  ref["name"] = kube::annotation(ingress, given(kClusterIssuer) ? kClusterIssuer : kIssuer);
  ref["kind"] = given(kClusterIssuer) ? "ClusterIssuer" : given(kIssuerKind) ? kube::annotation(ingress, kIssuerKind)
                                                                             : "Issuer";
  ref["group"] = given(kIssuerGroup) ? kube::annotation(ingress, kIssuerGroup) : "cert-manager.io";
  return ref;
}

}  // namespace

Result<ShimPlan> certificates_of_ingress(const json::Value& ingress) {
  ShimPlan out;
  TRY(json::Value issuer, issuer_of_ingress(ingress));
  if (std::as_const(issuer)["name"].as_string().empty() || kube::is_deleting(ingress)) return out;
  out.managed = true;
  size_t index = 0;
  for (auto& tls : ingress["spec"]["tls"].as_array()) {
    std::string where = "spec.tls[" + std::to_string(index++) + "]";
    const std::string& secret = tls["secretName"].as_string();
    if (secret.empty() || !tls["hosts"].size()) {
      out.problems.push_back("Skipped a TLS block: " + where + (secret.empty() ? ".secretName" : ".hosts") + ": Required value");
      if (!secret.empty()) out.secrets_named.insert(secret);
      continue;
    }
    if (!out.secrets_named.insert(secret).second)
      return invalid(where + ".secretName: Invalid value: \"" + secret + "\": this secret name must only appear in a single TLS entry");
    json::Value c = json::Value::object();
    c["apiVersion"] = "cert-manager.io/v1";
    c["kind"] = "Certificate";
    c["metadata"]["name"] = secret;
    c["metadata"]["namespace"] = kube::namespace_of(ingress);
    if (ingress["metadata"]["labels"].size()) c["metadata"]["labels"] = ingress["metadata"]["labels"];
    c["metadata"]["ownerReferences"].push_back(kube::controller_reference(ingress));
    json::Value& spec = c["spec"];
    for (auto& host : tls["hosts"].as_array()) spec[is_address(host.as_string()) ? "ipAddresses" : "dnsNames"].push_back(host);
    spec["secretName"] = secret;
    spec["issuerRef"] = issuer;
    TRY_VOID(pass_annotations(ingress, spec));
    if (!spec.contains("usages")) spec["usages"] = json::Value::array({"digital signature", "key encipherment"});
    out.certificates.push_back(std::move(c));
  }
  return out;
}

std::optional<json::Value> shim_update(const json::Value& existing, const json::Value& wanted) {
  std::set<std::string_view> fields = {"dnsNames", "secretName", "issuerRef"};
  for (auto& p : kPassedOn) fields.insert(*p.field.begin());
  json::Value updated = existing;
  for (auto& f : fields) {
    if (wanted["spec"].contains(f)) updated["spec"][f] = wanted["spec"][f];
    else updated["spec"].erase(f);
  }
  if (wanted["metadata"]["labels"].size()) updated["metadata"]["labels"] = wanted["metadata"]["labels"];
  else updated["metadata"].erase("labels");
  if (updated == existing) return std::nullopt;
  return updated;
}

}  // namespace caravel::certs
