# cmake -DSOURCE=<source folder> -P readme_test.cmake
# The example in README.md is the part of examples/own_problem.cpp between the two [readme] marks, word for word, less
# its indentation of two blanks.
file(READ "${SOURCE}/examples/own_problem.cpp" example)
file(READ "${SOURCE}/README.md" readme)

set(mark "  // [readme]\n")
string(LENGTH "${mark}" mark_length)
string(FIND "${example}" "${mark}" first)
string(FIND "${example}" "${mark}" last REVERSE)
if(first EQUAL -1 OR first EQUAL last)
  message(FATAL_ERROR "examples/own_problem.cpp does not hold two lines '// [readme]'")
endif()
math(EXPR begin "${first} + ${mark_length}")
math(EXPR length "${last} - ${begin}")
string(SUBSTRING "${example}" ${begin} ${length} part)
string(REPLACE "\n  " "\n" part "\n${part}")
string(SUBSTRING "${part}" 1 -1 part)

string(FIND "${readme}" "```cpp\n${part}```\n" found)
if(found EQUAL -1)
  message(FATAL_ERROR "README.md does not hold the marked part of examples/own_problem.cpp:\n${part}")
endif()
