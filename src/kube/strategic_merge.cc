// Strategic merge patch: JSON merge patch that knows which lists are merged and by which key.
//
// Directives, as upstream defines them:
//   $patch: replace | delete | merge   in a map, or as an element of a merged list
//   $retainKeys: [a,b]                 clears the members of a map that are not named
//   $setElementOrder/LIST: [...]       order of the merged list
//   $deleteFromPrimitiveList/LIST: []  values to remove
#include <algorithm>

#include "base/strings.h"
#include "kube/patch.h"

namespace caravel::kube {

namespace {

constexpr std::string_view kOrder = "$setElementOrder/";
constexpr std::string_view kDelete = "$deleteFromPrimitiveList/";

bool merges(const Schema* s) { return s && (s->patch_strategy == "merge" || s->patch_strategy.starts_with("merge,")); }
bool replaces(const Schema* s) { return s && (s->patch_strategy == "replace"); }
const Schema* item_of(const Schema* s) { return s ? s->items.get() : nullptr; }
const Schema* member_of(const Schema* s, std::string_view key) {
  if (!s) return nullptr;
  if (const Schema* p = s->property(key)) return p;
  return s->additional.get();
}

Result<json::Value> merge_map(const Schema* schema, json::Value original, const json::Value& patch);

bool is_primitive_list(const json::Value& a, const json::Value& b) {
  for (auto* l : {&a, &b})
    for (auto& i : l->as_array())
      if (i.is_object() || i.is_array()) return false;
  return true;
}

// Directives mean nothing where there was nothing: what a patch adds goes in without them.
json::Value without_directives(const json::Value& v) {
  if (v.is_object()) {
    json::Value out = json::Value::object();
    for (auto& m : v.as_object()) {
      if (m.key.starts_with("$") && (m.key == "$patch" || m.key == "$retainKeys" || m.key.starts_with(kOrder) || m.key.starts_with(kDelete))) continue;
      if (m.value.is_null()) continue;
      out[m.key] = without_directives(m.value);
    }
    return out;
  }
  if (v.is_array()) {
    json::Array out;
    for (auto& i : v.as_array()) {
      if (i["$patch"].is_string()) continue;
      out.push_back(without_directives(i));
    }
    return out;
  }
  return v;
}

// Orders a merged list: what `patched` names comes in its order, the rest in that of the list as it was; of an element
// of each sort that both were there before, the one that was first then, else the patch's.
void reorder(json::Array& list, const json::Array& patched, const json::Array& before, const std::string& merge_key) {
  auto id = [&](const json::Value& v) -> const json::Value& { return merge_key.empty() ? v : v[merge_key]; };
  auto place = [&](const json::Array& in, const json::Value& v) {
    for (size_t i = 0; i < in.size(); ++i)
      if (id(in[i]) == id(v)) return static_cast<int>(i);
    return -1;
  };
  auto sort_by = [&](json::Array& items, const json::Array& order) {
    std::stable_sort(items.begin(), items.end(), [&](auto& a, auto& b) { return static_cast<unsigned>(place(order, a)) < static_cast<unsigned>(place(order, b)); });
  };
  json::Array named, others, out;
  for (auto& v : list) (place(patched, v) >= 0 ? named : others).push_back(v);
  sort_by(named, patched);
  sort_by(others, before);
  size_t n = 0, o = 0;
  while (n < named.size() || o < others.size()) {
    bool other = n == named.size();
    if (!other && o < others.size()) {
      const int theirs = place(before, others[o]), ours = place(before, named[n]);
      other = theirs >= 0 && ours >= 0 && theirs < ours;
    }
    out.push_back(other ? others[o++] : named[n++]);
  }
  list = std::move(out);
}

Result<json::Value> merge_list(const Schema* schema, const json::Value& original, const json::Value& patch, const std::string& path) {
  const std::string merge_key = schema ? schema->merge_key : "";
  if (is_primitive_list(original, patch)) {
    json::Array out = original.as_array();
    for (auto& p : patch.as_array())
      if (std::find(out.begin(), out.end(), p) == out.end()) out.push_back(p);
    reorder(out, patch.as_array(), original.as_array(), "");
    return json::Value(std::move(out));
  }
  if (merge_key.empty()) return without_directives(patch);
  bool replace = false;
  json::Array plain, out = original.as_array();
  for (auto& p : patch.as_array()) {
    const std::string& directive = p["$patch"].as_string();
    if (!p.is_object()) return make_error(Code::kBadRequest, "expected a map in the list " + path + ", got " + json::dump(p));
    if (directive == "replace") {
      replace = true;
      continue;
    }
    if (directive == "delete") {
      if (!p.find(merge_key))
        return make_error(Code::kBadRequest, "delete patch type with no merge key defined: map: " + json::dump(p) + " does not contain declared merge key: " + merge_key);
      std::erase_if(out, [&](const json::Value& v) { return v[merge_key] == p[merge_key]; });
      continue;
    }
    if (!directive.empty() && directive != "merge") return make_error(Code::kBadRequest, "unknown patch type found: " + directive);
    plain.push_back(p);
  }
  if (replace) return without_directives(json::Value(std::move(plain)));
  for (auto& p : plain) {
    if (!p.find(merge_key)) return make_error(Code::kBadRequest, "map: " + json::dump(p) + " does not contain declared merge key: " + merge_key);
    auto it = std::find_if(out.begin(), out.end(), [&](const json::Value& v) { return v[merge_key] == p[merge_key]; });
    if (it == out.end()) {
      out.push_back(without_directives(p));
    } else {
      TRY(*it, merge_map(item_of(schema), *it, p));
    }
  }
  reorder(out, plain, original.as_array(), merge_key);
  return json::Value(std::move(out));
}

Result<json::Value> merge_map(const Schema* schema, json::Value original, const json::Value& patch) {
  if (const json::Value* d = patch.find("$patch")) {
    const std::string& directive = d->as_string();
    if (directive == "replace") {
      json::Value p = patch;
      p.erase("$patch");
      return without_directives(p);
    }
    if (directive == "delete") return json::Value::object();
    if (directive != "merge") return make_error(Code::kBadRequest, "unknown patch type found: " + directive);
  }
  if (!original.is_object()) original = json::Value::object();
  if (const json::Value* keep = patch.find("$retainKeys")) {
    std::vector<std::string> gone;
    for (auto& m : original.as_object()) {
      bool kept = false;
      for (auto& k : keep->as_array()) kept |= k.as_string() == m.key;
      if (!kept) gone.push_back(m.key);
    }
    for (auto& k : gone) original.erase(k);
  }
  for (auto& m : patch.as_object()) {
    if (!m.key.starts_with(kDelete)) continue;
    json::Value* list = original.find(m.key.substr(kDelete.size()));
    if (!list || !list->is_array()) continue;
    for (auto& gone : m.value.as_array()) std::erase(list->arr(), gone);
  }
  std::vector<std::pair<std::string, json::Array>> before;  // lists whose order the patch says
  for (auto& m : patch.as_object()) {
    if (!m.key.starts_with(kOrder)) continue;
    std::string name = m.key.substr(kOrder.size());
    const json::Value* list = std::as_const(original).find(name);
    before.emplace_back(name, list ? list->as_array() : json::Array());
  }
  for (auto& m : patch.as_object()) {
    if (m.key == "$patch" || m.key == "$retainKeys" || m.key.starts_with(kOrder) || m.key.starts_with(kDelete)) continue;
    const Schema* child = member_of(schema, m.key);
    json::Value* old = original.find(m.key);
    if (m.value.is_null()) {
      original.erase(m.key);
    } else if (!old || old->is_null()) {
      original[m.key] = without_directives(m.value);
    } else if (m.value.is_object() && old->is_object() && !replaces(child)) {
      TRY(json::Value merged, merge_map(child, std::move(*old), m.value));
      *original.find(m.key) = std::move(merged);
    } else if (m.value.is_array() && old->is_array() && merges(child)) {
      TRY(json::Value merged, merge_list(child, *old, m.value, m.key));
      *old = std::move(merged);
    } else {
      *old = without_directives(m.value);
    }
  }
  for (auto& [name, list_before] : before) {
    const json::Value& wanted = patch[std::string(kOrder) + name];
    json::Value* list = original.find(name);
    const Schema* child = member_of(schema, name);
    if (list && list->is_array() && wanted.is_array()) reorder(list->arr(), wanted.as_array(), list_before, child ? child->merge_key : "");
  }
  return original;
}

}  // namespace

Result<json::Value> strategic_merge_patch(const Schema& schema, const json::Value& original, const json::Value& patch) {
  if (!patch.is_object()) return make_error(Code::kBadRequest, "a strategic merge patch must be a JSON object");
  return merge_map(&schema, original, patch);
}

// ---- three-way ----

json::Value create_merge_patch(const json::Value& from, const json::Value& to) {
  json::Value out = json::Value::object();
  for (auto& m : from.as_object())
    if (!to.find(m.key)) out[m.key] = json::Value();
  for (auto& m : to.as_object()) {
    const json::Value* old = from.find(m.key);
    if (old && *old == m.value) continue;
    if (old && old->is_object() && m.value.is_object()) out[m.key] = create_merge_patch(*old, m.value);
    else out[m.key] = m.value;
  }
  return out;
}

namespace {

// What `last` has and `modified` has no more, as nulls.
json::Value deletions(const json::Value& last, const json::Value& modified) {
  json::Value out = json::Value::object();
  for (auto& m : last.as_object()) {
    const json::Value* now = modified.find(m.key);
    if (!now) {
      out[m.key] = json::Value();
    } else if (m.value.is_object() && now->is_object()) {
      json::Value inner = deletions(m.value, *now);
      if (inner.size()) out[m.key] = std::move(inner);
    }
  }
  return out;
}

// What `modified` adds to or changes in `live`, without deletions.
json::Value additions(const json::Value& live, const json::Value& modified) {
  json::Value out = json::Value::object();
  for (auto& m : modified.as_object()) {
    const json::Value* old = live.find(m.key);
    if (old && *old == m.value) continue;
    if (old && old->is_object() && m.value.is_object()) {
      json::Value inner = additions(*old, m.value);
      if (inner.size()) out[m.key] = std::move(inner);
    } else {
      out[m.key] = m.value;
    }
  }
  return out;
}

// Deletions of what is there; a deletion and an addition never name the same member.
void add_deletions(json::Value& into, const json::Value& gone, const json::Value& live) {
  for (auto& m : gone.as_object()) {
    const json::Value* at = live.find(m.key);
    if (!at) continue;
    if (!m.value.is_object()) {
      into[m.key] = json::Value();
      continue;
    }
    json::Value inner = into.find(m.key) ? *into.find(m.key) : json::Value::object();
    add_deletions(inner, m.value, *at);
    if (inner.size()) into[m.key] = std::move(inner);
  }
}

const json::Value* find_by_key(const json::Value& list, const std::string& key, const json::Value& id) {
  for (auto& i : list.as_array())
    if (i[key] == id) return &i;
  return nullptr;
}

// The strategic patch of one map: `last` for deletions, `live` for changes.
json::Value diff_map(const Schema* schema, const json::Value& last, const json::Value& modified, const json::Value& live);

void diff_list(const Schema* schema, const std::string& name, const json::Value& last, const json::Value& modified, const json::Value& live,
               json::Value& out) {
  const std::string& key = schema->merge_key;
  if (key.empty() || is_primitive_list(modified, live)) {
    json::Array add, gone;
    for (auto& i : modified.as_array())
      if (std::find(live.as_array().begin(), live.as_array().end(), i) == live.as_array().end()) add.push_back(i);
    for (auto& i : last.as_array())
      if (std::find(modified.as_array().begin(), modified.as_array().end(), i) == modified.as_array().end()) gone.push_back(i);
    if (!gone.empty()) out[std::string(kDelete) + name] = std::move(gone);
    if (!add.empty()) out[name] = std::move(add);
    return;
  }
  json::Array patch, order;
  for (auto& i : modified.as_array()) {
    order.push_back(json::Object{{key, i[key]}});
    const json::Value* old = find_by_key(live, key, i[key]);
    if (!old) {
      patch.push_back(i);
      continue;
    }
    const json::Value* before = find_by_key(last, key, i[key]);
    json::Value inner = diff_map(item_of(schema), before ? *before : json::Value(), i, *old);
    if (inner.size() == 0) continue;
    inner[key] = i[key];
    patch.push_back(std::move(inner));
  }
  for (auto& i : last.as_array())
    if (!find_by_key(modified, key, i[key])) patch.push_back(json::Object{{"$patch", "delete"}, {key, i[key]}});
  if (patch.empty()) return;
  out[std::string(kOrder) + name] = std::move(order);
  out[name] = std::move(patch);
}

json::Value diff_map(const Schema* schema, const json::Value& last, const json::Value& modified, const json::Value& live) {
  json::Value out = json::Value::object();
  for (auto& m : modified.as_object()) {
    const Schema* child = member_of(schema, m.key);
    const json::Value* old = live.find(m.key);
    if (!old || old->is_null()) {
      if (!m.value.is_null()) out[m.key] = m.value;
    } else if (m.value.is_object() && old->is_object() && !replaces(child)) {
      json::Value inner = diff_map(child, last[m.key], m.value, *old);
      if (inner.size()) out[m.key] = std::move(inner);
    } else if (m.value.is_array() && old->is_array() && merges(child)) {
      diff_list(child, m.key, last[m.key], m.value, *old, out);
    } else if (!(m.value == *old)) {
      out[m.key] = m.value;
    }
  }
  for (auto& m : last.as_object())
    if (!modified.find(m.key) && live.find(m.key)) out[m.key] = json::Value();
  if (schema && schema->patch_strategy.find("retainKeys") != std::string::npos && out.size()) {
    json::Array keep;
    for (auto& m : modified.as_object()) keep.push_back(m.key);
    out["$retainKeys"] = std::move(keep);
  }
  return out;
}

}  // namespace

json::Value three_way_merge_patch(const json::Value& last, const json::Value& modified, const json::Value& live) {
  json::Value out = additions(live, modified);
  add_deletions(out, deletions(last, modified), live);
  return out;
}

Result<json::Value> three_way_strategic_patch(const Schema& schema, const json::Value& last, const json::Value& modified, const json::Value& live) {
  if (!schema.built_in) return three_way_merge_patch(last, modified, live);
  return diff_map(&schema, last, modified, live);
}

}  // namespace caravel::kube
