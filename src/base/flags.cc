#include "base/flags.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel {

Result<Flags> Flags::parse(const std::vector<Flag>& table, const std::vector<std::string>& args) {
  Flags out;
  for (const Flag& f : table) out.fallbacks_[f.name] = f.fallback;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string_view a = args[i];
    if (a == "--") {
      out.positional_.insert(out.positional_.end(), args.begin() + static_cast<long>(i) + 1, args.end());
      break;
    }
    if (a == "-o" && out.fallbacks_.count("output")) a = "--output";
    if (!a.starts_with("--")) {
      out.positional_.emplace_back(a);
      continue;
    }
    a.remove_prefix(2);
    size_t eq = a.find('=');
    std::string name(a.substr(0, eq));
    auto it = std::find_if(table.begin(), table.end(), [&](const Flag& f) { return f.name == name; });
    if (it == table.end()) {
      std::vector<std::string> names;
      for (auto& f : table) names.push_back(f.name);
      auto near = nearest(name, names);
      return invalid("unknown flag --" + name + (near ? "; did you mean --" + *near + "?" : "; see --help"));
    }
    std::string value = "true";
    if (eq != a.npos) {
      value = a.substr(eq + 1);
    } else if (!it->placeholder.empty()) {
      if (i + 1 >= args.size()) return invalid("flag --" + name + " needs a value: --" + name + " " + it->placeholder);
      value = args[++i];
    }
    auto& values = out.values_[name];
    if (!values.empty() && !it->repeated) return invalid("flag --" + name + " is given twice");
    values.push_back(std::move(value));
  }
  return out;
}

bool Flags::given(std::string_view name) const { return values_.find(name) != values_.end(); }
bool Flags::on(std::string_view name) const { return get(name) == "true"; }
std::string Flags::get(std::string_view name) const {
  if (auto it = values_.find(name); it != values_.end()) return it->second.back();
  auto it = fallbacks_.find(name);
  return it == fallbacks_.end() ? "" : it->second;
}
std::vector<std::string> Flags::all(std::string_view name) const {
  auto it = values_.find(name);
  return it == values_.end() ? std::vector<std::string>{} : it->second;
}
Result<int64_t> Flags::get_int(std::string_view name) const {
  auto v = parse_int(get(name));
  if (!v) return invalid("flag --" + std::string(name) + " needs a whole number, not \"" + get(name) + "\"");
  return *v;
}

std::string describe_flags(const std::vector<Flag>& table) {
  size_t width = 0;
  auto left = [](const Flag& f) { return "--" + f.name + (f.placeholder.empty() ? "" : " " + f.placeholder); };
  for (auto& f : table) width = std::max(width, left(f).size());
  std::string out;
  for (auto& f : table) {
    std::string l = left(f);
    out += "  " + l + std::string(width - l.size() + 2, ' ') + f.help;
    if (!f.fallback.empty() && f.fallback != "false") out += " (default " + f.fallback + ")";
    out += '\n';
  }
  return out;
}

}  // namespace caravel
