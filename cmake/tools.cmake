# Small programs that containers and the container runtime run: static, so that they work in any root.
add_executable(caravel-oci ${CMAKE_SOURCE_DIR}/tools/caravel_oci.cc ${CARAVEL_SRC}/base/json.cc ${CARAVEL_SRC}/base/strings.cc
               ${CARAVEL_SRC}/base/result.cc)
target_include_directories(caravel-oci PRIVATE ${CARAVEL_SRC})
add_executable(caravel-pause ${CMAKE_SOURCE_DIR}/tools/pause.c)
if(TARGET caravel)
  add_dependencies(caravel caravel-oci caravel-pause)
endif()
if(NOT CARAVEL_SANITIZE)
  target_link_options(caravel-oci PRIVATE -static)
  target_link_options(caravel-pause PRIVATE -static -s)
endif()
