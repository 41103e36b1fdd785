// ingress-shim: from an annotated Ingress to the Certificates it wants, one for each spec.tls entry.
// Pure. Annotations: cert-manager.io/issuer, /cluster-issuer, /issuer-kind, /issuer-group, /common-name,
// /duration, /renew-before, /usages, /private-key-*, kubernetes.io/tls-acme with a default issuer.
#pragma once

#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::certs {

// The Certificates that the Ingress wants (none without an issuer annotation). Bad annotations are an
// error that names the annotation.
Result<std::vector<json::Value>> certificates_of_ingress(const json::Value& ingress);
// True when the spec fields that the shim owns differ.
bool shim_differs(const json::Value& existing, const json::Value& wanted);

}  // namespace caravel::certs
