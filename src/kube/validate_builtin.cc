#include <algorithm>

#include "base/strings.h"
#include "kube/selectors.h"
#include "kube/validate_kinds.h"

namespace caravel::kube {

namespace check {

void one_of(const json::Value& v, Words allowed, const FieldPath& p, FieldErrors& e, bool required) {
  const std::string& s = v.as_string();
  if (s.empty()) {
    if (required) e.push_back(required_error(p));
    return;
  }
  if (std::find(allowed.begin(), allowed.end(), s) != allowed.end()) return;
  std::vector<std::string> sorted(allowed.begin(), allowed.end());
  std::sort(sorted.begin(), sorted.end());
  e.push_back(not_supported(p, v, sorted));
}

void supported(const json::Value& v, Words allowed, const FieldPath& p, FieldErrors& e) {
  const std::string& s = v.as_string();
  if (std::find(allowed.begin(), allowed.end(), s) == allowed.end()) e.push_back(not_supported(p, s, allowed));
}

bool text_must(NameCheck check, std::string_view s, const FieldPath& p, FieldErrors& e) {
  const std::string faults = check(s);
  if (!faults.empty()) each_fault(faults, s, p, e);
  return faults.empty();
}

void each_fault(const std::string& faults, const json::Value& value, const FieldPath& p, FieldErrors& e) {
  if (faults.empty()) return;
  for (auto& fault : split(faults, '\n')) e.push_back(invalid_error(p, value, fault));
}

void must_have(const json::Value& v, Words members, const FieldPath& p, FieldErrors& e) {
  for (auto m : members) {
    const json::Value& x = v[m];
    if (x.is_string() ? x.as_string().empty() : x.size() == 0) e.push_back(required_error(p.child(m)));
  }
}

void non_negative(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  if (v.is_number() && v.as_int() < 0) e.push_back(invalid_error(p, v, "must be greater than or equal to 0"));
}

bool same(const json::Value& a, const json::Value& b) {
  if (a.is_object() && b.is_object()) {
    for (auto& m : a.as_object())
      if (!same(m.value, b[m.key])) return false;
    for (auto& m : b.as_object())
      if (!m.value.is_null() && !a.find(m.key)) return false;
    return true;
  }
  if (a.is_array() && b.is_array()) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i)
      if (!same(a.at(i), b.at(i))) return false;
    return true;
  }
  return a == b;
}

void immutable(const json::Value& now, const json::Value& old, const FieldPath& p, FieldErrors& e) {
  if (!same(now, old)) e.push_back(invalid_error(p, now, "field is immutable"));
}

void port_number(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  if (v.as_int() < 1 || v.as_int() > 65535) e.push_back(invalid_error(p, v, "must be between 1 and 65535, inclusive"));
}

