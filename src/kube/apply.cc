// Server-side apply. The problem: several writers keep different fields of one object. Upstream's promise:
// an applier owns what it sends, learns when another owner disagrees, and what it stops sending goes away
// unless somebody else owns it. The algorithm is that of structured-merge-diff's updater, on one schema.
#include "kube/apply.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "base/strings.h"
#include "kube/field_set.h"

namespace caravel::kube {

namespace {

using fields::Kind;
using Node = FieldSet::Node;

constexpr size_t kUpdateManagersMax = 10;

struct Manager {
  std::string name, operation, api_version, subresource, time;
  FieldSet set;
  json::Value unread;  // the set as fieldsV1, instead of `set`: nobody has had to know it
  bool owns_nothing() const { return set.empty() && unread.size() == 0; }
  void read() {
    if (unread.size()) set = FieldSet::from_fields_v1(unread);
    unread = json::Value();
  }
  bool same_as(const Manager& o) const {
    return name == o.name && operation == o.operation && subresource == o.subresource && (operation == "Apply" || api_version == o.api_version);
  }
};

std::vector<Manager> managers_of(const json::Value& object) {
  std::vector<Manager> out;
  for (auto& e : object["metadata"]["managedFields"].as_array()) {
    out.push_back({e["manager"].as_string(), e["operation"].as_string(), e["apiVersion"].as_string(), e["subresource"].as_string(), e["time"].as_string(), {}, e["fieldsV1"]});
  }
  return out;
}

std::vector<Manager> read_managers(const json::Value& object) {
  std::vector<Manager> out = managers_of(object);
  for (auto& m : out) m.read();
  return out;
}

json::Value write_managers(std::vector<Manager> managers) {
  std::erase_if(managers, [](const Manager& m) { return m.owns_nothing(); });
  // The oldest of too many updaters become one.
  auto updates = [&] { return std::count_if(managers.begin(), managers.end(), [](auto& m) { return m.operation == "Update"; }); };
  while (updates() > static_cast<long>(kUpdateManagersMax)) {
    auto oldest = managers.end();
    for (auto it = managers.begin(); it != managers.end(); ++it)
      if (it->operation == "Update" && it->name != "ancient-changes" && (oldest == managers.end() || it->time < oldest->time)) oldest = it;
    if (oldest == managers.end()) break;
    Manager m = std::move(*oldest);
    managers.erase(oldest);
    m.read();
    m.name = "ancient-changes";
    auto bucket = std::find_if(managers.begin(), managers.end(), [&](auto& o) { return o.name == m.name && o.api_version == m.api_version; });
    if (bucket == managers.end()) managers.push_back(std::move(m));
    else bucket->read(), bucket->set = bucket->set.unite(m.set), bucket->time = std::max(bucket->time, m.time);
  }
  std::stable_sort(managers.begin(), managers.end(), [](const Manager& a, const Manager& b) {
    return std::tie(a.operation, a.time, a.name, a.api_version) < std::tie(b.operation, b.time, b.name, b.api_version);
  });
  json::Array out;
  for (auto& m : managers) {
    json::Value e = json::Value::object();
    e["manager"] = m.name;
    e["operation"] = m.operation;
    e["apiVersion"] = m.api_version;
    if (!m.time.empty()) e["time"] = m.time;
    e["fieldsType"] = "FieldsV1";
    if (m.unread.size()) e["fieldsV1"] = std::move(m.unread);
    else e["fieldsV1"] = m.set.to_fields_v1();
    if (!m.subresource.empty()) e["subresource"] = m.subresource;
    out.push_back(std::move(e));
  }
  return out;
}

void put_managers(json::Value& object, std::vector<Manager> managers) {
  json::Value list = write_managers(std::move(managers));
  if (list.size()) object["metadata"]["managedFields"] = std::move(list);
  else object["metadata"].erase("managedFields");
}

constexpr std::string_view kUnownedMetadata[] = {"name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"};

// What is never owned: identity, what the server sets, and what this endpoint does not write.
void strip(FieldSet& set, const ApplyOptions& o) {
  Node& root = set.root();
  root.children.erase("f:apiVersion");
  root.children.erase("f:kind");
  for (auto& f : o.reset_fields) root.children.erase("f:" + f);
  auto it = root.children.find("f:metadata");
  if (it == root.children.end()) return;
  it->second.member = false;
  for (auto name : kUnownedMetadata) it->second.children.erase("f:" + std::string(name));
  if (it->second.children.empty()) root.children.erase(it);
}

FieldSet owned_fields(const Schema& schema, const json::Value& object, const ApplyOptions& o) {
  FieldSet s = FieldSet::of(schema, object);
  strip(s, o);
  return s;
}

json::Value without_nulls(const json::Value& v) {
  if (v.is_object()) {
    json::Value out = json::Value::object();
    for (auto& m : v.as_object())
      if (!m.value.is_null()) out.obj().append(m.key, without_nulls(m.value));
    return out;
  }
  return v;
}

json::Value merge(const Schema* s, const json::Value& live, const json::Value& config) {
  Kind kind = fields::kind_of(s, config);
  if (kind != fields::kind_of(s, live) || kind == Kind::kLeaf) return config;
  if (kind == Kind::kStruct) {
    json::Value out = live;
    for (auto& m : config.as_object()) {
      json::Value* old = out.find(m.key);
      if (old) *old = merge(fields::member_schema(s, m.key), *old, m.value);
      else out[m.key] = m.value;
    }
    return out;
  }
  // Items of the configuration in its order, others where they were.
  std::map<std::string, size_t> wanted;
  json::Array named;
  for (auto& i : config.as_array()) wanted[fields::item_key(*s, i, kind)] = wanted.size();
  std::map<std::string, const json::Value*> old;
  for (auto& i : live.as_array()) old[fields::item_key(*s, i, kind)] = &i;
  for (auto& i : config.as_array()) {
    auto it = old.find(fields::item_key(*s, i, kind));
    named.push_back(it == old.end() || kind == Kind::kListSet ? i : merge(s->items.get(), *it->second, i));
  }
  json::Array out;
  size_t next = 0;
  for (auto& i : live.as_array()) {
    if (wanted.count(fields::item_key(*s, i, kind))) {
      if (next < named.size()) out.push_back(named[next++]);
    } else {
      out.push_back(i);
    }
  }
  while (next < named.size()) out.push_back(named[next++]);
  return out;
}

// Takes the fields of `gone` out of the value. True when the value itself should go.
bool remove(const Schema* s, json::Value& v, const Node& gone, const Node* kept) {
  auto kept_child = [&](const std::string& key) -> const Node* {
    if (!kept) return nullptr;
    auto it = kept->children.find(key);
    return it == kept->children.end() ? nullptr : &it->second;
  };
  if (gone.member && (!kept || fields::empty(*kept))) return true;
  Kind kind = fields::kind_of(s, v);
  if (kind == Kind::kStruct) {
    size_t before = v.size();
    for (auto& [key, child] : gone.children) {
      if (!key.starts_with("f:")) continue;
      std::string name = key.substr(2);
      json::Value* m = v.find(name);
      if (m && remove(fields::member_schema(s, name), *m, child, kept_child(key))) v.erase(name);
    }
    return before != 0 && v.size() == 0 && (!kept || fields::empty(*kept));
  }
  if (kind == Kind::kListMap || kind == Kind::kListSet) {
    size_t before = v.size();
    json::Array out;
    for (auto& i : v.arr()) {
      std::string key = fields::item_key(*s, i, kind);
      auto it = gone.children.find(key);
      if (it != gone.children.end() && remove(s->items.get(), i, it->second, kept_child(key))) continue;
      out.push_back(std::move(i));
    }
    v = json::Value(std::move(out));
    return before != 0 && v.size() == 0 && (!kept || fields::empty(*kept));
  }
  return gone.member;
}

std::string describe(const Manager& m) {
  std::string s = "conflict with " + json::quote(m.name);
  if (!m.subresource.empty()) s += " with subresource " + json::quote(m.subresource);
  if (m.operation == "Update") {
    s += " using " + m.api_version;
    if (!m.time.empty()) s += " at " + m.time;
  }
  return s;
}

// The fields that differ, without those that nobody owns.
struct Change {
  FieldSet written, removed;
};
Change change_between(const Schema& schema, const json::Value& a, const json::Value& b, const ApplyOptions& o) {
  fields::Difference d;
  fields::compare(&schema, a, b, d);
  Change c;
  fields::unite_into(d.added, std::move(d.modified));
  c.written.root() = std::move(d.added);
  c.removed.root() = std::move(d.removed);
  c.written.root().member = c.removed.root().member = false;
  strip(c.written, o);
  strip(c.removed, o);
  return c;
}

// Of a set as fieldsV1 has it: whether it holds all of `some`, any of it.
bool holds_all(const json::Value& set, const Node& some) {
  if (some.member && set.size() != 0 && !set.find(".")) return false;
  return std::all_of(some.children.begin(), some.children.end(), [&](auto& c) {
    const json::Value* at = set.find(c.first);
    return at && holds_all(*at, c.second);
  });
}
bool holds_any(const json::Value& set, const Node& some) {
  if (some.member && (set.size() == 0 || set.find("."))) return true;
  return std::any_of(some.children.begin(), some.children.end(), [&](auto& c) {
    const json::Value* at = set.find(c.first);
    return at && holds_any(*at, c.second);
  });
}

// Most updates write again what their manager owns alone (a Lease, a status): then nothing but its time moves.
bool only_time_moves(json::Value& managed, const Manager& self, const Node& written) {
  const json::Array& entries = managed.as_array();
  size_t mine = entries.size();
  for (size_t i = 0; i < entries.size(); ++i) {
    const json::Value& entry = entries[i];
    const bool same = entry["manager"].as_string() == self.name && entry["operation"].as_string() == "Update" &&
                      entry["apiVersion"].as_string() == self.api_version && entry["subresource"].as_string() == self.subresource;
    if (same && holds_all(entry["fieldsV1"], written)) mine = i;
    else if (same || holds_any(entry["fieldsV1"], written)) return false;
  }
  if (mine == entries.size()) return false;
  json::Array& list = managed.arr();
  list[mine]["time"] = self.time;
  auto before = [](const json::Value& a, const json::Value& b) {
    for (auto name : {"operation", "time", "manager", "apiVersion"})
      if (const int order = a[name].as_string().compare(b[name].as_string())) return order < 0;
    return false;
  };
  if (!std::is_sorted(list.begin(), list.end(), before)) std::stable_sort(list.begin(), list.end(), before);
  return true;
}

// What an object has before anything is given to it: upstream's empty struct writes some members.
const json::Value& nothing_given(const Schema& schema) {
  static const json::Value none = json::Value::object();
  if (!schema.built_in) return none;
  static std::mutex mutex;
  static std::map<const TypeInfo*, json::Value> known;
  std::lock_guard lock(mutex);
  auto it = known.find(schema.built_in);
  if (it == known.end()) {
    auto empty = canonical_json(*schema.built_in, none);
    it = known.emplace(schema.built_in, empty.ok() ? empty->freeze() : none).first;
  }
  return it->second;
}

// A creator owns all there is, alone: its entry is written without comparing anything.
bool track_created(const Schema& schema, json::Value& object, const ApplyOptions& o) {
  fields::Unowned unowned;
  unowned.root = {"apiVersion", "kind"};
  for (auto& f : o.reset_fields) unowned.root.push_back(f);
  unowned.metadata.assign(std::begin(kUnownedMetadata), std::end(kUnownedMetadata));
  json::Value set = fields::created_fields_v1(schema, object, nothing_given(schema), unowned);
  if (set.is_null()) return false;
  if (set.size() == 0) return true;
  json::Object e;
  e.append("manager", o.manager);
  e.append("operation", "Update");
  e.append("apiVersion", std::as_const(object)["apiVersion"].as_string());
  e.append("time", format_rfc3339(o.now));
  e.append("fieldsType", "FieldsV1");
  e.append("fieldsV1", std::move(set));
  if (!o.subresource.empty()) e.append("subresource", o.subresource);
  json::Array list;
  list.push_back(std::move(e));
  object["metadata"]["managedFields"] = std::move(list);
  return true;
}

}  // namespace

std::string conflict_message(const std::vector<ApplyConflict>& conflicts) {
  if (conflicts.size() == 1) return "Apply failed with 1 conflict: " + conflicts[0].message + ": " + conflicts[0].field;
  std::map<std::string, std::vector<std::string>> by_manager;
  for (auto& c : conflicts) by_manager[c.message].push_back(c.field);
  std::vector<std::string> lines;
  for (auto& [message, paths] : by_manager) {
    lines.push_back("conflicts" + message.substr(std::string_view("conflict").size()) + ":");
    for (auto& p : paths) lines.push_back("- " + p);
  }
  return "Apply failed with " + std::to_string(conflicts.size()) + " conflicts: " + join(lines, "\n");
}

Result<ApplyOutcome> apply(const Schema& schema, const json::Value* live, const json::Value& sent, const ApplyOptions& o) {
  if (!sent.is_object()) return make_error(Code::kBadRequest, "an applied configuration must be an object");
  if (sent["metadata"]["managedFields"].size())
    return make_error(Code::kBadRequest, "metadata.managedFields must be nil");
  json::Value config = without_nulls(sent);
  config["metadata"].erase("managedFields");
  prune(schema, config);  // unknown fields own nothing
  Manager self{o.manager, "Apply", sent["apiVersion"].as_string(), o.subresource, format_rfc3339(o.now), owned_fields(schema, config, o)};

  ApplyOutcome out;
  if (!live) {
    out.object = std::move(config);
    put_managers(out.object, {self});
    return out;
  }
  std::vector<Manager> managers = read_managers(*live);
  json::Value base = *live;
  base["metadata"].erase("managedFields");
  if (managers.empty()) {
    // An object from before ownership was tracked: what it has belongs to whoever made it.
    managers.push_back({"before-first-apply", "Update", sent["apiVersion"].as_string(), "", format_rfc3339(o.now), owned_fields(schema, base, o)});
  }
  json::Value merged = merge(&schema, base, config);
  if (const json::Value* rv = base["metadata"].find("resourceVersion")) merged["metadata"]["resourceVersion"] = *rv;
  for (auto& f : o.reset_fields) {
    if (const json::Value* was = base.find(f)) merged[f] = *was;
    else merged.erase(f);
  }

  auto mine = std::find_if(managers.begin(), managers.end(), [&](const Manager& m) { return m.same_as(self); });
  FieldSet last = mine == managers.end() ? FieldSet() : mine->set;
  FieldSet kept = self.set;
  for (auto& m : managers)
    if (!m.same_as(self)) kept = kept.unite(m.set);
  FieldSet gone = last.subtract(kept);
  if (!gone.empty()) remove(&schema, merged, gone.root(), &kept.root());

  Change change = change_between(schema, base, merged, o);
  for (auto& m : managers) {
    if (m.same_as(self)) continue;
    // Only what this configuration names can be in conflict.
    FieldSet clash = m.set.intersect(change.written);
    if (!clash.empty() && !o.force)
      for (auto& p : clash.paths()) out.conflicts.push_back({m.name, describe(m), field_path_text(p)});
    m.set = m.set.subtract(clash).subtract(change.removed);
  }
  if (!out.conflicts.empty()) return out;

  if (mine != managers.end()) {
    if (mine->set.to_fields_v1() == self.set.to_fields_v1() && base == merged && mine->api_version == self.api_version) self.time = mine->time;
    *mine = std::move(self);
  } else {
    managers.push_back(std::move(self));
  }
  out.object = std::move(merged);
  put_managers(out.object, std::move(managers));
  return out;
}

void track_update(const Schema& schema, const json::Value* old, json::Value& object, const ApplyOptions& o) {
  const json::Value* sent = object["metadata"].find("managedFields");
  // `managedFields: [{}]` or [] clears what was tracked; anything else a client sends is not believed.
  bool cleared = sent && sent->is_array() && (sent->size() == 0 || (sent->size() == 1 && sent->at(0).size() == 0));
  object["metadata"].erase("managedFields");
  if (cleared && old) return;
  if (!old && track_created(schema, object, o)) return;
  // What both have makes no difference.
  if (old && (*old)["metadata"]["managedFields"].size()) object["metadata"]["managedFields"] = (*old)["metadata"]["managedFields"];
  Change change = change_between(schema, old ? *old : nothing_given(schema), object, o);
  if (old && change.written.empty() && change.removed.empty()) return;
  Manager self{o.manager, "Update", object["apiVersion"].as_string(), o.subresource, format_rfc3339(o.now), {}, {}};
  if (json::Value* managed = object["metadata"].find("managedFields"); managed && change.removed.empty() && only_time_moves(*managed, self, change.written.root())) return;
  std::vector<Manager> managers = old ? managers_of(*old) : std::vector<Manager>();
  bool found = false;
  for (auto& m : managers) {
    if (m.same_as(self)) {
      found = true;
      m.read();
      FieldSet now = m.set.unite(change.written).subtract(change.removed);
      if (!change.written.empty() || !change.removed.intersect(m.set).empty()) m.time = self.time;
      m.set = std::move(now);
    } else if (holds_any(m.unread, change.written.root()) || holds_any(m.unread, change.removed.root())) {
      m.read();
      m.set = m.set.subtract(change.written).subtract(change.removed);
    }
  }
  if (!found && !change.written.empty()) {
    self.set = std::move(change.written);
    managers.push_back(std::move(self));
  }
  put_managers(object, std::move(managers));
}

}  // namespace caravel::kube
