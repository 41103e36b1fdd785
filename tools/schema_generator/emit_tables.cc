#include <set>
#include <sstream>

#include "emit.h"

namespace schema {
namespace {

std::string quote(const std::string& s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '?' && out.ends_with("?")) out += "\"\"";  // no trigraphs
    out += c;
  }
  return out + "\"";
}

std::string scalar_name(const std::string& s) {
  static const std::map<std::string, std::string> names = {
      {"string", "kString"}, {"bool", "kBool"}, {"int32", "kInt32"}, {"int64", "kInt64"}, {"int", "kInt"}, {"double", "kDouble"},
      {"bytes", "kBytes"}, {"time", "kTime"}, {"microtime", "kMicroTime"}, {"duration", "kDuration"}, {"quantity", "kQuantity"},
      {"intstr", "kIntOrString"}, {"json", "kJson"}, {"object", "kObject"}, {"strings", "kStrings"}, {"struct", "kStruct"}};
  return "kube::Scalar::" + names.at(s);
}

std::string table_name(const std::string& ns, const std::string& name) { return ns + "_" + name; }

// The facts that few fields have; "" when there is none.
std::string facts(const Field& f, std::ostringstream& out, int& counter) {
  std::ostringstream b;
  auto text = [&](const char* member, const std::string& value) {
    if (!value.empty()) b << "." << member << " = " << quote(value) << ", ";
  };
  auto number = [&](const char* member, const char* attr) {
    if (f.has(attr)) b << "." << member << " = " << f.attr(attr) << ", ";
  };
  text("description", f.description);
  text("default_json", f.attr("default"));
  std::string values = f.attr("enum");
  std::vector<std::string> enums = f.enum_values;
  auto split_bar = [](const std::string& v) {
    std::vector<std::string> parts;
    std::istringstream in(v);
    std::string p;
    while (std::getline(in, p, '|')) parts.push_back(p);
    return parts;
  };
  if (!values.empty()) enums = split_bar(values);
  bool item_enum = f.has("item.enum");
  if (item_enum) enums = split_bar(f.attr("item.enum"));
  if (!enums.empty()) {
    std::string name = "e" + std::to_string(counter++);
    out << "constexpr std::string_view " << name << "[] = {";
    for (auto& e : enums) out << quote(e) << ", ";
    out << "};\n";
    b << ".enum_values = " << name << ", ";
  }
  text("patch_strategy", f.attr("patch"));
  text("merge_key", f.attr("key"));
  text("list_type", f.attr("list"));
  text("list_map_keys", f.attr("keys"));
  text("map_type", f.attr("map"));
  text("format", f.attr("format"));
  text("pattern", f.attr("pattern"));
  text("item_pattern", f.attr("item.pattern"));
  text("item_map_type", f.attr("item.map"));
  number("minimum", "min");
  number("maximum", "max");
  number("min_length", "minLength");
  number("max_length", "maxLength");
  number("item_min_length", "item.minLength");
  number("item_max_length", "item.maxLength");
  number("min_items", "minItems");
  number("max_items", "maxItems");
  number("min_properties", "minProperties");
  number("max_properties", "maxProperties");
  if (b.str().empty()) return "nullptr";
  std::string name = "x" + std::to_string(counter++);
  out << "constexpr kube::FieldFacts " << name << "{" << b.str() << "};\n";
  return "&" + name;
}

std::string flags(const Field& f) {
  std::string s = "0";
  auto add = [&](const char* n) { s += std::string(" | kube::FieldInfo::") + n; };
  bool required = f.has("required");
  // Written when empty: required fields, unless they say omitempty.
  bool omit = (!required && !f.has("always")) || f.has("omitempty");
  if (required) add("kRequired");
  if (omit) add("kOmitEmpty");
  if (f.has("omitzero")) add("kOmitZero");
  if (f.has("preserve")) add("kPreserve");
  if (f.has("item.preserve")) add("kPreserve");
  if (f.has("embedded")) add("kEmbedded");
  if (f.has("nullable")) add("kNullable");
  if (f.inlined) add("kInline");
  return s == "0" ? s : s.substr(4);
}

