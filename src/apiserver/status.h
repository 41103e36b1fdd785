// Status errors as upstream words them. Each function gives an Error whose `details` is the Status
// object's JSON, which every frontend sends as it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/resource.h"

namespace caravel::apiserver {

// One cause of an Invalid error: field path, machine reason ("FieldValueRequired"), message.
struct Cause {
  std::string field;
  std::string reason;
  std::string message;
};

namespace status {
Error not_found(const kube::Resource& r, std::string_view name);
Error already_exists(const kube::Resource& r, std::string_view name);
Error conflict(const kube::Resource& r, std::string_view name, std::string_view why);
// The wording for a stale resourceVersion.
Error modified(const kube::Resource& r, std::string_view name);
Error forbidden(const kube::Resource& r, std::string_view name, std::string_view why);
// As forbidden, with the whole message given ("User \"x\" cannot list ..."): for authorisation.
Error forbidden_message(const kube::Resource& r, std::string_view name, std::string message);
Error invalid(std::string_view group, std::string_view kind, std::string_view name, const std::vector<Cause>& causes);
Error bad_request(std::string message);
Error unauthorized(std::string message = "Unauthorized");
Error path_not_found();  // an unknown URL: "the server could not find the requested resource"
Error no_such_path();    // one below no group that is served: plain text
Error method_not_supported(const kube::Resource& r, std::string_view action);
Error method_not_allowed();
Error not_acceptable(std::string message);
Error unsupported_media_type(std::string message);
Error too_large(std::string message);
Error expired(std::string message);
Error gone_with_continue(std::string message, std::string continue_token);
Error too_many(std::string message, int retry_seconds);
Error timeout(std::string message, int retry_seconds = 0);
Error internal(std::string message);
Error unavailable(std::string message);
// Server-side apply conflicts: causes are "FieldManagerConflict" per field.
Error apply_conflict(std::string message, const std::vector<Cause>& causes);
// Any Status object.
Error make(int http, std::string_view reason, std::string message, json::Value details = {});
}  // namespace status

// The HTTP code and the Status object of any Error, also of those made elsewhere.
struct StatusObject {
  int code = 500;
  json::Value object;
  bool plain = false;  // the message alone is the answer
};
StatusObject to_status(const Error& e);

}  // namespace caravel::apiserver
