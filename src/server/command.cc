#include "server/command.h"

#include <unistd.h>

#include <csignal>

#include "apiserver/aggregation/https_transport.h"
#include "apiserver/api_server.h"
#include "apiserver/encryption_kms.h"
#include "apiserver/http_frontend.h"
#include "base/log.h"
#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/node_ipam.h"
#include "hollow/hollow.h"
#include "kube/kubeconfig.h"
#include "net/process.h"
#include "scheduler/configuration.h"
#include "scheduler/scheduler.h"
#include "server/access_flags.h"
#include "server/audit_flags.h"
#include "server/extender_transport.h"
#include "server/identity_lease.h"
#include "server/pki.h"
#include "store/etcd.h"

namespace caravel::server {

namespace {

constexpr Duration kCloseGrace = std::chrono::seconds(3);
constexpr Duration kPluginWait = std::chrono::seconds(20);  // for a key management plug-in, at the start

struct Settings {
  std::string data, advertise_address, service_cidr, issuer;
  int advertise_port = 443;
  std::vector<std::string> listen, names;
  std::vector<int> listen_fds;
  std::string encryption_config;
  bool encryption_reload = false;
  scheduler::Options scheduler;
  AuditSettings audit;
  AccessSettings access;
  bool controllers = true;
  std::string cluster_cidr;  // empty: nodes get no pod ranges
  int node_cidr_bits = 24;
  controllers::NodeMonitor node_monitor;
  int hollow_nodes = 0, hollow_zones = 3;
  std::vector<std::string> etcd;  // endpoints; empty: the embedded engine
  std::shared_ptr<net::TlsClientContext> etcd_tls;
};

// --scheduler-config: the profiles by which pods are scheduled.
Status read_scheduler(const Flags& flags, Settings& s) {
  const std::string path = flags.get("scheduler-config");
  if (path.empty()) return ok();
  TRY(std::string text, net::read_file(path));
  auto config = scheduler::parse_configuration(text);
  if (!config.ok()) return wrap(std::move(config).error(), "--scheduler-config " + path);
  s.scheduler.extenders = std::move(config->extenders);
  s.scheduler.profiles = std::move(config->profiles);
  s.scheduler.queue = config->queue;
  return ok();
}

// --allocate-node-cidrs and what it needs.
Status read_node_cidrs(const Flags& flags, Settings& s) {
  TRY(int64_t bits, flags.get_int("node-cidr-mask-size"));
  s.node_cidr_bits = static_cast<int>(bits);
  if (!flags.on("allocate-node-cidrs")) return ok();
  s.cluster_cidr = flags.get("cluster-cidr");
  if (s.cluster_cidr.empty()) return invalid("--allocate-node-cidrs needs --cluster-cidr: the range that is given out");
  Result<controllers::CidrSet> set = controllers::CidrSet::make(s.cluster_cidr, s.node_cidr_bits);
  if (!set.ok()) return wrap(std::move(set).error(), "--cluster-cidr, --node-cidr-mask-size");
  return ok();
}

// --node-monitor-*, --node-eviction-rate, ...: what kube-controller-manager calls so.
Status read_node_monitor(const Flags& flags, controllers::NodeMonitor& o) {
  auto duration = [&](const char* flag, Duration& out) -> Status {
    Result<Duration> d = parse_duration(flags.get(flag));
    if (!d.ok() || *d <= Duration(0)) return invalid(std::string("--") + flag + " " + flags.get(flag) + " is not a time; write 50s or 1m30s");
    out = *d;
    return ok();
  };
  auto number = [&](const char* flag, double most, double& out) -> Status {
    const std::string text = flags.get(flag);
    out = parse_double(text).value_or(-1);
    if (!(out >= 0 && out <= most)) return invalid(std::string("--") + flag + " " + text + " is not a number" + (most == 1 ? " from 0 to 1" : " of at least 0"));
    return ok();
  };
  TRY_VOID(duration("node-monitor-period", o.period));
  TRY_VOID(duration("node-monitor-grace-period", o.grace));
  TRY_VOID(duration("node-startup-grace-period", o.startup_grace));
  TRY_VOID(number("node-eviction-rate", 1e9, o.eviction_rate));
  TRY_VOID(number("secondary-node-eviction-rate", 1e9, o.secondary_eviction_rate));
  TRY_VOID(number("unhealthy-zone-threshold", 1, o.unhealthy_zone_threshold));
  TRY(int64_t large, flags.get_int("large-cluster-size-threshold"));
  if (large < 0) return invalid("--large-cluster-size-threshold must not be below 0");
  o.large_cluster_size_threshold = static_cast<size_t>(large);
  return ok();
}

// --store and --etcd-*: where the state is.
Status read_store(const Flags& flags, Settings& s) {
  std::string store = flags.get("store");
  if (store.empty() || store == "rocksdb") return ok();
  TRY(s.etcd, store::parse_etcd_endpoints(store));
  net::TlsClientOptions t;
  auto read = [&](const char* flag, std::string& out) -> Status {
    std::string path = flags.get(flag);
    if (path.empty()) return ok();
    TRY(out, net::read_file(path));
    return ok();
  };
  TRY_VOID(read("etcd-cafile", t.ca));
  TRY_VOID(read("etcd-certfile", t.certificate));
  TRY_VOID(read("etcd-keyfile", t.key));
  if (t.certificate.empty() != t.key.empty()) return invalid("--etcd-certfile and --etcd-keyfile go together");
  if (!t.ca.empty() || !t.certificate.empty()) {
    TRY(s.etcd_tls, net::make_tls_client(t));
  }
  return ok();
}

std::string host_of(const std::string& address) {
  size_t colon = address.rfind(':');
  return colon == address.npos ? address : address.substr(0, colon);
}
std::string port_of(const std::string& address) {
  size_t colon = address.rfind(':');
  return colon == address.npos ? "" : address.substr(colon + 1);
}

Result<Settings> read_settings(const Flags& flags) {
  Settings s;
  s.data = flags.get("data-dir");
  if (s.data.empty()) return invalid("--data-dir is needed: the directory that keeps the cluster's state");
  s.listen = flags.all("listen");
  for (auto& fd : flags.all("listen-fd")) {
    auto n = parse_int(fd);
    if (!n || *n < 3) return invalid("--listen-fd " + fd + " is not the number of an inherited socket");
    s.listen_fds.push_back(static_cast<int>(*n));
  }
  if (s.listen.empty() && s.listen_fds.empty()) s.listen = {"127.0.0.1:6443"};
  s.names = flags.all("tls-san");
  s.advertise_address = flags.get("advertise-address");
  TRY(int64_t port, flags.get_int("advertise-port"));
  s.advertise_port = static_cast<int>(port);
  s.service_cidr = flags.get("service-cidr");
  s.issuer = flags.get("service-account-issuer");
  s.controllers = !flags.on("no-controllers");
  TRY(int64_t nodes, flags.get_int("hollow-nodes"));
  TRY(int64_t zones, flags.get_int("hollow-zones"));
  s.hollow_nodes = static_cast<int>(nodes);
  s.hollow_zones = static_cast<int>(std::max<int64_t>(1, zones));
  s.encryption_config = flags.get("encryption-provider-config");
  const std::string reload = flags.get("encryption-provider-config-automatic-reload");
  if (reload != "true" && reload != "false") return invalid("--encryption-provider-config-automatic-reload is true or false, not " + reload);
  s.encryption_reload = reload == "true";
  if (s.encryption_reload && s.encryption_config.empty()) return invalid("--encryption-provider-config-automatic-reload must be set with --encryption-provider-config");
  TRY(s.audit, AuditSettings::read(flags));
  TRY(s.access, AccessSettings::read(flags));
  TRY_VOID(read_store(flags, s));
  TRY_VOID(read_scheduler(flags, s));
  TRY_VOID(read_node_cidrs(flags, s));
  TRY_VOID(read_node_monitor(flags, s.node_monitor));
  return s;
}

apiserver::User component_user(std::string name) {
  apiserver::User u;
  u.name = std::move(name);
  u.groups = {"system:authenticated"};
  return u;
}

// Everything that runs, in the order in which it is made; destroyed in the opposite one.
class Server {
 public:
  Server(net::EventLoop& loop, Settings settings) : loop_(loop), settings_(std::move(settings)) {}

