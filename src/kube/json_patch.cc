// JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386).
#include <optional>

#include "base/strings.h"
#include "kube/patch.h"

namespace caravel::kube {

namespace {

constexpr size_t kCopiedMax = 3u << 20;  // bytes that all copies of a patch may add
constexpr size_t kOperationsMax = 10'000;

// Where an operation points: the container, and the name in it. Upstream's library, whose answers these are, looks only at
// the steps after the first slash ("data/k" is "/k"), and an empty path leads nowhere.
struct Target {
  json::Value* container = nullptr;  // null: there is none
  std::string key;
};

std::vector<std::string> steps_of(const std::string& path) {
  const size_t slash = path.find('/');
  if (slash == path.npos) return {};
  auto steps = split(std::string_view(path).substr(slash + 1), '/');
  for (auto& s : steps) s = replace_all(replace_all(s, "~1", "/"), "~0", "~");
  return steps;
}

// Negative indices count from the end, `size` being one past the last that is meant.
std::optional<size_t> index_of(const std::string& step, size_t size) {
  auto n = parse_int(step);
  if (!n) return std::nullopt;
  if (*n < 0) *n += static_cast<int64_t>(size);
  if (*n < 0 || *n >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(*n);
}

Target find_target(json::Value& doc, const std::string& path) {
  const std::vector<std::string> steps = steps_of(path);
  if (steps.empty()) return {};
  json::Value* v = &doc;
  for (size_t i = 0; i + 1 < steps.size() && v; ++i) {
    if (v->is_object()) {
      v = v->find(steps[i]);
    } else {
      auto n = index_of(steps[i], v->size());
      v = n ? &v->arr()[*n] : nullptr;
    }
    if (v && !v->is_object() && !v->is_array()) v = nullptr;
  }
  return {v, steps.back()};
}

Error refused(std::string_view op, const std::string& path) {
  return invalid(std::string(op) + " operation does not apply: doc is missing path: " + json::quote(path) + ": missing value");
}

Status add(json::Value& doc, const std::string& path, json::Value value, std::string_view op) {
  Target to = find_target(doc, path);
  if (!to.container) return refused(op, path);
  if (to.container->is_object()) {
    (*to.container)[to.key] = std::move(value);
    return ok();
  }
  auto& a = to.container->arr();
  auto n = to.key == "-" ? std::optional(a.size()) : index_of(to.key, a.size() + 1);
  if (!n) return refused(op, path);
  a.insert(a.begin() + static_cast<ptrdiff_t>(*n), std::move(value));
  return ok();
}

// A member that is not there is added; an item must be there.
Status replace(json::Value& doc, const std::string& path, const json::Value& value) {
  if (path.empty()) {
    if (!value.is_object() && !value.is_array()) return invalid("replace operation value must be object or array");
    doc = value;
    return ok();
  }
  Target to = find_target(doc, path);
  if (!to.container) return refused("replace", path);
  if (to.container->is_object()) {
    (*to.container)[to.key] = value;
    return ok();
  }
  auto n = index_of(to.key, to.container->size());
  if (!n) return refused("replace", path);
  to.container->arr()[*n] = value;
  return ok();
}

Status remove(json::Value& doc, const std::string& path, std::string_view op) {
  Target at = find_target(doc, path);
  if (at.container && at.container->is_object() && at.container->erase(at.key)) return ok();
  if (at.container && at.container->is_array()) {
    if (auto n = index_of(at.key, at.container->size())) {
      at.container->arr().erase(at.container->arr().begin() + static_cast<ptrdiff_t>(*n));
      return ok();
    }
  }
  return refused(op, path);
}

// What a copy or move takes: null for a member that is not there.
Result<json::Value> taken(json::Value& doc, const std::string& from, std::string_view op) {
  Target at = find_target(doc, from);
  if (!at.container) return refused(op, from);
  if (at.container->is_object()) {
    const json::Value* v = at.container->find(at.key);
    return v ? *v : json::Value();
  }
  auto n = index_of(at.key, at.container->size());
  if (!n) return refused(op, from);
  return at.container->arr()[*n];
}

Status test(json::Value& doc, const std::string& path, const json::Value& value) {
  json::Value there = path.empty() ? doc : json::Value();
  if (!path.empty()) {
    TRY(there, taken(doc, path, "test"));
  }
  return there == value ? ok() : Status(invalid("testing value " + path + " failed: test failed"));
}

// The shape that strict readers of a patch ask for; `lenient` ones find out later.
Status check_shape(const json::Value& patch, bool lenient) {
  auto bad = [&](const json::Value& v, const std::string& what) {
    return make_error(Code::kBadRequest, (lenient ? "" : "error decoding patch: ") + ("json: cannot unmarshal " + json_type_name(v)) + " into Go " + what);
  };
  if (!patch.is_array()) return bad(patch, std::string("value of type ") + (lenient ? "jsonpatch.Patch" : "[]handlers.jsonPatchOp"));
  for (auto& o : patch.as_array()) {
    if (!o.is_object() && !o.is_null()) return bad(o, std::string("value of type ") + (lenient ? "jsonpatch.Operation" : "handlers.jsonPatchOp"));
    if (lenient) continue;
    for (auto& m : o.as_object())
      if ((m.key == "op" || m.key == "path" || m.key == "from") && !m.value.is_string() && !m.value.is_null())
        return bad(m.value, "struct field jsonPatchOp." + std::string(m.key) + " of type string");
  }
  return ok();
}

}  // namespace

std::string json_type_name(const json::Value& v) {
  if (v.is_object()) return "object";
  if (v.is_array()) return "array";
  if (v.is_string()) return "string";
  if (v.is_bool()) return "bool";
  return v.is_null() ? "null" : "number";
}

Result<json::Value> json_patch(const json::Value& document, const json::Value& patch, bool lenient) {
  if (patch.is_null()) return document;
  TRY_VOID(check_shape(patch, lenient));
  if (patch.size() > kOperationsMax)
    return make_error(Code::kTooLarge, "The allowed maximum operations in a JSON patch is " + std::to_string(kOperationsMax) + ", got " + std::to_string(patch.size()));
  json::Value doc = document;
  size_t copied = 0;
  for (auto& o : patch.as_array()) {
    const std::string& op = o["op"].as_string();
    const bool source = op == "move" || op == "copy";
    if (!o["path"].is_string() || (source && !o["from"].is_string())) return invalid(op + " operation failed to decode path: missing value");
    const std::string &path = o["path"].as_string(), &from = o["from"].as_string();
    if (op == "add") {
      TRY_VOID(add(doc, path, o["value"], op));
    } else if (op == "replace") {
      TRY_VOID(replace(doc, path, o["value"]));
    } else if (op == "remove") {
      TRY_VOID(remove(doc, path, op));
    } else if (source) {
      TRY(json::Value value, taken(doc, from, op));
      if (op == "copy" && !value.is_null()) copied += json::dump(value).size();
      if (copied > kCopiedMax)
        return invalid("Unable to complete the copy, the accumulated size increase of copy is " + std::to_string(copied) + ", exceeding the limit " + std::to_string(kCopiedMax));
      if (op == "move") TRY_VOID(remove(doc, from, op));
      TRY_VOID(add(doc, path, std::move(value), op));
    } else if (op == "test") {
      TRY_VOID(test(doc, path, o["value"]));
    } else {
      return invalid("Unexpected kind: " + op);
    }
  }
  return doc;
}

namespace {

void sort_members(json::Value& v, bool deep) {
  if (v.is_object()) v.obj().sort();
  if (!deep) return;
  if (v.is_object())
    for (auto& m : v.obj()) sort_members(m.value, true);
  if (v.is_array())
    for (auto& i : v.arr()) sort_members(i, true);
}

void sort_merged(json::Value& v, const json::Value& live, const json::Value& patch) {
  sort_members(v, false);
  for (auto& m : patch.as_object()) {
    json::Value* child = v.find(m.key);
    const json::Value* old = live.find(m.key);
    if (!child) continue;
    if (old && old->is_object() && m.value.is_object()) sort_merged(*child, *old, m.value);
    else sort_members(*child, true);
  }
}

}  // namespace

json::Value in_json_patch_order(json::Value patched, const json::Value& patch) {
  sort_members(patched, false);
  for (auto& o : patch.as_array())
    for (const char* pointer : {"path", "from"}) {
      const std::vector<std::string> steps = steps_of(o[pointer].as_string());
      json::Value* v = &patched;
      for (size_t i = 0; i + 1 < steps.size() && v; ++i) {
        auto n = v->is_array() ? index_of(steps[i], v->size()) : std::nullopt;
        v = n ? &v->arr()[*n] : v->is_object() ? v->find(steps[i])
                                               : nullptr;
        if (v) sort_members(*v, false);
      }
    }
  return patched;
}

json::Value in_merge_patch_order(json::Value patched, const json::Value& live, const json::Value& patch) {
  sort_merged(patched, live, patch);
  return patched;
}

json::Value merge_patch(json::Value document, const json::Value& patch) {
  if (!patch.is_object()) return patch;
  if (!document.is_object()) document = json::Value::object();
  for (auto& m : patch.as_object()) {
    if (m.value.is_null()) {
      document.erase(m.key);
    } else {
      json::Value* at = document.find(m.key);
      json::Value merged = merge_patch(at ? std::move(*at) : json::Value(), m.value);
      document[m.key] = std::move(merged);
    }
  }
  return document;
}

}  // namespace caravel::kube
