// Kubernetes' format library: named formats of texts, and what is wrong with a text by one of them.
#include <algorithm>
#include <array>
#include <utility>

#include "base/strings.h"
#include "kube/cel/functions.h"
#include "kube/validation.h"

namespace caravel::kube::cel {

namespace {

constexpr std::string_view kPrefix = "format.";

using Check = std::string (*)(const std::string& text);  // "" when it is one, else sentences, one a line

// Of a name that something is added to: a dash at its end does not stay there.
std::string undashed(const std::string& s) { return s.size() > 1 && s.back() == '-' ? s.substr(0, s.size() - 2) + "a" : s; }
std::string schema_format(const std::string& format, const std::string& text, const char* otherwise) { return format_ok(format, text) ? "" : otherwise; }

struct Format {
  const char* constructor;  // "format." and the name
  Check check;
  std::string_view name() const { return std::string_view(constructor).substr(kPrefix.size()); }
};
constexpr Format kFormats[] = {
    {"format.dns1123Label", [](const std::string& s) { return check_dns1123_label(s); }},
    {"format.dns1123Subdomain", [](const std::string& s) { return check_dns1123_subdomain(s); }},
    {"format.dns1035Label", [](const std::string& s) { return check_dns1035_label(s); }},
    {"format.qualifiedName", [](const std::string& s) { return check_qualified_name(s); }},
    {"format.dns1123LabelPrefix", [](const std::string& s) { return check_dns1123_label(undashed(s)); }},
    {"format.dns1123SubdomainPrefix", [](const std::string& s) { return check_dns1123_subdomain(undashed(s)); }},
    {"format.dns1035LabelPrefix", [](const std::string& s) { return check_dns1035_label(undashed(s)); }},
    {"format.labelValue", [](const std::string& s) { return check_label_value(s); }},
    {"format.uri", [](const std::string& s) {
       auto u = parse_url(s);
       return u.ok() ? std::string() : u.error().message;
     }},
    {"format.uuid", [](const std::string& s) { return schema_format("uuid", s, "does not match the UUID format"); }},
    {"format.byte", [](const std::string& s) { return schema_format("byte", s, "invalid base64"); }},
    {"format.date", [](const std::string& s) { return schema_format("date", s, "invalid date"); }},
    {"format.datetime", [](const std::string& s) { return schema_format("date-time", s, "invalid datetime"); }},
};

class NamedFormat final : public Opaque {
 public:
  explicit NamedFormat(const Format& f) : format_(&f) {}
  std::string type_name() const override { return "kubernetes.NamedFormat"; }
  bool equals(const Opaque& o) const override {
    auto* other = dynamic_cast<const NamedFormat*>(&o);
    return other && other->format_ == format_;
  }
  Result<Value> call(std::string_view method, const std::vector<Value>& args) const override {
    if (method != "validate" || args.size() != 1 || !args[0].is(Kind::kString)) return invalid("no such overload");
    const std::string wrong = format_->check(args[0].s());
    if (wrong.empty()) return Value::none();
    std::vector<Value> sentences;
    for (auto& line : split(wrong, '\n')) sentences.push_back(Value::string(std::string(line)));
    return Value::some(Value::list(std::move(sentences)));
  }

 private:
  const Format* format_;  // of the table
};

Value made(const Format& f) { return Value::opaque(std::make_shared<const NamedFormat>(f)); }

Result<Value> named(Arguments a) {
  auto f = std::find_if(std::begin(kFormats), std::end(kFormats), [&](auto& x) { return x.name() == a[0].s(); });
  return f == std::end(kFormats) ? Value::none() : Value::some(made(*f));
}
template <size_t I>
Result<Value> constant(Arguments) {
  return made(kFormats[I]);
}
Result<Value> of_no_format(Arguments) { return invalid("no such overload"); }  // formats answer themselves

template <size_t... I>
constexpr std::array<Function, sizeof...(I) + 2> functions(std::index_sequence<I...>) {
  return {{{"format.named", false, "fs", named}, {"validate", true, "oFs", of_no_format}, {kFormats[I].constructor, false, "F", constant<I>}...}};
}
constexpr auto kFunctions = functions(std::make_index_sequence<std::size(kFormats)>());

}  // namespace

std::span<const Function> format_functions() { return kFunctions; }

}  // namespace caravel::kube::cel
