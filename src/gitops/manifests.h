// From the files of a source to the objects that it wants. Pure.
//
// A directory source: every .yaml, .yml and .json file, documents and lists, with include and exclude
// globs. YAML files that are no manifests at all are passed over, as are files with "+argocd:skip-file-rendering";
// a manifest that cannot be read is an error that names its file. Kustomize, Helm and plugin sources are refused with a sentence that says so.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::gitops {

Result<std::vector<json::Value>> render_directory(const std::map<std::string, std::string>& files, const json::Value& source);

// Sets what Argo CD sets on each object before it compares: the namespace of namespaced objects that have
// none, and the tracking annotation "app:group/kind:ns/name".
void prepare_object(json::Value& object, const std::string& app, const std::string& default_namespace, bool namespaced);
std::string tracking_id(const std::string& app, const json::Value& object);
extern const char kTrackingAnnotation[];

}  // namespace caravel::gitops
