// What a Certificate needs, decided from documents alone: the trigger and readiness policy chains of
// cert-manager, renewal time, and the content of requests and Secrets. Pure functions.
//
// Chain (cert-manager, policies package): the Secret is missing; lacks keys; its key and certificate do
// not match; its key is not of the kind asked for; it was issued by another issuer; it does not match the
// current request; the request does not match the spec; the certificate nears its end. The first that
// holds is the reason. A certificate stays ready while only its key's kind or its issuer is out of date.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "net/x509.h"

namespace caravel::certs {

struct Violation {
  std::string reason;  // "DoesNotExist", "MissingData", "Renewing", ...
  std::string message;
};

// secret and request may be null (absent).
std::optional<Violation> needs_issuance(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now);
std::optional<Violation> not_ready(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now);

// Two thirds of the lifetime, or as renewBefore / renewBeforePercentage say; truncated to seconds.
Time renewal_time(const json::Value& certificate, Time not_before, Time not_after);
// Default 90 days, at least one hour.
Duration requested_duration(const json::Value& certificate);

net::CertificateNames requested_names(const json::Value& certificate);
// The spec's fields that a CertificateRequest was made for other values of.
std::vector<std::string> differing_request_fields(const json::Value& certificate, const json::Value& request);
// Digital signature and key encipherment when none are asked for.
json::Value requested_usages(const json::Value& certificate);

Result<net::KeyType> requested_key_type(const json::Value& certificate);
// "spec.privateKey.algorithm", "spec.privateKey.size": what the key differs in.
std::vector<std::string> differing_key_fields(const json::Value& certificate, const std::string& key_pem);
// Is the request made for this key? The CSR's public key decides.
bool request_uses_key(const json::Value& request, const std::string& key_pem);

// The CertificateRequest "NAME-REVISION" that asks for the certificate with the key kept in key_secret.
Result<json::Value> request_for(const json::Value& certificate, int64_t revision, const std::string& key_secret, const std::string& key_pem);
// The target Secret with the issued certificate; existing may be null. What others put into it stays.
json::Value issued_secret(const json::Value& certificate, const json::Value* existing, const json::Value& request, const std::string& key_pem);

// Data of a Secret, base64-decoded; "" when absent.
std::string secret_data(const json::Value& secret, std::string_view key);
// The Secret with the labels and annotations of secretTemplate, if it lacks one: no issuance is needed for
// that. Those that a template no longer has stay.
std::optional<json::Value> template_update(const json::Value& certificate, const json::Value& secret);

// Exponential back-off after failed issuance: 1 h doubling to 32 h.
Duration failure_backoff(int64_t failed_attempts);
// When a failed issuance may be tried again, if that is later than now. A changed spec is tried at once.
std::optional<Time> held_back_until(const json::Value& status, int64_t generation, Time now);

}  // namespace caravel::certs
