// Makers of IAM records, for the actions and the first start.
#pragma once

#include <string>

#include "cloud/context.h"

namespace caravel::cloud {

std::string make_role(Context& c, const std::string& name, const std::string& trust, const std::string& path, const std::string& description);
void make_instance_profile(Context& c, const std::string& name, const std::string& path, const std::string& role);
// user "" is the account's root.
std::string make_access_key(Context& c, const std::string& user);
// The roles and the instance profile of the platform, the root access key, the session key.
void seed_iam(Context& c);

}  // namespace caravel::cloud
