#include "kube/selectors.h"

#include <algorithm>

#include "base/strings.h"
#include "kube/types/meta.h"
#include "kube/validation.h"

namespace caravel::kube {

const std::string* find_pair(const Pairs& pairs, std::string_view key) {
  for (auto& [k, v] : pairs)
    if (k == key) return &v;
  return nullptr;
}

namespace {

using Op = LabelSelector::Op;

// Reads "app=web, tier in (a,b)" word by word; what it says about bad ones is upstream's.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) { next(); }

  Status read(std::vector<LabelSelector::Requirement>& out) {
    while (!word_.empty()) {
      if (!name() && word_ != "!") return bad("found '" + word_ + "', expected: !, identifier, or 'end of string'");
      LabelSelector::Requirement term;
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

  Status requirement(LabelSelector::Requirement& t) {
    t.op = word_ == "!" ? Op::kDoesNotExist : Op::kExists;
    if (word_ == "!") next();
    if (!name()) return bad("found '" + word_ + "', expected: identifier");
    t.key = word_;
    if (std::string e = check_qualified_name(t.key); !e.empty()) return bad("<nil>: Invalid value: " + json::quote(t.key) + ": " + e);
    next();
    if (t.op == Op::kDoesNotExist || word_.empty() || word_ == ",") return ok();
    const std::string op = word_;
    if (op == "in" || op == "=" || op == "==") t.op = Op::kIn;
    else if (op == "notin" || op == "!=") t.op = Op::kNotIn;
    else if (op == ">") t.op = Op::kGreater;
    else if (op == "<") t.op = Op::kLess;
    else return bad("found '" + op + "', expected: in, notin, =, ==, !=, gt, lt");
    next();
    TRY_VOID(op == "in" || op == "notin" ? list(t) : value(t));
    if ((t.op == Op::kGreater || t.op == Op::kLess) && !parse_int(t.values[0]))
      return bad("values[0]: Invalid value: " + json::quote(t.values[0]) + ": for 'Gt', 'Lt' operators, the value must be an integer");
    std::sort(t.values.begin(), t.values.end());
    for (size_t i = 0; i < t.values.size(); ++i)
      if (std::string e = check_label_value(t.values[i]); !e.empty())
        return bad("values[" + std::to_string(i) + "][" + t.key + "]: Invalid value: " + json::quote(t.values[i]) + ": " + e);
    return ok();
  }
  Status value(LabelSelector::Requirement& t) {
    t.values.emplace_back();
    if (word_.empty() || word_ == ",") return ok();
    if (!name()) return bad("found '" + word_ + "', expected: identifier");
    t.values.back() = word_;
    next();
    return ok();
  }
  Status list(LabelSelector::Requirement& t) {
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

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector s;
  TRY_VOID(Parser(text).read(s.requirements_));
  return s;
}

Result<LabelSelector> LabelSelector::from(const meta::LabelSelector& m) {
  LabelSelector s = from_map(m.match_labels);
  for (auto& e : m.match_expressions) {
    Requirement r{e.key, Op::kIn, e.values};
    if (e.operator_ == "In") r.op = Op::kIn;
    else if (e.operator_ == "NotIn") r.op = Op::kNotIn;
    else if (e.operator_ == "Exists") r.op = Op::kExists;
    else if (e.operator_ == "DoesNotExist") r.op = Op::kDoesNotExist;
    else return invalid(json::quote(e.operator_) + " is not a valid label selector operator");
    s.requirements_.push_back(std::move(r));
  }
  return s;
}

Result<LabelSelector> LabelSelector::from_json(const json::Value& v) {
  if (v.is_null()) return nothing();
  TRY(auto m, kube::from_json<meta::LabelSelector>(v));
  return from(m);
}

LabelSelector LabelSelector::from_map(const std::map<std::string, std::string>& labels) {
  LabelSelector s;
  for (auto& [k, v] : labels) s.requirements_.push_back({k, Op::kIn, {v}});
  return s;
}

LabelSelector LabelSelector::nothing() {
  LabelSelector s;
  s.nothing_ = true;
  return s;
}

template <class Lookup>
bool LabelSelector::matches_with(Lookup find) const {
  if (nothing_) return false;
  for (auto& r : requirements_) {
    const std::string* v = find(r.key);
    bool in = v && std::find(r.values.begin(), r.values.end(), *v) != r.values.end();
    switch (r.op) {
      case Op::kIn:
        if (!in) return false;
        break;
      case Op::kNotIn:
        if (in) return false;
        break;
      case Op::kExists:
        if (!v) return false;
        break;
      case Op::kDoesNotExist:
        if (v) return false;
        break;
      case Op::kGreater:
      case Op::kLess: {
        auto have = v ? parse_int(*v) : std::nullopt, want = parse_int(r.values[0]);
        if (!have || !want || (r.op == Op::kGreater ? *have <= *want : *have >= *want)) return false;
        break;
      }
    }
  }
  return true;
}

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  return matches_with([&](const std::string& key) -> const std::string* {
    auto it = labels.find(key);
    return it == labels.end() ? nullptr : &it->second;
  });
}
bool LabelSelector::matches(const Pairs& labels) const {
  return matches_with([&](const std::string& key) { return find_pair(labels, key); });
}
bool LabelSelector::matches(const json::Value& labels) const {
  return matches_with([&](const std::string& key) -> const std::string* {
    const json::Value* v = labels.find(key);
    return v ? &v->as_string() : nullptr;
  });
}

std::string LabelSelector::text() const {
  std::vector<std::string> parts;
  for (auto& r : requirements_) {
    auto values = r.values;
    std::sort(values.begin(), values.end());
    switch (r.op) {
      case Op::kIn: parts.push_back(values.size() == 1 ? r.key + "=" + values[0] : r.key + " in (" + join(values, ",") + ")"); break;
      case Op::kNotIn: parts.push_back(values.size() == 1 ? r.key + "!=" + values[0] : r.key + " notin (" + join(values, ",") + ")"); break;
      case Op::kExists: parts.push_back(r.key); break;
      case Op::kDoesNotExist: parts.push_back("!" + r.key); break;
      case Op::kGreater: parts.push_back(r.key + ">" + values[0]); break;
      case Op::kLess: parts.push_back(r.key + "<" + values[0]); break;
    }
  }
  return join(parts, ",");
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

bool FieldSelector::matches(const json::Value& object) const {
  for (auto& t : terms_) {
    const json::Value* v = &object;
    for (auto& step : split(t.field, '.')) v = v ? v->find(step) : nullptr;
    std::string have = !v || v->is_null() ? "" : v->is_string() ? v->as_string()
                                                                : json::dump(*v);
    if ((have == t.value) != t.equal) return false;
  }
  return true;
}

}  // namespace caravel::kube
