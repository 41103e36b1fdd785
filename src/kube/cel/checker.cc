// Types before evaluation: what upstream's checker would refuse for certain is refused here in its words.
#include <algorithm>
#include <cstring>

#include "kube/cel/ast.h"
#include "kube/cel/cost.h"
#include "kube/cel/functions.h"
#include "kube/cel/program.h"

namespace caravel::kube::cel {

namespace {

using K = Type::Kind;

TypePtr or_dyn(const TypePtr& t) { return t ? t : simple_type(K::kDyn); }

K letter_kind(char c) {
  switch (c) {
    case 'b': return K::kBool;
    case 'i': return K::kInt;
    case 'u': return K::kUint;
    case 'd': return K::kDouble;
    case 's': return K::kString;
    case 'y': return K::kBytes;
    case 'n': return K::kNull;
    case 'D': return K::kDuration;
    case 'T': return K::kTimestamp;
    case 't': return K::kType;
    case 'L':
    case 'N':
    case 'E':
    case 'H':
    case 'S': return K::kList;
    case 'M': return K::kMap;
    case 'O': return K::kOptional;
    case 'Q': return K::kQuantity;
    case 'U': return K::kUrl;
    case 'P': return K::kIp;
    case 'C': return K::kCidr;
    case 'V': return K::kSemver;
    case 'F': return K::kFormat;
    default: return K::kDyn;
  }
}

// Of what lists can be sorted by.
bool ordered(K k) {
  switch (k) {
    case K::kDyn:
    case K::kBool:
    case K::kInt:
    case K::kUint:
    case K::kDouble:
    case K::kString:
    case K::kBytes:
    case K::kDuration:
    case K::kTimestamp: return true;
    default: return false;
  }
}

bool summable(K k) { return k == K::kInt || k == K::kUint || k == K::kDouble || k == K::kDuration; }

// One attempt to apply a signature.
struct Application {
  TypePtr a, b;

  static bool bind(TypePtr& variable, const TypePtr& t) {
    if (!variable || variable->kind == K::kDyn || variable->kind == K::kNull) {
      bool good = !variable || compatible(*variable, *t);
      variable = t;
      return good;
    }
    return compatible(*variable, *t);
  }
  bool takes(char c, const TypePtr& t) {
    if (c == '*') return true;
    if (c == 'A') return bind(a, t);
    if (c == 'B') return bind(b, t);
    if (t->kind == K::kDyn) return true;
    if (t->kind != letter_kind(c) && !(c == 'M' && t->kind == K::kObject)) return false;
    if (c == 'N') {
      if (!t->item || t->item->kind == K::kDyn) return true;
      return t->item->kind == K::kList && (!t->item->item || bind(a, t->item->item));
    }
    if (c == 'H') return !t->item || ((t->item->kind == K::kDyn || summable(t->item->kind)) && bind(a, t->item));
    if (c == 'E') return !t->item || (ordered(t->item->kind) && (t->item->kind == K::kDyn || a || bind(a, t->item)));
    if (c == 'L' || c == 'O') return !t->item || bind(a, t->item);
    if (c == 'S') return !t->item || t->item->kind == K::kDyn || t->item->kind == K::kString;
    if (c == 'M') return (!t->key || bind(b, t->key)) && (!t->item || bind(a, t->item));
    return true;
  }
  TypePtr result(char c) const {
    switch (c) {
      case 'A': return or_dyn(a);
      case 'B': return or_dyn(b);
      case 'L': return list_type(a);
      case 'S': return list_type(simple_type(K::kString));
      case 'M': return map_type(b, a);
      case 'O': return optional_type(a);
      case 'o': return optional_type(list_type(simple_type(K::kString)));
      case 'f': return optional_type(simple_type(K::kFormat));
      case 'q': return map_type(simple_type(K::kString), list_type(simple_type(K::kString)));
      case 'I': return list_type(simple_type(K::kInt));
      default: return simple_type(letter_kind(c));
    }
  }
};

class Checker {
 public:
  Checker(std::string_view text, const Environment& env, CheckedNodes& nodes) : text_(text), scope_(env.variables), mutations_(env.mutations), nodes_(nodes) {}

