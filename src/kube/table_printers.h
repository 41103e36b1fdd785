// Cells of built-in kinds that are more than one field: what "@name" columns of schema/ name.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "kube/kinds.h"

namespace caravel::kube {

json::Value print_cell(const KindInfo& kind, std::string_view name, const json::Value& object, Time now);

// One function per family, in table_*.cc. They return null for names that they do not know.
json::Value print_pod(std::string_view name, const json::Value& o, Time now);
json::Value print_workload(std::string_view kind, std::string_view name, const json::Value& o, Time now);
json::Value print_network(std::string_view kind, std::string_view name, const json::Value& o);
json::Value print_cluster(std::string_view kind, std::string_view name, const json::Value& o, Time now);
json::Value print_storage(std::string_view kind, std::string_view name, const json::Value& o);
json::Value print_policy(std::string_view kind, std::string_view name, const json::Value& o, Time now);

std::string age_text(const json::Value& timestamp, Time now);
std::string or_none(std::string s);  // "" -> "<none>"
// A LabelSelector object as text: "app=web,tier in (a,b)"; "<none>" when it is empty.
std::string selector_text(const json::Value& selector);
std::string labels_text(const json::Value& labels);  // "a=b,c=d", "<none>"

}  // namespace caravel::kube
