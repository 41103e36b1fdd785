#include "apiserver/patches.h"

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

constexpr size_t kOperationsMax = 10'000;

Result<std::vector<std::string>> steps_of(const std::string& path) {
  if (path.empty()) return std::vector<std::string>();
  if (path[0] != '/') return invalid("jsonpatch path " + json::quote(path) + " does not start with /");
  auto steps = split(std::string_view(path).substr(1), '/');
  for (auto& s : steps) s = replace_all(replace_all(s, "~1", "/"), "~0", "~");
  return steps;
}

json::Value* walk(json::Value* v, const std::vector<std::string>& steps, size_t count) {
  for (size_t i = 0; i < count && v; ++i) {
    if (v->is_object()) {
      v = v->find(steps[i]);
    } else if (v->is_array()) {
      auto n = parse_int(steps[i]);
      v = n && *n >= 0 && static_cast<size_t>(*n) < v->size() ? &v->arr()[static_cast<size_t>(*n)] : nullptr;
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
  if (parent->is_array()) {
    auto& a = parent->arr();
    if (last == "-" && !replace) {
      a.push_back(std::move(value));
      return ok();
    }
    auto n = parse_int(last);
    if (!n || *n < 0 || static_cast<size_t>(*n) > a.size() || (replace && static_cast<size_t>(*n) == a.size()))
      return invalid(std::string(op) + " operation does not apply: Unable to access invalid index: " + last + ": invalid index referenced");
    if (replace) a[static_cast<size_t>(*n)] = std::move(value);
    else a.insert(a.begin() + *n, std::move(value));
    return ok();
  }
  return missing(op, path);
}

Status remove(json::Value& doc, const std::string& path, std::string_view op) {
  TRY(std::vector<std::string> steps, steps_of(path));
  if (steps.empty()) return invalid("remove operation does not apply: the whole document cannot be removed");
  json::Value* parent = walk(&doc, steps, steps.size() - 1);
  if (parent && parent->is_object() && parent->erase(steps.back())) return ok();
  if (parent && parent->is_array()) {
    auto n = parse_int(steps.back());
    if (n && *n >= 0 && static_cast<size_t>(*n) < parent->size()) {
      parent->arr().erase(parent->arr().begin() + *n);
      return ok();
    }
  }
  return invalid(std::string(op) + " operation does not apply: Unable to remove nonexistent key: " + steps.back() + ": missing value");
}

}  // namespace

Result<json::Value> apply_json_patch(const json::Value& document, const json::Value& patch) {
  if (!patch.is_array()) return make_error(Code::kBadRequest, "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (patch.size() > kOperationsMax)
    return make_error(Code::kTooLarge, "The allowed maximum operations in a JSON patch is " + std::to_string(kOperationsMax) + ", got " + std::to_string(patch.size()));
  json::Value doc = document;
  for (auto& o : patch.as_array()) {
    const std::string& op = o["op"].as_string();
    const std::string& path = o["path"].as_string();
    if (op == "add" || op == "replace") {
      auto* value = o.find("value");
      TRY_VOID(add(doc, path, value ? *value : json::Value(), op == "replace", op));
    } else if (op == "remove") {
      TRY_VOID(remove(doc, path, op));
    } else if (op == "move" || op == "copy") {
      TRY(std::vector<std::string> from, steps_of(o["from"].as_string()));
      json::Value* source = walk(&doc, from, from.size());
      if (!source) return missing(op, o["from"].as_string());
      json::Value value = *source;
      if (op == "move") TRY_VOID(remove(doc, o["from"].as_string(), op));
      TRY_VOID(add(doc, path, std::move(value), false, op));
    } else if (op == "test") {
      TRY(std::vector<std::string> steps, steps_of(path));
      json::Value* at = walk(&doc, steps, steps.size());
      static const json::Value kNull;
      if (!((at ? *at : kNull) == o["value"])) return invalid("testing value " + path + " failed: test failed");
    } else {
      return make_error(Code::kBadRequest, "Unexpected kind: " + op);
    }
  }
  return doc;
}

json::Value apply_merge_patch(json::Value document, const json::Value& patch) {
  if (!patch.is_object()) return patch;
  if (!document.is_object()) document = json::Value::object();
  for (auto& m : patch.as_object()) {
    if (m.value.is_null()) {
      document.erase(m.key);
    } else {
      json::Value* at = document.find(m.key);
      json::Value merged = apply_merge_patch(at ? std::move(*at) : json::Value(), m.value);
      document[m.key] = std::move(merged);
    }
  }
  return document;
}

}  // namespace caravel::apiserver
