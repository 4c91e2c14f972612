#include "bilevel/linear/linear_solver.h"

#include <cmath>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/linear/cg/cg.h"
#include "bilevel/linear/exact/exact.h"
#include "tests/parameter_name.h"
#include "tests/support.h"

namespace bilevel {
namespace linear_solver_test {

using torch::Tensor;

Tensor vector(const std::vector<double>& values) { return torch::tensor(values, torch::kFloat64); }

/// Products with a diagonal matrix, counted.
struct Diagonal {
  Tensor values;
  std::shared_ptr<int64_t> products = std::make_shared<int64_t>(0);

  LinearOperator hessian() const {
    return [values = values, products = products](const Tensor& v) {
      ++*products;
      return values * v;
    };
  }
};

const Tensor b = vector({1, -2, 0.5});

class EveryLinearSolver : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryLinearSolver, SolvesAPositiveDefiniteSystemAndCountsItsProducts) {
  const Diagonal h{vector({0.5, 1, 2})};
  const LinearSolution found = solve_linear(
      h.hessian(), b, {.linear_solver = GetParam(), .linear_steps = 200, .linear_tolerance = 1e-12});
  EXPECT_FALSE(found.failed) << found.message;
  EXPECT_LT(relative_error(found.z, b / h.values), 1e-10);
  EXPECT_EQ(found.products, *h.products);
  ASSERT_TRUE(found.residual.defined());
  EXPECT_LT(found.residual.item<double>(), 1e-11);
  EXPECT_EQ(found.damping, 0);
}

TEST_P(EveryLinearSolver, ReportsAResidualThatIsNotSmallWhenItStopsEarly) {
  if (GetParam() == "exact") return;  // it never stops early
  const Diagonal h{vector({0.01, 1, 2})};
  const LinearSolution found = solve_linear(h.hessian(), b, {.linear_solver = GetParam(), .linear_steps = 2});
  EXPECT_FALSE(found.failed) << found.message;
  EXPECT_GT(found.residual.item<double>(), 0.1);
}

TEST_P(EveryLinearSolver, NaNStaysAFailureUnderEveryPolicy) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const OnFailure policy : {OnFailure::error, OnFailure::warn, OnFailure::damp}) {
    const LinearSolverOptions options{.linear_solver = GetParam(), .policy = {.on_failure = policy}};
    const Diagonal good{vector({0.5, 1, 2})}, bad{vector({0.5, nan, 2})};
    for (const auto& [h, rhs] :
         {std::pair{good, b * nan}, std::pair{good, vector({1, nan, 1})}, std::pair{bad, b}}) {
      const LinearSolution found = solve_linear(h.hessian(), rhs, options);
      EXPECT_TRUE(found.failed) << name_of(policy);
      EXPECT_NE(found.message, "");
    }
  }
}

TEST_P(EveryLinearSolver, AZeroRightHandSideHasTheZeroSolution) {
  const Diagonal h{vector({0.5, 1, 2})};
  const LinearSolution found = solve_linear(h.hessian(), torch::zeros_like(b), {.linear_solver = GetParam()});
  EXPECT_FALSE(found.failed) << found.message;
  EXPECT_EQ(found.z.count_nonzero().item<int64_t>(), 0);
}

TEST_P(EveryLinearSolver, NegativeCurvatureNeverPassesInSilence) {
  const Diagonal h{vector({0.5, 1, -0.3})};
  const LinearSolution found =
      solve_linear(h.hessian(), b, {.linear_solver = GetParam(), .linear_steps = 300});
  if (GetParam() == "exact" || GetParam() == "cg-normal") {  // regular is all that they need
    EXPECT_FALSE(found.failed);
    EXPECT_LT(relative_error(found.z, b / h.values), 1e-9);
  } else {
    EXPECT_TRUE(found.failed);
    EXPECT_NE(found.message, "");
  }
}

INSTANTIATE_TEST_SUITE_P(ByName, EveryLinearSolver, ::testing::ValuesIn(linear_solver_registry().names()),
                         NameOfParameter());

