// Names, labels and addresses, in the words of apimachinery's validation.
#include <algorithm>

#include "base/strings.h"
#include "kube/validation.h"

namespace caravel::kube {

namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool alnum(char c) { return lower(c) || digit(c) || upper(c); }

constexpr const char* kLabel =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
    "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr const char* kSubdomain =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
    "'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr const char* kSubdomainWithUnderscore =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. "
    "'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
constexpr const char* kLabel1035 =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. "
    "'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr const char* kNamePart =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
    "for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr const char* kLabelValue =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
    "'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

bool is_label(std::string_view s) {
  if (s.empty() || !(lower(s.front()) || digit(s.front())) || !(lower(s.back()) || digit(s.back()))) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return lower(c) || digit(c) || c == '-'; });
}
bool is_name_part(std::string_view s) {
  if (s.empty() || !alnum(s.front()) || !alnum(s.back())) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}
// Calls f for each part between dots while it says yes.
template <class F>
bool all_parts(std::string_view s, F f) {
  for (size_t dot = s.find('.'); dot != s.npos; dot = s.find('.')) {
    if (!f(s.substr(0, dot))) return false;
    s.remove_prefix(dot + 1);
  }
  return f(s);
}
bool is_subdomain(std::string_view s) { return all_parts(s, is_label); }
bool is_label_with_underscore(std::string_view s) {
  if (s.starts_with('_')) s.remove_prefix(1);
  if (s.empty() || !(lower(s.front()) || digit(s.front())) || !(lower(s.back()) || digit(s.back()))) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return lower(c) || digit(c) || c == '-' || c == '_'; });
}
// Faults of one text are separated by line feeds.
void add_fault(std::string& faults, std::string_view fault) {
  if (!faults.empty()) faults += '\n';
  faults += fault;
}
// Upstream's older checks count characters, those of label keys and values bytes; both mean bytes.
std::string at_most(int n, std::string_view what = "characters") { return "must be no more than " + std::to_string(n) + " " + std::string(what); }

bool is_ipv4(std::string_view s) {
  auto parts = split(s, '.');
  if (parts.size() != 4) return false;
  for (auto& p : parts) {
    if (p.empty() || p.size() > 3 || (p.size() > 1 && p[0] == '0') || !std::all_of(p.begin(), p.end(), digit)) return false;
    if (*parse_int(p) > 255) return false;
  }
  return true;
}
// What is a number with zeros before it in some readers and octal in others.
std::string without_leading_zeros(std::string_view s) {
  std::string out;
  for (auto& p : split(s, '.')) {
    size_t n = std::min(p.find_first_not_of('0'), p.size() ? p.size() - 1 : 0);
    out += (out.empty() ? "" : ".") + p.substr(n);
  }
  return out;
}
bool is_ipv6(std::string_view s) {
  size_t gap = s.find("::");
  if (gap != s.npos && s.find("::", gap + 1) != s.npos) return false;
  size_t groups = 0;
  for (auto& side : {s.substr(0, gap), gap == s.npos ? std::string_view() : s.substr(gap + 2)}) {
    if (side.empty()) continue;
    for (auto& g : split(side, ':')) {
      if (g.find('.') != g.npos) {
        if (!is_ipv4(g)) return false;
        groups += 2;
        continue;
      }
      if (g.empty() || g.size() > 4) return false;
      for (char c : g)
        if (!digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F')) return false;
      ++groups;
    }
  }
  return gap == s.npos ? groups == 8 && s.find(':') != s.npos : groups < 8;
}

}  // namespace

