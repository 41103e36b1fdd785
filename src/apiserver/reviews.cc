#include "apiserver/reviews.h"

#include "apiserver/api_server.h"
#include "apiserver/authorization/access.h"

namespace caravel::apiserver {

namespace {

using json::Value;

Value strings(const std::vector<std::string>& v) {
  Value a = Value::array();
  for (auto& s : v) a.push_back(s);
  return a;
}

Value user_info(const User& u) {
  Value v = Value::object();
  v["username"] = u.name;
  if (!u.uid.empty()) v["uid"] = u.uid;
  v["groups"] = strings(u.groups);
  for (auto& [k, values] : u.extra) v["extra"][k] = strings(values);
  return v;
}

// The requirements of a FieldSelectorAttributes or LabelSelectorAttributes; null: none.
Value requirements_of(const Value& selector, bool fields) {
  if (const std::string& raw = selector["rawSelector"].as_string(); !raw.empty()) return fields ? field_requirements(raw) : label_requirements(raw);
  return selector["requirements"].size() ? selector["requirements"] : Value();
}

// The status of an access review for a user.
Task<Value> decide(Core& core, const User& user, const Value& spec) {
  Attributes a;
  a.user = &user;
  const Value& res = spec["resourceAttributes"];
  const Value& path = spec["nonResourceAttributes"];
  const Value fields = requirements_of(res["fieldSelector"], true), labels = requirements_of(res["labelSelector"], false);
  if (res.is_object()) {
    a.verb = res["verb"].as_string();
    a.group = res["group"].as_string();
    a.version = res["version"].as_string();
    a.plural = res["resource"].as_string();
    a.subresource = res["subresource"].as_string();
    a.ns = res["namespace"].as_string();
    a.name = res["name"].as_string();
    if (!fields.is_null()) a.field_selector = &fields;
    if (!labels.is_null()) a.label_selector = &labels;
  } else {
    a.is_resource = false;
    a.verb = path["verb"].as_string();
    a.path = path["path"].as_string();
  }
  Decision d;
  if (core.access) d = co_await core.access->decide(a);
  else d = core.authorizer->authorize(a);
  Value s = Value::object();
  s["allowed"] = d.allowed;
  if (!d.reason.empty()) s["reason"] = d.reason;
  co_return s;
}

}  // namespace

Task<Response> serve_review(ApiServer& server, Request& r, ServedTypePtr t) {
  Rest& rest = server.rest();
  auto out = negotiate(r);
  if (!out.ok()) co_return error_response(out.error());
  WriteCall call = rest.write_call(r, t);
  auto object = rest.decode_body(r, *t, &call);
  if (!object.ok()) co_return error_response(object.error());
  Value& o = *object;
  Rest::OtherWrite shown;
  shown.object = &o;
  shown.options_kind = "CreateOptions";
  Status admitted = co_await rest.admit_other(&call, shown);
  if (!admitted.ok()) {
    Response refused = error_response(admitted.error());
    refused.warnings = std::move(call.warnings);
    co_return refused;
  }
  Authorizer& authorizer = *server.core().authorizer;
  const std::string& kind = t->resource.kind;
  Value spec = o["spec"];
  if (kind == "SelfSubjectAccessReview") {
    Value s = co_await decide(server.core(), *r.user, spec);
    o["status"] = std::move(s);
  } else if (kind == "SubjectAccessReview" || kind == "LocalSubjectAccessReview") {
    if (spec["user"].as_string().empty() && spec["groups"].size() == 0)
      co_return error_response(status::invalid("authorization.k8s.io", kind, "", {{"spec.user", "FieldValueInvalid", "Invalid value: \"\": at least one of user or group must be specified"}}));
    if (spec["resourceAttributes"].is_object() == spec["nonResourceAttributes"].is_object())
      co_return error_response(status::invalid("authorization.k8s.io", kind, "", {{"spec.resourceAttributes", "FieldValueInvalid", "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified"}}));
    if (kind == "LocalSubjectAccessReview" && spec.path({"resourceAttributes", "namespace"}).as_string() != r.ns)
      co_return error_response(status::bad_request("spec.resourceAttributes.namespace must match namespace: " + r.ns));
    User u;
    u.name = spec["user"].as_string();
    u.uid = spec["uid"].as_string();
    for (auto& g : spec["groups"].as_array()) u.groups.push_back(g.as_string());
    for (auto& m : spec["extra"].as_object())
      for (auto& v : m.value.as_array()) u.extra[m.key].push_back(v.as_string());
    Value s = co_await decide(server.core(), u, spec);
    o["status"] = std::move(s);
  } else if (kind == "SelfSubjectRulesReview") {
    const std::string& ns = spec["namespace"].as_string();
    if (ns.empty()) co_return error_response(status::bad_request("no namespace on request"));
    Value s = Value::object();
    s["resourceRules"] = Value::array();
    s["nonResourceRules"] = Value::array();
    for (auto& rule : authorizer.rules_for(*r.user, ns)) {
      Value v = Value::object();
      v["verbs"] = strings(rule.verbs);
      if (!rule.urls.empty()) {
        v["nonResourceURLs"] = strings(rule.urls);
        s["nonResourceRules"].push_back(std::move(v));
      } else {
        v["apiGroups"] = strings(rule.groups);
        v["resources"] = strings(rule.resources);
        if (!rule.names.empty()) v["resourceNames"] = strings(rule.names);
        s["resourceRules"].push_back(std::move(v));
      }
    }
    s["incomplete"] = false;
    o["status"] = std::move(s);
  } else if (kind == "SelfSubjectReview") {
    o["status"] = Value::object();
    o["status"]["userInfo"] = user_info(*r.user);
  } else if (kind == "TokenReview") {
    std::vector<std::string> audiences, matched;
    for (auto& a : spec["audiences"].as_array()) audiences.push_back(a.as_string());
    std::string token = spec["token"].as_string();
    if (token.empty()) co_return error_response(status::bad_request("token is required for TokenReview in authentication"));
    auto u = co_await server.authenticator().authenticate_token(std::move(token), audiences, &matched);
    Value s = Value::object();
    if (u.ok()) {
      s["authenticated"] = true;
      s["user"] = user_info(**u);
      if (!audiences.empty()) s["audiences"] = strings(matched);
      else if (server.core().tokens) s["audiences"] = strings(matched);
    } else {
      s["user"] = Value::object();
      s["error"] = u.error().message;
    }
    o["status"] = std::move(s);
  } else {
    co_return error_response(status::method_not_allowed());
  }
  if (o["metadata"].is_null()) o["metadata"] = Value::object();
  if (!o["metadata"].is_object()) o["metadata"] = Value::object();
  Stored s;
  s.bytes = std::make_shared<const std::string>(json::dump(o));
  s.value = json::share(std::move(o));
  Response res = rest.render(*t, *out, 201, s);
  res.warnings = std::move(call.warnings);
  co_return res;
}

}  // namespace caravel::apiserver
