// patch, in its four forms.
#include "apiserver/object_meta.h"
#include "apiserver/rest.h"
#include "base/strings.h"
#include "base/yaml.h"
#include "kube/patch.h"

namespace caravel::apiserver {

namespace {

enum class Form { kJson,
                  kMerge,
                  kStrategic };

// Applies a patch to the live object and brings the result to its canonical form.
Result<json::Value> patched(const ServedType& t, Form form, const json::Value& patch, const json::Value& live, const WriteCall& call,
                            const std::vector<std::string>& duplicates, std::vector<std::string>* warnings) {
  json::Value out;
  if (form == Form::kJson) {
    auto r = kube::json_patch(live, patch);
    if (!r.ok()) {
      if (r.error().code == Code::kTooLarge) return status::too_large(r.error().message);
      if (r.error().code == Code::kBadRequest) return status::bad_request(r.error().message);
      return status::make(422, "Invalid", "the server rejected our request due to an error in our request", json::Value::object());
    }
    out = std::move(*r);
  } else if (form == Form::kMerge) {
    out = kube::merge_patch(live, patch);
  } else {
    TRY(out, t.model->strategic_merge(live, patch));
  }
  if (!out.is_object() || (out.find("metadata") && !out.find("metadata")->is_object()))
    return status::make(422, "Invalid", "the server rejected our request due to an error in our request", json::Value::object());
  if (out["apiVersion"].as_string() != t.resource.api_version() || out["kind"].as_string() != t.resource.kind)
    return status::bad_request("a patch cannot change the kind or apiVersion of an object");
  std::vector<std::string> unknown;
  Status s = t.model->accept(out, unknown);
  if (!s.ok()) {
    if (!s.error().details.empty()) return std::move(s).error();
    return status::invalid(t.resource.group, t.resource.kind, call.name, {{"patch", "FieldValueInvalid", "Invalid value: " + json::quote(json::dump(patch)) + ": " + s.error().message}});
  }
  if ((!unknown.empty() || !duplicates.empty()) && call.field_validation != "Ignore") {
    std::vector<std::string> problems;
    for (auto& d : duplicates) problems.push_back("duplicate field " + json::quote(d));
    for (auto& u : unknown) problems.push_back("unknown field " + json::quote(u));
    if (call.field_validation == "Strict")
      return status::invalid(t.resource.group, t.resource.kind, call.name,
                             {{"patch", "FieldValueInvalid", "Invalid value: " + json::quote(json::dump(patch)) + ": strict decoding error: " + join(problems, ", ")}});
    *warnings = problems;
  }
  return out;
}

struct PatchState {
  ServedTypePtr type;
  Form form = Form::kMerge;
  json::Value patch;
  std::vector<std::string> duplicates;  // keys that the patch names twice
  WriteCall* call = nullptr;
};

Rest::Transform patch_transform(std::shared_ptr<PatchState> s) {
  return [s](const json::Value& live) -> Result<json::Value> {
    std::vector<std::string> warnings;
    auto r = patched(*s->type, s->form, s->patch, live, *s->call, s->duplicates, &warnings);
    s->call->warnings = std::move(warnings);
    return r;
  };
}

// `warnings` are of the form: unknown field "spec.foo".
Error not_declared(const ServedType& t, const Request& r, const std::vector<std::string>& warnings) {
  std::string list;
  for (auto& w : warnings) {
    size_t a = w.find('"'), b = w.rfind('"');
    if (a == w.npos || b <= a) continue;
    list += (warnings.size() > 1 ? "\n  ." : ".") + w.substr(a + 1, b - a - 1) + ": field not declared in schema";
  }
  std::string who = r.ns.empty() ? "/" + r.name : r.ns + "/" + r.name;
  return status::make(500, "", "failed to create typed patch object (" + who + "; " + t.resource.api_version() + ", Kind=" + t.resource.kind + "): " + (warnings.size() > 1 ? "errors:" : "") + list);
}

struct ApplyState {
  ServedTypePtr type;
  json::Value config;
  Writer writer;
  bool force = false;
};

Rest::Transform apply_transform(std::shared_ptr<ApplyState> s) {
  return [s](const json::Value& live) -> Result<json::Value> {
    const std::string& version = s->config.path({"metadata", "resourceVersion"}).as_string();
    if (!version.empty() && version != live.path({"metadata", "resourceVersion"}).as_string())
      return status::modified(s->type->resource, meta_string(live, "name"));
    return s->type->model->apply(&live, s->config, s->writer, s->force);
  };
}

}  // namespace

Task<Response> Rest::patch(Request& r, ServedTypePtr t) {
  auto out = negotiate(r, *t);
  if (!out.ok()) co_return error_response(out.error());
  if (Status options = check_write_options(r, "PatchOptions"); !options.ok()) co_return error_response(options.error());
  WriteCall call = write_call(r, t);
  std::string type(trim(std::string_view(r.content_type).substr(0, r.content_type.find(';'))));
  if (type == "application/apply-patch+yaml" || type == "application/apply-patch+cbor") {
    if (!r.param("fieldManager") || r.param_or("fieldManager").empty())
      co_return error_response(status::invalid("meta.k8s.io", "PatchOptions", "", {{"fieldManager", "FieldValueRequired", "Required value: is required for apply patch"}}));
    auto config = yaml::parse_json_or_yaml(r.body);
    if (!config.ok()) co_return error_response(status::bad_request("error decoding YAML: " + config.error().message));
    if (!config->is_object() || !(*config)["metadata"].is_object())
      co_return error_response(status::bad_request("error decoding YAML: the configuration is not an object with metadata"));
    if (!(*config)["metadata"]["managedFields"].is_null() && (*config)["metadata"]["managedFields"].size())
      co_return error_response(status::bad_request("metadata.managedFields must be nil"));
    if (const std::string& version = std::as_const(*config)["apiVersion"].as_string(); version != t->resource.api_version())
      co_return error_response(status::bad_request("Incorrect version specified in apply patch. Specified patch version: " + version + ", expected: " + t->resource.api_version()));
    auto state = std::make_shared<ApplyState>();
    state->type = t;
    Request typed = r;
    typed.content_type = "application/json";
    typed.body = json::dump(*config);
    WriteCall lenient = call;
    lenient.field_validation = "Warn";
    auto decoded = decode_body(typed, *t, &lenient);
    if (!decoded.ok()) co_return error_response(decoded.error());
    if (!lenient.warnings.empty()) {
      Error undeclared = not_declared(*t, r, lenient.warnings);
      co_return error_response(undeclared);
    }
    // What is applied is what was sent, without what decoding adds; unknown fields were reported above.
    state->config = std::move(*config);
    state->config["apiVersion"] = t->resource.api_version();
    state->config["kind"] = t->resource.kind;
    if (meta_string(state->config, "name").empty()) state->config["metadata"]["name"] = r.name;
    if (t->resource.namespaced && meta_string(state->config, "namespace").empty()) state->config["metadata"]["namespace"] = r.ns;
    if (meta_string(state->config, "name") != r.name)
      co_return error_response(status::bad_request("the name of the object (" + meta_string(state->config, "name") + ") does not match the name on the URL (" + r.name + ")"));
    state->writer.manager = call.manager;
    state->writer.subresource = r.subresource;
    state->writer.now = core_->ex.now();
    state->force = call.force;
    call.manager = std::string(kKeepManagedFields);
    for (int attempt = 0; attempt < 4; ++attempt) {
      bool exists = find(*t, t->resource.namespaced ? r.ns : "", r.name) != nullptr;
      if (!exists && r.subresource.empty()) {
        if (!meta_string(state->config, "resourceVersion").empty() || !meta_string(state->config, "uid").empty())
          co_return error_response(status::conflict(t->resource, r.name, "uid or resourceVersion mismatch: the provided object specified one, and no existing object was found"));
        auto made = t->model->apply(nullptr, state->config, state->writer, state->force);
        if (!made.ok()) co_return error_response(made.error());
        auto stored = co_await create_object(&call, std::move(*made));
        if (!stored.ok()) {
          if (stored.error().code == Code::kAlreadyExists) continue;
          co_return error_response(stored.error());
        }
        Response res = render(*t, *out, 201, *stored);
        res.warnings = std::move(call.warnings);
        co_return res;
      }
      auto stored = co_await update_object(&call, apply_transform(state), true);
      if (!stored.ok()) co_return error_response(stored.error());
      Response res = render(*t, *out, 200, *stored);
      res.warnings = std::move(call.warnings);
      co_return res;
    }
    co_return error_response(status::modified(t->resource, r.name));
  }
  auto state = std::make_shared<PatchState>();
  state->type = t;
  if (type == "application/json-patch+json") state->form = Form::kJson;
  else if (type == "application/merge-patch+json") state->form = Form::kMerge;
  else if (type == "application/strategic-merge-patch+json" && !t->custom) state->form = Form::kStrategic;
  else {
    if (!t->custom) co_return error_response(status::make(415, "UnsupportedMediaType", "415: Unsupported Media Type", json::Value::object()));
    constexpr std::string_view kAccepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    co_return error_response(status::unsupported_media_type("the body of the request was in an unknown format - accepted media types include: " + std::string(kAccepted)));
  }
  json::ParseOptions strict;
  if (state->form != Form::kJson) strict.duplicates = &state->duplicates;
  auto patch = json::parse(r.body, strict);
  const std::string decoding = state->form == Form::kStrategic ? "" : "error decoding patch: ";
  if (!patch.ok()) co_return error_response(status::bad_request(decoding + patch.error().message));
  state->patch = std::move(*patch);
  if (state->form != Form::kJson && !state->patch.is_object())
    co_return error_response(status::bad_request(decoding + "json: cannot unmarshal " + kube::json_type_name(state->patch) + " into Go value of type map[string]interface {}"));
  state->call = &call;
  auto stored = co_await update_object(&call, patch_transform(state), true);
  Response res = stored.ok() ? render(*t, *out, 200, *stored) : error_response(stored.error());
  res.warnings = std::move(call.warnings);
  co_return res;
}

}  // namespace caravel::apiserver
