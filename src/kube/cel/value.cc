#include "kube/cel/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/clock.h"
#include "base/strings.h"

namespace caravel::kube::cel {

namespace {
constexpr size_t kIndexFrom = 12;  // entries: below, a scan is faster

// -1, 0, 1; 2 when one is not a number.
int compare_int_double(int64_t i, double d) {
  if (std::isnan(d)) return 2;
  if (d >= 9223372036854775808.0) return -1;
  if (d < -9223372036854775808.0) return 1;
  double whole = std::floor(d);
  auto w = static_cast<int64_t>(whole);
  if (i != w) return i < w ? -1 : 1;
  return d > whole ? -1 : 0;
}
int compare_uint_double(uint64_t u, double d) {
  if (std::isnan(d)) return 2;
  if (d >= 18446744073709551616.0) return -1;
  if (d < 0) return 1;
  double whole = std::floor(d);
  auto w = static_cast<uint64_t>(whole);
  if (u != w) return u < w ? -1 : 1;
  return d > whole ? -1 : 0;
}
template <class T>
int order(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1
                            : 0;
}
int compare_numbers(const Value& a, const Value& b) {
  using enum Kind;
  if (a.kind() == b.kind()) {
    if (a.is(kInt)) return order(a.i(), b.i());
    if (a.is(kUint)) return order(a.u(), b.u());
    if (std::isnan(a.d()) || std::isnan(b.d())) return 2;
    return order(a.d(), b.d());
  }
  auto flip = [](int c) { return c == 2 ? 2 : -c; };
  if (a.is(kInt) && b.is(kUint)) return a.i() < 0 ? -1 : order(a.u(), b.u());
  if (a.is(kUint) && b.is(kInt)) return b.i() < 0 ? 1 : order(a.u(), b.u());
  if (a.is(kInt)) return compare_int_double(a.i(), b.d());
  if (b.is(kInt)) return flip(compare_int_double(b.i(), a.d()));
  if (a.is(kUint)) return compare_uint_double(a.u(), b.d());
  return flip(compare_uint_double(b.u(), a.d()));
}

bool same_keys(const Value& a, const Value& b, const std::vector<std::string>& keys) {
  if (!a.is(Kind::kMap) || !b.is(Kind::kMap)) return false;
  for (auto& k : keys) {
    const Value *x = a.find(k), *y = b.find(k);
    if (!x != !y || (x && !equal(*x, *y))) return false;
  }
  return true;
}

bool equal_lists(const List& a, const List& b) {
  if (a.items.size() != b.items.size()) return false;
  if (a.style == List::Style::kPlain) {
    for (size_t i = 0; i < a.items.size(); ++i)
      if (!equal(a.items[i], b.items[i])) return false;
    return true;
  }
  return std::all_of(a.items.begin(), a.items.end(), [&](const Value& x) {
    return std::any_of(b.items.begin(), b.items.end(), [&](const Value& y) {
      return (a.style == List::Style::kSet || same_keys(x, y, a.keys)) && equal(x, y);
    });
  });
}

bool equal_maps(const Map& a, const Map& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (auto& [k, v] : a.entries) {
    const Value* other = b.find(k);
    if (!other || !equal(v, *other)) return false;
  }
  return true;
}
}  // namespace

Value Value::list(std::vector<Value> items) { return list(List{std::move(items), List::Style::kPlain, {}}); }
Value Value::list(List l) { return Value(Kind::kList, std::make_shared<const List>(std::move(l))); }
Value Value::map(std::vector<std::pair<Value, Value>> entries) {
  auto m = std::make_shared<Map>();
  m->entries = std::move(entries);
  if (m->entries.size() >= kIndexFrom)
    for (size_t i = 0; i < m->entries.size(); ++i)
      if (m->entries[i].first.is(Kind::kString)) m->texts.emplace(m->entries[i].first.s(), i);
  return Value(Kind::kMap, std::shared_ptr<const Map>(std::move(m)));
}
Value Value::url(Url u) { return Value(Kind::kUrl, std::make_shared<const Url>(std::move(u))); }
Value Value::network(Kind kind, Network n) { return Value(kind, std::make_shared<const Network>(n)); }

const std::vector<Value>& Value::items() const { return as_list().items; }
const Value* Value::find(std::string_view key) const { return is(Kind::kMap) ? as_map().find(key) : nullptr; }

const Value* Map::find(std::string_view key) const {
  if (!texts.empty()) {
    auto it = texts.find(key);
    return it == texts.end() ? nullptr : &entries[it->second].second;
  }
  for (auto& [k, v] : entries)
    if (k.is(Kind::kString) && k.s() == key) return &v;
  return nullptr;
}
const Value* Map::find(const Value& key) const {
  if (key.is(Kind::kString)) return find(std::string_view(key.s()));
  for (auto& [k, v] : entries)
    if (equal(k, key)) return &v;
  return nullptr;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNull: return true;
    case Kind::kBool:
    case Kind::kDuration:
    case Kind::kTimestamp: return a.i() == b.i();
    case Kind::kString:
    case Kind::kBytes:
    case Kind::kType: return a.s() == b.s();
    case Kind::kList: return equal_lists(a.as_list(), b.as_list());
    case Kind::kMap: return equal_maps(a.as_map(), b.as_map());
    case Kind::kOptional: return !a.held() == !b.held() && (!a.held() || equal(*a.held(), *b.held()));
    case Kind::kQuantity: return a.q() == b.q();
    case Kind::kUrl: return a.as_url().text == b.as_url().text;
    case Kind::kIp:
    case Kind::kCidr: {
      const Network &x = a.as_network(), &y = b.as_network();
      return x.family == y.family && x.prefix == y.prefix && std::memcmp(x.bytes, y.bytes, sizeof x.bytes) == 0;
    }
    case Kind::kOpaque: return a.as_opaque().equals(b.as_opaque());
    case Kind::kInt:
    case Kind::kUint:
    case Kind::kDouble: break;  // numbers were compared above
  }
  return false;
}

