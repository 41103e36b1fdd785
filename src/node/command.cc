#include "node/command.h"

#include <csignal>

#include "aws/http_client.h"
#include "base/log.h"
#include "net/process.h"
#include "node/agent.h"
#include "node/bootstrap.h"
#include "node/eni_addresses.h"
#include "node/network.h"
#include "node/node_object.h"
#include "node/server.h"
#include "node/setup.h"

namespace caravel::node {
namespace {

const Log kLog{"node"};
constexpr Duration kRetry = std::chrono::milliseconds(500);

// Everything that lives as long as the process; members later in the list use earlier ones.
struct NodeProcess {
  net::EventLoop& loop;
  Setup setup;
  std::unique_ptr<cri::Runtime> runtime;
  std::unique_ptr<aws::Client> ec2;
  std::unique_ptr<AddressSource> addresses;
  kube::ClientConfig api;
  std::unique_ptr<kube::Transport> transport;
  std::unique_ptr<kube::EventRecorder> events;
  std::unique_ptr<ProbeRunner> probes;
  std::unique_ptr<NodeRegistrar> registrar;
  std::unique_ptr<Agent> agent;
  std::unique_ptr<NodeAuthorizer> authorizer;
  std::unique_ptr<NodeServer> server;
  TaskScope scope;
  Status result;

  explicit NodeProcess(net::EventLoop& l) : loop(l) {}
  ~NodeProcess() { scope.cancel_all(); }
  Task<Status> start(const Flags& flags);
  Task<void> main(const Flags& flags);
  Task<void> sign_server_certificate(kube::Client client);

