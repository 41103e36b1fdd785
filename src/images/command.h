#pragma once

#include "base/command.h"

namespace caravel::images {

extern const Command kImagesCommand;

}  // namespace caravel::images
