#include <cmath>

#include "aws/client.h"
#include "aws/codec.h"
#include "base/clock.h"
#include "base/strings.h"

namespace caravel::aws {

namespace {

void member_xml(const json::Value& v, const std::string& wire, const Shape& shape, bool flat, bool ec2, XmlWriter& w);

void list_items(const json::Value& v, const std::string& wire, const Shape& shape, bool ec2, XmlWriter& w) {
  for (const json::Value& item : v.as_array()) {
    w.open(wire);
    encode_xml(item, *shape.item, ec2, w);
    w.close(wire);
  }
}

void member_xml(const json::Value& v, const std::string& wire, const Shape& shape, bool flat, bool ec2, XmlWriter& w) {
  if (v.is_null()) return;
  if (flat && shape.type == ShapeType::kList) {
    list_items(v, shape.item_wire.empty() ? wire : shape.item_wire, shape, ec2, w);
    return;
  }
  w.open(wire);
  encode_xml(v, shape, ec2, w);
  w.close(wire);
}

}  // namespace

void encode_xml(const json::Value& v, const Shape& shape, bool ec2, XmlWriter& w) {
  switch (shape.type) {
    case ShapeType::kStruct:
      for (const ShapeMember& m : shape.members)
        if (const json::Value* item = v.find(m.name)) member_xml(*item, m.wire, *m.shape, m.flat || m.shape->flat, ec2, w);
      return;
    case ShapeType::kList: list_items(v, shape.item_wire.empty() ? (ec2 ? "item" : "member") : shape.item_wire, shape, ec2, w); return;
    case ShapeType::kMap:
      for (const json::Member& m : v.as_object()) {
        w.open("entry");
        w.element(shape.key_wire.empty() ? "key" : shape.key_wire, m.key);
        member_xml(m.value, shape.value_wire.empty() ? "value" : shape.value_wire, *shape.item, false, ec2, w);
        w.close("entry");
      }
      return;
    default: w.text(scalar_text(v, shape));
  }
}

json::Value decode_xml(const XmlNode& node, const Shape& shape, bool ec2) {
  switch (shape.type) {
    case ShapeType::kStruct: {
      json::Value out = json::Value::object();
      for (const ShapeMember& m : shape.members) {
        bool flat = m.flat || m.shape->flat;
        if (flat && m.shape->type == ShapeType::kList) {
          std::string wire = m.shape->item_wire.empty() ? m.wire : m.shape->item_wire;
          json::Value items = json::Value::array();
          for (const XmlNode& c : node.children)
            if (c.name == wire) items.push_back(decode_xml(c, *m.shape->item, ec2));
          if (items.size() > 0) out.obj().append(m.name, std::move(items));
        } else if (const XmlNode* c = node.child(m.wire)) {
          out.obj().append(m.name, decode_xml(*c, *m.shape, ec2));
        }
      }
      return out;
    }
    case ShapeType::kList: {
      json::Value out = json::Value::array();
      for (const XmlNode& c : node.children) out.push_back(decode_xml(c, *shape.item, ec2));
      return out;
    }
    case ShapeType::kMap: {
      json::Value out = json::Value::object();
      for (const XmlNode& c : node.children) {
        const XmlNode* k = c.child(shape.key_wire.empty() ? "key" : shape.key_wire);
        const XmlNode* v = c.child(shape.value_wire.empty() ? "value" : shape.value_wire);
        if (k && v) out[k->text] = decode_xml(*v, *shape.item, ec2);
      }
      return out;
    }
    default: {
      auto v = scalar_value(node.text, shape, node.name);
      return v.ok() ? std::move(*v) : json::Value(node.text);
    }
  }
}

json::Value encode_json(const json::Value& v, const Shape& shape) {
  if (v.is_null()) return v;
  switch (shape.type) {
    case ShapeType::kStruct: {
      json::Value out = json::Value::object();
      for (const ShapeMember& m : shape.members) {
        const json::Value* item = v.find(m.name);
        if (!item || item->is_null() || !m.location.empty()) continue;
        out.obj().append(m.wire, encode_json(*item, *m.shape));
      }
      return out;
    }
    case ShapeType::kList: {
      json::Value out = json::Value::array();
      for (const json::Value& item : v.as_array()) out.push_back(encode_json(item, *shape.item));
      return out;
    }
    case ShapeType::kMap: {
      json::Value out = json::Value::object();
      for (const json::Member& m : v.as_object()) out.obj().append(m.key, encode_json(m.value, *shape.item));
      return out;
    }
    case ShapeType::kTime: {
      auto t = parse_rfc3339(v.as_string());
      if (!t.ok()) return v;
      return json::Value(static_cast<double>(t->millis()) / 1000.0);
    }
    case ShapeType::kBlob: return json::Value(base64_encode(v.as_string()));
    default: return v;
  }
}

Result<json::Value> decode_json(const json::Value& v, const Shape& shape, const std::string& path) {
  auto wrong = [&](const char* wanted) { return service_error("SerializationException", (path.empty() ? "the body" : path) + ": expected " + wanted); };
  if (v.is_null()) return json::Value();
  switch (shape.type) {
    case ShapeType::kStruct: {
      if (!v.is_object()) return wrong("an object");
      json::Value out = json::Value::object();
      for (const ShapeMember& m : shape.members) {
        const json::Value* item = v.find(m.wire);
        if (!item || item->is_null() || !m.location.empty()) continue;
        TRY(json::Value d, decode_json(*item, *m.shape, path.empty() ? m.wire : path + "." + m.wire));
        out.obj().append(m.name, std::move(d));
      }
      return out;
    }
    case ShapeType::kList: {
      if (!v.is_array()) return wrong("a list");
      json::Value out = json::Value::array();
      for (const json::Value& item : v.as_array()) {
        TRY(json::Value d, decode_json(item, *shape.item, path + "[]"));
        out.push_back(std::move(d));
      }
      return out;
    }
    case ShapeType::kMap: {
      if (!v.is_object()) return wrong("an object");
      json::Value out = json::Value::object();
      for (const json::Member& m : v.as_object()) {
        TRY(json::Value d, decode_json(m.value, *shape.item, path + "." + m.key));
        out.obj().append(m.key, std::move(d));
      }
      return out;
    }
    case ShapeType::kString:
      if (!v.is_string()) return wrong("a string");
      return v;
    case ShapeType::kInteger:
      if (!v.is_number()) return wrong("an integer");
      return json::Value(v.as_int());
    case ShapeType::kBool:
      if (!v.is_bool()) return wrong("a boolean");
      return v;
    case ShapeType::kDouble:
      if (!v.is_number()) return wrong("a number");
      return v;
    case ShapeType::kTime:
      if (v.is_number()) return json::Value(format_rfc3339_milli(Time{static_cast<int64_t>(v.as_double() * 1000.0 + 0.5) * 1'000'000}));
      if (!v.is_string()) return wrong("a timestamp");
      return v;
    case ShapeType::kBlob: {
      auto b = v.is_string() ? base64_decode(v.as_string()) : std::nullopt;
      if (!b) return wrong("base64");
      return json::Value(std::move(*b));
    }
    case ShapeType::kDocument: return v;
  }
  return v;
}

}  // namespace caravel::aws
