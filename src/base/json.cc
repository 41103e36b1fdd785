#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <new>
#include <optional>
#include <unordered_set>

#include "base/strings.h"

namespace caravel::json {

key_detail::Words Key::share(std::string_view text) {
  constexpr size_t kHead = sizeof(std::atomic<uint32_t>);
  char* block = static_cast<char*>(::operator new(kHead + text.size()));
  new (block) std::atomic<uint32_t>(1);
  std::memcpy(block + kHead, text.data(), text.size());
  key_detail::Words w;
  w.a = reinterpret_cast<uint64_t>(block + kHead);
  w.b = key_detail::kShared << 56 | static_cast<uint32_t>(text.size());
  return w;
}
void Key::let_go() {
  if (owners().fetch_sub(1, std::memory_order_acq_rel) == 1) ::operator delete(&owners());
}

namespace {
const Value kNullValue;
const std::string kEmptyString;
const Array kEmptyArray;
const Object kEmptyObject;
}  // namespace

template <class T>
Level<T>::Level(T content) {
  if (!content.empty()) node_ = new Node{std::move(content)};
}
template <class T>
Level<T>::Level(const Level& o) : node_(o.node_) {
  if (!node_) return;
  if (node_->frozen) node_->owners.fetch_add(1, std::memory_order_relaxed);
  else node_ = new Node{node_->content};
}
template <class T>
Level<T>::~Level() {
  if (node_ && (!node_->frozen || node_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1)) delete node_;
}
template <class T>
T& Level<T>::write() {
  if (node_ && node_->frozen && node_->owners.load(std::memory_order_acquire) == 1) node_->frozen = false;
  if (!node_ || node_->frozen) {
    Level own;
    own.node_ = node_ ? new Node{node_->content} : new Node{};
    *this = std::move(own);
  }
  return node_->content;
}
template <>
const Array& Level<Array>::read() const { return node_ ? node_->content : kEmptyArray; }
template <>
const Object& Level<Object>::read() const { return node_ ? node_->content : kEmptyObject; }
template <>
void Level<Array>::freeze() {
  if (!node_ || node_->frozen) return;
  for (Value& v : node_->content) v.freeze();
  node_->frozen = true;
}
template <>
void Level<Object>::freeze() {
  if (!node_ || node_->frozen) return;
  for (Member& m : node_->content) m.value.freeze();
  node_->frozen = true;
}

Object::Object(const Object&) = default;
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(const Object&) = default;
Object& Object::operator=(Object&&) noexcept = default;
Object::~Object() = default;

Value::Value(const Value&) = default;
Value::Value(Value&&) noexcept = default;
Value& Value::operator=(const Value&) = default;
Value& Value::operator=(Value&&) noexcept = default;
Value::~Value() = default;
Value::Value(Array a) : v_(Level<Array>(std::move(a))) {}
Value::Value(Object o) : v_(Level<Object>(std::move(o))) {}
Value Value::array(std::initializer_list<Value> items) { return Value(Array(items)); }
Value Value::object() { return Value(Object()); }

Object::Object(std::initializer_list<Member> members) {
  for (const Member& m : members) (*this)[m.key] = m.value;
}

const Value* Object::find(std::string_view key) const {
  const Key::Probe probe(key);
  for (const Member& m : members_)
    if (probe.is(m.key)) return &m.value;
  return nullptr;
}
Value* Object::find(std::string_view key) { return const_cast<Value*>(std::as_const(*this).find(key)); }
Value& Object::operator[](std::string_view key) {
  if (Value* v = find(key)) return *v;
  return append(Key(key), Value());
}
Value& Object::append(Key key, Value value) {
  members_.push_back(Member{std::move(key), std::move(value)});
  return members_.back().value;
}
void Object::reserve(size_t members) { members_.reserve(members); }
bool Object::erase(std::string_view key) {
  const Key::Probe probe(key);
  for (auto it = members_.begin(); it != members_.end(); ++it)
    if (probe.is(it->key)) {
      members_.erase(it);
      return true;
    }
  return false;
}
void Object::sort() {
  std::sort(members_.begin(), members_.end(), [](const Member& a, const Member& b) { return a.key < b.key; });
}
bool operator==(const Object& a, const Object& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.members_.size(); ++i) {
    const Member& m = a.members_[i];
    const Value* v = b.members_[i].key == m.key ? &b.members_[i].value : b.find(m.key);
    if (!v || !(*v == m.value)) return false;
  }
  return true;
}

