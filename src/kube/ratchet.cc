#include "kube/ratchet.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::kube {

namespace {

struct Step {
  std::string name;
  bool bracket = false;  // an index of a list, or a key of a map
};

// "spec.map[0].k" -> spec, map, [0], k
std::vector<Step> steps_of(std::string_view path) {
  std::vector<Step> out;
  while (!path.empty()) {
    if (path[0] == '[') {
      size_t end = path.find(']');
      if (end == path.npos) break;
      out.push_back({std::string(path.substr(1, end - 1)), true});
      path.remove_prefix(end + 1);
    } else {
      if (path[0] == '.') path.remove_prefix(1);
      size_t end = std::min(path.find_first_of(".["), path.size());
      out.push_back({std::string(path.substr(0, end)), false});
      path.remove_prefix(end);
    }
  }
  return out;
}

const json::Value* same_element(const Schema& list, const json::Value& element, const json::Value& old) {
  if (list.list != Schema::List::kMap) return nullptr;
  for (auto& o : old.as_array()) {
    bool match = true;
    for (auto& k : list.list_map_keys) match = match && o[k] == element[k];
    if (match) return &o;
  }
  return nullptr;
}

bool unchanged(const Schema& root, const json::Value& now, const json::Value& old, const std::string& path) {
  const Schema* s = &root;
  const json::Value *a = &now, *b = &old;
  for (auto& step : steps_of(path)) {
    if (a->is_array()) {
      auto i = parse_int(step.name);
      if (!step.bracket || !i || *i < 0 || static_cast<size_t>(*i) >= a->size() || !s) return false;
      a = &a->at(static_cast<size_t>(*i));
      b = same_element(*s, *a, *b);
      s = s->items.get();
    } else if (a->is_object()) {
      const Schema* child = s ? s->property(step.name) : nullptr;
      if (!child && s) child = s->additional.get();
      s = child;
      a = a->find(step.name);
      b = b->find(step.name);
      if (!a && !b) return false;  // missing before and now: what is around it counts, and that has changed
    } else {
      return false;
    }
    if (!a || !b) return false;
    if (*a == *b) return true;
  }
  return false;
}

}  // namespace

void drop_unchanged(const Schema& schema, const json::Value& now, const json::Value& old, FieldErrors& errors) {
  errors.erase(std::remove_if(errors.begin(), errors.end(), [&](const FieldError& e) { return unchanged(schema, now, old, e.field); }), errors.end());
}

}  // namespace caravel::kube