  // Opens what must be there before anything is answered.
  Status prepare() {
    TRY_VOID(net::make_directories(settings_.data, 0700));
    std::string first_port;
    for (auto& a : settings_.listen) {
      TRY(auto l, net::listen(loop_, net::Address{a}));
      if (first_port.empty()) first_port = port_of(l->address());
      listeners_.push_back(std::move(l));
    }
    for (int fd : settings_.listen_fds) {
      TRY(auto l, net::listen_fd(loop_, fd));
      if (first_port.empty()) first_port = port_of(l->address());
      listeners_.push_back(std::move(l));
    }
    local_port_ = first_port;
    // The kubeconfig is for this host: prefer a loopback listener.
    for (auto& l : listeners_)
      if (host_of(l->address()) == "127.0.0.1") {
        local_port_ = port_of(l->address());
        break;
      }
    if (settings_.advertise_address.empty()) {
      std::string host = settings_.listen.empty() ? "127.0.0.1" : host_of(settings_.listen[0]);
      settings_.advertise_address = host.empty() || host == "0.0.0.0" ? "127.0.0.1" : host;
      settings_.advertise_port = static_cast<int>(parse_int(first_port).value_or(443));
    }
    auto names = settings_.names;
    names.push_back(settings_.advertise_address);
    names.push_back("10.0.11.10");
    names.push_back(service_address(1));
    TRY(pki_, load_or_make_pki(settings_.data + "/pki", names, loop_.now()));
    if (!settings_.etcd.empty()) return ok();  // opened by start(), it takes a conversation
    store::RocksDbOptions o;
    o.directory = settings_.data + "/store";
    TRY(store_, store::open_rocksdb_store(loop_, std::move(o)));
    return ok();
  }

