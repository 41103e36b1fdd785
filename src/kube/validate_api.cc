// Events of both groups and certificate requests.
#include "base/strings.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {
constexpr size_t kActionMax = 128, kReasonMax = 128, kInstanceMax = 128, kNoteMax = 1024;
constexpr int64_t kShortestCertificate = 600;
constexpr std::string_view kPemRequest = "-----BEGIN CERTIFICATE REQUEST-----";

void text(const json::Value& v, const FieldPath& p, size_t max, FieldErrors& e) {
  if (v.as_string().empty()) e.push_back(required_error(p));
  else if (v.as_string().size() > max) e.push_back(invalid_error(p, v, "can have at most " + std::to_string(max) + " characters"));
}
}  // namespace

// The core group takes what old clients send; events.k8s.io is strict about those who name their time.
void event(std::string_view group, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const std::string member = group.empty() ? "involvedObject" : "regarding";
  const std::string& ns = o["metadata"]["namespace"].as_string();
  const std::string& about = o[member]["namespace"].as_string();
  // An object without a namespace is written about in "default" (or, by old clients, kube-system).
  bool fits = about.empty() ? ns == "default" || ns == "kube-system" || ns.empty() : about == ns;
  if (!fits) e.push_back(invalid_error(FieldPath(member).child("namespace"), about, "does not match event.namespace"));
  if (group.empty() || old) return;
  if (o["eventTime"].is_null() || o["eventTime"].as_string().empty()) e.push_back(required_error(FieldPath("eventTime")));
  const std::string& controller = o["reportingController"].as_string();
  if (controller.empty()) e.push_back(required_error(FieldPath("reportingController")));
  else text_must(check_qualified_name, controller, FieldPath("reportingController"), e);
  text(o["reportingInstance"], FieldPath("reportingInstance"), kInstanceMax, e);
  text(o["action"], FieldPath("action"), kActionMax, e);
  text(o["reason"], FieldPath("reason"), kReasonMax, e);
  if (o["note"].as_string().size() > kNoteMax) e.push_back(invalid_error(FieldPath("note"), o["note"], "can have at most 1024 characters"));
  const std::string& type = o["type"].as_string();
  if (type != "Normal" && type != "Warning") e.push_back(invalid_error(FieldPath("type"), o["type"].is_null() ? json::Value("") : o["type"], "has invalid value: " + type));
}

void certificate_request(const json::Value& o, const json::Value* old, FieldErrors& e) {
  if (old) return;
  const FieldPath spec("spec");
  const json::Value& s = o["spec"];
  auto pem = base64_decode(s["request"].as_string());
  if (!pem || pem->find(kPemRequest) == std::string::npos) e.push_back(invalid_error(spec.child("request"), s["request"], "PEM block type must be CERTIFICATE REQUEST"));
  if (s["usages"].size() == 0) e.push_back(required_error(spec.child("usages"), "usages must contain at least one usage"));
  const std::string& signer = s["signerName"].as_string();
  if (signer.empty()) {
    e.push_back(required_error(spec.child("signerName")));
  } else {
    size_t slash = signer.find('/');
    if (slash == signer.npos || slash + 1 == signer.size())
      e.push_back(invalid_error(spec.child("signerName"), signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'"));
    else each_fault(check_dns1123_subdomain(signer.substr(0, slash)), signer, spec.child("signerName"), e);
  }
  if (const json::Value& seconds = s["expirationSeconds"]; seconds.is_int() && seconds.as_int() < kShortestCertificate)
    e.push_back(invalid_error(spec.child("expirationSeconds"), seconds, "may not specify a duration less than 600 seconds (10 minutes)"));
}

}  // namespace caravel::kube::check
