// The cloud's HTTP side: signatures, routing, errors, and the drill requests under /_caravel/.
#include "base/strings.h"
#include "cloud/cloud.h"
#include "cloud/identity.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

// Each protocol has its own word for a bad key.
Error for_service(const aws::Service* service, Error e) {
  bool bad = e.details == "InvalidClientTokenId" || e.details == "SignatureDoesNotMatch";
  if (!service || !bad) return e;
  if (service->protocol == aws::Protocol::kEc2) return aws::service_error("AuthFailure", "AWS was not able to validate the provided access credentials", 401);
  if (service->protocol != aws::Protocol::kQuery && e.details == "InvalidClientTokenId") return aws::service_error("UnrecognizedClientException", e.message, 403);
  return e;
}

aws::HttpResponse plain(int status, const Value& v) {
  aws::HttpResponse r;
  r.status = status;
  r.headers.emplace_back("content-type", "application/json");
  r.body = json::dump(v) + "\n";
  return r;
}

}  // namespace

std::string Cloud::request_id() {
  std::string h = format("%016llx%016llx", static_cast<unsigned long long>(ex_.random_u64()), static_cast<unsigned long long>(ex_.random_u64()));
  return h.substr(0, 8) + "-" + h.substr(8, 4) + "-4" + h.substr(13, 3) + "-a" + h.substr(17, 3) + "-" + h.substr(20, 12);
}

Output Cloud::internal_request(const aws::HttpRequest& r) {
  Value in = Value::object();
  if (!r.body.empty()) {
    TRY(in, json::parse(r.body));
  }
  const Value& q = in;
  Value out = Value::object();
  out["ok"] = true;
  auto or_any = [&](const char* k) { return q[k].as_string().empty() ? std::string("*") : q[k].as_string(); };
  if (r.path == "/_caravel/health") return out;
  if (r.path == "/_caravel/capacity-faults" && (r.method == "POST" || r.method == "DELETE")) {
    std::string code = q["code"].as_string().empty() ? "InsufficientInstanceCapacity" : q["code"].as_string();
    set_capacity_fault(or_any("instanceType"), or_any("zone"), or_any("capacityType"), r.method == "DELETE" ? "" : code);
    return out;
  }
  if (r.path == "/_caravel/spot-interruptions" && r.method == "POST") {
    TRY_VOID(interrupt_spot(q["instanceId"].as_string()));
    return out;
  }
  return not_found("no such request: " + r.method + " " + r.path);
}

Task<aws::HttpResponse> Cloud::handle(aws::HttpRequest request) {
  std::string id = request_id();
  if (request.path.compare(0, 10, "/_caravel/") == 0) {
    Output out = internal_request(request);
    if (out.ok()) co_return plain(200, *out);
    Value e = Value::object();
    e["error"] = out.error().message;
    co_return plain(out.error().code == Code::kNotFound ? 404 : 400, e);
  }
  aws::SignableRequest s;
  s.method = request.method;
  s.path = request.path;
  s.query = request.query;
  s.headers = request.headers;
  s.body = request.body;
  auto scope = aws::read_scope(s);
  const aws::Service* known = nullptr;
  auto routed = aws::route(request, scope.ok() && *scope ? (*scope)->service : "", &known);
  if (!scope.ok()) co_return aws::encode_error(known, scope.error(), id);
  Caller caller;
  if (*scope) {
    auto key = find_key(records_, options_, (*scope)->access_key, (*scope)->session_token, ex_.now());
    if (!key.ok()) co_return aws::encode_error(known, for_service(known, key.error()), id);
    Status verified = aws::verify(s, **scope, key->secret, ex_.now());
    if (!verified.ok()) co_return aws::encode_error(known, for_service(known, verified.error()), id);
    caller = std::move(key->caller);
  } else if (!routed.ok() || routed->action->name != "AssumeRoleWithWebIdentity") {
    co_return aws::encode_error(known, aws::service_error("MissingAuthenticationToken", "Request is missing Authentication Token", 403), id);
  }
  if (!routed.ok()) co_return aws::encode_error(known, routed.error(), id);
  if (std::string host = request.header("host"); !host.empty()) caller.endpoint = "http://" + host;
  auto input = aws::decode_request(*routed->service, *routed->action, request);
  if (!input.ok()) co_return aws::encode_error(known, input.error(), id);
  std::string service = routed->service->name, action = routed->action->name;
  Value in = std::move(*input);
  Output out = co_await call(service, action, std::move(in), std::move(caller));
  if (!out.ok()) {
    log_.debug("refused", {{"action", service + ":" + action}, {"code", out.error().details}, {"message", out.error().message}});
    co_return aws::encode_error(known, out.error(), id);
  }
  co_return aws::encode_response(*routed->service, *routed->action, *out, id);
}

}  // namespace caravel::cloud