  Task<void> run() {
    Status s = co_await start();
    if (!s.ok()) {
      failure_ = std::move(s);
      loop_.stop();
    }
  }

  Task<void> stop() {
    stopping_ = true;
    log_.info("ending");
    scope_.cancel_all();
    if (http_) co_await http_->close(kCloseGrace);
    if (api_ && api_->auditor()) {
      auto sending = api_->auditor()->drain();
      auto sent = co_await within(loop_, kCloseGrace, std::move(sending));
      if (!sent) log_.warn("the audit webhook does not take the last events");
    }
    loop_.stop();
  }
  bool stopping() const { return stopping_; }
  const Status& failure() const { return failure_; }

 private:
  // The n-th address of the service range.
  std::string service_address(uint32_t n) const {
    auto a = apiserver::ServiceAllocator::make(loop_, settings_.service_cidr);
    return a.ok() ? (*a)->address(n) : "172.20.0.1";
  }

  Task<Status> start() {
    if (!store_) {
      store::EtcdOptions e;
      e.endpoints = settings_.etcd;
      e.tls = settings_.etcd_tls;
      auto opened = co_await store::open_etcd_store(&loop_, std::move(e));
      if (!opened.ok()) co_return std::move(opened).error();
      store_ = std::move(*opened);
    }
    apiserver::ApiServerOptions o;
    o.service_cidr = settings_.service_cidr;
    o.advertise_address = settings_.advertise_address;
    o.advertise_port = settings_.advertise_port;
    o.tokens.signing_key = pki_.token_key;
    if (!settings_.issuer.empty()) o.tokens.issuer = settings_.issuer;
    o.client_ca = pki_.ca.certificate;
    o.front_proxy_ca = pki_.front_proxy_ca.certificate;
    o.webhooks = apiserver::make_https_webhook_transport(loop_);
    Status sealed = co_await encrypt_store();
    if (!sealed.ok()) co_return sealed;
    auto api = co_await apiserver::ApiServer::start(loop_, *store_, std::move(o));
    if (!api.ok()) co_return std::move(api).error();
    api_ = std::move(*api);
    // For services beside us that take ServiceAccount tokens, as STS does.
    Status published = net::write_file_atomic(settings_.data + "/pki/service-account.jwks", api_->token_keys(), 0644);
    if (!published.ok()) co_return published;
    api_->aggregator().use(apiserver::make_https_aggregate_transport(loop_, pki_.front_proxy_client.certificate, pki_.front_proxy_client.key));
    Status access = settings_.access.apply(loop_, *api_);
    if (!access.ok()) co_return access;
    follow_files();
    Status audited = settings_.audit.apply(loop_, *api_, audit_file_);
    if (!audited.ok()) co_return audited;
    auto proxy = apiserver::NodeProxy::make(loop_, *api_, pki_.kubelet_client.certificate, pki_.kubelet_client.key);
    if (!proxy.ok()) co_return std::move(proxy).error();
    proxy_ = std::move(*proxy);
    frontend_ = std::make_unique<apiserver::HttpFrontend>(loop_, *api_, proxy_.get());
    net::TlsServerOptions t;
    t.certificate = pki_.serving.certificate;
    t.key = pki_.serving.key;
    t.client_ca = pki_.ca.certificate;
    auto tls = net::make_tls_server(t);
    if (!tls.ok()) co_return std::move(tls).error();
    http_ = std::make_unique<net::HttpServer>(loop_, frontend_->handler());
    for (auto& l : listeners_) {
      log_.info("listening", {{"address", l->address()}});
      http_->serve(std::move(l), *tls);
    }
    listeners_.clear();
    report_encryption();
    start_identity();
    if (settings_.controllers) start_components();
    report_components();
    if (settings_.hollow_nodes > 0) start_hollow();
    kube::ClientConfig c;
    c.server = "https://127.0.0.1:" + local_port_;
    c.ca = pki_.ca.certificate;
    c.client_certificate = pki_.admin.certificate;
    c.client_key = pki_.admin.key;
    Status wrote = net::write_file_atomic(settings_.data + "/kubeconfig", kube::write_kubeconfig(c, "caravel"), 0600);
    if (!wrote.ok()) co_return wrote;
    log_.info("ready", {{"kubeconfig", settings_.data + "/kubeconfig"}, {"server", c.server}});
    co_return ok();
  }

