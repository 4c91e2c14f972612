#include "bilevel/bench/small.h"

#include <gtest/gtest.h>

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"

namespace bilevel {
namespace {

TEST(SmallBench, MeasuresEverySolver) {
  for (const bool autograd : {false, true}) {
    const nlohmann::ordered_json found =
        small_bench({.features = 3, .batch_size = 4, .steps = 5, .autograd = autograd});
    EXPECT_EQ(found.at("calls").size(), 7U);
    ASSERT_EQ(found.at("solvers").size(),
              static_cast<size_t>(std::distance(solver_registry().begin(), solver_registry().end())));
    for (const auto& one : found.at("solvers")) {
      EXPECT_EQ(one.at("stop_reason"), "max_steps") << one;
      EXPECT_GT(one.at("microseconds"), 0) << one;
      EXPECT_GT(one.at("calls_microseconds"), 0) << one;
    }
    EXPECT_NE(small_bench_text(found).find("vr-adambo"), std::string::npos);
  }
}

TEST(SmallBench, TakesOtherRowsClassesAndOptions) {
  const nlohmann::ordered_json found = small_bench({.solver = "adambo",
                                                    .set = {"neumann_terms=3"},
                                                    .features = 3,
                                                    .rows = 40,
                                                    .classes = 4,
                                                    .batch_size = 4,
                                                    .steps = 5});
  EXPECT_EQ(found.at("solvers")[0].at("stop_reason"), "max_steps");
  EXPECT_EQ(found.at("rows"), 40);
  EXPECT_NE(small_bench_text(found).find("Softmax"), std::string::npos);
  EXPECT_THROW(small_bench({.solver = "soba", .set = {"neumann_terms=3"}, .features = 3, .steps = 5}),
               InputError);
}

TEST(SmallBench, TakesOneSolverAndRefusesOthers) {
  const nlohmann::ordered_json found = small_bench({.solver = "soba", .features = 3, .steps = 5});
  ASSERT_EQ(found.at("solvers").size(), 1U);
  EXPECT_EQ(found.at("solvers")[0].at("solver"), "soba");
  EXPECT_THROW(small_bench({.solver = "nosuch"}), InputError);
  EXPECT_THROW(small_bench({.features = 0}), InputError);
}

}  // namespace
}  // namespace bilevel