  TypePtr type_of(const Expr& e) {
    TypePtr t = find_type(e);
    nodes_[&e].type = t;
    return t;
  }
  // Literals that some functions cannot take are found before anything runs.
  void literals(const Expr& e) {
    for (auto& a : e.args) literals(*a);
    const bool regex = e.name == "matches";
    if (e.kind != Expr::Kind::kCall || (!regex && e.name != "duration" && e.name != "timestamp")) return;
    const size_t i = e.member ? 1 : 0;
    if (i >= e.args.size() || e.args[i]->kind != Expr::Kind::kLiteral) return;
    const Value& v = e.args[i]->literal;
    bool good = true;
    if (regex) {
      good = !v.is(Kind::kString) || regex_matches("", v.s()).ok();
    } else {
      for (const Function* f : overloads(e.name))
        if (accepts(*f, Arguments(&v, 1))) good = f->run(Arguments(&v, 1)).ok();
    }
    if (!good) fail(*e.args[i], "invalid " + e.name + " argument");
  }
  // In the order of their places.
  std::string errors() const {
    std::vector<std::pair<size_t, std::string>> sorted = errors_;
    std::stable_sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) { return a.first < b.first; });
    std::string out;
    for (auto& [at, text] : sorted) out += (out.empty() ? "" : "\n") + text;
    return out;
  }