  Result<std::vector<apiserver::EncryptionRule>> read_encryption(const std::string& text) {
    apiserver::KmsConnect connect = [loop = &loop_](std::string name, std::string socket, Duration timeout) -> std::unique_ptr<apiserver::ValueTransformer> {
      return std::make_unique<apiserver::KmsTransformer>(*loop, std::move(name), apiserver::make_kms_client(*loop, socket, timeout));
    };
    auto rules = apiserver::parse_encryption_config(text, connect);
    if (!rules.ok()) return wrap(std::move(rules).error(), "--encryption-provider-config " + settings_.encryption_config);
    return rules;
  }

  Task<Status> encrypt_store() {
    if (settings_.encryption_config.empty()) co_return ok();
    CO_TRY(encryption_text_, net::read_file(settings_.encryption_config));
    CO_TRY(auto rules, read_encryption(encryption_text_));
    encryption_ = std::make_shared<apiserver::EncryptionRules>(std::move(rules));
    const Time until = loop_.now() + kPluginWait;
    while (true) {  // a plug-in may start beside us
      Status ready = co_await apiserver::prepare_to_seal(encryption_->now);
      if (ready.ok()) break;
      if (loop_.now() >= until) co_return wrap(std::move(ready).error(), "--encryption-provider-config " + settings_.encryption_config);
      co_await sleep(loop_, std::chrono::milliseconds(250));
    }
    store_ = apiserver::make_encrypted_store(loop_, std::move(store_), encryption_);
    co_return ok();
  }

  // Health checks as upstream names them: one for each provider, or one for all that may change.
  void report_encryption() {
    if (!encryption_) return;
    apiserver::HealthChecks& checks = api_->core().health;
    const size_t providers = apiserver::remote_health(*encryption_->now).size();
    if (settings_.encryption_reload) {
      checks["kms-providers"] = [e = encryption_] {
        for (Status& s : apiserver::remote_health(*e->now))
          if (!s.ok()) return std::move(s);
        return ok();
      };
      return;
    }
    for (size_t i = 0; i < providers; ++i)
      checks["kms-provider-" + std::to_string(i)] = [e = encryption_, i] { return std::move(apiserver::remote_health(*e->now)[i]); };
  }

  // Another configuration holds once all that write with it can.
  Task<Status> change_encryption(std::string text) {
    CO_TRY(auto rules, read_encryption(text));
    apiserver::EncryptionRules fresh(std::move(rules));
    CO_TRY_VOID(co_await apiserver::prepare_to_seal(fresh.now));
    encryption_->now = fresh.now;
    co_return ok();
  }

