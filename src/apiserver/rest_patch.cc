// patch, in its four forms.
#include <algorithm>

#include "apiserver/document_kind.h"
#include "apiserver/object_meta.h"
#include "apiserver/rest.h"
#include "base/strings.h"
#include "base/yaml.h"
#include "kube/patch.h"
#include "kube/wrong_types.h"

namespace caravel::apiserver {

namespace {

enum class Form { kJson,
                  kMerge,
                  kStrategic };

// What a patch made that is no object of the kind; `shown` is what messages show of it.
Error refused(const std::string& shown, const std::string& why) {
  return status::invalid("", "", "", {{"patch", "FieldValueInvalid", "Invalid value: " + json::quote(shown) + ": " + why}});
}

struct PatchState {
  ServedTypePtr type;
  Form form = Form::kMerge;
  json::Value patch;
  std::vector<std::string> problems;  // of the patch itself: keys that it names twice, members that operations do not have
  WriteCall* call = nullptr;
  bool lenient() const { return call->field_validation == "Ignore"; }
};

// A patched document as messages show it: of a live object in its kind's order.
std::string shown(const PatchState& s, const json::Value& live) {
  if (s.form == Form::kStrategic) return kube::go_text(s.patch);
  json::Value ordered = live;
  std::vector<std::string> unknown;
  if (!s.type->custom && !s.type->model->accept(ordered, unknown).ok()) ordered = live;
  if (s.form == Form::kMerge) {
    json::Value merged = s.patch.is_object() ? kube::merge_patch(ordered, s.patch) : s.patch;
    return json::dump(kube::in_merge_patch_order(std::move(merged), ordered, s.patch));
  }
  auto changed = kube::json_patch(ordered, s.patch, s.lenient());
  return changed.ok() ? json::dump(kube::in_json_patch_order(std::move(*changed), s.patch)) : "";
}

// Whether a patched document still is of its kind.
Status check_patched_kind(const PatchState& s, const json::Value& out, const json::Value& live) {
  const ServedType& t = *s.type;
  if (std::string why = header_problem(out); !why.empty()) return refused(shown(s, live), "couldn't get version/kind; json parse error: " + why);
  const std::string &version = out["apiVersion"].as_string(), &kind = out["kind"].as_string(), expected = t.resource.api_version();
  auto changed = [&](const char* field, const std::string& value, const std::string& must) {
    return status::invalid(t.resource.group, kind, s.call->name, {{field, "FieldValueInvalid", "Invalid value: " + json::quote(value) + ": must be " + must}});
  };
  if (t.custom) {
    if (kind.empty()) {
      const std::string text = shown(s, live);
      return refused(text, "Object 'Kind' is missing in '" + text + "'");
    }
    if (version.empty()) return status::internal("Object 'apiVersion' is missing in 'object has no apiVersion field'");
    if (kind != t.resource.kind) return changed("kind", kind, t.resource.kind);
    if (version != expected) return changed("apiVersion", version, expected);
    return ok();
  }
  if (version.empty()) {  // is read as the internal form, which has no such members
    for (auto& m : out.as_object())
      if (m.key != "kind") s.call->warnings.push_back("unknown field " + json::quote(std::string_view(m.key)));
    return status::bad_request("the name of the object (" + s.call->name + " based on URL) was undeterminable: name must be provided");
  }
  if (std::string why = registry_problem(t, version, kind.empty() ? t.resource.kind : kind); !why.empty()) return refused(shown(s, live), why);
  if (version != expected) return refused(shown(s, live), "the version of an object cannot be changed");
  return ok();
}

Result<json::Value> merged(const PatchState& s, const json::Value& live) {
  const ServedType& t = *s.type;
  if (s.form == Form::kMerge) return s.patch.is_object() ? kube::merge_patch(live, s.patch) : s.patch;
  if (s.form == Form::kStrategic) {
    auto r = t.model->strategic_merge(live, s.patch);
    if (!r.ok() && r.error().details.empty()) return refused(shown(s, live), r.error().message);
    return r;
  }
  auto r = kube::json_patch(live, s.patch, s.lenient());
  if (r.ok()) return r;
  if (r.error().code == Code::kTooLarge) return status::too_large(r.error().message);
  if (r.error().code == Code::kBadRequest) return status::bad_request(r.error().message);
  return status::make(422, "Invalid", "the server rejected our request due to an error in our request", json::Value::object());
}

// Applies a patch to the live object and brings the result to its canonical form.
Result<json::Value> patched(const PatchState& s, const json::Value& live) {
  const ServedType& t = *s.type;
  TRY(json::Value out, merged(s, live));
  TRY_VOID(check_patched_kind(s, out, live));
  out["apiVersion"] = t.resource.api_version();
  out["kind"] = t.resource.kind;
  std::vector<std::string> unknown;
  if (Status read = t.model->accept(out, unknown); !read.ok()) {
    if (!read.error().details.empty()) return std::move(read).error();
    return refused(shown(s, live), read.error().message);
  }
  if (s.form == Form::kStrategic) std::sort(unknown.begin(), unknown.end());
  std::vector<std::string> problems = s.problems;
  for (auto& u : unknown) problems.push_back("unknown field " + json::quote(u));
  if (problems.empty() || s.lenient()) return out;
  if (s.call->field_validation == "Strict") return refused(shown(s, live), "strict decoding error: " + join(problems, ", "));
  s.call->warnings = std::move(problems);
  return out;
}

Rest::Transform patch_transform(std::shared_ptr<PatchState> s) {
  return [s](const json::Value& live) -> Result<json::Value> {
    s->call->warnings.clear();
    return patched(*s, live);
  };
}

// What strict readers find in the operations of a JSON patch, in its order.
std::vector<std::string> operation_problems(const json::Value& patch, const std::vector<std::string>& duplicates) {
  std::vector<std::string> out;
  for (size_t i = 0; i < patch.as_array().size(); ++i) {
    const std::string at = "[" + std::to_string(i) + "]";
    for (auto& m : patch.as_array()[i].as_object())
      if (m.key != "op" && m.key != "path" && m.key != "from" && m.key != "value") out.push_back("json patch unknown field " + json::quote(at + "." + std::string(m.key)));
    for (auto& d : duplicates)
      if (d.starts_with(at)) out.push_back("json patch duplicate field " + json::quote(d));
  }
  return out;
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

// An applied configuration: as it was sent, but that numbers have the types of their fields.
Result<json::Value> read_configuration(const Request& r, const ServedType& t) {
  auto bad = [](const std::string& why) { return status::bad_request("error decoding YAML: " + why); };
  auto read = yaml::parse_json_or_yaml(r.body);
  if (!read.ok()) {
    if (auto as_yaml = yaml::parse(r.body); !as_yaml.ok()) return bad("error converting YAML to JSON: yaml: " + as_yaml.error().message);
    return bad(read.error().message);
  }
  json::Value config = read->is_null() ? json::Value::object() : std::move(*read);
  if (!config.is_object()) return bad("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal " + kube::json_type_name(config) + " into Go value of type map[string]interface {}");
  const json::Value& sent = config;
  const std::string expected = t.resource.api_version(), kind = kind_text(expected, t.resource.kind);
  if (sent["apiVersion"].as_string() != expected || sent["kind"].as_string() != t.resource.kind)
    return status::bad_request("invalid object type: " + kind_text(sent["apiVersion"].as_string(), sent["kind"].as_string()));
  if (sent["metadata"]["managedFields"].size()) return status::bad_request("metadata.managedFields must be nil");
  const std::string who = "(" + meta_string(sent, "namespace") + "/" + meta_string(sent, "name") + "; " + kind + ")";
  const std::vector<std::string> problems = t.model->schema() ? kube::typed_problems(*t.model->schema(), sent) : std::vector<std::string>();
  if (!problems.empty())
    return status::make(500, "", "failed to create typed patch object " + who + ": " + (problems.size() > 1 ? "errors:\n  " : "") + join(problems, "\n  "));
  auto not_converted = [&](const std::string& why) {
    return status::make(500, "", "failed to convert new object " + who + " to proper version: unable to convert unstructured object to " + kind + ": " + why);
  };
  if (t.model->schema() && t.model->schema()->built_in)
    if (Status s = kube::convert_numbers(*t.model->schema()->built_in, config); !s.ok()) return not_converted(s.error().message);
  json::Value tried = config;
  std::vector<std::string> unknown;
  if (Status s = t.model->accept(tried, unknown); !s.ok()) {
    if (!s.error().details.empty()) return std::move(s).error();
    return not_converted(s.error().message);
  }
  if (!config["metadata"].is_object()) config["metadata"] = json::Value::object();
  return config;
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
    auto read = read_configuration(r, *t);
    if (!read.ok()) co_return error_response(read.error());
    auto state = std::make_shared<ApplyState>();
    state->type = t;
    state->config = std::move(*read);
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
  state->call = &call;
  std::vector<std::string> duplicates;
  json::ParseOptions strict;
  strict.duplicates = &duplicates;
  auto patch = json::parse(r.body, strict);
  const std::string decoding = state->form == Form::kStrategic || state->lenient() ? "" : "error decoding patch: ";
  if (!patch.ok()) co_return error_response(status::bad_request(decoding + patch.error().message));
  state->patch = std::move(*patch);
  if (state->form == Form::kJson) {
    state->problems = operation_problems(state->patch, duplicates);
  } else {
    for (auto& d : duplicates) state->problems.push_back("duplicate field " + json::quote(d));
    if (state->patch.is_null() && state->form == Form::kMerge) co_return error_response(status::bad_request("Invalid JSON Patch"));
    if (state->patch.is_null()) state->patch = json::Value::object();
    const bool passed_on = state->form == Form::kMerge && state->lenient() && state->patch.is_array();
    if (!state->patch.is_object() && !passed_on)
      co_return error_response(status::bad_request(decoding + "json: cannot unmarshal " + kube::json_type_name(state->patch) + " into Go value of type map[string]interface {}"));
  }
  auto stored = co_await update_object(&call, patch_transform(state), true);
  Response res = stored.ok() ? render(*t, *out, 200, *stored) : error_response(stored.error());
  res.warnings = std::move(call.warnings);
  co_return res;
}

}  // namespace caravel::apiserver
