// Kubernetes' format library: named formats of texts, and what is wrong with a text by one of them.
#include <algorithm>

#include "base/strings.h"
#include "kube/cel/functions.h"
#include "kube/validation.h"

namespace caravel::kube::cel {

namespace {

using Check = std::string (*)(const std::string& text);  // "" when it is one, else sentences, one a line

// Of a name that something is added to: a dash at its end does not stay there.
std::string undashed(const std::string& s) { return s.size() > 1 && s.back() == '-' ? s.substr(0, s.size() - 2) + "a" : s; }
std::string schema_format(const std::string& format, const std::string& text, const char* otherwise) { return format_ok(format, text) ? "" : otherwise; }

struct Format {
  std::string_view name;
  Check check;
};
constexpr Format kFormats[] = {
    {"dns1123Label", [](const std::string& s) { return check_dns1123_label(s); }},
    {"dns1123Subdomain", [](const std::string& s) { return check_dns1123_subdomain(s); }},
    {"dns1035Label", [](const std::string& s) { return check_dns1035_label(s); }},
    {"qualifiedName", [](const std::string& s) { return check_qualified_name(s); }},
    {"dns1123LabelPrefix", [](const std::string& s) { return check_dns1123_label(undashed(s)); }},
    {"dns1123SubdomainPrefix", [](const std::string& s) { return check_dns1123_subdomain(undashed(s)); }},
    {"dns1035LabelPrefix", [](const std::string& s) { return check_dns1035_label(undashed(s)); }},
    {"labelValue", [](const std::string& s) { return check_label_value(s); }},
    {"uri", [](const std::string& s) {
       auto u = parse_url(s);
       return u.ok() ? std::string() : u.error().message;
     }},
    {"uuid", [](const std::string& s) { return schema_format("uuid", s, "does not match the UUID format"); }},
    {"byte", [](const std::string& s) { return schema_format("byte", s, "invalid base64"); }},
    {"date", [](const std::string& s) { return schema_format("date", s, "invalid date"); }},
    {"datetime", [](const std::string& s) { return schema_format("date-time", s, "invalid datetime"); }},
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
  auto f = std::find_if(std::begin(kFormats), std::end(kFormats), [&](auto& x) { return x.name == a[0].s(); });
  return f == std::end(kFormats) ? Value::none() : Value::some(made(*f));
}
template <size_t I>
Result<Value> constant(Arguments) {
  return made(kFormats[I]);
}
Result<Value> of_no_format(Arguments) { return invalid("no such overload"); }  // formats answer themselves

constexpr Function kFunctions[] = {
    {"format.named", false, "*s", named},
    {"format.dns1123Label", false, "*", constant<0>},
    {"format.dns1123Subdomain", false, "*", constant<1>},
    {"format.dns1035Label", false, "*", constant<2>},
    {"format.qualifiedName", false, "*", constant<3>},
    {"format.dns1123LabelPrefix", false, "*", constant<4>},
    {"format.dns1123SubdomainPrefix", false, "*", constant<5>},
    {"format.dns1035LabelPrefix", false, "*", constant<6>},
    {"format.labelValue", false, "*", constant<7>},
    {"format.uri", false, "*", constant<8>},
    {"format.uuid", false, "*", constant<9>},
    {"format.byte", false, "*", constant<10>},
    {"format.date", false, "*", constant<11>},
    {"format.datetime", false, "*", constant<12>},
    {"validate", true, "**s", of_no_format},
};

}  // namespace

std::span<const Function> format_functions() { return kFunctions; }

}  // namespace caravel::kube::cel
