// Writes the generated C++.
#pragma once

#include <string>

#include "model.h"

namespace schema {

std::string header_text(Model& model, const Group& g);           // kube/types/<ns>.h
// Part `part` of `parts` of kube/types/<ns>.cc: special members and tables of a share of the structs.
std::string source_text(Model& model, const Group& g, int part, int parts);
std::string forward_text(const Model& model);                    // kube/types/fwd.h
std::string registry_text(const Model& model);                   // kube/types/kinds.cc

}  // namespace schema