Result<int> compare(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.kind() == b.kind()) switch (a.kind()) {
      case Kind::kBool:
      case Kind::kDuration:
      case Kind::kTimestamp: return order(a.i(), b.i());
      case Kind::kString:
      case Kind::kBytes: return order(a.s(), b.s());
      case Kind::kQuantity: return order(a.q(), b.q());
      default: break;
    }
  return invalid("no such overload");
}

Result<Value> Opaque::select(std::string_view field) const { return invalid("no such key: " + std::string(field)); }
Result<Value> Opaque::call(std::string_view, const std::vector<Value>&) const { return invalid("no such overload"); }

std::string type_name(const Value& v) {
  if (v.is(Kind::kOpaque)) return v.as_opaque().type_name();
  static constexpr const char* kNames[] = {"null_type", "bool", "int", "uint", "double", "string", "bytes", "list", "map", "google.protobuf.Duration",
                                           "google.protobuf.Timestamp", "type", "optional_type", "kubernetes.Quantity", "kubernetes.URL", "net.IP", "net.CIDR"};
  return kNames[static_cast<size_t>(v.kind())];
}

Value from_json(const json::Value& v) {
  switch (v.type()) {
    case json::Type::kNull: return Value();
    case json::Type::kBool: return Value::boolean(v.as_bool());
    case json::Type::kInt: return Value::integer(v.as_int());
    case json::Type::kDouble: return Value::number(v.as_double());
    case json::Type::kString: return Value::string(v.as_string());
    case json::Type::kArray: {
      std::vector<Value> items;
      items.reserve(v.size());
      for (auto& x : v.as_array()) items.push_back(from_json(x));
      return Value::list(std::move(items));
    }
    case json::Type::kObject: {
      std::vector<std::pair<Value, Value>> entries;
      entries.reserve(v.size());
      for (auto& m : v.as_object()) entries.emplace_back(Value::string(m.key), from_json(m.value));
      return Value::map(std::move(entries));
    }
  }
  return Value();
}

json::Value to_json(const Value& v) {
  switch (v.kind()) {
    case Kind::kBool: return v.is_true();
    case Kind::kInt: return v.i();
    case Kind::kUint: return v.u();
    case Kind::kDouble: return v.d();
    case Kind::kString:
    case Kind::kType: return v.s();
    case Kind::kBytes: return base64_encode(v.s());
    case Kind::kDuration: return format_duration(Duration(v.i()));
    case Kind::kTimestamp: return format_rfc3339(Time{v.i()});
    case Kind::kQuantity: return v.q().text();
    case Kind::kUrl: return v.as_url().text;
    case Kind::kOptional: return v.held() ? to_json(*v.held()) : json::Value();
    case Kind::kList: {
      json::Value out = json::Value::array();
      for (auto& x : v.items()) out.push_back(to_json(x));
      return out;
    }
    case Kind::kMap: {
      json::Value out = json::Value::object();
      for (auto& [k, x] : v.as_map().entries) {
        json::Value key = to_json(k);
        out[key.is_string() ? key.as_string() : json::dump(key)] = to_json(x);
      }
      return out;
    }
    default: return json::Value();
  }
}

std::vector<uint32_t> runes(std::string_view s) {
  std::vector<uint32_t> out;
  out.reserve(s.size());
  for (size_t i = 0; i < s.size();) {
    auto c = static_cast<unsigned char>(s[i]);
    int more = c < 0x80 ? 0 : (c & 0xe0) == 0xc0 ? 1
                          : (c & 0xf0) == 0xe0   ? 2
                          : (c & 0xf8) == 0xf0   ? 3
                                                 : -1;
    if (more < 0 || i + static_cast<size_t>(more) >= s.size()) {
      out.push_back(0xfffd);
      ++i;
      continue;
    }
    uint32_t r = more == 0 ? c : c & (0x3fu >> more);
    for (int k = 1; k <= more; ++k) r = r << 6 | (static_cast<unsigned char>(s[i + static_cast<size_t>(k)]) & 0x3f);
    out.push_back(r);
    i += static_cast<size_t>(more) + 1;
  }
  return out;
}

std::string utf8(const uint32_t* begin, const uint32_t* end) {
  std::string out;
  for (; begin != end; ++begin) {
    uint32_t r = *begin;
    auto put = [&](uint32_t b) { out += static_cast<char>(b); };
    if (r < 0x80) put(r);
    else if (r < 0x800) put(0xc0 | r >> 6), put(0x80 | (r & 0x3f));
    else if (r < 0x10000) put(0xe0 | r >> 12), put(0x80 | (r >> 6 & 0x3f)), put(0x80 | (r & 0x3f));
    else put(0xf0 | r >> 18), put(0x80 | (r >> 12 & 0x3f)), put(0x80 | (r >> 6 & 0x3f)), put(0x80 | (r & 0x3f));
  }
  return out;
}

}  // namespace caravel::kube::cel
