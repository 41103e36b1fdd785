#include "controllers/job_indexes.h"

#include <algorithm>
#include <charconv>

#include "base/strings.h"

namespace caravel::controllers {

namespace {

std::optional<int> number(std::string_view text) {
  int n = 0;
  auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (bad != std::errc() || end != text.data() + text.size() || text.empty() || n < 0) return std::nullopt;
  return n;
}

std::optional<int> annotated(const kube::core::Pod& p, const char* name) {
  auto it = p.metadata.annotations.find(name);
  return it == p.metadata.annotations.end() ? std::nullopt : number(it->second);
}

}  // namespace

IndexSet IndexSet::parse(std::string_view text, int limit) {
  IndexSet out;
  for (auto& part : split(text, ',')) {
    std::string_view s = part;
    size_t dash = s.find('-');
    std::optional<int> first = number(s.substr(0, dash));
    std::optional<int> last = dash == std::string_view::npos ? first : number(s.substr(dash + 1));
    if (!first || !last || *first >= limit) continue;
    out.insert(*first, std::min(*last, limit - 1));
  }
  return out;
}

std::string IndexSet::text() const {
  std::string out;
  for (auto& i : intervals_) {
    if (!out.empty()) out += ',';
    out += std::to_string(i.first);
    if (i.last > i.first) out += (i.last == i.first + 1 ? ',' : '-') + std::to_string(i.last);
  }
  return out;
}

void IndexSet::insert(int first, int last) {
  if (first > last) return;
  // All that overlaps or touches the new one becomes one with it.
  auto from = std::find_if(intervals_.begin(), intervals_.end(), [&](auto& i) { return i.last >= first - 1; });
  auto to = from;
  for (; to != intervals_.end() && to->first <= last + 1; ++to) {
    first = std::min(first, to->first);
    last = std::max(last, to->last);
  }
  intervals_.insert(intervals_.erase(from, to), Interval{first, last});
}
void IndexSet::insert(const IndexSet& other) {
  for (auto& i : other.intervals_) insert(i.first, i.last);
}

bool IndexSet::has(int index) const {
  auto it = std::lower_bound(intervals_.begin(), intervals_.end(), index, [](auto& i, int n) { return i.last < n; });
  return it != intervals_.end() && it->first <= index;
}

int IndexSet::size() const {
  int n = 0;
  for (auto& i : intervals_) n += i.last - i.first + 1;
  return n;
}

int IndexSet::common(const IndexSet& other) const {
  int n = 0;
  auto a = intervals_.begin(), b = other.intervals_.begin();
  while (a != intervals_.end() && b != other.intervals_.end()) {
    n += std::max(0, std::min(a->last, b->last) - std::max(a->first, b->first) + 1);
    if (a->last < b->last) ++a;
    else ++b;
  }
  return n;
}

std::vector<int> IndexSet::first_missing(int count, int limit) const {
  std::vector<int> out;
  auto take = [&](int from, int to) {
    for (int i = from; i < to && i < limit && static_cast<int>(out.size()) < count; ++i) out.push_back(i);
  };
  int next = 0;
  for (auto& i : intervals_) {
    take(next, i.first);
    next = i.last + 1;
  }
  take(next, limit);
  return out;
}

std::optional<int> index_of(const kube::core::Pod& p) { return annotated(p, kCompletionIndex); }
int index_failures(const kube::core::Pod& p) { return annotated(p, kIndexFailures).value_or(0); }
int index_ignored_failures(const kube::core::Pod& p) { return annotated(p, kIndexIgnoredFailures).value_or(0); }

}  // namespace caravel::controllers
