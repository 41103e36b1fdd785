#include "loadbalancer/command.h"

#include "aws/http_client.h"
#include "kube/main_loop.h"
#include "loadbalancer/controller.h"

namespace caravel::loadbalancer {
namespace {

Task<void> lead(net::EventLoop* loop, kube::Transport* transport, aws::Client* aws, std::string cluster, StopToken stop) {
  kube::Client client(*transport, "aws-load-balancer-controller");
  LoadBalancerController controller(*loop, client, *aws, cluster);
  co_await controller.run(stop);
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "aws-load-balancer-controller"));
  TRY(auto transport, kube::make_http_transport(loop, config));
  TRY(auto options, kube::component_options(flags, "aws-load-balancer-controller-leader"));
  auto aws = aws::make_http_client(loop, aws::options_from_process_environment());
  auto* t = transport.get();
  auto* a = aws.get();
  std::string cluster = flags.get("cluster-name");
  return kube::run_component(loop, *transport, options, [&loop, t, a, cluster](StopToken stop) { return lead(&loop, t, a, cluster, stop); });
}

std::vector<Flag> flags() {
  auto f = kube::component_flags("0.0.0.0:61779");
  f.push_back({"cluster-name", "NAME", "the EKS cluster", "caravel"});
  return f;
}

}  // namespace

const Command kLoadBalancerCommand = {
    "aws-load-balancer-controller",
    "makes NLBs of Services and ALBs of Ingresses",
    "caravel aws-load-balancer-controller --cluster-name caravel\nAWS_ENDPOINT_URL, AWS_REGION and the credential chain as with AWS' SDKs.\n",
    flags(),
    run,
    false,
};

}  // namespace caravel::loadbalancer
