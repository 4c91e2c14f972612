# cmake -DSOURCE=<source folder> -DEXAMPLE=<file in examples/> -DPAGE=<page> -DMARK=<word> -P readme_test.cmake
# The code in the page is the part of the example between its two [mark]s, word for word, less its indentation of two
# blanks.
file(READ "${SOURCE}/examples/${EXAMPLE}" example)
file(READ "${SOURCE}/${PAGE}" readme)

set(mark "  // [${MARK}]\n")
string(LENGTH "${mark}" mark_length)
string(FIND "${example}" "${mark}" first)
string(FIND "${example}" "${mark}" last REVERSE)
if(first EQUAL -1 OR first EQUAL last)
  message(FATAL_ERROR "examples/${EXAMPLE} does not hold two lines '// [${MARK}]'")
endif()
math(EXPR begin "${first} + ${mark_length}")
math(EXPR length "${last} - ${begin}")
string(SUBSTRING "${example}" ${begin} ${length} part)
string(REPLACE "\n  " "\n" part "\n${part}")
string(SUBSTRING "${part}" 1 -1 part)

string(FIND "${readme}" "```cpp\n${part}```\n" found)
if(found EQUAL -1)
  message(FATAL_ERROR "${PAGE} does not hold the marked part of examples/${EXAMPLE}:\n${part}")
endif()
