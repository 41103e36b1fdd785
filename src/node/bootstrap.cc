#include "node/bootstrap.h"

#include "base/log.h"
#include "kube/types/certificates.h"
#include "net/process.h"
#include "net/x509.h"

namespace caravel::node {
namespace {

const Log kLog{"node"};
namespace certificates = kube::certificates;
constexpr Duration kRetry = std::chrono::seconds(1);
constexpr Duration kPoll = std::chrono::milliseconds(200);
constexpr Duration kApprovalWait = std::chrono::minutes(15);  // then with a new request
constexpr Duration kRenewBefore = std::chrono::minutes(10);

std::optional<Identity> load(const std::string& file, Time now) {
  auto text = net::read_file(file);
  if (!text.ok()) return std::nullopt;
  Identity out;
  for (auto& block : net::split_pem(*text)) (block.find("PRIVATE KEY") != block.npos ? out.key : out.certificate) += block;
  auto info = net::parse_certificate(out.certificate);
  if (!info.ok() || info->not_after < now + kRenewBefore || !net::key_matches_certificate(out.key, out.certificate)) return std::nullopt;
  return out;
}

Status save(const std::string& directory, const std::string& name, const Identity& id) {
  TRY_VOID(net::make_directories(directory, 0700));
  return net::write_file_atomic(directory + "/" + name, id.certificate + id.key, 0600);
}

certificates::CertificateSigningRequest make_request(const std::string& csr, const std::string& signer, bool server) {
  certificates::CertificateSigningRequest q;
  q.metadata.generate_name = server ? "csr-" : "node-csr-";
  q.spec.request = csr;
  q.spec.signer_name = signer;
  q.spec.usages = {"digital signature", server ? "server auth" : "client auth"};
  return q;
}

Task<Result<std::string>> request_certificate(net::EventLoop& loop, kube::Client client, certificates::CertificateSigningRequest q) {
  auto made = co_await client.create<certificates::CertificateSigningRequest>(std::move(q));
  if (!made.ok()) co_return wrap(std::move(made).error(), "creating a CertificateSigningRequest");
  const std::string name = made->metadata.name;
  for (Duration waited = Duration(0); waited < kApprovalWait; waited += kPoll) {
    auto r = co_await client.get<certificates::CertificateSigningRequest>("", name);
    if (r.ok()) {
      if (!r->status.certificate.empty()) co_return r->status.certificate;
      for (auto& c : r->status.conditions)
        if (c.type == "Denied" || c.type == "Failed")
          co_return make_error(Code::kForbidden, "the CertificateSigningRequest " + name + " was " + (c.type == "Denied" ? "denied" : "not signed") + ": " + c.message);
    } else if (r.error().code == Code::kNotFound || r.error().code == Code::kForbidden || r.error().code == Code::kUnauthorized) {
      co_return std::move(r).error();
    }
    co_await sleep(loop, kPoll);
  }
  co_return make_error(Code::kTimeout, "the CertificateSigningRequest " + name + " was not approved");
}

}  // namespace

Task<Result<Identity>> client_identity(net::EventLoop& loop, BootstrapOptions o) {
  const std::string file = "kubelet-client-current.pem";
  if (auto saved = load(o.directory + "/" + file, loop.now())) co_return *saved;
  Identity id;
  CO_TRY(id.key, net::generate_key(net::KeyType::kEcdsaP256));
  net::CertificateNames names;
  names.common_name = "system:node:" + o.node_name;
  names.organizations.push_back("system:nodes");
  CO_TRY(std::string csr, net::make_csr(names, id.key));
  CO_TRY(auto transport, kube::make_http_transport(loop, o.server));
  kube::Client client(*transport, "kubelet");
  while (true) {
    auto r = co_await request_certificate(loop, client, make_request(csr, "kubernetes.io/kube-apiserver-client-kubelet", false));
    if (r.ok()) {
      id.certificate = *r;
      break;
    }
    if (r.error().message.find("denied") != std::string::npos) co_return std::move(r).error();
    kLog.warn("no client certificate yet", {{"error", r.error().message}});
    co_await sleep(loop, kRetry);
  }
  CO_TRY_VOID(save(o.directory, file, id));
  kLog.info("got a client certificate", {{"node", o.node_name}});
  co_return id;
}

Task<Result<Identity>> serving_identity(net::EventLoop& loop, kube::Client client, std::string directory, std::string node_name,
                                        std::vector<std::string> addresses) {
  const std::string file = "kubelet-server-current.pem";
  if (auto saved = load(directory + "/" + file, loop.now())) co_return *saved;
  Identity id;
  CO_TRY(id.key, net::generate_key(net::KeyType::kEcdsaP256));
  net::CertificateNames names;
  names.common_name = "system:node:" + node_name;
  names.organizations.push_back("system:nodes");
  names.dns_names.push_back(node_name);
  names.ip_addresses = addresses;
  CO_TRY(std::string csr, net::make_csr(names, id.key));
  CO_TRY(id.certificate, co_await request_certificate(loop, client, make_request(csr, "kubernetes.io/kubelet-serving", true)));
  CO_TRY_VOID(save(directory, file, id));
  co_return id;
}

Result<Identity> self_signed_identity(const std::string& node_name, const std::vector<std::string>& addresses, Time now) {
  Identity id;
  TRY(id.key, net::generate_key(net::KeyType::kEcdsaP256));
  net::CertificateSpec spec;
  spec.names.common_name = node_name + "@" + std::to_string(now.seconds());
  spec.names.dns_names = {node_name};
  spec.names.ip_addresses = addresses;
  spec.not_before = now - std::chrono::hours(1);
  spec.not_after = now + std::chrono::hours(24 * 365);
  spec.server_auth = true;
  TRY(id.certificate, net::make_certificate(spec, id.key, "", ""));
  return id;
}

}  // namespace caravel::node
