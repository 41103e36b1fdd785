#include "ingress/annotations.h"

#include "base/strings.h"

namespace caravel::ingress {
namespace {

constexpr std::string_view kPrefix = "nginx.ingress.kubernetes.io/";

const std::string* find(const json::Value& ingress, std::string_view name) {
  const json::Value* v = ingress.path({"metadata", "annotations"}).find(std::string(kPrefix) + std::string(name));
  return v && v->is_string() ? &v->as_string() : nullptr;
}

Error bad(std::string_view name, const std::string& value, std::string_view wanted) {
  return invalid("annotation " + std::string(kPrefix) + std::string(name) + ": \"" + value + "\" is not " + std::string(wanted));
}

Status read_bool(const json::Value& ingress, std::string_view name, bool& out) {
  auto* v = find(ingress, name);
  if (!v) return ok();
  if (*v != "true" && *v != "false") return bad(name, *v, "true or false");
  out = *v == "true";
  return ok();
}

Status read_int(const json::Value& ingress, std::string_view name, int& out, int max) {
  auto* v = find(ingress, name);
  if (!v) return ok();
  auto n = parse_int(*v);
  if (!n || *n < 0 || *n > max) return bad(name, *v, "a whole number from 0 to " + std::to_string(max));
  out = static_cast<int>(*n);
  return ok();
}

bool is_size(std::string_view s) {
  size_t digits = s.find_first_not_of("0123456789");
  if (digits == 0) return false;
  return digits == s.npos || (digits == s.size() - 1 && std::string_view("kKmMgG").find(s[digits]) != s.npos);
}

bool is_cidr(std::string_view s) { return !s.empty() && s.find_first_not_of("0123456789abcdefABCDEF.:/") == s.npos; }

bool is_url(std::string_view s) {
  if (!s.starts_with("http://") && !s.starts_with("https://") && !s.starts_with("/")) return false;
  for (unsigned char c : s)
    if (c <= ' ' || c == '"' || c == '\\' || c == '{' || c == '}' || c == ';' || c == '\'' || c >= 0x7f) return false;
  // Only nginx's own request variables may be used.
  for (size_t i = s.find('$'); i != s.npos; i = s.find('$', i + 1)) {
    std::string_view rest = s.substr(i + 1);
    bool known = false;
    for (auto name : {"request_uri", "host", "scheme", "uri", "args"}) known |= rest.starts_with(name);
    if (!known && (rest.empty() || rest[0] < '0' || rest[0] > '9')) return false;
  }
  return true;
}

Status read_words(const json::Value& ingress, std::string_view name, std::string& out) {
  auto* v = find(ingress, name);
  if (!v) return ok();
  if (v->find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789 ") != v->npos) return bad(name, *v, "a list of nginx conditions such as \"error timeout\"");
  out = *v;
  return ok();
}

}  // namespace

bool is_safe_text(std::string_view s) {
  for (unsigned char c : s)
    if (c < ' ' || c == '"' || c == '\\' || c == '$' || c == ';' || c == '{' || c == '}' || c == '\'' || c == 0x7f) return false;
  return true;
}

bool is_safe_host(std::string_view s) {
  if (s.starts_with("*.")) s.remove_prefix(2);
  return !s.empty() && s.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == s.npos;
}

bool is_safe_path(std::string_view s, bool regex) {
  if (s.empty() || s[0] != '/') return false;
  for (unsigned char c : s) {
    if (c <= ' ' || c >= 0x7f || c == '"' || c == ';' || c == '\'') return false;
    if (!regex && (c == '\\' || c == '{' || c == '}' || c == '$')) return false;
  }
  return true;
}

Result<LocationOptions> parse_annotations(const json::Value& ingress, const std::map<std::string, std::string>& settings) {
  LocationOptions o;
  if (auto it = settings.find("ssl-redirect"); it != settings.end()) o.ssl_redirect = it->second != "false";
  if (auto it = settings.find("proxy-body-size"); it != settings.end() && is_size(it->second)) o.proxy_body_size = it->second;
  TRY_VOID(read_bool(ingress, "ssl-redirect", o.ssl_redirect));
  TRY_VOID(read_bool(ingress, "force-ssl-redirect", o.force_ssl_redirect));
  TRY_VOID(read_bool(ingress, "use-regex", o.use_regex));
  TRY_VOID(read_bool(ingress, "enable-cors", o.enable_cors));
  TRY_VOID(read_int(ingress, "proxy-connect-timeout", o.connect_timeout_s, 75));
  TRY_VOID(read_int(ingress, "proxy-send-timeout", o.send_timeout_s, 86400));
  TRY_VOID(read_int(ingress, "proxy-read-timeout", o.read_timeout_s, 86400));
  TRY_VOID(read_int(ingress, "proxy-next-upstream-tries", o.next_upstream_tries, 100));
  TRY_VOID(read_int(ingress, "limit-rps", o.limit_rps, 1'000'000));
  TRY_VOID(read_int(ingress, "permanent-redirect-code", o.permanent_redirect_code, 399));
  TRY_VOID(read_words(ingress, "proxy-next-upstream", o.next_upstream));
  if (auto* v = find(ingress, "proxy-body-size")) {
    if (!is_size(*v)) return bad("proxy-body-size", *v, "a size such as 8m");
    o.proxy_body_size = *v;
  }
  if (auto* v = find(ingress, "backend-protocol")) {
    o.backend_protocol = to_upper(*v);
    if (o.backend_protocol != "HTTP" && o.backend_protocol != "HTTPS" && o.backend_protocol != "GRPC" && o.backend_protocol != "GRPCS")
      return bad("backend-protocol", *v, "one of HTTP, HTTPS, GRPC, GRPCS");
  }
  if (auto* v = find(ingress, "rewrite-target")) {
    if (!is_url(*v)) return bad("rewrite-target", *v, "a path such as /$2");
    o.rewrite_target = *v;
    o.use_regex = true;
  }
  if (auto* v = find(ingress, "permanent-redirect")) {
    if (!is_url(*v)) return bad("permanent-redirect", *v, "a URL");
    o.permanent_redirect = *v;
  }
  if (auto* v = find(ingress, "upstream-vhost")) {
    if (!is_safe_host(*v)) return bad("upstream-vhost", *v, "a host name");
    o.upstream_vhost = *v;
  }
  if (auto* v = find(ingress, "cors-allow-origin")) {
    if (!is_safe_text(*v)) return bad("cors-allow-origin", *v, "an origin");
    o.cors_origin = *v;
  }
  for (auto name : {"whitelist-source-range", "allowlist-source-range"})
    if (auto* v = find(ingress, name))
      for (auto& range : split(*v, ',')) {
        std::string r(trim(range));
        if (!is_cidr(r)) return bad(name, *v, "a list of address ranges");
        o.allow_ranges.push_back(r);
      }
  return o;
}

}  // namespace caravel::ingress
