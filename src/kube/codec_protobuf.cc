// Typed structs to and from Kubernetes' protobuf, by table. The encoding is byte for byte what upstream's
// generated marshallers write: fields by number, plain values always present, maps in key order.
#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "kube/int_or_string.h"
#include "kube/protobuf.h"
#include "kube/quantity.h"
#include "kube/type_info.h"
#include "kube/wire.h"

namespace caravel::kube {

namespace {

template <class T>
const T& as(const void* p) {
  return *static_cast<const T*>(p);
}
template <class T>
T& as(void* p) {
  return *static_cast<T*>(p);
}
const void* at(const void* p, size_t offset) { return static_cast<const char*>(p) + offset; }
void* at(void* p, size_t offset) { return static_cast<char*>(p) + offset; }

std::string time_message(Time t, bool micro) {
  std::string m;
  if (t.is_zero()) return m;
  const auto [seconds, nanos] = t.parts();
  wire::put_int(m, 1, seconds);
  wire::put_int(m, 2, micro ? nanos / 1000 * 1000 : 0);
  return m;
}

void put_scalar(const FieldInfo& f, int number, const void* p, std::string& out) {
  switch (f.scalar) {
    case Scalar::kString:
    case Scalar::kBytes: wire::put_bytes(out, number, as<std::string>(p)); break;
    case Scalar::kBool: wire::put_int(out, number, as<bool>(p) ? 1 : 0); break;
    case Scalar::kInt32: wire::put_int(out, number, as<int32_t>(p)); break;
    case Scalar::kInt64:
    case Scalar::kInt: wire::put_int(out, number, as<int64_t>(p)); break;
    case Scalar::kDouble: wire::put_double(out, number, as<double>(p)); break;
    case Scalar::kTime: wire::put_bytes(out, number, time_message(as<Time>(p), false)); break;
    case Scalar::kMicroTime: wire::put_bytes(out, number, time_message(as<Time>(p), true)); break;
    case Scalar::kDuration: {
      std::string m;
      wire::put_int(m, 1, as<Duration>(p).count());
      wire::put_bytes(out, number, m);
      break;
    }
    case Scalar::kQuantity: {
      std::string m;
      wire::put_bytes(m, 1, as<Quantity>(p).text());
      wire::put_bytes(out, number, m);
      break;
    }
    case Scalar::kIntOrString: {
      auto& v = as<IntOrString>(p);
      std::string m;
      wire::put_int(m, 1, v.is_string ? 1 : 0);
      wire::put_int(m, 2, v.is_string ? 0 : v.int_value);
      wire::put_bytes(m, 3, v.is_string ? v.string_value : std::string());
      wire::put_bytes(out, number, m);
      break;
    }
    case Scalar::kJson:
    case Scalar::kObject: {
      auto& v = as<json::Value>(p);
      std::string m;
      if (!v.is_null()) wire::put_bytes(m, 1, json::dump(v));
      wire::put_bytes(out, number, m);
      break;
    }
    case Scalar::kStrings: {
      std::string m;
      for (auto& s : as<std::vector<std::string>>(p)) wire::put_bytes(m, 1, s);
      wire::put_bytes(out, number, m);
      break;
    }
    case Scalar::kStruct: wire::put_bytes(out, number, encode_protobuf(*f.type, p)); break;
  }
}

void put_field(const FieldInfo& f, const void* p, std::string& out) {
  switch (f.shape) {
    case Shape::kValue:
      if (f.scalar == Scalar::kBytes && as<std::string>(p).empty()) return;
      put_scalar(f, f.number, p, out);
      break;
    case Shape::kOptional:
    case Shape::kBox:
      if (f.ops->size(p)) put_scalar(f, f.number, f.ops->at(p, 0), out);
      break;
    case Shape::kList:
      for (size_t i = 0, n = f.ops->size(p); i < n; ++i) put_scalar(f, f.number, f.ops->at(p, i), out);
      break;
    case Shape::kMap: {
      struct Context {
        std::string* out;
        const FieldInfo* field;
      } c{&out, &f};
      f.ops->each(p, &c, [](void* context, const std::string& key, const void* value) {
        auto& c = *static_cast<Context*>(context);
        std::string entry;
        wire::put_bytes(entry, 1, key);
        put_scalar(*c.field, 2, value, entry);
        wire::put_bytes(*c.out, c.field->number, entry);
      });
      break;
    }
  }
}

Error truncated(const TypeInfo& type) { return make_error(Code::kBadRequest, "proto: " + std::string(type.name) + ": the message ends too early"); }
Error wrong_type(const TypeInfo& type, const FieldInfo& f, int wire_type) {
  return make_error(Code::kBadRequest,
                    "proto: wrong wireType = " + std::to_string(wire_type) + " for field " + std::string(type.name) + "." + std::string(f.name));
}

Result<Time> read_time(const TypeInfo& type, std::string_view bytes) {
  int64_t seconds = 0, nanos = 0;
  bool any = false;
  wire::Reader r(bytes);
  wire::Item item;
  while (r.next(item)) {
    if (item.number == 1) seconds = static_cast<int64_t>(item.value), any = true;
    if (item.number == 2) nanos = static_cast<int32_t>(item.value);
  }
  if (r.failed()) return truncated(type);
  if (!any || (seconds == 0 && nanos == 0)) return Time{};
  return Time::at({seconds, nanos});
}

bool is_varint(Scalar s) { return s == Scalar::kBool || s == Scalar::kInt32 || s == Scalar::kInt64 || s == Scalar::kInt; }

Status read_scalar(const TypeInfo& owner, const FieldInfo& f, const wire::Item& item, void* p) {
  int expected = is_varint(f.scalar) ? wire::kVarint : f.scalar == Scalar::kDouble ? wire::kFixed64
                                                                                   : wire::kBytes;
  if (item.type != expected) return wrong_type(owner, f, item.type);
  switch (f.scalar) {
    case Scalar::kString:
    case Scalar::kBytes: as<std::string>(p) = std::string(item.bytes); break;
    case Scalar::kBool: as<bool>(p) = item.value != 0; break;
    case Scalar::kInt32: as<int32_t>(p) = static_cast<int32_t>(item.value); break;
    case Scalar::kInt64:
    case Scalar::kInt: as<int64_t>(p) = static_cast<int64_t>(item.value); break;
    case Scalar::kDouble: std::memcpy(p, &item.value, sizeof(double)); break;
    case Scalar::kTime:
    case Scalar::kMicroTime: {
      TRY(as<Time>(p), read_time(owner, item.bytes));
      break;
    }
    case Scalar::kDuration:
    case Scalar::kQuantity:
    case Scalar::kIntOrString:
    case Scalar::kJson:
    case Scalar::kObject:
    case Scalar::kStrings: {
      wire::Reader r(item.bytes);
      wire::Item in;
      if (f.scalar == Scalar::kStrings) as<std::vector<std::string>>(p).clear();
      while (r.next(in)) {
        if (f.scalar == Scalar::kDuration && in.number == 1) as<Duration>(p) = Duration(static_cast<int64_t>(in.value));
        if (f.scalar == Scalar::kQuantity && in.number == 1) {
          if (in.bytes.empty()) continue;
          TRY(as<Quantity>(p), Quantity::parse(in.bytes));
        }
        if (f.scalar == Scalar::kIntOrString) {
          auto& v = as<IntOrString>(p);
          if (in.number == 1) v.is_string = in.value == 1;
          if (in.number == 2) v.int_value = static_cast<int32_t>(in.value);
          if (in.number == 3) v.string_value = std::string(in.bytes);
        }
        if (f.scalar == Scalar::kStrings && in.number == 1) as<std::vector<std::string>>(p).emplace_back(in.bytes);
        if ((f.scalar == Scalar::kJson || f.scalar == Scalar::kObject) && in.number == 1 && !in.bytes.empty()) {
          if (is_envelope(in.bytes)) {
            TRY(as<json::Value>(p), envelope_to_object(in.bytes));
          } else {
            TRY(as<json::Value>(p), json::parse(in.bytes));
          }
        }
      }
      if (r.failed()) return truncated(owner);
      break;
    }
    case Scalar::kStruct: return decode_protobuf(*f.type, item.bytes, p);
  }
  return ok();
}

Status read_field(const TypeInfo& owner, const FieldInfo& f, const wire::Item& item, void* p) {
  switch (f.shape) {
    case Shape::kValue: return read_scalar(owner, f, item, p);
    case Shape::kOptional:
    case Shape::kBox: return read_scalar(owner, f, item, f.ops->size(p) ? const_cast<void*>(f.ops->at(p, 0)) : f.ops->append(p));
    case Shape::kList:
      if (item.type == wire::kBytes && is_varint(f.scalar)) {  // packed
        wire::Reader r(item.bytes);
        uint64_t v;
        while (!r.at_end()) {
          if (!r.varint(v)) return truncated(owner);
          wire::Item one{item.number, wire::kVarint, v, {}};
          TRY_VOID(read_scalar(owner, f, one, f.ops->append(p)));
        }
        return ok();
      }
      return read_scalar(owner, f, item, f.ops->append(p));
    case Shape::kMap: {
      if (item.type != wire::kBytes) return wrong_type(owner, f, item.type);
      wire::Reader r(item.bytes);
      wire::Item in, value;
      std::string key;
      bool has_value = false;
      while (r.next(in)) {
        if (in.number == 1) key = std::string(in.bytes);
        if (in.number == 2) value = in, has_value = true;
      }
      if (r.failed()) return truncated(owner);
      void* slot = f.ops->insert(p, std::move(key));
      return has_value ? read_scalar(owner, f, value, slot) : ok();
    }
  }
  return ok();
}

}  // namespace

std::string encode_protobuf(const TypeInfo& type, const void* object) {
  std::string out;
  // Tables are in declaration order; the wire is in order of numbers.
  constexpr size_t kMaxFields = 128;
  const FieldInfo* order[kMaxFields];
  size_t n = 0;
  for (const FieldInfo& f : type.fields)
    if (f.number != 0 && n < kMaxFields) order[n++] = &f;
  std::sort(order, order + n, [](const FieldInfo* a, const FieldInfo* b) { return a->number < b->number; });
  for (size_t i = 0; i < n; ++i) put_field(*order[i], at(object, order[i]->offset), out);
  return out;
}

Status decode_protobuf(const TypeInfo& type, std::string_view bytes, void* object) {
  wire::Reader r(bytes);
  wire::Item item;
  while (r.next(item)) {
    const FieldInfo* field = nullptr;
    for (const FieldInfo& f : type.fields)
      if (f.number == item.number) {
        field = &f;
        break;
      }
    if (field) TRY_VOID(read_field(type, *field, item, at(object, field->offset)));
  }
  if (r.failed()) return truncated(type);
  return ok();
}

}  // namespace caravel::kube
