#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

#include "model.h"

namespace schema {
namespace {

std::string g_file;
int g_line = 0;

[[noreturn]] void die(const std::string& message) {
  std::cerr << g_file << ":" << g_line << ": " << message << "\n";
  std::exit(1);
}

// Words separated by spaces; quotes and brackets hold words together.
std::vector<std::string> words(const std::string& s) {
  std::vector<std::string> out;
  std::string w;
  int depth = 0;
  bool quoted = false, escaped = false;
  for (char c : s + " ") {
    if (quoted) {
      w += c;
      if (c == '"' && !escaped) quoted = false;
      escaped = c == '\\' && !escaped;
      continue;
    }
    if (c == '"') quoted = true, escaped = false;
    if (w.find('=') != w.npos && (c == '{' || c == '[')) ++depth;
    if (depth && (c == '}' || c == ']')) --depth;
    if ((c == ' ' || c == '\t') && depth == 0) {
      if (!w.empty()) out.push_back(w);
      w.clear();
    } else {
      w += c;
    }
  }
  if (quoted) die("a quote is not closed");
  return out;
}

// Takes the quotes off a word: "a \"b\"" -> a "b". A word without quotes stays as it is.
std::string unquote(const std::string& s) {
  if (s.size() < 2 || s.front() != '"' || s.back() != '"') return s;
  std::string out;
  for (size_t i = 1; i + 1 < s.size(); ++i) {
    if (s[i] == '\\' && i + 2 < s.size()) ++i;
    out += s[i];
  }
  return out;
}

std::vector<std::string> split(const std::string& s, char sep) {
  std::vector<std::string> out;
  std::string w;
  std::istringstream in(s);
  while (std::getline(in, w, sep)) out.push_back(w);
  return out;
}

std::string strip(std::string s) {
  while (!s.empty() && isspace(static_cast<unsigned char>(s.back()))) s.pop_back();
  size_t n = 0;
  while (n < s.size() && isspace(static_cast<unsigned char>(s[n]))) ++n;
  return s.substr(n);
}

void put_attr(std::map<std::string, std::string>& attrs, const std::string& word) {
  size_t eq = word.find('=');
  if (eq == word.npos) {
    attrs[word] = "true";
    return;
  }
  std::string key = word.substr(0, eq), value = word.substr(eq + 1);
  // Defaults stay JSON; everything else is text.
  attrs[key] = key == "default" ? value : unquote(value);
}

Type parse_type(std::string text) {
  Type t;
  if (text.starts_with("[]")) {
    t = parse_type(text.substr(2));
    if (t.shape != Type::kValue) die("a list of " + text.substr(2) + " cannot be described");
    t.shape = Type::kList;
    return t;
  }
  if (text.starts_with("map[") && text.back() == ']') {
    t = parse_type(text.substr(4, text.size() - 5));
    if (t.shape != Type::kValue) die("a map of " + text + " cannot be described");
    t.shape = Type::kMap;
    return t;
  }
  if (text.back() == '?') {
    t.shape = Type::kOptional;
    text.pop_back();
  }
  t.name = text;  // resolved in analyse()
  return t;
}

const std::set<std::string> kScalars = {"string", "bool", "int32", "int64", "int", "double", "bytes", "time",
                                        "microtime", "duration", "quantity", "intstr", "json", "object", "strings"};

Field parse_field(const std::string& line, const std::string& description) {
  std::vector<std::string> w = words(line);
  Field f;
  f.description = description;
  if (w[0] == "inline") {
    if (w.size() != 3) die("inline TYPE NUMBER expected");
    f.inlined = true;
    f.type = parse_type(w[1]);
    f.number = std::atoi(w[2].c_str());
    return f;
  }
  if (w.size() < 3) die("NAME TYPE NUMBER expected");
  f.json = w[0];
  f.cpp = snake_case(f.json);
  f.type = parse_type(w[1]);
  f.number = w[2] == "-" ? 0 : std::atoi(w[2].c_str());
  for (size_t i = 3; i < w.size(); ++i) put_attr(f.attrs, w[i]);
  return f;
}

Subresource parse_subresource(const std::vector<std::string>& w) {
  Subresource s;
  s.name = w.at(1);
  size_t i = 2;
  if (i < w.size() && w[i].find('/') != std::string::npos && w[i].find('=') == std::string::npos) {
    size_t slash = w[i].rfind('/');
    s.api_version = w[i].substr(0, slash);
    s.kind = w[i].substr(slash + 1);
    ++i;
  } else if (s.name == "scale") {
    s.api_version = "autoscaling/v1";
    s.kind = "Scale";
  }
  s.verbs = "get,patch,update";
  for (; i < w.size(); ++i) {
    if (w[i].starts_with("spec=")) s.spec_path = w[i].substr(5);
    else if (w[i].starts_with("status=")) s.status_path = w[i].substr(7);
    else if (w[i].starts_with("selector=")) s.selector_path = w[i].substr(9);
    else s.verbs = w[i];
  }
  return s;
}

void parse_file(const std::filesystem::path& path, Model& model) {
  g_file = path.string();
  g_line = 0;
  std::ifstream in(path);
  Group g;
  Struct* current = nullptr;
  std::string line;
  while (std::getline(in, line)) {
    ++g_line;
    if (size_t n = line.find('#'); n != line.npos && strip(line.substr(0, n)).empty()) continue;
    std::string description;
    if (size_t n = line.find("  : "); n != line.npos) {
      description = strip(line.substr(n + 4));
      line.resize(n);
    }
    if (strip(line).empty()) continue;
    bool indented = line[0] == ' ';
    std::vector<std::string> w = words(line);
    if (!indented) {
      current = nullptr;
      if (w[0] == "namespace") {
        g.ns = w.at(1);
      } else if (w[0] == "api") {
        size_t slash = w.at(1).find('/');
        g.group = slash == std::string::npos ? "" : w[1].substr(0, slash);
        g.version = slash == std::string::npos ? w[1] : w[1].substr(slash + 1);
      } else if (w[0] == "crd") {
        g.group = w.at(1);
        g.crd = true;
      } else if (w[0] == "enum" || w[0] == "values") {
        size_t colon = line.find(':');
        if (colon == line.npos) die("enum NAME: A | B expected");
        std::string name = strip(line.substr(w[0].size(), colon - w[0].size()));
        for (auto& v : split(line.substr(colon + 1), '|')) g.enums[name].push_back(unquote(strip(v)));
        g.enum_closed[name] = w[0] == "enum";
      } else if (w[0] == "struct" || w[0] == "object" || w[0] == "kind") {
        Struct s;
        s.name = w.at(1);
        s.description = description;
        s.what = w[0] == "struct" ? Struct::kStruct : w[0] == "object" ? Struct::kObject
                                                                       : Struct::kKind;
        s.atomic = s.what == Struct::kStruct && w.size() > 2 && w[2] == "atomic";
        if (s.what == Struct::kKind) {
          if (w.size() < 4 || (w[3] != "namespaced" && w[3] != "cluster")) die("kind NAME PLURAL namespaced|cluster expected");
          s.plural = w[2];
          s.namespaced = w[3] == "namespaced";
          for (size_t i = 4; i < w.size(); ++i) put_attr(s.attrs, w[i]);
          s.version = s.attrs["version"];
          s.singular = s.attrs["singular"];
          s.verbs = s.attrs["verbs"];
          if (s.singular.empty())
            for (char c : s.name) s.singular += static_cast<char>(tolower(c));
          if (s.verbs.empty()) s.verbs = "create,delete,deletecollection,get,list,patch,update,watch";
        }
        g.structs.push_back(std::move(s));
        current = &g.structs.back();
      } else {
        die("unknown word '" + w[0] + "'");
      }
      continue;
    }
    if (!current) die("a field outside of a struct");
    if (w[0] == "column" && current->what == Struct::kKind) {
      if (w.size() < 4) die("column NAME TYPE SOURCE expected");
      Column c{unquote(w[1]), w[2], unquote(w[3])};
      for (size_t i = 4; i < w.size(); ++i)
        if (w[i].starts_with("priority=")) c.priority = w[i].substr(9);
      current->columns.push_back(c);
    } else if (w[0] == "sub" && current->what == Struct::kKind) {
      current->subresources.push_back(parse_subresource(w));
    } else if (w[0] == "selectable" && current->what == Struct::kKind) {
      current->selectable.push_back(w.at(1));
    } else {
      Field f = parse_field(line, description);
      // JSON names that differ only in case (ELBv2 has such a pair) need different members.
      for (auto& other : current->fields)
        if (!f.cpp.empty() && other.cpp == f.cpp) f.cpp += '_';
      current->fields.push_back(std::move(f));
    }
  }
  if (g.ns.empty()) die("no namespace");
  model.groups.push_back(std::move(g));
}

}  // namespace

Group* Model::find_group(const std::string& ns) {
  for (auto& g : groups)
    if (g.ns == ns) return &g;
  return nullptr;
}
Struct* Model::find(const std::string& ns, const std::string& name) {
  if (Group* g = find_group(ns))
    for (auto& s : g->structs)
      if (s.name == name) return &s;
  return nullptr;
}

std::string snake_case(const std::string& json) {
  std::string s = json;
  if (s == "openAPIV3Schema") return "open_api_v3_schema";
  std::string out;
  auto upper = [&](size_t i) { return i < s.size() && isupper(static_cast<unsigned char>(s[i])); };
  auto lower = [&](size_t i) { return i < s.size() && islower(static_cast<unsigned char>(s[i])); };
  for (size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (!isalnum(static_cast<unsigned char>(c))) {
      if (!out.empty() && out.back() != '_') out += '_';
      continue;
    }
    if (upper(i) && !out.empty() && out.back() != '_') {
      bool after_lower = i > 0 && !upper(i - 1);
      // The last capital of a run starts a word ("HTTPHeader"), but not in a plural ("podIPs") or "IPv6".
      bool plural = (s[i + 1] == 's' && !lower(i + 2)) || s.compare(i, 3, "Pv6") == 0 || s.compare(i, 3, "Pv4") == 0;
      bool starts_word = lower(i + 1) && !plural;
      if (after_lower || starts_word) out += '_';
    }
    out += static_cast<char>(tolower(static_cast<unsigned char>(c)));
  }
  static const std::set<std::string> keywords = {
      "and", "auto", "bool", "break", "case", "catch", "char", "class", "const", "continue", "default", "delete", "do", "double",
      "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline", "int", "long",
      "mutable", "namespace", "new", "not", "operator", "or", "private", "protected", "public", "register", "requires", "return",
      "short", "signed", "sizeof", "static", "struct", "switch", "template", "this", "throw", "true", "try", "typedef", "typename",
      "union", "unsigned", "using", "virtual", "void", "volatile", "while", "xor", "concept"};
  if (keywords.count(out)) out += '_';
  return out;
}

Model parse_directory(const std::string& dir) {
  Model model;
  std::vector<std::filesystem::path> files;
  for (auto& e : std::filesystem::directory_iterator(dir))
    if (e.path().extension() == ".schema") files.push_back(e.path());
  std::sort(files.begin(), files.end());
  for (auto& f : files) parse_file(f, model);
  return model;
}

// ---- analysis ----

namespace {

void resolve(Model& m, Group& g, Struct& s, Field& f) {
  Type& t = f.type;
  std::string name = t.name;
  g_file = g.ns + " " + s.name + " " + f.json;
  if (kScalars.count(name)) {
    t.scalar = name;
    t.name.clear();
    return;
  }
  std::string ns = g.ns;
  if (size_t dot = name.find('.'); dot != name.npos) {
    ns = name.substr(0, dot);
    name = name.substr(dot + 1);
  }
  Group* in = m.find_group(ns);
  if (!in) die("no namespace '" + ns + "'");
  if (auto e = in->enums.find(name); e != in->enums.end()) {
    t.scalar = "string";
    t.named = ns + "." + name;
    t.name.clear();
    if (in->enum_closed[name]) f.enum_values = e->second;
    return;
  }
  if (!m.find(ns, name)) die("unknown type '" + name + "'");
  t.scalar = "struct";
  t.ns = ns;
  t.name = name;
}

double weigh(Model& m, const std::string& ns, Struct& s) {
  if (s.weight >= 0) return s.weight;
  s.weight = 0;
  double w = 0;
  for (Field& f : s.fields) {
    bool scalar = f.type.scalar != "struct";
    if (f.type.shape == Type::kList || f.type.shape == Type::kMap) w += 2;
    else if (scalar) w += f.type.scalar == "bool" || f.type.scalar.starts_with("int") || f.type.scalar == "time" ? 0.2 : 1;
    else w += weigh(m, f.type.ns, *m.find(f.type.ns, f.type.name)) + 0.5;
  }
  s.weight = w;
  s.outlined = s.what == Struct::kKind || w > 7;
  (void)ns;
  return w;
}

struct Order {
  Model& m;
  Group& g;
  std::map<std::string, int> state;  // 1: being visited, 2: done
  std::vector<std::string> out;

