// Names of JSON members.
//
//   Name  one that the source code knows, made by the compiler: FieldInfo's names. Trivial to copy.
//   Key   any name: 16 bytes of which up to 15 characters are the text itself. A longer text is a Name's, or shared by
//         all copies of the Key. Copying never allocates, two short ones are compared as two words.
//
// Why not std::string: half of the names of Kubernetes' fields that are written most do not fit into it
// ("terminationMessagePath"), so a document cost an allocation for each of them, and look-ups were calls of memcmp: together a
// sixth of what a write costs (docs/benchmarks.md).
// Threading: as std::string; copies may live in several threads.
#pragma once

#include <atomic>
#include <bit>
#include <compare>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace caravel::json {

namespace key_detail {

static_assert(std::endian::native == std::endian::little, "short texts are compared as words");

inline constexpr size_t kShort = 15;  // characters that fit
// The last byte: the size of a short text, or one of these.
inline constexpr uint64_t kStatic = 0x80, kShared = 0xc0;

struct Words {
  uint64_t a, b;
};
struct Far {
  const char* text;
  uint32_t size;
  uint32_t tag;  // in its highest byte
};

// At most kShort characters.
inline Words pack(const char* p, size_t n) {
  Words w{};
  if (n >= 8) {
    uint64_t last;
    std::memcpy(&w.a, p, 8);
    std::memcpy(&last, p + n - 8, 8);
    if (n > 8) w.b = last >> (8 * (16 - n));
  } else if (n >= 4) {
    uint32_t first, last;
    std::memcpy(&first, p, 4);
    std::memcpy(&last, p + n - 4, 4);
    w.a = first | static_cast<uint64_t>(last) << (8 * (n - 4));
  } else if (n > 0) {
    auto at = [p](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i); };
    w.a = at(0) | at(n / 2) | at(n - 1);
  }
  w.b |= static_cast<uint64_t>(n) << 56;
  return w;
}

}  // namespace key_detail

class Name {
 public:
  // Of a literal, or other text that lives as long as the program.
  constexpr Name(const char* text) : Name(std::string_view(text)) {}
  constexpr Name(std::string_view text) : words_{} {
    if (text.size() <= key_detail::kShort) {
      for (size_t i = 0; i < text.size(); ++i) (i < 8 ? words_.a : words_.b) |= static_cast<uint64_t>(static_cast<unsigned char>(text[i])) << (8 * (i % 8));
      words_.b |= static_cast<uint64_t>(text.size()) << 56;
    } else {
      far_ = {text.data(), static_cast<uint32_t>(text.size()), static_cast<uint32_t>(key_detail::kStatic) << 24};
    }
  }
  operator std::string_view() const { return view(); }
  std::string_view view() const {
    const uint64_t tag = words().b >> 56;
    if (tag <= key_detail::kShort) return {reinterpret_cast<const char*>(this), tag};
    return {far_.text, far_.size};
  }
  size_t size() const { return view().size(); }
  bool empty() const { return size() == 0; }
  key_detail::Words words() const {
    key_detail::Words w;
    std::memcpy(&w, static_cast<const void*>(this), sizeof w);
    return w;
  }
  friend bool operator==(const Name& a, std::string_view b) { return a.view() == b; }

 private:
  union {
    key_detail::Words words_;
    key_detail::Far far_;
  };
};

class Key {
 public:
  Key() noexcept : w_{} {}
  Key(const char* text) : Key(std::string_view(text)) {}
  Key(const std::string& text) : Key(std::string_view(text)) {}
  Key(std::string_view text) : w_(text.size() <= key_detail::kShort ? key_detail::pack(text.data(), text.size()) : share(text)) {}
  Key(const Name& name) : w_(name.words()) {}
  Key(const Key& o) noexcept : w_(o.w_) {
    if (is_shared()) owners().fetch_add(1, std::memory_order_relaxed);
  }
  Key(Key&& o) noexcept : w_(o.w_) { o.w_ = {}; }
  Key& operator=(Key o) noexcept {
    std::swap(w_, o.w_);
    return *this;
  }
  ~Key() {
    if (is_shared()) let_go();
  }

