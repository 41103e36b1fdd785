// The selectors of list and watch requests, which the watch cache matches against the few strings that it keeps of each object.
#pragma once

#include "kube/selectors.h"

namespace caravel::apiserver {

using kube::FieldSelector;
using kube::find_pair;
using kube::LabelSelector;
using kube::Pairs;

}  // namespace caravel::apiserver
