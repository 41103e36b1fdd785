// Service models: the actions and shapes of schema/aws/<service>.schema, read once on first use.
//
// The text, line by line:
//   service NAME version=V protocol=ec2|query|json|rest-json|rest-xml [json=1.0] [target=T] [namespace=URI] [query-compatible]
//   action NAME INPUT OUTPUT [METHOD URI] [status=N] [wrapper=W]     ("-": no shape)
//   error SHAPE HTTPSTATUS [CODE]
//   struct NAME [payload=MEMBER], then indented: MEMBER TYPE [@wireName] [query=Q] [in=uri|querystring|header|headers]
//                                 [flat] [format=F] [required] [token]
//   list NAME TYPE [@itemName] [flat]      map NAME KEYTYPE VALUETYPE [key=K] [value=V] [flat]
//   TYPE: string int long bool double time blob document, or a shape's name.
// Threading: immutable after loading; load from one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caravel::aws {

enum class ShapeType { kString,
                       kInteger,
                       kBool,
                       kDouble,
                       kTime,
                       kBlob,
                       kDocument,
                       kStruct,
                       kList,
                       kMap };

struct Shape;
struct ShapeMember {
  std::string name;
  std::string wire;   // XML element / JSON member / header
  std::string query;  // name in form bodies (ec2: its own rule), else as wire
  std::string location;
  std::string format;
  bool flat = false, required = false, token = false;
  const Shape* shape = nullptr;
};

struct Shape {
  std::string name;
  ShapeType type = ShapeType::kString;
  std::vector<ShapeMember> members;  // struct
  std::string payload;
  const Shape* item = nullptr;  // list item, map value
  std::string item_wire;        // "" when not named
  std::string key_wire, value_wire;
  bool flat = false;
  const ShapeMember* member(std::string_view name) const;
};

struct Action {
  std::string name;
  const Shape* input = nullptr;  // null: none
  const Shape* output = nullptr;
  std::string method = "POST", uri = "/";
  int status = 200;
  std::string wrapper;
};

enum class Protocol { kEc2,
                      kQuery,
                      kJson,
                      kRestJson,
                      kRestXml };

struct Service {
  std::string name, version, json_version, target, xml_namespace;
  Protocol protocol = Protocol::kJson;
  bool query_compatible = false;
  std::map<std::string, Action, std::less<>> actions;
  struct ErrorInfo {
    int status = 400;
    std::string code;
  };
  std::map<std::string, ErrorInfo, std::less<>> errors;
  std::map<std::string, std::unique_ptr<Shape>, std::less<>> shapes;
  const Action* action(std::string_view name) const;
};

Result<std::unique_ptr<Service>> parse_service(std::string_view text);
// The built-in model; null for a service that is not described.
const Service* find_service(std::string_view name);
std::vector<std::string> service_names();

}  // namespace caravel::aws