  void follow_files() {
    char name[256] = "localhost";
    (void)!gethostname(name, sizeof name - 1);
    const std::string id = identity_lease_name(name);
    settings_.access.follow(loop_, *api_, id, scope_);
    if (!settings_.encryption_reload) return;
    encryption_reload_ = std::make_unique<FileReload>(
        loop_, api_->core().metrics, "encryption", id, encryption_text_, [file = settings_.encryption_config] { return net::read_file(file); }, [this](std::string text) { return change_encryption(std::move(text)); });
    scope_.spawn(encryption_reload_->keep());
  }

  void start_components() {
    manager_transport_ = api_->transport(component_user("system:kube-controller-manager"));
    signer_ = std::make_unique<CaSigner>(pki_.ca, loop_);
    controllers::Options o;
    o.root_ca = pki_.ca.certificate;
    o.signer = signer_.get();
    o.secret_token = [this](const std::string& ns, const std::string& account, const std::string& uid, const std::string& secret) {
      return api_->secret_token(ns, account, uid, secret);
    };
    o.cluster_cidr = settings_.cluster_cidr;
    o.node_cidr_bits = settings_.node_cidr_bits;
    o.service_cidr = settings_.service_cidr;
    o.node_monitor = settings_.node_monitor;
    controllers::start_all(
        loop_, [this](std::string_view) -> kube::Transport& { return *manager_transport_; }, std::move(o), scope_);
    scheduler_transport_ = api_->transport(component_user("system:kube-scheduler"));
    if (!settings_.scheduler.extenders.empty()) {
      extender_transport_ = make_extender_transport(loop_);
      settings_.scheduler.transport = extender_transport_.get();
    }
    scheduler_ = std::make_unique<scheduler::Scheduler>(loop_, kube::Client(*scheduler_transport_, "kube-scheduler"), settings_.scheduler);
    scheduler_->start(scope_);
  }

  void start_identity() {
    apiserver::User self = component_user("system:apiserver");
    self.groups.push_back("system:masters");
    server_transport_ = api_->transport(std::move(self));
    kube::Client client(*server_transport_, "kube-apiserver");
    char name[256] = "localhost";
    if (gethostname(name, sizeof name - 1) != 0) log_.warn("the host has no name; the server's identity is localhost");
    scope_.spawn(keep_identity(loop_, client, name));
    scope_.spawn(collect_identities(loop_, client));
  }

  // They run in this process or not at all.
  void report_components() {
    std::string problem = settings_.controllers ? "" : "not run by this server: it was started with --no-controllers";
    for (const char* name : {"controller-manager", "scheduler"}) api_->core().components[name] = [problem] { return problem; };
  }

  void start_hollow() {
    hollow_transport_ = api_->transport(component_user("caravel:hollow-nodes"));
    hollow_ = std::make_unique<hollow::HollowNodes>(loop_, kube::Client(*hollow_transport_, "kubelet"));
    for (auto& n : hollow::uniform_nodes(settings_.hollow_nodes, settings_.hollow_zones)) hollow_->add(std::move(n));
  }

