// Where everything is kept when nobody says --data-dir: /var/lib/caravel for root, else
// $XDG_DATA_HOME/caravel or ~/.local/share/caravel.
#pragma once

#include <string>

namespace caravel::cli {

std::string default_data_directory();

}  // namespace caravel::cli
