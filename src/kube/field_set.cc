// Field sets: which fields an object has, how two objects differ, and set algebra on both.
#include "kube/field_set.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace caravel::kube {

namespace fields {

Kind kind_of(const Schema* s, const json::Value& v) {
  if (v.is_object()) {
    if (s && s->atomic_map) return Kind::kLeaf;
    // An object whose schema is not known is owned by members, a list as a whole.
    return s && (s->type == Schema::Type::kIntOrString || s->type == Schema::Type::kString) ? Kind::kLeaf : Kind::kStruct;
  }
  if (v.is_array() && s) {
    if (s->list == Schema::List::kMap) {
      for (auto& i : v.as_array())
        if (!i.is_object()) return Kind::kLeaf;
      return Kind::kListMap;
    }
    if (s->list == Schema::List::kSet) return Kind::kListSet;
  }
  return Kind::kLeaf;
}

const Schema* member_schema(const Schema* s, std::string_view name, bool* declared) {
  if (declared) *declared = false;
  if (!s) return nullptr;
  if (const Schema* p = s->property(name)) {
    if (declared) *declared = true;
    return p;
  }
  return s->additional.get();
}

std::string item_key(const Schema& list, const json::Value& item, Kind kind) {
  if (kind == Kind::kListSet) return "v:" + json::dump(item);
  if (list.list_map_keys.size() == 1) {  // the usual {"name":"x"}
    const json::Value* v = item.find(list.list_map_keys[0]);
    if (v && v->is_string()) {
      std::string key = "k:{";
      json::quote_to(list.list_map_keys[0], key);
      key.push_back(':');
      json::quote_to(v->as_string(), key);
      key.push_back('}');
      return key;
    }
  }
  json::Object key;
  std::vector<std::string> names = list.list_map_keys;
  std::sort(names.begin(), names.end());
  for (auto& n : names) {
    if (const json::Value* v = item.find(n)) key.append(n, *v);
    else if (const Schema* c = list.items ? list.items->property(n) : nullptr; c && c->has_default) key.append(n, c->default_value);
  }
  return "k:" + json::dump(key);
}

bool empty(const Node& n) { return !n.member && n.children.empty(); }

void collect(const Schema* s, const json::Value& v, Node& node) {
  Kind kind = kind_of(s, v);
  switch (kind) {
    case Kind::kLeaf: node.member = true; break;
    case Kind::kStruct:
      for (auto& m : v.as_object()) {
        bool declared;
        const Schema* c = member_schema(s, m.key, &declared);
        Node& child = node.children["f:" + m.key];
        collect(c, m.value, child);
        if (m.value.is_null() || (m.value.is_object() && m.value.size() == 0) || (s && !declared)) child.member = true;
        if (empty(child)) node.children.erase("f:" + m.key);
      }
      break;
    case Kind::kListMap:
    case Kind::kListSet:
      for (auto& i : v.as_array()) {
        Node& child = node.children[item_key(*s, i, kind)];
        if (kind == Kind::kListMap) collect(s->items.get(), i, child);
        child.member = true;
      }
      break;
  }
}

namespace {

// Writes what compare() finds new in `v` over `base`, as to_json() would: in the order of their keys. `base` is what is there
// before anything is given (an empty struct of the kind writes some members); null: nothing is.
struct CreatedFields {
  static constexpr size_t kLargeItem = 4, kItemsKnown = 512, kShapeMax = 4096;  // members; documents kept; bytes that describe one
  bool twice = false;

  static bool named(const std::vector<std::string_view>* names, std::string_view key) { return names && std::find(names->begin(), names->end(), key) != names->end(); }

