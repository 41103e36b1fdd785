// The caravel binary: one program, many subcommands. This file is the list of them.
#include <cstdio>
#include <cstring>

#include "base/command.h"
#include "base/log.h"
#include "base/strings.h"
#include "certs/command.h"
#include "cli/command.h"
#include "cloud/command.h"
#include "dns/command.h"
#include "gitops/command.h"
#include "gitserver/command.h"
#include "hollow/command.h"
#include "images/command.h"
#include "ingress/command.h"
#include "karpenter/command.h"
#include "loadbalancer/command.h"
#include "node/command.h"
#include "proxy/command.h"
#include "server/command.h"
#include "sim/command.h"
#include "world/command.h"

namespace caravel {
namespace {

const std::vector<const Command*>& commands() {
  static const std::vector<const Command*> all = {
      &cli::kUpCommand,
      &loadbalancer::kLoadBalancerCommand,
      &cli::kDownCommand,
      &cli::kStatusCommand,
      &cli::kKubeconfigCommand,
      &node::kNodeCommand,
      &cloud::kCloudCommand,
      &ingress::kIngressCommand,
      &gitops::kArgoCdCommand,
      &certs::kCertManagerCommand,
      &certs::kAcmeSolverCommand,
      &gitserver::kGitServerCommand,
      &karpenter::kKarpenterCommand,
      &hollow::kHollowNodesCommand,
      &images::kImagesCommand,
      &proxy::kProxyCommand,
      &server::kServerCommand,
      &sim::kSimulateCommand,
      &server::kBackupCommand,
      &server::kRestoreCommand,
      &world::kWorldCommand,
      &world::kEdgeCommand,
      &dns::kDnsCommand,
      &dns::kVpcDnsCommand,
  };
  return all;
}

void print_help() {
  std::string out =
      "caravel: an Amazon EKS platform on one machine\n\n"
      "usage: caravel COMMAND [flags]\n\n";
  for (bool internal : {false, true}) {
    out += internal ? "\nsingle processes and inner parts:\n" : "commands:\n";
    for (auto* c : commands())
      if (c->internal == internal) out += format("  %-32s %s\n", c->name.c_str(), c->summary.c_str());
  }
  out += "\ncaravel COMMAND --help tells more.\n";
  std::fputs(out.c_str(), stdout);
}

int run(const std::vector<std::string>& args) {
  if (args.empty() || args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
    print_help();
    return args.empty() ? 2 : 0;
  }
  if (args[0] == "version" || args[0] == "--version") {
    std::puts("caravel 0.1.0 (Kubernetes v1.36)");
    return 0;
  }
  std::vector<std::string> names;
  for (auto* c : commands()) {
    names.push_back(c->name);
    if (c->name != args[0]) continue;
    std::vector<std::string> rest(args.begin() + 1, args.end());
    for (auto& a : rest) {
      if (a == "--") break;
      if (a == "--help" || a == "-h") {
        std::printf("%s\n\n%s\nflags:\n%s", c->summary.c_str(), c->usage.c_str(), describe_flags(c->flags).c_str());
        return 0;
      }
    }
    auto flags = Flags::parse(c->flags, rest);
    auto code = flags.ok() ? c->run(*flags) : Result<int>(flags.error());
    if (code.ok()) return *code;
    std::fprintf(stderr, "caravel %s: %s\n", c->name.c_str(), code.error().message.c_str());
    return code.error().code == Code::kInvalid ? 2 : 1;
  }
  auto near = nearest(args[0], names);
  std::fprintf(stderr, "caravel: unknown command \"%s\"%s\n", args[0].c_str(), near ? ("; did you mean " + *near + "?").c_str() : "; see caravel --help");
  return 2;
}

}  // namespace
}  // namespace caravel

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  return caravel::run(std::vector<std::string>(argv + 1, argv + argc));
}
