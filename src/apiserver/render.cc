// Which form the caller wants, and objects in that form.
#include "apiserver/protobuf_watch.h"
#include "apiserver/rest.h"
#include "base/strings.h"
#include "base/yaml.h"
#include "kube/wire.h"

namespace caravel::apiserver {

namespace {

using kube::wire::put_bytes;

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";
constexpr size_t kLong = 256u << 10;  // a list from here on may go out in parts

Error not_acceptable(bool protobuf) {
  if (!protobuf) return status::not_acceptable("only the following media types are accepted: application/json, application/yaml");
  return status::not_acceptable(
      "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

}  // namespace

std::string protobuf_envelope(std::string_view api_version, std::string_view kind, std::string_view raw) {
  std::string unknown, meta, whole("k8s\0", 4);
  put_bytes(meta, 1, api_version);
  put_bytes(meta, 2, kind);
  put_bytes(unknown, 1, meta);
  put_bytes(unknown, 2, raw);
  return whole + unknown;
}

static Result<Output> choose(const Request& r, bool protobuf) {
  Output out;
  if (auto* i = r.param("includeObject")) out.include_object = *i;
  if (r.accept.empty() || r.accept == "application/json" || r.accept == "*/*") return out;
  bool offered = false;
  for (auto& part : split(r.accept, ',')) {
    auto fields = split(part, ';');
    std::string_view type = trim(fields[0]);
    Output o = out;
    if (type == "application/json" || type == "*/*" || type == "application/*") o.format = Output::kJson;
    else if (type == "application/yaml") o.format = Output::kYaml;
    else if (type == kProtobuf) o.format = Output::kProtobuf;
    else continue;
    offered = true;
    std::string as, version, group;
    for (size_t i = 1; i < fields.size(); ++i) {
      std::string_view f = trim(fields[i]);
      if (f.substr(0, 3) == "as=") as = f.substr(3);
      if (f.substr(0, 2) == "v=") version = f.substr(2);
      if (f.substr(0, 2) == "g=") group = f.substr(2);
    }
    if (!as.empty()) {
      if (group != "meta.k8s.io" || (version != "v1" && version != "v1beta1")) continue;
      if (version == "v1beta1") o.meta_version = "meta.k8s.io/v1beta1";
      if (as == "Table") o.as = Output::kTable;
      else if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") o.as = Output::kPartial;
      else continue;
      if (o.format == Output::kProtobuf && o.as == Output::kTable) continue;  // its cells are of no one type
    } else if (o.format == Output::kProtobuf && !protobuf) {
      continue;
    }
    return o;
  }
  if (!offered)
    return status::make(406, "NotAcceptable", std::string("406: Not Acceptable\n\nAvailable representations: application/json, application/yaml") + (protobuf ? ", application/vnd.kubernetes.protobuf" : ""), json::Value::object());
  return not_acceptable(protobuf);
}

Result<Output> negotiate(const Request& r, const ServedType& t) { return choose(r, !t.custom); }
Result<Output> negotiate(const Request& r) { return choose(r, true); }

ValuePtr served_value(const ServedType& t, const Object& o) {
  ValuePtr v = o.value();
  if (!t.from_storage) return v;
  auto copy = std::make_shared<json::Value>(*v);
  if (Status s = t.from_storage(*copy); !s.ok()) return v;
  return copy;
}

Bytes served_bytes(const ServedType& t, const Object& o) {
  if (!t.from_storage) return o.bytes;
  return std::make_shared<const std::string>(json::dump(*served_value(t, o)));
}

json::Value partial_metadata(const json::Value& object, const char* meta_version) {
  json::Value p = json::Value::object();
  p["kind"] = "PartialObjectMetadata";
  p["apiVersion"] = meta_version;
  p["metadata"] = object["metadata"];
  return p;
}

std::string yaml_text(const std::string& json) {
  auto v = json::parse(json);
  return v.ok() ? yaml::dump(*v) : json;
}

Bytes table_bytes(const ServedType& t, const Output& out, const std::vector<ValuePtr>& objects, const std::string& revision, const std::string& continue_token,
                  int64_t remaining, Time now, bool with_columns) {
  json::Value made = t.model->table(objects, now);
  json::Value table = json::Value::object();
  table["kind"] = "Table";
  table["apiVersion"] = out.meta_version;
  json::Value meta = json::Value::object();
  if (!revision.empty()) meta["resourceVersion"] = revision;
  if (!continue_token.empty()) meta["continue"] = continue_token;
  if (remaining > 0) meta["remainingItemCount"] = remaining;
  table["metadata"] = std::move(meta);
  table["columnDefinitions"] = with_columns ? std::move(made["columnDefinitions"]) : json::Value();
  json::Array rows = made["rows"].as_array();
  for (size_t i = 0; i < rows.size() && i < objects.size(); ++i) {
    if (out.include_object == "None") continue;
    rows[i]["object"] = out.include_object == "Object" ? *objects[i] : partial_metadata(*objects[i], out.meta_version);
  }
  table["rows"] = json::Value(std::move(rows));
  return std::make_shared<const std::string>(json::dump(table) + "\n");
}

Response Rest::render(const ServedType& t, const Output& out, int status, const Stored& s) const {
  Response r;
  r.status = status;
  if (out.as == Output::kFull && out.format == Output::kJson) {
    r.body = s.bytes;
    r.value = s.value;
    return r;
  }
  if (out.as == Output::kTable) {
    r.body = table_bytes(t, out, {s.value}, s.value->path({"metadata", "resourceVersion"}).as_string(), "", 0, core_->ex.now());
  } else if (out.format == Output::kProtobuf) {
    auto bytes = object_protobuf(t, out, *s.value);
    if (!bytes.ok()) return error_response(bytes.error());
    r.body = std::make_shared<const std::string>(std::move(*bytes));
    r.content_type = kProtobuf;
  } else if (out.as == Output::kPartial) {
    r.body = std::make_shared<const std::string>(json::dump(partial_metadata(*s.value, out.meta_version)));
  } else {
    r.body = s.bytes;
  }
  if (out.format == Output::kYaml) {
    r.body = std::make_shared<const std::string>(yaml_text(*r.body));
    r.content_type = "application/yaml";
  }
  return r;
}

size_t BodyParts::size() const {
  size_t n = head.size() + tail.size() + (items.empty() ? 0 : items.size() - 1);
  for (auto& i : items) n += i->size() - (shortened(*i) ? without.size() : 0);
  return n;
}

bool BodyParts::append(std::string& out, size_t& next, size_t enough) const {
  if (next == 0) out += head;
  while (next < items.size() && out.size() < enough) {
    if (next > 0) out.push_back(',');
    const std::string& item = *items[next++];
    if (shortened(item)) {
      out.push_back('{');
      out.append(item, 1 + without.size());
    } else {
      out += item;
    }
  }
  if (next < items.size()) return false;
  out += tail;
  return true;
}

Response Rest::list_document(const ServedType& t, const WatchCache::ListPage& page, int64_t revision, const std::string& continue_token) const {
  json::Array items;
  items.reserve(page.items.size());
  for (auto& o : page.items) items.push_back(*served_value(t, *o));
  json::Object meta;
  meta.append("resourceVersion", revision ? std::to_string(revision) : std::string());
  if (!continue_token.empty()) meta.append("continue", continue_token);
  if (!continue_token.empty() && page.remaining) meta.append("remainingItemCount", static_cast<int64_t>(page.remaining));
  json::Object list;
  list.reserve(4);
  list.append("kind", t.list_kind);
  list.append("apiVersion", t.resource.api_version());
  list.append("metadata", std::move(meta));
  list.append("items", std::move(items));
  Response r;
  r.value = json::share(std::move(list));
  return r;
}

Response Rest::render_list(const ServedType& t, const Output& out, const WatchCache::ListPage& page, int64_t revision, std::string continue_token, bool in_parts) const {
  Response r;
  if (out.as == Output::kTable) {
    std::vector<ValuePtr> values;
    values.reserve(page.items.size());
    for (auto& o : page.items) values.push_back(served_value(t, *o));
    r.body = table_bytes(t, out, values, revision ? std::to_string(revision) : "", continue_token, static_cast<int64_t>(page.remaining), core_->ex.now());
  } else if (out.format == Output::kProtobuf) {
    const bool partial = out.as == Output::kPartial;
    std::string meta, list;
    put_bytes(meta, 2, std::to_string(revision));
    if (!continue_token.empty()) put_bytes(meta, 3, continue_token);
    if (!continue_token.empty() && page.remaining) kube::wire::put_int(meta, 4, static_cast<int64_t>(page.remaining));
    put_bytes(list, 1, meta);
    for (auto& o : page.items) {
      auto b = partial ? partial_metadata_message(*o->value()) : t.model->to_protobuf(*served_value(t, *o));
      if (!b.ok()) return error_response(b.error());
      put_bytes(list, 2, *b);
    }
    r.body = std::make_shared<const std::string>(partial ? protobuf_envelope(out.meta_version, "PartialObjectMetadataList", list)
                                                         : protobuf_envelope(t.resource.api_version(), t.list_kind, list));
    r.content_type = kProtobuf;
    return r;
  } else {
    auto parts = std::make_shared<BodyParts>();
    parts->items.reserve(page.items.size());
    for (auto& o : page.items) {
      if (out.as == Output::kPartial) parts->items.push_back(std::make_shared<const std::string>(json::dump(partial_metadata(*o->value(), out.meta_version))));
      else parts->items.push_back(served_bytes(t, *o));
    }
    std::string& head = parts->head;
    if (out.as == Output::kPartial) head = "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"" + std::string(out.meta_version) + "\"";
    else head = "{\"kind\":\"" + t.list_kind + "\",\"apiVersion\":\"" + t.resource.api_version() + "\"";
    head += ",\"metadata\":{\"resourceVersion\":\"" + (revision ? std::to_string(revision) : "") + "\"";
    if (!continue_token.empty()) head += ",\"continue\":\"" + continue_token + "\"";
    if (!continue_token.empty() && page.remaining) head += ",\"remainingItemCount\":" + std::to_string(page.remaining);
    head += "},\"items\":[";
    parts->tail = "]}\n";
    if (out.as == Output::kFull && !t.custom) parts->without = "\"kind\":\"" + t.resource.kind + "\",\"apiVersion\":\"" + t.resource.api_version() + "\",";
    const size_t size = parts->size();
    if (in_parts && size >= kLong && out.format != Output::kYaml) {
      r.parts = std::move(parts);
      return r;
    }
    auto body = std::make_shared<std::string>();
    body->reserve(size);
    size_t next = 0;
    parts->append(*body, next, size);
    r.body = std::move(body);
  }
  if (out.format == Output::kYaml) {
    r.body = std::make_shared<const std::string>(yaml_text(*r.body));
    r.content_type = "application/yaml";
  }
  return r;
}

}  // namespace caravel::apiserver