  // True when the value itself is owned, beside its members in `out`.
  bool write(const Schema* s, const json::Value& v, const json::Value* base, json::Object& out, const std::vector<std::string_view>* without) {
    Kind kind = kind_of(s, v);
    if (kind == Kind::kLeaf) return !base || !(*base == v);
    if (kind == Kind::kStruct) {
      members(s, v.as_object(), base, out, without);
      return !base;
    }
    std::vector<std::pair<std::string, const json::Value*>> items;
    items.reserve(v.size());
    for (auto& i : v.as_array()) items.emplace_back(item_key(*s, i, kind), &i);
    std::sort(items.begin(), items.end(), [](auto& a, auto& b) { return a.first < b.first; });
    twice = twice || std::adjacent_find(items.begin(), items.end(), [](auto& a, auto& b) { return a.first == b.first; }) != items.end();
    for (auto& [key, item] : items) out.append(std::move(key), kind == Kind::kListMap ? fields_of_item(s->items.get(), *item) : json::Value::object());
    return !base;
  }

  // Large items (containers) of one template own the same fields: they share one document, found by what their fields are.
  json::Value fields_of_item(const Schema* s, const json::Value& item) {
    if (item.size() < kLargeItem) return item_document(s, item);
    static thread_local std::unordered_map<std::string, json::Value> known;
    std::string shape;
    shape.reserve(512);
    describe(s, item, shape);
    if (shape.size() > kShapeMax) return item_document(s, item);
    if (auto it = known.find(shape); it != known.end()) return it->second;
    const bool before = std::exchange(twice, false);
    json::Value made = item_document(s, item);
    if (!twice) {
      if (known.size() >= kItemsKnown) known.clear();
      known.emplace(std::move(shape), made.freeze());
    }
    twice = twice || before;
    return made;
  }
  json::Value item_document(const Schema* s, const json::Value& item) {
    json::Object inside;
    inside.append(".", json::Value::object());
    write(s, item, nullptr, inside, nullptr);
    if (inside.size() == 1) inside.clear();
    return inside;
  }
  static void put_key(std::string_view key, std::string& out) {
    const uint32_t size = static_cast<uint32_t>(key.size());
    out.append(reinterpret_cast<const char*>(&size), sizeof size).append(key);
  }
  // All that write() looks at, so that the same text means the same document whatever the schema.
  static void describe(const Schema* s, const json::Value& v, std::string& out) {
    const Kind kind = kind_of(s, v);
    if (kind == Kind::kLeaf) {
      out.push_back('.');
    } else if (kind == Kind::kStruct) {
      out.push_back('{');
      for (auto& m : v.as_object()) {
        put_key(m.key, out);
        describe(member_schema(s, m.key), m.value, out);
      }
      out.push_back('}');
    } else {
      out.push_back('[');
      for (auto& i : v.as_array()) {
        put_key(item_key(*s, i, kind), out);
        if (kind == Kind::kListMap) describe(s->items.get(), i, out);
      }
      out.push_back(']');
    }
  }

  void members(const Schema* s, const json::Object& object, const json::Value* base, json::Object& out, const std::vector<std::string_view>* without) {
    std::vector<const json::Member*> sorted;
    sorted.reserve(object.size());
    for (auto& m : object)
      if (!named(without, m.key)) sorted.push_back(&m);
    std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->key < b->key; });
    for (const json::Member* m : sorted) {
      json::Object inside;
      const bool owned = write(member_schema(s, m->key), m->value, base ? base->find(m->key) : nullptr, inside, nullptr);
      put(m->key, owned, std::move(inside), out);
    }
  }

  static void put(const std::string& key, bool owned, json::Object inside, json::Object& out) {
    if (!owned && inside.empty()) return;
    if (owned && !inside.empty()) {
      json::Object with_itself;
      with_itself.append(".", json::Value::object());
      for (auto& m : inside) with_itself.append(std::move(m.key), std::move(m.value));
      inside = std::move(with_itself);
    }
    out.append("f:" + key, std::move(inside));
  }
};

}  // namespace

