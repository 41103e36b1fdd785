// JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386).
#include "base/strings.h"
#include "kube/patch.h"

namespace caravel::kube {

namespace {

constexpr size_t kCopiedMax = 3u << 20;  // bytes that all copies of a patch may add
constexpr size_t kOperationsMax = 10'000;

Result<std::vector<std::string>> steps_of(const std::string& path) {
  if (path.empty()) return std::vector<std::string>();
  if (path[0] != '/') return invalid("jsonpatch path " + json::quote(path) + " does not start with /");
  auto steps = split(std::string_view(path).substr(1), '/');
  for (auto& s : steps) s = replace_all(replace_all(s, "~1", "/"), "~0", "~");
  return steps;
}

std::optional<size_t> index_of(const std::string& step, size_t size) {
  auto n = parse_int(step);
  if (!n) return std::nullopt;
  if (*n < 0) *n += static_cast<int64_t>(size);  // upstream's library counts negative indices from the end
  if (*n < 0 || *n > static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(*n);
}

json::Value* walk(json::Value* v, const std::vector<std::string>& steps, size_t count) {
  for (size_t i = 0; i < count && v; ++i) {
    if (v->is_object()) {
      v = v->find(steps[i]);
    } else if (v->is_array()) {
      auto n = index_of(steps[i], v->size());
      v = n && *n < v->size() ? &v->arr()[*n] : nullptr;
    } else {
      v = nullptr;
    }
  }
  return v;
}

Error missing(std::string_view op, const std::string& path) {
  return invalid(std::string(op) + " operation does not apply: doc is missing path: " + json::quote(path) + ": missing value");
}

Status add(json::Value& doc, const std::string& path, json::Value value, bool replace, std::string_view op) {
  TRY(std::vector<std::string> steps, steps_of(path));
  if (steps.empty()) {
    doc = std::move(value);
    return ok();
  }
  json::Value* parent = walk(&doc, steps, steps.size() - 1);
  if (!parent) return missing(op, path);
  const std::string& last = steps.back();
  if (parent->is_object()) {
    if (replace && !parent->find(last)) return missing(op, path);
    (*parent)[last] = std::move(value);
    return ok();
  }
  if (!parent->is_array()) return missing(op, path);
  auto& a = parent->arr();
  if (last == "-" && !replace) {
    a.push_back(std::move(value));
    return ok();
  }
  auto n = index_of(last, a.size());
  if (!n || (replace && *n == a.size()))
    return invalid(std::string(op) + " operation does not apply: Unable to access invalid index: " + last + ": invalid index referenced");
  if (replace) a[*n] = std::move(value);
  else a.insert(a.begin() + static_cast<ptrdiff_t>(*n), std::move(value));
  return ok();
}

Status remove(json::Value& doc, const std::string& path, std::string_view op) {
  TRY(std::vector<std::string> steps, steps_of(path));
  if (steps.empty()) return invalid("remove operation does not apply: the whole document cannot be removed");
  json::Value* parent = walk(&doc, steps, steps.size() - 1);
  if (parent && parent->is_object() && parent->erase(steps.back())) return ok();
  if (parent && parent->is_array()) {
    auto n = index_of(steps.back(), parent->size());
    if (n && *n < parent->size()) {
      parent->arr().erase(parent->arr().begin() + static_cast<ptrdiff_t>(*n));
      return ok();
    }
  }
  return invalid(std::string(op) + " operation does not apply: Unable to remove nonexistent key: " + steps.back() + ": missing value");
}

}  // namespace

std::string json_type_name(const json::Value& v) {
  if (v.is_object()) return "object";
  if (v.is_array()) return "array";
  if (v.is_string()) return "string";
  if (v.is_bool()) return "bool";
  return v.is_null() ? "null" : "number";
}

Result<json::Value> json_patch(const json::Value& document, const json::Value& patch) {
  if (patch.is_null()) return document;
  if (!patch.is_array()) return make_error(Code::kBadRequest, "error decoding patch: json: cannot unmarshal " + json_type_name(patch) + " into Go value of type []handlers.jsonPatchOp");
  for (auto& o : patch.as_array())
    if (!o.is_object()) return make_error(Code::kBadRequest, "error decoding patch: json: cannot unmarshal " + json_type_name(o) + " into Go value of type handlers.jsonPatchOp");
  if (patch.size() > kOperationsMax)
    return make_error(Code::kTooLarge, "The allowed maximum operations in a JSON patch is " + std::to_string(kOperationsMax) + ", got " + std::to_string(patch.size()));
  json::Value doc = document;
  size_t copied = 0;
  for (auto& o : patch.as_array()) {
    const std::string& op = o["op"].as_string();
    const std::string& path = o["path"].as_string();
    if (op == "add" || op == "replace") {
      TRY_VOID(add(doc, path, o["value"], op == "replace", op));
    } else if (op == "remove") {
      TRY_VOID(remove(doc, path, op));
    } else if (op == "move" || op == "copy") {
      TRY(std::vector<std::string> from, steps_of(o["from"].as_string()));
      json::Value* source = walk(&doc, from, from.size());
      if (!source) return missing(op, o["from"].as_string());
      if (op == "copy") {
        copied += json::dump(*source).size();
        if (copied > kCopiedMax)
          return make_error(Code::kTooLarge, "Unable to complete the copy, the accumulated size increase of copy is " + std::to_string(copied) + ", exceeding the limit " + std::to_string(kCopiedMax));
      }
      json::Value value = *source;
      if (op == "move") TRY_VOID(remove(doc, o["from"].as_string(), op));
      TRY_VOID(add(doc, path, std::move(value), false, op));
    } else if (op == "test") {
      TRY(std::vector<std::string> steps, steps_of(path));
      json::Value* at = walk(&doc, steps, steps.size());
      if (!((at ? *at : json::Value()) == o["value"])) return invalid("testing value " + path + " failed: test failed");
    } else {
      return invalid("Unexpected kind: " + op);
    }
  }
  return doc;
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
