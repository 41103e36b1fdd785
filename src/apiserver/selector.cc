#include "apiserver/selector.h"

#include <algorithm>

#include "base/json.h"
#include "base/strings.h"
#include "kube/validation.h"

namespace caravel::apiserver {

const std::string* find_pair(const Pairs& pairs, std::string_view key) {
  for (auto& [k, v] : pairs)
    if (k == key) return &v;
  return nullptr;
}

namespace {
bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool name_part(std::string_view v) {
  if (v.empty() || v.size() > 63 || !alnum(v.front()) || !alnum(v.back())) return false;
  return std::all_of(v.begin(), v.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}
bool subdomain(std::string_view v) {
  if (v.empty() || v.size() > 253) return false;
  for (auto& label : split(v, '.')) {
    if (label.empty() || !alnum(label.front()) || !alnum(label.back())) return false;
    for (char c : label)
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
}
}  // namespace

bool valid_label_value(std::string_view v) { return v.empty() || name_part(v); }
bool valid_qualified_name(std::string_view v) {
  size_t slash = v.find('/');
  if (slash == v.npos) return name_part(v);
  return subdomain(v.substr(0, slash)) && name_part(v.substr(slash + 1));
}

// Reads "app=web, tier in (a,b)" word by word; what it says about bad ones is upstream's.
class LabelSelector::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) { next(); }

  Status read(std::vector<Term>& out) {
    while (!word_.empty()) {
      if (!name() && word_ != "!") return bad("found '" + word_ + "', expected: !, identifier, or 'end of string'");
      Term term;
      if (Status s = requirement(term); !s.ok()) return bad("unable to parse requirement: " + s.error().message);
      out.push_back(std::move(term));
      if (word_.empty()) break;
      if (word_ != ",") return bad("found '" + word_ + "', expected: ',' or 'end of string'");
      next();
      if (!name() && word_ != "!") return bad("found '" + word_ + "', expected: identifier after ','");
    }
    return ok();
  }

 private:
  static Error bad(std::string why) { return make_error(Code::kBadRequest, std::move(why)); }
  static bool symbol(char c) { return std::string_view("()=!<>,").find(c) != std::string_view::npos; }
  // A name, a value, or one of the words "in" and "notin" where they stand for themselves.
  bool name() const { return !word_.empty() && !symbol(word_[0]); }
  void next() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) ++at_;
    size_t end = at_;
    if (end < text_.size() && symbol(text_[end])) {
      const std::string_view two = text_.substr(end, 2);
      end += two == "==" || two == "!=" ? 2 : 1;
    } else {
      while (end < text_.size() && !symbol(text_[end]) && std::string_view(" \t\r\n").find(text_[end]) == std::string_view::npos) ++end;
    }
    word_ = std::string(text_.substr(at_, end - at_));
    at_ = end;
  }

  Status requirement(Term& t) {
    t.op = word_ == "!" ? kNotExists : kExists;
    if (word_ == "!") next();
    if (!name()) return bad("found '" + word_ + "', expected: identifier");
    t.key = word_;
    if (std::string e = kube::check_qualified_name(t.key); !e.empty()) return bad("<nil>: Invalid value: " + json::quote(t.key) + ": " + e);
    next();
    if (t.op == kNotExists || word_.empty() || word_ == ",") return ok();
    const std::string op = word_;
    if (op == "in" || op == "=" || op == "==") t.op = kIn;
    else if (op == "notin" || op == "!=") t.op = kNotIn;
    else if (op == ">") t.op = kGreater;
    else if (op == "<") t.op = kLess;
    else return bad("found '" + op + "', expected: in, notin, =, ==, !=, gt, lt");
    next();
    TRY_VOID(op == "in" || op == "notin" ? list(t) : value(t));
    if ((t.op == kGreater || t.op == kLess) && !parse_int(t.values[0]))
      return bad("values[0]: Invalid value: " + json::quote(t.values[0]) + ": for 'Gt', 'Lt' operators, the value must be an integer");
    std::sort(t.values.begin(), t.values.end());
    for (size_t i = 0; i < t.values.size(); ++i)
      if (std::string e = kube::check_label_value(t.values[i]); !e.empty())
        return bad("values[" + std::to_string(i) + "][" + t.key + "]: Invalid value: " + json::quote(t.values[i]) + ": " + e);
    return ok();
  }
  Status value(Term& t) {
    t.values.emplace_back();
    if (word_.empty() || word_ == ",") return ok();
    if (!name()) return bad("found '" + word_ + "', expected: identifier");
    t.values.back() = word_;
    next();
    return ok();
  }
  Status list(Term& t) {
    if (word_ != "(") return bad("found '" + word_ + "' expected: '('");
    next();
    if (word_ != ")" && word_ != "," && !name()) return bad("found '" + word_ + "', expected: ',', ')' or identifier");
    while (true) {
      t.values.emplace_back();
      if (name()) {
        t.values.back() = word_;
        next();
      }
      if (word_ == ")") break;
      if (word_ != ",") return bad("found '" + word_ + "', expected: ',' or ')'");
      next();
    }
    next();
    return ok();
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string word_;  // the one at hand; "" at the end
};

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector out;
  TRY_VOID(Parser(text).read(out.terms_));
  return out;
}

