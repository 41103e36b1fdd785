// Launching and ending instances: shared by RunInstances, CreateFleet and the shell.
#pragma once

#include <string>
#include <vector>

#include "cloud/context.h"

namespace caravel::cloud {

inline constexpr int kPending = 0, kRunning = 16, kShuttingDown = 32, kTerminated = 48, kStopping = 64, kStopped = 80;
Value state_value(int code);
void set_state(Context& c, const std::string& instance, int code, const std::string& reason_code = "", const std::string& reason = "");

// Launches `count` instances as `spec` says (members of RunInstances, the launch template merged in).
// Errors are EC2's. spot: a spot request is recorded.
Result<std::vector<std::string>> launch_instances(Context& c, const Value& spec, int count, bool spot);
// Base with the members of over on top; tag specifications are joined.
Value merge_launch(const Value& base, const Value& over);
// The data of a launch template's version ("$Latest", "$Default", "3", "").
Result<Value> launch_template_data(Context& c, const Value& specification, Value* resolved = nullptr);

// After the machine has gone: addresses, interfaces and volumes that end with it.
void finish_termination(Context& c, const std::string& instance);
// An EventBridge event to the interruption queue(s).
void publish_event(Context& c, const std::string& source, const std::string& detail_type, Value detail, const std::vector<std::string>& resources);
Value render_instance(Context& c, const Value& i);

// Injected lack of capacity: "" when there is capacity, else the error code.
std::string capacity_error(const Records& r, const std::string& type, const std::string& zone, const std::string& capacity_type);

struct ImageInfo {
  std::string id, name, architecture, description, owner, owner_alias, creation_date, family, variant, root_device;
};
const std::vector<ImageInfo>& images();
const ImageInfo* find_image(std::string_view id);
Value describe_image(const CloudOptions& o, const ImageInfo& i);

}  // namespace caravel::cloud
