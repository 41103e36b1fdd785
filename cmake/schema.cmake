# Generates the Kubernetes types from schema/*.schema: <build>/generated/kube/types/*.{h,cc}, sources of `kube`.
file(GLOB schema_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/schema/*.schema)
file(GLOB generator_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/schema_generator/*.cc)
add_executable(schema_generator ${generator_sources})

# Large groups are split into several translation units.
set(schema_parts core=5 argo=3 resource=2 acme=2 gateway=2 certmanager=2 autoscaling=2 meta=2)
set(types_dir ${CMAKE_BINARY_DIR}/generated/kube/types)
set(generated_headers ${types_dir}/fwd.h)
set(generated_sources ${types_dir}/kinds.cc)
foreach(file ${schema_files})
  get_filename_component(ns ${file} NAME_WE)
  list(APPEND generated_headers ${types_dir}/${ns}.h)
  set(parts 1)
  foreach(p ${schema_parts})
    if(p MATCHES "^${ns}=([0-9]+)$")
      set(parts ${CMAKE_MATCH_1})
    endif()
  endforeach()
  math(EXPR last "${parts} - 1")
  foreach(i RANGE ${last})
    list(APPEND generated_sources ${types_dir}/${ns}_${i}.cc)
  endforeach()
endforeach()
add_custom_command(
  OUTPUT ${types_dir}/stamp
  BYPRODUCTS ${generated_headers} ${generated_sources}
  COMMAND schema_generator ${CMAKE_SOURCE_DIR}/schema ${types_dir} ${schema_parts}
  COMMAND ${CMAKE_COMMAND} -E touch ${types_dir}/stamp
  DEPENDS schema_generator ${schema_files}
  COMMENT "Generating Kubernetes types")
add_custom_target(schema_generated DEPENDS ${types_dir}/stamp)
set(CARAVEL_GENERATED_kube ${generated_sources})
