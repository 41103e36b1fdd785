// Kubernetes' protobuf wire form: the envelope around objects, and conversions between JSON and
// protobuf by table. Messages themselves are encoded by kube/codec.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/type_info.h"

namespace caravel::kube {

inline constexpr std::string_view kProtobufContentType = "application/vnd.kubernetes.protobuf";

// What `k8s\0` and a runtime.Unknown hold.
struct Envelope {
  std::string api_version, kind;
  std::string raw;  // the message, or other bytes if content_type says so
  std::string content_type;
};
bool is_envelope(std::string_view bytes);
std::string encode_envelope(const Envelope& envelope);
Result<Envelope> decode_envelope(std::string_view bytes);

// An object of JSON (with apiVersion and kind) as message bytes, without envelope, and back.
Result<std::string> json_to_protobuf(const TypeInfo& type, const json::Value& object);
Result<json::Value> protobuf_to_json(const TypeInfo& type, std::string_view message);

// A whole body with its envelope. The type is found in the registry by apiVersion and kind; lists
// ("PodList") by the kind of their items. kUnsupported when the kind has no protobuf form (custom resources).
Result<std::string> object_to_envelope(const json::Value& object);
Result<json::Value> envelope_to_object(std::string_view bytes);
// The message of a list from the messages of its items.
std::string encode_list(const json::Value& list_metadata, const std::vector<std::string>& items);

// The tables of a top-level type: a kind, or another object with apiVersion and kind ("v1" "DeleteOptions";
// options are found under every group version). nullptr when unknown.
const TypeInfo* find_type(std::string_view api_version, std::string_view kind);

}  // namespace caravel::kube
