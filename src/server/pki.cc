#include "server/pki.h"

#include <algorithm>

#include "net/process.h"
#include "net/x509.h"

namespace caravel::server {

namespace {

constexpr Duration kDay = std::chrono::hours(24);
constexpr Duration kCaLife = 3650 * kDay;
constexpr Duration kLeafLife = 365 * kDay;
constexpr Duration kRenewBefore = 60 * kDay;
constexpr Duration kBackdate = std::chrono::minutes(5);  // for clients whose clocks are a little late

bool is_address(const std::string& s) {
  return !s.empty() && (s.find(':') != s.npos || std::all_of(s.begin(), s.end(), [](char c) { return c == '.' || (c >= '0' && c <= '9'); }));
}

// A key in a file, made when missing.
Result<std::string> key_file(const std::string& path) {
  if (net::path_exists(path)) return net::read_file(path);
  TRY(std::string key, net::generate_key(net::KeyType::kEcdsaP256));
  TRY_VOID(net::write_file_atomic(path, key, 0600));
  return key;
}

std::vector<std::string> sorted(std::vector<std::string> v) {
  std::sort(v.begin(), v.end());
  v.erase(std::unique(v.begin(), v.end()), v.end());
  return v;
}

// The certificate in a file if it is still what is wanted, else a new one.
Result<KeyPair> leaf(const std::string& path, net::CertificateSpec spec, const KeyPair& ca, Time now) {
  KeyPair pair;
  TRY(pair.key, key_file(path + ".key"));
  spec.names.dns_names = sorted(spec.names.dns_names);
  spec.names.ip_addresses = sorted(spec.names.ip_addresses);
  if (net::path_exists(path + ".crt")) {
    TRY(pair.certificate, net::read_file(path + ".crt"));
    auto info = net::parse_certificate(pair.certificate);
    if (info.ok() && info->not_after - now > kRenewBefore && net::key_matches_certificate(pair.key, pair.certificate) && net::verify_chain(pair.certificate, "", ca.certificate, now) &&
        sorted(info->names.dns_names) == spec.names.dns_names && sorted(info->names.ip_addresses) == spec.names.ip_addresses)
      return pair;
  }
  spec.not_before = now - kBackdate;
  spec.not_after = now + kLeafLife;
  TRY(pair.certificate, net::make_certificate(spec, pair.key, ca.certificate, ca.key));
  TRY_VOID(net::write_file_atomic(path + ".crt", pair.certificate, 0644));
  return pair;
}

// A certificate authority in files, made when missing.
Result<KeyPair> authority(const std::string& path, const std::string& name, Time now) {
  KeyPair ca;
  TRY(ca.key, key_file(path + ".key"));
  if (net::path_exists(path + ".crt")) {
    TRY(ca.certificate, net::read_file(path + ".crt"));
    return ca;
  }
  net::CertificateSpec spec;
  spec.names.common_name = name;
  spec.is_ca = true;
  spec.not_before = now - kBackdate;
  spec.not_after = now + kCaLife;
  TRY(ca.certificate, net::make_certificate(spec, ca.key, "", ""));
  TRY_VOID(net::write_file_atomic(path + ".crt", ca.certificate, 0644));
  return ca;
}

}  // namespace

Result<Pki> load_or_make_pki(const std::string& directory, const std::vector<std::string>& names, Time now) {
  TRY_VOID(net::make_directories(directory, 0700));
  Pki pki;
  TRY(pki.ca, authority(directory + "/ca", "kubernetes", now));
  TRY(pki.front_proxy_ca, authority(directory + "/front-proxy-ca", "front-proxy-ca", now));
  net::CertificateSpec serving;
  serving.names.common_name = "kube-apiserver";
  serving.names.dns_names = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"};
  serving.names.ip_addresses = {"127.0.0.1"};
  for (auto& n : names) (is_address(n) ? serving.names.ip_addresses : serving.names.dns_names).push_back(n);
  serving.server_auth = true;
  TRY(pki.serving, leaf(directory + "/serving", serving, pki.ca, now));
  net::CertificateSpec admin;
  admin.names.common_name = "kubernetes-admin";
  admin.names.organizations = {"system:masters"};
  admin.client_auth = true;
  TRY(pki.admin, leaf(directory + "/admin", admin, pki.ca, now));
  net::CertificateSpec kubelet;
  kubelet.names.common_name = "kube-apiserver-kubelet-client";
  kubelet.client_auth = true;
  TRY(pki.kubelet_client, leaf(directory + "/kubelet-client", kubelet, pki.ca, now));
  net::CertificateSpec front_proxy;
  front_proxy.names.common_name = "front-proxy-client";
  front_proxy.client_auth = true;
  TRY(pki.front_proxy_client, leaf(directory + "/front-proxy-client", front_proxy, pki.front_proxy_ca, now));
  TRY(pki.token_key, key_file(directory + "/service-account.key"));
  return pki;
}

Result<controllers::Signer::Subject> CaSigner::inspect(const std::string& csr_pem) {
  TRY(net::CsrInfo info, net::parse_csr(csr_pem));
  Subject s;
  s.common_name = info.names.common_name;
  s.organizations = info.names.organizations;
  s.dns_names = info.names.dns_names;
  s.ip_addresses = info.names.ip_addresses;
  return s;
}

Result<std::string> CaSigner::sign(const Request& request) {
  TRY(net::CsrInfo info, net::parse_csr(request.csr_pem));
  net::CertificateSpec spec;
  spec.names = info.names;
  Time now = ex_->now();
  spec.not_before = now - kBackdate;
  spec.not_after = now + request.lifetime;
  for (auto& u : request.usages) {
    if (u == "server auth") spec.server_auth = true;
    if (u == "client auth") spec.client_auth = true;
  }
  return net::sign_csr(request.csr_pem, spec, ca_.certificate, ca_.key);
}

}  // namespace caravel::server