std::string check_dns1123_label(std::string_view s) {
  std::string out;
  if (s.size() > 63) add_fault(out, at_most(63));
  if (!is_label(s)) add_fault(out, is_subdomain(s) ? "must not contain dots" : kLabel);
  return out;
}
std::string check_dns1123_subdomain(std::string_view s) {
  std::string out;
  if (s.size() > 253) add_fault(out, at_most(253));
  if (!is_subdomain(s)) add_fault(out, kSubdomain);
  return out;
}
std::string check_dns1123_subdomain_with_underscore(std::string_view s) {
  std::string out;
  if (s.size() > 253) add_fault(out, at_most(253));
  if (!all_parts(s, is_label_with_underscore)) add_fault(out, kSubdomainWithUnderscore);
  return out;
}
std::string check_dns1035_label(std::string_view s) {
  std::string out;
  if (s.size() > 63) add_fault(out, at_most(63));
  if (!is_label(s) || !lower(s.front())) add_fault(out, kLabel1035);
  return out;
}
std::string check_qualified_name(std::string_view s) {
  size_t slash = s.find('/');
  std::string_view name = s;
  std::string out;
  if (slash != s.npos) {
    if (s.find('/', slash + 1) != s.npos)
      return std::string("a valid label key ") + kNamePart + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    std::string_view prefix = s.substr(0, slash);
    name = s.substr(slash + 1);
    if (prefix.empty()) add_fault(out, "prefix part must be non-empty");
    else if (prefix.size() > 253) add_fault(out, "prefix part " + at_most(253, "bytes"));
    if (!prefix.empty() && !is_subdomain(prefix)) add_fault(out, std::string("prefix part ") + kSubdomain);
  }
  if (name.empty()) add_fault(out, "name part must be non-empty");
  else if (name.size() > 63) add_fault(out, "name part " + at_most(63, "bytes"));
  if (!is_name_part(name)) add_fault(out, std::string("name part ") + kNamePart);
  return out;
}
std::string check_label_value(std::string_view s) {
  std::string out;
  if (s.size() > 63) add_fault(out, at_most(63, "bytes"));
  if (!s.empty() && !is_name_part(s)) add_fault(out, kLabelValue);
  return out;
}
std::string check_path_segment_name(std::string_view s) {
  if (s == "." || s == "..") return "may not be '" + std::string(s) + "'";
  if (s.find('/') != s.npos) return "may not contain '/'";
  if (s.find('%') != s.npos) return "may not contain '%'";
  return "";
}
std::string check_config_map_key(std::string_view s) {
  std::string out;
  if (s.size() > 253) add_fault(out, at_most(253));
  if (s.empty() || !std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; }))
    add_fault(out,
              "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
              "'[-._a-zA-Z0-9]+')");
  if (s == "." || s == "..") add_fault(out, "must not be '" + std::string(s) + "'");
  else if (s.starts_with("..")) add_fault(out, "must not start with '..'");
  return out;
}
std::string check_env_var_name(std::string_view s) {
  if (s.empty()) return "environment variable name must be non-empty";
  for (char c : s)
    if (c < 0x20 || c > 0x7e || c == '=')
      return "a valid environment variable name must consist only of printable ASCII characters other than '='";
  return "";
}
std::string check_ip(std::string_view s) {
  const bool v6 = s.find(':') != s.npos;
  if (v6 ? is_ipv6(s) : is_ipv4(s)) {
    const size_t tail = v6 ? s.rfind(':') : 0;
    const bool mapped = v6 && to_lower(s.substr(0, 7)) == "::ffff:" && (s.find('.') != s.npos || (tail > 7 && s.substr(7).find(':') + 7 == tail));
    return mapped ? "must not be an IPv4-mapped IPv6 address" : "";
  }
  if (!v6 && is_ipv4(without_leading_zeros(s))) return "must not have leading 0s";
  return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}
std::string check_dns1123_subdomain_prefix(std::string_view s) {
  if (s.size() < 2 || s.back() != '-') return check_dns1123_subdomain(s);
  return check_dns1123_subdomain(std::string(s.substr(0, s.size() - 2)) + "a");
}
std::string check_port_name(std::string_view s) {
  std::string out;
  if (s.size() > 15) add_fault(out, at_most(15));
  if (s.empty() || !std::all_of(s.begin(), s.end(), [](char c) { return lower(c) || digit(c) || c == '-'; }))
    add_fault(out, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (std::none_of(s.begin(), s.end(), lower)) add_fault(out, "must contain at least one letter (a-z)");
  if (s.find("--") != s.npos) add_fault(out, "must not contain consecutive hyphens");
  if (!s.empty() && (s.front() == '-' || s.back() == '-')) add_fault(out, "must not begin or end with a hyphen");
  return out;
}
std::string check_http_header_name(std::string_view s) {
  if (!s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-'; })) return "";
  return "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
}
std::string check_wildcard_subdomain(std::string_view s) {
  if (s.size() > 253) return at_most(253);
  return s.starts_with("*.") && is_subdomain(s.substr(2)) ? ""
                                                          : "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case "
                                                            "alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is "
                                                            "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

NameCheck name_check(std::string_view group, std::string_view kind) {
  if (group == "rbac.authorization.k8s.io" || group == "apiregistration.k8s.io") return check_path_segment_name;
  if (kind == "Namespace" || kind == "StatefulSet" || (kind == "Service" && group.empty())) return check_dns1123_label;
  if (group == "authentication.k8s.io" || group == "authorization.k8s.io" || kind == "IPAddress") return nullptr;  // an IPAddress is checked with the rest of it
  return check_dns1123_subdomain;
}

}  // namespace caravel::kube
