#include "kube/openapi_protobuf.h"

#include <span>

#include "kube/wire.h"

namespace caravel::kube {
namespace {

using json::Value;

// How a JSON member is written. kExtensions stands for all members x-...
enum class Form { kString,
                  kStrings,
                  kBool,
                  kInt,
                  kDouble,
                  kAny,
                  kAnys,
                  kMessage,
                  kMessages,
                  kNamed,
                  kType,
                  kItems,
                  kAdditional,
                  kParameters,
                  kResponses,
                  kPaths,
                  kSchemaItem,
                  kExtensions };
struct Field {
  std::string_view key;
  int number;
  Form form;
  std::span<const Field> (*message)() = nullptr;
};

void encode(std::string& out, std::span<const Field> fields, const Value& v);

std::span<const Field> schema_fields();
std::span<const Field> path_item_fields();
std::span<const Field> operation_fields();
std::span<const Field> info_fields();
std::span<const Field> response_fields();

std::span<const Field> document_fields() {
  static const Field f[] = {{"swagger", 1, Form::kString}, {"info", 2, Form::kMessage, info_fields}, {"paths", 8, Form::kPaths}, {"definitions", 9, Form::kNamed}};
  return f;
}
std::span<const Field> info_fields() {
  static const Field f[] = {{"title", 1, Form::kString}, {"version", 2, Form::kString}, {"description", 3, Form::kString}};
  return f;
}
std::span<const Field> path_item_fields() {
  static const Field f[] = {{"get", 2, Form::kMessage, operation_fields}, {"put", 3, Form::kMessage, operation_fields}, {"post", 4, Form::kMessage, operation_fields}, {"delete", 5, Form::kMessage, operation_fields}, {"options", 6, Form::kMessage, operation_fields}, {"head", 7, Form::kMessage, operation_fields}, {"patch", 8, Form::kMessage, operation_fields}, {"parameters", 9, Form::kParameters}, {"x-", 10, Form::kExtensions}};
  return f;
}
std::span<const Field> operation_fields() {
  static const Field f[] = {{"tags", 1, Form::kStrings}, {"summary", 2, Form::kString}, {"description", 3, Form::kString}, {"operationId", 5, Form::kString}, {"produces", 6, Form::kStrings}, {"consumes", 7, Form::kStrings}, {"parameters", 8, Form::kParameters}, {"responses", 9, Form::kResponses}, {"schemes", 10, Form::kStrings}, {"deprecated", 11, Form::kBool}, {"x-", 13, Form::kExtensions}};
  return f;
}
std::span<const Field> body_parameter_fields() {
  static const Field f[] = {{"description", 1, Form::kString}, {"name", 2, Form::kString}, {"in", 3, Form::kString}, {"required", 4, Form::kBool}, {"schema", 5, Form::kMessage, schema_fields}};
  return f;
}
std::span<const Field> query_parameter_fields() {
  static const Field f[] = {{"required", 1, Form::kBool}, {"in", 2, Form::kString}, {"description", 3, Form::kString}, {"name", 4, Form::kString}, {"type", 6, Form::kString}, {"format", 7, Form::kString}, {"uniqueItems", 20, Form::kBool}};
  return f;
}
// Path and header parameters have the same numbers.
std::span<const Field> path_parameter_fields() {
  static const Field f[] = {{"required", 1, Form::kBool}, {"in", 2, Form::kString}, {"description", 3, Form::kString}, {"name", 4, Form::kString}, {"type", 5, Form::kString}, {"format", 6, Form::kString}, {"uniqueItems", 19, Form::kBool}};
  return f;
}
std::span<const Field> response_fields() {
  static const Field f[] = {{"description", 1, Form::kString}, {"schema", 2, Form::kSchemaItem}, {"x-", 5, Form::kExtensions}};
  return f;
}
std::span<const Field> schema_fields() {
  static const Field f[] = {{"$ref", 1, Form::kString},
                            {"format", 2, Form::kString},
                            {"title", 3, Form::kString},
                            {"description", 4, Form::kString},
                            {"default", 5, Form::kAny},
                            {"multipleOf", 6, Form::kDouble},
                            {"maximum", 7, Form::kDouble},
                            {"exclusiveMaximum", 8, Form::kBool},
                            {"minimum", 9, Form::kDouble},
                            {"exclusiveMinimum", 10, Form::kBool},
                            {"maxLength", 11, Form::kInt},
                            {"minLength", 12, Form::kInt},
                            {"pattern", 13, Form::kString},
                            {"maxItems", 14, Form::kInt},
                            {"minItems", 15, Form::kInt},
                            {"uniqueItems", 16, Form::kBool},
                            {"maxProperties", 17, Form::kInt},
                            {"minProperties", 18, Form::kInt},
                            {"required", 19, Form::kStrings},
                            {"enum", 20, Form::kAnys},
                            {"additionalProperties", 21, Form::kAdditional},
                            {"type", 22, Form::kType},
                            {"items", 23, Form::kItems},
                            {"allOf", 24, Form::kMessages, schema_fields},
                            {"properties", 25, Form::kNamed},
                            {"readOnly", 27, Form::kBool},
                            {"example", 30, Form::kAny},
                            {"x-", 31, Form::kExtensions}};
  return f;
}

void put_message(std::string& out, int number, std::span<const Field> fields, const Value& v) {
  std::string inner;
  encode(inner, fields, v);
  wire::put_bytes(out, number, inner);
}

// Any { yaml = 2 }; JSON is YAML.
std::string any(const Value& v) {
  std::string out;
  wire::put_bytes(out, 2, json::dump(v));
  return out;
}

// NamedX { name = 1; value = 2 }
std::string named(std::string_view name, const std::string& value) {
  std::string out;
  wire::put_bytes(out, 1, name);
  wire::put_bytes(out, 2, value);
  return out;
}

// ParametersItem { parameter = 1 }, Parameter { body = 1; non_body = 2 }, NonBodyParameter { header = 1; query = 3; path = 4 }
void put_parameter(std::string& out, int number, const Value& v) {
  const std::string& in = v["in"].as_string();
  std::string item, parameter;
  if (in == "body") {
    put_message(parameter, 1, body_parameter_fields(), v);
  } else {
    std::string non_body;
    put_message(non_body, in == "query" ? 3 : in == "path" ? 4
                                                           : 1,
                in == "query" ? query_parameter_fields() : path_parameter_fields(), v);
    wire::put_bytes(parameter, 2, non_body);
  }
  wire::put_bytes(item, 1, parameter);
  wire::put_bytes(out, number, item);
}

void put(std::string& out, const Field& f, const Value& v) {
  switch (f.form) {
    case Form::kString:
      wire::put_bytes(out, f.number, v.as_string());
      break;
    case Form::kStrings:
      for (auto& s : v.as_array()) wire::put_bytes(out, f.number, s.as_string());
      break;
    case Form::kBool:
      if (v.as_bool()) wire::put_int(out, f.number, 1);
      break;
    case Form::kInt:
      wire::put_int(out, f.number, v.as_int());
      break;
    case Form::kDouble:
      wire::put_double(out, f.number, v.as_double());
      break;
    case Form::kAny:
      wire::put_bytes(out, f.number, any(v));
      break;
    case Form::kAnys:
      for (auto& e : v.as_array()) wire::put_bytes(out, f.number, any(e));
      break;
    case Form::kMessage:
      put_message(out, f.number, f.message(), v);
      break;
    case Form::kMessages:
      for (auto& e : v.as_array()) put_message(out, f.number, f.message(), e);
      break;
    case Form::kNamed: {  // Definitions, Properties { repeated NamedSchema = 1 }
      std::string all;
      for (auto& m : v.as_object()) {
        std::string schema;
        encode(schema, schema_fields(), m.value);
        wire::put_bytes(all, 1, named(m.key.view(), schema));
      }
      wire::put_bytes(out, f.number, all);
      break;
    }
    case Form::kType: {  // TypeItem { repeated string = 1 }
      std::string type;
      if (v.is_string()) wire::put_bytes(type, 1, v.as_string());
      for (auto& e : v.as_array()) wire::put_bytes(type, 1, e.as_string());
      wire::put_bytes(out, f.number, type);
      break;
    }
    case Form::kItems:         // ItemsItem { repeated Schema = 1 }
    case Form::kSchemaItem:    // SchemaItem { schema = 1 }
    case Form::kAdditional: {  // AdditionalPropertiesItem { schema = 1; boolean = 2 }
      std::string item;
      if (v.is_bool()) wire::put_int(item, 2, v.as_bool());
      else put_message(item, 1, schema_fields(), v);
      wire::put_bytes(out, f.number, item);
      break;
    }
    case Form::kParameters:
      for (auto& p : v.as_array()) put_parameter(out, f.number, p);
      break;
    case Form::kResponses: {  // Responses { repeated NamedResponseValue = 1 }, ResponseValue { response = 1 }
      std::string all;
      for (auto& m : v.as_object()) {
        std::string value;
        put_message(value, 1, response_fields(), m.value);
        wire::put_bytes(all, 1, named(m.key.view(), value));
      }
      wire::put_bytes(out, f.number, all);
      break;
    }
    case Form::kPaths: {  // Paths { repeated NamedPathItem = 2 }
      std::string all;
      for (auto& m : v.as_object()) {
        std::string item;
        encode(item, path_item_fields(), m.value);
        wire::put_bytes(all, 2, named(m.key.view(), item));
      }
      wire::put_bytes(out, f.number, all);
      break;
    }
    case Form::kExtensions:
      break;  // encode() sees to them
  }
}

void encode(std::string& out, std::span<const Field> fields, const Value& v) {
  for (const Field& f : fields) {
    if (f.form != Form::kExtensions) {
      if (const Value* member = v.find(f.key)) put(out, f, *member);
      continue;
    }
    for (auto& m : v.as_object())
      if (m.key.starts_with("x-")) wire::put_bytes(out, f.number, named(m.key.view(), any(m.value)));
  }
}

}  // namespace

std::string openapi_v2_protobuf(const Value& document) {
  std::string out;
  encode(out, document_fields(), document);
  return out;
}

}  // namespace caravel::kube
