// AdmissionReview: what is asked of a webhook, and what its answer says. Also the `request` of expressions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/admission/admission.h"

namespace caravel::apiserver {

// A request as one webhook or policy sees it: in the version that its rules name.
struct AdmissionView {
  ServedTypePtr type;
  json::Value object, old;  // null: there is none
};

// The AdmissionRequest without uid, object and oldObject.
json::Value admission_request(const AdmissionRequest& a, const ServedType& as);
json::Value admission_review(std::string_view version, const std::string& uid, const AdmissionRequest& a, const AdmissionView& view);

struct ReviewAnswer {
  bool allowed = false;
  json::Value status;  // of a refusal; may be null
  std::vector<std::string> warnings;
  std::map<std::string, std::string> annotations;
  json::Value patch;  // null: nothing changes
};
// An error when the answer does not keep to the protocol.
Result<ReviewAnswer> parse_review(std::string_view body, std::string_view version, const std::string& uid, bool mutating);

// The refusal that the client sees.
Error denied_by_webhook(const std::string& webhook, const json::Value& status);
// What Kubernetes' clients make of an HTTP answer that is not 2xx.
std::string http_failure(int status, std::string_view body);

}  // namespace caravel::apiserver
