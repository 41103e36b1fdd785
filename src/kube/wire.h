// The protobuf wire format: varints, tags, length-prefixed fields. Bounded, never reads past its input.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace caravel::kube::wire {

enum Type { kVarint = 0,
            kFixed64 = 1,
            kBytes = 2,
            kFixed32 = 5 };

inline void put_varint(std::string& out, uint64_t v) {
  while (v >= 0x80) {
    out += static_cast<char>(v | 0x80);
    v >>= 7;
  }
  out += static_cast<char>(v);
}
inline void put_int(std::string& out, int number, int64_t v) {
  put_varint(out, static_cast<uint64_t>(number) << 3 | kVarint);
  put_varint(out, static_cast<uint64_t>(v));
}
inline void put_double(std::string& out, int number, double v) {
  put_varint(out, static_cast<uint64_t>(number) << 3 | kFixed64);
  char buf[8];
  std::memcpy(buf, &v, 8);
  out.append(buf, 8);
}
inline void put_bytes(std::string& out, int number, std::string_view v) {
  put_varint(out, static_cast<uint64_t>(number) << 3 | kBytes);
  put_varint(out, v.size());
  out += v;
}

struct Item {
  int number = 0;
  int type = kVarint;
  uint64_t value = 0;      // of varints and fixed values
  std::string_view bytes;  // of length-prefixed ones
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : p_(bytes) {}
  bool at_end() const { return p_.empty(); }
  bool failed() const { return failed_; }

  bool varint(uint64_t& v) {
    v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (p_.empty()) return fail();
      uint8_t b = static_cast<uint8_t>(p_[0]);
      p_.remove_prefix(1);
      v |= static_cast<uint64_t>(b & 0x7f) << shift;
      if (!(b & 0x80)) return true;
    }
    return fail();
  }

  // The next field; false at the end or when the bytes make no sense (failed()).
  bool next(Item& item) {
    if (p_.empty() || failed_) return false;
    uint64_t tag;
    if (!varint(tag)) return false;
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return fail();
    item = Item{static_cast<int>(tag >> 3), static_cast<int>(tag & 7), 0, {}};
    switch (item.type) {
      case kVarint: return varint(item.value);
      case kFixed64:
      case kFixed32: {
        size_t n = item.type == kFixed64 ? 8 : 4;
        if (p_.size() < n) return fail();
        std::memcpy(&item.value, p_.data(), n);
        p_.remove_prefix(n);
        return true;
      }
      case kBytes: {
        uint64_t n;
        if (!varint(n) || n > p_.size()) return fail();
        item.bytes = p_.substr(0, n);
        p_.remove_prefix(n);
        return true;
      }
      default: return fail();
    }
  }

 private:
  bool fail() {
    failed_ = true;
    return false;
  }
  std::string_view p_;
  bool failed_ = false;
};

}  // namespace caravel::kube::wire
