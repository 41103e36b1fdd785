# Several sources of a folder compiled as one file: half of a small source's compile time is spent on headers and template
# instances that its neighbours need too (five controllers: 44 s one by one, 22 s together).
#
# The release preset uses this; the debug preset does not, so a file that forgets an #include, or that leans on a
# neighbour's names, still fails there. The files made here name their parts by the include path, so ccache shares their
# objects between work trees.
option(CARAVEL_TOGETHER "compile several sources of a folder as one" OFF)
if(CARAVEL_TOGETHER AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-subobject-linkage)  # GCC takes an included source for a header, whose file-local types are suspect
endif()
set(CARAVEL_TOGETHER_MAX 4)  # more save little and make a change's rebuild slow

# Sources whose file-local names stand in a neighbour too.
set(CARAVEL_ALONE
  certs/certificate_controller.cc
  cloud/elb_load_balancer.cc
  controllers/daemonset.cc
  controllers/endpointslice_mirroring.cc
  eks/user_data.cc
  kube/codec_protobuf.cc
  kube/openapi.cc
  kube/table_storage.cc
  kube/table_workload.cc
  kube/validate_control.cc
  kube/validate_resource.cc
  kube/validate_storage.cc
  kube/validate_webhook.cc
  kube/validate_workload.cc
  net/http2_session.cc
  node/bootstrap.cc
  node/command.cc
  node/pod_stop.cc
  node/port_forward.cc
  node/remote_command.cc
  node/server.cc
  node/setup.cc
  apiserver/in_process_transport.cc
  server/command.cc)

# Replaces the sources in the variable that `list` names by files that include them.
function(caravel_together name list)
  if(NOT CARAVEL_TOGETHER)
    return()
  endif()
  set(result)
  set(batch)
  set(number 0)
  macro(flush)
    if(batch)
      set(file ${CMAKE_BINARY_DIR}/together/${name}/${number}.cc)
      set(text)
      foreach(part ${batch})
        string(APPEND text "#include \"${part}\"\n")
      endforeach()
      file(GENERATE OUTPUT ${file} CONTENT "${text}")
      list(APPEND result ${file})
      math(EXPR number "${number} + 1")
      set(batch)
    endif()
  endmacro()
  foreach(source ${${list}})
    string(REGEX REPLACE "^${CARAVEL_SRC}/" "" part ${source})
    if(part STREQUAL source OR part IN_LIST CARAVEL_ALONE)
      list(APPEND result ${source})
      continue()
    endif()
    list(APPEND batch ${part})
    list(LENGTH batch size)
    if(size EQUAL CARAVEL_TOGETHER_MAX)
      flush()
    endif()
  endforeach()
  flush()
  set(${list} ${result} PARENT_SCOPE)
endfunction()
