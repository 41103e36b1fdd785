#include "kube/cel/cost.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace caravel::kube::cel {

namespace {

using K = Type::Kind;

constexpr uint64_t kUnbounded = UINT64_MAX;
constexpr uint64_t kStep = 1, kNewList = 10, kNewMap = 30, kNewStruct = 40;
constexpr double kPerCharacter = 0.1, kPerRegexCharacter = 0.25;
constexpr uint64_t kNameRegexBytes = 128;
constexpr uint64_t kAddressBytes = 16;

uint64_t scaled(uint64_t n, double factor) {
  double x = std::ceil(static_cast<double>(n) * factor);
  return x >= 0x1p64 ? kUnbounded : static_cast<uint64_t>(x);
}

// Of a text, bytes, a list or a map.
struct Size {
  uint64_t min = 0, max = kUnbounded;

  static Size fixed(uint64_t n) { return {n, n}; }
  Size operator+(const Size& o) const { return {saturating_add(min, o.min), saturating_add(max, o.max)}; }
  Size operator*(const Size& o) const { return {saturating_multiply(min, o.min), saturating_multiply(max, o.max)}; }
  Size operator|(const Size& o) const { return {std::min(min, o.min), std::max(max, o.max)}; }
  uint64_t reading() const { return scaled(max, kPerCharacter); }
};

// Of the items of a list, or the keys and values of a map.
struct Entry {
  bool list = true;
  Size key, value;
};
std::optional<Entry> both(const std::optional<Entry>& a, const std::optional<Entry>& b) {
  if (!a || !b) return std::nullopt;
  return Entry{a->list, a->key | b->key, a->value | b->value};
}

// From a variable down: names of fields, "@items", "@keys", "@values", "@indices".
using Path = std::vector<std::string>;

struct Local {
  std::string name;
  Path path;
  std::optional<Size> size;
  std::optional<Entry> entry;
};

struct Call {
  uint64_t cost = 0;
  std::optional<Size> result;
};

bool scalar(const Type& t) {
  switch (t.kind) {
    case K::kBool:
    case K::kDouble:
    case K::kDuration:
    case K::kInt:
    case K::kTimestamp:
    case K::kUint: return true;
    case K::kOptional: return t.item && scalar(*t.item);
    default: return false;
  }
}

bool one_of_names(std::string_view name, std::initializer_list<std::string_view> names) { return std::find(names.begin(), names.end(), name) != names.end(); }

class Estimator {
 public:
  Estimator(const CheckedNodes& nodes, const ObjectSchema& self) : nodes_(nodes), self_(self) {}

  uint64_t cost(const Expr& e) {
    switch (e.kind) {
      case Expr::Kind::kLiteral: return 0;
      case Expr::Kind::kIdent: {
        const Local* v = local(e.name);
        paths_[&e] = v ? v->path : Path{e.name};
        return kStep;
      }
      case Expr::Kind::kSelect: return select(e);
      case Expr::Kind::kHas: return cost(*e.args[0]);
      case Expr::Kind::kCall: return call(e);
      case Expr::Kind::kAnd:
      case Expr::Kind::kOr: return sum(e);
      case Expr::Kind::kIf: return conditional(e);
      case Expr::Kind::kList: return list(e);
      case Expr::Kind::kMap: return map(e);
      case Expr::Kind::kStruct: return saturating_add(sum(e), kNewStruct);
      case Expr::Kind::kMacro: return macro(e);
    }
    return 0;
  }

 private:
  uint64_t sum(const Expr& e, size_t from = 0) {
    uint64_t out = 0;
    for (size_t i = from; i < e.args.size(); ++i) out = saturating_add(out, cost(*e.args[i]));
    return out;
  }

  const Type& type_of(const Expr& e) const {
    static const TypePtr dyn = simple_type(K::kDyn);
    auto it = nodes_.find(&e);
    return it == nodes_.end() || !it->second.type ? *dyn : *it->second.type;
  }
  const Local* local(std::string_view name) const {
    for (size_t i = locals_.size(); i-- > 0;)
      if (locals_[i].name == name) return &locals_[i];
    return nullptr;
  }
  Path path_of(const Expr& e) const {
    if (e.kind == Expr::Kind::kIdent)
      if (const Local* v = local(e.name)) return v->path;
    auto it = paths_.find(&e);
    return it == paths_.end() ? Path() : it->second;
  }

