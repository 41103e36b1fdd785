// Texts: CEL's own and the extended string functions, all in code points.
#include <re2/re2.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/strings.h"
#include "kube/cel/functions.h"

namespace caravel::kube::cel {

namespace {

using V = Value;
using R = Result<Value>;
using A = Arguments;
using Runes = std::vector<uint32_t>;

// Compiled once per pattern text.
std::shared_ptr<const RE2> regex(const std::string& pattern) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const RE2>> cache;
  constexpr size_t kCacheMax = 1024;
  std::lock_guard lock(mutex);
  auto it = cache.find(pattern);
  if (it != cache.end()) return it->second;
  if (cache.size() >= kCacheMax) cache.clear();
  RE2::Options o;
  o.set_log_errors(false);
  return cache.emplace(pattern, std::make_shared<const RE2>(pattern, o)).first->second;
}
Error bad_regex(const RE2& re) { return invalid("error parsing regexp: " + re.error()); }

std::string text(const Runes& r, size_t from, size_t to) { return utf8(r.data() + from, r.data() + to); }
R out_of_range(int64_t i) { return invalid("index out of range: " + std::to_string(i)); }

R starts(A a) { return V::boolean(a[0].s().starts_with(a[1].s())); }
R ends(A a) { return V::boolean(a[0].s().ends_with(a[1].s())); }
R contains(A a) { return V::boolean(a[0].s().find(a[1].s()) != std::string::npos); }
R matches(A a) {
  TRY(bool yes, regex_matches(a[0].s(), a[1].s()));
  return V::boolean(yes);
}
R find(A a) {
  auto re = regex(a[1].s());
  if (!re->ok()) return bad_regex(*re);
  re2::StringPiece m;
  if (!re->Match(a[0].s(), 0, a[0].s().size(), RE2::UNANCHORED, &m, 1)) return V::string("");
  return V::string(std::string(m.data(), m.size()));
}
R find_some(A a, int64_t limit) {
  auto re = regex(a[1].s());
  if (!re->ok()) return bad_regex(*re);
  std::vector<Value> out;
  const std::string& s = a[0].s();
  size_t at = 0;
  re2::StringPiece m;
  while (at <= s.size() && (limit < 0 || static_cast<int64_t>(out.size()) < limit) && re->Match(s, at, s.size(), RE2::UNANCHORED, &m, 1)) {
    out.push_back(V::string(std::string(m.data(), m.size())));
    at = static_cast<size_t>(m.data() - s.data()) + std::max<size_t>(m.size(), 1);
  }
  return V::list(std::move(out));
}
R find_all(A a) { return find_some(a, -1); }
R find_all_limit(A a) { return find_some(a, a[2].i()); }

R char_at(A a) {
  Runes r = runes(a[0].s());
  int64_t i = a[1].i();
  if (i < 0 || static_cast<uint64_t>(i) > r.size()) return out_of_range(i);
  auto n = static_cast<size_t>(i);
  return n == r.size() ? V::string("") : V::string(text(r, n, n + 1));
}
int64_t first_at(const Runes& s, const Runes& part, size_t from) {
  auto it = std::search(s.begin() + static_cast<std::ptrdiff_t>(from), s.end(), part.begin(), part.end());
  return it == s.end() && !part.empty() ? -1 : it - s.begin();
}
R index_of(A a) { return V::integer(first_at(runes(a[0].s()), runes(a[1].s()), 0)); }
R index_of_from(A a) {
  Runes s = runes(a[0].s());
  int64_t from = a[2].i();
  if (from < 0 || static_cast<uint64_t>(from) > s.size()) return out_of_range(from);
  return V::integer(first_at(s, runes(a[1].s()), static_cast<size_t>(from)));
}
int64_t last_at(const Runes& s, const Runes& part, size_t from) {
  if (part.size() > s.size()) return -1;
  for (size_t i = std::min(from, s.size() - part.size()) + 1; i-- > 0;)
    if (std::equal(part.begin(), part.end(), s.begin() + static_cast<std::ptrdiff_t>(i))) return static_cast<int64_t>(i);
  return -1;
}
R last_index_of(A a) {
  Runes s = runes(a[0].s());
  return V::integer(last_at(s, runes(a[1].s()), s.size()));
}
R last_index_of_from(A a) {
  Runes s = runes(a[0].s());
  int64_t from = a[2].i();
  if (from < 0 || static_cast<uint64_t>(from) > s.size()) return out_of_range(from);
  return V::integer(last_at(s, runes(a[1].s()), static_cast<size_t>(from)));
}
R substring(A a) {
  Runes s = runes(a[0].s());
  int64_t from = a[1].i(), to = a.size() > 2 ? a[2].i() : static_cast<int64_t>(s.size());
  if (from < 0 || static_cast<uint64_t>(from) > s.size()) return out_of_range(from);
  if (to < 0 || static_cast<uint64_t>(to) > s.size()) return out_of_range(to);
  if (from > to) return invalid("invalid substring range. start: " + std::to_string(from) + ", end: " + std::to_string(to));
  return V::string(text(s, static_cast<size_t>(from), static_cast<size_t>(to)));
}
R lower(A a) { return V::string(to_lower(a[0].s())); }
R upper(A a) { return V::string(to_upper(a[0].s())); }

bool space(uint32_t r) {
  return (r >= 9 && r <= 13) || r == 32 || r == 0x85 || r == 0xa0 || r == 0x1680 || (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f || r == 0x205f || r == 0x3000;
}
R trim_text(A a) {
  Runes s = runes(a[0].s());
  size_t from = 0, to = s.size();
  while (from < to && space(s[from])) ++from;
  while (to > from && space(s[to - 1])) --to;
  return V::string(text(s, from, to));
}
std::string replaced(const std::string& s, const std::string& from, const std::string& to, int64_t limit) {
  std::string out;
  size_t at = 0;
  if (from.empty()) {  // before every code point and at the end
    Runes r = runes(s);
    for (size_t i = 0; i <= r.size(); ++i) {
      if (limit != 0) out += to, --limit;
      if (i < r.size()) out += text(r, i, i + 1);
    }
    return out;
  }
  while (limit != 0) {
    size_t hit = s.find(from, at);
    if (hit == s.npos) break;
    out.append(s, at, hit - at).append(to);
    at = hit + from.size();
    --limit;
  }
  return out.append(s, at);
}
R replace(A a) { return V::string(replaced(a[0].s(), a[1].s(), a[2].s(), -1)); }
R replace_limit(A a) { return V::string(replaced(a[0].s(), a[1].s(), a[2].s(), a[3].i())); }

R split_some(const std::string& s, const std::string& sep, int64_t limit) {
  std::vector<Value> out;
  if (limit == 0) return V::list(std::move(out));
  if (sep.empty()) {
    Runes r = runes(s);
    for (size_t i = 0; i < r.size(); ++i) {
      bool last = limit > 0 && static_cast<int64_t>(out.size()) == limit - 1;
      out.push_back(V::string(text(r, i, last ? r.size() : i + 1)));
      if (last) break;
    }
    return V::list(std::move(out));
  }
  size_t at = 0;
  while (limit < 0 || static_cast<int64_t>(out.size()) < limit - 1) {
    size_t hit = s.find(sep, at);
    if (hit == s.npos) break;
    out.push_back(V::string(s.substr(at, hit - at)));
    at = hit + sep.size();
  }
  out.push_back(V::string(s.substr(at)));
  return V::list(std::move(out));
}
R split_text(A a) { return split_some(a[0].s(), a[1].s(), -1); }
R split_limit(A a) { return split_some(a[0].s(), a[1].s(), a[2].i()); }
R joined(A a) {
  std::string out, sep = a.size() > 1 ? a[1].s() : "";
  for (size_t i = 0; i < a[0].items().size(); ++i) {
    const Value& x = a[0].items()[i];
    if (!x.is(Kind::kString)) return invalid("no such overload");
    if (i) out += sep;
    out += x.s();
  }
  return V::string(out);
}
R quoted(A a) { return V::string(json::quote(a[0].s())); }

// The text of one value in "%s".
std::string shown(const Value& v) {
  if (v.is(Kind::kList)) {
    std::string out = "[";
    for (auto& x : v.items()) out += (out.size() > 1 ? ", " : "") + shown(x);
    return out + "]";
  }
  if (v.is(Kind::kMap)) {
    std::vector<std::string> parts;
    for (auto& [k, x] : v.as_map().entries) parts.push_back(shown(k) + ": " + shown(x));
    std::sort(parts.begin(), parts.end());
    return "{" + join(parts, ", ") + "}";
  }
  if (v.is(Kind::kNull)) return "null";
  for (const Function* f : overloads("string"))
    if (accepts(*f, A(&v, 1)))
      if (R r = f->run(A(&v, 1)); r.ok()) return r->s();
  return json::dump(to_json(v));
}
std::string binary(uint64_t u) {
  std::string out;
  do out.insert(out.begin(), static_cast<char>('0' + (u & 1)));
  while (u >>= 1);
  return out;
}
Result<std::string> clause(char c, int precision, const Value& v) {
  auto wrong = [&] { return invalid(std::string("error during formatting: no formatting function for %") + c + " with a value of type " + type_name(v)); };
  bool whole = v.is(Kind::kInt) || v.is(Kind::kUint);
  bool negative = v.is(Kind::kInt) && v.i() < 0;
  uint64_t magnitude = negative ? 0 - v.u() : v.u();
  std::string sign = negative ? "-" : "";
  double number = v.is(Kind::kDouble) ? v.d() : v.is(Kind::kUint) ? static_cast<double>(v.u())
                                                                  : static_cast<double>(v.i());
  auto hex = [&](std::string t) { return c == 'X' ? to_upper(t) : t; };
  switch (c) {
    case 's': return shown(v);
    case 'd': return v.is_number() ? Result<std::string>(shown(v)) : wrong();
    case 'f': return v.is_number() ? Result<std::string>(format("%.*f", precision < 0 ? 6 : precision, number)) : wrong();
    case 'e': return v.is_number() ? Result<std::string>(format("%.*e", precision < 0 ? 6 : precision, number)) : wrong();
    case 'b':
      if (v.is(Kind::kBool)) return std::string(v.is_true() ? "1" : "0");
      return whole ? Result<std::string>(sign + binary(magnitude)) : wrong();
    case 'o': return whole ? Result<std::string>(sign + format("%llo", static_cast<unsigned long long>(magnitude))) : wrong();
    case 'x':
    case 'X':
      if (v.is(Kind::kString) || v.is(Kind::kBytes)) return hex(hex_encode(v.s()));
      return whole ? Result<std::string>(sign + hex(format("%llx", static_cast<unsigned long long>(magnitude)))) : wrong();
    default: return invalid(std::string("could not parse formatting clause: unrecognized formatting clause \"") + c + "\"");
  }
}
R formatted(A a) {
  const std::string& f = a[0].s();
  const auto& args = a[1].items();
  constexpr int kMaxPrecision = 1000;
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < f.size(); ++i) {
    if (f[i] != '%') {
      out += f[i];
      continue;
    }
    if (++i >= f.size()) return invalid("unexpected end of format string");
    if (f[i] == '%') {
      out += '%';
      continue;
    }
    int precision = -1;
    if (f[i] == '.')
      for (precision = 0, ++i; i < f.size() && f[i] >= '0' && f[i] <= '9' && precision < kMaxPrecision; ++i) precision = precision * 10 + (f[i] - '0');
    if (i >= f.size()) return invalid("unexpected end of format string");
    if (next >= args.size()) return invalid("index " + std::to_string(next) + " out of range");
    TRY(std::string t, clause(f[i], precision, args[next++]));
    out += t;
  }
  return V::string(out);
}

constexpr Function kStrings[] = {
    {"startsWith", true, "bss", starts},
    {"endsWith", true, "bss", ends},
    {"contains", true, "bss", contains},
    {"matches", true, "bss", matches},
    {"matches", false, "bss", matches},
    {"find", true, "sss", find},
    {"findAll", true, "Sss", find_all},
    {"findAll", true, "Sssi", find_all_limit},
    {"charAt", true, "ssi", char_at},
    {"indexOf", true, "iss", index_of},
    {"indexOf", true, "issi", index_of_from},
    {"lastIndexOf", true, "iss", last_index_of},
    {"lastIndexOf", true, "issi", last_index_of_from},
    {"substring", true, "ssi", substring},
    {"substring", true, "ssii", substring},
    {"lowerAscii", true, "ss", lower},
    {"upperAscii", true, "ss", upper},
    {"trim", true, "ss", trim_text},
    {"replace", true, "ssss", replace},
    {"replace", true, "ssssi", replace_limit},
    {"split", true, "Sss", split_text},
    {"split", true, "Sssi", split_limit},
    {"join", true, "sS", joined},
    {"join", true, "sSs", joined},
    {"format", true, "ssL", formatted},
    {"strings.quote", false, "ss", quoted},
};

}  // namespace

Result<bool> regex_matches(const std::string& text, const std::string& pattern) {
  auto re = regex(pattern);
  if (!re->ok()) return bad_regex(*re);
  return RE2::PartialMatch(text, *re);
}

std::span<const Function> string_functions() { return kStrings; }

}  // namespace caravel::kube::cel
