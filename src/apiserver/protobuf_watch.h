// Watches in protobuf: what goes over the wire as application/vnd.kubernetes.protobuf;stream=watch. Each event
// is a frame: four bytes of length (big endian), then a WatchEvent whose object holds a whole message of its
// own, "k8s\0" and a runtime.Unknown.
#pragma once

#include <string>
#include <string_view>

#include "apiserver/rest.h"

namespace caravel::apiserver {

inline constexpr std::string_view kProtobufWatch = "application/vnd.kubernetes.protobuf;stream=watch";

std::string watch_frame(std::string_view type, std::string_view object);
// A PartialObjectMetadata of the object, without and with its envelope.
Result<std::string> partial_metadata_message(const json::Value& object);
Result<std::string> partial_metadata_protobuf(const json::Value& object, const char* meta_version);
// A Status with its envelope.
Result<std::string> status_protobuf(const json::Value& status);
// The object in the form that `out` asks for, with its envelope.
Result<std::string> object_protobuf(const ServedType& t, const Output& out, const json::Value& object);

}  // namespace caravel::apiserver
