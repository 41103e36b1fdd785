// The cluster as the simulations see it, taken from the informers' caches in one go (no suspension), nodes
// before pods.
#pragma once

#include <set>

#include "karpenter/context.h"
#include "karpenter/solver.h"

namespace caravel::karpenter {

// Why a snapshot cannot be trusted yet (claims that are being launched); "" when it can.
std::string unsynced_reason(const Context& c);

bool is_provisionable(const core::Pod& pod);  // pending, turned down by the scheduler, ours to care for
bool is_reschedulable(const core::Pod& pod);  // would have to go elsewhere if its node went
bool is_daemon(const core::Pod& pod);
bool is_mirror(const core::Pod& pod);

// A ready NodePool with the instance types that its node class offers; nullopt with a reason when it
// cannot be used now.
std::optional<Pool> pool_of(const Context& c, const json::Value& node_pool, std::string* why = nullptr);

// Everything the solver needs. Nodes in `leaving` count as gone: their pods are to be placed elsewhere.
SolverInput snapshot(const Context& c, const std::set<std::string>& leaving);

// Resources in use by a pool, for its limits and status.
Amounts pool_usage(const Context& c, const std::string& pool, int64_t* nodes);

}  // namespace caravel::karpenter
