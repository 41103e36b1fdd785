#include "ingress/annotations.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <set>

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
  static const std::set<std::string_view> kTrue = {"1", "t", "T", "true", "TRUE", "True"}, kFalse = {"0", "f", "F", "false", "FALSE", "False"};  // Go's ParseBool
  out = kTrue.count(*v) > 0;
  if (!out && !kFalse.count(*v)) return bad(name, *v, "true or false");
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
  constexpr size_t kDigitsMax = 9;  // more gigabytes than nginx can count
  size_t digits = s.find_first_not_of("0123456789");
  if (s.empty() || digits == 0 || std::min(digits, s.size()) > kDigitsMax) return false;
  return digits == s.npos || (digits == s.size() - 1 && std::string_view("kKmMgG").find(s[digits]) != s.npos);
}

// An address or a range of them, of either family.
bool is_cidr(std::string_view s) {
  std::string address(s.substr(0, s.find('/')));
  unsigned char bytes[16];
  int bits = inet_pton(AF_INET, address.c_str(), bytes) == 1 ? 32 : inet_pton(AF_INET6, address.c_str(), bytes) == 1 ? 128
                                                                                                                     : -1;
  if (bits < 0 || address.size() == s.size()) return bits > 0;
  std::string_view length = s.substr(address.size() + 1);
  auto n = parse_int(length);
  return n && *n >= 0 && *n <= bits && length.find_first_not_of("0123456789") == length.npos;
}

bool is_url(std::string_view s) {
  if (!s.starts_with("http://") && !s.starts_with("https://") && !s.starts_with("/")) return false;
  for (unsigned char c : s)
    if (c <= ' ' || c == '"' || c == '\\' || c == '{' || c == '}' || c == ';' || c == '\'' || c >= 0x7f) return false;
  // Only nginx's own request variables may be used: one unknown to nginx makes it refuse everybody's configuration.
  static const std::set<std::string_view> kVariables = {"request_uri", "host", "scheme", "uri", "args"};
  for (size_t i = s.find('$'); i != s.npos; i = s.find('$', i + 1)) {
    std::string_view rest = s.substr(i + 1);
    std::string_view name = rest.substr(0, rest.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"));
    if (name.empty() || (!kVariables.count(name) && (name[0] < '0' || name[0] > '9'))) return false;
  }
  return true;
}

Status read_conditions(const json::Value& ingress, std::string_view name, std::string& out) {
  static const std::set<std::string_view> kConditions = {"error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_403", "http_404", "http_429", "non_idempotent", "off"};
  auto* v = find(ingress, name);
  if (!v) return ok();
  std::string words;
  for (auto& word : split(*v, ' ')) {
    if (word.empty()) continue;
    if (!kConditions.count(word)) return bad(name, *v, "a list of nginx conditions such as \"error timeout\"");
    words += (words.empty() ? "" : " ") + std::string(word);
  }
  if (words.empty()) return bad(name, *v, "a list of nginx conditions such as \"error timeout\"");
  out = words;
  return ok();
}

// Would nginx compile it? What it would not takes the whole configuration down with it, so only what is certain is taken.
class RegexCheck {
 public:
  explicit RegexCheck(std::string_view s) : s_(s) {}

  bool sound() {
    constexpr int kDepthMax = 50;
    enum { kNothing,
           kOne,
           kGroup } last = kNothing;  // what a repetition would repeat
    int open = 0;
    while (i_ < s_.size()) {
      char c = s_[i_++];
      if (c == '(') {
        if (s_.substr(i_).starts_with("?i)")) {
          i_ += 3;
          last = kNothing;
          continue;
        }
        if (++open > kDepthMax || (peek() == '?' && !group_kind())) return false;
        last = kNothing;
      } else if (c == ')') {
        if (--open < 0) return false;
        last = kGroup;
      } else if (c == '|') {
        last = kNothing;
      } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        if (last == kNothing || (c == '{' && (last == kGroup || !count()))) return false;  // counts of counts grow too large
        if (peek() == '?' || peek() == '+') ++i_;                                          // lazy, possessive
        last = kNothing;
      } else {
        if (c == '[' ? !members() : c == '\\' ? !escaped("dDwWsSbB")
                                              : false) return false;
        bool place = c == '^' || c == '$' || (c == '\\' && (s_[i_ - 1] == 'b' || s_[i_ - 1] == 'B'));
        last = place ? kNothing : kOne;
      }
    }
    return open == 0;
  }

 private:
  char peek() const { return i_ < s_.size() ? s_[i_] : '\0'; }

  bool group_kind() {
    for (std::string_view kind : {"?:", "?=", "?!"})
      if (s_.substr(i_).starts_with(kind)) {
        i_ += kind.size();
        return true;
      }
    return false;
  }

  // After a backslash: a class of characters, or punctuation for itself. Not another backslash: nginx takes one of two.
  bool escaped(std::string_view classes) {
    char c = peek();
    ++i_;
    return classes.find(c) != classes.npos || (c > ' ' && c < 0x7f && c != '\\' && !std::isalnum(static_cast<unsigned char>(c)));
  }

  // After '{': "2}", "2,}", "2,5}".
  bool count() {
    constexpr int64_t kMax = 255;
    size_t end = s_.find('}', i_);
    if (end == s_.npos) return false;
    std::string_view text = s_.substr(i_, end - i_), low = text.substr(0, text.find(','));
    std::string_view high = low.size() == text.size() ? low : text.substr(low.size() + 1);
    if (low.empty() || (std::string(low) + std::string(high)).find_first_not_of("0123456789") != std::string::npos) return false;
    i_ = end + 1;
    int64_t from = parse_int(low).value_or(kMax + 1), to = high.empty() ? kMax : parse_int(high).value_or(kMax + 1);
    return from <= to && to <= kMax;
  }

  // One member of a set: its character, 256 for a class of them, -1 when it is bad.
  int member() {
    char c = peek();
    if (c == '[' || c == '\0') return -1;  // no named classes
    if (c != '\\') return ++i_, static_cast<unsigned char>(c);
    ++i_;
    char e = peek();
    return !escaped("dDwWsS") ? -1 : std::isalnum(static_cast<unsigned char>(e)) ? 256
                                                                                 : static_cast<unsigned char>(e);
  }

  // After '['.
  bool members() {
    if (peek() == '^') ++i_;
    bool first = true;
    for (; peek() != ']' || first; first = false) {
      int low = member();
      if (low < 0) return false;
      if (peek() != '-' || i_ + 1 >= s_.size() || s_[i_ + 1] == ']') continue;
      ++i_;
      int high = member();
      if (high < low || low > 255 || high > 255) return false;
    }
    ++i_;
    return true;
  }

  std::string_view s_;
  size_t i_ = 0;
};

}  // namespace

