#include "cloud/command.h"

#include <signal.h>

#include <filesystem>

#include "base/strings.h"
#include "cloud/cloud.h"
#include "cloud/hollow_substrate.h"
#include "machines/world_substrate.h"
#include "net/event_loop.h"
#include "net/http.h"
#include "net/process.h"

namespace caravel::cloud {

namespace {

constexpr size_t kBodyMax = 16 << 20;
constexpr Duration kRefresh = std::chrono::seconds(5);

// The files that belong to the cluster appear and change while we run.
struct ClusterFiles {
  std::string ca, jwks;
};

Task<void> refresh(net::EventLoop& loop, Cloud& cloud, ClusterFiles files) {
  for (;;) {
    if (!files.ca.empty())
      if (auto text = net::read_file(files.ca); text.ok()) cloud.options().cluster_ca = *text;
    if (!files.jwks.empty())
      if (auto text = net::read_file(files.jwks); text.ok()) cloud.options().jwks = *text;
    co_await sleep(loop, kRefresh);
  }
}

Task<void> serve(Cloud& cloud, net::ServerRequest& in, net::ResponseWriter& out) {
  aws::HttpRequest r;
  r.method = in.method;
  r.path = in.target.path;
  r.query = in.target.query;
  for (auto& [k, v] : in.headers) r.headers.emplace_back(k, v);
  if (r.header("host").empty() && !in.authority.empty()) r.headers.emplace_back("host", in.authority);
  auto body = co_await in.body->read_all(kBodyMax);
  if (!body.ok()) {
    net::Headers none;
    co_await out.send(413, std::move(none), "the request is too large\n");
    co_return;
  }
  r.body = std::move(*body);
  aws::HttpResponse answer = co_await cloud.handle(std::move(r));
  net::Headers headers;
  for (auto& [k, v] : answer.headers) headers.add(k, v);
  std::string text = std::move(answer.body);
  co_await out.send(answer.status, std::move(headers), std::move(text));
}

// Root's access key, for the owner of the data directory: in the format of ~/.aws/credentials.
Status write_credentials(const std::string& dir, const Cloud& cloud) {
  for (auto& [id, k] : cloud.records().table("access-keys"))
    if (k["UserName"].as_string().empty())
      return net::write_file_atomic(dir + "/credentials", "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = " + k["_secret"].as_string() + "\n", 0600);
  return ok();
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  Log log("cloud");
  std::string dir = flags.get("data-dir");
  TRY_VOID(net::make_directories(dir, 0700));
  CloudOptions o;
  o.region = flags.get("region");
  o.account = flags.get("account");
  o.cluster = flags.get("cluster");
  o.kubernetes_version = flags.get("kubernetes-version");
  o.cluster_endpoint = flags.get("cluster-endpoint");
  o.oidc_issuer = flags.get("oidc-issuer");
  o.endpoint = "http://" + (flags.all("listen").empty() ? std::string("127.0.0.1:4566") : flags.all("listen")[0]);
  o.strict_iam = flags.on("strict-iam");
  o.trust_any_web_identity = flags.get("jwks").empty();

  std::unique_ptr<machines::Substrate> substrate;
  if (flags.get("substrate") == "world") {
    machines::WorldOptions w;
    w.program = std::filesystem::read_symlink("/proc/self/exe").string();
    w.data_directory = flags.get("machines-dir").empty() ? dir + "/../machines" : flags.get("machines-dir");
    w.containerd_socket = flags.get("containerd");
    w.cgroup_root = flags.get("cgroup-root");
    w.control_plane_namespace = flags.get("control-plane-namespace");
    w.dns_records_file = flags.get("dns-records");
    for (const std::string& entry : flags.all("dns-extra")) {
      size_t eq = entry.find('=');
      if (eq == entry.npos) return invalid("--dns-extra " + entry + " must be NAME=ADDRESS[,ADDRESS]");
      w.dns_extra[entry.substr(0, eq)] = split(entry.substr(eq + 1), ',');
    }
    substrate = machines::make_world_substrate(loop, w);
  } else if (flags.get("substrate") == "hollow") {
    HollowOptions h;
    TRY(h.boot_delay, parse_duration(flags.get("boot-delay")));
    substrate = make_hollow_substrate(loop, h);
  } else {
    return invalid("--substrate must be world or hollow, not " + flags.get("substrate"));
  }

  std::unique_ptr<Journal> journal = make_file_journal(loop, dir + "/journal");
  Cloud cloud(loop, o, *journal, *substrate);
  TRY_VOID(cloud.start());
  TRY_VOID(write_credentials(dir, cloud));
  TaskScope scope;
  scope.spawn(refresh(loop, cloud, {flags.get("cluster-ca"), flags.get("jwks")}));
  net::HttpServer server(loop, [&cloud](net::ServerRequest& in, net::ResponseWriter& out) { return serve(cloud, in, out); });
  std::vector<std::string> addresses = flags.all("listen");
  std::vector<std::string> fds = flags.all("listen-fd");
  if (addresses.empty() && fds.empty()) addresses.push_back("127.0.0.1:4566");
  for (const std::string& a : addresses) {
    TRY(auto listener, net::listen(loop, net::Address{a}));
    log.info("serving the AWS API", {{"address", listener->address()}});
    server.serve(std::move(listener));
  }
  for (const std::string& text : fds) {
    auto fd = parse_int(text);
    if (!fd) return invalid("--listen-fd " + text + " is no number");
    TRY(auto listener, net::listen_fd(loop, static_cast<int>(*fd)));
    server.serve(std::move(listener));
  }
  loop.handle_signal(SIGTERM, [&loop] { loop.stop(); });
  loop.handle_signal(SIGINT, [&loop] { loop.stop(); });
  loop.run();
  return 0;
}

}  // namespace

const Command kCloudCommand = {
    "cloud",
    "the embedded AWS: EC2, ELBv2, IAM, STS, EKS, SSM, Pricing, SQS, ACM",
    "Serves the AWS API. Any key made by its IAM signs; so do test/test, unless --strict-iam.\n\n"
    "  caravel cloud --data-dir /tmp/cloud --substrate hollow\n"
    "  AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test aws --endpoint-url http://127.0.0.1:4566 --region us-east-1 ec2 describe-vpcs\n",
    {
        {"data-dir", "DIR", "journal and credentials", "/var/lib/caravel/cloud"},
        {"listen", "ADDRESS", "address to serve on (default 127.0.0.1:4566)", "", true},
        {"listen-fd", "N", "listening socket that was opened by the parent", "", true},
        {"substrate", "KIND", "world: namespaces, nftables and HAProxy; hollow: simulated instances", "hollow"},
        {"boot-delay", "DURATION", "how long a hollow instance takes to boot", "1s"},
        {"region", "REGION", "the region", "us-east-1"},
        {"account", "ID", "the account", "000000000000"},
        {"cluster", "NAME", "the EKS cluster", "caravel"},
        {"kubernetes-version", "VERSION", "what DescribeCluster says", "1.36"},
        {"cluster-endpoint", "URL", "what DescribeCluster says", "https://10.0.11.10:443"},
        {"cluster-ca", "FILE", "the cluster's CA certificate", ""},
        {"jwks", "FILE", "the cluster's ServiceAccount keys, which verify AssumeRoleWithWebIdentity; without it any token is believed", ""},
        {"oidc-issuer", "URL", "the cluster's ServiceAccount issuer", "https://kubernetes.default.svc.cluster.local"},
        {"strict-iam", "", "only access keys that IAM made; test/test is refused", ""},
        {"machines-dir", "DIR", "world: files of instances and load balancers", ""},
        {"containerd", "SOCKET", "world: containerd", "/run/containerd/containerd.sock"},
        {"cgroup-root", "PATH", "world: cgroup of the instances", "/caravel"},
        {"control-plane-namespace", "NAME", "world: network namespace of the control plane", "cp"},
        {"dns-records", "FILE", "world: where the VPC resolver reads its records", ""},
        {"dns-extra", "NAME=ADDRESS", "world: a name that is always there", "", true},
    },
    run,
};

}  // namespace caravel::cloud