std::string special(const Struct& s) {
  if (s.name == "JSONSchemaPropsOrArray") return "kube::Special::kSchemaOrArray";
  if (s.name == "JSONSchemaPropsOrBool") return "kube::Special::kSchemaOrBool";
  if (s.name == "JSONSchemaPropsOrStringArray") return "kube::Special::kSchemaOrStrings";
  return "kube::Special::kNone";
}

void members(const Struct& s, std::ostringstream& out) {
  const std::string& n = s.name;
  out << n << "::" << n << "() = default;\n"
      << n << "::~" << n << "() = default;\n"
      << n << "::" << n << "(const " << n << "&) = default;\n"
      << n << "::" << n << "(" << n << "&&) noexcept = default;\n"
      << n << "& " << n << "::operator=(const " << n << "&) = default;\n"
      << n << "& " << n << "::operator=(" << n << "&&) noexcept = default;\n"
      << "bool " << n << "::operator==(const " << n << "&) const = default;\n";
}

void kind_table(const Group& g, const Struct& s, std::ostringstream& out) {
  std::string id = s.name;
  if (!s.columns.empty()) {
    out << "constexpr kube::Column columns_" << id << "[] = {\n";
    for (auto& c : s.columns)
      out << "    {" << quote(c.name) << ", " << quote(c.type) << ", " << quote(c.source) << ", " << c.priority << "},\n";
    out << "};\n";
  }
  if (!s.subresources.empty()) {
    out << "constexpr kube::Subresource subresources_" << id << "[] = {\n";
    for (auto& r : s.subresources) {
      std::string av = r.api_version.empty() ? g.api_version(s) : r.api_version;
      out << "    {" << quote(r.name) << ", " << quote(av) << ", " << quote(r.kind.empty() ? s.name : r.kind) << ", "
          << quote(r.verbs) << ", " << quote(r.spec_path) << ", " << quote(r.status_path) << ", " << quote(r.selector_path)
          << "},\n";
    }
    out << "};\n";
  }
  if (!s.selectable.empty()) {
    out << "constexpr std::string_view selectable_" << id << "[] = {";
    for (auto& r : s.selectable) out << quote(r) << ", ";
    out << "};\n";
  }
}

void kind_entry(const Group& g, const Struct& s, std::ostringstream& out) {
  auto attr = [&](const char* k) {
    auto it = s.attrs.find(k);
    return quote(it == s.attrs.end() ? "" : it->second);
  };
  out << "    {&tables::" << table_name(g.ns, s.name) << ", &" << s.name << "::resource, " << quote(s.singular) << ", " << attr("short")
      << ", " << attr("categories") << ", " << quote(s.verbs) << ", "
      << (s.columns.empty() ? "{}" : "columns_" + s.name) << ", " << (s.subresources.empty() ? "{}" : "subresources_" + s.name) << ", "
      << (s.selectable.empty() ? "{}" : "selectable_" + s.name) << ", " << (g.crd ? "true" : "false") << ", " << attr("also") << ", "
      << attr("storage") << ", " << quote(s.description) << "},\n";
}

}  // namespace