  net::EventLoop& loop_;
  Settings settings_;
  Log log_{"server"};
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::string local_port_;
  Pki pki_;
  std::shared_ptr<apiserver::EncryptionRules> encryption_;
  std::string encryption_text_;
  std::unique_ptr<FileReload> encryption_reload_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<AuditFile> audit_file_;
  std::unique_ptr<apiserver::ApiServer> api_;
  std::unique_ptr<apiserver::NodeProxy> proxy_;
  std::unique_ptr<apiserver::HttpFrontend> frontend_;
  std::unique_ptr<net::HttpServer> http_;
  std::unique_ptr<CaSigner> signer_;
  std::unique_ptr<kube::Transport> server_transport_, manager_transport_, scheduler_transport_, hollow_transport_;
  std::unique_ptr<scheduler::ExtenderTransport> extender_transport_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;
  std::unique_ptr<hollow::HollowNodes> hollow_;
  TaskScope scope_;
  Status failure_;
  bool stopping_ = false;
};

Result<int> run(const Flags& flags) {
  if (flags.on("log-json")) set_log_json(true);
  TRY(Settings settings, read_settings(flags));
  net::EventLoop loop;
  Server server(loop, std::move(settings));
  TRY_VOID(server.prepare());
  TaskScope scope;
  auto end = [&] {
    if (!server.stopping()) scope.spawn(server.stop());
  };
  loop.handle_signal(SIGTERM, end);
  loop.handle_signal(SIGINT, end);
  scope.spawn(server.run());
  if (server.failure().ok()) loop.run();
  scope.cancel_all();
  if (!server.failure().ok()) return server.failure().error();
  return 0;
}

std::vector<Flag> flags() {
  std::vector<Flag> all = {
      {"data-dir", "DIR", "keeps the cluster's state, keys and the administrator's kubeconfig"},
      {"listen", "ADDRESS", "where to serve HTTPS; default 127.0.0.1:6443", "", true},
      {"listen-fd", "N", "an inherited listening socket", "", true},
      {"advertise-address", "ADDRESS", "at which pods and nodes reach this server; default: the first that it listens on"},
      {"advertise-port", "PORT", "", "443"},
      {"tls-san", "NAME", "a further name or address in the serving certificate", "", true},
      {"service-cidr", "RANGE", "addresses of Services", "172.20.0.0/16"},
      {"service-account-issuer", "URL", "issuer of ServiceAccount tokens", "https://kubernetes.default.svc.cluster.local"},
      {"store", "WHERE", "rocksdb (below the data directory) or etcd=URL[,URL...]", "rocksdb"},
      {"etcd-cafile", "FILE", "certificate authority of the etcd servers; default: the system's"},
      {"etcd-certfile", "FILE", "client certificate for etcd"},
      {"etcd-keyfile", "FILE", "its key"},
      {"encryption-provider-config", "FILE", "EncryptionConfiguration: which resources are encrypted at rest, with which keys"},
      {"encryption-provider-config-automatic-reload", "true|false", "whether that file is read again when it changes", "false"},
      {"scheduler-config", "FILE", "KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1: profiles, plugins and their arguments, extenders"},
      {"allocate-node-cidrs", "", "give each node a pod range (spec.podCIDR), for networks that route by node"},
      {"cluster-cidr", "CIDR", "the IPv4 range that --allocate-node-cidrs gives out", ""},
      {"node-cidr-mask-size", "BITS", "size of a node's pod range", "24"},
      {"node-monitor-period", "TIME", "between two looks at the nodes' heartbeats", "5s"},
      {"node-monitor-grace-period", "TIME", "a node that is silent for so long is NotReady (Unknown)", "50s"},
      {"node-startup-grace-period", "TIME", "the same for a node that has just been made", "60s"},
      {"node-eviction-rate", "N", "nodes a second that are given NoExecute taints in a zone that is healthy, or down as a whole", "0.1"},
      {"secondary-node-eviction-rate", "N", "the same in a zone that is unhealthy; 0 in zones of up to --large-cluster-size-threshold nodes", "0.01"},
      {"large-cluster-size-threshold", "N", "", "50"},
      {"unhealthy-zone-threshold", "PART", "a zone with this part of its nodes NotReady, and at least three, is unhealthy", "0.55"},
      {"no-controllers", "", "the API alone, without controllers and scheduler"},
      {"hollow-nodes", "N", "simulated nodes that join", "0"},
      {"hollow-zones", "N", "zones to spread them over", "3"},
      {"log-json", "", "log lines as JSON"},
  };
  std::vector<Flag> access = access_flags();
  all.insert(all.end() - 4, access.begin(), access.end());
  std::vector<Flag> audit = audit_flags();
  all.insert(all.end() - 4, audit.begin(), audit.end());
  return all;
}

}  // namespace

const Command kServerCommand = {
    "server",
    "the control plane: API server, controllers and scheduler",
    "usage: caravel server --data-dir DIR [flags]\n\n"
    "Serves the Kubernetes API and writes DIR/kubeconfig when it is ready. Needs no root.\n\n"
    "  caravel server --data-dir /tmp/c --hollow-nodes 10\n"
    "  kubectl --kubeconfig /tmp/c/kubeconfig get nodes\n"
    "  caravel server --data-dir /tmp/c --store etcd=http://10.0.0.1:2379,http://10.0.0.2:2379\n",
    flags(),
    run,
};

}  // namespace caravel::server
