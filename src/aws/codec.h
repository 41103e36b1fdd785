// The pieces of wire.cc: one tree against one shape, per notation. Internal to aws.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "aws/model.h"
#include "aws/xml.h"
#include "base/json.h"
#include "base/result.h"

namespace caravel::aws {

using Form = std::map<std::string, std::string, std::less<>>;
// `prefix` names the value: "" for the input itself.
Result<json::Value> decode_form(const Form& form, const std::string& prefix, const Shape& shape, bool ec2);
Status encode_form(const json::Value& v, const std::string& prefix, const Shape& shape, bool ec2, Form& out);

void encode_xml(const json::Value& v, const Shape& shape, bool ec2, XmlWriter& w);
json::Value decode_xml(const XmlNode& node, const Shape& shape, bool ec2);

json::Value encode_json(const json::Value& v, const Shape& shape);
Result<json::Value> decode_json(const json::Value& v, const Shape& shape, const std::string& path);

// Scalars as text ("true", "12", "2026-…"), and back by the shape.
std::string scalar_text(const json::Value& v, const Shape& shape);
Result<json::Value> scalar_value(std::string_view text, const Shape& shape, std::string_view name);

}  // namespace caravel::aws
