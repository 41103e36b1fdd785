// Recursive descent over CEL's grammar; macros are recognised here, so that their variables have scopes.
#include <algorithm>
#include <cstdlib>
#include <set>

#include "base/strings.h"
#include "kube/cel/ast.h"
#include "kube/cel/functions.h"
#include "kube/cel/lexer.h"

namespace caravel::kube::cel {

namespace {

struct ParseError {
  size_t at = 0;
  std::string message;
};

// What upstream's grammar would take where something else stands.
constexpr std::string_view kOperand = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
constexpr std::string_view kIndex = "{'[', '{', '(', '.', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
constexpr std::string_view kArgument = "{'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

bool reserved(std::string_view s) {
  static const std::set<std::string_view> kWords = {"as", "break", "const", "continue", "else", "for", "function", "if",
                                                    "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", "in"};
  return kWords.count(s) > 0;
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  ExprPtr run() {
    ExprPtr e = expression();
    if (!e || here().kind == Token::Kind::kEnd) return e;
    const bool last = tokens_[next_ + 1].kind == Token::Kind::kEnd;  // which would do without it
    return syntax(last ? "extraneous input '" + here().text + "' expecting <EOF>" : "mismatched input '" + here().text + "' expecting <EOF>");
  }
  const std::vector<ParseError>& errors() const { return errors_; }

 private:
  const Token& here() const { return tokens_[next_]; }
  bool symbol(std::string_view s) const { return here().kind == Token::Kind::kSymbol && here().text == s; }
  bool take(std::string_view s) {
    if (!symbol(s)) return false;
    ++next_;
    return true;
  }
  ExprPtr fail(size_t at, std::string m) {
    if (errors_.empty()) errors_.push_back({at, std::move(m)});
    return nullptr;
  }
  ExprPtr syntax(std::string what) { return fail(here().at, "Syntax error: " + std::move(what)); }
  ExprPtr mismatch(std::string_view expecting = kOperand) { return syntax("mismatched input '" + here().text + "' expecting " + std::string(expecting)); }
  ExprPtr missing(std::string_view what) { return syntax("missing '" + std::string(what) + "' at '" + here().text + "'"); }
  // After a dot that no name follows.
  ExprPtr nameless() { return syntax("no viable alternative at input '." + (here().kind == Token::Kind::kEnd ? "" : here().text) + "'"); }
  ExprPtr node(Expr::Kind kind, size_t at, std::string name = "") {
    auto e = std::make_unique<Expr>();
    e->kind = kind;
    e->at = at;
    e->name = std::move(name);
    return e;
  }
  ExprPtr literal(size_t at, Value v) {
    ExprPtr e = node(Expr::Kind::kLiteral, at);
    e->literal = std::move(v);
    return e;
  }
  bool add(Expr& e, ExprPtr child) {
    if (!child) return false;
    e.depth = std::max(e.depth, child->depth + 1);
    if (e.depth > kMaxDepth) {
      fail(e.at, "expression recursion limit exceeded: " + std::to_string(kMaxDepth));
      return false;
    }
    e.args.push_back(std::move(child));
    return true;
  }
  ExprPtr call(std::string name, size_t at, ExprPtr a, ExprPtr b = nullptr) {
    ExprPtr e = node(Expr::Kind::kCall, at, std::move(name));
    if (!add(*e, std::move(a)) || (b && !add(*e, std::move(b)))) return nullptr;
    return e;
  }

  ExprPtr expression() {
    if (++nesting_ > kMaxDepth) return fail(here().at, "expression recursion limit exceeded: " + std::to_string(kMaxDepth));
    ExprPtr e = conditional();
    --nesting_;
    return e;
  }
  ExprPtr conditional() {
    ExprPtr c = logic("||", Expr::Kind::kOr);
    if (!c || !symbol("?")) return c;
    ExprPtr e = node(Expr::Kind::kIf, here().at);
    ++next_;
    if (!add(*e, std::move(c)) || !add(*e, logic("||", Expr::Kind::kOr))) return nullptr;
    if (!take(":")) return mismatch("':'");
    if (!add(*e, expression())) return nullptr;
    return e;
  }
  // Chains are flat, so that long ones are not deep.
  ExprPtr logic(std::string_view op, Expr::Kind kind) {
    ExprPtr first = kind == Expr::Kind::kOr ? logic("&&", Expr::Kind::kAnd) : relation();
    if (!first || !symbol(op)) return first;
    ExprPtr e = node(kind, here().at, kind == Expr::Kind::kOr ? "_||_" : "_&&_");
    if (!add(*e, std::move(first))) return nullptr;
    while (take(op))
      if (!add(*e, kind == Expr::Kind::kOr ? logic("&&", Expr::Kind::kAnd) : relation())) return nullptr;
    return e;
  }
  ExprPtr relation() {
    ExprPtr left = sum();
    while (left) {
      const Token& t = here();
      bool is_in = t.kind == Token::Kind::kIdent && t.text == "in";
      bool other = t.kind == Token::Kind::kSymbol && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">=");
      if (!is_in && !other) break;
      std::string name = is_in ? "@in" : "_" + t.text + "_";
      size_t at = t.at;
      ++next_;
      ExprPtr right = sum();
      if (!right) return nullptr;
      left = call(std::move(name), at, std::move(left), std::move(right));
    }
    return left;
  }
  ExprPtr sum() {
    ExprPtr left = product();
    while (left && (symbol("+") || symbol("-"))) {
      std::string name = "_" + here().text + "_";
      size_t at = here().at;
      ++next_;
      ExprPtr right = product();
      if (!right) return nullptr;
      left = call(std::move(name), at, std::move(left), std::move(right));
    }
    return left;
  }
  ExprPtr product() {
    ExprPtr left = unary();
    while (left && (symbol("*") || symbol("/") || symbol("%"))) {
      std::string name = "_" + here().text + "_";
      size_t at = here().at;
      ++next_;
      ExprPtr right = unary();
      if (!right) return nullptr;
      left = call(std::move(name), at, std::move(left), std::move(right));
    }
    return left;
  }
  ExprPtr unary() {
    size_t at = here().at;
    if (symbol("-") && (tokens_[next_ + 1].kind == Token::Kind::kInt || tokens_[next_ + 1].kind == Token::Kind::kDouble)) {
      ++next_;
      ExprPtr n = number(at, true);
      return n ? members(std::move(n)) : nullptr;
    }
    if (!symbol("!") && !symbol("-")) return members(primary());
    std::string name = symbol("!") ? "!_" : "-_";
    std::string_view sign = name == "!_" ? "!" : "-";
    size_t n = 0;
    while (take(sign)) ++n;
    if (here().kind == Token::Kind::kEnd && sign == "!") return syntax("extraneous input '<EOF>' expecting " + std::string(kOperand));
    if (here().kind == Token::Kind::kEnd && errors_.empty()) {  // what could be a number is looked at twice
      errors_.push_back({here().at, "Syntax error: no viable alternative at input '-'"});
      errors_.push_back({here().at, "Syntax error: mismatched input '<EOF>' expecting " + std::string(kOperand)});
      return nullptr;
    }
    ExprPtr operand = members(primary());
    if (!operand) return nullptr;
    if (n % 2 == 0) return operand;
    return call(std::move(name), at, std::move(operand));
  }
  ExprPtr number(size_t at, bool negative) {
    const Token t = here();
    ++next_;
    std::string text = (negative ? "-" : "") + t.text;
    errno = 0;
    if (t.kind == Token::Kind::kDouble) return literal(at, Value::number(std::strtod(text.c_str(), nullptr)));
    int base = t.text.size() > 1 && (t.text[1] == 'x' || t.text[1] == 'X') ? 16 : 10;
    if (t.kind == Token::Kind::kUint) {
      uint64_t u = std::strtoull(text.c_str(), nullptr, base);
      if (errno == ERANGE) return fail(at, "invalid uint literal");
      return literal(at, Value::uinteger(u));
    }
    int64_t i = std::strtoll(text.c_str(), nullptr, base);
    if (errno == ERANGE) return fail(at, "invalid int literal");
    return literal(at, Value::integer(i));
  }

