#include "apiserver/protobuf_watch.h"

#include "kube/types/meta.h"
#include "kube/wire.h"

namespace caravel::apiserver {

using kube::wire::put_bytes;

std::string watch_frame(std::string_view type, std::string_view object) {
  std::string raw, event;
  raw.reserve(object.size() + 8);
  put_bytes(raw, 1, object);  // RawExtension.raw
  event.reserve(raw.size() + 24);
  put_bytes(event, 1, type);
  put_bytes(event, 2, raw);
  const auto n = static_cast<uint32_t>(event.size());
  std::string frame;
  frame.reserve(event.size() + 4);
  for (int shift = 24; shift >= 0; shift -= 8) frame.push_back(static_cast<char>(n >> shift & 0xff));
  return frame + event;
}

Result<std::string> partial_metadata_message(const json::Value& object) {
  json::Value p = json::Value::object();
  p["metadata"] = object["metadata"];
  TRY(auto typed, kube::from_json<kube::meta::PartialObjectMetadata>(p));
  return kube::to_protobuf(typed);
}

Result<std::string> partial_metadata_protobuf(const json::Value& object, const char* meta_version) {
  TRY(std::string raw, partial_metadata_message(object));
  return protobuf_envelope(meta_version, "PartialObjectMetadata", raw);
}

Result<std::string> status_protobuf(const json::Value& status) {
  TRY(auto typed, kube::from_json<kube::meta::Status>(status));
  return protobuf_envelope("v1", "Status", kube::to_protobuf(typed));
}

Result<std::string> object_protobuf(const ServedType& t, const Output& out, const json::Value& object) {
  if (out.as == Output::kPartial) return partial_metadata_protobuf(object, out.meta_version);
  TRY(std::string raw, t.model->to_protobuf(object));
  return protobuf_envelope(t.resource.api_version(), t.resource.kind, raw);
}

}  // namespace caravel::apiserver
