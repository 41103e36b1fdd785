#include "apiserver/builtin_model.h"

#include <mutex>
#include <unordered_map>

#include "apiserver/columns.h"
#include "apiserver/defaults.h"
#include "apiserver/ownership.h"
#include "kube/patch.h"
#include "kube/schema.h"
#include "kube/type_info.h"
#include "kube/validation.h"
#include "kube/wrong_types.h"

namespace caravel::apiserver {

namespace {

using json::Value;
using kube::FieldInfo;
using kube::Scalar;
using kube::Shape;
using kube::TypeInfo;

// The defaults that a type's own fields have in the tables, those of inlined types among them. Most types have none.
struct TableDefault {
  const FieldInfo* field;
  Value value;
};
void gather_defaults(const TypeInfo& type, std::vector<TableDefault>& out) {
  for (const FieldInfo& f : type.fields) {
    if (f.has(FieldInfo::kInline)) gather_defaults(*f.type, out);
    else if (!f.facts().default_json.empty())
      if (auto d = json::parse(f.facts().default_json); d.ok()) out.push_back({&f, std::move(*d)});
  }
}
const std::vector<TableDefault>& defaults_of(const TypeInfo& type) {
  static std::mutex mutex;
  static std::unordered_map<const TypeInfo*, std::vector<TableDefault>> cache;
  std::lock_guard lock(mutex);
  auto [it, fresh] = cache.try_emplace(&type);
  if (fresh) gather_defaults(type, it->second);
  return it->second;
}

// An absent member that was only looked at is null.
bool null_is_absent(const FieldInfo& f) { return f.scalar != Scalar::kTime && f.scalar != Scalar::kMicroTime && f.scalar != Scalar::kJson; }

bool lacks(const TableDefault& d, const Value& v) {
  const Value* at = v.find(d.field->name);
  return !at || at->is_null() || (at->is_string() && at->as_string().empty() && d.field->shape == Shape::kValue);
}

// Whether table_defaults() would change something: most objects have their defaults, and what they share with others stays shared as
// long as nobody takes hold of it to write.
bool wants_defaults(const TypeInfo& type, const Value& v) {
  if (!v.is_object() || type.special != kube::Special::kNone) return false;
  for (const TableDefault& d : defaults_of(type))
    if (lacks(d, v)) return true;
  size_t base = 0, next = 0;
  for (auto& m : v.as_object()) {
    if (!m.value.is_object() && !m.value.is_array() && !m.value.is_null()) continue;
    const FieldInfo* f = type.find(m.key, &base, next);
    if (!f) continue;
    if (m.value.is_null() && null_is_absent(*f)) return true;
    if (f->scalar != Scalar::kStruct) continue;
    if (f->shape == Shape::kList && m.value.is_array()) {
      for (auto& i : m.value.as_array())
        if (wants_defaults(*f->type, i)) return true;
    } else if (f->shape == Shape::kMap && m.value.is_object()) {
      for (auto& e : m.value.as_object())
        if (wants_defaults(*f->type, e.value)) return true;
    } else if (wants_defaults(*f->type, m.value)) {
      return true;
    }
  }
  return false;
}

void fill_defaults(const TypeInfo& type, Value& v) {
  if (!v.is_object() || type.special != kube::Special::kNone) return;
  std::vector<std::string> gone;
  size_t base = 0, next = 0;
  for (auto& m : v.obj()) {
    if (!m.value.is_object() && !m.value.is_array() && !m.value.is_null()) continue;
    const FieldInfo* f = type.find(m.key, &base, next);
    if (!f) continue;
    if (m.value.is_null() && null_is_absent(*f)) gone.push_back(m.key);
    if (f->scalar != Scalar::kStruct) continue;
    if (f->shape == Shape::kList && m.value.is_array()) {
      for (auto& i : m.value.arr()) fill_defaults(*f->type, i);
    } else if (f->shape == Shape::kMap && m.value.is_object()) {
      for (auto& e : m.value.obj()) fill_defaults(*f->type, e.value);
    } else {
      fill_defaults(*f->type, m.value);
    }
  }
  for (auto& key : gone) v.erase(key);
  for (const TableDefault& d : defaults_of(type))
    if (lacks(d, v)) v[d.field->name] = d.value;
}

void table_defaults(const TypeInfo& type, Value& v) {
  if (wants_defaults(type, v)) fill_defaults(type, v);
}

// Directions of an autoscaler whose list of policies is there and empty, which is not the same as none.
std::vector<std::string_view> empty_policies(const Value& object) {
  std::vector<std::string_view> out;
  for (std::string_view direction : {"scaleUp", "scaleDown"}) {
    const Value& policies = object["spec"]["behavior"][direction]["policies"];
    if (policies.is_array() && policies.size() == 0) out.push_back(direction);
  }
  return out;
}

class BuiltinModel final : public TypeModel {
 public:
  explicit BuiltinModel(const kube::KindInfo& kind) : kind_(kind), type_(*kind.type), resource_(kind.resource()) {}