bool Value::as_bool(bool fallback) const {
  auto* b = std::get_if<bool>(&v_);
  return b ? *b : fallback;
}
int64_t Value::as_int(int64_t fallback) const {
  if (auto* i = std::get_if<int64_t>(&v_)) return *i;
  if (auto* d = std::get_if<double>(&v_))
    if (std::abs(*d) < 9.2e18 && *d == std::floor(*d)) return static_cast<int64_t>(*d);
  return fallback;
}
double Value::as_double(double fallback) const {
  if (auto* i = std::get_if<int64_t>(&v_)) return static_cast<double>(*i);
  if (auto* d = std::get_if<double>(&v_)) return *d;
  return fallback;
}
const std::string& Value::as_string() const {
  auto* s = std::get_if<std::string>(&v_);
  return s ? *s : kEmptyString;
}
const Array& Value::as_array() const {
  auto* a = std::get_if<Level<Array>>(&v_);
  return a ? a->read() : kEmptyArray;
}
const Object& Value::as_object() const {
  auto* o = std::get_if<Level<Object>>(&v_);
  return o ? o->read() : kEmptyObject;
}
std::string& Value::str() {
  if (!is_string()) v_.emplace<std::string>();
  return *std::get_if<std::string>(&v_);
}
Array& Value::arr() {
  if (!is_array()) v_.emplace<Level<Array>>();
  return std::get_if<Level<Array>>(&v_)->write();
}
Object& Value::obj() {
  if (!is_object()) v_.emplace<Level<Object>>();
  return std::get_if<Level<Object>>(&v_)->write();
}
Value& Value::freeze() {
  if (auto* a = std::get_if<Level<Array>>(&v_)) a->freeze();
  if (auto* o = std::get_if<Level<Object>>(&v_)) o->freeze();
  return *this;
}
std::shared_ptr<const Value> share(Value v) {
  v.freeze();
  return std::make_shared<const Value>(std::move(v));
}

template class Level<Array>;
template class Level<Object>;

const Value* Value::find(std::string_view key) const { return as_object().find(key); }
Value* Value::find(std::string_view key) {
  const Key::Probe probe(key);
  size_t at = 0;
  for (const Member& m : as_object()) {
    if (probe.is(m.key)) return &obj().begin()[static_cast<std::ptrdiff_t>(at)].value;  // only what is there is made our own
    ++at;
  }
  return nullptr;
}
const Value& Value::operator[](std::string_view key) const {
  const Value* v = find(key);
  return v ? *v : kNullValue;
}
const Value& Value::at(size_t index) const {
  const Array& a = as_array();
  return index < a.size() ? a[index] : kNullValue;
}
const Value& Value::path(std::initializer_list<std::string_view> steps) const {
  const Value* v = this;
  for (auto s : steps) {
    v = v->find(s);
    if (!v) return kNullValue;
  }
  return *v;
}
size_t Value::size() const {
  if (is_array()) return as_array().size();
  if (is_object()) return as_object().size();
  return 0;
}
bool operator==(const Value& a, const Value& b) {
  if (a.type() == b.type()) {
    switch (a.type()) {
      case Type::kNull: return true;
      case Type::kBool: return a.as_bool() == b.as_bool();
      case Type::kInt: return a.as_int() == b.as_int();
      case Type::kDouble: return a.as_double() == b.as_double();
      case Type::kString: return a.as_string() == b.as_string();
      case Type::kArray: return &a.as_array() == &b.as_array() || a.as_array() == b.as_array();
      case Type::kObject: return &a.as_object() == &b.as_object() || a.as_object() == b.as_object();
    }
  }
  return a.is_number() && b.is_number() && a.as_double() == b.as_double();
}

