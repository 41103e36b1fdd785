// CSR approving: the client and serving certificates that node agents ask for are approved when the asker
// may have them. CSR signing: approved requests of the signers kubernetes.io/* get their certificate.
#include "kube/types/certificates.h"
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/housekeeping.h"
#include "kube/types/authorization.h"

namespace caravel::controllers {

using kube::certificates::CertificateSigningRequest;
using kube::certificates::CertificateSigningRequestCondition;

namespace {

constexpr const char* kClient = "kubernetes.io/kube-apiserver-client";
constexpr const char* kKubeletClient = "kubernetes.io/kube-apiserver-client-kubelet";
constexpr const char* kKubeletServing = "kubernetes.io/kubelet-serving";

const CertificateSigningRequestCondition* find(const CertificateSigningRequest& c, std::string_view type) {
  for (auto& x : c.status.conditions)
    if (x.type == type) return &x;
  return nullptr;
}
bool has(const std::vector<std::string>& list, std::string_view s) { return std::find(list.begin(), list.end(), s) != list.end(); }
bool only(const std::vector<std::string>& usages, std::initializer_list<std::string_view> allowed, std::string_view required) {
  for (auto& u : usages)
    if (std::find(allowed.begin(), allowed.end(), u) == allowed.end()) return false;
  return has(usages, required);
}
CertificateSigningRequestCondition make_condition(std::string type, std::string reason, std::string message, Time now) {
  CertificateSigningRequestCondition c;
  c.type = std::move(type);
  c.status = "True";
  c.reason = std::move(reason);
  c.message = std::move(message);
  c.last_update_time = c.last_transition_time = Time::from_seconds(now.seconds());
  return c;
}

// "" when the subject and usages are those of a node's certificate for this signer, else why not.
std::string objection(const CertificateSigningRequest& c, const Signer::Subject& s) {
  if (s.common_name.rfind("system:node:", 0) != 0 || s.organizations != std::vector<std::string>(1, "system:nodes"))
    return "the subject is not a node's (CN system:node:NAME, O system:nodes)";
  if (c.spec.signer_name == kKubeletClient) {
    if (!s.dns_names.empty() || !s.ip_addresses.empty()) return "a node's client certificate has no alternative names";
    if (!only(c.spec.usages, {"client auth", "digital signature", "key encipherment"}, "client auth")) return "the usages are not those of a client";
    return "";
  }
  if (s.dns_names.empty() && s.ip_addresses.empty()) return "a serving certificate needs a DNS name or an IP address";
  if (!only(c.spec.usages, {"server auth", "digital signature", "key encipherment"}, "server auth")) return "the usages are not those of a server";
  return "";
}

class Approver final : public Runner {
 public:
  explicit Approver(const Context& c)
      : ex_(c.ex), client_(c.client("certificate-controller")), signer_(c.options.signer), csrs_(c.informer<CertificateSigningRequest>()), queue_(c.ex, "csr-approving", [this](std::string key) { return sync(std::move(key)); }) {
    csrs_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(now->metadata.name);
    });
  }
  void start(TaskScope& scope) override {
    if (signer_) queue_.start(scope);
  }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    std::shared_ptr<const CertificateSigningRequest> c = csrs_.get("", name);
    if (!c || !c->status.certificate.empty() || find(*c, "Approved") || find(*c, "Denied")) co_return kube::Requeue::never();
    if (c->spec.signer_name != kKubeletClient && c->spec.signer_name != kKubeletServing) co_return kube::Requeue::never();
    Result<Signer::Subject> s = signer_->inspect(c->spec.request);
    if (!s.ok()) co_return kube::Requeue::never();  // the signer says so in a condition once approved by hand
    if (!objection(*c, *s).empty()) co_return kube::Requeue::never();
    const bool self = c->spec.username == s->common_name && has(c->spec.groups, "system:nodes");
    std::string message;
    if (c->spec.signer_name == kKubeletServing) {  // upstream leaves these to others; on EKS the platform approves a node's own
      if (self) message = "Auto approving self kubelet server certificate.";
    } else {
      if (self) {
        Result<bool> may = co_await may_ask(c, "selfnodeclient");
        if (!may.ok()) co_return std::move(may).error();
        if (*may) message = "Auto approving self kubelet client certificate after SubjectAccessReview.";
      }
      if (message.empty()) {
        Result<bool> may = co_await may_ask(c, "nodeclient");
        if (!may.ok()) co_return std::move(may).error();
        if (*may) message = "Auto approving kubelet client certificate after SubjectAccessReview.";
      }
    }
    if (message.empty()) co_return kube::Requeue::never();
    CertificateSigningRequest next = *c;
    next.status.conditions.push_back(make_condition("Approved", "AutoApproved", message, ex_.now()));
    kube::WriteOptions o;
    o.subresource = "approval";
    Result<CertificateSigningRequest> r = co_await client_.update<CertificateSigningRequest>(std::move(next), o);
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }

  // Whether the asker may have such a certificate is for the authorizer to say: create certificatesigningrequests/KIND.
  Task<Result<bool>> may_ask(std::shared_ptr<const CertificateSigningRequest> c, std::string kind) {
    kube::authorization::SubjectAccessReview review;
    review.spec.user = c->spec.username;
    review.spec.groups = c->spec.groups;
    review.spec.uid = c->spec.uid;
    review.spec.extra = c->spec.extra;
    review.spec.resource_attributes.emplace();
    review.spec.resource_attributes->verb = "create";
    review.spec.resource_attributes->group = "certificates.k8s.io";
    review.spec.resource_attributes->version = "*";
    review.spec.resource_attributes->resource = "certificatesigningrequests";
    review.spec.resource_attributes->subresource = std::move(kind);
    Result<kube::authorization::SubjectAccessReview> answer = co_await client_.create<kube::authorization::SubjectAccessReview>(std::move(review));
    if (!answer.ok()) co_return wrap(std::move(answer).error(), "asking whether " + c->spec.username + " may have a certificate");
    co_return answer->status.allowed;
  }

  Executor& ex_;
  kube::Client client_;
  Signer* signer_;
  kube::Informer<CertificateSigningRequest>& csrs_;
  kube::Controller queue_;
};

