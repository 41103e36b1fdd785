# The standard library's headers, parsed once: a third of the compile time of a small source file.
#
# The release preset uses this; the debug preset does not, so a file that forgets an #include still fails there.
# GCC's precompiled headers differ from one build to the next, which would keep ccache from sharing objects between
# work trees: it is given a checksum of what the header was made from instead (ccache's pch_external_checksum).
set(CARAVEL_STANDARD_HEADERS
  <algorithm> <array> <atomic> <charconv> <chrono> <coroutine> <cstdint> <cstring> <deque> <fstream>
  <functional> <list> <map> <memory> <mutex> <optional> <set> <span> <sstream> <string> <string_view> <thread> <tuple>
  <unordered_map> <unordered_set> <utility> <variant> <vector>)
option(CARAVEL_PRECOMPILE "parse the standard library's headers once" OFF)

# Gives `target` the precompiled headers.
function(caravel_precompile target)
  if(NOT CARAVEL_PRECOMPILE)
    return()
  endif()
  if(NOT TARGET standard_headers)
    add_library(standard_headers OBJECT ${CMAKE_SOURCE_DIR}/cmake/empty.cc)
    target_precompile_headers(standard_headers PRIVATE ${CARAVEL_STANDARD_HEADERS})
    string(SHA256 sum "${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_RELEASE} ${CARAVEL_SANITIZE} ${CARAVEL_STANDARD_HEADERS}")
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/CMakeFiles/standard_headers.dir/cmake_pch.hxx.gch.sum CONTENT "${sum}\n")
  endif()
  target_precompile_headers(${target} REUSE_FROM standard_headers)
endfunction()
