#include <gtest/gtest.h>

#include "base/json.h"
#include "dns/cluster_records.h"
#include "dns/vpc_records.h"

namespace caravel::dns {
namespace {

namespace wire = net::dns;

json::Value parse(std::string text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v.ok()) << v.error().message;
  return *v;
}

ClusterRecords cluster() {
  ClusterRecords r;
  r.add_namespace("shop");
  r.add_namespace("default");
  r.add_service(parse(R"({"metadata":{"namespace":"shop","name":"web"},"spec":{"clusterIP":"172.20.0.7","clusterIPs":["172.20.0.7"],"ports":[{"name":"http","port":80},{"name":"dns","port":53,"protocol":"UDP"}]}})"));
  r.add_service(parse(R"({"metadata":{"namespace":"shop","name":"db"},"spec":{"clusterIP":"None","ports":[{"name":"pg","port":5432}]}})"));
  r.add_service(parse(R"({"metadata":{"namespace":"shop","name":"empty"},"spec":{"clusterIP":"None"}})"));
  r.add_service(parse(R"({"metadata":{"namespace":"shop","name":"out"},"spec":{"type":"ExternalName","externalName":"example.com"}})"));
  r.add_slice(parse(R"({"metadata":{"namespace":"shop","name":"db-1","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4","ports":[{"name":"pg","port":5432,"protocol":"TCP"}],
    "endpoints":[{"addresses":["10.0.11.5"],"hostname":"db-0","conditions":{"ready":true}},{"addresses":["10.0.12.5"],"conditions":{}},{"addresses":["10.0.13.5"],"conditions":{"ready":false}}]})"));
  return r;
}

// "A 10.0.0.1 | SRV 100 80 web." or "NXDOMAIN", "NODATA", "not mine".
template <class R>
std::string ask(const R& r, std::string name, uint16_t type) {
  Answer a = r.resolve({name, type});
  if (!a.mine) return "not mine";
  std::string out;
  for (auto& x : a.answers) {
    if (!out.empty()) out += " | ";
    out += wire::type_name(x.type) + " ";
    if (x.type == wire::kSrv) out += std::to_string(x.weight) + " " + std::to_string(x.port) + " ";
    out += x.data;
  }
  for (auto& x : a.additionals) out += " + " + x.data;
  if (a.rcode == wire::kNxDomain) return "NXDOMAIN";
  if (out.empty()) {
    EXPECT_EQ(a.authorities.size(), 1u);
    return "NODATA";
  }
  return out;
}

TEST(ClusterRecords, services) {
  auto r = cluster();
  EXPECT_EQ(ask(r, "web.shop.svc.cluster.local.", wire::kA), "A 172.20.0.7");
  EXPECT_EQ(ask(r, "WEB.Shop.svc.cluster.LOCAL.", wire::kA), "A 172.20.0.7");
  EXPECT_EQ(ask(r, "web.shop.svc.cluster.local.", wire::kAaaa), "NODATA");
  EXPECT_EQ(ask(r, "_http._tcp.web.shop.svc.cluster.local.", wire::kSrv), "SRV 100 80 web.shop.svc.cluster.local. + 172.20.0.7");
  EXPECT_EQ(ask(r, "_http._udp.web.shop.svc.cluster.local.", wire::kSrv), "NXDOMAIN");
  EXPECT_EQ(ask(r, "_http._tcp.web.shop.svc.cluster.local.", wire::kA), "NODATA");
  EXPECT_EQ(ask(r, "nope.shop.svc.cluster.local.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(r, "web.nope.svc.cluster.local.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(r, "shop.svc.cluster.local.", wire::kA), "NODATA");
  EXPECT_EQ(ask(r, "nope.svc.cluster.local.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(r, "out.shop.svc.cluster.local.", wire::kA), "CNAME example.com.");
}

TEST(ClusterRecords, headless_services_name_their_ready_endpoints) {
  auto r = cluster();
  EXPECT_EQ(ask(r, "db.shop.svc.cluster.local.", wire::kA), "A 10.0.11.5 | A 10.0.12.5");
  EXPECT_EQ(ask(r, "db-0.db.shop.svc.cluster.local.", wire::kA), "A 10.0.11.5");
  EXPECT_EQ(ask(r, "10-0-12-5.db.shop.svc.cluster.local.", wire::kA), "A 10.0.12.5");
  EXPECT_EQ(ask(r, "db-1.db.shop.svc.cluster.local.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(r, "_pg._tcp.db.shop.svc.cluster.local.", wire::kSrv),
            "SRV 50 5432 db-0.db.shop.svc.cluster.local. | SRV 50 5432 10-0-12-5.db.shop.svc.cluster.local. + 10.0.11.5 + 10.0.12.5");
  EXPECT_EQ(ask(r, "empty.shop.svc.cluster.local.", wire::kA), "NXDOMAIN");
}

TEST(ClusterRecords, pods_reverse_and_the_zone_itself) {
  auto r = cluster();
  EXPECT_EQ(ask(r, "10-0-11-9.shop.pod.cluster.local.", wire::kA), "A 10.0.11.9");
  EXPECT_EQ(ask(r, "10-0-11-9.nope.pod.cluster.local.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(r, "x.shop.pod.cluster.local.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(r, "7.0.20.172.in-addr.arpa.", wire::kPtr), "PTR web.shop.svc.cluster.local.");
  EXPECT_EQ(ask(r, "5.11.0.10.in-addr.arpa.", wire::kPtr), "PTR db-0.db.shop.svc.cluster.local.");
  EXPECT_EQ(ask(r, "9.9.9.9.in-addr.arpa.", wire::kPtr), "not mine");
  EXPECT_EQ(ask(r, "cluster.local.", wire::kSoa), "SOA ns.dns.cluster.local.");
  EXPECT_EQ(ask(r, "dns-version.cluster.local.", wire::kTxt), "TXT 1.1.0");
  EXPECT_EQ(ask(r, "example.com.", wire::kA), "not mine");
  EXPECT_EQ(ask(r, "notcluster.local.", wire::kA), "not mine");
}

TEST(VpcRecords, tables_wildcards_instances_and_what_does_not_exist) {
  auto r = VpcRecords::parse(R"({"git.caravel.internal.":["10.0.0.5"],"*.elb.amazonaws.com":["10.0.1.5","10.0.2.5"],"a.us-east-1.elb.amazonaws.com.":["10.0.3.3"],
    "app.example.com.":["a.us-east-1.elb.amazonaws.com."],"example.com.":[]})",
                             "us-east-1");
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(ask(*r, "git.caravel.internal.", wire::kA), "A 10.0.0.5");
  EXPECT_EQ(ask(*r, "git.caravel.internal.", wire::kAaaa), "NODATA");
  EXPECT_EQ(ask(*r, "caravel.internal.", wire::kA), "NODATA");
  EXPECT_EQ(ask(*r, "x.caravel.internal.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(*r, "k8s-1.us-east-1.ELB.amazonaws.com.", wire::kA), "A 10.0.1.5 | A 10.0.2.5");
  EXPECT_EQ(ask(*r, "a.us-east-1.elb.amazonaws.com.", wire::kA), "A 10.0.3.3");
  EXPECT_EQ(ask(*r, "app.example.com.", wire::kA), "CNAME a.us-east-1.elb.amazonaws.com.");
  EXPECT_EQ(ask(*r, "nope.example.com.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(*r, "ip-10-0-11-23.us-east-1.compute.internal.", wire::kA), "A 10.0.11.23");
  EXPECT_EQ(ask(*r, "git.caravel.internal.us-east-1.compute.internal.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(*r, "web.", wire::kA), "NXDOMAIN");
  EXPECT_EQ(ask(*r, "www.debian.org.", wire::kA), "not mine");
  EXPECT_EQ(ask(*r, "5.0.0.10.in-addr.arpa.", wire::kPtr), "PTR git.caravel.internal.");
  EXPECT_EQ(ask(*r, "23.11.0.10.in-addr.arpa.", wire::kPtr), "PTR ip-10-0-11-23.us-east-1.compute.internal.");
  EXPECT_FALSE(VpcRecords::parse("[]", "r").ok());
  EXPECT_FALSE(VpcRecords::parse(R"({"a.":7})", "r").ok());
}

}  // namespace
}  // namespace caravel::dns
