// Kubernetes' semver library (version 1): semantic versions 2.0.0, compared by precedence.
#include <algorithm>

#include "base/strings.h"
#include "kube/cel/functions.h"

namespace caravel::kube::cel {

namespace {

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kIdentifier = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";

bool only(std::string_view s, std::string_view of) { return s.find_first_not_of(of) == s.npos; }
bool padded(std::string_view s) { return s.size() > 1 && s[0] == '0'; }

struct Version {
  uint64_t number[3] = {};               // major, minor, patch
  std::vector<std::string> pre_release;  // identifiers; those of the build have no precedence and are not kept
};

Result<Version> parse_version(std::string_view s) {
  static constexpr const char* kNames[] = {"major", "minor", "patch"};
  if (s.empty()) return invalid("Version string empty");
  const size_t first = s.find('.'), second = first == s.npos ? s.npos : s.find('.', first + 1);
  if (second == s.npos) return invalid("No Major.Minor.Patch elements found");
  std::string_view rest = s.substr(second + 1);
  std::optional<std::string_view> build, pre;
  if (size_t plus = rest.find('+'); plus != rest.npos) {
    build = rest.substr(plus + 1);
    rest = rest.substr(0, plus);
  }
  if (size_t dash = rest.find('-'); dash != rest.npos) {
    pre = rest.substr(dash + 1);
    rest = rest.substr(0, dash);
  }
  Version v;
  const std::string_view parts[] = {s.substr(0, first), s.substr(first + 1, second - first - 1), rest};
  for (int i = 0; i < 3; ++i) {
    const std::string quoted = json::quote(parts[i]);
    if (!only(parts[i], kDigits)) return invalid("Invalid character(s) found in " + std::string(kNames[i]) + " number " + quoted);
    std::string name = kNames[i];
    name[0] = static_cast<char>(name[0] - 'a' + 'A');
    if (padded(parts[i])) return invalid(name + " number must not contain leading zeroes " + quoted);
    if (parts[i].empty()) return invalid("strconv.ParseUint: parsing \"\": invalid syntax");
    for (char c : parts[i]) {
      const uint64_t digit = static_cast<uint64_t>(c - '0');
      if (v.number[i] > (UINT64_MAX - digit) / 10) return invalid("strconv.ParseUint: parsing " + quoted + ": value out of range");
      v.number[i] = v.number[i] * 10 + digit;
    }
  }
  if (pre)
    for (auto& id : split(*pre, '.')) {
      if (id.empty()) return invalid("Prerelease is empty");
      if (only(id, kDigits) && padded(id)) return invalid("Numeric PreRelease version must not contain leading zeroes " + json::quote(id));
      if (!only(id, kIdentifier)) return invalid("Invalid character(s) found in prerelease " + json::quote(id));
      v.pre_release.emplace_back(id);
    }
  if (build)
    for (auto& id : split(*build, '.')) {
      if (id.empty()) return invalid("Build meta data is empty");
      if (!only(id, kIdentifier)) return invalid("Invalid character(s) found in build meta data " + json::quote(id));
    }
  return v;
}

// Without a leading v and leading zeros, and with 0 for what is left out.
Result<Version> parse_tolerantly(std::string_view s) {
  if (!s.empty() && s[0] == 'v') s.remove_prefix(1);
  std::vector<std::string> parts;
  while (parts.size() < 2 && s.find('.') != s.npos) {
    parts.emplace_back(s.substr(0, s.find('.')));
    s.remove_prefix(s.find('.') + 1);
  }
  parts.emplace_back(s);
  for (std::string& p : parts)
    if (p.size() > 1) {
      p.erase(0, std::min(p.find_first_not_of('0'), p.size()));
      if (p.empty() || kDigits.find(p[0]) == kDigits.npos) p.insert(0, "0");
    }
  if (parts.size() < 3 && parts.back().find_first_of("+-") != std::string::npos) return invalid("short version cannot contain PreRelease/Build meta data");
  while (parts.size() < 3) parts.emplace_back("0");
  return parse_version(join(parts, "."));
}

int order(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

// SemVer 2.0.0 §11: numbers by value and below words, the shorter first; a release above its pre-releases.
int precedence(const Version& a, const Version& b) {
  for (int i = 0; i < 3; ++i)
    if (int c = order(a.number[i], b.number[i])) return c;
  if (a.pre_release.empty() || b.pre_release.empty()) return static_cast<int>(a.pre_release.empty()) - static_cast<int>(b.pre_release.empty());
  for (size_t i = 0; i < std::min(a.pre_release.size(), b.pre_release.size()); ++i) {
    const std::string &x = a.pre_release[i], &y = b.pre_release[i];
    const bool x_number = only(x, kDigits), y_number = only(y, kDigits);
    if (x_number != y_number) return x_number ? -1 : 1;
    if (x_number && x.size() != y.size()) return order(x.size(), y.size());  // no leading zeros
    if (int c = x.compare(y)) return c < 0 ? -1 : 1;
  }
  return order(a.pre_release.size(), b.pre_release.size());
}

class Semver final : public Opaque {
 public:
  explicit Semver(Version v) : v_(std::move(v)) {}
  std::string type_name() const override { return "kubernetes.Semver"; }
  bool equals(const Opaque& o) const override {
    auto* other = dynamic_cast<const Semver*>(&o);
    return other && precedence(v_, other->v_) == 0;
  }
  Result<Value> call(std::string_view method, const std::vector<Value>& args) const override {
    static constexpr std::string_view kParts[] = {"major", "minor", "patch"};
    for (int i = 0; i < 3; ++i)
      if (method == kParts[i] && args.empty()) return Value::integer(static_cast<int64_t>(v_.number[i]));
    auto* other = args.size() == 1 && args[0].is(Kind::kOpaque) ? dynamic_cast<const Semver*>(&args[0].as_opaque()) : nullptr;
    if (!other) return invalid("no such overload");
    const int c = precedence(v_, other->v_);
    if (method == "compareTo") return Value::integer(c);
    if (method == "isGreaterThan") return Value::boolean(c > 0);
    if (method == "isLessThan") return Value::boolean(c < 0);
    return invalid("no such overload");
  }

 private:
  Version v_;
};

Result<Version> read(Arguments a) { return a.size() > 1 && a[1].is_true() ? parse_tolerantly(a[0].s()) : parse_version(a[0].s()); }
Result<Value> semver(Arguments a) {
  TRY(Version v, read(a));
  return Value::opaque(std::make_shared<const Semver>(std::move(v)));
}
Result<Value> of_no_version(Arguments) { return invalid("no such overload"); }  // versions answer themselves
Result<Value> is_semver(Arguments a) { return Value::boolean(read(a).ok()); }

constexpr Function kSemver[] = {
    {"semver", false, "Vs", semver},
    {"semver", false, "Vsb", semver},
    {"isSemver", false, "bs", is_semver},
    {"isSemver", false, "bsb", is_semver},
    {"major", true, "iV", of_no_version},
    {"minor", true, "iV", of_no_version},
    {"patch", true, "iV", of_no_version},
    {"isLessThan", true, "bVV", of_no_version},
    {"isGreaterThan", true, "bVV", of_no_version},
    {"compareTo", true, "iVV", of_no_version},
};

}  // namespace

std::span<const Function> semver_functions() { return kSemver; }

}  // namespace caravel::kube::cel
