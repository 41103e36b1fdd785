#include "apiserver/admission/review.h"

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

Value kind_json(const std::string& group, const std::string& version, const std::string& kind) {
  Value v = Value::object();
  v["group"] = group;
  v["version"] = version;
  v["kind"] = kind;
  return v;
}
// The kind of the object that is written: of the subresource, where that has its own.
Value object_kind(const AdmissionRequest& a, const ServedType& t) {
  if (!a.subresource.empty())
    if (auto* s = t.subresource(a.subresource); s && !s->kind.empty() && s->kind != t.resource.kind) return kind_json(s->group, s->version, s->kind);
  return kind_json(t.resource.group, t.resource.version, t.resource.kind);
}
Value resource_json(const ServedType& t) {
  Value v = Value::object();
  v["group"] = t.resource.group;
  v["version"] = t.resource.version;
  v["resource"] = t.resource.plural;
  return v;
}
Value user_json(const User& u) {
  Value v = Value::object();
  v["username"] = u.name;
  if (!u.uid.empty()) v["uid"] = u.uid;
  if (!u.groups.empty()) {
    Value groups = Value::array();
    for (auto& g : u.groups) groups.push_back(g);
    v["groups"] = std::move(groups);
  }
  for (auto& [k, values] : u.extra) {
    Value list = Value::array();
    for (auto& x : values) list.push_back(x);
    v["extra"][k] = std::move(list);
  }
  return v;
}

}  // namespace

Value admission_request(const AdmissionRequest& a, const ServedType& as) {
  Value r = Value::object();
  r["kind"] = object_kind(a, as);
  r["resource"] = resource_json(as);
  if (!a.subresource.empty()) r["subResource"] = a.subresource;
  r["requestKind"] = object_kind(a, *a.type);
  r["requestResource"] = resource_json(*a.type);
  if (!a.subresource.empty()) r["requestSubResource"] = a.subresource;
  if (!a.name.empty() && !a.name_generated) r["name"] = a.name;
  // Requests about a namespace carry its own name.
  const std::string& ns = a.is("", "namespaces") ? a.name : a.ns;
  if (!ns.empty()) r["namespace"] = ns;
  r["operation"] = operation_name(a.operation);
  r["userInfo"] = a.user ? user_json(*a.user) : Value::object();
  r["dryRun"] = a.dry_run;
  r["options"] = a.options.is_null() ? Value() : a.options;
  return r;
}

Value admission_review(std::string_view version, const std::string& uid, const AdmissionRequest& a, const AdmissionView& view) {
  Value review = Value::object();
  review["kind"] = "AdmissionReview";
  review["apiVersion"] = "admission.k8s.io/" + std::string(version);
  Value r = Value::object();
  r["uid"] = uid;
  const Value request = admission_request(a, *view.type);
  for (auto& m : request.as_object()) {
    if (m.key == "dryRun") {  // the order in which upstream writes them
      r["object"] = view.object;
      r["oldObject"] = view.old;
    }
    r[m.key] = m.value;
  }
  review["request"] = std::move(r);
  return review;
}

Result<ReviewAnswer> parse_review(std::string_view body, std::string_view version, const std::string& uid, bool mutating) {
  auto parsed = json::parse(body);
  if (!parsed.ok()) return invalid("couldn't get version/kind; json parse error: " + parsed.error().message);
  const Value& v = *parsed;
  std::string api = "admission.k8s.io/" + std::string(version);
  const Value& r = v["response"];
  if (!r.is_object()) return invalid("webhook response was absent");
  if (version == "v1") {
    if (r["uid"].as_string() != uid) return invalid("expected response.uid " + json::quote(uid) + ", got " + json::quote(r["uid"].as_string()));
    if (v["apiVersion"].as_string() != api || v["kind"].as_string() != "AdmissionReview")
      return invalid("expected webhook response of " + api + ", Kind=AdmissionReview, got " + v["apiVersion"].as_string() + ", Kind=" + v["kind"].as_string());
  }
  ReviewAnswer out;
  out.allowed = r["allowed"].as_bool();
  out.status = r["status"];
  for (auto& w : r["warnings"].as_array()) out.warnings.push_back(w.as_string());
  for (auto& m : r["auditAnnotations"].as_object()) out.annotations[m.key] = m.value.as_string();
  const std::string& patch = r["patch"].as_string();
  const std::string& type = r["patchType"].as_string();
  if (!mutating) {
    if (version == "v1" && !patch.empty()) return invalid("validating webhook may not return response.patch");
    if (version == "v1" && !type.empty()) return invalid("validating webhook may not return response.patchType");
    return out;
  }
  if (version == "v1") {
    if (!patch.empty() && type.empty()) return invalid("webhook returned response.patch but not response.patchType");
    if (patch.empty() && !type.empty()) return invalid("webhook returned response.patchType but not response.patch");
    if (!type.empty() && type != "JSONPatch") return invalid("webhook returned invalid response.patchType of " + json::quote(type));
  }
  if (patch.empty()) return out;
  auto text = base64_decode(patch);
  if (!text) return invalid("response.patch is not base64");
  auto decoded = json::parse(*text);
  if (!decoded.ok()) return invalid("response.patch: " + decoded.error().message);
  out.patch = std::move(*decoded);
  return out;
}

Error denied_by_webhook(const std::string& webhook, const Value& given) {
  const std::string denied = "admission webhook " + json::quote(webhook) + " denied the request";
  const std::string &message = given["message"].as_string(), &reason = given["reason"].as_string();
  int code = static_cast<int>(given["code"].as_int());
  if (code < 400) code = 400;
  std::string text = !message.empty() ? denied + ": " + message : !reason.empty() ? denied + ": " + reason
                                                                                  : denied + " without explanation";
  return status::make(code, reason, std::move(text), given["details"]);
}

std::string http_failure(int status, std::string_view body) {
  auto parsed = json::parse(body);
  if (parsed.ok() && std::as_const(*parsed)["kind"].as_string() == "Status") return std::as_const(*parsed)["message"].as_string();
  std::string text(trim(body));
  switch (status) {
    case 400: return "the server rejected our request for an unknown reason";
    case 401: return "the server has asked for the client to provide credentials";
    case 403: return text.empty() ? "unknown" : text;
    case 404: return "the server could not find the requested resource";
    case 405: return "the server does not allow this method on the requested resource";
    case 409: return "the server reported a conflict";
    case 415: return "the server was unable to respond with a content type that the client supports";
    case 429: return "the server has received too many requests and has asked us to try again later";
    case 503: return "the server is currently unable to handle the request";
    case 504: return "the server was unable to return a response in the time allotted, but may still be processing the request";
    default: break;
  }
  if (status >= 500) return "an error on the server (" + json::quote(text.empty() ? "unknown" : text) + ") has prevented the request from succeeding";
  return "the server responded with the status code " + std::to_string(status) + " but did not return more information";
}

}  // namespace caravel::apiserver
