#include "bilevel/solver/parts/step_sizes.h"

#include <cmath>
#include <numbers>

#include "bilevel/core/error.h"
#include "bilevel/task/p1/p1.h"
#include "tests/support.h"

namespace bilevel {
namespace {

TEST(Course, ConstantIsOne) {
  for (const Course& course : {Course(), Course("constant", 0), Course("constant", 0.6)}) {
    for (const int64_t k : {0, 1, 99, 1000}) EXPECT_EQ(course.at(k, 100), 1);
  }
}

TEST(Course, PolynomialIsAPowerOfTheIterationFromOne) {
  EXPECT_EQ(Course("polynomial", 0).at(0, 100), 1);
  EXPECT_DOUBLE_EQ(Course("polynomial", 0).at(3, 100), 0.5);
  EXPECT_DOUBLE_EQ(Course("polynomial:0.25", 0.9).at(15, 100), 0.5);
  EXPECT_DOUBLE_EQ(Course("polynomial:1", 0).at(999, 7), 1e-3) << "the length of the run does not matter";
}

TEST(Course, PaperIsThePolynomialOfThePapersExponent) {
  EXPECT_DOUBLE_EQ(Course("paper", 1.0 / 3).at(7, 100), 0.5);
  EXPECT_EQ(Course("paper", 0).at(7, 100), 1) << "a paper with constant step sizes";
}

TEST(Course, CosineFallsFromOneToZeroAndStaysThere) {
  const Course course("cosine", 0);
  EXPECT_EQ(course.at(0, 60), 1);
  EXPECT_NEAR(course.at(20, 60), 0.75, 1e-15);
  EXPECT_NEAR(course.at(30, 60), 0.5, 1e-15);
  EXPECT_NEAR(course.at(60, 60), 0, 1e-15);
  EXPECT_NEAR(course.at(90, 60), 0, 1e-15) << "after the planned end";
}

TEST(Course, WarmUpRisesToOneAndStaysThere) {
  const Course course("warm-up", 0);
  EXPECT_DOUBLE_EQ(course.at(0, 100), 0.1);
  EXPECT_DOUBLE_EQ(course.at(4, 100), 0.5);
  EXPECT_EQ(course.at(9, 100), 1);
  EXPECT_EQ(course.at(50, 100), 1);
  EXPECT_DOUBLE_EQ(Course("warm-up:0.5", 0).at(9, 40), 0.5);
  EXPECT_EQ(course.at(0, 3), 1) << "a warm-up shorter than one step is none";
}

TEST(StepSizes, AutomaticOnesAreSharesOfTheInverseCurvature) {
  P1 p1;
  p1.mu = 4;
  Oracles oracles(p1.problem(), 1);
  const StepSizes steps(
      oracles, {.upper = 0.3, .lower = StepSize(), .linear = StepSize(), .neumann = StepSize()}, 100);
  EXPECT_EQ(steps.upper(7), 0.3);
  EXPECT_NEAR(steps.lower(7), 0.125, 1e-12);
  EXPECT_NEAR(steps.linear(7), 0.125, 1e-12);
  EXPECT_NEAR(steps.neumann(), 0.25, 1e-12);
  EXPECT_GT(oracles.ledger().automatic.hvp, 0);
  EXPECT_EQ(oracles.ledger().steps, OracleCounts{});
}

TEST(StepSizes, TheCurvatureIsEstimatedOnceAndOnlyWhenNeeded) {
  P1 p1;
  Oracles given(p1.problem(), 1), one(p1.problem(), 1), three(p1.problem(), 1);
  const StepSizes numbers(given, {.upper = 1, .lower = 0.2, .linear = 0.3, .neumann = 0.4}, 10);
  EXPECT_EQ(numbers.lower(), 0.2);
  EXPECT_EQ(numbers.linear(0), 0.3);
  EXPECT_EQ(numbers.neumann(), 0.4);
  EXPECT_EQ(given.ledger().automatic, OracleCounts{});
  StepSizes(one, {.upper = 1, .neumann = StepSize()}, 10);
  StepSizes(three, {.upper = 1, .lower = StepSize(), .linear = StepSize(), .neumann = StepSize()}, 10);
  EXPECT_EQ(one.ledger().automatic.hvp, three.ledger().automatic.hvp);
}

TEST(StepSizes, FollowTheirCourses) {
  P1 p1;
  Oracles oracles(p1.problem(), 1);
  const StepSizes paper(oracles,
                        {.upper = 2,
                         .lower = 3,
                         .linear = 5,
                         .neumann = 7,
                         .schedule = "paper",
                         .paper = {.upper = 1, .lower = 0.5, .linear = 0.25}},
                        100);
  EXPECT_DOUBLE_EQ(paper.upper(15), 2.0 / 16);
  EXPECT_DOUBLE_EQ(paper.lower(15), 3.0 / 4);
  EXPECT_DOUBLE_EQ(paper.linear(15), 5.0 / 2);
  EXPECT_EQ(paper.lower(), 3) << "before its course";
  EXPECT_EQ(paper.neumann(), 7) << "no course";
  const StepSizes own(oracles,
                      {.upper = 2,
                       .lower = 3,
                       .linear = 5,
                       .schedule = "cosine",
                       .lower_schedule = "constant",
                       .linear_schedule = "polynomial"},
                      100);
  EXPECT_DOUBLE_EQ(own.upper(50), 2 * 0.5 * (1 + std::cos(std::numbers::pi / 2)));
  EXPECT_EQ(own.lower(50), 3);
  EXPECT_DOUBLE_EQ(own.linear(3), 2.5);
  const StepSizes same(oracles, {.upper = 2, .lower = 3, .linear = 5, .schedule = "polynomial:1"}, 100);
  EXPECT_DOUBLE_EQ(same.lower(2), 1);
  EXPECT_DOUBLE_EQ(same.linear(4), 1);
}

TEST(StepSizes, ReportTheOnesThatTheMethodHas) {
  P1 p1;
  Oracles oracles(p1.problem(), 1);
  EXPECT_EQ(StepSizes(oracles, {.upper = 1, .lower = 0.5}, 10).chosen().dump(), R"({"lower_step_size":0.5})");
  EXPECT_EQ(StepSizes(oracles, {.upper = 1, .linear = 0.25, .neumann = 2}, 10).chosen().dump(),
            R"({"linear_step_size":0.25,"neumann_step_size":2.0})");
  EXPECT_TRUE(StepSizes(oracles, {.upper = 1}, 10).chosen().empty());
}

// A resumed run starts elsewhere, with another curvature and perhaps another length: what was derived first
// holds.
TEST(StepSizes, TheSavedOnesHold) {
  P1 first, second;
  second.mu = 9;
  const auto make = [](const P1& p1, int64_t length) {
    Oracles oracles(p1.problem(), 1);
    return StepSizes(
        oracles,
        {.upper = 1, .lower = StepSize(), .linear = StepSize(), .neumann = StepSize(), .schedule = "cosine"},
        length);
  };
  StepSizes original = make(first, 100), restored = make(second, 10);
  EXPECT_NE(restored.neumann(), original.neumann());
  State saved;
  original.state(saved);
  State loading(saved.tensors());
  restored.state(loading);
  for (const int64_t k : {0, 5, 77}) {
    EXPECT_EQ(restored.upper(k), original.upper(k));
    EXPECT_EQ(restored.lower(k), original.lower(k));
    EXPECT_EQ(restored.linear(k), original.linear(k));
  }
  EXPECT_EQ(restored.neumann(), original.neumann());
  EXPECT_EQ(restored.chosen(), original.chosen());
}

TEST(StepSizes, WithoutAPositiveCurvatureTheFieldIsNamed) {
  P1 p1;
  p1.mu = -1;
  Oracles oracles(p1.problem(), 1);
  const auto refusal = [&](const StepSizeOptions& options) {
    return message_of<InputError>([&] { StepSizes(oracles, options, 10); });
  };
  EXPECT_CONTAINS(refusal({.upper = 1, .lower = StepSize()}), "lower_step_size = auto");
  EXPECT_CONTAINS(refusal({.upper = 1, .linear = StepSize()}), "linear_step_size = auto");
  EXPECT_CONTAINS(refusal({.upper = 1, .neumann = StepSize()}), "neumann_step_size = auto");
  EXPECT_NO_THROW(StepSizes(oracles, {.upper = 1, .lower = 0.1}, 10));
}

}  // namespace
}  // namespace bilevel
