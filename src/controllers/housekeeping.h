// Decisions of small controllers: how long kubelets may trust what they cached, and which bootstrap tokens and certificate
// requests have had their day. Plain functions.
#pragma once

#include <cstddef>
#include <optional>

#include "base/clock.h"
#include "kube/types/certificates.h"
#include "kube/types/core.h"

namespace caravel::controllers {

// Seconds in node.alpha.kubernetes.io/ttl for a cluster of this size. The steps overlap, so that a cluster
// at an edge does not flap: `step` is the present one and is moved.
int node_ttl(size_t nodes, size_t& step);
// When a bootstrap token ends; nothing if it is no token or has no (readable) end. One without a readable
// end has ended, as upstream.
std::optional<Time> token_end(const kube::core::Secret& s);
// When a certificate request is removed: an hour after it was answered (denied, failed, or approved and issued), a day after
// it was made if nobody has said anything. Nothing while it is approved and its signer, maybe somebody else's, still works on it.
std::optional<Time> csr_end(const kube::certificates::CertificateSigningRequest& c);

}  // namespace caravel::controllers
