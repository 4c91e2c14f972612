# cmake -DPAGE=<Markdown file> -DEXAMPLE=<C++ file> -P shown_test.cmake
# The page holds the part of the example between its two lines `// [shown]`, word for word, less the indentation of the
# marks.
file(READ "${EXAMPLE}" example)
file(READ "${PAGE}" page)

set(mark "// [shown]\n")
string(LENGTH "${mark}" mark_length)
string(FIND "${example}" "${mark}" first)
string(FIND "${example}" "${mark}" last REVERSE)
if(first EQUAL -1 OR first EQUAL last)
  message(FATAL_ERROR "${EXAMPLE} does not hold two lines '// [shown]'")
endif()
math(EXPR begin "${first} + ${mark_length}")
math(EXPR length "${last} - ${begin}")
string(SUBSTRING "${example}" ${begin} ${length} part)
string(REGEX MATCH "[ ]+$" indentation "${part}")  # of the second mark
string(REGEX REPLACE "[ ]+$" "" part "${part}")
string(REPLACE "\n${indentation}" "\n" part "\n${part}")
string(SUBSTRING "${part}" 1 -1 part)

string(FIND "${page}" "```cpp\n${part}```\n" found)
if(found EQUAL -1)
  message(FATAL_ERROR "${PAGE} does not hold the marked part of ${EXAMPLE}:\n${part}")
endif()
