// get, list and watch.
#include <algorithm>
#include <utility>

#include "apiserver/conversion_webhook.h"
#include "apiserver/object_meta.h"
#include "apiserver/protobuf_watch.h"
#include "apiserver/rest.h"
#include "apiserver/strategies.h"
#include "base/strings.h"
#include "kube/client.h"

namespace caravel::apiserver {

namespace {

constexpr Duration kBookmarkEvery = std::chrono::seconds(60);
constexpr Duration kAbandonedCheck = std::chrono::seconds(15);
constexpr Duration kFreshnessWait = std::chrono::seconds(3);
constexpr int64_t kWatchSecondsMin = 1800;  // a watch without timeoutSeconds ends after 30 to 60 minutes
constexpr size_t kWatchBatch = 512;

// A list in pages shows one revision for so long, as upstream keeps revisions between two compactions.
constexpr Duration kSnapshotKept = std::chrono::minutes(5);

// `begun`: when the first page was made.
std::string make_continue(int64_t revision, const std::string& start, Time begun) {
  json::Value v = json::Value::object();
  v["v"] = "meta.k8s.io/v1";
  v["rv"] = revision;
  v["start"] = start;
  v["begun"] = begun.ns / 1'000'000'000;
  return base64url_encode(json::dump(v));
}

Error too_large_version(int64_t asked, int64_t now) {
  json::Value d = json::Value::object();
  json::Value cause = json::Value::object();
  cause["reason"] = "ResourceVersionTooLarge";
  cause["message"] = "Too large resource version";
  d["causes"] = json::Value::array({cause});
  d["retryAfterSeconds"] = 1;
  return status::make(504, "Timeout", "Too large resource version: " + std::to_string(asked) + ", current: " + std::to_string(now), std::move(d));
}

// Of ListOptions; 0 when it is not there.
Result<int64_t> integer_param(const Request& r, std::string_view name) {
  const std::string* text = r.param(name);
  if (!text) return int64_t{0};
  if (auto n = parse_int(*text)) return *n;
  const bool digits = !text->empty() && text->find_first_not_of("0123456789", (*text)[0] == '-' || (*text)[0] == '+') == text->npos && text->size() > 1;
  return status::bad_request("strconv.ParseInt: parsing " + json::quote(*text) + (digits ? ": value out of range" : ": invalid syntax"));
}
// Both of them, whoever reads them.
Status check_integers(const Request& r) {
  for (std::string_view name : {"limit", "timeoutSeconds"})
    if (auto n = integer_param(r, name); !n.ok()) return std::move(n).error();
  return ok();
}

// A key of a continue token that is not written the shortest way: "../x", "a//b".
bool leaves_its_place(const std::string& key) {
  const std::vector<std::string> steps = split(std::string_view(key).substr(key[0] == '/'), '/');
  for (size_t i = 0; i < steps.size(); ++i)
    if (steps[i] == "." || steps[i] == ".." || (steps[i].empty() && i + 1 < steps.size())) return true;
  return false;
}

// Lists answer a bad one with 400; reads of one object and watches pass on what the storage says about it.
Result<int64_t> parse_version(const std::string& text, bool of_list) {
  if (text.empty()) return int64_t{0};
  auto v = parse_int(text);
  if (v && *v >= 0 && text[0] != '+') return *v;
  const bool digits = text.find_first_not_of("0123456789") == text.npos;
  const std::string why = "resourceVersion: Invalid value: " + json::quote(text) + ": strconv.ParseUint: parsing " + json::quote(text) + (digits ? ": value out of range" : ": invalid syntax");
  if (of_list) return status::bad_request("invalid resource version: " + why);
  return status::make(500, "", why);
}

}  // namespace

Result<ValuePtr> Rest::live(const ServedType& t, std::string_view ns, std::string_view name) const {
  ObjectPtr o = find(t, ns, name);
  if (!o) return status::not_found(t.resource, name);
  return served_value(t, *o);
}

namespace {
Response show(const Rest& rest, const Request& r, const ServedTypePtr& t, const ObjectPtr& o);
}

Response Rest::get(const Request& r, const ServedTypePtr& t) {
  ObjectPtr o = t->storage->cache->get(r.ns, r.name);
  if (!o) return error_response(status::not_found(t->resource, r.name));
  return show(*this, r, t, o);
}

Task<Response> Rest::get_any(Request& r, ServedTypePtr t) {
  if (!t->converter) co_return get(r, t);
  ObjectPtr o = t->storage->cache->get(r.ns, r.name);
  if (!o) co_return error_response(status::not_found(t->resource, r.name));
  auto converted = co_await convert_one(t.get(), std::move(o));
  if (!converted.ok()) co_return error_response(converted.error());
  co_return show(*this, r, t, *converted);
}

namespace {
Response show(const Rest& rest, const Request& r, const ServedTypePtr& t, const ObjectPtr& o) {
  auto out = negotiate(r, *t);
  if (!out.ok()) return error_response(out.error());
  if (auto version = parse_version(r.param_or("resourceVersion"), false); !version.ok()) return error_response(version.error());
  if (out->as == Output::kFull && out->format == Output::kJson) {
    Response res;
    res.body = served_bytes(*t, *o);
    if (!t->from_storage) res.value = r.in_process ? o->value() : o->decoded;
    return res;
  }
  Stored s;
  s.bytes = served_bytes(*t, *o);
  s.value = served_value(*t, *o);
  return rest.render(*t, *out, 200, s);
}
}  // namespace

namespace {

// events.k8s.io names the fields of the core Event by its own names.
std::string stored_field(const ServedType& t, const std::string& field) {
  if (t.resource.group != "events.k8s.io") return field;
  if (field == "reportingController") return "reportingComponent";
  if (field.compare(0, 10, "regarding.") == 0) return "involvedObject." + field.substr(10);
  return field == "reason" || field == "type" || field.compare(0, 9, "metadata.") == 0 ? field : "";
}

}  // namespace

Result<Filter> Rest::filter_of(const Request& r, const ServedType& t) const {
  Filter f;
  f.ns = r.ns;
  auto labels = LabelSelector::parse(r.param_or("labelSelector"));
  if (!labels.ok()) return status::bad_request(labels.error().message);
  f.labels = std::move(*labels);
  const std::string text = r.param_or("fieldSelector");
  auto fields = FieldSelector::parse(text);
  if (!fields.ok()) return status::bad_request(fields.error().message);
  f.fields = std::move(*fields);
  for (auto& term : f.fields.terms()) {
    std::string stored = stored_field(t, term.field);
    if (!stored.empty()) term.field = std::move(stored);
    else term.field += " ";  // no field of any object: refused below
    if (term.field == "metadata.name" || (term.field == "metadata.namespace" && t.resource.namespaced)) continue;
    bool known = false;
    if (t.storage)
      for (auto& name : t.custom ? t.selectable : t.storage->selectable) known = known || name == term.field;
    if (!known && !t.custom && (!t.storage || t.storage->selectable.empty()))
      return status::bad_request(json::quote(std::string(trim(term.field))) + " is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    if (!known)
      return status::bad_request("field label not supported: " + std::string(trim(term.field)));
  }
  if (t.converter) {  // the fields are those of the version that is asked for
    auto& terms = f.fields.terms();
    auto stays = [](const FieldSelector::Term& term) { return term.field.compare(0, 9, "metadata.") == 0; };
    auto shown = std::stable_partition(terms.begin(), terms.end(), stays);
    f.shown.terms().assign(std::make_move_iterator(shown), std::make_move_iterator(terms.end()));
    terms.erase(shown, terms.end());
  }
  return f;
}

namespace {

bool shown_matches(const ServedType& t, const FieldSelector& fields, const Object& converted) {
  Pairs values;
  if (auto extract = field_extractor(t.selectable)) extract(*converted.value(), values);
  return fields_match(fields, converted.name, converted.ns, values);
}

}  // namespace

Task<Result<std::vector<ObjectPtr>>> shown_objects(const ServedType* t, const FieldSelector* fields, std::vector<ObjectPtr> stored) {
  auto converted = co_await converted_objects(*t, std::move(stored));
  if (converted.ok() && !fields->empty()) std::erase_if(*converted, [&](const ObjectPtr& o) { return !shown_matches(*t, *fields, *o); });
  co_return converted;
}

Task<Response> Rest::list(Request& r, ServedTypePtr t) {
  if (Status s = check_integers(r); !s.ok()) co_return error_response(s.error());
  auto out = negotiate(r, *t);
  if (!out.ok()) co_return error_response(out.error());
  auto filter = filter_of(r, *t);
  if (!filter.ok()) co_return error_response(filter.error());
  WatchCache& cache = *t->storage->cache;
  WatchCache::ListQuery q;
  q.filter = &*filter;
  std::string token = r.param_or("continue");
  std::string match = r.param_or("resourceVersionMatch");
  auto version = parse_version(r.param_or("resourceVersion"), true);
  if (!version.ok()) co_return error_response(version.error());
  if (r.param("sendInitialEvents"))
    co_return error_response(status::invalid("meta.k8s.io", "ListOptions", "", {{"sendInitialEvents", "FieldValueForbidden", "Forbidden: sendInitialEvents is forbidden for list"}}));
  if (!match.empty()) {
    std::vector<Cause> bad;
    if (!r.param("resourceVersion") || r.param_or("resourceVersion").empty())
      bad.push_back({"resourceVersionMatch", "FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"});
    if (!token.empty())
      bad.push_back({"resourceVersionMatch", "FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden when continue is provided"});
    if (match != "Exact" && match != "NotOlderThan")
      bad.push_back({"resourceVersionMatch", "FieldValueNotSupported", "Unsupported value: " + json::quote(match) + ": supported values: \"Exact\", \"NotOlderThan\", \"\""});
    if (match == "Exact" && *version == 0)
      bad.push_back({"resourceVersionMatch", "FieldValueForbidden", "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""});
    if (!bad.empty()) co_return error_response(status::invalid("meta.k8s.io", "ListOptions", "", bad));
  }
  if (*version > core_->cacher.revision()) {
    bool fresh = co_await core_->cacher.wait_for(*version, kFreshnessWait);
    if (!fresh) co_return error_response(too_large_version(*version, core_->cacher.revision()));
  }
  int64_t shown = core_->cacher.revision();
  Time begun = core_->ex.now();
  bool expired = false;
  if (!token.empty()) {
    auto text = base64url_decode(token);
    auto v = text ? json::parse(*text) : Result<json::Value>(invalid("illegal base64 data at input byte " + std::to_string(std::min(token.size(), token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")))));
    std::string why = v.ok() ? "" : v.error().message;
    if (v.ok()) {
      const json::Value& k = *v;
      const std::string& form = k["v"].as_string();
      if (form != "meta.k8s.io/v1") why = "server does not recognize this encoded version " + form;
      else if (k["rv"].as_int() == 0) why = "incorrect encoded start resourceVersion (version " + form + ")";
      else if (k["start"].as_string().empty()) why = "encoded start key empty (version " + form + ")";
      else if (leaves_its_place(k["start"].as_string())) why = k["start"].as_string();
    }
    if (!why.empty()) co_return error_response(status::bad_request("invalid continue token: continue key is not valid: " + why));
    if (*version > 0) co_return error_response(status::bad_request("specifying resource version is not allowed when using continue"));
    int64_t at = (*v)["rv"].as_int();
    q.start = (*v)["start"].as_string();
    if (at > 0) {  // -1: an inconsistent continuation of an expired list
      q.revision = at, shown = at;
      begun.ns = (*v)["begun"].as_int() * 1'000'000'000;
      expired = core_->ex.now() - begun > kSnapshotKept;
    }
  } else if (match == "Exact") {
    q.revision = *version;
    shown = *version;
  }
  q.limit = static_cast<size_t>(std::max<int64_t>(*integer_param(r, "limit"), 0));  // checked above
  auto page = expired ? Result<WatchCache::ListPage>(make_error(Code::kGone, "the pages of this list are too old")) : cache.list(q);
  if (!page.ok()) {
    if (token.empty()) co_return error_response(status::expired("The resourceVersion for the provided list is too old."));
    co_return error_response(status::gone_with_continue(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the "
        "continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
        "that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        make_continue(-1, q.start, core_->ex.now())));
  }
  std::string next = page->next.empty() ? "" : make_continue(shown, page->next, begun);
  if (!filter->labels.empty() || !filter->fields.empty() || !filter->shown.empty()) page->remaining = 0;
  if (t->converter && (out->as != Output::kPartial || !filter->shown.empty())) {
    auto converted = co_await shown_objects(t.get(), &filter->shown, std::move(page->items));
    if (!converted.ok()) co_return error_response(converted.error());
    page->items = std::move(*converted);
  }
  if (r.in_process && !r.trail && out->as == Output::kFull && out->format == Output::kJson) co_return list_document(*t, *page, shown, next);
  co_return render_list(*t, *out, *page, shown, std::move(next), r.takes_parts);
}

// --- watch ---

namespace {

class ResourceWatch final : public WatchSession {
 public:
  ResourceWatch(Core& core, ServedTypePtr t, Output out) : core_(&core), type_(std::move(t)), out_(out) {}

  std::unique_ptr<CacheWatch> watch_;
  std::vector<ObjectPtr> initial_;  // sent first
  size_t sent_ = 0;
  bool initial_bookmark_ = false;  // after them, with the annotation
  bool bookmarks_ = false;
  int64_t initial_revision_ = 0;
  Time end_, next_bookmark_;
  std::optional<Error> error_;
  FieldSelector shown_;  // of the objects as they are converted

  Task<std::vector<WireEvent>> next() override {
    std::vector<WireEvent> out;
    if (error_) {
      out.push_back(error_event(*error_));
      error_.reset();
      over_ = true;
      co_return out;
    }
    if (over_) co_return out;
    if (sent_ == 0 && !initial_.empty() && converts()) {
      auto converted = co_await shown_objects(type_.get(), &shown_, initial_);
      if (!converted.ok()) {
        out.push_back(error_event(converted.error()));
        over_ = true;
        co_return out;
      }
      initial_ = std::move(*converted);
    }
    if (sent_ < initial_.size()) {
      while (sent_ < initial_.size() && out.size() < kWatchBatch) {
        out.push_back(event("ADDED", *initial_[sent_], nullptr, Change::kAdded));
        initial_[sent_++].reset();
      }
      co_return out;
    }
    if (initial_bookmark_) {
      initial_bookmark_ = false;
      initial_.clear();
      out.push_back(bookmark(initial_revision_, true));
      co_return out;
    }
    while (true) {
      Time now = core_->ex.now();
      if (now >= end_ && !watch_->has_pending()) {
        over_ = true;
        if (bookmarks_) out.push_back(bookmark(watch_->revision(), false));
        co_return out;
      }
      Time until = end_;
      if (bookmarks_ && next_bookmark_ < until) until = next_bookmark_;
      if (abandoned && now + kAbandonedCheck < until) until = now + kAbandonedCheck;
      if (deliver && !watch_->direct && shares_bytes())
        watch_->direct = [this](const CacheWatch::Item& i) { return deliver(i.event->wire(i.as)); };
      auto items = co_await watch_->next(until > now ? until - now : Duration(0));
      if (!items.empty() && converts()) {
        Status s = co_await show(&items);
        if (!s.ok()) {
          out.push_back(error_event(s.error()));
          over_ = true;
          co_return out;
        }
      }
      for (auto& i : items) out.push_back(event(change_name(i.as), *i.object, converts() ? nullptr : i.event.get(), i.as));
      if (!out.empty()) co_return out;
      if (abandoned && abandoned()) over_ = true;
      if (watch_->ended()) over_ = true;
      if (over_) {
        over_ = true;
        co_return out;
      }
      if (bookmarks_ && core_->ex.now() >= next_bookmark_) {
        next_bookmark_ = core_->ex.now() + kBookmarkEvery;
        out.push_back(bookmark(watch_->revision(), false));
        co_return out;
      }
    }
  }

 private:
  bool converts() const { return type_->converter && (out_.as != Output::kPartial || !shown_.empty()); }
  // Converts the objects, and lets pass what concerns those that are selected, or were until now.
  Task<Status> show(std::vector<CacheWatch::Item>* items) {
    std::vector<ObjectPtr> objects;
    for (auto& i : *items) objects.push_back(i.object);
    if (!shown_.empty())  // behind them the states before
      for (auto& i : *items) objects.push_back(i.as == Change::kModified && i.event ? i.event->leaving() : i.object);
    CO_TRY(auto converted, co_await converted_objects(*type_, std::move(objects)));
    const size_t n = items->size();
    std::vector<CacheWatch::Item> kept;
    for (size_t at = 0; at < n; ++at) {
      CacheWatch::Item& i = (*items)[at];
      i.object = converted[at];
      if (!shown_.empty()) {
        bool is = shown_matches(*type_, shown_, *i.object);
        bool was = i.as == Change::kModified ? shown_matches(*type_, shown_, *converted[n + at]) : is;
        if (!is && !was) continue;
        if (is && !was) i.as = Change::kAdded;
        if (!is) {
          i.as = Change::kDeleted;
          i.object = converted[n + at];
        }
      }
      kept.push_back(std::move(i));
    }
    *items = std::move(kept);
    co_return ok();
  }
  // Every watcher of the resource is sent the same bytes.
  bool shares_bytes() const {
    return out_.format != Output::kProtobuf && out_.as == Output::kFull && !type_->from_storage && !converts() && !in_process;
  }
  WireEvent event(std::string_view type, const Object& o, const CacheEvent* e, Change as) {
    WireEvent w;
    w.type = type;
    if (out_.format == Output::kProtobuf) {
      ValuePtr v = served_value(*type_, o);
      w.object = o.bytes;
      w.wire = frame(type, *v);
      return w;
    }
    if (out_.as == Output::kFull && !type_->from_storage) {
      w.object = o.bytes;
      w.value = in_process ? o.value() : o.decoded;
      if (in_process) {
        if (!o.typed) o.typed = std::make_shared<kube::Decoded>();
        w.typed = o.typed;
      }
      if (!in_process) w.wire = e ? e->wire(as) : make_wire(type, *o.bytes);
      return w;
    }
    if (out_.as == Output::kFull) w.object = served_bytes(*type_, o);
    else if (out_.as == Output::kPartial) w.object = std::make_shared<const std::string>(json::dump(partial_metadata(*o.value(), out_.meta_version)));
    else w.object = table_bytes(*type_, out_, {served_value(*type_, o)}, std::to_string(o.revision), "", 0, core_->ex.now(), !std::exchange(columns_told_, true));
    w.wire = make_wire(type, *w.object);
    return w;
  }
  WireEvent bookmark(int64_t revision, bool initial_end) {
    json::Value v = json::Value::object();
    if (out_.as == Output::kPartial) {
      v["kind"] = "PartialObjectMetadata";
      v["apiVersion"] = out_.meta_version;
    } else {
      v["kind"] = type_->resource.kind;
      v["apiVersion"] = type_->resource.api_version();
    }
    json::Value& m = v["metadata"];
    m["resourceVersion"] = std::to_string(revision);
    m["creationTimestamp"] = json::Value();
    if (initial_end) m["annotations"]["k8s.io/initial-events-end"] = "true";
    WireEvent w;
    w.type = "BOOKMARK";
    if (in_process && out_.as == Output::kFull) {
      w.value = json::share(std::move(v));
      return w;
    }
    if (out_.as == Output::kTable) {
      json::Value table = json::Value::object();
      table["kind"] = "Table";
      table["apiVersion"] = out_.meta_version;
      table["metadata"]["resourceVersion"] = std::to_string(revision);
      table["columnDefinitions"] = json::Value();
      json::Value row = json::Value::object();
      row["cells"] = json::Value::array();
      row["object"] = v;
      table["rows"] = json::Value::array({row});
      v = std::move(table);
    }
    w.object = std::make_shared<const std::string>(json::dump(v));
    w.wire = out_.format == Output::kProtobuf ? frame("BOOKMARK", v) : make_wire("BOOKMARK", *w.object);
    return w;
  }
  WireEvent error_event(const Error& e) {
    WireEvent w;
    w.type = "ERROR";
    const json::Value object = to_status(e).object;
    w.object = std::make_shared<const std::string>(json::dump(object));
    if (out_.format == Output::kProtobuf) {
      auto bytes = status_protobuf(object);
      w.wire = std::make_shared<const std::string>(watch_frame("ERROR", bytes.ok() ? *bytes : std::string()));
    } else {
      w.wire = make_wire("ERROR", *w.object);
    }
    return w;
  }
  // An object that cannot be encoded ends the watch.
  Bytes frame(std::string_view type, const json::Value& v) {
    auto bytes = object_protobuf(*type_, out_, v);
    if (bytes.ok()) return std::make_shared<const std::string>(watch_frame(type, *bytes));
    over_ = true;
    return error_event(status::internal("unable to encode watch object: " + bytes.error().message)).wire;
  }

  Core* core_;
  ServedTypePtr type_;
  Output out_;
  bool over_ = false;
  bool columns_told_ = false;  // by the first of the tables
};

}  // namespace

Task<Response> Rest::watch(Request& r, ServedTypePtr t) {
  if (Status s = check_integers(r); !s.ok()) co_return error_response(s.error());
  auto out = negotiate(r, *t);
  if (!out.ok()) co_return error_response(out.error());
  auto filter = filter_of(r, *t);
  if (!filter.ok()) co_return error_response(filter.error());
  auto version = parse_version(r.param_or("resourceVersion"), false);
  if (!version.ok()) co_return error_response(version.error());
  bool want_initial = r.flag("sendInitialEvents") && r.param("sendInitialEvents");
  bool no_initial = r.param("sendInitialEvents") && !want_initial;
  std::string match = r.param_or("resourceVersionMatch");
  if (r.param("sendInitialEvents") && match != "NotOlderThan")
    co_return error_response(status::invalid("meta.k8s.io", "ListOptions", "",
                                             {{"resourceVersionMatch", "FieldValueForbidden", "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"}}));
  if (!match.empty() && !r.param("sendInitialEvents"))
    co_return error_response(status::invalid("meta.k8s.io", "ListOptions", "",
                                             {{"resourceVersionMatch", "FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"}}));
  auto w = std::make_unique<ResourceWatch>(*core_, t, *out);
  Time now = core_->ex.now();
  auto seconds = parse_int(r.param_or("timeoutSeconds", "0"));
  int64_t life = seconds && *seconds > 0 ? *seconds : kWatchSecondsMin + static_cast<int64_t>(core_->ex.random_below(kWatchSecondsMin));
  w->end_ = now + std::chrono::seconds(life);
  w->bookmarks_ = r.flag("allowWatchBookmarks");
  w->next_bookmark_ = now + kBookmarkEvery;
  WatchCache& cache = *t->storage->cache;
  bool initial = want_initial || (*version == 0 && !no_initial);
  if (initial && *version > core_->cacher.revision()) {
    bool fresh = co_await core_->cacher.wait_for(*version, kFreshnessWait);
    if (!fresh) co_return error_response(too_large_version(*version, core_->cacher.revision()));
  }
  // No suspension from here on: the list and the start of the watch show the same revision.
  if (initial) {
    WatchCache::ListQuery q;
    q.filter = &*filter;
    auto page = cache.list(q);
    w->initial_ = std::move(page->items);
    w->initial_revision_ = core_->cacher.revision();
    w->initial_bookmark_ = want_initial && w->bookmarks_;
  }
  w->shown_ = filter->shown;
  auto started = cache.watch(std::move(*filter), initial || no_initial ? 0 : *version);
  Response res;
  if (out->format == Output::kProtobuf) res.content_type = kProtobufWatch;
  if (started.ok()) {
    w->watch_ = std::move(*started);
  } else {
    w->error_ = status::expired(started.error().message);
  }
  res.watch = std::move(w);
  co_return res;
}

}  // namespace caravel::apiserver