  std::string_view view() const {
    if (is_short()) return {reinterpret_cast<const char*>(&w_), w_.b >> 56};
    return {far_text(), far_size()};
  }
  operator std::string_view() const { return view(); }
  operator std::string() const { return std::string(view()); }
  std::string str() const { return std::string(view()); }
  size_t size() const { return is_short() ? w_.b >> 56 : far_size(); }
  bool empty() const { return w_.b == 0; }
  const char* data() const { return view().data(); }
  char operator[](size_t i) const { return view()[i]; }
  char front() const { return view().front(); }
  char back() const { return view().back(); }
  std::string_view::const_iterator begin() const { return view().begin(); }
  std::string_view::const_iterator end() const { return view().end(); }
  static constexpr size_t npos = std::string_view::npos;
  template <class T>
  size_t find(const T& what, size_t from = 0) const {
    return view().find(what, from);
  }
  template <class T>
  size_t rfind(const T& what, size_t from = npos) const {
    return view().rfind(what, from);
  }
  std::string substr(size_t from = 0, size_t n = npos) const { return std::string(view().substr(from, n)); }
  bool starts_with(std::string_view s) const { return view().starts_with(s); }
  bool ends_with(std::string_view s) const { return view().ends_with(s); }

  // A text to look for, of which the work that is the same for all members has been done.
  class Probe {
   public:
    explicit Probe(std::string_view text) : text_(text) {
      if (text.size() <= key_detail::kShort) w_ = key_detail::pack(text.data(), text.size());
    }
    bool is(const Key& k) const {
      if (text_.size() <= key_detail::kShort) return k.w_.a == w_.a && k.w_.b == w_.b;
      return k.is_far() && k.far_size() == text_.size() && (k.far_text() == text_.data() || std::memcmp(k.far_text(), text_.data(), text_.size()) == 0);
    }

   private:
    std::string_view text_;
    key_detail::Words w_{};
  };
  bool is(const Name& n) const {
    const key_detail::Words w = n.words();
    if (w_.b != w.b) return is_shared() && view() == n.view();  // a shared one is a stranger's, whose tag is another
    return w_.a == w.a || (is_far() && view() == n.view());
  }

  friend bool operator==(const Key& a, const Key& b) {
    if (a.w_.a == b.w_.a && a.w_.b == b.w_.b) return true;
    return a.is_far() && b.is_far() && a.view() == b.view();
  }
  friend std::strong_ordering operator<=>(const Key& a, const Key& b) {
    if (a.is_far() || b.is_far()) return a.view() <=> b.view();
    // Bytewise, zeros after the end, then the size.
    const uint64_t x = __builtin_bswap64(a.w_.a), y = __builtin_bswap64(b.w_.a);
    return x != y ? x <=> y : __builtin_bswap64(a.w_.b) <=> __builtin_bswap64(b.w_.b);
  }
  template <class T>
    requires(std::convertible_to<const T&, std::string_view> && !std::same_as<T, Key>)
  friend bool operator==(const Key& a, const T& b) {
    return a.view() == std::string_view(b);
  }
  template <class T>
    requires(std::convertible_to<const T&, std::string_view> && !std::same_as<T, Key>)
  friend std::strong_ordering operator<=>(const Key& a, const T& b) {
    return a.view() <=> std::string_view(b);
  }
  friend std::string operator+(std::string a, const Key& b) { return std::move(a.append(b.view())); }
  friend std::string operator+(const Key& a, std::string_view b) { return a.str().append(b); }

 private:
  bool is_short() const { return (w_.b >> 63) == 0; }
  bool is_far() const { return (w_.b >> 63) != 0; }
  bool is_shared() const { return (w_.b >> 62) == 3; }
  const char* far_text() const { return reinterpret_cast<const char*>(w_.a); }
  uint32_t far_size() const { return static_cast<uint32_t>(w_.b); }
  // In front of a shared text.
  std::atomic<uint32_t>& owners() const { return reinterpret_cast<std::atomic<uint32_t>*>(w_.a)[-1]; }
  static key_detail::Words share(std::string_view text);
  void let_go();

  key_detail::Words w_;
};

static_assert(sizeof(Key) == 16 && sizeof(Name) == 16);

}  // namespace caravel::json