bool is_safe_text(std::string_view s) {
  for (unsigned char c : s)
    if (c < ' ' || c == '"' || c == '\\' || c == '$' || c == ';' || c == '{' || c == '}' || c == '\'' || c == 0x7f) return false;
  return true;
}

bool is_safe_host(std::string_view s) {
  if (s.starts_with("*.")) s.remove_prefix(2);
  if (s.starts_with(".") || s.find("..") != s.npos) return false;  // nginx reads wildcards into these, or refuses them
  return !s.empty() && s.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == s.npos;
}

bool is_safe_path(std::string_view s, bool regex) {
  if (s.empty() || s[0] != '/') return false;
  for (unsigned char c : s) {
    if (c <= ' ' || c >= 0x7f || c == '"' || c == ';' || c == '\'') return false;
    if (!regex && (c == '\\' || c == '{' || c == '}' || c == '$')) return false;
  }
  return !regex || RegexCheck(s).sound();
}

Result<LocationOptions> parse_annotations(const json::Value& ingress, const std::map<std::string, std::string>& settings) {
  LocationOptions o;
  if (auto it = settings.find("ssl-redirect"); it != settings.end()) o.ssl_redirect = it->second != "false";
  if (auto it = settings.find("proxy-body-size"); it != settings.end() && is_size(it->second)) o.proxy_body_size = it->second;
  TRY_VOID(read_bool(ingress, "ssl-redirect", o.ssl_redirect));
  TRY_VOID(read_bool(ingress, "force-ssl-redirect", o.force_ssl_redirect));
  TRY_VOID(read_bool(ingress, "use-regex", o.use_regex));
  TRY_VOID(read_bool(ingress, "enable-cors", o.enable_cors));
  TRY_VOID(read_int(ingress, "proxy-connect-timeout", o.connect_timeout_s, 86400));
  TRY_VOID(read_int(ingress, "proxy-send-timeout", o.send_timeout_s, 86400));
  TRY_VOID(read_int(ingress, "proxy-read-timeout", o.read_timeout_s, 86400));
  TRY_VOID(read_int(ingress, "proxy-next-upstream-tries", o.next_upstream_tries, 100));
  TRY_VOID(read_int(ingress, "limit-rps", o.limit_rps, 1'000'000));
  TRY_VOID(read_int(ingress, "permanent-redirect-code", o.permanent_redirect_code, 599));
  if (o.permanent_redirect_code < 300 || o.permanent_redirect_code > 308) o.permanent_redirect_code = 301;  // upstream's rule
  TRY_VOID(read_conditions(ingress, "proxy-next-upstream", o.next_upstream));
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
