// ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, for rollbacks.
#pragma once

#include "controllers/common.h"
#include "kube/types/apps.h"

namespace caravel::controllers {

using RevisionPtr = std::shared_ptr<const kube::apps::ControllerRevision>;
inline constexpr const char* kRevisionHash = "controller-revision-hash";

// {"spec":{"template":{...,"$patch":"replace"}}}
json::Value revision_data(const kube::core::PodTemplateSpec& t);
Result<kube::core::PodTemplateSpec> template_of(const kube::apps::ControllerRevision& r);
// The hash that pods of this revision carry in kRevisionHash.
std::string revision_hash(const kube::apps::ControllerRevision& r);

struct History {
  std::vector<RevisionPtr> all;  // by revision number
  RevisionPtr update;            // holds the present template
};
// Finds or makes the revision of `data`. Its number is the highest. A name taken by other data is an
// error with kConflict after `*collisions` was raised.
Task<Result<History>> sync_history(kube::Client client, std::vector<RevisionPtr> owned, kube::meta::OwnerReference owner, std::string ns,
                                   std::map<std::string, std::string> labels, kube::core::PodTemplateSpec t, std::optional<int32_t>* collisions);
// Removes the oldest revisions beyond `limit` that are not in `live` (names).
Task<Status> trim_history(kube::Client client, std::vector<RevisionPtr> all, std::set<std::string> live, int32_t limit);

}  // namespace caravel::controllers