namespace {

std::string show_char(unsigned char c) {
  if (c == '\'') return "'\\''";
  if (c == '"') return "'\"'";
  if (c == '\n') return "'\\n'";
  if (c == '\t') return "'\\t'";
  if (c == '\r') return "'\\r'";
  if (c < 0x20 || c >= 0x7f) {
    char buf[16];
    std::snprintf(buf, sizeof buf, "'\\x%02x'", c);
    return buf;
  }
  return std::string("'") + static_cast<char>(c) + "'";
}

void append_utf8(uint32_t cp, std::string& out) {
  if (cp < 0x80) {
    out += static_cast<char>(cp);
  } else if (cp < 0x800) {
    out += static_cast<char>(0xc0 | cp >> 6);
    out += static_cast<char>(0x80 | (cp & 0x3f));
  } else if (cp < 0x10000) {
    out += static_cast<char>(0xe0 | cp >> 12);
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (cp & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | cp >> 18);
    out += static_cast<char>(0x80 | (cp >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (cp & 0x3f));
  }
}

constexpr size_t kDuplicatesMax = 100;
constexpr size_t kUsualMembers = 4;  // room that an object begins with
constexpr size_t kScanned = 16;      // members that are looked through one by one for a second of the same name

// Whether any of eight characters ends a run of plain ones in a string.
constexpr uint64_t each_byte(uint64_t b) { return b * 0x0101010101010101ull; }
bool needs_escape(uint64_t w) {
  auto has_zero = [](uint64_t x) { return (x - each_byte(1)) & ~x; };
  return ((((w - each_byte(0x20)) & ~w) | has_zero(w ^ each_byte('"')) | has_zero(w ^ each_byte('\\'))) & each_byte(0x80)) != 0;
}
uint64_t eight(const char* p) {
  uint64_t w;
  std::memcpy(&w, p, sizeof w);
  return w;
}

class Parser {
 public:
  Parser(std::string_view text, const ParseOptions& o) : p_(text.data()), end_(text.data() + text.size()), opt_(o) {}

  Result<Value> document() {
    Value v;
    if (!value(v, 0)) return invalid(std::move(error_));
    skip();
    if (p_ != end_) {
      fail("after top-level value");
      return invalid(std::move(error_));
    }
    return v;
  }

 private:
  // Where a value stands: a member of the object, or an item of the array, that stands at `up`.
  struct Place {
    const Place* up;
    std::string_view key;  // no text at all for an item
    size_t index;
  };
  static void path_to(const Place* p, std::string& out) {
    if (!p) return;
    path_to(p->up, out);
    if (!p->key.data()) {
      out += "[" + std::to_string(p->index) + "]";
      return;
    }
    if (!out.empty()) out += '.';
    out += p->key;
  }

  void skip() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
  }
  bool fail(const char* context) {
    if (p_ == end_) error_ = "unexpected end of JSON input";
    else error_ = "invalid character " + show_char(static_cast<unsigned char>(*p_)) + " " + context;
    return false;
  }
  bool word(const char* w, const char* context) {
    const char* start = w;
    for (; *w; ++w, ++p_)
      if (p_ == end_ || *p_ != *w) {
        std::string c = std::string("in literal ") + context + " (expecting '" + *w + "')";
        (void)start;
        return fail(c.c_str());
      }
    return true;
  }

  bool value(Value& out, int depth) {
    skip();
    if (p_ == end_) return fail("");
    if (depth > opt_.max_depth) {
      error_ = "exceeded max depth";
      return false;
    }
    switch (*p_) {
      case '{': return object(out, depth);
      case '[': return array(out, depth);
      case '"': {
        std::string buffer;
        std::string_view text;
        if (!string(buffer, text)) return false;
        if (buffer.empty()) out.str() = text;
        else out = Value(std::move(buffer));
        return true;
      }
      case 't':
        out = Value(true);
        return word("true", "true");
      case 'f':
        out = Value(false);
        return word("false", "false");
      case 'n':
        out = Value();
        return word("null", "null");
      default:
        if (*p_ == '-' || (*p_ >= '0' && *p_ <= '9')) return number(out);
        return fail("looking for beginning of value");
    }
  }

  bool object(Value& out, int depth) {
    ++p_;
    Object obj;
    std::optional<std::unordered_set<std::string>> seen;  // used only for large objects
    skip();
    if (p_ != end_ && *p_ == '}') {
      ++p_;
      out = Value(std::move(obj));
      return true;
    }
    obj.reserve(kUsualMembers);
    while (true) {
      skip();
      if (p_ == end_ || *p_ != '"') return fail("looking for beginning of object key string");
      std::string buffer;
      std::string_view key;
      if (!string(buffer, key)) return false;
      skip();
      if (p_ == end_ || *p_ != ':') return fail("after object key");
      ++p_;
      const Place place{place_, key, 0};
      Value* slot = nullptr;
      if (obj.size() < kScanned) {
        slot = obj.find(key);
      } else {
        if (!seen) {
          seen.emplace();
          for (auto& m : obj) seen->insert(m.key.str());
        }
        if (!seen->insert(std::string(key)).second) slot = obj.find(key);
      }
      if (slot && opt_.duplicates && opt_.duplicates->size() < kDuplicatesMax) {
        std::string path;
        path_to(&place, path);
        opt_.duplicates->push_back(std::move(path));
      }
      if (!slot) slot = &obj.append(Key(key), Value());
      place_ = &place;
      if (!value(*slot, depth + 1)) return false;
      place_ = place.up;
      skip();
      if (p_ != end_ && *p_ == ',') {
        ++p_;
        continue;
      }
      if (p_ != end_ && *p_ == '}') {
        ++p_;
        out = Value(std::move(obj));
        return true;
      }
      return fail("after object key:value pair");
    }
  }

  bool array(Value& out, int depth) {
    ++p_;
    Array arr;
    skip();
    if (p_ != end_ && *p_ == ']') {
      ++p_;
      out = Value(std::move(arr));
      return true;
    }
    Place place{place_, {}, 0};
    while (true) {
      place_ = &place;
      if (!value(arr.emplace_back(), depth + 1)) return false;
      place_ = place.up;
      ++place.index;
      skip();
      if (p_ != end_ && *p_ == ',') {
        ++p_;
        continue;
      }
      if (p_ != end_ && *p_ == ']') {
        ++p_;
        out = Value(std::move(arr));
        return true;
      }
      return fail("after array element");
    }
  }

  bool number(Value& out) {
    const char* start = p_;
    bool integer = true;
    if (*p_ == '-') ++p_;
    if (p_ == end_) return fail("");
    if (*p_ == '0') ++p_;
    else if (*p_ >= '1' && *p_ <= '9') {
      while (p_ != end_ && *p_ >= '0' && *p_ <= '9') ++p_;
    } else {
      return fail("in numeric literal");
    }
    if (p_ != end_ && *p_ == '.') {
      integer = false;
      ++p_;
      if (p_ == end_ || *p_ < '0' || *p_ > '9') return fail("after decimal point in numeric literal");
      while (p_ != end_ && *p_ >= '0' && *p_ <= '9') ++p_;
    }
    if (p_ != end_ && (*p_ == 'e' || *p_ == 'E')) {
      integer = false;
      ++p_;
      if (p_ != end_ && (*p_ == '+' || *p_ == '-')) ++p_;
      if (p_ == end_ || *p_ < '0' || *p_ > '9') return fail("in exponent of numeric literal");
      while (p_ != end_ && *p_ >= '0' && *p_ <= '9') ++p_;
    }
    if (integer) {
      int64_t i = 0;
      auto r = std::from_chars(start, p_, i);
      if (r.ec == std::errc()) {
        out = Value(i);
        return true;
      }
    }
    double d = 0;
    auto r = std::from_chars(start, p_, d);
    if (r.ec != std::errc()) {
      error_ = "number " + std::string(start, p_) + " is out of range";
      return false;
    }
    out = Value(d == 0 ? 0.0 : d);  // no negative zero: its text would be read again as the integer 0
    return true;
  }

  int hex4() {
    if (end_ - p_ < 4) return -1;
    int v = 0;
    for (int i = 0; i < 4; ++i) {
      char c = p_[i];
      int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : c >= 'A' && c <= 'F'   ? c - 'A' + 10
                                                                    : -1;
      if (d < 0) return -1;
      v = v * 16 + d;
    }
    p_ += 4;
    return v;
  }

  // `text` is what was read: in the document itself where it stands there as it is, else in `out`.
  bool string(std::string& out, std::string_view& text) {
    const char* start = p_ + 1;
    p_ = start;
    while (end_ - p_ >= 8 && !needs_escape(eight(p_)) && (eight(p_) & each_byte(0x80)) == 0) p_ += 8;
    while (p_ != end_ && *p_ != '"' && *p_ != '\\' && static_cast<unsigned char>(*p_) >= 0x20 && static_cast<unsigned char>(*p_) < 0x80) ++p_;
    if (p_ != end_ && *p_ == '"') {
      text = std::string_view(start, static_cast<size_t>(p_++ - start));
      return true;
    }
    p_ = start;
    if (!rest_of_string(out)) return false;
    text = out;
    return true;
  }
  bool rest_of_string(std::string& out) {
    while (true) {
      const char* run = p_;
      bool ascii = true;
      while (p_ != end_ && *p_ != '"' && *p_ != '\\' && static_cast<unsigned char>(*p_) >= 0x20) {
        ascii &= static_cast<unsigned char>(*p_) < 0x80;
        ++p_;
      }
      if (ascii) out.append(run, p_);
      else out += to_valid_utf8(std::string_view(run, static_cast<size_t>(p_ - run)));
      if (p_ == end_) {
        error_ = "unexpected end of JSON input";
        return false;
      }
      if (*p_ == '"') {
        ++p_;
        return true;
      }
      if (*p_ != '\\') return fail("in string literal");
      ++p_;
      if (p_ == end_) return fail("");
      switch (*p_++) {
        case '"': out += '"'; break;
        case '\\': out += '\\'; break;
        case '/': out += '/'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'u': {
          int u = hex4();
          if (u < 0) return fail("in \\u hexadecimal character escape");
          uint32_t cp = static_cast<uint32_t>(u);
          if (cp >= 0xd800 && cp < 0xdc00 && end_ - p_ >= 6 && p_[0] == '\\' && p_[1] == 'u') {
            const char* save = p_;
            p_ += 2;
            int lo = hex4();
            if (lo >= 0xdc00 && lo < 0xe000) cp = 0x10000 + ((cp - 0xd800) << 10) + (static_cast<uint32_t>(lo) - 0xdc00);
            else p_ = save;
          }
          if (cp >= 0xd800 && cp < 0xe000) cp = 0xfffd;
          append_utf8(cp, out);
          break;
        }
        default:
          --p_;
          return fail("in string escape code");
      }
    }
  }

  const char* p_;
  const char* end_;
  const ParseOptions& opt_;
  std::string error_;
  const Place* place_ = nullptr;  // of the value that is being read
};

void number_to(double d, std::string& out) {
  if (!std::isfinite(d)) {
    out += "null";
    return;
  }
  char buf[64];
  double a = std::abs(d);
  // As encoding/json: exponent form only outside [1e-6, 1e21).
  bool exponent = a != 0 && (a < 1e-6 || a >= 1e21);
  auto r = std::to_chars(buf, buf + sizeof buf, d, exponent ? std::chars_format::scientific : std::chars_format::fixed);
  if (exponent) {
    // Go writes e-09 as e-9.
    std::string_view s(buf, static_cast<size_t>(r.ptr - buf));
    size_t e = s.find('e');
    if (e != s.npos && e + 2 < s.size() && s[e + 2] == '0') {
      out.append(s.substr(0, e + 2));
      out.append(s.substr(e + 3));
      return;
    }
  }
  out.append(buf, r.ptr);
}

// Gathers text on the stack: most pieces are a few characters.
class Writer {
 public:
  Writer(std::string& out, bool sorted, int indent) : out_(out), sorted_(sorted), indent_(indent) {}
  ~Writer() { flush(); }

