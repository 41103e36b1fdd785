// The schema language as data (schema/README.md describes it), and its parser.
// A host tool: plain C++, no dependency on src/.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace schema {

struct Type {
  std::string scalar;    // "string", "int32", ... or "struct"
  std::string ns, name;  // of a struct
  std::string named;     // of a string with a name of its own: "core.PullPolicy"
  enum Shape { kValue,
               kOptional,
               kBox,
               kList,
               kMap } shape = kValue;
};

struct Field {
  std::string json, cpp;
  Type type;
  int number = 0;
  bool inlined = false;
  std::map<std::string, std::string> attrs;
  std::string description;
  std::vector<std::string> enum_values;
  bool has(const std::string& a) const { return attrs.count(a) != 0; }
  std::string attr(const std::string& a) const {
    auto it = attrs.find(a);
    return it == attrs.end() ? "" : it->second;
  }
};

struct Column {
  std::string name, type, source, priority = "0";
};
struct Subresource {
  std::string name, api_version, kind, verbs, spec_path, status_path, selector_path;
};

struct Struct {
  std::string name, description;
  enum What { kStruct,
              kObject,
              kKind } what = kStruct;
  std::vector<Field> fields;
  bool atomic = false;  // owned as a whole
  // Kinds only.
  std::string plural, singular, version, verbs;
  bool namespaced = true;
  std::map<std::string, std::string> attrs;
  std::vector<Column> columns;
  std::vector<Subresource> subresources;
  std::vector<std::string> selectable;
  // Worked out later.
  bool outlined = false;
  double weight = -1;
};

struct Group {
  std::string ns, group, version;
  bool crd = false;
  std::vector<Struct> structs;
  std::map<std::string, std::vector<std::string>> enums;
  std::map<std::string, bool> enum_closed;
  std::string api_version(const Struct& s) const {
    std::string v = s.version.empty() ? version : s.version;
    return group.empty() ? v : group + "/" + v;
  }
};

struct Model {
  std::vector<Group> groups;
  Group* find_group(const std::string& ns);
  Struct* find(const std::string& ns, const std::string& name);
};

// Reads every *.schema file of a directory. Exits with a message that names file and line on an error.
Model parse_directory(const std::string& dir);
// Resolves references, orders structs so that what is held by value comes first, finds recursion,
// and decides whose special members are defined out of line.
void analyse(Model& model);

std::string snake_case(const std::string& json_name);

}  // namespace schema