 private:
  Task<Status> make_addresses();
  Task<Status> connect_api();
  std::string server_ca;
};

Task<Status> NodeProcess::make_addresses() {
  if (!setup.pod_cidr.empty()) {
    CO_TRY(std::vector<std::string> list, addresses_of(setup.pod_cidr, false, 4096));
    addresses = std::make_unique<RangeAddresses>(loop, list);
    complete_from_machine(setup.facts);
    co_return ok();
  }
  aws::ClientOptions options = aws::options_from_process_environment();
  if (options.region.empty()) options.region = setup.facts.region;
  ec2 = aws::make_http_client(loop, options);
  while (true) {
    Status s = co_await complete_from_ec2(*ec2, setup.facts);
    if (s.ok()) break;
    kLog.warn("the instance type is not known yet", {{"error", s.error().message}});
    co_await sleep(loop, kRetry);
  }
  EniOptions e;
  e.instance_id = setup.facts.id;
  e.max_enis = setup.facts.enis;
  e.addresses_per_eni = setup.facts.addresses_per_eni;
  e.max_pods = setup.config.max_pods > 0 ? setup.config.max_pods : eks::eni_max_pods(e.max_enis, e.addresses_per_eni);
  e.warm_target = setup.warm_addresses;
  auto eni = std::make_unique<EniAddresses>(loop, *ec2, e);
  co_await eni->start();
  scope.spawn(eni->run());
  addresses = std::move(eni);
  co_return ok();
}

Task<Status> NodeProcess::connect_api() {
  if (!setup.kubeconfig.empty()) {
    CO_TRY(api, kube::load_kubeconfig(setup.kubeconfig));
  } else {
    api.server = setup.config.api_server_endpoint;
    api.ca = setup.config.certificate_authority;
    BootstrapOptions b;
    b.node_name = setup.settings.node_name;
    b.directory = setup.settings.root_directory + "/pki";
    b.server = api;
    b.server.token = setup.config.bootstrap_token;
    CO_TRY(Identity id, co_await client_identity(loop, b));
    api.client_certificate = id.certificate;
    api.client_key = id.key;
    CO_TRY_VOID(net::write_file_atomic(setup.settings.root_directory + "/kubeconfig", kube::write_kubeconfig(api, setup.config.cluster_name), 0600));
  }
  api.user_agent = "kubelet/v1.36.2 (linux/" + setup.facts.architecture + ")";
  CO_TRY(transport, kube::make_http_transport(loop, api));
  co_return ok();
}

Task<void> NodeProcess::sign_server_certificate(kube::Client client) {
  std::vector<std::string> addresses;
  addresses.push_back(setup.settings.node_ip);
  while (true) {
    auto id = co_await serving_identity(loop, client, setup.settings.root_directory + "/pki", setup.settings.node_name, addresses);
    if (id.ok()) {
      Status s = server->use_identity(*id);
      if (!s.ok()) kLog.warn("the signed serving certificate cannot be used", {{"error", s.error().message}});
      co_return;
    }
    kLog.warn("no signed serving certificate yet", {{"error", id.error().message}});
    co_await sleep(loop, std::chrono::seconds(30));
  }
}

Task<Status> NodeProcess::start(const Flags& flags) {
  CO_TRY(setup, co_await read_setup(loop, flags));
  CO_TRY_VOID(net::make_directories(setup.settings.root_directory + "/pods"));
  CO_TRY_VOID(prepare_node_network());
  Status answers = co_await answer_by_primary_eni(loop);
  if (!answers.ok()) kLog.warn("connections to the node's ports may not reach pods with addresses of further ENIs", {{"error", answers.error().message}});
  runtime = cri::make_containerd(loop, setup.containerd);
  NodeIdentity identity;
  while (true) {
    auto v = co_await runtime->version();
    if (v.ok()) {
      identity.runtime = *v;
      break;
    }
    kLog.warn("containerd does not answer yet", {{"socket", setup.containerd}, {"error", v.error().message}});
    co_await sleep(loop, kRetry);
  }
  CO_TRY_VOID(co_await connect_api());
  CO_TRY_VOID(co_await make_addresses());

  identity.name = setup.settings.node_name;
  identity.provider_id = setup.provider_id;
  identity.internal_ip = setup.settings.node_ip;
  identity.facts = setup.facts;
  identity.config = setup.config;
  identity.resources = eks::node_resources(setup.facts, setup.config);
  setup.settings.memory_capacity = setup.facts.memory_mib << 20;

  kube::Client client(*transport, "kubelet");
  events = std::make_unique<kube::EventRecorder>(loop, client, "kubelet", identity.name);
  probes = make_probe_runner(loop, *runtime);
  AgentContext context;
  context.loop = &loop;
  context.runtime = runtime.get();
  context.events = events.get();
  context.settings = &setup.settings;
  context.addresses = addresses.get();
  context.probes = probes.get();
  context.allocatable = identity.resources.allocatable;
  context.mtu = setup.mtu;
  agent = std::make_unique<Agent>(context, client);

  std::vector<std::string> own;
  own.push_back(setup.settings.node_ip);
  CO_TRY(Identity self, self_signed_identity(identity.name, own, loop.now()));
  authorizer = std::make_unique<NodeAuthorizer>(loop, client, identity.name);
  server = std::make_unique<NodeServer>(loop, *agent, *runtime, *authorizer, api.ca);
  CO_TRY_VOID(server->listen(setup.listen, self));

  registrar = std::make_unique<NodeRegistrar>(loop, client, *runtime, identity);
  co_await registrar->register_node();
  agent->start();
  scope.spawn(registrar->heartbeat([a = agent.get()] { return a->not_ready(); }));
  if (setup.kubeconfig.empty()) scope.spawn(sign_server_certificate(client));
  kLog.info("node agent runs", {{"node", identity.name}, {"address", identity.internal_ip}, {"instance type", setup.facts.type}});
  co_return ok();
}

Task<void> NodeProcess::main(const Flags& flags) {
  result = co_await start(flags);
  if (!result.ok()) loop.stop();
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  NodeProcess process(loop);
  loop.handle_signal(SIGTERM, [&loop] { loop.stop(); });
  loop.handle_signal(SIGINT, [&loop] { loop.stop(); });
  process.scope.spawn(process.main(flags));
  loop.run();
  if (!process.result.ok()) return std::move(process.result).error();
  return 0;
}

}  // namespace

const Command kNodeCommand = {
    "node",
    "the node agent: runs the pods of one EC2 instance (kubelet and VPC CNI)",
    "Runs in the instance's network namespace, as root. On an EC2 instance it needs no flags: identity comes\n"
    "from the instance metadata, the cluster from the NodeConfig in the user data.\n"
    "  caravel node --root-dir /var/lib/caravel/nodes/i-0123\n"
    "  caravel node --kubeconfig admin.conf --hostname n1 --node-ip 10.9.0.1 --pod-cidr 10.9.1.0/24",
    node_flags(),
    run,
    true,
};

}  // namespace caravel::node
