// Records: the cloud's whole state, as tables of trees, with one open transaction at a time.
// Every change is remembered until commit() (which returns it for the journal) or rollback().
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace caravel::cloud {

using json::Value;

struct Change {
  std::string table, id;
  std::optional<Value> value;  // absent: erased
};

class Records {
 public:
  using Table = std::map<std::string, Value, std::less<>>;

  const Value* find(std::string_view table, std::string_view id) const;
  const Table& table(std::string_view name) const;
  // A record to change; it is created empty if there is none. The reference holds until the next erase.
  Value& edit(std::string_view table, std::string_view id);
  void put(std::string_view table, std::string_view id, Value v) { edit(table, id) = std::move(v); }
  bool erase(std::string_view table, std::string_view id);

  bool changed() const { return !undo_.empty(); }
  std::set<std::string> changed_tables() const;
  std::vector<Change> commit();
  void rollback();
  // Applies a journal's change, outside any transaction.
  void replay(Change c);
  std::vector<Change> snapshot() const;

 private:
  void remember(std::string_view table, std::string_view id);
  std::map<std::string, Table, std::less<>> tables_;
  std::map<std::pair<std::string, std::string>, std::optional<Value>> undo_;
};

}  // namespace caravel::cloud
