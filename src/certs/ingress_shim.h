// ingress-shim: from an annotated Ingress to the Certificates it wants, one for each spec.tls entry.
// Pure. Annotations: cert-manager.io/issuer, /cluster-issuer, /issuer-kind, /issuer-group, /common-name,
// /duration, /renew-before, /usages, /private-key-*. There is no default issuer, so kubernetes.io/tls-acme
// alone asks for nothing.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::certs {

struct ShimPlan {
  bool managed = false;  // else the Ingress asks for nothing, and what it has is left alone
  std::vector<json::Value> certificates;
  std::vector<std::string> problems;    // spec.tls entries that were skipped, and why
  std::set<std::string> secrets_named;  // its Certificates for other Secrets are to go
};
// Bad annotations are an error that names the annotation.
Result<ShimPlan> certificates_of_ingress(const json::Value& ingress);
// `existing` with what the shim owns as in `wanted`: the labels, and the spec's fields that an annotation or
// spec.tls gives (an annotation that is gone takes its field with it). Nothing when that is so already.
std::optional<json::Value> shim_update(const json::Value& existing, const json::Value& wanted);

}  // namespace caravel::certs
