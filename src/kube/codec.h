// Typed structs to and from JSON, protobuf and each other, driven by the tables that the schema
// generator writes. A generated struct T has `static const TypeInfo& type_info()`.
//
//   json::Value v = to_json(pod);               // omitempty rules as upstream's types
//   Result<core::Pod> p = from_json<core::Pod>(v);  // unknown fields are dropped, wrong types are errors:
//   // "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace caravel::kube {

struct TypeInfo;  // kube/type_info.h

json::Value encode_json(const TypeInfo& type, const void* object);
Status decode_json(const TypeInfo& type, const json::Value& value, void* object);
std::string encode_protobuf(const TypeInfo& type, const void* object);
Status decode_protobuf(const TypeInfo& type, std::string_view bytes, void* object);

template <class T>
json::Value to_json(const T& object) {
  return encode_json(T::type_info(), &object);
}
template <class T>
Result<T> from_json(const json::Value& value) {
  T out;
  if (Status s = decode_json(T::type_info(), value, &out); !s.ok()) return std::move(s).error();
  return out;
}
template <class T>
std::string to_protobuf(const T& object) {
  return encode_protobuf(T::type_info(), &object);
}
template <class T>
Result<T> from_protobuf(std::string_view bytes) {
  T out;
  if (Status s = decode_protobuf(T::type_info(), bytes, &out); !s.ok()) return std::move(s).error();
  return out;
}

// A value that may be absent and is too large or recursive for std::optional: copyable unique_ptr.
template <class T>
class Box {
 public:
  Box() = default;
  Box(T v) : p_(std::make_unique<T>(std::move(v))) {}
  Box(const Box& o) : p_(o.p_ ? std::make_unique<T>(*o.p_) : nullptr) {}
  Box(Box&&) noexcept = default;
  Box& operator=(Box o) noexcept {
    p_ = std::move(o.p_);
    return *this;
  }
  explicit operator bool() const { return p_ != nullptr; }
  bool has_value() const { return p_ != nullptr; }
  T& operator*() { return *p_; }
  const T& operator*() const { return *p_; }
  T* operator->() { return p_.get(); }
  const T* operator->() const { return p_.get(); }
  T& emplace() {
    p_ = std::make_unique<T>();
    return *p_;
  }
  void reset() { p_.reset(); }
  friend bool operator==(const Box& a, const Box& b) { return (!a.p_ && !b.p_) || (a.p_ && b.p_ && *a.p_ == *b.p_); }

 private:
  std::unique_ptr<T> p_;
};

}  // namespace caravel::kube
