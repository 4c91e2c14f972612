# cmake -DBUILD=<build folder> -DLIBTORCH=<prefix> -DCOMPILER=<C++ compiler> -P install_test.cmake
# Installs the build into an empty prefix and builds and runs the project of this folder on it.
set(work "${BUILD}/install_test")
set(prefix "${work}/prefix with spaces")
file(REMOVE_RECURSE "${work}")

function(execute)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  message("${output}")
  if(status)
    message(FATAL_ERROR "failed (${status}): ${ARGV}")
  endif()
endfunction()

execute("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}")
if(EXISTS "${prefix}/bin/bilevel")
  execute("${prefix}/bin/bilevel" --version)
endif()
execute("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${work}/build" -G Ninja "-DCMAKE_CXX_COMPILER=${COMPILER}"
  "-DCMAKE_PREFIX_PATH=${prefix}\;${LIBTORCH}")
execute("${CMAKE_COMMAND}" --build "${work}/build")
execute("${work}/build/consumer")
execute("${work}/build/host" "${work}/build/libplugin.so")
file(STRINGS "${prefix}/lib/cmake/bilevel/bilevelTargets.cmake" exported REGEX "FMT_|COMPILE_DEFINITIONS")
if(exported)
  message(FATAL_ERROR "a consumer is made to compile with ${exported}")
endif()