  // What the schema says about the size of what stands there. As upstream has it, any variable counts as self.
  std::optional<Size> schema_size(const Path& path) const {
    if (path.empty()) return std::nullopt;
    static const ObjectSchema text;
    const ObjectSchema* at = &self_;
    for (size_t i = 1; i < path.size() && at; ++i) at = step(*at, path[i], text);
    if (!at) return std::nullopt;
    return Size{0, at->max_elements};
  }
  static const ObjectSchema* step(const ObjectSchema& s, const std::string& name, const ObjectSchema& key) {
    bool is_map = s.cel_type && s.cel_type->kind == K::kMap;
    if (name == "@items" || name == "@values") return is_map ? s.additional.get() : s.items.get();
    if (name == "@keys") return is_map ? &key : nullptr;
    for (auto& p : s.properties)
      if (p.expression_name == name) return p.schema->cel_type ? p.schema.get() : nullptr;
    return nullptr;
  }

  std::optional<Size> known_size(const Expr& e) {
    if (auto it = sizes_.find(&e); it != sizes_.end()) return it->second;
    if (e.kind == Expr::Kind::kLiteral) {
      if (e.literal.is(Kind::kString)) return Size::fixed(characters(e.literal.s()));
      return Size::fixed(e.literal.is(Kind::kBytes) ? e.literal.s().size() : 1);
    }
    if (e.kind == Expr::Kind::kList) return Size::fixed(e.args.size());
    if (e.kind == Expr::Kind::kMap) return Size::fixed(e.args.size() / 2);
    if (auto size = schema_size(path_of(e))) return sizes_[&e] = *size;
    if (scalar(type_of(e))) return Size::fixed(1);
    const Local* v = e.kind == Expr::Kind::kIdent ? local(e.name) : nullptr;
    return v ? v->size : std::nullopt;
  }
  static uint64_t characters(const std::string& s) {
    return static_cast<uint64_t>(std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  }
  Size size_of(const Expr& e) { return known_size(e).value_or(Size()); }
  std::optional<Entry> entry_of(const Expr& e) const {
    if (auto it = entries_.find(&e); it != entries_.end()) return it->second;
    const Local* v = e.kind == Expr::Kind::kIdent ? local(e.name) : nullptr;
    return v ? v->entry : std::nullopt;
  }
  void set_entry(const Expr& e, const std::optional<Entry>& entry) {
    if (entry) entries_[&e] = *entry;
  }
  void copy_sizes(const Expr& to, const Expr& from) {
    if (auto size = known_size(from)) sizes_[&to] = *size;
    set_entry(to, entry_of(from));
  }

  uint64_t select(const Expr& e) {
    uint64_t out = cost(*e.args[0]);
    if (e.optional) return saturating_add(out, kStep);
    K of = type_of(*e.args[0]).kind;
    if (of == K::kMap || of == K::kObject || of == K::kOpaque) out = saturating_add(out, kStep);
    Path path = path_of(*e.args[0]);
    path.push_back(e.name);
    paths_[&e] = std::move(path);
    return out;
  }
  uint64_t conditional(const Expr& e) {
    uint64_t out = cost(*e.args[0]), yes = cost(*e.args[1]), no = cost(*e.args[2]);
    set_entry(e, both(entry_of(*e.args[1]), entry_of(*e.args[2])));
    Size size = size_of(*e.args[1]) | size_of(*e.args[2]);
    sizes_[&e] = size;
    return saturating_add(out, std::max(yes, no));
  }
  uint64_t list(const Expr& e) {
    uint64_t out = kNewList;
    Size item{e.args.empty() ? 0 : kUnbounded, 0};
    for (auto& a : e.args) {
      out = saturating_add(out, cost(*a));
      item = item | size_of(*a);
    }
    entries_[&e] = {true, Size::fixed(1), item};
    return out;
  }
  uint64_t map(const Expr& e) {
    uint64_t out = kNewMap;
    Size parts[2] = {{e.args.empty() ? 0 : kUnbounded, 0}, {e.args.empty() ? 0 : kUnbounded, 0}};
    for (size_t i = 0; i < e.args.size(); ++i) {
      out = saturating_add(out, cost(*e.args[i]));
      parts[i % 2] = parts[i % 2] | size_of(*e.args[i]);
    }
    entries_[&e] = {false, parts[0], parts[1]};
    return out;
  }

  uint64_t call(const Expr& e) {
    if (e.name == "dyn" && e.args.size() == 1) {
      uint64_t out = saturating_add(cost(*e.args[0]), kStep);
      copy_sizes(e, *e.args[0]);
      return out;
    }
    uint64_t parts = sum(e);
    auto node = nodes_.find(&e);
    if (node == nodes_.end() || node->second.overloads.empty()) return saturating_add(parts, kStep);
    uint64_t worst = 0;
    std::optional<Size> result;
    for (const Function* f : node->second.overloads) {
      Call c = overload(e, f->signature);
      worst = std::max(worst, c.cost);
      if (c.result) result = result ? *result | *c.result : *c.result;
      if (e.name == "_[_]") {
        auto entry = entry_of(*e.args[0]);
        result = entry ? std::optional<Size>(entry->value) : std::nullopt;
        Path path = path_of(*e.args[0]);
        path.push_back(f->signature[1] == 'L' ? "@items" : "@values");
        paths_[&e] = std::move(path);
      }
      if (!result) result = known_size(e);
    }
    if (result) sizes_[&e] = *result;
    return saturating_add(parts, worst);
  }

  // The call itself, without what its arguments cost. The first argument of a member call is its receiver.
  Call overload(const Expr& e, std::string_view signature) {
    const std::string& name = e.name;
    auto size = [&](size_t i) { return i < e.args.size() ? size_of(*e.args[i]) : Size(); };
    const char first = signature.size() > 1 ? signature[1] : ' ';
    const bool is_text = first == 's' || first == 'y';
    if (name == "_+_" && (is_text || first == 'L')) {
      set_entry(e, both(entry_of(*e.args[0]), entry_of(*e.args[1])));
      Size all = size(0) + size(1);
      return {is_text ? all.reading() : kStep, all};
    }
    bool equality = name == "_==_" || name == "_!=_";
    constexpr uint64_t kFormatBytes = 64;
    if (name == "_==_" && type_of(*e.args[0]).kind == K::kFormat && type_of(*e.args[1]).kind == K::kFormat) return {scaled(kFormatBytes, kPerCharacter), {}};
    if (equality || (is_text && one_of_names(name, {"_<_", "_<=_", "_>_", "_>=_"}))) {
      if (name == "_==_" && unit_equality(type_of(*e.args[0]).kind) && type_of(*e.args[0]).kind == type_of(*e.args[1]).kind) return {kStep, {}};
      return {scaled(std::min(size(0).max, size(1).max), kPerCharacter), {}};
    }
    if (name == "@in" && signature.back() == 'L') return {size(1).max, {}};
    if (one_of_names(name, {"isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"})) return {search(*e.args[0]), {}};
    if (one_of_names(name, {"url", "jsonpatch.escapeKey", "lowerAscii", "upperAscii", "substring", "trim"})) return {size(0).reading(), size(0)};
    if (one_of_names(name, {"cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"})) return {size(0).reading(), {}};
    if (name == "ip" && !e.member) return {size(0).reading(), {}};
    if (name == "ip.isCanonical") return {scaled(size(0).max, 2 * kPerCharacter), {}};
    if (name == "containsIP" || name == "containsCIDR") return {contains_address(name == "containsCIDR", signature.back() == 's', size(1)), {}};
    if (name == "validate") return {scaled(size(1).reading(), kNameRegexBytes * kPerRegexCharacter), {}};
    if (name == "bytes" && first == 's') return {size(0).reading(), Size{size(0).min, saturating_multiply(size(0).max, 4)}};
    if (name == "string" && first == 'y') return {size(0).reading(), Size{size(0).min / 4, size(0).max}};
    if (name == "strings.quote") return {size(0).reading(), size(0) * Size{1, 2} + Size::fixed(2)};
    if (name == "format") return {size(0).reading(), {}};
    if (name == "startsWith" || name == "endsWith") return {size(1).reading(), {}};
    if (name == "contains") return {saturating_multiply(size(0).reading(), size(1).reading()), {}};
    if (name == "matches" && e.member) return {regex(size(0), size(1)), {}};
    if (name == "find" || name == "findAll") return {regex(size(0), size(1)), Size{0, size(0).max}};
    if (name == "replace") return {scaled(size(0).max, 2 * kPerCharacter), replaced(size(0), size(1), size(2))};
    if (name == "split") return {scaled(size(0).max, 2 * kPerCharacter), Size{0, integer(e, 2).value_or(size(0).max)}};
    if (name == "join") return joined(e);
    if (name == "slice") {
      uint64_t n = integer(e, 2).value_or(size(0).max) - integer(e, 1).value_or(0);
      return {saturating_add(n, kStep + kNewList), Size::fixed(n)};
    }
    if (name == "flatten") {
      const Size all = size(0);
      const uint64_t depth = e.args.size() < 2 ? 1 : integer(e, 1).value_or(kUnbounded);
      return {saturating_add(saturating_multiply(all.max, depth), kStep + kNewList), all};
    }
    if (name == "reverse" && first == 'L') return {saturating_add(size(0).max, kStep + kNewList), size(0)};
    // Each item against each.
    if (name == "distinct" || name == "sort") return self_comparison(size(0), name == "sort" ? type_of(*e.args[0]) : *simple_type(K::kDyn));
    if (one_of_names(name, {"sets.contains", "sets.intersects", "sets.equivalent"}))
      return {saturating_add(saturating_multiply(saturating_multiply(size(0).max, size(1).max), name == "sets.equivalent" ? 2 : 1), kStep), {}};
    if (name == "lists.range") {
      uint64_t n = integer(e, 0).value_or(kUnbounded);
      return {saturating_add(n, kStep + kNewList), Size::fixed(n)};
    }
    return {kStep, {}};
  }
  static Call self_comparison(Size n, const Type& list) {
    const bool texts = list.kind == K::kList && list.item && (list.item->kind == K::kString || list.item->kind == K::kBytes);
    const Size all = n * n;
    return {saturating_add(scaled(all.max, texts ? 2 + kPerCharacter : 2), kStep + kNewList), all};
  }
  static bool unit_equality(K k) { return k == K::kIp || k == K::kCidr || k == K::kQuantity || k == K::kUrl || k == K::kSemver || k == K::kOpaque; }
  static std::optional<uint64_t> integer(const Expr& e, size_t i) {
    if (i >= e.args.size() || e.args[i]->kind != Expr::Kind::kLiteral || !e.args[i]->literal.is(Kind::kInt)) return std::nullopt;
    return static_cast<uint64_t>(e.args[i]->literal.i());
  }
  static uint64_t regex(Size text, Size pattern) {
    return saturating_multiply((text + Size::fixed(1)).reading(), scaled(pattern.max, kPerRegexCharacter));
  }
  static uint64_t contains_address(bool whole_range, bool from_text, Size text) {
    uint64_t out = scaled(2 * kAddressBytes, kPerCharacter);
    if (whole_range) out += scaled(kAddressBytes, kPerCharacter) + 1;
    return from_text ? saturating_add(out, text.reading()) : out;
  }
  // Comparing every item of a list once, or reading a text.
  uint64_t search(const Expr& in) {
    const Type& t = type_of(in);
    if (t.kind != K::kList) return size_of(in).reading();
    uint64_t each = kStep;
    if (t.item && (t.item->kind == K::kString || t.item->kind == K::kBytes)) each = saturating_add(each, item_size(in).reading());
    return saturating_multiply(size_of(in).max, each);
  }
  Size item_size(const Expr& list) {
    Path path = path_of(list);
    if (path.empty()) return Size();
    path.push_back("@items");
    return schema_size(path).value_or(Size());
  }
  static Size replaced(Size text, Size what, Size with) {
    Size count{0, 0}, kept{0, 0};
    if (what.min == 0) {
      count.max = saturating_add(text.max, 1);
      kept.max = text.max;
    } else if (with.max <= what.min) {
      kept.max = text.max;
    } else {
      count.max = scaled(text.max, 1.0 / static_cast<double>(what.min));
    }
    if (what.max == 0) {
      count.min = saturating_add(text.min, 1);
      kept.min = text.min;
    } else if (what.max <= with.min) {
      kept.min = text.min;
    } else {
      count.min = scaled(text.min, 1.0 / static_cast<double>(what.max));
    }
    return count * with + kept;
  }
  Call joined(const Expr& e) {
    Size n = size_of(*e.args[0]), all = type_of(*e.args[0]).kind == K::kList ? n * item_size(*e.args[0]) : Size{0, 0};
    if (e.args.size() > 1) all = all + size_of(*e.args[1]) * Size{n.min ? n.min - 1 : 0, n.max ? n.max - 1 : 0};
    return {all.reading(), all};
  }

  uint64_t macro(const Expr& e) {
    if (e.name == "optMap" || e.name == "optFlatMap") return binding(e);
    if (e.name == "sortBy") return sorting(e);
    uint64_t out = cost(*e.args[0]);
    const size_t depth = locals_.size();
    push_variables(e);
    const uint64_t first = cost(*e.args[1]), second = e.args.size() > 2 ? cost(*e.args[2]) : 0;
    const Size n = size_of(*e.args[0]);
    const bool filtered = e.name == "filter" || e.args.size() > 2;
    uint64_t each = 0;
    if (e.name == "all" || e.name == "exists") {
      each = saturating_add(first, e.name == "all" ? 3 : 4);
      sizes_[&e] = Size::fixed(1);
      out = saturating_add(out, kStep);
    } else if (e.name == "exists_one") {
      each = saturating_add(first, 2);
      sizes_[&e] = Size::fixed(1);
      out = saturating_add(out, 2 * kStep);
    } else {
      const bool to_map = e.name == "transformMap" || e.name == "transformMapEntry";
      // The step adds to what there is: a list of one, or an entry of a map.
      uint64_t value = e.name == "filter" ? kStep : filtered ? second
                                                             : first;
      each = saturating_add(value, to_map ? (e.name == "transformMap" ? 3 : 2) * kStep : kNewList + 2 * kStep);
      if (filtered) each = saturating_add(each, first);
      Size item = e.name == "filter" ? variable_size() : size_of(*e.args[filtered ? 2 : 1]);
      if (!to_map) entries_[&e] = {true, Size::fixed(1), Size{0, item.max}};
      sizes_[&e] = n;
      out = saturating_add(out, (to_map ? kNewMap : kNewList) + kStep);
    }
    locals_.resize(depth);
    return saturating_add(out, saturating_multiply(n.max, each));
  }
  // A binding of the list to a name, which is mapped to its keys, and sorted by them.
  uint64_t sorting(const Expr& e) {
    uint64_t out = saturating_add(cost(*e.args[0]), kNewList);
    const size_t depth = locals_.size();
    push_variables(e);
    const uint64_t each = saturating_add(cost(*e.args[1]), kNewList + 2 * kStep);
    const Size n = size_of(*e.args[0]);
    locals_.resize(depth);
    const uint64_t keys = saturating_add(kStep + kNewList + kStep, saturating_multiply(n.max, each));
    const Call sorted = self_comparison(n, *list_type(std::make_shared<const Type>(type_of(*e.args[1]))));
    sizes_[&e] = *sorted.result;
    return saturating_add(saturating_add(out, kStep), saturating_add(keys, sorted.cost));
  }
  Size variable_size() const { return schema_size(locals_.back().path).value_or(locals_.back().size.value_or(Size())); }
  void push_variables(const Expr& e) {
    const Expr& range = *e.args[0];
    std::optional<Entry> entry = entry_of(range);
    const bool is_list = entry ? entry->list : type_of(range).kind == K::kList;
    auto push = [&](const std::string& name, const char* part, bool value) {
      Path path = path_of(range);
      path.push_back(part);
      std::optional<Size> size;
      if (entry) size = value ? entry->value : entry->key;
      locals_.push_back({name, std::move(path), size, {}});
    };
    const bool two = e.variables.size() == 2;
    if (!two) return push(e.variables[0], is_list ? "@items" : "@keys", is_list);
    push(e.variables[0], is_list ? "@indices" : "@keys", false);
    push(e.variables[1], is_list ? "@items" : "@values", true);
  }
  uint64_t binding(const Expr& e) {
    const uint64_t value = cost(*e.args[0]);
    locals_.push_back({e.variables[0], {}, {}, {}});
    const uint64_t body = saturating_add(cost(*e.args[1]), kNewList);
    locals_.pop_back();
    // hasValue(), then value() and the body; the optional that holds the result.
    const uint64_t twice = saturating_multiply(value, 2);
    return saturating_add(saturating_add(twice, body), e.name == "optMap" ? 3 * kStep : 2 * kStep);
  }

  const CheckedNodes& nodes_;
  const ObjectSchema& self_;
  std::vector<Local> locals_;
  std::unordered_map<const Expr*, Path> paths_;
  std::unordered_map<const Expr*, Size> sizes_;
  std::unordered_map<const Expr*, Entry> entries_;
};

}  // namespace

uint64_t saturating_add(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
uint64_t saturating_multiply(uint64_t a, uint64_t b) { return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b; }

uint64_t worst_cost(const Expr& expr, const CheckedNodes& nodes, const ObjectSchema& self) { return Estimator(nodes, self).cost(expr); }

}  // namespace caravel::kube::cel
