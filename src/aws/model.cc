#include "aws/model.h"

#include <set>

#include "aws/schema_text.h"
#include "base/log.h"
#include "base/strings.h"

namespace caravel::aws {

namespace {

const Shape* scalar(std::string_view type) {
  struct Table {
    std::map<std::string, Shape, std::less<>> shapes;
    void put(const char* name, ShapeType t) {
      Shape& s = shapes[name];
      s.name = name;
      s.type = t;
    }
    Table() {
      put("string", ShapeType::kString);
      put("int", ShapeType::kInteger);
      put("long", ShapeType::kInteger);
      put("bool", ShapeType::kBool);
      put("double", ShapeType::kDouble);
      put("time", ShapeType::kTime);
      put("blob", ShapeType::kBlob);
      put("document", ShapeType::kDocument);
    }
  };
  static const Table table;
  auto it = table.shapes.find(type);
  return it == table.shapes.end() ? nullptr : &it->second;
}

// "key=value" among the words; "" when absent.
std::string option(const std::vector<std::string>& words, std::string_view key) {
  for (const std::string& w : words)
    if (w.size() > key.size() && w[key.size()] == '=' && w.compare(0, key.size(), key) == 0) return w.substr(key.size() + 1);
  return "";
}
bool has(const std::vector<std::string>& words, std::string_view word) {
  for (const std::string& w : words)
    if (w == word) return true;
  return false;
}
std::string wire_name(const std::vector<std::string>& words) {
  for (const std::string& w : words)
    if (w[0] == '@') return w.substr(1);
  return "";
}

struct Parser {
  std::unique_ptr<Service> service = std::make_unique<Service>();
  std::set<std::string> described;
  Shape* current = nullptr;

  Shape* shape(const std::string& name) {
    auto& slot = service->shapes[name];
    if (!slot) {
      slot = std::make_unique<Shape>();
      slot->name = name;
    }
    return slot.get();
  }
  const Shape* use(const std::string& type) {
    if (type == "-") return nullptr;
    const Shape* s = scalar(type);
    return s ? s : shape(type);
  }
  Shape* describe(const std::string& name, ShapeType type) {
    described.insert(name);
    Shape* s = shape(name);
    s->type = type;
    return s;
  }

  void service_line(const std::vector<std::string>& w) {
    service->name = w[1];
    service->version = option(w, "version");
    service->json_version = option(w, "json");
    service->target = option(w, "target");
    service->xml_namespace = option(w, "namespace");
    service->query_compatible = has(w, "query-compatible");
    std::string p = option(w, "protocol");
    service->protocol = p == "ec2" ? Protocol::kEc2 : p == "query"   ? Protocol::kQuery
                                                  : p == "rest-json" ? Protocol::kRestJson
                                                  : p == "rest-xml"  ? Protocol::kRestXml
                                                                     : Protocol::kJson;
  }
  void action_line(const std::vector<std::string>& w) {
    Action& a = service->actions[w[1]];
    a.name = w[1];
    a.input = use(w[2]);
    a.output = use(w[3]);
    if (w.size() > 5 && w[4].find('=') == std::string::npos) {
      a.method = w[4];
      a.uri = w[5];
    }
    if (auto n = parse_int(option(w, "status"))) a.status = static_cast<int>(*n);
    a.wrapper = option(w, "wrapper");
    if (a.wrapper.empty()) a.wrapper = a.name + "Result";
  }
  void member_line(const std::vector<std::string>& w) {
    ShapeMember m;
    m.name = w[0];
    m.shape = use(w[1]);
    m.wire = wire_name(w);
    if (m.wire.empty()) m.wire = m.name;
    m.query = option(w, "query");
    if (m.query.empty()) {
      m.query = m.wire;
      if (service->protocol == Protocol::kEc2 && m.query[0] >= 'a' && m.query[0] <= 'z') m.query[0] -= 32;
    }
    m.location = option(w, "in");
    m.format = option(w, "format");
    m.flat = has(w, "flat");
    m.required = has(w, "required");
    m.token = has(w, "token");
    current->members.push_back(std::move(m));
  }
  Status line(std::string_view text) {
    std::vector<std::string> w = split_words(text);
    if (w.size() < 2) return invalid("too few words: " + std::string(text));
    if (text[0] == ' ') {
      if (!current) return invalid("a member outside a struct");
      member_line(w);
      return ok();
    }
    current = nullptr;
    if (w[0] == "service") {
      service_line(w);
    } else if (w[0] == "action" && w.size() >= 4) {
      action_line(w);
    } else if (w[0] == "error" && w.size() >= 3) {
      service->errors[w[1]] = {static_cast<int>(parse_int(w[2]).value_or(400)), w.size() > 3 ? w[3] : w[1]};
    } else if (w[0] == "struct") {
      current = describe(w[1], ShapeType::kStruct);
      current->payload = option(w, "payload");
    } else if (w[0] == "list" && w.size() >= 3) {
      Shape* s = describe(w[1], ShapeType::kList);
      s->item = use(w[2]);
      s->item_wire = wire_name(w);
      s->flat = has(w, "flat");
    } else if (w[0] == "map" && w.size() >= 4) {
      Shape* s = describe(w[1], ShapeType::kMap);
      s->item = use(w[3]);
      s->key_wire = option(w, "key");
      s->value_wire = option(w, "value");
      s->flat = has(w, "flat");
    } else {
      return invalid("not understood: " + std::string(text));
    }
    return ok();
  }
};

}  // namespace

const ShapeMember* Shape::member(std::string_view n) const {
  for (const ShapeMember& m : members)
    if (m.name == n) return &m;
  return nullptr;
}

const Action* Service::action(std::string_view n) const {
  auto it = actions.find(n);
  return it == actions.end() ? nullptr : &it->second;
}

Result<std::unique_ptr<Service>> parse_service(std::string_view text) {
  Parser p;
  int number = 0;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    ++number;
    if (line.empty() || line[0] == '#') continue;
    if (Status s = p.line(line); !s.ok()) return wrap(s.error(), "line " + std::to_string(number));
  }
  for (auto& [name, shape] : p.service->shapes)
    if (!p.described.count(name)) return invalid("shape " + name + " is used but not described");
  return Result<std::unique_ptr<Service>>(std::move(p.service));
}

const Service* find_service(std::string_view name) {
  static std::map<std::string, std::unique_ptr<Service>, std::less<>> loaded;
  if (name == "elbv2") name = "elasticloadbalancing";
  auto it = loaded.find(name);
  if (it != loaded.end()) return it->second.get();
  for (const SchemaText& t : schema_texts()) {
    if (t.name != name) continue;
    auto s = parse_service(t.text);
    if (!s.ok()) {
      Log("aws").error("the built-in model cannot be read", {{"service", std::string(name)}, {"error", s.error().message}});
      return nullptr;
    }
    return loaded.emplace(std::string(name), std::move(*s)).first->second.get();
  }
  return nullptr;
}

std::vector<std::string> service_names() {
  std::vector<std::string> out;
  for (const SchemaText& t : schema_texts()) out.emplace_back(t.name);
  return out;
}

}  // namespace caravel::aws