  void value(const Value& v, int depth) {
    switch (v.type()) {
      case Type::kNull: put("null"); break;
      case Type::kBool: put(v.as_bool() ? std::string_view("true") : std::string_view("false")); break;
      case Type::kInt: {
        room(24);
        p_ = std::to_chars(p_, buffer_ + sizeof buffer_, v.as_int()).ptr;
        break;
      }
      case Type::kDouble: flush(), number_to(v.as_double(), out_); break;
      case Type::kString: quote(v.as_string()); break;
      case Type::kArray: {
        put('[');
        bool first = true;
        for (const Value& item : v.as_array()) {
          if (!first) put(',');
          first = false;
          newline(depth + 1);
          value(item, depth + 1);
        }
        if (!first) newline(depth);
        put(']');
        break;
      }
      case Type::kObject: object(v.as_object(), depth); break;
    }
  }
  void quote(std::string_view s) {
    size_t plain = 0;
    while (s.size() - plain >= 8 && !needs_escape(eight(s.data() + plain))) plain += 8;
    while (plain < s.size() && static_cast<unsigned char>(s[plain]) >= 0x20 && s[plain] != '"' && s[plain] != '\\') ++plain;
    put('"');
    put(s.substr(0, plain));
    if (plain < s.size()) escaped(s.substr(plain));
    put('"');
  }

