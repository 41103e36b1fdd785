// Volumes whose files come from the API: items of secrets and config maps, the downward API, projections.
#include <set>

#include "base/strings.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr int64_t kTokenSecondsMin = 600, kTokenSecondsMax = int64_t{1} << 32;
constexpr int64_t kCertificateSecondsMin = 3600, kCertificateSecondsMax = 7862400, kOwnSignersSecondsMax = 86400;

void downward_file(const Value& f, const FieldPath& p, FieldErrors& e) {
  const std::string& path = f["path"].as_string();
  if (path.empty()) e.push_back(required_error(p.child("path")));
  unreserved_path(path, p.child("path"), e);
  const Value &field = f["fieldRef"], &resource = f["resourceFieldRef"];
  if (field.is_object()) {
    field_ref(field, true, p.child("fieldRef"), e);
    if (resource.is_object()) e.push_back(invalid_error(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"));
  } else if (resource.is_object()) {
    resource_field_ref(resource, true, p.child("resourceFieldRef"), e);
  } else {
    e.push_back(required_error(p, "one of fieldRef and resourceFieldRef is required"));
  }
  file_mode(f["mode"], p.child("mode"), e);
}

void volume_item(const Value& item, const FieldPath& p, FieldErrors& e) {
  must_have(item, {"key", "path"}, p, e);
  unreserved_path(item["path"].as_string(), p.child("path"), e);
  file_mode(item["mode"], p.child("mode"), e);
}

// The paths that projections have taken so far.
struct Taken {
  std::set<std::string> paths;
  const FieldPath& volume;
  FieldErrors& e;

  // `show` is upstream's idea of the bad value.
  void take(const std::string& path, const Value& show) {
    if (!path.empty() && !paths.insert(path).second) e.push_back(invalid_error(volume, show, "conflicting duplicate paths"));
  }
};

void projected_items(const Value& source, const FieldPath& p, Taken& taken, FieldErrors& e) {
  must_have(source, {"name"}, p, e);
  const Value& items = source["items"];
  for (size_t i = 0; i < items.size(); ++i) {
    volume_item(items.at(i), p.child("items").index(i), e);
    taken.take(items.at(i)["path"].as_string(), source["name"].as_string());
  }
}

void projected_token(const Value& token, const FieldPath& p, const FieldPath& volume, FieldErrors& e) {
  if (const Value& s = token["expirationSeconds"]; s.is_int()) {
    if (s.as_int() < kTokenSecondsMin) e.push_back(invalid_error(p.child("expirationSeconds"), s, "may not specify a duration less than 10 minutes"));
    if (s.as_int() > kTokenSecondsMax) e.push_back(invalid_error(p.child("expirationSeconds"), s, "may not specify a duration larger than 2^32 seconds"));
  }
  const std::string& path = token["path"].as_string();
  if (path.empty()) e.push_back(required_error(volume.child("path")));
  else unreserved_path(path, volume.child("path"), e);
}

void signer_name(const Value& name, const FieldPath& p, FieldErrors& e) {
  const std::string& s = name.as_string();
  if (s.empty()) return e.push_back(required_error(p));
  const auto parts = split(s, '/');
  if (parts.size() != 2) return e.push_back(invalid_error(p, s, "must be a fully qualified domain and path of the form 'example.com/signer-name'"));
  const auto labels = split(parts[0], '.');
  for (auto& label : labels)
    if (std::string why = check_dns1123_label(label); !why.empty()) {
      e.push_back(invalid_error(p, parts[0], "validating label " + json::quote(label) + ": " + why));
      break;
    }
  if (labels.size() < 2) e.push_back(invalid_error(p, parts[0], "should be a domain with at least two segments separated by dots"));
  for (auto& part : split(parts[1], '.'))
    if (std::string why = check_dns1123_subdomain(part); !why.empty()) {
      e.push_back(invalid_error(p, parts[1], "validating label " + json::quote(part) + ": " + why));
      break;
    }
}

void trust_bundle(const Value& b, const FieldPath& p, Taken& taken, FieldErrors& e) {
  const bool named = b["name"].is_string(), signed_by = b["signerName"].is_string();
  if (named && signed_by) {
    e.push_back(invalid_error(p, b, "only one of name and signerName may be used"));
  } else if (named) {
    const std::string& name = b["name"].as_string();
    if (name.empty()) e.push_back(required_error(p.child("name"), "must be a valid object name"));
    std::string last = name.substr(name.rfind(':') == name.npos ? 0 : name.rfind(':') + 1);
    if (std::string why = check_dns1123_subdomain(last); !why.empty()) e.push_back(invalid_error(p.child("name"), name, "not a valid clustertrustbundlename: " + why));
    if (b["labelSelector"].is_object()) e.push_back(invalid_error(p.child("labelSelector"), b["labelSelector"], "labelSelector must be unset if name is specified"));
  } else if (signed_by) {
    if (b["signerName"].as_string().empty()) e.push_back(required_error(p.child("signerName"), "must be a valid signer name"));
    signer_name(b["signerName"], p.child("signerName"), e);
    validate_label_selector(b["labelSelector"], p.child("labelSelector"), e);
  } else {
    e.push_back(required_error(p, "either name or signerName must be specified"));
  }
  must_have(b, {"path"}, p, e);
  unreserved_path(b["path"].as_string(), p.child("path"), e);
  taken.take(b["path"].as_string(), b["path"]);
}

void pod_certificate(const Value& c, const FieldPath& p, Taken& taken, FieldErrors& e) {
  signer_name(c["signerName"], p.child("signerName"), e);
  supported(c["keyType"], {"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"}, p.child("keyType"), e);
  if (const Value& s = c["maxExpirationSeconds"]; s.is_int()) {
    const std::string& signer = c["signerName"].as_string();
    const std::string domain = "." + signer.substr(0, signer.find('/'));
    const int64_t max = domain.ends_with(".kubernetes.io") ? kOwnSignersSecondsMax : kCertificateSecondsMax;
    if (s.as_int() < kCertificateSecondsMin) e.push_back(invalid_error(p.child("maxExpirationSeconds"), s, "if provided, maxExpirationSeconds must be >= 3600"));
    if (s.as_int() > max) e.push_back(invalid_error(p.child("maxExpirationSeconds"), s, "if provided, maxExpirationSeconds must be <= " + std::to_string(max)));
  }
  int paths = 0;
  for (std::string_view member : {"credentialBundlePath", "keyPath", "certificateChainPath"}) {
    const std::string& path = c[member].as_string();
    if (path.empty()) continue;
    ++paths;
    unreserved_path(path, p.child(member), e);
    taken.take(path, path);
  }
  if (paths == 0) e.push_back(required_error(p, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"));
}

}  // namespace

void volume_items(const Value& items, const FieldPath& p, FieldErrors& e) {
  for (size_t i = 0; i < items.size(); ++i) volume_item(items.at(i), p.index(i), e);
}

void downward_volume(const Value& source, const FieldPath& p, FieldErrors& e) {
  file_mode(source["defaultMode"], p.child("defaultMode"), e);
  // Upstream's paths have no index here.
  for (const Value& file : source["items"].as_array()) downward_file(file, p, e);
}

void projected_volume(const Value& source, const PodParts&, const FieldPath& p, FieldErrors& e) {
  file_mode(source["defaultMode"], p.child("defaultMode"), e);
  Taken taken{{}, p, e};
  const auto& sources = source["sources"].as_array();
  for (size_t i = 0; i < sources.size(); ++i) {
    const Value& s = sources[i];
    const FieldPath at = p.child("sources").index(i);
    int kinds = 0;
    auto kind = [&](std::string_view member, auto check) {
      if (!s[member].is_object()) return;
      ++kinds;
      check(s[member], at.child(member));
    };
    kind("secret", [&](const Value& v, const FieldPath& q) { projected_items(v, q, taken, e); });
    kind("configMap", [&](const Value& v, const FieldPath& q) { projected_items(v, q, taken, e); });
    kind("downwardAPI", [&](const Value& v, const FieldPath& q) {
      for (const Value& file : v["items"].as_array()) {
        downward_file(file, q, e);
        taken.take(file["path"].as_string(), file["path"]);
      }
    });
    kind("serviceAccountToken", [&](const Value& v, const FieldPath& q) { projected_token(v, q, p, e); });
    kind("clusterTrustBundle", [&](const Value& v, const FieldPath& q) { trust_bundle(v, q, taken, e); });
    kind("podCertificate", [&](const Value& v, const FieldPath& q) { pod_certificate(v, q, taken, e); });
    if (kinds > 1) e.push_back(forbidden_error(at, "may not specify more than 1 volume type per source"));
  }
}

}  // namespace caravel::kube::check
