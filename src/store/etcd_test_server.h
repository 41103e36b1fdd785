// An etcd process for tests, on loopback ports of its own; it ends with the object or with us.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/scope.h"
#include "net/event_loop.h"
#include "net/tls.h"
#include "net/x509.h"

namespace caravel::store {

// --- a loop driven from a test ---
inline Task<void> poll_until(net::EventLoop* loop, const std::function<bool()>* until) {
  while (!(*until)()) co_await sleep(*loop, std::chrono::milliseconds(1));
  loop->stop();
}
inline void drive(net::EventLoop& loop, std::function<bool()> until) {
  TaskScope scope;
  scope.spawn(poll_until(&loop, &until));
  loop.run();
}
// A port on loopback that nobody has. Taken from below the range of ports that the kernel gives to outgoing connections, from a
// place that depends on the process: tests that run side by side must not find each other's etcd at a port just freed.
inline int free_port() {
  static int next = getpid() * 16;
  for (;;) {
    int port = 20000 + next++ % 12000;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(static_cast<uint16_t>(port));
    bool free = bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
    close(fd);
    if (free) return port;
  }
}

// A certificate authority and one certificate for 127.0.0.1, for servers, members and clients alike; in files, as etcd
// wants them. They go with the object.
class EtcdTls {
 public:
  EtcdTls() {
    char dir[] = "/tmp/caravel-etcd-tls-XXXXXX";
    dir_ = mkdtemp(dir);
    const Time now = net::EventLoop().now();
    net::CertificateSpec ca, leaf;
    ca.names.common_name = "etcd-ca";
    ca.not_before = leaf.not_before = now - std::chrono::hours(1);
    ca.not_after = leaf.not_after = now + std::chrono::hours(24);
    ca.is_ca = true;
    leaf.names.common_name = "etcd";
    leaf.names.ip_addresses = {"127.0.0.1"};
    leaf.server_auth = leaf.client_auth = true;
    const std::string ca_key = *net::generate_key(net::KeyType::kEcdsaP256);
    ca_ = *net::make_certificate(ca, ca_key, "", "");
    key_ = *net::generate_key(net::KeyType::kEcdsaP256);
    certificate_ = *net::make_certificate(leaf, key_, ca_, ca_key);
    for (auto& [name, text] : {std::pair("ca", &ca_), std::pair("cert", &certificate_), std::pair("key", &key_)}) std::ofstream(path(name)) << *text;
  }
  ~EtcdTls() { std::filesystem::remove_all(dir_); }
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  const std::string& ca() const { return ca_; }
  const std::string& certificate() const { return certificate_; }
  const std::string& key() const { return key_; }

 private:
  std::string dir_, ca_, certificate_, key_;
};

class EtcdServer {
 public:
  static bool available() { return access("/usr/bin/etcd", X_OK) == 0; }
  EtcdServer() : EtcdServer("one", free_port(), free_port(), "") {}
  // `cluster`: "one=http://127.0.0.1:p,..." or "" for a member alone.
  // With `tls` everybody shows a certificate to everybody; it outlives the server.
  EtcdServer(std::string name, int client_port, int peer_port, std::string cluster, const EtcdTls* tls = nullptr) : name_(std::move(name)), client_(client_port), peer_(peer_port), cluster_(std::move(cluster)), tls_(tls) {
    char dir[] = "/tmp/caravel-etcd-XXXXXX";
    dir_ = mkdtemp(dir);
    if (cluster_.empty()) cluster_ = name_ + "=" + scheme() + "127.0.0.1:" + std::to_string(peer_);
    start();
  }
  ~EtcdServer() {
    kill_now();
    std::filesystem::remove_all(dir_);
  }
  std::string scheme() const { return tls_ ? "https://" : "http://"; }
  std::string url() const { return scheme() + "127.0.0.1:" + std::to_string(client_); }
  void kill_now() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void start() {
    std::string client = url(), peer = scheme() + "127.0.0.1:" + std::to_string(peer_), data = dir_ + "/data";
    std::vector<std::string> args = {"etcd", "--name", name_, "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client,
                                     "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster_,
                                     "--heartbeat-interval", "50", "--election-timeout", "300", "--logger", "zap", "--log-outputs", dir_ + "/log"};
    if (tls_)
      for (std::string prefix : {"--", "--peer-"})
        for (std::string a : {prefix + "cert-file=" + tls_->path("cert"), prefix + "key-file=" + tls_->path("key"), prefix + "trusted-ca-file=" + tls_->path("ca"), prefix + "client-cert-auth"}) args.push_back(a);
    std::vector<char*> argv;
    for (auto& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);  // whoever waits for the test's output must not wait for etcd's
    dup2(nowhere, 0);
    dup2(nowhere, 1);
    dup2(nowhere, 2);
    execv("/usr/bin/etcd", argv.data());
    _exit(127);
  }

 private:
  std::string name_;
  int client_ = 0, peer_ = 0;
  std::string cluster_, dir_;
  const EtcdTls* tls_ = nullptr;
  pid_t pid_ = -1;
};

}  // namespace caravel::store