  ExprPtr members(ExprPtr e) {
    while (e) {
      size_t at = here().at;
      if (take(".")) {
        bool optional = take("?");
        const Token name = here();
        if (name.kind == Token::Kind::kQuotedIdent) return fail(name.at, "unsupported syntax: '`'");
        if (name.kind != Token::Kind::kIdent) return nameless();
        ++next_;
        if (symbol("(") && !optional && name.kind == Token::Kind::kIdent) {
          e = member_call(std::move(e), name.text);
          continue;
        }
        if (name.kind == Token::Kind::kIdent && name.text == "in") return fail(name.at, "Syntax error: no viable alternative at input '.in'");
        if (std::string type = optional ? "" : type_name(*e, name.text); !type.empty() && symbol("{")) {
          e = structure(at, std::move(type));
          continue;
        }
        ExprPtr select = node(Expr::Kind::kSelect, at, name.text);
        select->optional = optional;
        if (!add(*select, std::move(e))) return nullptr;
        e = std::move(select);
      } else if (take("[")) {
        if (here().kind == Token::Kind::kEnd) return mismatch(kIndex);
        bool optional = take("?");
        ExprPtr index = expression();
        if (!index) return nullptr;
        if (!take("]")) return missing("]");
        e = call(optional ? "_[?_]" : "_[_]", at, std::move(e), std::move(index));
      } else {
        break;
      }
    }
    return e;
  }
  // "Object.spec" of a chain of names; "" of anything else.
  static std::string type_name(const Expr& e, const std::string& last) {
    if (e.kind == Expr::Kind::kIdent) return e.name + "." + last;
    if (e.kind != Expr::Kind::kSelect || e.optional) return "";
    std::string head = type_name(*e.args[0], e.name);
    return head.empty() ? "" : head + "." + last;
  }
  ExprPtr structure(size_t at, std::string type) {
    ExprPtr e = node(Expr::Kind::kStruct, at, std::move(type));
    ++next_;
    while (!take("}")) {
      e->optional_items.push_back(take("?"));
      const Token field = here();
      if (field.kind == Token::Kind::kQuotedIdent) return fail(field.at, "unsupported syntax: '`'");
      if (field.kind != Token::Kind::kIdent) return mismatch("IDENTIFIER");
      ++next_;
      e->variables.push_back(field.text);
      if (!take(":")) return missing(":");
      if (!add(*e, expression())) return nullptr;
      if (!take(",") && !symbol("}")) return mismatch("{'}', ','}");
    }
    return e;
  }
  bool arguments(std::vector<ExprPtr>& out) {
    if (take(")")) return true;
    if (here().kind == Token::Kind::kEnd) {
      mismatch(kArgument);
      return false;
    }
    do {
      ExprPtr a = expression();
      if (!a) return false;
      out.push_back(std::move(a));
    } while (take(","));
    if (take(")")) return true;
    mismatch("{')', ','}");
    return false;
  }

