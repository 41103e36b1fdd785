// Who serves the API: each server of a cluster keeps a Lease of its identity in kube-system, so that people
// and controllers know how many there are and which are alive; and the leases of servers that are gone are
// collected.
//
//   name             apiserver-<base32 of the first 16 bytes of the host name's SHA-256, lower case>
//   holderIdentity   that name, "_" and a number drawn at each start
//   labels           apiserver.kubernetes.io/identity=kube-apiserver, kubernetes.io/hostname
//
// A lease lasts an hour and is renewed every ten seconds; a lease is collected when it has run out, within the
// hour after. Threading: one executor.
#pragma once

#include <string>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/client.h"

namespace caravel::server {

constexpr Duration kIdentityLease = std::chrono::hours(1), kIdentityRenewal = std::chrono::seconds(10), kIdentityCollection = std::chrono::hours(1);

std::string identity_lease_name(const std::string& hostname);
// The lease as it is to be written: a fresh one, or `before` renewed. Pure.
json::Value renewed_identity(const json::Value& before, const std::string& hostname, const std::string& holder, Time now);
// A lease without a time of renewal or without a duration has run out too. Pure.
bool identity_expired(const json::Value& lease, Time now);

// Both run until their scope ends. The lease is not given back at the end: it runs out.
Task<void> keep_identity(Executor& ex, kube::Client client, std::string hostname);
Task<void> collect_identities(Executor& ex, kube::Client client);

}  // namespace caravel::server