 private:
  void object(const Object& o, int depth) {
    put('{');
    bool first = true;
    auto member = [&](const Member& m) {
      if (!first) put(',');
      first = false;
      newline(depth + 1);
      quote(m.key.view());
      put(':');
      if (indent_) put(' ');
      value(m.value, depth + 1);
    };
    if (sorted_) {
      std::vector<const Member*> order;
      for (const Member& m : o) order.push_back(&m);
      std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->key < b->key; });
      for (auto* m : order) member(*m);
    } else {
      for (const Member& m : o) member(m);
    }
    if (!first) newline(depth);
    put('}');
  }
  void escaped(std::string_view s) {
    for (char ch : s) {
      const unsigned char c = static_cast<unsigned char>(ch);
      switch (c) {
        case '"': put("\\\""); break;
        case '\\': put("\\\\"); break;
        case '\n': put("\\n"); break;
        case '\r': put("\\r"); break;
        case '\t': put("\\t"); break;
        default:
          if (c >= 0x20) {
            put(ch);
          } else {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", c);
            put(code);
          }
      }
    }
  }
  void newline(int depth) {
    if (!indent_) return;
    put('\n');
    for (int i = 0; i < indent_ * depth; ++i) put(' ');
  }
  void put(char c) {
    room(1);
    *p_++ = c;
  }
  void put(std::string_view s) {
    if (s.size() > sizeof buffer_) {
      flush();
      out_.append(s);
      return;
    }
    room(s.size());
    std::memcpy(p_, s.data(), s.size());
    p_ += s.size();
  }
  void room(size_t n) {
    if (static_cast<size_t>(buffer_ + sizeof buffer_ - p_) < n) flush();
  }
  void flush() {
    out_.append(buffer_, p_);
    p_ = buffer_;
  }

  std::string& out_;
  bool sorted_;
  int indent_;
  char buffer_[1024];
  char* p_ = buffer_;
};

}  // namespace

