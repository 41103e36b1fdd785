#include "aws/wire.h"

#include <algorithm>

#include "aws/client.h"
#include "aws/codec.h"
#include "base/strings.h"

namespace caravel::aws {

namespace {

std::string find_header(const std::vector<std::pair<std::string, std::string>>& headers, std::string_view name) {
  for (auto& [k, v] : headers)
    if (equals_ignore_case(k, name)) return v;
  return "";
}

bool is_form(Protocol p) { return p == Protocol::kEc2 || p == Protocol::kQuery; }

// "/clusters/{name}/addons" against "/clusters/c1/addons"; fills the values. -1: no; else literal parts.
int match_uri(std::string_view pattern, std::string_view path, std::map<std::string, std::string>* values) {
  size_t q = pattern.find('?');
  if (q != pattern.npos) pattern = pattern.substr(0, q);
  std::vector<std::string> p = split(pattern.substr(pattern.empty() ? 0 : 1), '/');
  std::vector<std::string> s = split(path.substr(path.empty() ? 0 : 1), '/');
  int literal = 0;
  size_t i = 0;
  for (; i < p.size(); ++i) {
    if (p[i].size() > 2 && p[i][0] == '{') {
      std::string name = p[i].substr(1, p[i].size() - 2);
      if (name.back() == '+') {
        name.pop_back();
        if (i >= s.size()) return -1;
        std::vector<std::string> rest(s.begin() + static_cast<long>(i), s.end());
        if (values) (*values)[name] = percent_decode(join(rest, "/"));
        return literal;
      }
      if (i >= s.size() || s[i].empty()) return -1;
      if (values) (*values)[name] = percent_decode(s[i]);
    } else {
      if (i >= s.size() || s[i] != p[i]) return -1;
      ++literal;
    }
  }
  return i == s.size() ? literal : -1;
}

const Action* match_action(const Service& service, const HttpRequest& r) {
  const Action* best = nullptr;
  int best_score = -1;
  for (auto& [name, a] : service.actions) {
    if (a.method != r.method) continue;
    int score = match_uri(a.uri, r.path, nullptr);
    if (score > best_score) {
      best = &a;
      best_score = score;
    }
  }
  return best;
}

std::string form_value(const HttpRequest& r, std::string_view name) {
  for (std::string_view text : {std::string_view(r.body), std::string_view(r.query)}) {
    if (text == r.body && r.header("content-type").find("x-www-form-urlencoded") == std::string::npos) continue;
    for (auto& [k, v] : parse_form(text))
      if (k == name) return v;
  }
  return "";
}

Status check_required(const Service& service, const Shape& shape, const json::Value& v) {
  for (const ShapeMember& m : shape.members) {
    if (!m.required) continue;
    const json::Value* item = v.find(m.name);
    if (item && !item->is_null()) continue;
    if (service.protocol == Protocol::kEc2) return service_error("MissingParameter", "The request must contain the parameter " + m.query);
    if (service.protocol == Protocol::kQuery) return service_error("ValidationError", "The request must contain the parameter " + m.query);
    if (service.protocol == Protocol::kRestJson) return service_error("InvalidParameterException", "The parameter " + m.name + " is missing.");
    return service_error("ValidationException", "1 validation error detected: Value null at '" + m.name + "' failed to satisfy constraint: Member must not be null");
  }
  return ok();
}

}  // namespace

Error service_error(std::string code, std::string message, int http_status) {
  Error e;
  e.code = http_status == 403                                                                                                                   ? Code::kForbidden
           : http_status >= 500                                                                                                                 ? Code::kUnavailable
           : code.find("NotFound") != code.npos || code == "NoSuchEntity" || code == "QueueDoesNotExist" || code == "ResourceNotFoundException" ? Code::kNotFound
           : code.find("AlreadyExists") != code.npos || code.find("Duplicate") != code.npos                                                     ? Code::kAlreadyExists
           : code == "Throttling" || code == "RequestLimitExceeded"                                                                             ? Code::kTooMany
                                                                                                                                                : Code::kInvalid;
  e.message = std::move(message);
  e.details = std::move(code);
  return e;
}

std::string HttpRequest::header(std::string_view name) const { return find_header(headers, name); }
std::string HttpResponse::header(std::string_view name) const { return find_header(headers, name); }

std::vector<std::pair<std::string, std::string>> parse_form(std::string_view body) {
  std::vector<std::pair<std::string, std::string>> out;
  if (body.empty()) return out;
  for (const std::string& part : split(body, '&')) {
    if (part.empty()) continue;
    size_t eq = part.find('=');
    out.emplace_back(percent_decode(part.substr(0, eq), true), eq == std::string::npos ? "" : percent_decode(part.substr(eq + 1), true));
  }
  return out;
}

Result<Routed> route(const HttpRequest& r, std::string_view scope_service, const Service** known) {
  Routed out;
  out.service = scope_service.empty() ? nullptr : find_service(scope_service);
  std::string target = r.header("x-amz-target");
  if (!target.empty()) {
    size_t dot = target.rfind('.');
    std::string prefix = target.substr(0, dot), name = dot == std::string::npos ? "" : target.substr(dot + 1);
    if (!out.service || out.service->target != prefix) {
      out.service = nullptr;
      for (const std::string& s : service_names())
        if (const Service* m = find_service(s); m && m->target == prefix) out.service = m;
    }
    if (known) *known = out.service;
    if (out.service) out.action = out.service->action(name);
    if (!out.action) return service_error("UnknownOperationException", "The operation " + target + " is not offered by this endpoint.");
    return out;
  }
  std::string action = form_value(r, "Action");
  if (!action.empty()) {
    if (!out.service || !is_form(out.service->protocol)) {
      std::string version = form_value(r, "Version");
      out.service = nullptr;
      for (const std::string& s : service_names())
        if (const Service* m = find_service(s); m && is_form(m->protocol) && m->version == version) out.service = m;
    }
    if (known) *known = out.service;
    if (out.service) out.action = out.service->action(action);
    if (!out.action) return service_error("InvalidAction", "The action " + action + " is not valid for this web service.");
    return out;
  }
  if (known) *known = out.service;
  if (out.service && out.service->protocol == Protocol::kRestJson) {
    out.action = match_action(*out.service, r);
  } else if (!out.service) {
    for (const std::string& s : service_names())
      if (const Service* m = find_service(s); m && m->protocol == Protocol::kRestJson && !out.action)
        if (const Action* a = match_action(*m, r)) {
          out.service = m;
          out.action = a;
        }
  }
  if (!out.action) return service_error("UnknownOperationException", r.method + " " + r.path + " names no action that this endpoint offers.", 404);
  if (known) *known = out.service;
  return out;
}

Result<json::Value> decode_request(const Service& service, const Action& action, const HttpRequest& r) {
  json::Value out = json::Value::object();
  if (!action.input) return out;
  if (is_form(service.protocol)) {
    Form form;
    for (auto& [k, v] : parse_form(r.query)) form[k] = v;
    for (auto& [k, v] : parse_form(r.body)) form[k] = v;
    TRY(out, decode_form(form, "", *action.input, service.protocol == Protocol::kEc2));
  } else {
    json::Value body = json::Value::object();
    if (!r.body.empty()) {
      auto parsed = json::parse(r.body);
      if (!parsed.ok()) return service_error("SerializationException", parsed.error().message);
      body = std::move(*parsed);
    }
    if (service.protocol == Protocol::kRestJson && !action.input->payload.empty()) {
      const ShapeMember* m = action.input->member(action.input->payload);
      TRY(json::Value v, decode_json(body, *m->shape, ""));
      out[m->name] = std::move(v);
    } else {
      TRY(out, decode_json(body, *action.input, ""));
    }
    if (service.protocol == Protocol::kRestJson) {
      std::map<std::string, std::string> uri;
      match_uri(action.uri, r.path, &uri);
      auto query = parse_form(r.query);
      for (const ShapeMember& m : action.input->members) {
        if (m.location == "uri" && uri.count(m.wire)) {
          TRY(json::Value v, scalar_value(uri[m.wire], *m.shape, m.name));
          out[m.name] = std::move(v);
        } else if (m.location == "querystring") {
          for (auto& [k, text] : query) {
            if (k != m.wire) continue;
            bool list = m.shape->type == ShapeType::kList;
            TRY(json::Value v, scalar_value(text, list ? *m.shape->item : *m.shape, m.name));
            if (list) out[m.name].push_back(std::move(v));
            else out[m.name] = std::move(v);
          }
        } else if (m.location == "header") {
          std::string h = r.header(m.wire);
          if (!h.empty()) out[m.name] = h;
        }
      }
    }
  }
  TRY_VOID(check_required(service, *action.input, out));
  return out;
}

HttpResponse encode_response(const Service& service, const Action& action, const json::Value& output, std::string_view request_id) {
  HttpResponse r;
  r.status = action.status;
  r.headers.emplace_back("x-amzn-requestid", std::string(request_id));
  if (is_form(service.protocol)) {
    bool ec2 = service.protocol == Protocol::kEc2;
    json::Value v = output;
    // AWS always writes the lists of an answer, also empty ones.
    if (action.output)
      for (const ShapeMember& m : action.output->members)
        if (m.shape->type == ShapeType::kList && !v.find(m.name)) v[m.name] = json::Value::array();
    XmlWriter w;
    w.open(action.name + "Response", "xmlns=\"" + service.xml_namespace + "\"");
    if (ec2) {
      w.element("requestId", request_id);
      if (action.output && !action.output->members.empty()) encode_xml(v, *action.output, ec2, w);
      else w.element("return", "true");
    } else {
      if (action.output) {
        w.open(action.wrapper);
        encode_xml(v, *action.output, ec2, w);
        w.close(action.wrapper);
      }
      w.open("ResponseMetadata");
      w.element("RequestId", request_id);
      w.close("ResponseMetadata");
    }
    w.close(action.name + "Response");
    r.headers.emplace_back("content-type", "text/xml;charset=UTF-8");
    r.body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + w.take();
    return r;
  }
  r.headers.emplace_back("content-type", service.protocol == Protocol::kRestJson ? "application/json" : "application/x-amz-json-" + service.json_version);
  if (!action.output) {
    r.body = service.protocol == Protocol::kJson ? "" : "{}";
    return r;
  }
  if (!action.output->payload.empty()) {
    const ShapeMember* m = action.output->member(action.output->payload);
    r.body = json::dump(encode_json(output[m->name], *m->shape));
  } else {
    r.body = json::dump(encode_json(output.is_null() ? json::Value::object() : output, *action.output));
  }
  return r;
}

int error_status(const Service* service, std::string_view code) {
  if (code == "DryRunOperation") return 412;
  for (std::string_view c : {"UnauthorizedOperation", "SignatureDoesNotMatch", "RequestExpired", "InvalidClientTokenId", "AccessDenied", "AccessDeniedException", "IncompleteSignature", "AuthFailure", "UnrecognizedClientException", "MissingAuthenticationToken", "ExpiredToken"})
    if (c == code) return service && service->protocol == Protocol::kEc2 && code == "AuthFailure" ? 401 : 403;
  if (code == "InternalError" || code == "InternalFailure") return 500;
  if (code == "Unavailable" || code == "ServiceUnavailable") return 503;
  if (service) {
    for (auto& [shape, info] : service->errors)
      if (shape == code || info.code == code) return info.status;
    if (service->protocol == Protocol::kRestJson && code == "UnknownOperationException") return 404;
  }
  return 400;
}

HttpResponse encode_error(const Service* service, const Error& error, std::string_view request_id) {
  HttpResponse r;
  std::string code = error.details.empty() ? "InternalError" : error.details;
  r.status = error_status(service, code);
  r.headers.emplace_back("x-amzn-requestid", std::string(request_id));
  Protocol p = service ? service->protocol : Protocol::kQuery;
  if (is_form(p)) {
    XmlWriter w;
    if (p == Protocol::kEc2) {
      w.open("Response");
      w.open("Errors");
      w.open("Error");
      w.element("Code", code);
      w.element("Message", error.message);
      w.close("Error");
      w.close("Errors");
      w.element("RequestID", request_id);
      w.close("Response");
    } else {
      w.open("ErrorResponse", service ? "xmlns=\"" + service->xml_namespace + "\"" : "");
      w.open("Error");
      w.element("Type", r.status >= 500 ? "Receiver" : "Sender");
      w.element("Code", code);
      w.element("Message", error.message);
      w.close("Error");
      w.element("RequestId", request_id);
      w.close("ErrorResponse");
    }
    r.headers.emplace_back("content-type", "text/xml;charset=UTF-8");
    r.body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + w.take();
    return r;
  }
  json::Value body = json::Value::object();
  if (p == Protocol::kJson) body["__type"] = service->query_compatible ? "com.amazonaws." + service->name + "#" + code : code;
  body["message"] = error.message;
  if (p == Protocol::kRestJson) r.headers.emplace_back("x-amzn-errortype", code);
  if (service->query_compatible) {
    auto it = service->errors.find(code);
    r.headers.emplace_back("x-amzn-query-error", (it == service->errors.end() ? code : it->second.code) + (r.status >= 500 ? ";Receiver" : ";Sender"));
  }
  r.headers.emplace_back("content-type", p == Protocol::kRestJson ? "application/json" : "application/x-amz-json-" + service->json_version);
  r.body = json::dump(body);
  return r;
}

Result<HttpRequest> encode_request(const Service& service, const Action& action, const json::Value& input) {
  HttpRequest r;
  if (is_form(service.protocol)) {
    Form form;
    form["Action"] = action.name;
    form["Version"] = service.version;
    if (action.input) TRY_VOID(encode_form(input, "", *action.input, service.protocol == Protocol::kEc2, form));
    for (auto& [k, v] : form) r.body += (r.body.empty() ? "" : "&") + percent_encode(k) + "=" + percent_encode(v);
    r.headers.emplace_back("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    return r;
  }
  json::Value body = action.input ? encode_json(input.is_null() ? json::Value::object() : input, *action.input) : json::Value::object();
  if (service.protocol == Protocol::kJson) {
    r.headers.emplace_back("content-type", "application/x-amz-json-" + service.json_version);
    r.headers.emplace_back("x-amz-target", service.target + "." + action.name);
    if (service.query_compatible) r.headers.emplace_back("x-amzn-query-mode", "true");
    r.body = json::dump(body);
    return r;
  }
  r.method = action.method;
  r.path = action.uri;
  if (action.input) {
    for (const ShapeMember& m : action.input->members) {
      const json::Value* v = input.find(m.name);
      if (m.location == "uri") {
        if (!v || v->is_null()) return service_error("ParamValidationError", "missing required parameter " + m.name);
        std::string text = scalar_text(*v, *m.shape);
        r.path = replace_all(r.path, "{" + m.wire + "}", percent_encode(text));
        r.path = replace_all(r.path, "{" + m.wire + "+}", percent_encode(text, "/"));
      } else if (m.location == "querystring" && v) {
        auto add = [&](const json::Value& item, const Shape& s) { r.query += (r.query.empty() ? "" : "&") + percent_encode(m.wire) + "=" + percent_encode(scalar_text(item, s)); };
        if (m.shape->type == ShapeType::kList)
          for (const json::Value& item : v->as_array()) add(item, *m.shape->item);
        else
          add(*v, *m.shape);
      } else if (m.location == "header" && v) {
        r.headers.emplace_back(m.wire, scalar_text(*v, *m.shape));
      }
    }
    if (!action.input->payload.empty()) {
      const ShapeMember* m = action.input->member(action.input->payload);
      body = encode_json(input[m->name], *m->shape);
    }
  }
  if (r.method != "GET" && r.method != "DELETE") {
    r.headers.emplace_back("content-type", "application/json");
    r.body = json::dump(body);
  }
  return r;
}

Result<json::Value> decode_response(const Service& service, const Action& action, const HttpResponse& r) {
  if (is_form(service.protocol)) {
    auto doc = parse_xml(r.body);
    if (!doc.ok()) {
      if (r.status >= 300) return service_error("", "HTTP status " + std::to_string(r.status) + " from " + service.name, r.status);
      return wrap(doc.error(), "the answer of " + service.name + " " + action.name);
    }
    if (r.status >= 300) {
      const XmlNode* e = doc->child("Errors");
      e = e ? e->child("Error") : doc->child("Error");
      if (!e) return service_error("", "HTTP status " + std::to_string(r.status) + " from " + service.name, r.status);
      const XmlNode *code = e->child("Code"), *message = e->child("Message");
      return service_error(code ? code->text : "", message ? message->text : "", r.status);
    }
    if (!action.output) return json::Value::object();
    bool ec2 = service.protocol == Protocol::kEc2;
    const XmlNode* node = ec2 ? &*doc : doc->child(action.wrapper);
    return node ? decode_xml(*node, *action.output, ec2) : json::Value::object();
  }
  json::Value body = json::Value::object();
  if (!r.body.empty()) {
    auto parsed = json::parse(r.body);
    if (parsed.ok()) body = std::move(*parsed);
    else if (r.status < 300) return wrap(parsed.error(), "the answer of " + service.name + " " + action.name);
  }
  if (r.status >= 300) {
    std::string code = r.header("x-amzn-errortype");
    if (code.empty()) code = body["__type"].as_string();
    if (size_t h = code.find('#'); h != code.npos) code = code.substr(h + 1);
    if (size_t c = code.find(':'); c != code.npos) code = code.substr(0, c);
    const json::Value* m = body.find("message") ? body.find("message") : body.find("Message");
    return service_error(code, m ? m->as_string() : "HTTP status " + std::to_string(r.status), r.status);
  }
  if (!action.output) return json::Value::object();
  if (!action.output->payload.empty()) {
    const ShapeMember* m = action.output->member(action.output->payload);
    TRY(json::Value v, decode_json(body, *m->shape, ""));
    json::Value out = json::Value::object();
    out[m->name] = std::move(v);
    return out;
  }
  return decode_json(body, *action.output, "");
}

}  // namespace caravel::aws
