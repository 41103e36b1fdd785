#include "dns/command.h"

#include <csignal>

#include "base/log.h"
#include "base/strings.h"
#include "dns/cluster_dns.h"
#include "dns/resolver.h"
#include "dns/server.h"
#include "dns/vpc_records.h"
#include "kube/main_loop.h"
#include "net/http.h"
#include "net/process.h"

namespace caravel::dns {
namespace {

constexpr Duration kLookAtFile = std::chrono::milliseconds(200);

std::vector<std::string> upstreams(const Flags& flags, const char* fallback_file) {
  std::vector<std::string> out;
  for (auto& u : flags.all("upstream"))
    for (auto& one : split(u, ','))
      if (!one.empty()) out.push_back(one);
  if (!out.empty() || !fallback_file) return out;
  auto text = net::read_file(fallback_file);
  return text.ok() ? nameservers(*text) : out;
}

struct Health {
  std::function<bool()> ready;
  MetricRegistry* metrics;
};

Task<void> answer(const Health* health, net::ServerRequest& request, net::ResponseWriter& writer) {
  const std::string& path = request.target.path;
  int status = 404;
  std::string body = "404 page not found\n";
  if (path == "/health") {
    status = 200;
    body = "OK";
  } else if (path == "/ready") {
    status = health->ready() ? 200 : 503;
    body = status == 200 ? "OK" : "kubernetes";
  } else if (path == "/metrics") {
    status = 200;
    body = health->metrics->expose();
  }
  net::Headers headers{{"content-type", "text/plain; charset=utf-8"}};
  auto sent = co_await writer.send(status, headers, body);
  (void)sent;
}

Status serve_http(net::EventLoop& loop, net::HttpServer& server, const Flags& flags) {
  for (auto* name : {"health-address", "ready-address", "metrics-address"}) {
    if (flags.get(name).empty()) continue;
    TRY(auto listener, net::listen(loop, net::Address{flags.get(name)}));
    server.serve(std::move(listener));
  }
  return ok();
}

void run_until_signalled(net::EventLoop& loop) {
  loop.handle_signal(SIGTERM, [&loop] { loop.stop(); });
  loop.handle_signal(SIGINT, [&loop] { loop.stop(); });
  loop.run();
}

std::string zone_name(std::string domain) {
  if (!domain.ends_with('.')) domain += '.';
  return to_lower(domain);
}

Result<int> run_dns(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "coredns"));
  if (flags.given("master")) config.server = flags.get("master");
  TRY(auto transport, kube::make_http_transport(loop, config));
  TRY(int64_t ttl, flags.get_int("ttl"));
  MetricRegistry metrics;
  kube::Client client(*transport, "coredns");
  ClusterDns cluster(loop, client, zone_name(flags.get("domain")), static_cast<uint32_t>(ttl));
  Forwarder forwarder(loop, upstreams(flags, "/etc/resolv.conf"));
  Resolver resolver(forwarder, metrics, [&cluster](const net::dns::Question& q) { return cluster.resolve(q); });
  DnsServer server(loop, [&resolver](net::dns::Message q, std::string protocol) { return resolver.resolve(std::move(q), std::move(protocol)); });
  Health health{[&cluster] { return cluster.ready(); }, &metrics};
  const Health* shared = &health;
  net::HttpServer http(loop, [shared](net::ServerRequest& q, net::ResponseWriter& w) { return answer(shared, q, w); });
  TRY_VOID(serve_http(loop, http, flags));
  TRY_VOID(server.listen(flags.get("listen")));
  TaskScope scope;
  scope.spawn(cluster.run(scope));
  Log("dns").info("answering", {{"address", server.address()}, {"zone", zone_name(flags.get("domain"))}});
  run_until_signalled(loop);
  scope.cancel_all();
  return 0;
}

struct Table {
  std::string file, region, text;
  VpcRecords records;
  bool loaded = false;
};

