#include "hollow/command.h"

#include "aws/http_client.h"
#include "hollow/instances.h"
#include "kube/main_loop.h"

namespace caravel::hollow {
namespace {

Task<void> lead(net::EventLoop* loop, kube::Transport* transport, aws::Client* aws, StopToken stop) {
  kube::Client client(*transport, "kubelet");
  HollowNodes nodes(*loop, client);
  InstanceNodes instances(*loop, *aws, nodes);
  TaskScope scope;
  scope.spawn(instances.run());
  co_await stop.wait(*loop);
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "hollow-nodes"));
  TRY(auto transport, kube::make_http_transport(loop, config));
  TRY(auto options, kube::component_options(flags, "hollow-nodes"));
  auto aws = aws::make_http_client(loop, aws::options_from_process_environment());
  auto* t = transport.get();
  auto* a = aws.get();
  return kube::run_component(loop, *transport, options, [&loop, t, a](StopToken stop) { return lead(&loop, t, a, stop); });
}

}  // namespace

const Command kHollowNodesCommand = {
    "hollow-nodes",
    "EC2 instances join as simulated nodes",
    "Every running instance of the cloud (AWS_ENDPOINT_URL) whose user data joins a cluster becomes a simulated\n"
    "node: it has its labels, taints and size, its pods run without containers.\n\n"
    "  AWS_ENDPOINT_URL=http://127.0.0.1:4566 caravel hollow-nodes --kubeconfig FILE\n",
    kube::component_flags(""),
    run,
    false,
};

}  // namespace caravel::hollow
