// Evaluation. `&&`, `||`, all() and exists() forgive an error of one side when the other side decides.
#include "kube/cel/actual_cost.h"
#include "kube/cel/ast.h"
#include "kube/cel/functions.h"
#include "kube/cel/program.h"

namespace caravel::kube::cel {

namespace {

constexpr int64_t kListCost = 10, kMapCost = 30, kStructCost = 40;

class Evaluator {
 public:
  Evaluator(const std::vector<Variable>& variables, Budget& budget) : budget_(&budget) {
    for (auto& v : variables) scope_.push_back({v.name, v.value});
  }

  Result<Value> eval(const Expr& e) {
    switch (e.kind) {
      case Expr::Kind::kLiteral: return e.literal;
      case Expr::Kind::kIdent: return ident(e);
      case Expr::Kind::kSelect: return select(e);
      case Expr::Kind::kHas: return has(e);
      case Expr::Kind::kCall: return call(e);
      case Expr::Kind::kAnd: return logic(e, false);
      case Expr::Kind::kOr: return logic(e, true);
      case Expr::Kind::kIf: {
        TRY(Value c, eval(*e.args[0]));
        if (!c.is(Kind::kBool)) return no_overload();
        return eval(*e.args[c.is_true() ? 1 : 2]);
      }
      case Expr::Kind::kList: return list(e);
      case Expr::Kind::kMap: return map(e);
      case Expr::Kind::kStruct: return structure(e);
      case Expr::Kind::kMacro: return macro(e);
    }
    return internal("an expression of an unknown kind");
  }

 private:
  static Error no_overload() { return invalid("no such overload"); }
  Status spend(int64_t n) {
    budget_->spent += n;
    if (budget_->spent > budget_->limit) return make_error(Code::kTooLarge, "operation cancelled: actual cost limit exceeded");
    return ok();
  }
  // An error that no other operand makes good.
  static bool final(const Result<Value>& r) { return !r.ok() && r.error().code == Code::kTooLarge; }

