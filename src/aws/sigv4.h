// AWS Signature Version 4: signing and verifying, pure functions.
//
// Signing gives the headers to add; verifying recomputes the signature of a request as it came in, from
// the Authorization header or the presigned query parameters, within `skew` of `now`.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace caravel::aws {

struct Credentials {
  std::string access_key, secret_key, session_token;
  Time expires;  // zero: never
};

struct SignableRequest {
  std::string method;
  std::string path;                                          // raw, as sent
  std::string query;                                         // raw, without '?'
  std::vector<std::pair<std::string, std::string>> headers;  // any case; must hold host
  std::string body;
};

struct SignOptions {
  std::string region, service;
  Time now;
  // Canonical paths are encoded twice for every service but S3.
  bool double_encode_path = true;
  bool normalize_path = true;
};

// The headers to add: x-amz-date, authorization, x-amz-security-token when there is one.
std::vector<std::pair<std::string, std::string>> sign(const SignableRequest& request, const Credentials& credentials, const SignOptions& options);
// The query string of a presigned request (the given query plus the X-Amz-… parameters).
std::string presign(const SignableRequest& request, const Credentials& credentials, const SignOptions& options, Duration expires);

// What a request says of its signer, before anything is checked.
struct Scope {
  std::string access_key, date, region, service, session_token;
  std::string signature;
  std::vector<std::string> signed_headers;
  std::string amz_date;
  bool presigned = false;
  int64_t expires_seconds = 0;
};
// nullopt: the request is not signed. An error: it is, but malformed (IncompleteSignature).
Result<std::optional<Scope>> read_scope(const SignableRequest& request);
// Errors carry AWS codes: SignatureDoesNotMatch, RequestExpired.
Status verify(const SignableRequest& request, const Scope& scope, std::string_view secret_key, Time now, Duration skew = std::chrono::minutes(15));

// The pieces, for tests against AWS's published vectors.
std::string canonical_request(const SignableRequest& request, const std::vector<std::string>& signed_headers, std::string_view payload_hash, bool double_encode_path, bool normalize_path);
std::string string_to_sign(std::string_view amz_date, std::string_view scope, std::string_view canonical);
std::string signing_key(std::string_view secret, std::string_view date, std::string_view region, std::string_view service);
std::string amz_date(Time t);  // "20150830T123600Z"

}  // namespace caravel::aws