  Status accept(Value& object, std::vector<std::string>& unknown) const override {
    const std::vector<std::string_view> empty = resource_.kind == "HorizontalPodAutoscaler" && resource_.version == "v2" ? empty_policies(object) : std::vector<std::string_view>();
    TRY_VOID(accept_typed(type_, object, unknown));
    for (auto direction : empty) object["spec"]["behavior"][direction]["policies"] = Value::array();
    object["apiVersion"] = resource_.api_version();
    object["kind"] = resource_.kind;
    return ok();
  }
  void set_defaults(Value& object, bool spec_has_them) const override {
    const std::string& k = resource_.kind;
    const bool spec_only = k == "Pod" || k == "Deployment" || k == "ReplicaSet" || k == "StatefulSet" || k == "DaemonSet" || k == "Job";
    if (!(spec_has_them && spec_only)) set_builtin_defaults(resource_.group, resource_.version, resource_.kind, object);
    table_defaults(type_, object);
  }
  const kube::Schema* schema() const override { return kube::schema_of(type_).get(); }
  void validate(const Value& object, const Value* old, std::vector<Cause>& causes) const override {
    for (auto& e : kube::validate_builtin(kind_, object, old)) causes.push_back({e.field, e.reason, e.message});
  }
  Result<Value> strategic_merge(const Value& live, const Value& patch) const override {
    auto r = kube::strategic_merge_patch(*kube::schema_of(type_), live, patch);
    if (!r.ok()) return status::bad_request(r.error().message);
    // The patch may say what it likes about the kind, in a text.
    for (const char* f : {"kind", "apiVersion"}) {
      const Value& given = (*r)[f];
      if (!given.is_null() && !given.is_string()) return invalid(given.is_int() ? "cannot convert int64 to string" : "unrecognized type: string");
    }
    TRY_VOID(kube::convert_numbers(type_, *r));
    (*r)["apiVersion"] = resource_.api_version();
    (*r)["kind"] = resource_.kind;
    return r;
  }
  Result<Value> apply(const Value* live, const Value& config, const Writer& w, bool force) const override {
    return apply_owned(*kube::schema_of(type_), live, config, w, force, kind_.subresource("status") != nullptr);
  }
  void track(const Value* old, Value& object, const Writer& w) const override {
    track_owned(*kube::schema_of(type_), old, object, w, kind_.subresource("status") != nullptr);
  }
  Value table(const std::vector<ValuePtr>& objects, Time now) const override {
    return table_of(kind_, objects, now);
  }
  Result<std::string> to_protobuf(const Value& object) const override {
    void* o = type_.create();
    Status s = kube::decode_json(type_, object, o);
    Result<std::string> out = s.ok() ? Result<std::string>(kube::encode_protobuf(type_, o)) : Result<std::string>(std::move(s).error());
    type_.destroy(o);
    return out;
  }
  Result<Value> from_protobuf(std::string_view body) const override { return decode_envelope(type_, body); }

 private:
  const kube::KindInfo& kind_;
  const TypeInfo& type_;
  const kube::Resource& resource_;
};

bool read_varint(std::string_view& in, uint64_t& v) {
  v = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    unsigned char c = static_cast<unsigned char>(in[0]);
    in.remove_prefix(1);
    v |= static_cast<uint64_t>(c & 0x7f) << shift;
    if (!(c & 0x80)) return true;
  }
  return false;
}

}  // namespace

Result<Value> decode_envelope(const TypeInfo& type, std::string_view body) {
  auto bad = [] { return status::bad_request("the body is not a Kubernetes protobuf message: it does not begin with the bytes 'k8s\\0' and an envelope"); };
  if (body.substr(0, 4) != std::string_view("k8s\0", 4)) return bad();
  body.remove_prefix(4);
  std::string_view raw;
  while (!body.empty()) {  // runtime.Unknown: 1 typeMeta, 2 raw
    uint64_t tag = 0, size = 0;
    if (!read_varint(body, tag) || (tag & 7) != 2 || !read_varint(body, size) || size > body.size()) return bad();
    if (tag >> 3 == 2) raw = body.substr(0, size);
    body.remove_prefix(size);
  }
  void* o = type.create();
  Status s = kube::decode_protobuf(type, raw, o);
  Result<Value> out = s.ok() ? Result<Value>(kube::encode_json(type, o)) : Result<Value>(status::bad_request(s.error().message));
  type.destroy(o);
  return out;
}

Status accept_typed(const TypeInfo& type, Value& object, std::vector<std::string>& unknown) {
  TRY(Value canonical, kube::canonical_json(type, object, &unknown));
  object = std::move(canonical);
  return ok();
}

std::shared_ptr<const TypeModel> make_builtin_model(const kube::KindInfo& kind) { return std::make_shared<BuiltinModel>(kind); }

}  // namespace caravel::apiserver