  ExprPtr member_call(ExprPtr receiver, const std::string& name) {
    size_t at = here().at;
    ++next_;
    std::vector<ExprPtr> args;
    if (!arguments(args)) return nullptr;
    if (receiver->kind == Expr::Kind::kIdent && !overloads(receiver->name + "." + name).empty()) {
      ExprPtr e = node(Expr::Kind::kCall, at, receiver->name + "." + name);
      for (auto& a : args)
        if (!add(*e, std::move(a))) return nullptr;
      return e;
    }
    if (size_t n = macro_variables(name, args.size()); n > 0) return macro(name == "existsOne" ? "exists_one" : name, at, std::move(receiver), std::move(args), n);
    ExprPtr e = node(Expr::Kind::kCall, at, name);
    e->member = true;
    if (!add(*e, std::move(receiver))) return nullptr;
    for (auto& a : args)
      if (!add(*e, std::move(a))) return nullptr;
    return e;
  }
  static size_t macro_variables(std::string_view name, size_t args) {
    if (name == "all" || name == "exists" || name == "existsOne" || name == "exists_one") return args == 2 ? 1 : args == 3 ? 2
                                                                                                                           : 0;
    if (name == "map") return args == 2 || args == 3 ? 1 : 0;
    if (name == "filter" || name == "optMap" || name == "optFlatMap" || name == "sortBy") return args == 2 ? 1 : 0;
    if (name == "transformList" || name == "transformMap" || name == "transformMapEntry") return args == 3 || args == 4 ? 2 : 0;
    return 0;
  }
  ExprPtr macro(std::string name, size_t at, ExprPtr range, std::vector<ExprPtr> args, size_t variables) {
    if (name == "sortBy" && (range->kind == Expr::Kind::kLiteral || range->kind == Expr::Kind::kMap || range->kind == Expr::Kind::kStruct))
      return fail(range->at, "sortBy can only be applied to a list, identifier, comprehension, call or select expression");
    ExprPtr e = node(Expr::Kind::kMacro, at, std::move(name));
    if (!add(*e, std::move(range))) return nullptr;
    for (size_t i = 0; i < args.size(); ++i) {
      if (i >= variables) {
        if (!add(*e, std::move(args[i]))) return nullptr;
        continue;
      }
      if (args[i]->kind != Expr::Kind::kIdent) return fail(args[i]->at, "argument must be a simple name");
      if (i > 0 && e->variables[0] == args[i]->name) return fail(args[i]->at, "duplicate variable name: " + args[i]->name);
      if (args[i]->name == "__result__") return fail(args[i]->at, "iteration variable overwrites accumulator variable");
      e->variables.push_back(args[i]->name);
    }
    return e;
  }

