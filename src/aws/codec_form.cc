#include <cmath>

#include "aws/client.h"
#include "aws/codec.h"
#include "base/clock.h"
#include "base/strings.h"

namespace caravel::aws {

std::string scalar_text(const json::Value& v, const Shape& shape) {
  switch (shape.type) {
    case ShapeType::kBlob: return base64_encode(v.as_string());
    default: break;
  }
  if (v.is_bool()) return v.as_bool() ? "true" : "false";
  if (v.is_int()) return std::to_string(v.as_int());
  if (v.is_number()) return json::dump(v);
  return v.as_string();
}

Result<json::Value> scalar_value(std::string_view text, const Shape& shape, std::string_view name) {
  switch (shape.type) {
    case ShapeType::kInteger: {
      auto n = parse_int(trim(text));
      if (!n) return service_error("InvalidParameterValue", "Value (" + std::string(text) + ") for parameter " + std::string(name) + " is invalid. Expected an integer.");
      return json::Value(*n);
    }
    case ShapeType::kBool: {
      std::string t = to_lower(trim(text));
      if (t == "true" || t == "1") return json::Value(true);
      if (t == "false" || t == "0") return json::Value(false);
      return service_error("InvalidParameterValue", "Value (" + std::string(text) + ") for parameter " + std::string(name) + " is invalid. Expected a boolean.");
    }
    case ShapeType::kDouble: {
      auto d = parse_double(trim(text));
      if (!d) return service_error("InvalidParameterValue", "Value (" + std::string(text) + ") for parameter " + std::string(name) + " is invalid. Expected a number.");
      return json::Value(*d);
    }
    case ShapeType::kBlob: {
      auto b = base64_decode(text);
      if (!b) return service_error("InvalidParameterValue", "Parameter " + std::string(name) + " is not valid base64.");
      return json::Value(std::move(*b));
    }
    default: return json::Value(std::string(text));
  }
}

namespace {

bool present(const Form& form, const std::string& name) {
  auto it = form.lower_bound(name);
  if (it == form.end()) return false;
  if (it->first == name) return true;
  it = form.lower_bound(name + ".");
  return it != form.end() && it->first.compare(0, name.size() + 1, name + ".") == 0;
}

std::string list_prefix(const std::string& prefix, const Shape& shape, bool flat, bool ec2) {
  if (ec2 || flat) {
    if (!ec2 && !shape.item_wire.empty()) {
      size_t dot = prefix.rfind('.');
      return (dot == std::string::npos ? "" : prefix.substr(0, dot + 1)) + shape.item_wire;
    }
    return prefix;
  }
  return prefix + "." + (shape.item_wire.empty() ? "member" : shape.item_wire);
}

Result<json::Value> decode(const Form& form, const std::string& prefix, const Shape& shape, bool flat, bool ec2) {
  switch (shape.type) {
    case ShapeType::kStruct: {
      json::Value out = json::Value::object();
      for (const ShapeMember& m : shape.members) {
        std::string name = prefix.empty() ? m.query : prefix + "." + m.query;
        if (!present(form, name)) {
          // Flattened query lists are named by their items.
          if (ec2 || !(m.shape->flat || m.flat) || m.shape->item_wire.empty()) continue;
          if (!present(form, list_prefix(name, *m.shape, true, ec2))) continue;
        }
        TRY(json::Value v, decode(form, name, *m.shape, m.flat || m.shape->flat, ec2));
        out.obj().append(m.name, std::move(v));
      }
      return out;
    }
    case ShapeType::kList: {
      json::Value out = json::Value::array();
      std::string base = list_prefix(prefix, shape, flat, ec2);
      for (size_t n = 1; n < 100'000; ++n) {
        std::string name = base + "." + std::to_string(n);
        if (!present(form, name)) break;
        TRY(json::Value v, decode(form, name, *shape.item, false, ec2));
        out.push_back(std::move(v));
      }
      return out;
    }
    case ShapeType::kMap: {
      json::Value out = json::Value::object();
      std::string base = flat ? prefix : prefix + ".entry";
      for (size_t n = 1; n < 10'000; ++n) {
        std::string name = base + "." + std::to_string(n);
        if (!present(form, name)) break;
        auto k = form.find(name + "." + (shape.key_wire.empty() ? "key" : shape.key_wire));
        if (k == form.end()) continue;
        TRY(json::Value v, decode(form, name + "." + (shape.value_wire.empty() ? "value" : shape.value_wire), *shape.item, false, ec2));
        out[k->second] = std::move(v);
      }
      return out;
    }
    default: {
      auto it = form.find(prefix);
      if (it == form.end()) return json::Value();
      return scalar_value(it->second, shape, prefix);
    }
  }
}

void encode(const json::Value& v, const std::string& prefix, const Shape& shape, bool flat, bool ec2, Form& out) {
  if (v.is_null()) return;
  switch (shape.type) {
    case ShapeType::kStruct:
      for (const ShapeMember& m : shape.members)
        if (const json::Value* item = v.find(m.name)) encode(*item, prefix.empty() ? m.query : prefix + "." + m.query, *m.shape, m.flat || m.shape->flat, ec2, out);
      return;
    case ShapeType::kList: {
      std::string base = list_prefix(prefix, shape, flat, ec2);
      if (v.size() == 0 && !ec2) out[prefix] = "";
      size_t n = 1;
      for (const json::Value& item : v.as_array()) encode(item, base + "." + std::to_string(n++), *shape.item, false, ec2, out);
      return;
    }
    case ShapeType::kMap: {
      size_t n = 1;
      for (const json::Member& m : v.as_object()) {
        std::string base = (flat ? prefix : prefix + ".entry") + "." + std::to_string(n++);
        out[base + "." + (shape.key_wire.empty() ? "key" : shape.key_wire)] = m.key;
        encode(m.value, base + "." + (shape.value_wire.empty() ? "value" : shape.value_wire), *shape.item, false, ec2, out);
      }
      return;
    }
    default: out[prefix] = scalar_text(v, shape);
  }
}

}  // namespace

Result<json::Value> decode_form(const Form& form, const std::string& prefix, const Shape& shape, bool ec2) { return decode(form, prefix, shape, false, ec2); }
Status encode_form(const json::Value& v, const std::string& prefix, const Shape& shape, bool ec2, Form& out) {
  encode(v, prefix, shape, false, ec2, out);
  return ok();
}

}  // namespace caravel::aws
