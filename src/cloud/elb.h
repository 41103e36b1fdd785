// Names and look-ups that the load balancer actions share.
#pragma once

#include <string>
#include <vector>

#include "cloud/context.h"

namespace caravel::cloud {

std::string elb_name_of(std::string_view arn);  // the name inside a load balancer's or target group's ARN
// Attributes as [{"Key","Value"}] over defaults.
Value attribute_list(const Value& set);
std::string attribute(const Value& record, std::string_view key);
// Load balancers whose listeners or rules forward to a target group.
std::vector<std::string> users_of_target_group(const Records& r, std::string_view arn);
std::vector<std::string> target_groups_of_action(const Value& action);
// [{"Key","Value"}] of the input, without repeats.
Value elb_tags(const Value& in);
void remove_listener(Context& c, const std::string& arn);

}  // namespace caravel::cloud
