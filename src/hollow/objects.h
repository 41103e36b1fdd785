// The objects that hollow nodes write, as documents.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "hollow/hollow.h"
#include "kube/types/coordination.h"

namespace caravel::hollow {

json::Value node_object(const NodeSpec& s, const std::string& version, Time now);
std::string node_address(const NodeSpec& s);
bool is_ready_node(const json::Value& node);
kube::coordination::Lease lease_object(const std::string& node, const std::string& node_uid, Duration length, Time now);

bool is_ready_pod(const json::Value& pod);
bool never_ready(const json::Value& pod);
std::string run_for(const json::Value& pod);  // the annotation, "" without
Time start_time(const json::Value& pod, Time fallback);
// True when a pod with run-for has run for that long.
bool is_due(const json::Value& pod, Time now);
// Sets the status of a pod that has started, or ended.
void run_pod(json::Value& pod, const std::string& address, const std::string& host, Time now);
void finish_pod(json::Value& pod, Time now);

}  // namespace caravel::hollow