void int_or_percent(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  if (v.is_null()) return;
  if (v.is_number()) {
    non_negative(v, p, e);
    return;
  }
  const std::string& s = v.as_string();
  bool good = s.size() > 1 && s.back() == '%' && std::all_of(s.begin(), s.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
  if (!good) e.push_back(invalid_error(p, v, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"));
}

void at_most_all(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  const std::string& s = v.as_string();
  if (s.size() < 2 || s.back() != '%' || !std::all_of(s.begin(), s.end() - 1, [](char c) { return c >= '0' && c <= '9'; })) return;
  const size_t first = s.find_first_not_of('0');
  const size_t digits = s.size() - 1 - std::min(first, s.size() - 1);
  if (digits > 3 || (digits == 3 && s.compare(first, 3, "100") > 0)) e.push_back(invalid_error(p, v, "must not be greater than 100%"));
}

void domain_prefixed_path(const std::string& name, const FieldPath& p, FieldErrors& e) {
  const size_t slash = name.find('/');
  if (name.empty()) return e.push_back(required_error(p));
  if (slash == std::string::npos || slash == 0 || slash + 1 == name.size()) return e.push_back(invalid_error(p, name, "must be a domain-prefixed path (such as \"acme.io/foo\")"));
  text_must(check_dns1123_subdomain, name.substr(0, slash), p, e);
  const std::string path = name.substr(slash + 1);
  const bool good = std::all_of(path.begin(), path.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("/-._~%!$&'()*+,;=:").find(c) != std::string_view::npos;
  });
  if (!good) e.push_back(invalid_error(p, path, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"));
}

bool selects(const json::Value& selector, const json::Value& labels) {
  auto s = LabelSelector::from_json(selector);
  return s.ok() && s->matches(labels);
}

}  // namespace check

namespace {

// A name without a domain is one of the server's own. Groups that are upstream's libraries do not look.
void standard_finalizers(const json::Value& list, std::string_view group, const FieldPath& p, FieldErrors& e) {
  if (group == "apiextensions.k8s.io" || group == "apiregistration.k8s.io" || group == "admissionregistration.k8s.io") return;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& f = list.at(i).as_string();
    if (f.find('/') == f.npos && f != "kubernetes" && f != "orphan" && f != "foregroundDeletion")
      e.push_back(invalid_error(p.index(i), f, "name is neither a standard finalizer name nor is it fully qualified"));
  }
}

FieldErrors judge(const KindInfo& kind, const json::Value& o, const json::Value* old, std::string_view subresource) {
  FieldErrors e;
  const Resource& r = kind.resource();
  FieldPath meta("metadata");
  NameCheck check_name = name_check(r.group, r.kind);
  if (check_name) {
    validate_object_meta(o["metadata"], r.namespaced, old ? nullptr : check_name, meta, e);
    if (!old) standard_finalizers(o["metadata"]["finalizers"], r.group, meta.child("finalizers"), e);
    if (old) validate_object_meta_update(o["metadata"], (*old)["metadata"], meta, e);
  }
  if (!subresource.empty()) return e;
  if (r.group.empty() && r.kind == "Pod") {
    check::pod(o, old, e);
  } else if (r.group == "apps" || (r.group.empty() && r.kind == "ReplicationController")) {
    check::workload(r.kind, o, old, e);
  } else if (r.group == "batch") {
    check::batch(r.kind, o, old, e);
  } else if (r.group == "networking.k8s.io" || r.kind == "Service") {
    check::network(r.kind, o, old, e);
  } else if (r.group == "storage.k8s.io" || r.kind == "PersistentVolume" || r.kind == "PersistentVolumeClaim") {
    check::storage(r.kind, o, old, e);
  } else if (r.group == "policy" || r.group == "autoscaling" || r.group == "rbac.authorization.k8s.io" || r.group == "scheduling.k8s.io") {
    check::policy(r.kind, o, old, e);
  } else if (r.group == "node.k8s.io" && r.kind == "RuntimeClass") {
    if (o["handler"].as_string().empty()) e.push_back(required_error(FieldPath("handler")));
    else check::text_must(check_dns1123_label, o["handler"], FieldPath("handler"), e);
    if (old) check::immutable(o["handler"], (*old)["handler"], FieldPath("handler"), e);
  } else if (r.kind == "Event") {
    check::event(r.group, o, old, e);
  } else if (r.group == "certificates.k8s.io" && r.kind == "CertificateSigningRequest") {
    check::certificate_request(o, old, e);
  } else if (r.group == "apiextensions.k8s.io") {
    check::crd(o, old, e);
  } else if (r.group == "admissionregistration.k8s.io") {
    check::admission(r.kind, o, old, e);
  } else if (r.group == "flowcontrol.apiserver.k8s.io" || r.group == "coordination.k8s.io" || r.group == "apiregistration.k8s.io") {
    check::control(r.kind, o, old, e);
  } else if (r.kind == "LimitRange" || r.kind == "ResourceQuota") {
    check::control(r.kind, o, old, e);
  } else if (r.kind == "EndpointSlice") {
    check::endpoint_slice(o, old, e);
  } else if (r.kind == "Endpoints") {
    check::endpoints(o, e);
  } else if (r.group == "resource.k8s.io") {
    check::dynamic_resource(r.kind, o, old, e);
  } else if (r.group.empty()) {
    check::cluster(r.kind, o, old, e);
  }
  return e;
}

}  // namespace

FieldErrors validate_builtin(const KindInfo& kind, const json::Value& o, const json::Value* old, std::string_view subresource) {
  FieldErrors e = judge(kind, o, old, subresource);
  if (!old || e.empty()) return e;
  // What was stored when there were fewer rules may keep its faults: a pod must still get its node, a deployment scale.
  const FieldErrors before = judge(kind, *old, nullptr, subresource);
  std::erase_if(e, [&](const FieldError& now) {
    return std::any_of(before.begin(), before.end(), [&](const FieldError& was) { return was.field == now.field && was.message == now.message; });
  });
  return e;
}

}  // namespace caravel::kube
