#include "kube/protobuf.h"

#include "kube/kinds.h"
#include "kube/types/admission.h"
#include "kube/types/apidiscovery.h"
#include "kube/types/apiextensions.h"
#include "kube/types/authentication.h"
#include "kube/types/autoscaling_v1.h"
#include "kube/types/core.h"
#include "kube/types/meta.h"
#include "kube/types/policy.h"
#include "kube/wire.h"

namespace caravel::kube {

namespace {
constexpr std::string_view kMagic{"k8s\0", 4};

Error no_protobuf(const std::string& api_version, const std::string& kind) {
  return make_error(Code::kUnsupported, api_version + " " + kind + " has no protobuf form; ask for application/json");
}

// The kind of the items: "PodList" -> "Pod"; "" when it is no list.
std::string item_kind(const std::string& kind) { return kind.size() > 4 && kind.ends_with("List") ? kind.substr(0, kind.size() - 4) : ""; }

Result<std::string> list_to_protobuf(const TypeInfo& item, const json::Value& object) {
  std::vector<std::string> items;
  for (auto& i : object["items"].as_array()) {
    TRY(std::string m, json_to_protobuf(item, i));
    items.push_back(std::move(m));
  }
  return encode_list(object["metadata"], items);
}

Result<json::Value> protobuf_to_list(const TypeInfo& item, const Envelope& e) {
  json::Value out = json::Value::object();
  out["kind"] = e.kind;
  out["apiVersion"] = e.api_version;
  out["metadata"] = json::Value::object();
  json::Array items;
  wire::Reader r(e.raw);
  wire::Item i;
  while (r.next(i)) {
    if (i.number == 1) {
      TRY(out["metadata"], protobuf_to_json(meta::ListMeta::type_info(), i.bytes));
    } else if (i.number == 2) {
      TRY(json::Value v, protobuf_to_json(item, i.bytes));
      v.erase("kind");
      v.erase("apiVersion");
      items.push_back(std::move(v));
    }
  }
  if (r.failed()) return make_error(Code::kBadRequest, "proto: " + e.kind + ": the message ends too early");
  out["items"] = std::move(items);
  return out;
}
}  // namespace

bool is_envelope(std::string_view bytes) { return bytes.starts_with(kMagic); }

std::string encode_envelope(const Envelope& e) {
  std::string meta;
  wire::put_bytes(meta, 1, e.api_version);
  wire::put_bytes(meta, 2, e.kind);
  std::string out(kMagic);
  wire::put_bytes(out, 1, meta);
  wire::put_bytes(out, 2, e.raw);
  wire::put_bytes(out, 3, "");
  wire::put_bytes(out, 4, e.content_type);
  return out;
}

Result<Envelope> decode_envelope(std::string_view bytes) {
  if (!is_envelope(bytes))
    return make_error(Code::kBadRequest, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  Envelope e;
  wire::Reader r(bytes.substr(kMagic.size()));
  wire::Item i;
  while (r.next(i)) {
    if (i.number == 1) {
      wire::Reader m(i.bytes);
      wire::Item k;
      while (m.next(k)) {
        if (k.number == 1) e.api_version = std::string(k.bytes);
        if (k.number == 2) e.kind = std::string(k.bytes);
      }
    } else if (i.number == 2) {
      e.raw = std::string(i.bytes);
    } else if (i.number == 4) {
      e.content_type = std::string(i.bytes);
    }
  }
  if (r.failed()) return make_error(Code::kBadRequest, "proto: Unknown: the message ends too early");
  return e;
}

Result<std::string> json_to_protobuf(const TypeInfo& type, const json::Value& value) {
  void* object = type.create();
  Status s = decode_json(type, value, object);
  Result<std::string> out = s.ok() ? Result<std::string>(encode_protobuf(type, object)) : Result<std::string>(std::move(s).error());
  type.destroy(object);
  return out;
}

Result<json::Value> protobuf_to_json(const TypeInfo& type, std::string_view message) {
  void* object = type.create();
  Status s = decode_protobuf(type, message, object);
  Result<json::Value> out = s.ok() ? Result<json::Value>(encode_json(type, object)) : Result<json::Value>(std::move(s).error());
  type.destroy(object);
  return out;
}

std::string encode_list(const json::Value& list_metadata, const std::vector<std::string>& items) {
  std::string out;
  auto meta_message = json_to_protobuf(meta::ListMeta::type_info(), list_metadata.is_object() ? list_metadata : json::Value::object());
  wire::put_bytes(out, 1, meta_message.ok() ? *meta_message : "");
  for (auto& i : items) wire::put_bytes(out, 2, i);
  return out;
}

const TypeInfo* find_type(std::string_view api_version, std::string_view kind) {
  // Objects of meta are accepted under any group version ("apps/v1 DeleteOptions").
  static const TypeInfo* const kMeta[] = {
      &meta::Status::type_info(), &meta::DeleteOptions::type_info(), &meta::CreateOptions::type_info(), &meta::UpdateOptions::type_info(),
      &meta::PatchOptions::type_info(), &meta::APIVersions::type_info(), &meta::APIGroup::type_info(), &meta::APIGroupList::type_info(),
      &meta::APIResourceList::type_info(), &meta::PartialObjectMetadata::type_info(), &meta::Table::type_info()};
  for (auto* t : kMeta)
    if (t->kind == kind) return t;
  static const TypeInfo* const kOther[] = {
      &core::Binding::type_info(), &policy::Eviction::type_info(), &autoscaling_v1::Scale::type_info(),
      &authentication::TokenRequest::type_info(), &admission::AdmissionReview::type_info(), &apiextensions::ConversionReview::type_info(),
      &apidiscovery::APIGroupDiscovery::type_info()};
  for (auto* t : kOther)
    if (t->kind == kind && t->api_version == api_version) return t;
  GroupVersion gv = parse_group_version(api_version);
  const KindInfo* k = find_kind(gv.group, gv.version, kind);
  return k ? k->type : nullptr;
}

Result<std::string> object_to_envelope(const json::Value& object) {
  Envelope e;
  e.api_version = object["apiVersion"].as_string();
  e.kind = object["kind"].as_string();
  GroupVersion gv = parse_group_version(e.api_version);
  if (const TypeInfo* t = find_type(e.api_version, e.kind)) {
    const KindInfo* k = find_kind(gv.group, gv.version, e.kind);
    if ((k && k->crd) || e.kind == "Table") return no_protobuf(e.api_version, e.kind);
    TRY(e.raw, json_to_protobuf(*t, object));
    return encode_envelope(e);
  }
  const KindInfo* k = find_kind(gv.group, gv.version, item_kind(e.kind));
  const TypeInfo* item = k && !k->crd ? k->type : e.kind == "PartialObjectMetadataList" ? &meta::PartialObjectMetadata::type_info()
                                              : e.kind == "APIGroupDiscoveryList"       ? &apidiscovery::APIGroupDiscovery::type_info()
                                                                                        : nullptr;
  if (!item) return no_protobuf(e.api_version, e.kind);
  TRY(e.raw, list_to_protobuf(*item, object));
  return encode_envelope(e);
}

Result<json::Value> envelope_to_object(std::string_view bytes) {
  TRY(Envelope e, decode_envelope(bytes));
  if (e.content_type == "application/json") return json::parse(e.raw);
  GroupVersion gv = parse_group_version(e.api_version);
  if (const TypeInfo* t = find_type(e.api_version, e.kind)) {
    TRY(json::Value v, protobuf_to_json(*t, e.raw));
    v["apiVersion"] = e.api_version;
    return v;
  }
  const KindInfo* k = find_kind(gv.group, gv.version, item_kind(e.kind));
  if (!k) return no_protobuf(e.api_version, e.kind);
  return protobuf_to_list(*k->type, e);
}

}  // namespace caravel::kube
