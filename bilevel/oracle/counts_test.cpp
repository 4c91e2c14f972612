#include "bilevel/oracle/counts.h"

#include "tests/support.h"

namespace bilevel {
namespace {

const OracleCounts kAllDifferent{.lower_gradient = 1,
                                 .lower_joint_gradient = 2,
                                 .upper_gradient = 3,
                                 .hvp = 4,
                                 .cross_vjp = 5,
                                 .upper_hvp = 6,
                                 .upper_cross_vjp = 7,
                                 .upper_samples = 8,
                                 .lower_samples = 9};

TEST(OracleLedger, CountsApartForEveryPurpose) {
  OracleLedger ledger;
  int64_t n = 0;
  for (const Purpose purpose :
       {Purpose::steps, Purpose::warm_start, Purpose::automatic, Purpose::evaluation}) {
    ledger.of(purpose).hvp = ++n;
  }
  EXPECT_EQ(ledger.steps.hvp, 1);
  EXPECT_EQ(ledger.warm_start.hvp, 2);
  EXPECT_EQ(ledger.automatic.hvp, 3);
  EXPECT_EQ(ledger.evaluation.hvp, 4);
}

TEST(OracleLedger, SurvivesACheckpoint) {
  OracleLedger ledger;
  ledger.warm_start = kAllDifferent;
  ledger.evaluation.lower_samples = 1'000'000'000'000;
  State saved;
  ledger.state(saved);
  OracleLedger restored;
  restored.steps.hvp = 4;
  State loading(saved.tensors());
  restored.state(loading);
  EXPECT_EQ(restored.steps, OracleCounts{});
  EXPECT_EQ(restored.warm_start, kAllDifferent);
  EXPECT_EQ(restored.evaluation.lower_samples, 1'000'000'000'000);
}

TEST(OracleLedger, JsonHoldsTheSevenKindsByPurpose) {
  OracleLedger ledger;
  ledger.steps = kAllDifferent;
  EXPECT_EQ(ledger.to_json()["steps"].dump(),
            R"({"lower_gradient":1,"lower_joint_gradient":2,"upper_gradient":3,"hvp":4,"cross_vjp":5,)"
            R"("upper_hvp":6,"upper_cross_vjp":7})");
  EXPECT_EQ(ledger.to_json().size(), 4u);
}

}  // namespace
}  // namespace bilevel
