#include "world/processes.h"

namespace caravel::world {
namespace {

constexpr char kAws[] = "127.0.0.1:4566";

std::string kubeconfig_of(const Layout& l, const std::string& name) { return l.data + "/world/" + name + ".kubeconfig"; }

void inherit(const Layout& l, const char* socket, ProcessSpec& spec) {
  auto it = l.sockets.find(socket);
  if (it == l.sockets.end()) return;
  spec.fds.emplace_back(it->second, it->second);
  spec.argv.insert(spec.argv.end(), {"--listen-fd", std::to_string(it->second)});
}

// A kubeconfig for one component, with its rights and no more.
ProcessSpec credentials(const Layout& l, const std::string& name, const std::string& user, const std::vector<std::string>& groups) {
  ProcessSpec p;
  p.name = name + "-kubeconfig";
  p.argv = {l.program, "kubeconfig", "--data-dir", l.data, "--out", kubeconfig_of(l, name), "--user", user};
  for (auto& g : groups) p.argv.insert(p.argv.end(), {"--group", g});
  p.after = {"server"};
  p.once = true;
  return p;
}

ProcessSpec service_account_credentials(const Layout& l, const std::string& name, const std::string& ns, const std::string& account) {
  return credentials(l, name, "system:serviceaccount:" + ns + ":" + account, {"system:serviceaccounts", "system:serviceaccounts:" + ns});
}

ProcessSpec component(const Layout& l, const std::string& name, const std::string& command) {
  ProcessSpec p;
  p.name = name;
  p.argv = {l.program, command, "--kubeconfig", kubeconfig_of(l, name), "--health-address="};
  p.after = {name + "-kubeconfig", "cloud", "git"};
  p.environment = {{"AWS_ENDPOINT_URL", std::string("http://") + kAws}, {"AWS_REGION", "us-east-1"}, {"AWS_ACCESS_KEY_ID", "test"}, {"AWS_SECRET_ACCESS_KEY", "test"}};
  return p;
}

}  // namespace

std::vector<ProcessSpec> hollow_process_table(const Layout& l) {
  std::vector<ProcessSpec> out;

  ProcessSpec server;
  server.name = "server";
  server.argv = {l.program, "server", "--data-dir", l.data + "/server"};
  inherit(l, "kubernetes-api", server);
  server.ready_file = l.data + "/server/kubeconfig";
  out.push_back(server);

  ProcessSpec cloud;
  cloud.name = "cloud";
  cloud.argv = {l.program, "cloud", "--data-dir", l.data + "/cloud", "--substrate", "hollow", "--cluster-endpoint", "https://127.0.0.1:6443", "--cluster-ca", l.data + "/server/pki/ca.crt", "--jwks", l.data + "/server/pki/service-account.jwks"};
  inherit(l, "aws", cloud);
  cloud.after = {"server"};
  cloud.ready_address = kAws;
  out.push_back(cloud);

  ProcessSpec git;
  git.name = "git";
  git.argv = {l.program, "git-server", "--root", l.data + "/git"};
  if (!l.repository.empty()) git.argv.insert(git.argv.end(), {"--seed", "platform=" + l.repository});
  inherit(l, "git", git);
  git.ready_address = "127.0.0.1:3000";
  out.push_back(git);

  out.push_back(credentials(l, "hollow-nodes", "caravel:hollow-nodes", {"caravel:hollow-nodes"}));
  out.push_back(component(l, "hollow-nodes", "hollow-nodes"));

  out.push_back(service_account_credentials(l, "argocd", "argocd", "argocd-application-controller"));
  ProcessSpec argocd = component(l, "argocd", "argocd-application-controller");
  argocd.argv.insert(argocd.argv.end(), {"--leader-elect-namespace", "argocd", "--cache-dir", l.data + "/argocd"});
  out.push_back(argocd);

  out.push_back(service_account_credentials(l, "karpenter", "karpenter", "karpenter"));
  ProcessSpec karpenter = component(l, "karpenter", "karpenter");
  karpenter.argv.insert(karpenter.argv.end(), {"--leader-elect-namespace", "karpenter", "--metrics-address=", "--cluster-name", "caravel", "--disruption-poll-period", "1s", "--disruption-validation-period", "2s", "--batch-max-duration", "5s"});
  out.push_back(karpenter);

  for (ProcessSpec& p : out) p.environment["HOME"] = l.data;
  return out;
}

}  // namespace caravel::world