  void visit(Struct& s) {
    state[s.name] = 1;
    for (int pass = 0; pass < 2; ++pass)
      for (Field& f : s.fields) {
        if (f.type.scalar != "struct" || f.type.ns != g.ns) continue;
        bool strong = f.type.shape != Type::kList && f.type.shape != Type::kMap;
        if (strong != (pass == 0)) continue;
        int st = state[f.type.name];
        if (st == 0) visit(*m.find(g.ns, f.type.name));
        else if (st == 1 && strong) f.type.shape = Type::kBox;
      }
    state[s.name] = 2;
    out.push_back(s.name);
  }
};

// Structs that every pod has and most of whose members are absent: an absent one costs a pointer, not the room for it. (With
// thirty alternatives in place a Volume took 4.5 KB and a Container 3 KB; the typed form of a small pod 13 KB.)
bool mostly_absent(const Struct& s) {
  static const std::set<std::string> kNames = {"Container", "EphemeralContainerCommon", "EnvVar", "VolumeSource", "VolumeProjection"};
  return kNames.count(s.name) != 0;
}

}  // namespace

void analyse(Model& m) {
  for (Group& g : m.groups)
    for (Struct& s : g.structs)
      for (Field& f : s.fields) {
        resolve(m, g, s, f);
        if (g.ns == "core" && f.type.shape == Type::kOptional && f.type.scalar == "struct" && mostly_absent(s)) f.type.shape = Type::kBox;
      }
  for (Group& g : m.groups) {
    Order order{m, g, {}, {}};
    for (Struct& s : g.structs)
      if (!order.state[s.name]) order.visit(s);
    std::vector<Struct> sorted;
    for (auto& n : order.out) sorted.push_back(*m.find(g.ns, n));
    g.structs = std::move(sorted);
  }
  for (Group& g : m.groups)
    for (Struct& s : g.structs) weigh(m, g.ns, s);
  for (Group& g : m.groups)
    for (Struct& s : g.structs)
      for (Field& f : s.fields)
        if (f.type.shape == Type::kBox) s.outlined = true;
}

}  // namespace schema
