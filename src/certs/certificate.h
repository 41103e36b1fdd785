// What a Certificate needs, decided from documents alone: the trigger and readiness policy chains of
// cert-manager, renewal time, and the content of requests and Secrets. Pure functions.
//
// Chain (cert-manager, policies package): the Secret is missing; lacks keys; its key and certificate do
// not match; it was issued by another issuer; it does not match the current request; the request does
// not match the spec; the certificate nears its end. The first that holds is the reason.
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

// secret and request may be null (absent). For readiness use `expired` instead of nearing expiry.
std::optional<Violation> needs_issuance(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now);
std::optional<Violation> not_ready(const json::Value& certificate, const json::Value* secret, const json::Value* request, Time now);

// Two thirds of the lifetime, or renewBefore / renewBeforePercentage; truncated to seconds.
Time renewal_time(const json::Value& certificate, Time not_before, Time not_after);
// Default 90 days, at least one hour.
Duration requested_duration(const json::Value& certificate);

net::CertificateNames requested_names(const json::Value& certificate);
// What the request's CSR or a certificate must say to match the spec; names of differing fields.
std::vector<std::string> differing_fields(const json::Value& certificate, const net::CertificateNames& names);
net::KeyType requested_key_type(const json::Value& certificate);

// Data of a Secret, base64-decoded; "" when absent.
std::string secret_data(const json::Value& secret, std::string_view key);

// Exponential back-off after failed issuance: 1 h doubling to 32 h.
Duration failure_backoff(int64_t failed_attempts);

}  // namespace caravel::certs
