#include "cloud/records.h"

namespace caravel::cloud {

const Records::Table& Records::table(std::string_view name) const {
  static const Table empty;
  auto it = tables_.find(name);
  return it == tables_.end() ? empty : it->second;
}

const Value* Records::find(std::string_view t, std::string_view id) const {
  const Table& tab = table(t);
  auto it = tab.find(id);
  return it == tab.end() ? nullptr : &it->second;
}

void Records::remember(std::string_view t, std::string_view id) {
  std::pair<std::string, std::string> key{t, id};
  if (undo_.count(key)) return;
  const Value* v = find(t, id);
  undo_.emplace(std::move(key), v ? std::optional<Value>(*v) : std::nullopt);
}

Value& Records::edit(std::string_view t, std::string_view id) {
  remember(t, id);
  auto it = tables_.find(t);
  if (it == tables_.end()) it = tables_.emplace(std::string(t), Table()).first;
  auto r = it->second.find(id);
  if (r == it->second.end()) r = it->second.emplace(std::string(id), Value::object()).first;
  return r->second;
}

bool Records::erase(std::string_view t, std::string_view id) {
  if (!find(t, id)) return false;
  remember(t, id);
  Table& tab = tables_.find(t)->second;
  tab.erase(tab.find(id));
  return true;
}

std::set<std::string> Records::changed_tables() const {
  std::set<std::string> out;
  for (auto& [k, v] : undo_) out.insert(k.first);
  return out;
}

std::vector<Change> Records::commit() {
  std::vector<Change> out;
  for (auto& [k, old] : undo_) {
    const Value* now = find(k.first, k.second);
    if (!now && !old) continue;
    if (now && old && *now == *old) continue;
    Change c{k.first, k.second, std::nullopt};
    if (now) c.value = *now;
    out.push_back(std::move(c));
  }
  undo_.clear();
  return out;
}

void Records::rollback() {
  for (auto& [k, old] : undo_) {
    Table& t = tables_.find(k.first)->second;
    if (old) t[k.second] = std::move(*old);
    else t.erase(k.second);
  }
  undo_.clear();
}

void Records::replay(Change c) {
  Table& t = tables_[c.table];
  if (c.value) t[c.id] = std::move(*c.value);
  else t.erase(c.id);
}

std::vector<Change> Records::snapshot() const {
  std::vector<Change> out;
  for (auto& [name, t] : tables_)
    for (auto& [id, v] : t) out.push_back(Change{name, id, v});
  return out;
}

}  // namespace caravel::cloud