class CsrSigner final : public Runner {
 public:
  explicit CsrSigner(const Context& c)
      : ex_(c.ex), client_(c.client("certificate-controller")), signer_(c.options.signer), lifetime_(c.options.certificate_lifetime), csrs_(c.informer<CertificateSigningRequest>()), queue_(c.ex, "csr-signing", [this](std::string key) { return sync(std::move(key)); }) {
    csrs_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(now->metadata.name);
    });
  }
  void start(TaskScope& scope) override {
    if (signer_) queue_.start(scope);
  }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    std::shared_ptr<const CertificateSigningRequest> c = csrs_.get("", name);
    if (!c) co_return kube::Requeue::never();
    bool decided = !c->status.certificate.empty() || find(*c, "Denied") || find(*c, "Failed");
    const std::optional<Time> end = csr_end(*c);
    const Duration left = end ? *end - ex_.now() : Duration(1);
    auto later = [&] { return end ? kube::Requeue::in(left) : kube::Requeue::never(); };
    if (left <= Duration(0)) {
      Status s = co_await client_.remove<CertificateSigningRequest>("", name);
      if (!s.ok() && s.error().code != Code::kNotFound) co_return std::move(s).error();
      co_return kube::Requeue::never();
    }
    if (decided || !find(*c, "Approved")) co_return later();
    const std::string& signer = c->spec.signer_name;
    if (signer != kClient && signer != kKubeletClient && signer != kKubeletServing) co_return later();
    CertificateSigningRequest next = *c;
    std::string wrong;
    Result<Signer::Subject> subject = signer_->inspect(c->spec.request);
    if (!subject.ok()) wrong = subject.error().message;
    else if (signer != kClient) wrong = objection(*c, *subject);
    else if (!only(c->spec.usages, {"client auth", "digital signature", "key encipherment"}, "client auth")) wrong = "the usages are not those of a client";
    else if (has(subject->organizations, "system:masters")) wrong = "the group system:masters is not given by this signer";
    if (wrong.empty()) {
      Signer::Request q;
      q.csr_pem = c->spec.request;
      q.signer_name = signer;
      q.usages = c->spec.usages;
      q.lifetime = lifetime_;
      if (c->spec.expiration_seconds) q.lifetime = std::min<Duration>(q.lifetime, std::max<Duration>(600s, std::chrono::seconds(*c->spec.expiration_seconds)));
      Result<std::string> pem = signer_->sign(q);
      if (!pem.ok()) co_return std::move(pem).error();
      next.status.certificate = std::move(*pem);
    } else {
      next.status.conditions.push_back(make_condition("Failed", "SignerValidationFailure", wrong, ex_.now()));
    }
    Result<CertificateSigningRequest> r = co_await client_.update_status<CertificateSigningRequest>(std::move(next));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return later();
  }
  Executor& ex_;
  kube::Client client_;
  Signer* signer_;
  Duration lifetime_;
  kube::Informer<CertificateSigningRequest>& csrs_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_csr_approving(const Context& c) { return std::make_unique<Approver>(c); }
std::unique_ptr<Runner> make_csr_signing(const Context& c) { return std::make_unique<CsrSigner>(c); }

}  // namespace caravel::controllers
