// cel-go's extensions for sets and lists that Kubernetes offers beside its own (ext.Sets, ext.Lists version 3).
#include <algorithm>

#include "kube/cel/functions.h"

namespace caravel::kube::cel {

namespace {

using Items = std::vector<Value>;

bool holds(const Items& l, const Value& x) {
  return std::any_of(l.begin(), l.end(), [&](const Value& y) { return equal(x, y); });
}
bool holds_all(const Items& l, const Items& of) {
  return std::all_of(of.begin(), of.end(), [&](const Value& x) { return holds(l, x); });
}

Result<Value> sets_contains(Arguments a) { return Value::boolean(holds_all(a[0].items(), a[1].items())); }
Result<Value> sets_equivalent(Arguments a) { return Value::boolean(holds_all(a[0].items(), a[1].items()) && holds_all(a[1].items(), a[0].items())); }
Result<Value> sets_intersects(Arguments a) {
  auto& of = a[1].items();
  return Value::boolean(std::any_of(of.begin(), of.end(), [&](const Value& x) { return holds(a[0].items(), x); }));
}

// The first of equal ones stays where it is.
Result<Value> distinct(Arguments a) {
  Items out;
  for (auto& x : a[0].items())
    if (!holds(out, x)) out.push_back(x);
  return Value::list(std::move(out));
}

// By keys of one type that has an order.
Result<Value> sorted_by(Arguments a) {
  const Items &items = a[0].items(), &keys = a[1].items();
  if (items.size() != keys.size()) return invalid("@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got " + std::to_string(items.size()) + " and " + std::to_string(keys.size()) + " elements respectively");
  if (!keys.empty() && !compare(keys[0], keys[0]).ok()) return invalid("list elements must be comparable");
  for (auto& k : keys)
    if (type_name(k) != type_name(keys[0])) return invalid("list elements must have the same type");
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) {
    auto c = compare(keys[x], keys[y]);
    return c.ok() && *c < 0;
  });
  Items out;
  for (size_t i : order) out.push_back(items[i]);
  return Value::list(std::move(out));
}
Result<Value> sorted(Arguments a) {
  const Value both[] = {a[0], a[0]};
  return sorted_by(Arguments(both, 2));
}

Result<Value> range(Arguments a) {
  if (a[0].i() > kRangeMax) return invalid("lists.range of " + std::to_string(a[0].i()) + " is longer than " + std::to_string(kRangeMax));
  Items out;
  for (int64_t i = 0; i < a[0].i(); ++i) out.push_back(Value::integer(i));
  return Value::list(std::move(out));
}

Result<Value> first(Arguments a) { return a[0].items().empty() ? Value::none() : Value::some(a[0].items().front()); }
Result<Value> last(Arguments a) { return a[0].items().empty() ? Value::none() : Value::some(a[0].items().back()); }
Result<Value> backwards(Arguments a) { return Value::list(Items(a[0].items().rbegin(), a[0].items().rend())); }

constexpr Function kCollections[] = {
    {"sets.contains", false, "bLL", sets_contains},
    {"sets.equivalent", false, "bLL", sets_equivalent},
    {"sets.intersects", false, "bLL", sets_intersects},
    {"distinct", true, "LL", distinct},
    {"sort", true, "LE", sorted},
    {"@sortByAssociatedKeys", true, "LLE", sorted_by},
    {"reverse", true, "LL", backwards},
    {"lists.range", false, "Ii", range},
    {"first", true, "OL", first},
    {"last", true, "OL", last},
};

}  // namespace

std::span<const Function> collection_functions() { return kCollections; }

}  // namespace caravel::kube::cel
