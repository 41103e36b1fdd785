#include "server/identity_lease.h"

#include <gtest/gtest.h>

#include "apiserver/api_server.h"

namespace caravel::server {
namespace {

const kube::Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease", true};

TEST(IdentityLease, TheNameIsDrawnFromTheHostName) {
  const std::string name = identity_lease_name("control-plane");
  EXPECT_EQ(name.size(), std::string("apiserver-").size() + 26);
  EXPECT_EQ(name, identity_lease_name("control-plane"));
  EXPECT_NE(name, identity_lease_name("other"));
  // printf '' | sha256sum begins with e3b0c44298fc1c149afbf4c8996fb924
  EXPECT_EQ(identity_lease_name(""), "apiserver-4oymiquy7qobjgx36tejs35zeq");
}

TEST(IdentityLease, ALeaseWithoutRenewalOrDurationHasRunOut) {
  const Time now = Time::from_seconds(100'000);
  json::Value lease = renewed_identity(json::Value(), "h", "x", now);
  EXPECT_FALSE(identity_expired(lease, now + kIdentityLease));
  EXPECT_TRUE(identity_expired(lease, now + kIdentityLease + Duration(std::chrono::seconds(1))));
  lease["spec"].erase("leaseDurationSeconds");
  EXPECT_TRUE(identity_expired(lease, now));
}

TEST(IdentityLease, IsRenewedEachTenSecondsAndCollectedOnceItsServerIsGone) {
  VirtualExecutor ex{7};
  auto store = store::make_memory_store(ex);
  auto started = run_task(ex, apiserver::ApiServer::start(ex, *store, apiserver::ApiServerOptions()));
  ASSERT_TRUE(started.ok()) << started.error().message;
  apiserver::User admin;
  admin.name = "system:apiserver";
  admin.groups = {"system:masters", "system:authenticated"};
  auto transport = (*started)->transport(admin);
  kube::Client client(*transport, "kube-apiserver");
  TaskScope here, there;
  here.spawn(keep_identity(ex, client, "here"));
  here.spawn(collect_identities(ex, client));
  there.spawn(keep_identity(ex, client, "there"));
  auto look = [&](const std::string& host) { return run_task(ex, client.get(kLeases, "kube-system", identity_lease_name(host))); };

  ex.run_for(std::chrono::seconds(1));
  auto first = look("here");
  ASSERT_TRUE(first.ok()) << first.error().message;
  const json::Value lease = *first;
  EXPECT_EQ(lease["metadata"]["labels"]["apiserver.kubernetes.io/identity"].as_string(), "kube-apiserver");
  EXPECT_EQ(lease["metadata"]["labels"]["kubernetes.io/hostname"].as_string(), "here");
  EXPECT_EQ(lease["spec"]["leaseDurationSeconds"].as_int(), 3600);
  EXPECT_TRUE(lease["spec"]["holderIdentity"].as_string().starts_with(identity_lease_name("here") + "_"));
  ex.run_for(std::chrono::seconds(10));
  auto second = look("here");
  ASSERT_TRUE(second.ok());
  EXPECT_NE(std::as_const(*second)["spec"]["renewTime"].as_string(), lease["spec"]["renewTime"].as_string());

  there.cancel_all();
  ex.run_for(std::chrono::minutes(59));
  EXPECT_TRUE(look("there").ok());
  ex.run_for(std::chrono::hours(1) + std::chrono::minutes(2));
  EXPECT_EQ(look("there").error().code, Code::kNotFound);
  EXPECT_TRUE(look("here").ok()) << "a server that lives keeps its lease";
}

}  // namespace
}  // namespace caravel::server
