// From core/v1 objects to what scheduling decisions need of them (scheduling_spec.h). Pure.
#pragma once

#include <optional>
#include <vector>

#include "kube/scheduling_spec.h"
#include "kube/types/fwd.h"

namespace caravel::kube::scheduling {

Selector selector_of(const meta::LabelSelector& s);
NodeTerm term_of(const core::NodeSelectorTerm& t);

// Resource requests by upstream's rules: the sum of containers and sidecars or the largest init container,
// pod-level requests instead where given, plus overhead.
Resources requests_of(const core::Pod& pod);

// default_selector: what selects the pod's siblings (its Service and owner), for the cluster's default
// spread constraints; used when the pod has no constraints of its own.
PodSpec pod_spec_of(const core::Pod& pod, const std::optional<Selector>& default_selector);
NodeSpec node_spec_of(const core::Node& node);

bool is_assigned(const core::Pod& pod);
bool is_terminal(const core::Pod& pod);  // Succeeded or Failed: it uses nothing
int32_t priority_of(const core::Pod& pod);

}  // namespace caravel::kube::scheduling
