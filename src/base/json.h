// JSON: a lossless document with ordered members, Go-like numbers and bounded parsing.
//
// Numbers are int64 where the text is an integer that fits, else double: what Kubernetes' decoders do.
// Object members keep their order; lookups are linear below 16 members, so write code that looks up
// rather than scans. parse() limits depth and reports duplicate keys; it never throws.
//
// Copies are deep, except of what was frozen: freeze() is for documents that many will read and few change a little.
// Copies of a frozen value share its arrays and objects; a change through a copy takes its own copy of the levels on
// the way to the change and of nothing else, and comparing what is shared costs nothing. The frozen value itself never
// changes by it. References into a value end when it is frozen.
// Threading: values are plain data; frozen ones may be copied and read by several threads at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json_key.h"
#include "base/result.h"

namespace caravel::json {

class Value;
using Array = std::vector<Value>;
struct Member;

// Members in order, unique names.
class Object {
 public:
  Object() noexcept;
  Object(std::initializer_list<Member> members);
  Object(const Object&);
  Object(Object&&) noexcept;
  Object& operator=(const Object&);
  Object& operator=(Object&&) noexcept;
  ~Object();
  Value* find(std::string_view key);
  const Value* find(std::string_view key) const;
  Value& operator[](std::string_view key);  // inserts null when absent
  // Appends without looking for an earlier one: for parsers and encoders that know.
  Value& append(Key key, Value value);
  void reserve(size_t members);
  bool erase(std::string_view key);
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  size_t size() const;
  bool empty() const;
  void clear();
  std::vector<Member>::iterator begin();
  std::vector<Member>::iterator end();
  std::vector<Member>::const_iterator begin() const;
  std::vector<Member>::const_iterator end() const;
  void sort();                                               // by key, bytewise: the order in which Go encodes maps
  friend bool operator==(const Object& a, const Object& b);  // order does not count

 private:
  std::vector<Member> members_;
};

// What an array or an object of a Value is kept in. Null stands for an empty one.
// Invariant: one that is not frozen has one owner; everything inside a frozen one is frozen.
template <class T>
class Level {
 public:
  Level() noexcept = default;
  explicit Level(T content);
  Level(const Level&);
  Level(Level&& o) noexcept : node_(std::exchange(o.node_, nullptr)) {}
  Level& operator=(Level o) noexcept {
    std::swap(node_, o.node_);
    return *this;
  }
  ~Level();
  const T& read() const;
  T& write();  // takes its own copy when others have the same
  void freeze();

 private:
  struct Node {
    T content;
    std::atomic<uint32_t> owners{1};
    bool frozen = false;
  };
  Node* node_ = nullptr;
};

enum class Type { kNull,
                  kBool,
                  kInt,
                  kDouble,
                  kString,
                  kArray,
                  kObject };

class Value {
 public:
  Value() noexcept;
  Value(const Value&);
  Value(Value&&) noexcept;
  Value& operator=(const Value&);
  Value& operator=(Value&&) noexcept;
  ~Value();  // these in json.cc: every file has them many times, and each is a switch over the types
  Value(std::nullptr_t) {}
  Value(bool b) : v_(b) {}
  Value(int i) : v_(int64_t{i}) {}
  Value(unsigned i) : v_(int64_t{i}) {}
  Value(long i) : v_(int64_t{i}) {}
  Value(long long i) : v_(static_cast<int64_t>(i)) {}
  Value(unsigned long i) : v_(static_cast<int64_t>(i)) {}
  Value(double d) : v_(d) {}
  Value(const char* s) : v_(std::string(s)) {}
  Value(std::string_view s) : v_(std::string(s)) {}
  Value(std::string s) : v_(std::move(s)) {}
  Value(const Key& k) : v_(k.str()) {}
  Value(Array a);
  Value(Object o);
  static Value array(std::initializer_list<Value> items = {});
  static Value object();

  Type type() const { return static_cast<Type>(v_.index()); }
  bool is_null() const { return type() == Type::kNull; }
  bool is_bool() const { return type() == Type::kBool; }
  bool is_int() const { return type() == Type::kInt; }
  bool is_number() const { return is_int() || type() == Type::kDouble; }
  bool is_string() const { return type() == Type::kString; }
  bool is_array() const { return type() == Type::kArray; }
  bool is_object() const { return type() == Type::kObject; }

  // Lenient reads: the fallback when the type is another.
  bool as_bool(bool fallback = false) const;
  int64_t as_int(int64_t fallback = 0) const;
  double as_double(double fallback = 0) const;
  const std::string& as_string() const;  // "" when not a string
  const Array& as_array() const;         // empty when not an array
  const Object& as_object() const;       // empty when not an object

  // Mutable access; a value of another type is replaced by an empty one of this. Documents that strangers wrote
  // may have any shape: code that must not lose what is there asks for the type first.
  std::string& str();
  Array& arr();
  Object& obj();

  // Member access: a const look-up never fails, it gives null; a mutable one inserts.
  const Value* find(std::string_view key) const;
  Value* find(std::string_view key);
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  const Value& operator[](std::string_view key) const;
  Value& operator[](std::string_view key) { return obj()[key]; }
  const Value& operator[](const char* key) const { return (*this)[std::string_view(key)]; }
  Value& operator[](const char* key) { return obj()[key]; }
  const Value& at(size_t index) const;  // null when out of range or not an array
  // v.path({"spec", "template", "metadata"}): null when any step is absent.
  const Value& path(std::initializer_list<std::string_view> steps) const;
  bool erase(std::string_view key) { return contains(key) && obj().erase(key); }
  void push_back(Value v) { arr().push_back(std::move(v)); }
  size_t size() const;  // members or items; 0 otherwise
  Value& freeze();      // see above

  friend bool operator==(const Value& a, const Value& b);

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Level<Array>, Level<Object>> v_;
};

struct Member {
  Key key;
  Value value;
};

inline Object::Object() noexcept = default;
inline size_t Object::size() const { return members_.size(); }
inline bool Object::empty() const { return members_.empty(); }
inline void Object::clear() { members_.clear(); }
inline std::vector<Member>::iterator Object::begin() { return members_.begin(); }
inline std::vector<Member>::iterator Object::end() { return members_.end(); }
inline std::vector<Member>::const_iterator Object::begin() const { return members_.begin(); }
inline std::vector<Member>::const_iterator Object::end() const { return members_.end(); }
inline Value::Value() noexcept = default;

// A frozen document for many readers.
std::shared_ptr<const Value> share(Value v);

struct ParseOptions {
  int max_depth = 512;
  // When given, receives the paths of duplicate keys ("spec.replicas"); the last one wins either way.
  std::vector<std::string>* duplicates = nullptr;
};

// Parses one document (RFC 8259) with nothing but white space after it. Invalid UTF-8 is replaced by
// U+FFFD as Go does. Errors read like Go's: "invalid character 'x' looking for beginning of value".
Result<Value> parse(std::string_view text, const ParseOptions& options = {});

// Compact text. Members in their order.
std::string dump(const Value& v);
void dump_to(const Value& v, std::string& out);
// Keys sorted at every level: for hashes and comparisons.
std::string dump_sorted(const Value& v);
// Indented, for people.
std::string dump_pretty(const Value& v, int indent = 2);
// Appends a quoted, escaped JSON string.
void quote_to(std::string_view s, std::string& out);
std::string quote(std::string_view s);

// RFC 6901: "/spec/containers/0/image"; nullptr when absent.
const Value* pointer(const Value& root, std::string_view path);

}  // namespace caravel::json
