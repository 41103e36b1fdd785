// schema_generator SCHEMA_DIR OUT_DIR NS=PARTS...: writes OUT_DIR/<ns>.h, <ns>_<part>.cc, fwd.h and kinds.cc.
// Files whose content does not change keep their time, so that nothing is compiled for nothing.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include "emit.h"

namespace schema {

std::map<std::string, int> g_parts;

// Which fields are strings with a type of their own, which messages about wrong values name; and which structs are owned
// as a whole. Sorted.
std::string type_facts_text(const Model& m) {
  std::map<std::string, std::string> named;
  for (auto& g : m.groups)
    for (auto& s : g.structs)
      for (auto& f : s.fields)
        if (!f.type.named.empty()) named[g.ns + "." + s.name + "." + f.json] = f.type.named;
  std::ostringstream out;
  out << "namespace {\nconstexpr NamedString kNamedStrings[] = {\n";
  for (auto& [field, type] : named) out << "    {\"" << field << "\", \"" << type << "\"},\n";
  out << "};\n}\nstd::span<const NamedString> named_strings() { return kNamedStrings; }\n";
  std::set<std::string> atomic;
  for (auto& g : m.groups)
    for (auto& s : g.structs)
      if (s.atomic) atomic.insert(g.ns + "." + s.name);
  out << "namespace {\nconstexpr std::string_view kAtomicTypes[] = {\n";
  for (auto& name : atomic) out << "    \"" << name << "\",\n";
  out << "};\n}\nstd::span<const std::string_view> atomic_types() { return kAtomicTypes; }\n";
  return out.str();
}

std::string registry_text(const Model& m) {
  std::ostringstream out;
  out << "// Generated from schema/. Do not edit.\n#include \"kube/kinds.h\"\n#include \"kube/type_facts.h\"\n\n";
  for (auto& g : m.groups) {
    out << "namespace caravel::kube::" << g.ns << " {\n";
    for (int p = 0; p < g_parts[g.ns]; ++p)
      out << "extern const KindInfo kinds_" << p << "[];\nextern const size_t kind_count_" << p << ";\n";
    out << "}\n";
  }
  out << "\nnamespace caravel::kube::tables {\n\nvoid each_kind(void (*f)(void*, const KindInfo&), void* context) {\n";
  for (auto& g : m.groups)
    for (int p = 0; p < g_parts[g.ns]; ++p)
      out << "  for (size_t i = 0; i < " << g.ns << "::kind_count_" << p << "; ++i) f(context, " << g.ns << "::kinds_" << p << "[i]);\n";
  out << "}\n\n"
      << type_facts_text(m) << "\n}  // namespace caravel::kube::tables\n";
  return out.str();
}

void write(const std::string& path, const std::string& text) {
  std::ifstream in(path, std::ios::binary);
  std::string old((std::istreambuf_iterator<char>(in)), {});
  if (in && old == text) return;
  in.close();
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  if (!out.flush()) {
    std::cerr << "cannot write " << path << "\n";
    std::exit(1);
  }
}

}  // namespace schema

int main(int argc, char** argv) {
  using namespace schema;
  if (argc < 3) {
    std::cerr << "usage: schema_generator SCHEMA_DIR OUT_DIR [NAMESPACE=PARTS...]\n";
    return 2;
  }
  Model model = parse_directory(argv[1]);
  analyse(model);
  for (auto& g : model.groups) g_parts[g.ns] = 1;
  for (int i = 3; i < argc; ++i) {
    std::string a = argv[i];
    size_t eq = a.find('=');
    if (eq != a.npos) g_parts[a.substr(0, eq)] = std::atoi(a.c_str() + eq + 1);
  }
  std::string out = argv[2];
  std::filesystem::create_directories(out);
  for (auto& g : model.groups) {
    write(out + "/" + g.ns + ".h", header_text(model, g));
    for (int p = 0; p < g_parts[g.ns]; ++p) write(out + "/" + g.ns + "_" + std::to_string(p) + ".cc", source_text(model, g, p, g_parts[g.ns]));
  }
  write(out + "/fwd.h", forward_text(model));
  write(out + "/kinds.cc", registry_text(model));
  return 0;
}
