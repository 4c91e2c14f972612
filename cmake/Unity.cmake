# Sources that are compiled together. Most of the time of a small source goes into what the LibTorch headers leave to every
# source (about 10 s with GCC 12), so that a folder takes little more than one source. With BILEVEL_UNITY=OFF every source
# is compiled alone, which is quicker where a single one changes.

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

# With BILEVEL_UNITY: each group of these sources of a target is compiled as one.
function(bilevel_unity_groups target)
  if(NOT BILEVEL_UNITY)
    return()
  endif()
  bilevel_group_by_folder(groups ${ARGN})
  foreach(group IN LISTS groups)
    set_source_files_properties(${${group}_sources} PROPERTIES UNITY_GROUP "${group}")
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
