#include "controllers/namespace_conditions.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::controllers {

namespace {

void set_namespace_condition(kube::core::NamespaceStatus& s, const std::string& type, bool bad, const std::string& reason, const std::string& good_reason,
                             const std::string& message, const std::string& good_message, Time now) {
  kube::core::NamespaceCondition c;
  c.type = type;
  c.status = bad ? "True" : "False";
  c.reason = bad ? reason : good_reason;
  c.message = bad ? message : good_message;
  c.last_transition_time = Time::from_seconds(now.seconds());
  for (auto& old : s.conditions) {
    if (old.type != type) continue;
    if (old.status == c.status) c.last_transition_time = old.last_transition_time;
    old = c;
    return;
  }
  s.conditions.push_back(std::move(c));
}

}  // namespace

void set_namespace_conditions(kube::core::NamespaceStatus& s, const std::vector<std::string>& failed_groups, const Left& left, Time now) {
  std::vector<std::string> sorted = left.errors;
  std::sort(sorted.begin(), sorted.end());
  const std::string failed = join(failed_groups, ", "), errors = join(sorted, ", ");
  std::string remaining, finalizers;
  for (auto& [r, n] : left.by_resource) remaining += (remaining.empty() ? "" : ", ") + r + " has " + std::to_string(n) + " resource instances";
  for (auto& [f, n] : left.by_finalizer) finalizers += (finalizers.empty() ? "" : ", ") + f + " in " + std::to_string(n) + " resource instances";
  set_namespace_condition(s, "NamespaceDeletionDiscoveryFailure", !failed.empty(), "DiscoveryFailed", "ResourcesDiscovered",
                          "Discovery failed for some groups, " + std::to_string(failed_groups.size()) + " failing: unable to retrieve the complete list of server APIs: " + failed, "All resources successfully discovered", now);
  set_namespace_condition(s, "NamespaceDeletionGroupVersionParsingFailure", false, "GroupVersionParsingFailed", "ParsedGroupVersions", "",
                          "All legacy kube types successfully parsed", now);
  set_namespace_condition(s, "NamespaceDeletionContentFailure", !errors.empty(), "ContentDeletionFailed", "ContentDeleted",
                          "Failed to delete all resource types, " + std::to_string(sorted.size()) + " remaining: " + errors, "All content successfully deleted, may be waiting on finalization", now);
  set_namespace_condition(s, "NamespaceContentRemaining", left.objects > 0, "SomeResourcesRemain", "ContentRemoved",
                          "Some resources are remaining: " + remaining, "All content successfully removed", now);
  set_namespace_condition(s, "NamespaceFinalizersRemaining", !finalizers.empty(), "SomeFinalizersRemain", "ContentHasNoFinalizers",
                          "Some content in the namespace has finalizers remaining: " + finalizers, "All content-preserving finalizers finished", now);
}

}  // namespace caravel::controllers
