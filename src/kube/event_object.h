// What both kinds of event recorder (events.h, event_series.h) write and decide alike.
#pragma once

#include "kube/events.h"

namespace caravel::kube {

// core/v1 ObjectReference; what is not known is left out.
json::Value event_reference(const ObjectReference& r);
// The server may take the event later; any other refusal is its last word.
bool worth_another_try(const Error& refusal);

}  // namespace caravel::kube
