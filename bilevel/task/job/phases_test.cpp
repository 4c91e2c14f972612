#include "bilevel/task/job/phases.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace bilevel {
namespace phases_test {

class PhasesTest : public testing::Test {
 protected:
  std::vector<JobProgress> seen_;
  Phases phases_{[this](const JobProgress& now) { seen_.push_back(now); }};
};

TEST_F(PhasesTest, OneShareOverAllPhasesByTheirCosts) {
  phases_.plan({{"train", 6}, {"refit", 3}, {"baseline", 1}});
  EXPECT_EQ(seen_.back().share, 0);
  phases_.begin("train", "training");
  phases_.advance(0.5, {.phase = "weighing", .step = 5, .steps = 10});
  EXPECT_EQ(seen_.back().phase, "weighing");
  EXPECT_EQ(seen_.back().step, 5);
  EXPECT_DOUBLE_EQ(seen_.back().share, 0.3);
  phases_.begin("refit");  // the training ended early: it is done
  EXPECT_DOUBLE_EQ(phases_.share(), 0.6);
  EXPECT_EQ(seen_.back().phase, "training") << "nothing else to show";
  phases_.plan({{"refit", 1}});  // fewer steps were chosen
  EXPECT_DOUBLE_EQ(phases_.share(), 0.75);
  phases_.begin("baseline", "fitting");
  phases_.advance(2);
  EXPECT_DOUBLE_EQ(phases_.share(), 1);
  EXPECT_EQ(seen_.back().phase, "fitting");
}

TEST_F(PhasesTest, NeverGoesBackInAPhase) {
  phases_.plan({{"train", 1}});
  phases_.begin("train");
  for (const double share : {0.5, 0.25, -1.0}) phases_.advance(share);
  EXPECT_DOUBLE_EQ(phases_.share(), 0.5);
}

TEST_F(PhasesTest, StretchesFollowEachOther) {
  phases_.plan({{"fold", 1}, {"rest", 1}});
  phases_.begin("fold");
  phases_.stretch(0);
  phases_.stretch(0.6);
  phases_.advance(0.5);
  EXPECT_DOUBLE_EQ(phases_.share(), 0.15);
  phases_.stretch(0.4);
  EXPECT_DOUBLE_EQ(phases_.share(), 0.15) << "moved by `advance` alone";
  phases_.advance(0.5);
  EXPECT_DOUBLE_EQ(phases_.share(), 0.4);
  phases_.begin("rest");
  phases_.advance(0.5);
  EXPECT_DOUBLE_EQ(phases_.share(), 0.75);
}

TEST_F(PhasesTest, WhatEarlierProcessesDidIsTold) {
  phases_.plan({{"train", 1}, {"refit", 1}});
  phases_.begin("train");
  phases_.skip(1);
  phases_.begin("refit");
  phases_.skip(0.5);
  phases_.advance(0.75);
  EXPECT_DOUBLE_EQ(seen_.back().share, 0.875);
  EXPECT_DOUBLE_EQ(seen_.back().earlier, 0.75);
}

TEST_F(PhasesTest, OtherProcessesBringPhasesOn) {
  phases_.plan({{"a", 1}, {"b", 2}, {"c", 1}});
  phases_.skip_all("c");
  phases_.reach("a", {.phase = "fold 1", .share = 0.5, .earlier = 0.25, .step = 3});
  EXPECT_DOUBLE_EQ(seen_.back().share, 0.375);
  EXPECT_DOUBLE_EQ(seen_.back().earlier, 0.3125);
  EXPECT_EQ(seen_.back().step, 3);
  const size_t before = seen_.size();
  phases_.reach("b", {.share = 0.5}, /*shown=*/false);
  EXPECT_EQ(seen_.size(), before);
  phases_.done("a");
  EXPECT_DOUBLE_EQ(phases_.share(), 0.75);
}

TEST_F(PhasesTest, WithoutAPlanTheWholeIsWhatAdvances) {
  phases_.advance(0.25);
  EXPECT_DOUBLE_EQ(seen_.back().share, 0.25);
}

TEST(RunClockTest, ShowsNoLessThanEarlierProcessesTook) {
  RunClock clock;
  clock.at_least(100);
  const double first = clock.seconds();
  EXPECT_GE(first, 100);
  EXPECT_LT(first, 150);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_GE(clock.seconds(), first + 0.002);
  clock.at_least(50);
  EXPECT_LT(clock.seconds(), 150);
}

}  // namespace phases_test
}  // namespace bilevel
