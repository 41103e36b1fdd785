// Live against wanted, by three ways: what was applied last, what is wanted, what is there. Pure.
//
// A field counts only if it is wanted or was applied before: defaults, zeros that the server leaves out and what
// controllers write are no difference. Lists are equal when they have the same length and each wanted item is contained in the live
// one at its place. Quantities are compared by value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace caravel::gitops {

extern const char kLastAppliedAnnotation[];

// The JSON merge patch that makes `live` as wanted; an empty object when nothing is to do.
// ignore: JSON pointers whose values never count (ignoreDifferences).
json::Value three_way_patch(const json::Value& last_applied, const json::Value& wanted, const json::Value& live, const std::vector<std::string>& ignored_pointers = {});

// The pointers that an Application's spec.ignoreDifferences names for an object. Group and kind may be globs; a name
// or a namespace narrows the rule.
std::vector<std::string> ignored_pointers(const json::Value& ignore_differences, const json::Value& object);

// `wanted` as it is sent: with the last-applied annotation that kubectl and Argo CD keep.
json::Value with_last_applied(const json::Value& wanted);
// What was applied last, from the live object's annotation; null without it.
json::Value last_applied_of(const json::Value& live);

}  // namespace caravel::gitops