  Result<Value> ident(const Expr& e) {
    TRY_VOID(spend(1));
    for (size_t i = scope_.size(); i-- > 0;)
      if (scope_[i].first == e.name) return scope_[i].second;
    static constexpr std::string_view kTypes[] = {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"};
    for (auto t : kTypes)
      if (e.name == t) return Value::type(e.name);
    return invalid("no such attribute(s): " + e.name);
  }
  Result<Value> select(const Expr& e) {
    TRY(Value v, eval(*e.args[0]));
    TRY_VOID(spend(1));
    bool chained = v.is(Kind::kOptional);
    if (chained && !v.held()) return Value::none();
    const Value of = chained ? *v.held() : v;
    if (of.is(Kind::kOpaque)) {
      if ((e.optional || chained) && !of.as_opaque().has(e.name)) return Value::none();
      TRY(Value inside, of.as_opaque().select(e.name));
      if (e.optional || chained) return Value::some(std::move(inside));
      return inside;
    }
    const Value* field = of.find(e.name);
    if (e.optional || chained) return field ? Value::some(*field) : Value::none();
    if (!of.is(Kind::kMap)) return no_overload();
    if (!field) return invalid("no such key: " + e.name);
    return *field;
  }
  Result<Value> has(const Expr& e) {
    TRY(Value v, eval(*e.args[0]));
    if (v.is(Kind::kOptional)) return Value::boolean(v.held() && v.held()->find(e.name));
    if (v.is(Kind::kOpaque)) return Value::boolean(v.as_opaque().has(e.name));
    if (!v.is(Kind::kMap)) return no_overload();
    return Value::boolean(v.find(e.name) != nullptr);
  }
  Result<Value> call(const Expr& e) {
    std::vector<Value> args;
    args.reserve(e.args.size());
    for (auto& a : e.args) {
      TRY(Value v, eval(*a));
      args.push_back(std::move(v));
    }
    if ((e.name == "_[_]" || e.name == "_[?_]") && args[0].is(Kind::kOptional)) {  // optional chains
      TRY_VOID(spend(1));
      if (!args[0].held()) return Value::none();
      Value inner = *args[0].held();
      args[0] = std::move(inner);
      return run("_[?_]", e.member, args);
    }
    Result<Value> result = run(e.name, e.member, args);
    if (!result.ok()) return result;
    TRY_VOID(spend(actual_cost(e.name, e.member, args, *result)));
    return result;
  }
  Result<Value> run(std::string_view name, bool member, const std::vector<Value>& args) {
    if (member && args[0].is(Kind::kOpaque)) return args[0].as_opaque().call(name, std::vector<Value>(args.begin() + 1, args.end()));
    for (const Function* f : overloads(name))
      if (f->member == member && accepts(*f, args)) return f->run(args);
    return no_overload();
  }
  Result<Value> logic(const Expr& e, bool decides) {
    Result<Value> problem = Value::boolean(!decides);
    for (auto& a : e.args) {
      Result<Value> r = eval(*a);
      if (final(r)) return r;
      if (r.ok() && !r->is(Kind::kBool)) r = no_overload();
      if (r.ok() && r->is_true() == decides) return r;
      if (!r.ok() && problem.ok()) problem = std::move(r);
    }
    return problem;
  }
  Result<Value> list(const Expr& e) {
    TRY_VOID(spend(kListCost));
    std::vector<Value> items;
    for (size_t i = 0; i < e.args.size(); ++i) {
      TRY(Value v, eval(*e.args[i]));
      if (!e.optional_items[i]) items.push_back(std::move(v));
      else if (!v.is(Kind::kOptional)) return no_overload();
      else if (v.held()) items.push_back(*v.held());
    }
    return Value::list(std::move(items));
  }
  Result<Value> map(const Expr& e) {
    TRY_VOID(spend(kMapCost));
    std::vector<std::pair<Value, Value>> entries;
    for (size_t i = 0; i < e.args.size(); i += 2) {
      TRY(Value k, eval(*e.args[i]));
      TRY(Value v, eval(*e.args[i + 1]));
      for (auto& old : entries)
        if (equal(old.first, k)) return invalid("Failed with repeated key");
      if (!e.optional_items[i / 2]) entries.emplace_back(std::move(k), std::move(v));
      else if (!v.is(Kind::kOptional)) return no_overload();
      else if (v.held()) entries.emplace_back(std::move(k), *v.held());
    }
    return Value::map(std::move(entries));
  }

  // As a map by field.
  Result<Value> structure(const Expr& e) {
    TRY_VOID(spend(kStructCost));
    std::vector<std::pair<Value, Value>> entries;
    for (size_t i = 0; i < e.args.size(); ++i) {
      TRY(Value v, eval(*e.args[i]));
      if (!e.optional_items[i]) entries.emplace_back(Value::string(e.variables[i]), std::move(v));
      else if (!v.is(Kind::kOptional)) return no_overload();
      else if (v.held()) entries.emplace_back(Value::string(e.variables[i]), *v.held());
    }
    return Value::map(std::move(entries));
  }
  Result<Value> macro(const Expr& e) {
    TRY(Value range, eval(*e.args[0]));
    size_t depth = scope_.size();
    Result<Value> r = e.name.starts_with("opt") ? optional(e, range)
                                                : comprehension(e, range);
    scope_.resize(depth);
    return r;
  }
  Result<Value> bind(const Expr& e, const Value& v) {
    scope_.emplace_back(e.variables[0], v);
    return eval(*e.args[1]);
  }
  Result<Value> optional(const Expr& e, const Value& v) {
    if (!v.is(Kind::kOptional)) return no_overload();
    if (!v.held()) return Value::none();
    TRY(Value out, bind(e, *v.held()));
    if (e.name == "optMap") return Value::some(std::move(out));
    return out.is(Kind::kOptional) ? Result<Value>(std::move(out)) : no_overload();
  }
  Result<Value> comprehension(const Expr& e, const Value& range) {
    if (!range.is(Kind::kList) && !range.is(Kind::kMap)) return no_overload();
    bool is_map = range.is(Kind::kMap), two = e.variables.size() == 2;
    size_t n = is_map ? range.as_map().entries.size() : range.items().size();
    size_t base = scope_.size();
    for (auto& v : e.variables) scope_.emplace_back(v, Value());
    const std::string& name = e.name;
    bool all = name == "all", exists = name == "exists", one = name == "exists_one";
    // With a filter: args[1] decides, the last argument is the result.
    bool filtered = name == "filter" || e.args.size() == 3;
    const bool to_map = name == "transformMap" || name == "transformMapEntry", sorting = name == "sortBy";
    // What upstream's expansion of the macro does around the body: once, for each item, and for each item that a filter takes.
    const int64_t once = all || exists ? 1 : one ? 2
                                                 : (to_map ? kMapCost : kListCost) + 1;
    const int64_t each = all ? 3 : exists        ? 4
                               : filtered || one ? 0
                               : to_map          ? 3
                                                 : kListCost + 2;
    const int64_t taken = one ? 2 : name == "filter"          ? kListCost + 3
                                : name == "transformMapEntry" ? 2
                                : to_map                      ? 3
                                                              : kListCost + 2;
    TRY_VOID(spend(once));
    Result<Value> problem = Value::boolean(all);
    std::vector<Value> out;
    std::vector<std::pair<Value, Value>> entries;
    std::vector<Value> sorted;  // the items whose keys `out` has
    int64_t hits = 0;
    for (size_t i = 0; i < n; ++i) {
      TRY_VOID(spend(name == "transformMapEntry" && !filtered ? 2 : each));
      Value key = is_map ? range.as_map().entries[i].first : Value::integer(static_cast<int64_t>(i));
      const Value& item = is_map ? range.as_map().entries[i].second : range.items()[i];
      scope_.resize(base + e.variables.size());
      scope_[base].second = two || is_map ? key : item;
      if (two) scope_[base + 1].second = item;
      const Value first = scope_[base].second;
      Result<Value> r = eval(*e.args[1]);
      if (final(r)) return r;
      if (all || exists) {
        if (r.ok() && !r->is(Kind::kBool)) r = no_overload();
        if (r.ok() && r->is_true() == exists) return r;
        if (!r.ok() && problem.ok()) problem = std::move(r);
        continue;
      }
      if (!r.ok()) return r;
      if (one || filtered) {
        if (!r->is(Kind::kBool)) return no_overload();
        TRY_VOID(spend(r->is_false() ? 1 : taken));
        if (r->is_false()) continue;
        ++hits;
        if (one) continue;
        if (name == "filter") {
          out.push_back(first);
          continue;
        }
        r = eval(*e.args[2]);
        if (!r.ok()) return r;
      }
      if (name == "transformMapEntry") {
        if (!r->is(Kind::kMap)) return no_overload();
        for (auto& [k, v] : r->as_map().entries) {
          for (auto& known : entries)
            if (equal(known.first, k)) return invalid("insert failed: key " + (k.is(Kind::kString) ? k.s() : json::dump(to_json(k))) + " already exists");
          entries.emplace_back(k, v);
        }
      } else if (to_map) {
        entries.emplace_back(std::move(key), std::move(*r));
      } else {
        out.push_back(std::move(*r));
      }
      if (sorting) sorted.push_back(first);
    }
    if (all || exists) return problem;
    if (one) return Value::boolean(hits == 1);
    if (to_map) return Value::map(std::move(entries));
    if (!sorting) return Value::list(std::move(out));
    const std::vector<Value> args = {Value::list(std::move(sorted)), Value::list(std::move(out))};
    constexpr std::string_view kSort = "@sortByAssociatedKeys";
    Result<Value> result = run(kSort, true, args);
    if (result.ok()) TRY_VOID(spend(kListCost + 2 + actual_cost(kSort, true, args, *result)));
    return result;
  }

  std::vector<std::pair<std::string, Value>> scope_;
  Budget* budget_;
};

}  // namespace

Result<Value> evaluate(const Expr& expr, const std::vector<Variable>& variables, Budget& budget) { return Evaluator(variables, budget).eval(expr); }

}  // namespace caravel::kube::cel
