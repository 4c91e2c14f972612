# cmake -DSOURCE=<source folder> -DPROGRAM=<program> -DCONFORMANCE=<test program> -DWORK=<folder> -P add_a_solver_test.cmake
# docs/add-a-solver.md and docs/add-a-job.md hold the files of their examples word for word; the folders are enough for the
# registries of a build; and PROGRAM and CONFORMANCE, to which the solver is added at run time, know it.
set(name aid-cg)
set(folder "${SOURCE}/tests/add_a_solver/bilevel/solver/${name}")

# ---- the pages are the code ----
function(shows page folder)
  file(READ "${SOURCE}/docs/${page}" text)
  foreach(file IN LISTS ARGN)
    file(READ "${folder}/${file}" content)
    set(language cpp)
    if(file MATCHES "\\.md$")
      set(language markdown)
    endif()
    string(FIND "${text}" "`${file}`:\n\n```${language}\n${content}```\n" found)
    if(found EQUAL -1)
      message(FATAL_ERROR "docs/${page} does not show ${folder}/${file} word for word after a line that ends with "
        "`${file}`: ('cmake/docs_tables.sh' copies the files into the page)")
    endif()
  endforeach()
endfunction()
shows(add-a-solver.md "${folder}" ${name}.h ${name}.cpp ${name}_test.cpp ${name}.md)
shows(add-a-job.md "${SOURCE}/tests/add_a_job/bilevel/task/ridge" ridge.cpp)

# ---- the folder is enough ----
include("${CMAKE_CURRENT_LIST_DIR}/../execute.cmake")

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")

file(COPY "${SOURCE}/tests/add_a_solver/bilevel" "${SOURCE}/tests/add_a_job/bilevel" DESTINATION "${WORK}/tree")
file(WRITE "${WORK}/tree/CMakeLists.txt" "cmake_minimum_required(VERSION 3.25)\nproject(tree NONE)\n"
  "include(\"${SOURCE}/cmake/Registry.cmake\")\n"
  "bilevel_generate_registry(solver solver SolverEntry bilevel/solver/registry.h solver_registry source)\n"
  "bilevel_generate_registry(task job JobEntry bilevel/task/job/job_entry.h job_registry source)\n")
execute(configured "${CMAKE_COMMAND}" -S "${WORK}/tree" -B "${WORK}/tree/build")
file(READ "${WORK}/tree/build/generated/solver_registry.cpp" registry)
expect("${registry}" "SolverEntry aid_cg_entry();\n")
expect("${registry}" "    aid_cg_entry(),\n")
file(READ "${WORK}/tree/build/generated/job_registry.cpp" registry)
expect("${registry}" "    ridge_entry(),\n")

execute(solvers "${PROGRAM}" list solvers)
expect("${solvers}" "\n  ${name} ")
expect("${solvers}" "\n  adambo ")
execute(options "${PROGRAM}" list options ${name} --markdown)
file(READ "${folder}/${name}.md" solver_page)
expect("${solver_page}" "<!-- options:begin -->\n${options}<!-- options:end -->\n")

execute(solved "${PROGRAM}" solve quadratic --solver ${name} --steps 2000 --set upper_step_size=0.1 --json)
string(JSON distance GET "${solved}" metrics distance)
if(NOT distance LESS 1e-3)
  message(FATAL_ERROR "solve quadratic --solver ${name} ended at a distance of ${distance}:\n${solved}")
endif()

execute(compared "${PROGRAM}" compare quadratic --solvers adambo,${name} --seeds 2 --steps 100 --out "${WORK}/compare")
expect("${compared}" "${name}")
expect("${compared}" "adambo")

# Every test of the conformance suite, and each one for this solver; GoogleTest has '_' for '-'.
execute(tests "${CONFORMANCE}" --gtest_list_tests)
string(REGEX MATCHALL "/aid.cg" cases "${tests}")
list(LENGTH cases count)
string(REGEX MATCHALL "/adambo" others "${tests}")
list(LENGTH others expected)
if(count EQUAL 0 OR NOT count EQUAL expected)
  message(FATAL_ERROR "${count} conformance tests for ${name}, ${expected} for adambo:\n${tests}")
endif()
execute(conformance "${CONFORMANCE}" "--gtest_filter=*/aid?cg")
expect("${conformance}" "[==========] ${count} tests from 1 test suite ran.")
