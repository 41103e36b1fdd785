// `caravel kubeconfig`: the administrator's, or one for any user with a certificate of the cluster's CA.
#include <cstdio>

#include "cli/command.h"
#include "cli/data_directory.h"
#include "kube/kubeconfig.h"
#include "net/event_loop.h"
#include "net/process.h"
#include "net/x509.h"

namespace caravel::cli {
namespace {

constexpr Duration kValidity = std::chrono::hours(24 * 365);

Result<std::string> user_kubeconfig(const std::string& data, const std::string& user, const std::vector<std::string>& groups) {
  TRY(kube::ClientConfig config, kube::load_kubeconfig(data + "/server/kubeconfig"));
  TRY(std::string ca, net::read_file(data + "/server/pki/ca.crt"));
  TRY(std::string ca_key, net::read_file(data + "/server/pki/ca.key"));
  net::EventLoop loop;
  net::CertificateSpec spec;
  spec.names.common_name = user;
  spec.names.organizations = groups;
  spec.not_before = loop.now() - std::chrono::hours(1);
  spec.not_after = loop.now() + kValidity;
  spec.client_auth = true;
  TRY(config.client_key, net::generate_key(net::KeyType::kEcdsaP256));
  TRY(config.client_certificate, net::make_certificate(spec, config.client_key, ca, ca_key));
  config.token.clear();
  return kube::write_kubeconfig(config, "caravel");
}

Result<int> kubeconfig(const Flags& flags) {
  const std::string data = flags.get("data-dir"), path = data + "/server/kubeconfig", user = flags.get("user"), out = flags.get("out");
  if (user.empty() && !flags.all("group").empty()) return invalid("--group needs --user");
  if (flags.on("path")) {
    if (!user.empty()) return invalid("--path tells the administrator's file; with --user give --out FILE");
    std::puts(path.c_str());
    return 0;
  }
  if (!net::path_exists(path)) return not_found("there is no kubeconfig at " + path + "; `caravel up` makes it");
  TRY(std::string text, user.empty() ? net::read_file(path) : user_kubeconfig(data, user, flags.all("group")));
  if (!out.empty()) {
    TRY_VOID(net::write_file_atomic(out, text, 0600));
  } else {
    std::fputs(text.c_str(), stdout);
  }
  return 0;
}

}  // namespace

const Command kKubeconfigCommand = {
    "kubeconfig",
    "print the kubeconfig, or make one for a user",
    "export KUBECONFIG=$(caravel kubeconfig --path)            the administrator's\n"
    "caravel kubeconfig --user alice --group dev > alice.yaml  a certificate for alice: RBAC decides what she may do\n",
    {
        {"data-dir", "DIR", "everything that is kept", default_data_directory()},
        {"path", "", "print the administrator's file's path only"},
        {"user", "NAME", "make a client certificate for this user, valid for a year"},
        {"group", "NAME", "a group of that user", "", true},
        {"out", "FILE", "write to this file (mode 0600) instead of printing"},
    },
    kubeconfig,
};

}  // namespace caravel::cli
