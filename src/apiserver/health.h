// /healthz, /livez and /readyz, with ?verbose, ?exclude=NAME and a path of its own for every check.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "apiserver/request.h"

namespace caravel::apiserver {

// Checks beside those that every server has, by name: what is wrong now.
using HealthChecks = std::map<std::string, std::function<Status()>>;
// Told how each check went: "healthz", "livez" or "readyz", its name, and "success", "error" or "pending".
using HealthResults = std::function<void(std::string_view type, const std::string& name, std::string_view status)>;
// `ready`: all that the server does at its start is done. nullopt: the path is none of these.
std::optional<Response> serve_health(const Request& r, bool ready, const HealthChecks& more, const HealthResults& told = nullptr);

}  // namespace caravel::apiserver