bool LabelSelector::matches(const Pairs& labels) const {
  for (auto& t : terms_) {
    const std::string* v = find_pair(labels, t.key);
    bool hit = false;
    switch (t.op) {
      case kIn: hit = v && std::find(t.values.begin(), t.values.end(), *v) != t.values.end(); break;
      case kNotIn: hit = !v || std::find(t.values.begin(), t.values.end(), *v) == t.values.end(); break;
      case kExists: hit = v; break;
      case kNotExists: hit = !v; break;
      case kGreater:
      case kLess: {
        auto n = v ? parse_int(*v) : std::nullopt;
        auto bound = parse_int(t.values[0]);
        hit = n && bound && (t.op == kGreater ? *n > *bound : *n < *bound);
        break;
      }
    }
    if (!hit) return false;
  }
  return true;
}

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector out;
  if (trim(text).empty()) return out;
  // Commas, equal signs and backslashes in values are escaped with a backslash.
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      parts.back() += text[i];
      parts.back() += text[++i];
    } else if (text[i] == ',') {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  auto unescape = [](std::string_view s) {
    std::string o;
    for (size_t i = 0; i < s.size(); ++i) {
      if (s[i] == '\\' && i + 1 < s.size()) ++i;
      o += s[i];
    }
    return o;
  };
  for (auto& p : parts) {
    if (p.empty()) continue;
    Term t;
    size_t ne = p.find("!="), eq = p.find('=');
    if (eq == p.npos) return make_error(Code::kBadRequest, "invalid selector: '" + std::string(text) + "'; can't understand '" + p + "'");
    if (ne != p.npos && ne + 1 == eq) {
      t.equal = false;
      t.field = p.substr(0, ne);
      t.value = unescape(std::string_view(p).substr(ne + 2));
    } else {
      t.field = p.substr(0, eq);
      size_t v = eq + 1;
      if (v < p.size() && p[v] == '=') ++v;
      t.value = unescape(std::string_view(p).substr(v));
    }
    const std::string_view given = std::string_view(p).substr(p.find('=') + 1);
    for (size_t i = 0; i < given.size(); ++i)
      if (given[i] == '\\' && (++i == given.size() || std::string_view("\\,=").find(given[i]) == std::string_view::npos))
        return make_error(Code::kBadRequest, "invalid field selector: invalid escape sequence: \\" + std::string(given.substr(i, 1)));
    t.field = std::string(trim(t.field));
    out.terms_.push_back(std::move(t));
  }
  return out;
}

const std::string* FieldSelector::exact(std::string_view field) const {
  for (auto& t : terms_)
    if (t.equal && t.field == field) return &t.value;
  return nullptr;
}

}  // namespace caravel::apiserver
