// Kubernetes' libraries: lists, quantities, URLs.
#include "base/strings.h"
#include "kube/cel/functions.h"

namespace caravel::kube::cel {

namespace {

using V = Value;
using R = Result<Value>;
using A = Arguments;

R is_sorted(A a) {
  auto& l = a[0].items();
  for (size_t i = 1; i < l.size(); ++i) {
    TRY(int c, compare(l[i - 1], l[i]));
    if (c > 0) return V::boolean(false);
  }
  return V::boolean(true);
}
R sum(A a) {
  auto& l = a[0].items();
  if (l.empty()) return V::integer(0);
  Value total = l[0];
  if (l.size() == 1 && !total.is_number() && !total.is(Kind::kDuration)) return invalid("no such overload");
  for (size_t i = 1; i < l.size(); ++i) {
    const Value both[] = {total, l[i]};
    const A operands(both, 2);
    const Function* add = nullptr;
    for (const Function* f : overloads("_+_"))
      if (both[0].kind() == both[1].kind() && (total.is_number() || total.is(Kind::kDuration)) && accepts(*f, operands)) add = f;
    if (!add) return invalid("no such overload");
    TRY(total, add->run(operands));
  }
  return total;
}
R extreme(A a, int sign, const char* name) {
  auto& l = a[0].items();
  if (l.empty()) return invalid(std::string(name) + " called on empty list");
  const Value* best = &l[0];
  for (auto& x : l) {
    TRY(int c, compare(x, *best));
    if (c * sign > 0 && c != 2) best = &x;
  }
  return *best;
}
R min(A a) { return extreme(a, -1, "min"); }
R max(A a) { return extreme(a, 1, "max"); }
R index_of(A a) {
  auto& l = a[0].items();
  for (size_t i = 0; i < l.size(); ++i)
    if (equal(l[i], a[1])) return V::integer(static_cast<int64_t>(i));
  return V::integer(-1);
}
R last_index_of(A a) {
  auto& l = a[0].items();
  for (size_t i = l.size(); i-- > 0;)
    if (equal(l[i], a[1])) return V::integer(static_cast<int64_t>(i));
  return V::integer(-1);
}
R slice(A a) {
  auto& l = a[0].items();
  int64_t from = a[1].i(), to = a[2].i();
  if (from < 0 || to < 0) return invalid("cannot slice(" + std::to_string(from) + ", " + std::to_string(to) + "), negative indexes not supported");
  if (from > to) return invalid("cannot slice(" + std::to_string(from) + ", " + std::to_string(to) + "), start index must be less than or equal to end index");
  if (static_cast<uint64_t>(to) > l.size()) return invalid("cannot slice(" + std::to_string(from) + ", " + std::to_string(to) + "), list is length " + std::to_string(l.size()));
  return V::list(std::vector<Value>(l.begin() + from, l.begin() + to));
}
void flatten_into(const Value& list, int64_t depth, std::vector<Value>& out) {
  for (auto& x : list.items()) {
    if (!x.is(Kind::kList) || depth == 0) out.push_back(x);
    else flatten_into(x, depth - 1, out);
  }
}
R flatten(A a) {
  const int64_t depth = a.size() > 1 ? a[1].i() : 1;
  if (depth < 0) return invalid("level must be non-negative");
  std::vector<Value> out;
  flatten_into(a[0], depth, out);
  return V::list(std::move(out));
}

// A key as it stands in a JSON pointer.
R escape_key(A a) { return V::string(replace_all(replace_all(a[0].s(), "~", "~0"), "/", "~1")); }

R is_quantity(A a) { return V::boolean(Quantity::parse(a[0].s()).ok()); }
R quantity(A a) {
  auto q = Quantity::parse(a[0].s());
  if (!q.ok()) return invalid("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  return V::quantity(*q);
}
R q_sign(A a) { return V::integer(a[0].q().sign()); }
bool is_whole(const Quantity& q) { return Quantity(q.value()) == q; }
R q_is_integer(A a) { return V::boolean(is_whole(a[0].q())); }
R q_as_integer(A a) { return is_whole(a[0].q()) ? R(V::integer(a[0].q().value())) : R(invalid("cannot convert value to integer")); }
R q_as_float(A a) { return V::number(a[0].q().as_double()); }
R q_less(A a) { return V::boolean(a[0].q() < a[1].q()); }
R q_greater(A a) { return V::boolean(a[0].q() > a[1].q()); }
R q_compare(A a) { return V::integer(a[0].q() < a[1].q() ? -1 : a[0].q() > a[1].q() ? 1
                                                                                    : 0); }
R q_add(A a) { return V::quantity(a[0].q() + a[1].q()); }
R q_sub(A a) { return V::quantity(a[0].q() - a[1].q()); }
R q_add_i(A a) { return V::quantity(a[0].q() + Quantity(a[1].i())); }
R q_sub_i(A a) { return V::quantity(a[0].q() - Quantity(a[1].i())); }

// A request URI: absolute, or a path from the root.
}  // namespace

Result<Url> parse_url(const std::string& text) {
  auto bad = [&](const char* why) { return invalid("parse " + json::quote(text) + ": " + why); };
  if (text.empty()) return bad("empty url");
  for (unsigned char c : text)
    if (c < 0x20 || c == 0x7f) return bad("net/url: invalid control character in URL");
  Url u;
  u.text = text;
  std::string_view rest = text;
  size_t colon = rest.find(':'), slash = rest.find('/');
  if (colon != rest.npos && colon < slash) {
    std::string_view scheme = rest.substr(0, colon);
    bool good = !scheme.empty() && ((scheme[0] | 32) >= 'a' && (scheme[0] | 32) <= 'z');
    for (char c : scheme) good = good && (((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.');
    if (!good) return bad("first path segment in URL cannot contain colon");
    u.scheme = to_lower(scheme);
    rest.remove_prefix(colon + 1);
  } else if (rest[0] != '/') {
    return bad("invalid URI for request");
  }
  std::string query;
  if (size_t q = rest.find('?'); q != rest.npos) {
    query = rest.substr(q + 1);
    rest = rest.substr(0, q);
  }
  if (!rest.empty() && rest[0] != '/') return bad("invalid URI for request");
  if (rest.starts_with("//") && !u.scheme.empty()) {
    rest.remove_prefix(2);
    std::string_view host = rest.substr(0, rest.find('/'));
    rest.remove_prefix(host.size());
    if (size_t at = host.rfind('@'); at != host.npos) host.remove_prefix(at + 1);
    u.host = host;
    size_t port = host.rfind(':'), bracket = host.rfind(']');
    if (port != host.npos && (bracket == host.npos || port > bracket)) {
      u.port = host.substr(port + 1);
      if (!u.port.empty() && !parse_int(u.port)) return bad(("invalid port \":" + u.port + "\" after host").c_str());
      host = host.substr(0, port);
    }
    if (host.starts_with("[") && host.ends_with("]")) host = host.substr(1, host.size() - 2);
    u.hostname = host;
  }
  u.escaped_path = percent_encode(percent_decode(rest), "/$&+,:;=@-_.~!*'()");
  for (auto& pair : split(query, '&')) {
    if (pair.empty()) continue;
    size_t eq = pair.find('=');
    std::string key = percent_decode(pair.substr(0, eq), true), value = eq == pair.npos ? "" : percent_decode(pair.substr(eq + 1), true);
    auto it = u.query.begin();
    while (it != u.query.end() && it->first != key) ++it;
    if (it == u.query.end()) u.query.push_back({key, {value}});
    else it->second.push_back(value);
  }
  return u;
}

namespace {
R is_url(A a) { return V::boolean(parse_url(a[0].s()).ok()); }
R url(A a) {
  auto u = parse_url(a[0].s());
  if (!u.ok()) return invalid("URL parse error during conversion from string: " + u.error().message);
  return V::url(std::move(*u));
}
R u_scheme(A a) { return V::string(a[0].as_url().scheme); }
R u_host(A a) { return V::string(a[0].as_url().host); }
R u_hostname(A a) { return V::string(a[0].as_url().hostname); }
R u_port(A a) { return V::string(a[0].as_url().port); }
R u_path(A a) { return V::string(a[0].as_url().escaped_path); }
R u_query(A a) {
  std::vector<std::pair<Value, Value>> out;
  for (auto& [k, values] : a[0].as_url().query) {
    std::vector<Value> l;
    for (auto& v : values) l.push_back(V::string(v));
    out.emplace_back(V::string(k), V::list(std::move(l)));
  }
  return V::map(std::move(out));
}

constexpr Function kLists[] = {
    {"isSorted", true, "bE", is_sorted},
    {"sum", true, "AH", sum},
    {"min", true, "AE", min},
    {"max", true, "AE", max},
    {"indexOf", true, "iLA", index_of},
    {"lastIndexOf", true, "iLA", last_index_of},
    {"slice", true, "LLii", slice},
    {"flatten", true, "LN", flatten},
    {"flatten", true, "*Li", flatten},
};
constexpr Function kKubernetes[] = {
    {"jsonpatch.escapeKey", false, "ss", escape_key},
    {"isQuantity", false, "bs", is_quantity},
    {"quantity", false, "Qs", quantity},
    {"sign", true, "iQ", q_sign},
    {"isInteger", true, "bQ", q_is_integer},
    {"asInteger", true, "iQ", q_as_integer},
    {"asApproximateFloat", true, "dQ", q_as_float},
    {"isLessThan", true, "bQQ", q_less},
    {"isGreaterThan", true, "bQQ", q_greater},
    {"compareTo", true, "iQQ", q_compare},
    {"add", true, "QQQ", q_add},
    {"add", true, "QQi", q_add_i},
    {"sub", true, "QQQ", q_sub},
    {"sub", true, "QQi", q_sub_i},
    {"isURL", false, "bs", is_url},
    {"url", false, "Us", url},
    {"getScheme", true, "sU", u_scheme},
    {"getHost", true, "sU", u_host},
    {"getHostname", true, "sU", u_hostname},
    {"getPort", true, "sU", u_port},
    {"getEscapedPath", true, "sU", u_path},
    {"getQuery", true, "qU", u_query},
};

}  // namespace

std::span<const Function> list_functions() { return kLists; }
std::span<const Function> kubernetes_functions() { return kKubernetes; }

}  // namespace caravel::kube::cel
