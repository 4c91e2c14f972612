# cmake -DSOURCE=<source folder> -DPROGRAM=<program> -DCONFORMANCE=<test program> -DJOBS=<test program> -DWORK=<folder>
#   -P add_an_encoder_test.cmake
# The folder of an encoder is enough for the registry of a build; and PROGRAM, CONFORMANCE and JOBS, to which it is added
# at run time, know the encoder.
set(name cosines)

include("${CMAKE_CURRENT_LIST_DIR}/../execute.cmake")

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
file(COPY "${SOURCE}/tests/add_an_encoder/bilevel" DESTINATION "${WORK}/tree")
file(WRITE "${WORK}/tree/CMakeLists.txt" "cmake_minimum_required(VERSION 3.25)\nproject(tree NONE)\n"
  "include(\"${SOURCE}/cmake/Registry.cmake\")\n"
  "bilevel_generate_registry(model/encoder encoder EncoderEntry bilevel/model/encoder.h encoder_registry source)\n")
execute(configured "${CMAKE_COMMAND}" -S "${WORK}/tree" -B "${WORK}/tree/build")
file(READ "${WORK}/tree/build/generated/encoder_registry.cpp" registry)
expect("${registry}" "EncoderEntry ${name}_entry();\n")
expect("${registry}" "    ${name}_entry(),\n")

execute(encoders "${PROGRAM}" list encoders)
expect("${encoders}" "\n  ${name} ")
expect("${encoders}" "    scale ")
expect("${encoders}" "\n  mlp ")

set(rows "class,a,b\n")
foreach(i RANGE 1 120)
  math(EXPR class "${i} % 3")
  math(EXPR a "(${i} * 37) % 11 - 5 * ${class}")
  math(EXPR b "(${i} * 53) % 13 + ${class}")
  string(APPEND rows "c${class},${a},${b}\n")
endforeach()
file(WRITE "${WORK}/rows.csv" "${rows}")
set(task --train "${WORK}/rows.csv" --label class --features all --positive c1 --encoder ${name} --hidden 6
  --encoder-set scale=.5 --threads 1)
execute(trained "${PROGRAM}" auc ${task} --steps 20 --out "${WORK}/run" --json)
file(READ "${WORK}/run/model.json" model)
string(JSON scale GET "${model}" network scale)
if(NOT scale EQUAL 0.5)
  message(FATAL_ERROR "the model was made with scale ${scale}")
endif()
execute(predicted "${PROGRAM}" predict --model "${WORK}/run" --input "${WORK}/rows.csv" --out "${WORK}/rows.tsv")
execute(checked "${PROGRAM}" check auc ${task} --rows 40)
execute(compared "${PROGRAM}" compare auc ${task} --solvers adambo,soba --seeds 1 --steps 4 --out "${WORK}/compare")

# Every test of the conformance suite, and each one for this encoder; every test of the jobs, with this encoder.
execute(tests "${CONFORMANCE}" --gtest_list_tests)
string(REGEX MATCHALL "/${name}_dense_default" cases "${tests}")
list(LENGTH cases count)
string(REGEX MATCHALL "/mlp_dense_default" others "${tests}")
list(LENGTH others expected)
if(count EQUAL 0 OR NOT count EQUAL expected)
  message(FATAL_ERROR "${count} conformance tests for ${name}, ${expected} for mlp:\n${tests}")
endif()
execute(conformance "${CONFORMANCE}" "--gtest_filter=*/${name}_*")
set(ENV{BILEVEL_TEST_ENCODER} ${name})
execute(jobs "${JOBS}")
