#include "kube/cel/actual_cost.h"

#include <algorithm>
#include <cmath>

namespace caravel::kube::cel {

namespace {

constexpr double kPerCharacter = 0.1, kPerRegexCharacter = 0.25;
constexpr int64_t kCall = 1, kNewList = 10;
constexpr int64_t kAuthorizerCheck = 350'000;
constexpr double kFormatRegex = 60;  // characters: most of the named formats'

// Of what has a size its size, of all else one.
int64_t size_of(const Value& v) {
  switch (v.kind()) {
    case Kind::kString: return std::count_if(v.s().begin(), v.s().end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    case Kind::kBytes: return static_cast<int64_t>(v.s().size());
    case Kind::kList: return static_cast<int64_t>(v.items().size());
    case Kind::kMap: return static_cast<int64_t>(v.as_map().entries.size());
    case Kind::kIp:
    case Kind::kCidr: return v.as_network().family == 4 ? 4 : 16;
    default: return 1;
  }
}
int64_t scaled_up(int64_t n, double factor) { return static_cast<int64_t>(std::ceil(static_cast<double>(n) * factor)); }
int64_t reading(const Value& v) { return scaled_up(size_of(v), kPerCharacter); }
int64_t matching(const Value& text, const Value& pattern) { return scaled_up(size_of(text) + 1, kPerCharacter) * scaled_up(size_of(pattern), kPerRegexCharacter); }

bool one_word_of(std::string_view name, std::string_view words) {
  for (size_t at = 0; (at = words.find(name, at)) != words.npos; ++at)
    if ((at == 0 || words[at - 1] == ' ') && (at + name.size() == words.size() || words[at + name.size()] == ' ')) return true;
  return false;
}

// Every item of a list once; of texts what they hold.
int64_t traversal(const Value& v) {
  if (!v.is(Kind::kList)) return reading(v);
  int64_t out = 0;
  for (auto& i : v.items()) out += i.is(Kind::kString) || i.is(Kind::kBytes) || i.is(Kind::kList) ? std::max<int64_t>(traversal(i), 1) : 1;
  return out;
}
// Every item against every other.
int64_t self_comparison(const Value& list) {
  const int64_t n = size_of(list);
  double each = 2;
  if (n > 0 && (list.items()[0].is(Kind::kString) || list.items()[0].is(Kind::kBytes))) each += kPerCharacter;
  return scaled_up(n * n, each) + kCall + kNewList;
}
int64_t containing(const Value& network, const Value& other, bool whole_range) {
  const int64_t n = size_of(network);
  int64_t out = scaled_up(2 * n, kPerCharacter);
  if (whole_range) out += scaled_up(n, kPerCharacter) + 1;
  return other.is(Kind::kString) ? out + reading(other) : out;
}

}  // namespace

int64_t actual_cost(std::string_view name, bool member, const std::vector<Value>& args, const Value& result) {
  if (args.empty()) return kCall;
  const Value &a = args[0], &b = args.size() > 1 ? args[1] : args[0];
  const bool text = a.is(Kind::kString) || a.is(Kind::kBytes);
  if (name == "_==_" || name == "_!=_") {
    if (name == "_==_" && (a.is(Kind::kQuantity) || a.is(Kind::kIp) || a.is(Kind::kCidr) || a.is(Kind::kUrl) || a.is(Kind::kOpaque))) return kCall;
    return scaled_up(std::min(size_of(a), size_of(b)), kPerCharacter);
  }
  if (name == "@in") return b.is(Kind::kList) ? size_of(b) : kCall;
  if (name == "_+_") return text ? scaled_up(size_of(a) + size_of(b), kPerCharacter) : kCall;
  if (text && one_word_of(name, "_<_ _<=_ _>_ _>=_")) return scaled_up(std::min(size_of(a), size_of(b)), kPerCharacter);
  if (name == "check" && a.is(Kind::kOpaque)) return kAuthorizerCheck;
  if (one_word_of(name, "isSorted sum max min indexOf lastIndexOf")) return traversal(a);
  if (one_word_of(name, "url lowerAscii upperAscii substring trim jsonpatch.escapeKey cidr isIP isCIDR quantity isQuantity semver isSemver")) return reading(a);
  if (name == "replace" || name == "split" || name == "ip.isCanonical") return scaled_up(size_of(a), 2 * kPerCharacter);
  if (name == "join") return scaled_up(size_of(result), 2 * kPerCharacter);
  if (name == "find" || name == "findAll" || name == "matches") return matching(a, b);
  if (name == "ip" && !member) return reading(a);
  if (name == "containsIP" || name == "containsCIDR") return containing(a, b, name == "containsCIDR");
  if (name == "validate") return scaled_up(size_of(b) + 1, kPerCharacter) * scaled_up(1, kFormatRegex * kPerRegexCharacter);
  if (name == "startsWith" || name == "endsWith") return reading(b);
  if (name == "contains") return reading(a) * reading(b);
  if (one_word_of(name, "format strings.quote") || (name == "bytes" && a.is(Kind::kString)) || (name == "string" && a.is(Kind::kBytes))) return reading(a);
  if (one_word_of(name, "sets.contains sets.intersects sets.equivalent")) return kCall + size_of(a) * size_of(b) * (name == "sets.equivalent" ? 2 : 1);
  if (name == "slice" || name == "lists.range" || (name == "reverse" && a.is(Kind::kList))) return size_of(result) + kCall + kNewList;
  if (name == "flatten") return size_of(a) * (args.size() > 1 ? b.i() : 1) + kCall + kNewList;
  if (name == "distinct" || name == "sort") return self_comparison(a);
  if (name == "@sortByAssociatedKeys") return self_comparison(b);
  return kCall;
}

}  // namespace caravel::kube::cel