// A table that cannot be read leaves the last good one in force.
void load(Table& table) {
  Log log("vpc-dns");
  auto text = net::read_file(table.file);
  if (!text.ok() && text.error().code == Code::kNotFound) text = std::string();
  if (!text.ok() || (table.loaded && *text == table.text)) return;
  auto records = VpcRecords::parse(*text, table.region);
  table.text = *text;
  table.loaded = true;
  if (!records.ok()) {
    log.error("the records cannot be used; the old ones stay", {{"file", table.file}, {"error", records.error().message}});
    return;
  }
  table.records = std::move(*records);
  log.info("records loaded", {{"names", table.records.size()}});
}

Task<void> follow(net::EventLoop& loop, Table& table) {
  for (;;) {
    co_await sleep(loop, kLookAtFile);
    load(table);
  }
}

Result<int> run_vpc_dns(const Flags& flags) {
  net::EventLoop loop;
  if (flags.get("records").empty()) return invalid("--records FILE is needed: a JSON object of names and their addresses");
  Table table;
  table.file = flags.get("records");
  table.region = flags.get("region");
  load(table);
  MetricRegistry metrics;
  Forwarder forwarder(loop, upstreams(flags, nullptr));
  Resolver resolver(forwarder, metrics, [&table](const net::dns::Question& q) { return std::optional(table.records.resolve(q)); });
  DnsServer server(loop, [&resolver](net::dns::Message q, std::string protocol) { return resolver.resolve(std::move(q), std::move(protocol)); });
  TRY_VOID(server.listen(flags.get("listen")));
  Health health{[] { return true; }, &metrics};
  const Health* shared = &health;
  net::HttpServer http(loop, [shared](net::ServerRequest& q, net::ResponseWriter& w) { return answer(shared, q, w); });
  TRY_VOID(serve_http(loop, http, flags));
  TaskScope scope;
  scope.spawn(follow(loop, table));
  Log("vpc-dns").info("answering", {{"address", server.address()}});
  run_until_signalled(loop);
  return 0;
}

}  // namespace

const Command kDnsCommand = {
    "dns",
    "cluster DNS: names of Services and pods, the rest forwarded",
    "caravel dns --upstream 10.0.0.2\n",
    {
        {"kubeconfig", "FILE", "how to reach the API server; default: the pod's ServiceAccount"},
        {"master", "URL", "the API server's address, in place of the kubeconfig's"},
        {"listen", "ADDRESS", "where questions arrive, UDP and TCP", "0.0.0.0:53"},
        {"upstream", "ADDRESS", "who is asked about other names; default: the servers in /etc/resolv.conf", "", true},
        {"domain", "DOMAIN", "the cluster's domain", "cluster.local"},
        {"ttl", "SECONDS", "how long clients may keep answers", "30"},
        {"health-address", "ADDRESS", "where /health answers; empty: nowhere", "0.0.0.0:8080"},
        {"ready-address", "ADDRESS", "where /ready answers; empty: nowhere", "0.0.0.0:8181"},
        {"metrics-address", "ADDRESS", "where /metrics answers; empty: nowhere", "0.0.0.0:9153"},
    },
    run_dns,
    false,
};

const Command kVpcDnsCommand = {
    "vpc-dns",
    "the VPC's resolver: names of instances and load balancers",
    "caravel vpc-dns --listen 10.0.0.2:53 --records DATA/world/dns.json\n"
    "The file is a JSON object: {\"git.caravel.internal.\": [\"10.0.0.5\"], \"*.elb.amazonaws.com.\": [...], \"alias.\": [\"target.\"]}.\n"
    "It is read again when it changes.\n",
    {
        {"listen", "ADDRESS", "where questions arrive, UDP and TCP", "10.0.0.2:53"},
        {"records", "FILE", "names and addresses, JSON"},
        {"region", "REGION", "of the names ip-A-B-C-D.REGION.compute.internal", "us-east-1"},
        {"upstream", "ADDRESS", "who is asked about other names; none: they are refused", "", true},
        {"health-address", "ADDRESS", "where /health answers; empty: nowhere", ""},
        {"ready-address", "ADDRESS", "where /ready answers; empty: nowhere", ""},
        {"metrics-address", "ADDRESS", "where /metrics answers; empty: nowhere", ""},
    },
    run_vpc_dns,
    true,
};

}  // namespace caravel::dns
