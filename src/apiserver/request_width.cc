#include "apiserver/request_width.h"

#include <algorithm>

#include "apiserver/selector.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

int divided_up(size_t n, int by) { return static_cast<int>(std::min<size_t>((n + static_cast<size_t>(by) - 1) / static_cast<size_t>(by), 1'000'000)); }

bool pins_a_name(const Request& r) {
  if (!r.name.empty()) return true;
  const std::string* s = r.param("fieldSelector");
  if (!s || s->find("metadata.name") == s->npos) return false;
  auto f = FieldSelector::parse(*s);
  return f.ok() && f->exact("metadata.name");
}

// A part of a list is found by its key; all else is looked through.
size_t looked_at(const Request& r, size_t objects) {
  const std::string* limit = r.param("limit");
  const bool goes_on = r.param("continue") && !r.param("continue")->empty();
  const int64_t n = limit ? parse_int(*limit).value_or(0) : 0;
  if (!goes_on && (n <= 0 || r.param_or("resourceVersion") == "0")) return objects;
  const size_t part = n > 0 ? std::min(static_cast<size_t>(n), objects) : objects;
  const bool selects = !r.param_or("fieldSelector").empty() || !r.param_or("labelSelector").empty();
  return selects ? objects + part : 2 * part;
}

bool writes(const Request& r) { return r.verb == "create" || r.verb == "update" || r.verb == "patch" || r.verb == "delete"; }

}  // namespace

RequestWidth width_of(const Request& r, const WidthFacts& f) {
  RequestWidth w;
  if (!r.is_resource) return w;
  const int most = std::max(1, std::min(kSeatsMax, (f.level_seats * kLevelPercentMax + 99) / 100));
  if (r.verb == "list" || (r.verb == "watch" && r.flag("sendInitialEvents"))) {
    if (!pins_a_name(r)) w.seats = std::clamp(divided_up(looked_at(r, f.objects), kObjectsPerSeat), 1, most);
    return w;
  }
  const bool token = r.plural == "serviceaccounts" && r.subresource == "token";  // changes nothing that is watched
  if (!writes(r) || token || f.watchers < static_cast<size_t>(kWatchersPerSeat)) return w;
  const int wanted = divided_up(f.watchers, kWatchersPerSeat);
  w.after = std::min(wanted, most);
  w.held = kEventsOfSeat * wanted / w.after;
  return w;
}

}  // namespace caravel::apiserver
