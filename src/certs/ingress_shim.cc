#include "certs/ingress_shim.h"

#include <set>

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
        *at = json::Value::array();
        for (auto& item : split(text, ',')) at->push_back(trim(item));
        break;
    }
  }
  return ok();
}

}  // namespace

Result<std::vector<json::Value>> certificates_of_ingress(const json::Value& ingress) {
  std::vector<json::Value> out;
  std::string issuer = kube::annotation(ingress, "cert-manager.io/issuer"), kind = "Issuer", group = "cert-manager.io";
  std::string cluster = kube::annotation(ingress, "cert-manager.io/cluster-issuer");
  if (!issuer.empty() && !cluster.empty())
    return invalid("both cert-manager.io/issuer and cert-manager.io/cluster-issuer may not be set on the Ingress " + kube::key_of(ingress).text());
  if (!cluster.empty()) issuer = cluster, kind = "ClusterIssuer";
  if (issuer.empty() || kube::is_deleting(ingress)) return out;
  if (auto& k = kube::annotation(ingress, "cert-manager.io/issuer-kind"); !k.empty()) kind = k;
  if (auto& g = kube::annotation(ingress, "cert-manager.io/issuer-group"); !g.empty()) group = g;

  std::set<std::string> seen;
  size_t index = 0;
  for (auto& tls : ingress["spec"]["tls"].as_array()) {
    std::string where = "spec.tls[" + std::to_string(index++) + "]";
    const std::string& secret = tls["secretName"].as_string();
    if (secret.empty()) return invalid(where + ".secretName: Required value");
    if (!tls["hosts"].size()) return invalid(where + ".hosts: Required value");
    if (!seen.insert(secret).second) return invalid(where + ".secretName: Duplicate value: \"" + secret + "\"");
    json::Value c = json::Value::object();
    c["apiVersion"] = "cert-manager.io/v1";
    c["kind"] = "Certificate";
    c["metadata"]["name"] = secret;
    c["metadata"]["namespace"] = kube::namespace_of(ingress);
    if (ingress["metadata"]["labels"].size()) c["metadata"]["labels"] = ingress["metadata"]["labels"];
    c["metadata"]["ownerReferences"].push_back(kube::controller_reference(ingress));
    json::Value& spec = c["spec"];
    spec["dnsNames"] = tls["hosts"];
    spec["secretName"] = secret;
    spec["issuerRef"]["name"] = issuer;
    spec["issuerRef"]["kind"] = kind;
    spec["issuerRef"]["group"] = group;
    spec["usages"] = json::Value::array({"digital signature", "key encipherment"});
    TRY_VOID(pass_annotations(ingress, spec));
    out.push_back(std::move(c));
  }
  return out;
}

bool shim_differs(const json::Value& existing, const json::Value& wanted) {
  for (auto& m : wanted["spec"].as_object())
    if (!(existing["spec"][m.key] == m.value)) return true;
  return false;
}

}  // namespace caravel::certs
