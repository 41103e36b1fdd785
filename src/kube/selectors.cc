#include "kube/selectors.h"

#include <algorithm>

#include "base/strings.h"
#include "kube/types/meta.h"
#include "kube/validation.h"

namespace caravel::kube {

namespace {

using Op = LabelSelector::Op;

Error bad(std::string why) { return make_error(Code::kBadRequest, "unable to parse requirement: " + std::move(why)); }

class Parser {
 public:
  explicit Parser(std::string_view s) : s_(s) {}

  Result<std::vector<LabelSelector::Requirement>> parse() {
    std::vector<LabelSelector::Requirement> out;
    skip();
    if (i_ == s_.size()) return out;
    while (true) {
      TRY(auto r, requirement());
      out.push_back(std::move(r));
      skip();
      if (i_ == s_.size()) return out;
      if (s_[i_] != ',') return bad("found '" + std::string(1, s_[i_]) + "', expected: ',' or 'end of string'");
      ++i_;
    }
  }

 private:
  void skip() {
    while (i_ < s_.size() && isspace(static_cast<unsigned char>(s_[i_]))) ++i_;
  }
  std::string word() {
    skip();
    size_t start = i_;
    while (i_ < s_.size() && !isspace(static_cast<unsigned char>(s_[i_])) && std::string_view("=!(),<>").find(s_[i_]) == std::string_view::npos) ++i_;
    return std::string(s_.substr(start, i_ - start));
  }
  bool take(std::string_view t) {
    skip();
    if (s_.substr(i_, t.size()) != t) return false;
    i_ += t.size();
    return true;
  }
  Result<LabelSelector::Requirement> requirement() {
    LabelSelector::Requirement r;
    bool negated = take("!");
    r.key = word();
    if (std::string e = check_qualified_name(r.key); !e.empty())
      return bad("key: Invalid value: " + json::quote(r.key) + ": " + e);
    if (negated) {
      r.op = Op::kDoesNotExist;
      return r;
    }
    skip();
    if (i_ == s_.size() || s_[i_] == ',') return r;
    if (take("==") || (s_.substr(i_, 2) != "!=" && take("="))) return one(std::move(r), Op::kIn);
    if (take("!=")) return one(std::move(r), Op::kNotIn);
    if (take(">")) return one(std::move(r), Op::kGreater);
    if (take("<")) return one(std::move(r), Op::kLess);
    std::string op = word();
    if (op != "in" && op != "notin") return bad("found '" + op + "', expected: in, notin, =, ==, !=, gt, lt");
    r.op = op == "in" ? Op::kIn : Op::kNotIn;
    if (!take("(")) return bad("expected: '('");
    while (true) {
      std::string v = word();
      if (std::string e = check_label_value(v); !e.empty())
        return bad("values[" + std::to_string(r.values.size()) + "][" + r.key + "]: Invalid value: " + json::quote(v) + ": " + e);
      r.values.push_back(std::move(v));
      if (take(",")) continue;
      if (take(")")) break;
      return bad("expected: ',' or ')'");
    }
    return r;
  }
  Result<LabelSelector::Requirement> one(LabelSelector::Requirement r, Op op) {
    r.op = op;
    std::string v = word();
    if ((op == Op::kGreater || op == Op::kLess) && !parse_int(v)) return bad("for 'Gt', 'Lt' operators, the value must be an integer");
    if (std::string e = check_label_value(v); !e.empty()) return bad("values[0][" + r.key + "]: Invalid value: " + json::quote(v) + ": " + e);
    r.values.push_back(std::move(v));
    return r;
  }

  std::string_view s_;
  size_t i_ = 0;
};

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector s;
  TRY(s.requirements_, Parser(text).parse());
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
  FieldSelector s;
  if (trim(text).empty()) return s;
  for (auto& part : split(text, ',')) {
    if (trim(part).empty()) continue;
    size_t n = part.find("!=");
    Term t;
    size_t width = 2;
    if (n != part.npos) {
      t.equal = false;
    } else if ((n = part.find("==")) == part.npos) {
      n = part.find('=');
      width = 1;
    }
    if (n == part.npos) return make_error(Code::kBadRequest, "invalid selector: '" + part + "'; can't understand '" + part + "'");
    t.field = std::string(trim(part.substr(0, n)));
    // "\=", "\," and "\\" stand for themselves.
    std::string_view value = std::string_view(part).substr(n + width);
    for (size_t i = 0; i < value.size(); ++i) {
      if (value[i] == '\\' && i + 1 < value.size()) ++i;
      t.value += value[i];
    }
    s.terms_.push_back(std::move(t));
  }
  return s;
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