json::Value created_fields_v1(const Schema& schema, const json::Value& object, const json::Value& base, const Unowned& unowned) {
  CreatedFields w;
  json::Object out;
  std::vector<const json::Member*> sorted;
  for (auto& m : object.as_object())
    if (!CreatedFields::named(&unowned.root, m.key)) sorted.push_back(&m);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->key < b->key; });
  for (const json::Member* m : sorted) {
    const bool metadata = m->key == "metadata";
    json::Object inside;
    const bool owned = w.write(member_schema(&schema, m->key), m->value, base.find(m->key), inside, metadata ? &unowned.metadata : nullptr);
    CreatedFields::put(m->key, owned && !metadata, std::move(inside), out);
  }
  if (w.twice) return {};
  return out;
}

// Every field of a value that is new or gone, and the values that hold them.
static void collect_whole(const Schema* s, const json::Value& v, Node& node) {
  node.member = true;
  const Kind kind = kind_of(s, v);
  if (kind == Kind::kLeaf) return;
  if (kind == Kind::kStruct)
    for (auto& m : v.as_object()) collect_whole(member_schema(s, m.key), m.value, node.children["f:" + m.key]);
  else
    for (auto& i : v.as_array()) {
      Node& child = node.children[item_key(*s, i, kind)];
      child.member = true;
      if (kind == Kind::kListMap) collect_whole(s->items.get(), i, child);
    }
}

void compare(const Schema* s, const json::Value& a, const json::Value& b, Difference& out) {
  Kind ka = kind_of(s, a), kb = kind_of(s, b);
  if (ka != kb) {
    // Null is there, with nothing in it. Of others, what it was is gone and what it is is new.
    collect_whole(s, a, out.removed);
    collect_whole(s, b, out.added);
    if (a.is_null() || b.is_null()) out.added.member = out.removed.member = false;
    return;
  }
  auto down = [&](const std::string& key, const Schema* c, const json::Value& x, const json::Value& y) {
    Difference d;
    compare(c, x, y, d);
    if (!empty(d.added)) out.added.children[key] = std::move(d.added);
    if (!empty(d.modified)) out.modified.children[key] = std::move(d.modified);
    if (!empty(d.removed)) out.removed.children[key] = std::move(d.removed);
  };
  switch (ka) {
    case Kind::kLeaf:
      if (!(a == b)) out.modified.member = true;
      break;
    case Kind::kStruct: {
      auto one_side = [&](const json::Value& from, const json::Value& other, Node& into) {
        for (auto& m : from.as_object())
          if (!other.find(m.key)) collect_whole(member_schema(s, m.key), m.value, into.children["f:" + m.key]);
      };
      one_side(a, b, out.removed);
      one_side(b, a, out.added);
      for (auto& m : b.as_object())
        if (const json::Value* old = a.find(m.key); old && !(*old == m.value)) down("f:" + m.key, member_schema(s, m.key), *old, m.value);
      break;
    }
    case Kind::kListMap:
    case Kind::kListSet: {
      if (a == b) break;
      std::map<std::string, const json::Value*> old;
      for (auto& i : a.as_array()) old[item_key(*s, i, ka)] = &i;
      for (auto& i : b.as_array()) {
        std::string key = item_key(*s, i, ka);
        auto it = old.find(key);
        if (it == old.end()) {
          Node& n = out.added.children[key];
          if (ka == Kind::kListMap) collect_whole(s->items.get(), i, n);
          n.member = true;
        } else {
          if (ka == Kind::kListMap) down(key, s->items.get(), *it->second, i);
          old.erase(it);
        }
      }
      for (auto& [key, i] : old) {
        Node& n = out.removed.children[key];
        if (ka == Kind::kListMap) collect_whole(s->items.get(), *i, n);
        n.member = true;
      }
      break;
    }
  }
}

Node unite(const Node& a, const Node& b) {
  Node out = a;
  out.member |= b.member;
  for (auto& [k, c] : b.children) {
    auto it = out.children.find(k);
    if (it == out.children.end()) out.children[k] = c;
    else it->second = unite(it->second, c);
  }
  return out;
}

