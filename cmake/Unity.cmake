# Sources that are compiled together. Most of the time of a small source goes into what the LibTorch headers leave to every
# source (about 10 s with GCC 12), so that many take little more than one. With BILEVEL_UNITY=OFF every source is compiled
# alone, which is quicker where a single one changes.

# The sources of a folder form a group; a folder with fewer than four belongs to the one above. Sets <out> to the names of
# the groups ("solver", "solver_parts", ...) and <name>_sources to the sources of each.
function(bilevel_group_by_folder out)
  set(names "")
  foreach(source IN LISTS ARGN)
    get_filename_component(folder "${source}" DIRECTORY)
    set(same ${ARGN})
    list(FILTER same INCLUDE REGEX "^${folder}/[^/]*$")
    list(LENGTH same count)
    if(count LESS 4)
      get_filename_component(folder "${folder}" DIRECTORY)
    endif()
    file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}" "${folder}")
    string(REGEX REPLACE "^bilevel/" "" name "${name}")
    string(MAKE_C_IDENTIFIER "${name}" name)
    list(APPEND names "${name}")
    list(APPEND ${name}_sources "${source}")
  endforeach()
  list(REMOVE_DUPLICATES names)
  foreach(name IN LISTS names)
    set(${name}_sources "${${name}_sources}" PARENT_SCOPE)
  endforeach()
  set(${out} "${names}" PARENT_SCOPE)
endfunction()

# The floors of the house: what stands on one is compiled together, because what GCC makes of nlohmann's and LibTorch's
# templates once per source (3 to 8 s) is half of the time of a folder. Every path below bilevel/ that begins with an entry
# belongs to its floor; the first entry that fits counts, and what fits none is a source by itself.
set(bilevel_floors
  core:ground data:ground model:ground report:ground
  problem:method glm:method oracle:method linear:method hypergrad:method solver:method check:method
  task/auc:jobs task/clean:jobs task/job:jobs task/meta:jobs task/tune:jobs
  bench:desk task:desk cli:commands)

# With BILEVEL_UNITY: the sources of a floor of a target are compiled as one.
function(bilevel_unity_floors target)
  if(NOT BILEVEL_UNITY)
    return()
  endif()
  foreach(source IN LISTS ARGN)
    file(RELATIVE_PATH path "${PROJECT_SOURCE_DIR}/bilevel" "${source}")
    foreach(entry IN LISTS bilevel_floors)
      string(REGEX REPLACE ":.*" "" begin "${entry}")
      string(REGEX REPLACE ".*:" "" floor "${entry}")
      if(path MATCHES "^${begin}/")
        set_source_files_properties("${source}" PROPERTIES UNITY_GROUP "${floor}")
        break()
      endif()
    endforeach()
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
