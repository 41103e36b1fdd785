// kubectl's JSONPath, as printer columns use it.
#include "base/strings.h"
#include "kube/table.h"

namespace caravel::kube {

namespace {

Error bad(std::string_view text, std::string_view why) { return invalid("jsonPath " + json::quote(text) + ": " + std::string(why)); }

// Reads a field name from `i`: up to an unescaped '.' or '['; "\." is a dot in the name.
std::string read_name(std::string_view s, size_t& i) {
  std::string out;
  for (; i < s.size() && s[i] != '.' && s[i] != '['; ++i) {
    if (s[i] == '\\' && i + 1 < s.size()) ++i;
    out += s[i];
  }
  return out;
}

json::Value literal(std::string_view s) {
  s = trim(s);
  if (s.size() >= 2 && (s.front() == '"' || s.front() == '\'') && s.back() == s.front()) return s.substr(1, s.size() - 2);
  auto v = json::parse(s);
  return v.ok() ? *v : json::Value(s);
}

void recurse(const json::Value& v, std::vector<const json::Value*>& out) {
  out.push_back(&v);
  for (auto& m : v.as_object()) recurse(m.value, out);
  for (auto& i : v.as_array()) recurse(i, out);
}

}  // namespace

Result<JsonPath> JsonPath::parse(std::string_view text) {
  JsonPath path;
  std::string_view s = trim(text);
  if (s.size() >= 2 && s.front() == '{' && s.back() == '}') s = s.substr(1, s.size() - 2);
  if (!s.empty() && s[0] == '$') s.remove_prefix(1);
  size_t i = 0;
  while (i < s.size()) {
    Step step;
    if (s[i] == '.') {
      ++i;
      if (i < s.size() && s[i] == '.') {
        step.kind = Step::kRecursive;
        path.steps_.push_back(step);
        ++i;
        step = Step();
      }
      if (i < s.size() && s[i] == '[') continue;
      if (i < s.size() && s[i] == '*') {
        step.kind = Step::kWildcard;
        ++i;
      } else {
        step.name = read_name(s, i);
        if (step.name.empty()) {
          if (i >= s.size()) break;
          return bad(text, "a name is missing after a dot");
        }
      }
      path.steps_.push_back(std::move(step));
      continue;
    }
    if (s[i] != '[') {
      step.name = read_name(s, i);
      path.steps_.push_back(std::move(step));
      continue;
    }
    // The matching bracket, quotes respected.
    size_t end = i + 1;
    char quote = 0;
    for (int depth = 1; end < s.size(); ++end) {
      char c = s[end];
      if (quote) {
        if (c == quote) quote = 0;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == '[') {
        ++depth;
      } else if (c == ']' && --depth == 0) {
        break;
      }
    }
    if (end >= s.size()) return bad(text, "unterminated array");
    std::string_view inside = trim(s.substr(i + 1, end - i - 1));
    i = end + 1;
    if (inside == "*") {
      step.kind = Step::kWildcard;
    } else if (inside.starts_with("?(") && inside.ends_with(")")) {
      step.kind = Step::kFilter;
      std::string_view cond = inside.substr(2, inside.size() - 3);
      size_t op = cond.find("==");
      if (op != cond.npos) step.op = "==";
      else if ((op = cond.find("!=")) != cond.npos) step.op = "!=";
      std::string_view left = trim(cond.substr(0, op));
      if (!left.starts_with("@")) return bad(text, "a filter compares @.field with a value");
      left.remove_prefix(1);
      size_t k = 0;
      while (k < left.size()) {
        if (left[k] == '.') ++k;
        step.filter_path.push_back(read_name(left, k));
        if (k < left.size() && left[k] == '[') return bad(text, "a filter's left side is a plain path");
      }
      if (!step.op.empty()) step.value = literal(cond.substr(op + 2));
    } else if (!inside.empty() && (inside.front() == '\'' || inside.front() == '"')) {
      step.name = literal(inside).as_string();
    } else if (auto n = parse_int(inside)) {
      step.kind = Step::kIndex;
      step.index = *n;
    } else {
      return bad(text, "unrecognized bracket [" + std::string(inside) + "]");
    }
    path.steps_.push_back(std::move(step));
  }
  return path;
}

std::vector<const json::Value*> JsonPath::find(const json::Value& root) const {
  std::vector<const json::Value*> now{&root};
  for (auto& step : steps_) {
    std::vector<const json::Value*> next;
    for (auto* v : now) {
      switch (step.kind) {
        case Step::kField:
          if (const json::Value* m = v->find(step.name)) next.push_back(m);
          break;
        case Step::kIndex: {
          int64_t n = step.index < 0 ? step.index + static_cast<int64_t>(v->size()) : step.index;
          if (v->is_array() && n >= 0 && n < static_cast<int64_t>(v->size())) next.push_back(&v->at(static_cast<size_t>(n)));
          break;
        }
        case Step::kWildcard:
          for (auto& m : v->as_object()) next.push_back(&m.value);
          for (auto& i : v->as_array()) next.push_back(&i);
          break;
        case Step::kRecursive: recurse(*v, next); break;
        case Step::kFilter:
          for (auto& i : v->as_array()) {
            const json::Value* at = &i;
            for (auto& n : step.filter_path) at = at ? at->find(n) : nullptr;
            bool match = step.op.empty() ? at != nullptr : step.op == "==" ? at && *at == step.value
                                                                           : !at || !(*at == step.value);
            if (match) next.push_back(&i);
          }
          break;
      }
    }
    now = std::move(next);
  }
  return now;
}

}  // namespace caravel::kube