Result<Value> parse(std::string_view text, const ParseOptions& options) { return Parser(text, options).document(); }

void dump_to(const Value& v, std::string& out) { Writer(out, false, 0).value(v, 0); }
std::string dump(const Value& v) {
  std::string out;
  dump_to(v, out);
  return out;
}
std::string dump_sorted(const Value& v) {
  std::string out;
  Writer(out, true, 0).value(v, 0);
  return out;
}
std::string dump_pretty(const Value& v, int indent) {
  std::string out;
  Writer(out, false, indent).value(v, 0);
  return out;
}

void quote_to(std::string_view s, std::string& out) { Writer(out, false, 0).quote(s); }
std::string quote(std::string_view s) {
  std::string out;
  quote_to(s, out);
  return out;
}

const Value* pointer(const Value& root, std::string_view path) {
  const Value* v = &root;
  while (!path.empty()) {
    if (path[0] != '/') return nullptr;
    path.remove_prefix(1);
    size_t n = path.find('/');
    std::string step(path.substr(0, n));
    path = n == path.npos ? std::string_view() : path.substr(n);
    for (size_t i = 0; (i = step.find('~', i)) != step.npos; ++i) {
      if (i + 1 < step.size() && step[i + 1] == '1') step.replace(i, 2, "/");
      else if (i + 1 < step.size() && step[i + 1] == '0') step.replace(i, 2, "~");
    }
    if (v->is_array()) {
      size_t index = 0;
      auto r = std::from_chars(step.data(), step.data() + step.size(), index);
      if (r.ec != std::errc() || r.ptr != step.data() + step.size() || index >= v->size()) return nullptr;
      v = &v->at(index);
    } else {
      v = v->find(step);
      if (!v) return nullptr;
    }
  }
  return v;
}

}  // namespace caravel::json
