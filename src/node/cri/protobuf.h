// A small protobuf codec for structs that list their fields:
//
//   struct Mount {
//     std::string container_path;
//     bool readonly = false;
//     void fields(auto& f) { f(1, container_path); f(3, readonly); }
//   };
//   std::string bytes = encode(mount);   Status s = decode(bytes, &mount);
//
// Field types: bool, integers (varint), std::string (string and bytes), vectors of strings, integers and
// structs, map<string, string>, nested structs (left out when empty) and optional<struct> (present even
// when empty). proto3 rules: zero values are left out, unknown fields are skipped, the last scalar wins.
// Only .cc files include this header: it instantiates a codec per message.
#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caravel::node::protobuf {

constexpr int kDepthMax = 32;

inline void put_varint(std::string& out, uint64_t v) {
  while (v >= 0x80) {
    out.push_back(static_cast<char>(v | 0x80));
    v >>= 7;
  }
  out.push_back(static_cast<char>(v));
}
inline bool get_varint(std::string_view& in, uint64_t* v) {
  *v = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    auto c = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    *v |= static_cast<uint64_t>(c & 0x7f) << shift;
    if (c < 0x80) return true;
  }
  return false;
}
inline void put_bytes(std::string& out, int number, std::string_view bytes) {
  put_varint(out, static_cast<uint64_t>(number) << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

template <class T>
std::string encode(const T& message);

struct Encoder {
  std::string out;
  template <std::integral I>
  void operator()(int number, const I& v) {
    if (v == 0) return;
    put_varint(out, static_cast<uint64_t>(number) << 3);
    put_varint(out, static_cast<uint64_t>(static_cast<int64_t>(v)));
  }
  void operator()(int number, const std::string& v) {
    if (!v.empty()) put_bytes(out, number, v);
  }
  void operator()(int number, const std::map<std::string, std::string>& m) {
    for (auto& [k, v] : m) {
      std::string entry;
      put_bytes(entry, 1, k);
      put_bytes(entry, 2, v);
      put_bytes(out, number, entry);
    }
  }
  template <class T>
  void operator()(int number, const std::vector<T>& list) {
    if constexpr (std::integral<T>) {
      std::string packed;
      for (auto& v : list) put_varint(packed, static_cast<uint64_t>(static_cast<int64_t>(v)));
      if (!packed.empty()) put_bytes(out, number, packed);
    } else if constexpr (std::same_as<T, std::string>) {
      for (auto& v : list) put_bytes(out, number, v);
    } else {
      for (auto& v : list) put_bytes(out, number, encode(v));
    }
  }
  template <class T>
  void operator()(int number, const std::optional<T>& v) {
    if (v) put_bytes(out, number, encode(*v));
  }
  template <class T>
    requires std::is_class_v<T>
  void operator()(int number, const T& v) {
    std::string bytes = encode(v);
    if (!bytes.empty()) put_bytes(out, number, bytes);
  }
};

template <class T>
std::string encode(const T& message) {
  Encoder e;
  const_cast<T&>(message).fields(e);  // fields() serves both directions; the encoder only reads
  return std::move(e.out);
}

template <class T>
bool decode_into(std::string_view in, T* message, int depth);

struct MapEntry {
  std::string key, value;
  void fields(auto& f) {
    f(1, key);
    f(2, value);
  }
};

// Offers one field of the wire to the fields of a message.
struct Decoder {
  int number;
  int wire;  // 0 varint, 2 bytes
  uint64_t value;
  std::string_view bytes;
  int depth;
  bool good = true;

  template <std::integral I>
  void operator()(int n, I& v) {
    if (n == number && wire == 0) v = static_cast<I>(value);
  }
  void operator()(int n, std::string& v) {
    if (n == number && wire == 2) v = bytes;
  }
  void operator()(int n, std::map<std::string, std::string>& m) {
    if (n != number || wire != 2) return;
    MapEntry entry;
    good = decode_into(bytes, &entry, depth + 1);
    m[entry.key] = entry.value;
  }
  template <class T>
  void operator()(int n, std::vector<T>& list) {
    if (n != number) return;
    if constexpr (std::integral<T>) {
      if (wire == 0) list.push_back(static_cast<T>(value));
      for (std::string_view rest = bytes; wire == 2 && !rest.empty();) {
        uint64_t v;
        if (!get_varint(rest, &v)) {
          good = false;
          return;
        }
        list.push_back(static_cast<T>(v));
      }
    } else if (wire == 2) {
      if constexpr (std::same_as<T, std::string>) list.emplace_back(bytes);
      else good = decode_into(bytes, &list.emplace_back(), depth + 1);
    }
  }
  template <class T>
  void operator()(int n, std::optional<T>& v) {
    if (n != number || wire != 2) return;
    if (!v) v.emplace();
    good = decode_into(bytes, &*v, depth + 1);
  }
  template <class T>
    requires std::is_class_v<T>
  void operator()(int n, T& v) {
    if (n == number && wire == 2) good = decode_into(bytes, &v, depth + 1);
  }
};

template <class T>
bool decode_into(std::string_view in, T* message, int depth) {
  if (depth > kDepthMax) return false;
  while (!in.empty()) {
    uint64_t tag, v = 0;
    if (!get_varint(in, &tag) || tag >> 3 == 0) return false;
    Decoder d{static_cast<int>(tag >> 3), static_cast<int>(tag & 7), 0, {}, depth};
    switch (d.wire) {
      case 0:
        if (!get_varint(in, &d.value)) return false;
        break;
      case 1:
      case 5: {
        size_t n = d.wire == 1 ? 8 : 4;
        if (in.size() < n) return false;
        in.remove_prefix(n);
        break;
      }
      case 2:
        if (!get_varint(in, &v) || v > in.size()) return false;
        d.bytes = in.substr(0, v);
        in.remove_prefix(v);
        break;
      default:
        return false;
    }
    message->fields(d);
    if (!d.good) return false;
  }
  return true;
}

template <class T>
Status decode(std::string_view bytes, T* message) {
  if (!decode_into(bytes, message, 0)) return internal("the container runtime sent a malformed protobuf message");
  return ok();
}

}  // namespace caravel::node::protobuf