std::string source_text(Model& m, const Group& g, int part, int parts) {
  std::ostringstream out;
  std::vector<const Struct*> mine;
  for (size_t i = 0; i < g.structs.size(); ++i)
    if (static_cast<int>(i * parts / g.structs.size()) == part) mine.push_back(&g.structs[i]);
  out << "// Generated from schema/" << g.ns << ".schema. Do not edit.\n"
      << "#include \"kube/types/" << g.ns << ".h\"\n\n#include <cstddef>\n\n#include \"kube/kinds.h\"\n#include \"kube/type_info.h\"\n\n"
      << "#pragma GCC diagnostic ignored \"-Winvalid-offsetof\"\n\n"
      << "namespace caravel::kube::tables {\n";
  std::set<std::string> used;
  for (auto* s : mine) {
    used.insert(table_name(g.ns, s->name));
    for (auto& f : s->fields)
      if (f.type.scalar == "struct") used.insert(table_name(f.type.ns, f.type.name));
  }
  if (part == 0)
    for (auto& s : g.structs)
      if (s.what == Struct::kKind) used.insert(table_name(g.ns, s.name));
  for (auto& n : used) out << "extern const TypeInfo " << n << ";\n";
  out << "}\n\nnamespace caravel::kube::" << g.ns << " {\n\n";
  for (auto* s : mine)
    if (s->outlined) members(*s, out);
  out << "\nnamespace {\n";
  int counter = 0;
  for (auto* s : mine) {
    std::ostringstream rows;
    for (auto& f : s->fields) {
      std::string x = facts(f, out, counter);
      std::string offset = "offsetof(" + s->name + ", " + f.cpp + ")";
      std::string field = s->name + "::" + f.cpp;
      if (f.inlined) {
        // Where the base lies: where its first own member lies in us, less where it lies in the base.
        const Struct* base = m.find(f.type.ns, f.type.name);
        const Struct* holder = base;
        std::string first;
        for (auto& bf : holder->fields)
          if (!bf.inlined) {
            first = bf.cpp;
            break;
          }
        std::string b = f.type.ns == g.ns ? f.type.name : f.type.ns + "::" + f.type.name;
        offset = "offsetof(" + s->name + ", " + first + ") - offsetof(" + b + ", " + first + ")";
      }
      static const char* shapes[] = {"kValue", "kOptional", "kBox", "kList", "kMap"};
      rows << "    {" << quote(f.json) << ", " << offset << ", " << f.number << ", " << scalar_name(f.type.scalar) << ", kube::Shape::"
           << shapes[f.type.shape] << ", " << flags(f) << ", "
           << (f.type.scalar == "struct" ? "&tables::" + table_name(f.type.ns, f.type.name) : "nullptr") << ", "
           << (f.type.shape == Type::kValue ? "nullptr" : "&kube::ops_of<decltype(" + field + ")>") << ", " << x << "},\n";
    }
    if (!s->fields.empty()) out << "constexpr kube::FieldInfo fields_" << s->name << "[] = {\n" << rows.str() << "};\n";
    if (s->what == Struct::kKind && part >= 0) kind_table(g, *s, out);
  }
  out << "}  // namespace\n\n";
  for (auto* s : mine) {
    out << "const kube::TypeInfo& " << s->name << "::type_info() { return tables::" << table_name(g.ns, s->name) << "; }\n";
    if (s->what == Struct::kKind) {
      out << "const kube::Resource& " << s->name << "::resource() {\n  static const kube::Resource r{" << quote(g.group) << ", "
          << quote(s->version.empty() ? g.version : s->version) << ", " << quote(s->plural) << ", " << quote(s->name) << ", "
          << (s->namespaced ? "true" : "false") << "};\n  return r;\n}\n";
    }
  }
  out << "\nextern const kube::KindInfo kinds_" << part << "[];\nextern const size_t kind_count_" << part << ";\n";
  std::ostringstream entries;
  int kinds = 0;
  for (auto* s : mine)
    if (s->what == Struct::kKind) {
      kind_entry(g, *s, entries);
      ++kinds;
    }
  if (kinds == 0) entries << "    {}\n";
  out << "const kube::KindInfo kinds_" << part << "[] = {\n" << entries.str() << "};\nconst size_t kind_count_" << part << " = " << kinds << ";\n";
  out << "\n}  // namespace caravel::kube::" << g.ns << "\n\nnamespace caravel::kube::tables {\n\n";
  for (auto* s : mine) {
    std::string t = g.ns + "::" + s->name;
    bool has_kind = s->what != Struct::kStruct;
    out << "constinit const TypeInfo " << table_name(g.ns, s->name) << "{" << quote(s->name) << ", " << quote(g.ns) << ", "
        << quote(has_kind ? g.api_version(*s) : "") << ", " << quote(has_kind ? s->name : "") << ", ";
    if (s->fields.empty()) out << "{}, ";
    else out << g.ns << "::fields_" << s->name << ", ";
    out << "&create_of<" << t << ">, &destroy_of<" << t << ">, " << special(*s) << ", " << quote(s->description) << "};\n";
  }
  out << "\n}  // namespace caravel::kube::tables\n";
  return out.str();
}

}  // namespace schema
