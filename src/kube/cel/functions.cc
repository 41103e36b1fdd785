#include "kube/cel/functions.h"

#include <cstring>
#include <map>

namespace caravel::kube::cel {

const std::vector<const Function*>& overloads(std::string_view name) {
  static const auto* table = [] {
    auto* t = new std::map<std::string_view, std::vector<const Function*>>();
    for (auto functions : {operator_functions(), conversion_functions(), time_functions(), string_functions(), list_functions(), collection_functions(), semver_functions(), format_functions(), kubernetes_functions(), network_functions()})
      for (auto& f : functions) (*t)[f.name].push_back(&f);
    return t;
  }();
  static const auto* none = new std::vector<const Function*>();
  auto it = table->find(name);
  return it == table->end() ? *none : it->second;
}

namespace {
bool fits(char c, const Value& v) {
  switch (c) {
    case 'b': return v.is(Kind::kBool);
    case 'i': return v.is(Kind::kInt);
    case 'u': return v.is(Kind::kUint);
    case 'd': return v.is(Kind::kDouble);
    case 's': return v.is(Kind::kString);
    case 'y': return v.is(Kind::kBytes);
    case 'n': return v.is(Kind::kNull);
    case 'D': return v.is(Kind::kDuration);
    case 'T': return v.is(Kind::kTimestamp);
    case 't': return v.is(Kind::kType);
    case 'L':
    case 'N':
    case 'E':
    case 'H':
    case 'S': return v.is(Kind::kList);
    case 'M': return v.is(Kind::kMap);
    case 'O': return v.is(Kind::kOptional);
    case 'Q': return v.is(Kind::kQuantity);
    case 'U': return v.is(Kind::kUrl);
    case 'P': return v.is(Kind::kIp);
    case 'C': return v.is(Kind::kCidr);
    case 'V':
    case 'F': return v.is(Kind::kOpaque);
    default: return true;
  }
}
}  // namespace

bool accepts(const Function& f, Arguments a) {
  if (std::strlen(f.signature) != a.size() + 1) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!fits(f.signature[i + 1], a[i])) return false;
  return true;
}

}  // namespace caravel::kube::cel
