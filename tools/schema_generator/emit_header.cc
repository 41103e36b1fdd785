#include <set>
#include <sstream>

#include "emit.h"

namespace schema {
namespace {

std::string cpp_scalar(const Group& g, const Type& t) {
  if (t.scalar == "struct") return t.ns == g.ns ? t.name : t.ns + "::" + t.name;
  if (t.scalar == "string" || t.scalar == "bytes") return "std::string";
  if (t.scalar == "bool") return "bool";
  if (t.scalar == "int32") return "int32_t";
  if (t.scalar == "int64" || t.scalar == "int") return "int64_t";
  if (t.scalar == "double") return "double";
  if (t.scalar == "time" || t.scalar == "microtime") return "caravel::Time";
  if (t.scalar == "duration") return "caravel::Duration";
  if (t.scalar == "quantity") return "kube::Quantity";
  if (t.scalar == "intstr") return "kube::IntOrString";
  if (t.scalar == "strings") return "std::vector<std::string>";
  return "caravel::json::Value";
}

std::string cpp_type(const Group& g, const Type& t) {
  std::string s = cpp_scalar(g, t);
  switch (t.shape) {
    case Type::kValue: return s;
    case Type::kOptional: return "std::optional<" + s + ">";
    case Type::kBox: return "kube::Box<" + s + ">";
    // vector<bool> has no addressable elements.
    case Type::kList: return t.scalar == "bool" ? "std::deque<bool>" : "std::vector<" + s + ">";
    case Type::kMap: return "std::map<std::string, " + s + ">";
  }
  return s;
}

std::string initial(const Type& t) {
  if (t.shape != Type::kValue) return "";
  if (t.scalar == "bool") return " = false";
  if (t.scalar == "int32" || t.scalar == "int64" || t.scalar == "int" || t.scalar == "double") return " = 0";
  if (t.scalar == "duration") return "{}";
  return "";
}

}  // namespace

std::string header_text(Model&, const Group& g) {
  std::ostringstream out;
  std::set<std::string> includes;
  bool deque = false;
  for (auto& s : g.structs)
    for (auto& f : s.fields) {
      if (f.type.scalar == "struct" && f.type.ns != g.ns) includes.insert(f.type.ns);
      if (f.type.scalar == "bool" && f.type.shape == Type::kList) deque = true;
    }
  out << "// Generated from schema/" << g.ns << ".schema. Do not edit.\n#pragma once\n\n";
  if (deque) out << "#include <deque>\n";
  out << "#include <map>\n#include <optional>\n#include <string>\n#include <vector>\n\n"
         "#include \"base/clock.h\"\n#include \"base/json.h\"\n#include \"kube/codec.h\"\n#include \"kube/int_or_string.h\"\n"
         "#include \"kube/quantity.h\"\n#include \"kube/resource.h\"\n";
  for (auto& i : includes) out << "#include \"kube/types/" << i << ".h\"\n";
  out << "\nnamespace caravel::kube::" << g.ns << " {\n\n";
  for (auto& s : g.structs) out << "struct " << s.name << ";\n";
  for (auto& s : g.structs) {
    out << "\n";
    if (!s.description.empty()) out << "// " << s.description << "\n";
    out << "struct " << s.name;
    const char* sep = " : ";
    for (auto& f : s.fields)
      if (f.inlined) {
        out << sep << cpp_scalar(g, f.type);
        sep = ", ";
      }
    out << " {\n";
    for (auto& f : s.fields) {
      if (f.inlined) continue;
      out << "  " << cpp_type(g, f.type) << " " << f.cpp << initial(f.type) << ";";
      if (!f.description.empty()) out << "  // " << f.description;
      out << "\n";
    }
    if (s.outlined) {
      out << "\n  " << s.name << "();\n  ~" << s.name << "();\n  " << s.name << "(const " << s.name << "&);\n  " << s.name << "("
          << s.name << "&&) noexcept;\n  " << s.name << "& operator=(const " << s.name << "&);\n  " << s.name << "& operator=("
          << s.name << "&&) noexcept;\n";
      out << "  bool operator==(const " << s.name << "&) const;\n";
    } else {
      out << "  bool operator==(const " << s.name << "&) const = default;\n";
    }
    out << "  static const kube::TypeInfo& type_info();\n";
    if (s.what == Struct::kKind) out << "  static const kube::Resource& resource();\n";
    out << "};\n";
  }
  out << "\n}  // namespace caravel::kube::" << g.ns << "\n";
  return out.str();
}

std::string forward_text(const Model& m) {
  std::ostringstream out;
  out << "// Generated from schema/. Do not edit. Declares every type of the Kubernetes API.\n#pragma once\n\n";
  for (auto& g : m.groups) {
    out << "namespace caravel::kube::" << g.ns << " {\n";
    for (auto& s : g.structs) out << "struct " << s.name << ";\n";
    out << "}\n";
  }
  return out.str();
}

}  // namespace schema
