#include "world/processes.h"

#include "base/json.h"
#include "net/x509.h"

namespace caravel::world {
namespace {

constexpr char kContainerdSocket[] = "/run/containerd/containerd.sock";

std::string directory_of(const std::string& program) { return program.substr(0, program.rfind('/')); }

std::string containerd_config(const Layout& l) {
  return "version = 2\nroot = \"" + l.data +
         "/containerd\"\nstate = \"/run/containerd\"\noom_score = 0\n"
         "disabled_plugins = [\"io.containerd.internal.v1.opt\", \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\", \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.aufs\"]\n"
         "[grpc]\n  address = \"" +
         std::string(kContainerdSocket) +
         "\"\n"
         "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
         "  sandbox_image = \"caravel.local/pause:latest\"\n  enable_selinux = false\n  disable_apparmor = true\n  restrict_oom_score_adj = true\n  max_container_log_line_size = 16384\n  disable_hugetlb_controller = true\n"
         "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"/nonexistent\"\n    conf_dir = \"/nonexistent\"\n"
         "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n    default_runtime_name = \"runc\"\n    snapshotter = \"overlayfs\"\n"
         "  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n    runtime_type = \"io.containerd.runc.v2\"\n    pod_annotations = [\"caravel.dev/*\"]\n    container_annotations = [\"caravel.dev/*\"]\n"
         "    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n      BinaryName = \"" +
         directory_of(l.program) + "/caravel-oci\"\n      SystemdCgroup = false\n";
}

Status write_pebble(const Layout& l) {
  std::string dir = l.data + "/world/pebble";
  TRY_VOID(net::make_directories(dir, 0700));
  if (!net::path_exists(dir + "/ca.pem")) {
    auto loop_time = std::chrono::system_clock::now().time_since_epoch();
    Time now{std::chrono::duration_cast<Duration>(loop_time).count()};
    TRY(std::string ca_key, net::generate_key(net::KeyType::kEcdsaP256));
    net::CertificateSpec ca;
    ca.names.common_name = "Caravel ACME endpoint CA";
    ca.not_before = now - std::chrono::hours(1);
    ca.not_after = now + std::chrono::hours(24 * 3650);
    ca.is_ca = true;
    TRY(std::string ca_pem, net::make_certificate(ca, ca_key, "", ""));
    TRY(std::string key, net::generate_key(net::KeyType::kEcdsaP256));
    net::CertificateSpec leaf = ca;
    leaf.is_ca = false;
    leaf.server_auth = true;
    leaf.names.common_name = "acme.caravel.internal";
    leaf.names.dns_names = {"acme.caravel.internal", "localhost"};
    leaf.names.ip_addresses = {"10.0.0.6", "127.0.0.1"};
    TRY(std::string pem, net::make_certificate(leaf, key, ca_pem, ca_key));
    TRY_VOID(net::write_file_atomic(dir + "/key.pem", key, 0600));
    TRY_VOID(net::write_file_atomic(dir + "/cert.pem", pem));
    TRY_VOID(net::write_file_atomic(dir + "/ca.pem", ca_pem));
  }
  json::Value c = json::Value::object();
  json::Value& p = c["pebble"];
  p["listenAddress"] = "10.0.0.6:14000";
  p["managementListenAddress"] = "10.0.0.6:15000";
  p["certificate"] = dir + "/cert.pem";
  p["privateKey"] = dir + "/key.pem";
  p["httpPort"] = 80;
  p["tlsPort"] = 443;
  p["ocspResponderURL"] = "";
  p["externalAccountBindingRequired"] = false;
  p["certificateValidityPeriod"] = 7776000;
  return net::write_file_atomic(dir + "/config.json", json::dump_pretty(c));
}

void pass_socket(const Layout& l, const char* name, ProcessSpec& spec) {
  auto it = l.sockets.find(name);
  if (it == l.sockets.end()) return;
  spec.fds.emplace_back(it->second, it->second);
  spec.argv.push_back("--listen-fd");
  spec.argv.push_back(std::to_string(it->second));
}

}  // namespace

Status write_configuration(const Layout& l) {
  TRY_VOID(net::write_file_atomic(l.data + "/world/containerd.toml", containerd_config(l)));
  TRY_VOID(net::write_file_atomic(l.data + "/world/records.json", "{}"));
  if (l.pebble) TRY_VOID(write_pebble(l));
  return ok();
}

std::vector<ProcessSpec> process_table(const Layout& l) {
  std::vector<ProcessSpec> out;
  std::string records = l.data + "/world/records.json";

  ProcessSpec containerd;
  containerd.name = "containerd";
  containerd.argv = {"containerd", "--config", l.data + "/world/containerd.toml", "--log-level", "warn"};
  containerd.environment["GOGC"] = "50";
  containerd.environment["GOMAXPROCS"] = "2";
  containerd.ready_address = std::string("unix:") + kContainerdSocket;
  out.push_back(containerd);

  ProcessSpec images;
  images.name = "images";
  images.argv = {l.program, "images", "--containerd", kContainerdSocket, "--state-dir", l.data + "/images"};
  images.after = {"containerd"};
  images.once = true;
  out.push_back(images);

  ProcessSpec cloud;
  cloud.name = "cloud";
  cloud.argv = {l.program, "cloud", "--data-dir", l.data + "/cloud", "--substrate", "world", "--listen", "10.0.0.4:4566", "--machines-dir", l.data + "/machines",
                "--dns-records", records, "--cgroup-root", l.cgroup, "--containerd", kContainerdSocket};
  cloud.argv.insert(cloud.argv.end(), {"--dns-extra", "git.caravel.internal=10.0.0.5", "--dns-extra", "acme.caravel.internal=10.0.0.6"});
  cloud.argv.insert(cloud.argv.end(), {"--cluster-endpoint", "https://10.0.11.10:443", "--cluster-ca", l.data + "/server/pki/ca.crt", "--jwks", l.data + "/server/pki/service-account.jwks"});
  // Machines that start again run containers at once: from the images of this program, not from those of the one before.
  cloud.after = {"server", "images"};
  pass_socket(l, "aws", cloud);
  cloud.ready_address = "10.0.0.4:4566";
  out.push_back(cloud);

  ProcessSpec server;
  server.name = "server";
  server.argv = {l.program, "server", "--data-dir", l.data + "/server", "--listen", "0.0.0.0:443", "--advertise-address", "10.0.11.10", "--advertise-port", "443", "--tls-san", "10.0.11.10"};
  server.netns = "cp";
  pass_socket(l, "kubernetes-api", server);
  server.ready_file = l.data + "/server/kubeconfig";
  out.push_back(server);

  ProcessSpec dns;
  dns.name = "vpc-dns";
  dns.argv = {l.program, "vpc-dns", "--listen", "10.0.0.2:53", "--records", records};
  out.push_back(dns);

  ProcessSpec git;
  git.name = "git";
  git.argv = {l.program, "git-server", "--root", l.data + "/git", "--listen", "10.0.0.5:3000"};
  if (!l.repository.empty()) {
    git.argv.push_back("--seed");
    git.argv.push_back("platform=" + l.repository);
  }
  pass_socket(l, "git", git);
  git.ready_address = "10.0.0.5:3000";
  out.push_back(git);

  ProcessSpec edge;
  edge.name = "edge";
  edge.argv = {l.program, "edge", "--records", records, "--doors", l.data + "/world/doors.json", "--from", "198.51.100.10"};
  edge.netns = "internet";
  for (auto name : {"http", "https"})
    if (auto it = l.sockets.find(name); it != l.sockets.end()) {
      edge.fds.emplace_back(it->second, it->second);
      edge.argv.push_back(std::string("--") + name + "-fd");
      edge.argv.push_back(std::to_string(it->second));
    }
  out.push_back(edge);

  if (l.pebble) {
    ProcessSpec pebble;
    pebble.name = "pebble";
    pebble.argv = {"pebble", "-config", l.data + "/world/pebble/config.json", "-dnsserver", "10.0.0.2:53"};
    pebble.environment = {{"PEBBLE_VA_NOSLEEP", "1"}, {"PEBBLE_WFE_NONCEREJECT", "0"}};
    pebble.ready_address = "10.0.0.6:14000";
    out.push_back(pebble);
  }
  return out;
}

}  // namespace caravel::world
