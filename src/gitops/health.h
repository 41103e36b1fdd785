// Health of objects as Argo CD judges it (its built-in checks). Pure.
#pragma once

#include <string>

#include "base/json.h"

namespace caravel::gitops {

struct Health {
  std::string status;  // Healthy Suspended Progressing Missing Degraded Unknown; "" when a kind has none
  std::string message;
};
Health health_of(const json::Value& live);
// The worse of two.
std::string worse(const std::string& a, const std::string& b);

}  // namespace caravel::gitops