void unite_into(Node& a, Node&& b) {
  a.member |= b.member;
  for (auto& [k, c] : b.children) {
    auto [it, fresh] = a.children.try_emplace(k);
    if (fresh) it->second = std::move(c);
    else unite_into(it->second, std::move(c));
  }
}

Node intersect(const Node& a, const Node& b) {
  Node out;
  out.member = a.member && b.member;
  for (auto& [k, c] : a.children) {
    auto it = b.children.find(k);
    if (it == b.children.end()) continue;
    Node n = intersect(c, it->second);
    if (!empty(n)) out.children[k] = std::move(n);
  }
  return out;
}

Node subtract(const Node& a, const Node& b) {
  Node out;
  out.member = a.member && !b.member;
  for (auto& [k, c] : a.children) {
    auto it = b.children.find(k);
    Node n = it == b.children.end() ? c : subtract(c, it->second);
    if (!empty(n)) out.children[k] = std::move(n);
  }
  return out;
}

}  // namespace fields

namespace {

json::Value to_json(const FieldSet::Node& n) {
  json::Value v = json::Value::object();
  if (n.member && !n.children.empty()) v["."] = json::Value::object();
  for (auto& [k, c] : n.children) v[k] = to_json(c);
  return v;
}

FieldSet::Node from_json(const json::Value& v) {
  FieldSet::Node n;
  n.member = v.size() == 0;
  for (auto& m : v.as_object()) {
    if (m.key == ".") n.member = true;
    else n.children[m.key] = from_json(m.value);
  }
  return n;
}

void walk(const FieldSet::Node& n, std::vector<std::string>& path, std::vector<std::vector<std::string>>& out) {
  if (n.member && !path.empty()) out.push_back(path);
  for (auto& [k, c] : n.children) {
    path.push_back(k);
    walk(c, path, out);
    path.pop_back();
  }
}

FieldSet with_root(FieldSet::Node n) {
  FieldSet s;
  n.member = false;
  s.root() = std::move(n);
  return s;
}

}  // namespace

FieldSet FieldSet::of(const Schema& schema, const json::Value& object) {
  Node n;
  fields::collect(&schema, object, n);
  return with_root(std::move(n));
}
FieldSet FieldSet::from_fields_v1(const json::Value& v) { return with_root(from_json(v)); }
json::Value FieldSet::to_fields_v1() const { return to_json(root_); }
FieldSet FieldSet::unite(const FieldSet& o) const { return with_root(fields::unite(root_, o.root_)); }
FieldSet FieldSet::intersect(const FieldSet& o) const { return with_root(fields::intersect(root_, o.root_)); }
FieldSet FieldSet::subtract(const FieldSet& o) const { return with_root(fields::subtract(root_, o.root_)); }
bool FieldSet::contains(const std::vector<std::string>& path) const {
  const Node* n = &root_;
  for (auto& k : path) {
    auto it = n->children.find(k);
    if (it == n->children.end()) return false;
    n = &it->second;
  }
  return n->member;
}
std::vector<std::vector<std::string>> FieldSet::paths() const {
  std::vector<std::vector<std::string>> out;
  std::vector<std::string> path;
  walk(root_, path, out);
  return out;
}

std::string field_path_text(const std::vector<std::string>& path) {
  std::string out;
  for (auto& k : path) {
    std::string rest = k.size() > 2 ? k.substr(2) : "";
    if (k.starts_with("f:")) {
      out += "." + rest;
    } else if (k.starts_with("v:")) {
      out += "[=" + rest + "]";
    } else if (k.starts_with("i:")) {
      out += "[" + rest + "]";
    } else {
      auto key = json::parse(rest);
      std::string inside;
      if (key.ok())
        for (auto& m : key->as_object()) inside += (inside.empty() ? "" : ",") + m.key + "=" + json::dump(m.value);
      out += "[" + inside + "]";
    }
  }
  return out;
}

}  // namespace caravel::kube
