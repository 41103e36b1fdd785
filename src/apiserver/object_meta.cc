#include "apiserver/object_meta.h"

#include <utility>

#include <algorithm>

#include "base/strings.h"
#include "kube/validation.h"

namespace caravel::apiserver {

namespace {

void dump_member(std::string_view key, const json::Value& v, std::string& out) {
  if (out.back() != '{') out.push_back(',');
  json::quote_to(key, out);
  out.push_back(':');
  json::dump_to(v, out);
}

constexpr std::string_view kMetaFirst[] = {"name", "generateName", "namespace", "selfLink", "uid"};

bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

std::string encode_object(const json::Value& object, size_t* stamp_at) {
  // What is returned is kept, often thousands of times: it has room for the stamp and no more.
  constexpr size_t kStampMax = 20;
  thread_local std::string out;
  out = "{";
  for (std::string_view key : {"kind", "apiVersion"})
    if (auto* v = object.find(key)) dump_member(key, *v, out);
  if (out.back() != '{') out.push_back(',');
  out += "\"metadata\":{";
  const json::Value& meta = object["metadata"];
  for (std::string_view key : kMetaFirst)
    if (auto* v = meta.find(key)) {
      if (v->is_string() && v->as_string().empty()) continue;
      dump_member(key, *v, out);
    }
  if (out.back() != '{') out.push_back(',');
  out += "\"resourceVersion\":\"";
  *stamp_at = out.size();
  out.push_back('"');
  for (auto& m : meta.as_object()) {
    if (m.key == "resourceVersion" || std::find(std::begin(kMetaFirst), std::end(kMetaFirst), m.key) != std::end(kMetaFirst)) continue;
    dump_member(m.key, m.value, out);
  }
  out.push_back('}');
  for (auto& m : object.as_object()) {
    if (m.key == "kind" || m.key == "apiVersion" || m.key == "metadata") continue;
    out.push_back(',');
    json::quote_to(m.key, out);
    out.push_back(':');
    json::dump_to(m.value, out);
  }
  out.push_back('}');
  std::string exact;
  exact.reserve(out.size() + kStampMax);
  exact = out;
  return exact;
}

std::string new_uid(Executor& ex) {
  uint64_t a = ex.random_u64(), b = ex.random_u64();
  a = (a & ~0xf000ull) | 0x4000;
  b = (b & ~(3ull << 62)) | (2ull << 62);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out(36, '-');
  size_t at = 0;
  for (int digit = 0; digit < 32; ++digit) {
    if (digit == 8 || digit == 12 || digit == 16 || digit == 20) ++at;
    out[at++] = kHex[(digit < 16 ? a : b) >> (60 - digit % 16 * 4) & 15];
  }
  return out;
}

std::string random_suffix(Executor& ex, int n) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string s;
  for (int i = 0; i < n; ++i) s.push_back(kAlphabet[ex.random_below(kAlphabet.size())]);
  return s;
}

const std::string& meta_string(const json::Value& object, std::string_view field) { return object["metadata"][field].as_string(); }

std::string check_dns_label(std::string_view name) {
  if (name.size() > 63) return "must be no more than 63 characters";
  bool good = !name.empty() && lower_alnum(name.front()) && lower_alnum(name.back()) &&
              std::all_of(name.begin(), name.end(), [](char c) { return lower_alnum(c) || c == '-'; });
  if (good) return "";
  return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. "
         "'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

std::string check_dns_subdomain(std::string_view name) {
  if (name.size() > 253) return "must be no more than 253 characters";
  bool good = !name.empty();
  for (auto& label : split(name, '.'))
    good = good && !label.empty() && lower_alnum(label.front()) && lower_alnum(label.back()) &&
           std::all_of(label.begin(), label.end(), [](char c) { return lower_alnum(c) || c == '-'; });
  if (good) return "";
  return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
         "(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

std::string check_path_segment(std::string_view name) {
  if (name == "." || name == "..") return "may not be '" + std::string(name) + "'";
  for (char c : {'/', '%'})
    if (name.find(c) != name.npos) return std::string("may not contain '") + c + "'";
  return "";
}

void validate_object_meta(const json::Value& object, bool namespaced, std::vector<Cause>& causes) {
  const json::Value& meta = object["metadata"];
  const std::string& ns = meta["namespace"].as_string();
  if (namespaced && ns.empty()) causes.push_back({"metadata.namespace", "FieldValueRequired", "Required value"});
  if (!namespaced && !ns.empty()) causes.push_back({"metadata.namespace", "FieldValueForbidden", "Forbidden: not allowed on this type"});
  auto faults_of = [&](const char* field, const std::string& value, const std::string& faults) {
    if (faults.empty()) return;
    for (auto& fault : split(faults, '\n')) causes.push_back({field, "FieldValueInvalid", "Invalid value: " + json::quote(value) + ": " + fault});
  };
  for (auto& l : meta["labels"].as_object()) {
    faults_of("metadata.labels", l.key, kube::check_qualified_name(l.key));
    faults_of("metadata.labels", l.value.as_string(), kube::check_label_value(l.value.as_string()));
  }
  size_t total = 0;
  for (auto& a : meta["annotations"].as_object()) {
    faults_of("metadata.annotations", a.key, kube::check_qualified_name(to_lower(a.key)));
    total += a.key.size() + a.value.as_string().size();
  }
  if (total > 256 * 1024) causes.push_back({"metadata.annotations", "FieldValueTooLong", "Too long: may not be more than 262144 bytes"});
  for (size_t i = 0; i < meta["finalizers"].size(); ++i) {
    const std::string& f = meta["finalizers"].at(i).as_string();
    faults_of("metadata.finalizers", f, kube::check_qualified_name(f));
  }
  int controllers = 0;
  for (size_t i = 0; i < meta["ownerReferences"].size(); ++i) {
    const json::Value& o = meta["ownerReferences"].at(i);
    std::string path = "metadata.ownerReferences[" + std::to_string(i) + "]";
    for (std::string_view f : {"apiVersion", "kind", "name", "uid"})
      if (o[f].as_string().empty())
        causes.push_back({path + "." + std::string(f), "FieldValueInvalid", "Invalid value: \"\": must not be empty"});
    if (o["controller"].as_bool() && ++controllers == 2)
      causes.push_back({"metadata.ownerReferences", "FieldValueInvalid",
                        "Invalid value: Only one reference can have Controller set to true. Found \"true\" in references for " +
                            meta["ownerReferences"].at(i - 1)["kind"].as_string() + " and " + o["kind"].as_string()});
  }
}

void validate_object_meta_update(const json::Value& object, const json::Value& old, std::vector<Cause>& causes) {
  const json::Value& m = object["metadata"];
  const json::Value& o = old["metadata"];
  for (std::string_view f : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    if (m[f] == o[f]) continue;
    std::string shown = m[f].is_null() ? "null" : json::dump(m[f]);
    causes.push_back({"metadata." + std::string(f), "FieldValueInvalid", "Invalid value: " + shown + ": field is immutable"});
  }
  if (!o["deletionTimestamp"].is_null())
    for (auto& f : m["finalizers"].as_array())
      if (!has_finalizer(old, f.as_string()))
        causes.push_back({"metadata.finalizers", "FieldValueForbidden",
                          "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{" + json::quote(f.as_string()) + "}"});
}

namespace {
bool same_managed_fields(const json::Value& a, const json::Value& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    for (std::string_view f : {"manager", "operation", "apiVersion", "fieldsType", "fieldsV1", "subresource"})
      if (!(a.at(i)[f] == b.at(i)[f])) return false;
  return true;
}
bool same_except(const json::Value& a, const json::Value& b, std::initializer_list<std::string_view> skip) {
  auto skipped = [&](const std::string& k) { return std::find(skip.begin(), skip.end(), k) != skip.end(); };
  size_t na = 0, nb = 0;
  for (auto& m : a.as_object()) {
    if (skipped(m.key) || m.value.is_null()) continue;
    ++na;
    auto* o = b.find(m.key);
    if (!o || !(*o == m.value)) return false;
  }
  for (auto& m : b.as_object()) nb += !skipped(m.key) && !m.value.is_null();
  return na == nb;
}
}  // namespace

bool same_object(const json::Value& a, const json::Value& b) {
  return same_except(a["metadata"], b["metadata"], {"resourceVersion", "managedFields"}) && same_except(a, b, {"metadata"}) &&
         same_managed_fields(a["metadata"]["managedFields"], b["metadata"]["managedFields"]);
}

bool same_spec(const json::Value& a, const json::Value& b) { return same_except(a, b, {"metadata", "status", "apiVersion", "kind"}); }

bool has_finalizer(const json::Value& object, std::string_view name) {
  for (auto& f : object["metadata"]["finalizers"].as_array())
    if (f.as_string() == name) return true;
  return false;
}
void add_finalizer(json::Value& object, std::string_view name) {
  if (!has_finalizer(object, name)) object["metadata"]["finalizers"].push_back(name);
}
void remove_finalizer(json::Value& object, std::string_view name) {
  json::Value* f = object["metadata"].find("finalizers");
  if (!f || !f->is_array()) return;
  std::erase_if(f->arr(), [&](const json::Value& v) { return v.as_string() == name; });
  if (f->arr().empty()) object["metadata"].erase("finalizers");
}

void unique_owners(json::Value& object, bool after_admission, std::vector<std::string>& warnings) {
  const json::Value& refs = std::as_const(object)["metadata"]["ownerReferences"];
  if (refs.size() < 2) return;
  json::Array kept;
  std::string again;
  for (const json::Value& ref : refs.as_array()) {
    if (std::find(kept.begin(), kept.end(), ref) == kept.end()) kept.push_back(ref);
    else again += (again.empty() ? "" : ", ") + ref["uid"].as_string();
  }
  if (again.empty()) return;
  warnings.push_back(std::string(".metadata.ownerReferences contains duplicate entries") + (after_admission ? " after mutating admission happens" : "") +
                     "; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: " + again);
  object["metadata"]["ownerReferences"] = std::move(kept);
}

}  // namespace caravel::apiserver
