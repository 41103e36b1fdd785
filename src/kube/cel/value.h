// Values of the Common Expression Language (CEL): what expressions read and give.
//
// Values are immutable and cheap to copy (texts, lists and maps are shared). Objects of the API are maps with
// text keys; schema_values.h says how their scalars become CEL's. Durations and timestamps are nanoseconds.
// Threading: plain data.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/quantity.h"

namespace caravel::kube::cel {

struct List;
struct Map;
struct Url;
struct Network;
class Opaque;

enum class Kind : uint8_t { kNull,
                            kBool,
                            kInt,
                            kUint,
                            kDouble,
                            kString,
                            kBytes,
                            kList,
                            kMap,
                            kDuration,
                            kTimestamp,
                            kType,
                            kOptional,
                            kQuantity,
                            kUrl,
                            kIp,
                            kCidr,
                            kOpaque };

class Value {
 public:
  Value() = default;
  static Value boolean(bool b) { return Value(Kind::kBool, b); }
  static Value integer(int64_t i) { return Value(Kind::kInt, i); }
  static Value uinteger(uint64_t u) { return Value(Kind::kUint, static_cast<int64_t>(u)); }
  static Value number(double d) {
    Value v(Kind::kDouble, 0);
    v.double_ = d;
    return v;
  }
  static Value string(std::string s) { return Value(Kind::kString, std::make_shared<const std::string>(std::move(s))); }
  static Value bytes(std::string s) { return Value(Kind::kBytes, std::make_shared<const std::string>(std::move(s))); }
  static Value type(std::string name) { return Value(Kind::kType, std::make_shared<const std::string>(std::move(name))); }
  static Value list(std::vector<Value> items);
  static Value list(List l);
  static Value map(std::vector<std::pair<Value, Value>> entries);
  static Value duration(int64_t ns) { return Value(Kind::kDuration, ns); }
  static Value timestamp(int64_t ns) { return Value(Kind::kTimestamp, ns); }
  static Value none() { return Value(Kind::kOptional, std::shared_ptr<const void>()); }
  static Value some(Value v) { return Value(Kind::kOptional, std::make_shared<const Value>(std::move(v))); }
  static Value quantity(Quantity q) { return Value(Kind::kQuantity, std::make_shared<const Quantity>(q)); }
  static Value url(Url u);
  static Value network(Kind kind, Network n);  // kIp or kCidr
  static Value opaque(std::shared_ptr<const Opaque> o) { return Value(Kind::kOpaque, std::shared_ptr<const void>(std::move(o))); }

  Kind kind() const { return kind_; }
  bool is(Kind k) const { return kind_ == k; }
  bool is_true() const { return kind_ == Kind::kBool && int_ != 0; }
  bool is_false() const { return kind_ == Kind::kBool && int_ == 0; }
  bool is_number() const { return kind_ == Kind::kInt || kind_ == Kind::kUint || kind_ == Kind::kDouble; }

  // Each is for its kind only.
  int64_t i() const { return int_; }  // also bool, duration, timestamp
  uint64_t u() const { return static_cast<uint64_t>(int_); }
  double d() const { return double_; }
  const std::string& s() const { return *static_cast<const std::string*>(shared_.get()); }  // string, bytes, type
  const std::vector<Value>& items() const;
  const List& as_list() const { return *static_cast<const List*>(shared_.get()); }
  const Map& as_map() const { return *static_cast<const Map*>(shared_.get()); }
  const Value* held() const { return static_cast<const Value*>(shared_.get()); }  // optional; null: none
  const Quantity& q() const { return *static_cast<const Quantity*>(shared_.get()); }
  const Url& as_url() const { return *static_cast<const Url*>(shared_.get()); }
  const Network& as_network() const { return *static_cast<const Network*>(shared_.get()); }
  const Opaque& as_opaque() const { return *static_cast<const Opaque*>(shared_.get()); }

  const Value* find(std::string_view key) const;  // of maps

 private:
  Value(Kind k, int64_t i) : kind_(k), int_(i) {}
  Value(Kind k, std::shared_ptr<const void> p) : kind_(k), shared_(std::move(p)) {}
  Kind kind_ = Kind::kNull;
  union {
    int64_t int_ = 0;
    double double_;
  };
  std::shared_ptr<const void> shared_;
};

// Lists of the API may be sets or maps by key: their equality ignores order, `+` merges.
struct List {
  enum class Style { kPlain,
                     kSet,
                     kMap };
  std::vector<Value> items;
  Style style = Style::kPlain;
  std::vector<std::string> keys;
};

struct Map {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string_view, size_t> texts;  // text keys, once there are many
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

struct Url {
  std::string text, scheme, host, hostname, port, escaped_path;
  std::vector<std::pair<std::string, std::vector<std::string>>> query;
};

struct Network {
  int family = 4;
  unsigned char bytes[16] = {};
  int prefix = 32;
};

// A value of the host: `authorizer`, `variables`. Its fields and methods are found when they are asked for.
class Opaque {
 public:
  virtual ~Opaque() = default;
  virtual std::string type_name() const = 0;
  virtual bool has(std::string_view) const { return false; }
  virtual bool equals(const Opaque& other) const { return this == &other; }
  virtual Result<Value> select(std::string_view field) const;
  // `args` without the value itself.
  virtual Result<Value> call(std::string_view method, const std::vector<Value>& args) const;
};

// Numbers compare across their kinds; lists of style set or map without regard to order.
bool equal(const Value& a, const Value& b);
// < 0, 0, > 0; an error ("no such overload") when the two have no order.
Result<int> compare(const Value& a, const Value& b);

std::string type_name(const Value& v);  // "int", "list", "google.protobuf.Timestamp"
// JSON as it is: integers int, fractions double.
Value from_json(const json::Value& v);
json::Value to_json(const Value& v);

std::vector<uint32_t> runes(std::string_view utf8);
std::string utf8(const uint32_t* begin, const uint32_t* end);

}  // namespace caravel::kube::cel