LinearSolution by_policy(const Diagonal& h, const Tensor& rhs, const LinearPolicy& policy) {
  return solve_with_policy(
      [](const LinearOperator& hessian, const Tensor& right) { return conjugate_gradients(hessian, right); },
      h.hessian(), rhs, policy);
}

TEST(LinearPolicy, ErrorKeepsTheFailure) {
  const LinearSolution found =
      by_policy({vector({3, -0.5})}, vector({1, 1}), {.on_failure = OnFailure::error});
  EXPECT_TRUE(found.failed);
  EXPECT_CONTAINS(found.message, "curvature -0.");
}

TEST(LinearPolicy, WarnUsesTheLastIterateAndSaysSo) {
  const LinearSolution found =
      by_policy({vector({3, -0.5})}, vector({1, 1}), {.on_failure = OnFailure::warn});
  EXPECT_FALSE(found.failed);
  EXPECT_LT(distance(found.z, vector({0.8, 0.8})), 1e-15);
  EXPECT_CONTAINS(found.message, "warning");
  EXPECT_CONTAINS(found.message, "curvature -");
}

TEST(LinearPolicy, WarnDoesNotPassAZeroForAnAnswer) {
  const LinearSolution first =
      by_policy({vector({3, -0.5})}, vector({0, 1}), {.on_failure = OnFailure::warn});
  EXPECT_TRUE(first.failed) << "negative curvature in the first direction: the iterate is zero";
  EXPECT_CONTAINS(first.message, "no iterate");
  const Diagonal singular{vector({1, 0})};
  const LinearSolution dense =
      solve_with_policy(exact_solve, singular.hessian(), vector({1, 1}), {.on_failure = OnFailure::warn});
  EXPECT_TRUE(dense.failed);
}

TEST(LinearPolicy, DampRetriesWithIncreasingDamping) {
  const Diagonal h{vector({3, -0.5})};
  const Tensor rhs = vector({1, 1});
  const LinearSolution found = by_policy(
      h, rhs, {.on_failure = OnFailure::damp, .damping = 0.1, .damping_growth = 2, .damping_attempts = 5});
  ASSERT_FALSE(found.failed) << found.message;
  // ||H b|| / ||b|| = sqrt(9.25 / 2) = 2.1506: 0.215 and 0.430 are less than 0.5, 0.860 is more.
  EXPECT_NEAR(found.damping, 4 * 0.1 * std::sqrt(9.25 / 2), 1e-12);
  EXPECT_CONTAINS(found.message, "damping 0.86 at the attempt 3");
  EXPECT_CONTAINS(found.message, "curvature -");
  EXPECT_LT(relative_error(found.z, rhs / (h.values + found.damping)), 1e-9);
  EXPECT_NEAR(found.residual.item<double>(), (rhs - h.values * found.z).norm().item<double>(), 1e-14)
      << "of the system that was asked for";
  EXPECT_EQ(found.products, *h.products);
}

TEST(LinearPolicy, DampGivesUpInWords) {
  const Diagonal h{vector({3, -5})};
  const LinearSolution found =
      by_policy(h, vector({1, 1}), {.on_failure = OnFailure::damp, .damping = 1e-6, .damping_attempts = 3});
  EXPECT_TRUE(found.failed);
  EXPECT_CONTAINS(found.message, "did not help");
  EXPECT_EQ(found.products, *h.products);
}

TEST(SolveLinear, TheGivenStepIsUsedAndDivergenceIsAFailure) {
  const Diagonal h{vector({0.5, 1, 2})};
  for (const char* name : {"neumann", "sgd", "fixed-point"}) {
    const LinearSolution found =
        solve_linear(h.hessian(), b, {.linear_solver = name, .linear_step_size = 1.2, .linear_steps = 50});
    EXPECT_TRUE(found.failed) << name;
    EXPECT_CONTAINS(found.message, "diverges");
  }
}

TEST(SolveLinear, UnknownNamesAreRefused) {
  const std::string message =
      message_of<InputError>([] { solve_linear(Diagonal{b}.hessian(), b, {.linear_solver = "lu"}); });
  EXPECT_CONTAINS(message, "'lu'");
  EXPECT_CONTAINS(message, "cg-normal");
}

}  // namespace linear_solver_test
}  // namespace bilevel
