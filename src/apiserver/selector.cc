#include "apiserver/selector.h"

#include <algorithm>

#include "base/strings.h"

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

namespace {
// Splits at commas that are outside parentheses.
std::vector<std::string> split_terms(std::string_view text) {
  std::vector<std::string> out;
  int depth = 0;
  std::string cur;
  for (char c : text) {
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (c == ',' && depth == 0) {
      out.push_back(std::move(cur));
      cur.clear();
    } else {
      cur.push_back(c);
    }
  }
  out.push_back(std::move(cur));
  return out;
}
}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector out;
  if (trim(text).empty()) return out;
  auto bad = [&](std::string_view why) { return make_error(Code::kBadRequest, "unable to parse requirement: " + std::string(why)); };
  for (auto& raw : split_terms(text)) {
    std::string_view t = trim(raw);
    Term term;
    if (t.empty()) return bad("found '', expected: identifier");
    if (t[0] == '!') {
      term.op = kNotExists;
      term.key = std::string(trim(t.substr(1)));
    } else if (size_t open = t.find('('); open != t.npos) {
      if (t.back() != ')') return bad("found '" + std::string(t) + "', expected: ')'");
      auto words = split_words(t.substr(0, open));
      if (words.size() != 2 || (words[1] != "in" && words[1] != "notin")) return bad("found '" + std::string(t) + "', expected: 'in', 'notin'");
      term.key = words[0];
      term.op = words[1] == "in" ? kIn : kNotIn;
      for (auto& v : split(t.substr(open + 1, t.size() - open - 2), ',')) term.values.emplace_back(trim(v));
    } else if (size_t ne = t.find("!="); ne != t.npos) {
      term.key = std::string(trim(t.substr(0, ne)));
      term.op = kNotIn;
      term.values.emplace_back(trim(t.substr(ne + 2)));
    } else if (size_t eq = t.find('='); eq != t.npos) {
      term.key = std::string(trim(t.substr(0, eq)));
      term.op = kIn;
      std::string_view v = t.substr(eq + 1);
      if (!v.empty() && v[0] == '=') v.remove_prefix(1);
      term.values.emplace_back(trim(v));
    } else if (size_t gt = t.find_first_of("<>"); gt != t.npos) {
      term.key = std::string(trim(t.substr(0, gt)));
      term.op = t[gt] == '>' ? kGreater : kLess;
      term.values.emplace_back(trim(t.substr(gt + 1)));
      if (!parse_int(term.values[0])) return bad("for 'Gt', 'Lt' operators, the value must be an integer");
    } else {
      term.key = std::string(t);
      term.op = kExists;
    }
    if (!valid_qualified_name(term.key)) return bad("found '" + term.key + "', expected: identifier");
    if (term.op == kIn || term.op == kNotIn)
      for (auto& v : term.values)
        if (!valid_label_value(v))
          return bad("values[0][" + term.key + "]: Invalid value: \"" + v +
                     "\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character");
    out.terms_.push_back(std::move(term));
  }
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
