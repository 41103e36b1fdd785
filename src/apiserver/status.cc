#include "apiserver/status.h"

namespace caravel::apiserver {

namespace {

Code code_of(int http, std::string_view reason) {
  switch (http) {
    case 400: return Code::kBadRequest;
    case 401: return Code::kUnauthorized;
    case 403: return Code::kForbidden;
    case 404: return Code::kNotFound;
    case 405:
    case 406:
    case 415: return Code::kUnsupported;
    case 409: return reason == "AlreadyExists" ? Code::kAlreadyExists : Code::kConflict;
    case 410: return Code::kGone;
    case 413: return Code::kTooLarge;
    case 422: return Code::kInvalid;
    case 429: return Code::kTooMany;
    case 503: return Code::kUnavailable;
    case 504: return Code::kTimeout;
  }
  return Code::kInternal;
}

json::Value details_of(const kube::Resource& r, std::string_view name) {
  json::Value d = json::Value::object();
  if (!name.empty()) d["name"] = name;
  if (!r.group.empty()) d["group"] = r.group;
  if (!r.plural.empty()) d["kind"] = r.plural;
  return d;
}

// Instead of a Status: the answer is the message as plain text, with 404.
constexpr std::string_view kPlain = "plain";

std::string quoted(std::string_view s) { return "\"" + std::string(s) + "\""; }

json::Value causes_json(const std::vector<Cause>& causes) {
  json::Value list = json::Value::array();
  for (auto& c : causes) {
    json::Value v = json::Value::object();
    if (!c.reason.empty()) v["reason"] = c.reason;
    v["message"] = c.message;
    if (!c.field.empty()) v["field"] = c.field;
    list.push_back(std::move(v));
  }
  return list;
}

}  // namespace

namespace status {

Error make(int http, std::string_view reason, std::string message, json::Value details) {
  json::Value s = json::Value::object();
  s["kind"] = "Status";
  s["apiVersion"] = "v1";
  s["metadata"] = json::Value::object();
  s["status"] = "Failure";
  s["message"] = message;
  if (!reason.empty()) s["reason"] = reason;
  if (details.is_object()) s["details"] = std::move(details);
  s["code"] = http;
  return {code_of(http, reason), std::move(message), json::dump(s)};
}

Error not_found(const kube::Resource& r, std::string_view name) {
  return make(404, "NotFound", r.group_resource() + " " + quoted(name) + " not found", details_of(r, name));
}
Error already_exists(const kube::Resource& r, std::string_view name) {
  return make(409, "AlreadyExists", r.group_resource() + " " + quoted(name) + " already exists", details_of(r, name));
}
Error conflict(const kube::Resource& r, std::string_view name, std::string_view why) {
  return make(409, "Conflict", "Operation cannot be fulfilled on " + r.group_resource() + " " + quoted(name) + ": " + std::string(why), details_of(r, name));
}
Error modified(const kube::Resource& r, std::string_view name) {
  return conflict(r, name, "the object has been modified; please apply your changes to the latest version and try again");
}
Error forbidden(const kube::Resource& r, std::string_view name, std::string_view why) {
  std::string what = name.empty() ? r.group_resource() : r.group_resource() + " " + quoted(name);
  return make(403, "Forbidden", what + " is forbidden: " + std::string(why), details_of(r, name));
}
Error forbidden_message(const kube::Resource& r, std::string_view name, std::string message) {
  return make(403, "Forbidden", std::move(message), details_of(r, name));
}
Error invalid(std::string_view group, std::string_view kind, std::string_view name, const std::vector<Cause>& causes) {
  std::string what(kind);
  if (!group.empty()) what += "." + std::string(group);
  std::string text;
  for (auto& c : causes) {
    if (!text.empty()) text += ", ";
    text += c.field.empty() ? c.message : c.field + ": " + c.message;
  }
  if (causes.size() > 1) text = "[" + text + "]";
  json::Value d = json::Value::object();
  if (!name.empty()) d["name"] = name;
  if (!group.empty()) d["group"] = group;
  if (!kind.empty()) d["kind"] = kind;
  d["causes"] = causes_json(causes);
  return make(422, "Invalid", what + " " + quoted(name) + " is invalid: " + text, std::move(d));
}
Error bad_request(std::string message) { return make(400, "BadRequest", std::move(message)); }
Error unauthorized(std::string message) { return make(401, "Unauthorized", std::move(message)); }
Error path_not_found() {
  return make(404, "NotFound", "the server could not find the requested resource", json::Value::object());
}
Error no_such_path() {
  Error e = path_not_found();
  e.message = "404 page not found";
  e.details = kPlain;
  return e;
}
Error method_not_supported(const kube::Resource& r, std::string_view action) {
  return make(405, "MethodNotAllowed", std::string(action) + " is not supported on resources of kind " + quoted(r.group_resource()), details_of(r, ""));
}
Error method_not_allowed() { return make(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", json::Value::object()); }
Error not_acceptable(std::string message) { return make(406, "NotAcceptable", std::move(message)); }
Error unsupported_media_type(std::string message) { return make(415, "UnsupportedMediaType", std::move(message)); }
Error too_large(std::string message) { return make(413, "RequestEntityTooLarge", std::move(message)); }
Error expired(std::string message) { return make(410, "Expired", std::move(message)); }
Error gone_with_continue(std::string message, std::string continue_token) {
  Error e = make(410, "Expired", std::move(message));
  auto v = json::parse(e.details);
  (*v)["metadata"]["continue"] = std::move(continue_token);
  e.details = json::dump(*v);
  return e;
}
Error too_many(std::string message, int retry_seconds) {
  json::Value d = json::Value::object();
  if (retry_seconds) d["retryAfterSeconds"] = retry_seconds;
  return make(429, "TooManyRequests", std::move(message), std::move(d));
}
Error timeout(std::string message, int retry_seconds) {
  json::Value d = json::Value::object();
  if (retry_seconds) d["retryAfterSeconds"] = retry_seconds;
  return make(504, "Timeout", std::move(message), std::move(d));
}
Error internal(std::string message) {
  json::Value d = json::Value::object();
  json::Value cause = json::Value::object();
  cause["message"] = message;
  d["causes"] = json::Value::array({cause});
  return make(500, "InternalError", "Internal error occurred: " + message, std::move(d));
}
Error unavailable(std::string message) { return make(503, "ServiceUnavailable", std::move(message)); }
Error apply_conflict(std::string message, const std::vector<Cause>& causes) {
  json::Value d = json::Value::object();
  d["causes"] = causes_json(causes);
  return make(409, "Conflict", std::move(message), std::move(d));
}

}  // namespace status

StatusObject to_status(const Error& e) {
  if (e.details == kPlain) {
    StatusObject out = to_status(status::path_not_found());
    out.plain = true;
    return out;
  }
  if (!e.details.empty()) {
    auto v = json::parse(e.details);
    if (v.ok() && (*v)["kind"].as_string() == "Status") return {static_cast<int>((*v)["code"].as_int(500)), std::move(*v)};
  }
  Error made = e;
  switch (e.code) {
    case Code::kInvalid: made = status::make(422, "Invalid", e.message); break;
    case Code::kBadRequest: made = status::bad_request(e.message); break;
    case Code::kUnauthorized: made = status::unauthorized(e.message); break;
    case Code::kForbidden: made = status::make(403, "Forbidden", e.message); break;
    case Code::kNotFound: made = status::make(404, "NotFound", e.message); break;
    case Code::kUnsupported: made = status::unsupported_media_type(e.message); break;
    case Code::kAlreadyExists: made = status::make(409, "AlreadyExists", e.message); break;
    case Code::kConflict: made = status::make(409, "Conflict", e.message); break;
    case Code::kGone: made = status::expired(e.message); break;
    case Code::kTooLarge: made = status::too_large(e.message); break;
    case Code::kTooMany: made = status::too_many(e.message, 1); break;
    case Code::kTimeout: made = status::timeout(e.message); break;
    case Code::kUnavailable: made = status::unavailable(e.message); break;
    case Code::kCancelled: made = status::make(499, "", e.message); break;
    case Code::kInternal: made = status::internal(e.message); break;
  }
  auto v = json::parse(made.details);
  return {static_cast<int>((*v)["code"].as_int(500)), std::move(*v)};
}

}  // namespace caravel::apiserver
