#include "apiserver/strategic_merge.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;
using kube::FieldInfo;
using kube::Scalar;
using kube::Shape;
using kube::TypeInfo;

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetain = "$retainKeys";
constexpr std::string_view kOrder = "$setElementOrder/";
constexpr std::string_view kDelete = "$deleteFromPrimitiveList/";

bool starts(std::string_view s, std::string_view p) { return s.substr(0, p.size()) == p; }
bool directive(std::string_view k) { return k == kPatch || k == kRetain || starts(k, kOrder) || starts(k, kDelete); }

// Removes directives from content that is taken over whole.
Value plain(const Value& v) {
  if (v.is_object()) {
    Value out = Value::object();
    for (auto& m : v.as_object())
      if (!directive(m.key) && !m.value.is_null()) out[m.key] = plain(m.value);
    return out;
  }
  if (v.is_array()) {
    Value out = Value::array();
    for (auto& i : v.as_array())
      if (!(i.is_object() && i.find(kPatch) && i.size() <= 2 && i[kPatch].as_string() == "delete")) out.push_back(plain(i));
    return out;
  }
  return v;
}

Result<Value> merge_object(const TypeInfo* type, const Value& live, const Value& patch, const std::string& path);

Value* find_by_key(Value& list, std::string_view key, const Value& wanted) {
  for (auto& i : list.arr())
    if (i[key] == wanted) return &i;
  return nullptr;
}

// Puts the items into the order that the patch names; items it does not name keep their places after
// the item they followed.
void reorder(Value& list, const Value& order, std::string_view key) {
  auto rank = [&](const Value& item) -> int {
    const Value& k = key.empty() ? item : item[key];
    for (size_t i = 0; i < order.size(); ++i) {
      const Value& o = key.empty() ? order.at(i) : order.at(i)[key];
      if (o == k) return static_cast<int>(i);
    }
    return -1;
  };
  json::Array named, result;
  for (auto& i : list.as_array())
    if (rank(i) >= 0) named.push_back(i);
  std::stable_sort(named.begin(), named.end(), [&](const Value& a, const Value& b) { return rank(a) < rank(b); });
  size_t next = 0;
  for (auto& i : list.as_array()) {
    if (rank(i) >= 0) result.push_back(named[next++]);
    else result.push_back(i);
  }
  list = Value(std::move(result));
}

Result<Value> merge_list(const FieldInfo& f, const Value& live, const Value& patch, const std::string& path) {
  Value out = live.is_array() ? live : Value::array();
  std::string key(f.facts().merge_key);
  const TypeInfo* item_type = f.scalar == Scalar::kStruct ? f.type : nullptr;
  if (key.empty()) {  // a set of scalars
    for (auto& i : patch.as_array())
      if (std::find(out.as_array().begin(), out.as_array().end(), i) == out.as_array().end()) out.push_back(i);
    return out;
  }
  for (auto& i : patch.as_array())
    if (i.is_object() && i[kPatch].as_string() == "replace") {
      Value all = Value::array();
      for (auto& x : patch.as_array())
        if (!x.find(kPatch)) all.push_back(plain(x));
      return all;
    }
  for (auto& i : patch.as_array()) {
    if (!i.is_object()) return make_error(Code::kBadRequest, path + ": expected an object in the patch's list");
    const Value* k = i.find(key);
    if (!k) return make_error(Code::kBadRequest, "map: " + json::dump(i) + " does not contain declared merge key: " + key);
    Value* at = find_by_key(out, key, *k);
    const std::string& what = i[kPatch].as_string();
    if (what == "delete") {
      std::erase_if(out.arr(), [&](const Value& v) { return v[key] == *k; });
      continue;
    }
    if (!at) {
      out.push_back(plain(i));
      continue;
    }
    TRY(Value merged, merge_object(item_type, *at, i, path));
    *at = std::move(merged);
  }
  return out;
}

Result<Value> merge_object(const TypeInfo* type, const Value& live, const Value& patch, const std::string& path) {
  const std::string& what = patch[kPatch].as_string();
  if (what == "replace") return plain(patch);
  if (what == "delete") return Value::object();
  if (!what.empty() && what != "merge") return make_error(Code::kBadRequest, "unknown patch type found: " + what);
  Value out = live.is_object() ? live : Value::object();
  if (const Value* keep = patch.find(kRetain)) {
    Value kept = Value::object();
    for (auto& m : out.as_object())
      if (std::find(keep->as_array().begin(), keep->as_array().end(), Value(m.key)) != keep->as_array().end()) kept[m.key] = m.value;
    out = std::move(kept);
  }
  auto field_of = [&](std::string_view name) { return type ? type->find(name) : nullptr; };
  for (auto& m : patch.as_object())
    if (starts(m.key, kDelete)) {
      std::string list = m.key.substr(kDelete.size());
      if (Value* at = out.find(list); at && at->is_array())
        std::erase_if(at->arr(), [&](const Value& v) { return std::find(m.value.as_array().begin(), m.value.as_array().end(), v) != m.value.as_array().end(); });
    }
  for (auto& m : patch.as_object()) {
    if (directive(m.key)) continue;
    if (m.value.is_null()) {
      out.erase(m.key);
      continue;
    }
    const FieldInfo* f = field_of(m.key);
    Value* at = out.find(m.key);
    std::string inner = path.empty() ? m.key : path + "." + m.key;
    if (m.value.is_object()) {
      const TypeInfo* t = nullptr;
      bool replace = false;
      if (f) {
        replace = f->facts().patch_strategy == "replace";
        if (f->scalar == Scalar::kStruct && f->shape != Shape::kMap && f->shape != Shape::kList) t = f->type;
      }
      if (replace) {
        out[m.key] = plain(m.value);
        continue;
      }
      TRY(Value merged, merge_object(t, at ? *at : Value(), m.value, inner));
      out[m.key] = std::move(merged);
    } else if (m.value.is_array()) {
      bool merge = f && f->facts().patch_strategy.find("merge") != std::string_view::npos;
      if (!merge) {
        out[m.key] = plain(m.value);
        continue;
      }
      TRY(Value merged, merge_list(*f, at ? *at : Value(), m.value, inner));
      out[m.key] = std::move(merged);
    } else {
      out[m.key] = m.value;
    }
  }
  for (auto& m : patch.as_object())
    if (starts(m.key, kOrder)) {
      std::string list = m.key.substr(kOrder.size());
      const FieldInfo* f = field_of(list);
      if (Value* at = out.find(list); at && at->is_array()) reorder(*at, m.value, f ? f->facts().merge_key : std::string_view());
    }
  return out;
}

}  // namespace

Result<Value> apply_strategic_merge(const TypeInfo& type, const Value& live, const Value& patch) { return merge_object(&type, live, patch, ""); }

}  // namespace caravel::apiserver