  ExprPtr primary() {
    const Token t = here();
    switch (t.kind) {
      case Token::Kind::kInt:
      case Token::Kind::kUint:
      case Token::Kind::kDouble: return number(t.at, false);
      case Token::Kind::kString: ++next_; return literal(t.at, Value::string(t.text));
      case Token::Kind::kBytes: ++next_; return literal(t.at, Value::bytes(t.text));
      case Token::Kind::kIdent: ++next_; return named(t);
      case Token::Kind::kSymbol: break;
      default: return mismatch();
    }
    if (take("(")) {
      ExprPtr e = expression();
      if (!e) return nullptr;
      if (!take(")")) return missing(")");
      return e;
    }
    if (take("[")) return list(t.at);
    if (take("{")) return map(t.at);
    if (take(".") && here().kind == Token::Kind::kIdent) {
      const Token name = here();
      ++next_;
      return named(name);
    }
    return mismatch();
  }
  ExprPtr named(const Token& t) {
    if (t.text == "true" || t.text == "false") return literal(t.at, Value::boolean(t.text == "true"));
    if (t.text == "null") return literal(t.at, Value());
    if (reserved(t.text)) return fail(t.at, "reserved identifier: " + t.text);
    if (symbol("{")) return structure(t.at, t.text);
    if (!symbol("(")) return node(Expr::Kind::kIdent, t.at, t.text);
    size_t at = here().at;
    ++next_;
    std::vector<ExprPtr> args;
    if (!arguments(args)) return nullptr;
    if (t.text == "has" && args.size() == 1) {
      if (args[0]->kind != Expr::Kind::kSelect || args[0]->optional) return fail(args[0]->at, "invalid argument to has() macro");
      ExprPtr e = std::move(args[0]);
      e->kind = Expr::Kind::kHas;
      e->at = at;
      return e;
    }
    ExprPtr e = node(Expr::Kind::kCall, at, t.text);
    for (auto& a : args)
      if (!add(*e, std::move(a))) return nullptr;
    return e;
  }
  ExprPtr list(size_t at) {
    ExprPtr e = node(Expr::Kind::kList, at);
    while (!take("]")) {
      e->optional_items.push_back(take("?"));
      if (!add(*e, expression())) return nullptr;
      if (!take(",") && !symbol("]")) return mismatch("{']', ','}");
    }
    return e;
  }
  ExprPtr map(size_t at) {
    ExprPtr e = node(Expr::Kind::kMap, at);
    while (!take("}")) {
      e->optional_items.push_back(take("?"));
      if (!add(*e, expression())) return nullptr;
      if (!take(":")) return mismatch("':'");
      if (!add(*e, expression())) return nullptr;
      if (!take(",") && !symbol("}")) return mismatch("{'}', ','}");
    }
    return e;
  }

  std::vector<Token> tokens_;
  size_t next_ = 0;
  int nesting_ = 0;
  std::vector<ParseError> errors_;
};

}  // namespace

std::string error_at(std::string_view text, size_t at, std::string_view message) {
  at = std::min(at, text.size());
  size_t start = at == 0 ? 0 : text.rfind('\n', at - 1);
  start = at == 0 || start == text.npos ? 0 : start + 1;
  size_t end = std::min(text.find('\n', at), text.size());
  auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(start), '\n') + 1;
  size_t column = runes(text.substr(start, at - start)).size();
  return "ERROR: <input>:" + std::to_string(line) + ":" + std::to_string(column + 1) + ": " + std::string(message) + "\n | " +
         std::string(text.substr(start, end - start)) + "\n | " + std::string(column, '.') + "^";
}

Result<ExprPtr> parse_expression(std::string_view text) {
  if (text.size() > kMaxExpressionBytes)
    return invalid("expression code point size exceeds limit: size: " + std::to_string(text.size()) + ", limit " + std::to_string(kMaxExpressionBytes));
  std::vector<Token> tokens;
  std::vector<LexError> wrong;
  tokenize(text, tokens, wrong);
  Parser p(std::move(tokens));
  ExprPtr e = p.run();
  if (e && wrong.empty()) return e;
  std::vector<ParseError> all = p.errors();
  for (auto& w : wrong) all.push_back({w.at, "Syntax error: " + w.message});
  std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.at < b.at; });
  std::string message;
  for (auto& x : all) message += (message.empty() ? "" : "\n") + error_at(text, x.at, x.message);
  return invalid(message);
}

}  // namespace caravel::kube::cel
