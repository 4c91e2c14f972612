# Puts the torch of the Python interpreter that builds a wheel first among the places where LibTorch is looked for.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
execute_process(COMMAND "${Python3_EXECUTABLE}" -c
  "import importlib.util as u; spec = u.find_spec('torch'); print(spec.submodule_search_locations[0] if spec else '')"
  OUTPUT_VARIABLE python_torch OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(NOT python_torch)
  message(FATAL_ERROR "This Python (${Python3_EXECUTABLE}) has no torch, against which bilevel is built. Install torch first, "
    "and let pip build with it: pip install --no-build-isolation .")
endif()
if(NOT LibTorch_API_INCLUDE_DIR MATCHES "^${python_torch}/")  # what an earlier build for another interpreter has found
  get_cmake_property(found CACHE_VARIABLES)
  list(FILTER found INCLUDE REGEX "^LibTorch_")
  foreach(variable IN LISTS found)
    unset(${variable} CACHE)
  endforeach()
endif()
list(PREPEND CMAKE_PREFIX_PATH "${python_torch}")
