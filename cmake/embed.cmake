# caravel_embed(layer HEADER NAMESPACE TYPE FUNCTION file...): builds text files into a layer's library.
function(caravel_embed layer header namespace type function)
  string(REPLACE "/" "_" stem ${header})
  string(REPLACE ".h" ".cc" stem ${stem})
  set(out ${CMAKE_BINARY_DIR}/generated/embedded/${stem})
  string(REPLACE ";" "|" joined "${ARGN}")
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DHEADER=${header} -DNAMESPACE=${namespace} -DTYPE=${type} -DFUNCTION=${function}
            "-DFILES=${joined}" -P ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake VERBATIM)
  set(CARAVEL_GENERATED_${layer} ${CARAVEL_GENERATED_${layer}} ${out} PARENT_SCOPE)
endfunction()

file(GLOB aws_schemas CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/schema/aws/*.schema)
caravel_embed(aws aws/schema_text.h caravel::aws SchemaText schema_texts ${aws_schemas})
caravel_embed(cloud cloud/instance_type_table.h caravel::cloud TableText table_texts ${CMAKE_SOURCE_DIR}/schema/aws/ec2-instance-types.tsv)