 private:
  TypePtr find_type(const Expr& e) {
    switch (e.kind) {
      case Expr::Kind::kLiteral: return literal(e.literal);
      case Expr::Kind::kIdent: return ident(e);
      case Expr::Kind::kSelect: return select(e);
      case Expr::Kind::kHas: select(e); return simple_type(K::kBool);
      case Expr::Kind::kCall: return call(e);
      case Expr::Kind::kAnd:
      case Expr::Kind::kOr: return logic(e);
      case Expr::Kind::kIf: return conditional(e);
      case Expr::Kind::kList: return list(e);
      case Expr::Kind::kMap: return map(e);
      case Expr::Kind::kStruct: return structure(e);
      case Expr::Kind::kMacro: return macro(e);
    }
    return simple_type(K::kDyn);
  }
  TypePtr fail(const Expr& e, const std::string& message) {
    errors_.emplace_back(e.at, error_at(text_, e.at, message));
    return simple_type(K::kDyn);
  }
  static TypePtr literal(const Value& v) {
    switch (v.kind()) {
      case Kind::kNull: return simple_type(K::kNull);
      case Kind::kBool: return simple_type(K::kBool);
      case Kind::kInt: return simple_type(K::kInt);
      case Kind::kUint: return simple_type(K::kUint);
      case Kind::kDouble: return simple_type(K::kDouble);
      case Kind::kString: return simple_type(K::kString);
      case Kind::kBytes: return simple_type(K::kBytes);
      default: return simple_type(K::kDyn);
    }
  }
  TypePtr ident(const Expr& e) {
    for (size_t i = scope_.size(); i-- > 0;)
      if (scope_[i].first == e.name) return or_dyn(scope_[i].second);
    static constexpr std::string_view kTypes[] = {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"};
    for (auto t : kTypes)
      if (e.name == t) return simple_type(K::kType);
    return fail(e, "undeclared reference to '" + e.name + "' (in container '')");
  }
  TypePtr select(const Expr& e) {
    TypePtr of = type_of(*e.args[0]);
    bool chained = of->kind == K::kOptional;
    if (chained) of = or_dyn(of->item);
    TypePtr field = simple_type(K::kDyn);
    if (of->kind == K::kObject || of->kind == K::kOpaque) {
      auto it = of->fields.find(e.name);
      if (it == of->fields.end()) return fail(e, "undefined field '" + e.name + "'");
      field = it->second;
    } else if (of->kind == K::kMap) {
      field = or_dyn(of->item);
    } else if (of->kind != K::kDyn) {
      return fail(e, "type '" + type_text(*of) + "' does not support field selection");
    }
    return chained || e.optional ? optional_type(field) : field;
  }
  TypePtr call(const Expr& e) {
    std::vector<TypePtr> args;
    for (auto& a : e.args) args.push_back(type_of(*a));
    if (e.member && args[0]->kind == K::kOpaque) return method(e, args);
    bool known = false, several = false;
    TypePtr found;
    std::string_view name = e.name;
    if ((name == "_[_]" || name == "_[?_]") && args[0]->kind == K::kOptional) {
      args[0] = or_dyn(args[0]->item);
      name = "_[?_]";
    }
    for (const Function* f : overloads(name)) {
      if (f->member != e.member) continue;
      known = true;
      if (std::strlen(f->signature) != args.size() + 1) continue;
      Application app;
      bool good = true;
      for (size_t i = 0; i < args.size() && good; ++i) good = app.takes(f->signature[i + 1], args[i]);
      if (!good) continue;
      TypePtr t = app.result(f->signature[0]);
      several = several || (found && type_text(*found) != type_text(*t));
      found = t;
      nodes_[&e].overloads.push_back(f);
    }
    if (several) return simple_type(K::kDyn);  // decided at evaluation
    if (found) return found;
    if (!known) return fail(e, "undeclared reference to '" + e.name + "' (in container '')");
    return no_match(e, args);
  }
  TypePtr method(const Expr& e, const std::vector<TypePtr>& args) {
    auto it = args[0]->methods.find(e.name);
    if (it == args[0]->methods.end()) return fail(e, overloads(e.name).empty() ? "undeclared reference to '" + e.name + "' (in container '')" : no_match_text(e, args));
    const std::string& letters = it->second.arguments;
    Application app;
    bool good = letters.size() + 1 == args.size();
    for (size_t i = 0; i < letters.size() && good; ++i) good = app.takes(letters[i], args[i + 1]);
    return good ? it->second.result() : no_match(e, args);
  }
  TypePtr no_match(const Expr& e, const std::vector<TypePtr>& args) { return fail(e, no_match_text(e, args)); }
  static std::string no_match_text(const Expr& e, const std::vector<TypePtr>& args) {
    std::string applied;
    for (size_t i = e.member ? 1 : 0; i < args.size(); ++i) applied += (applied.empty() ? "" : ", ") + type_text(*args[i]);
    applied = "(" + applied + ")";
    if (e.member) applied = type_text(*args[0]) + "." + applied;
    return "found no matching overload for '" + e.name + "' applied to '" + applied + "'";
  }
  TypePtr logic(const Expr& e) {
    std::vector<TypePtr> args;
    for (auto& a : e.args) args.push_back(type_of(*a));
    for (size_t i = 0; i < args.size(); ++i)
      if (args[i]->kind != K::kDyn && args[i]->kind != K::kBool) {
        const TypePtr& left = i == 0 ? args[0] : args[i - 1];
        const TypePtr& right = i == 0 ? args[1] : args[i];
        return fail(e, "found no matching overload for '" + e.name + "' applied to '(" + type_text(*left) + ", " + type_text(*right) + ")'");
      }
    return simple_type(K::kBool);
  }
  TypePtr conditional(const Expr& e) {
    TypePtr c = type_of(*e.args[0]), yes = type_of(*e.args[1]), no = type_of(*e.args[2]);
    bool good = (c->kind == K::kBool || c->kind == K::kDyn) && compatible(*yes, *no);
    if (!good) return fail(e, "found no matching overload for '_?_:_' applied to '(" + type_text(*c) + ", " + type_text(*yes) + ", " + type_text(*no) + ")'");
    return yes->kind == K::kDyn || no->kind == K::kNull ? yes : no;
  }
  // The common type of several, or dyn.
  static void merge(TypePtr& all, const TypePtr& t, bool first) {
    if (first) all = t;
    else if (all && type_text(*all) != type_text(*t)) all = nullptr;
  }
  TypePtr list(const Expr& e) {
    TypePtr item;
    for (size_t i = 0; i < e.args.size(); ++i) {
      TypePtr t = type_of(*e.args[i]);
      if (e.optional_items[i]) t = or_dyn(t->item);
      merge(item, t, i == 0);
    }
    return list_type(item);
  }
  TypePtr map(const Expr& e) {
    TypePtr key, item;
    for (size_t i = 0; i < e.args.size(); i += 2) {
      merge(key, type_of(*e.args[i]), i == 0);
      TypePtr t = type_of(*e.args[i + 1]);
      if (e.optional_items[i / 2]) t = or_dyn(t->item);
      merge(item, t, i == 0);
    }
    return map_type(key, item);
  }
  TypePtr structure(const Expr& e) {
    bool patch = e.name == "JSONPatch";
    bool object = e.name == "Object" || e.name.starts_with("Object.");
    for (size_t i = 0; i < e.args.size(); ++i) {
      type_of(*e.args[i]);
      const std::string& f = e.variables[i];
      if (mutations_ && patch && f != "op" && f != "path" && f != "from" && f != "value") return fail(e, "undefined field '" + f + "'");
    }
    if (!mutations_ || (!patch && !object)) return fail(e, "undeclared reference to '" + e.name + "' (in container '')");
    auto t = std::make_shared<Type>();
    t->kind = K::kObject;
    t->name = e.name;
    for (auto& f : e.variables) t->fields[f] = simple_type(K::kDyn);
    return t;
  }
  TypePtr macro(const Expr& e) {
    TypePtr range = type_of(*e.args[0]);
    size_t depth = scope_.size();
    TypePtr t = e.name.starts_with("opt") ? binding(e, range) : comprehension(e, range);
    scope_.resize(depth);
    return t;
  }
  TypePtr binding(const Expr& e, const TypePtr& range) {
    if (range->kind != K::kOptional && range->kind != K::kDyn)
      return fail(e, "found no matching overload for '" + e.name + "' applied to '" + type_text(*range) + "'");
    scope_.emplace_back(e.variables[0], or_dyn(range->item));
    TypePtr t = type_of(*e.args[1]);
    return e.name == "optMap" ? optional_type(t) : t;
  }
  TypePtr comprehension(const Expr& e, const TypePtr& range) {
    if (range->kind != K::kList && range->kind != K::kMap && range->kind != K::kDyn)
      return fail(*e.args[0], "expression of type '" + type_text(*range) + "' cannot be range of a comprehension (must be list, map, or dynamic)");
    TypePtr item = or_dyn(range->item);
    bool is_list = range->kind == K::kList;
    TypePtr key = is_list ? simple_type(K::kInt) : or_dyn(range->key);
    bool two = e.variables.size() == 2;
    TypePtr first = two ? key : is_list ? item
                                        : key;
    scope_.emplace_back(e.variables[0], first);
    if (two) scope_.emplace_back(e.variables[1], item);
    bool predicate = e.name == "all" || e.name == "exists" || e.name == "exists_one";
    bool filtered = e.name == "filter" || e.args.size() == 3;
    TypePtr body = type_of(*e.args[1]);
    if (e.name == "sortBy") {
      if (ordered(body->kind)) return range->kind == K::kMap ? list_type(key) : range->kind == K::kList ? range
                                                                                                        : list_type(nullptr);
      return fail(e, "found no matching overload for '@sortByAssociatedKeys' applied to '" + type_text(*range) + ".(list(" + type_text(*body) + "))'");
    }
    if ((predicate || filtered) && body->kind != K::kBool && body->kind != K::kDyn)
      return fail(*e.args[1], "found no matching overload for '_&&_' applied to '(bool, " + type_text(*body) + ")'");
    if (predicate) return simple_type(K::kBool);
    if (e.name == "filter") return list_type(first);
    if (e.args.size() == 3) body = type_of(*e.args[2]);
    if (e.name == "transformMapEntry") {
      if (body->kind == K::kMap || body->kind == K::kDyn) return body->kind == K::kMap ? body : map_type(nullptr, nullptr);
      return fail(e, "found no matching overload for 'cel.@mapInsert' applied to '(map(dyn, dyn), " + type_text(*body) + ")'");
    }
    return e.name == "transformMap" ? map_type(key, body) : list_type(body);
  }

  std::string_view text_;
  std::vector<std::pair<std::string, TypePtr>> scope_;
  bool mutations_ = false;
  CheckedNodes& nodes_;
  std::vector<std::pair<size_t, std::string>> errors_;
};

}  // namespace

Result<TypePtr> check(const Expr& expr, std::string_view text, const Environment& env, CheckedNodes& nodes) {
  Checker c(text, env, nodes);
  TypePtr t = c.type_of(expr);
  if (c.errors().empty()) c.literals(expr);
  if (!c.errors().empty()) return invalid(c.errors());
  return t;
}

}  // namespace caravel::kube::cel
