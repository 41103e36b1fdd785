// Reads the metrics APIs (metrics.k8s.io, custom.metrics.k8s.io, external.metrics.k8s.io), which aggregated servers give.
// Errors are worded as upstream's metrics client and client-go do, since people search for these sentences.
#pragma once

#include <string>

#include "controllers/horizontal_pod_autoscaler_logic.h"
#include "kube/client.h"

namespace caravel::controllers {

// One metric of a spec, for the pods that `selector` selects in the autoscaler's namespace. `object_resource`: group
// resource of the described object of an Object metric, "ingresses.networking.k8s.io".
Task<Result<Measured>> measure(kube::Client client, std::string ns, std::string selector, kube::autoscaling::MetricSpec metric, std::string object_resource);

// Parsers of what they answer.
Measured resource_usage(const json::Value& pod_metrics_list, const std::string& resource, const std::string& container);
Measured pod_values(const json::Value& metric_value_list);
Measured first_value(const json::Value& metric_value_list);
Measured sum_of_values(const json::Value& external_metric_value_list);

}  // namespace caravel::controllers
