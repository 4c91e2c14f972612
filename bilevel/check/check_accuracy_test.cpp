// Verdicts need a reference that is more accurate than the error they claim.
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <memory>

#include "bilevel/task/known_problem.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/checks.h"

namespace bilevel {
namespace check_accuracy_test {

using torch::Tensor;

constexpr int kQuadratics = 200;

/// The k-th random quadratic: dimensions 1 to 6, a condition up to `most`, log-uniform, either end of the spectrum
/// far from 1 too.
Quadratic random_quadratic(int k, double most) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(1000 + k));
  const Tensor u = torch::rand({4}, generator, torch::kFloat64);
  const double largest = std::pow(10, 4 * u[3].item<double>() - 2);
  return Quadratic({.upper_size = 1 + static_cast<int64_t>(6 * u[0].item<double>()),
                    .lower_size = 1 + static_cast<int64_t>(6 * u[1].item<double>()),
                    .lower_curvature_min = largest / std::pow(most, u[2].item<double>()),
                    .lower_curvature_max = largest,
                    .seed = static_cast<uint64_t>(k)});
}

TEST(CheckAccuracy, NothingIsWrongWithQuadraticsUpToACondition1e9) {
  int told = 0, all = 0;
  for (int k = 0; k < kQuadratics; ++k) {
    const Quadratic q = random_quadratic(k, 1e9);
    const CheckReport report =
        check(q.problem(),
              {.points = 1, .coordinate_limit = 1, .max_products = 40, .seed = static_cast<uint64_t>(k)});
    EXPECT_TRUE(report.ok) << k << "\n" << report.table();
    for (const EstimatorCheck& e : report.estimators) {
      // Those that need no 1e9 steps.
      if (e.name != "cg" && e.name != "exact") continue;
      told += e.verdict == Verdict::ok;
      ++all;
      EXPECT_EQ(e.message.find("not converged"), std::string::npos) << k << " " << e.name << e.message;
    }
  }
  // "cannot tell" is no way out.
  EXPECT_GE(told, 0.95 * all) << "of " << all;
}

/// An estimator of the library whose result is spoiled.
class Spoiled : public Estimator {
 public:
  using Spoil = std::function<Tensor(const Tensor& value)>;
  Spoiled(const std::string& name, Spoil spoil) : inner_(make_estimator(name)), spoil_(std::move(spoil)) {}
  std::string name() const override { return inner_->name(); }
  void fields(Fields& fields) override { inner_->fields(fields); }
  int64_t memory_bytes(int64_t lower_size, int64_t element_size) const override {
    return inner_->memory_bytes(lower_size, element_size);
  }
  Estimate estimate(Oracles& oracles, const Sample& upper, const Sample& lower) const override {
    Estimate found = inner_->estimate(oracles, upper, lower);
    if (!found.failed) found.value = spoil_(found.value);
    return found;
  }

 private:
  std::unique_ptr<Estimator> inner_;
  Spoil spoil_;
};

EstimatorEntry spoiled(const std::string& name, const Spoiled::Spoil& spoil) {
  EstimatorEntry entry = estimator_registry().at(name);
  entry.make = [=] { return std::make_unique<Spoiled>(name, spoil); };
  return entry;
}

TEST(CheckAccuracy, ARelativeErrorOf1e3IsNeverOk) {
  int called_wrong = 0;
  const std::vector<std::string> names = estimator_registry().names();
  for (int k = 0; k < kQuadratics; ++k) {
    const Quadratic q = random_quadratic(k, 1e6);
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(k));
    const Tensor u = torch::randn(q.x.sizes(), generator, torch::kFloat64);
    const std::vector<Spoiled::Spoil> ways{
        [](const Tensor& v) { return 1.001 * v; },
        [u](const Tensor& v) { return v + 1e-3 * v.norm() * u / u.norm(); },
        [](const Tensor& v) {  // in the largest number alone
          Tensor changed = v.clone();
          changed[v.abs().argmax()] *= 0.999;
          return changed;
        }};
    const std::string& name = names[static_cast<size_t>(k) % names.size()];
    const CheckReport report = check(q.problem(), {.points = 0,
                                                   .starts = 0,
                                                   .coordinate_limit = 1,
                                                   .max_products = 300,
                                                   .seed = static_cast<uint64_t>(k),
                                                   .estimators = {name},
                                                   .own = {spoiled(name, ways[static_cast<size_t>(k) % 3])}});
    const EstimatorCheck& found = estimator_named(report, name);
    EXPECT_NE(found.verdict, Verdict::ok) << k << "\n" << report.table();
    called_wrong += found.verdict == Verdict::wrong;
  }
  EXPECT_GE(called_wrong, kQuadratics / 2) << "not all are excused";
}

TEST(CheckAccuracy, AFaultThatAllImplicitEstimatorsShareIsNoReference) {
  // The dense solution is not taken from the estimator `exact`.
  const Quadratic q({.lower_curvature_min = 1e-6, .seed = 3});
  std::vector<EstimatorEntry> own;
  for (const char* name : {"neumann", "sgd", "cg", "cg-normal", "fixed-point", "exact"})
    own.push_back(spoiled(name, [](const Tensor& v) { return 1.001 * v; }));
  const CheckReport report = check(q.problem(), {.max_products = 40, .own = own});
  EXPECT_EQ(estimator_named(report, "exact").verdict, Verdict::wrong) << report.table();
  EXPECT_EQ(estimator_named(report, "cg").verdict, Verdict::wrong);
  EXPECT_NEAR(estimator_named(report, "cg").against_exact, 1e-3, 1e-5);
  EXPECT_EQ(estimator_named(report, "finite-difference").verdict, Verdict::ok);
}

TEST(CheckAccuracy, OwnEstimatorsAreExaminedBesideTheLibrarys) {
  class Nothing : public Spoiled {
   public:
    Nothing() : Spoiled("exact", [](const Tensor& v) { return torch::zeros_like(v); }) {}
    std::string name() const override { return "nothing"; }
  };
  const Quadratic q({});
  const CheckReport report =
      check(q.problem(), {.own = {{"nothing", "zero", [] { return std::make_unique<Nothing>(); }}}});
  EXPECT_EQ(report.estimators.size(), 10u);
  EXPECT_EQ(estimator_named(report, "nothing").verdict, Verdict::wrong);
  EXPECT_NEAR(estimator_named(report, "nothing").against_exact, 1, 1e-12);
}

TEST(CheckAccuracy, TheSolutionOfTheLowerLevelIsMeasuredByItsDistance) {
  // |grad_y g| is small everywhere near: 1e-9 |y - 3|. The start is no solution.
  const Tensor x = leaf({1.0}), y = leaf({0.0, 0.0});
  const Tensor h = torch::tensor({1e-9, 1.0}, torch::kFloat64);
  const CheckReport report =
      check({.upper = {.parameters = {x},
                       .loss = [=](const Batch&) { return (y - 1).square().sum() + x.square().sum(); },
                       .batches = no_data()},
             .lower = {.parameters = {y},
                       .loss = [=](const Batch&) { return 0.5 * (h * (y - 3 * x).square()).sum(); },
                       .batches = no_data()}},
            {.max_products = 40});
  EXPECT_TRUE(report.ok) << report.table();
  EXPECT_EQ(item_named(report, "y*(x) was found").verdict, Verdict::ok);
  EXPECT_LT(report.lower_level.distance, 1e-5);
  EXPECT_NEAR(report.lower_level.smallest_curvature, 1e-9, 1e-12);
  EXPECT_EQ(estimator_named(report, "cg").verdict, Verdict::ok) << report.table();
}

TEST(CheckAccuracy, AMinimizationCutShortCannotTell) {
  const Quadratic q({.lower_size = 6, .lower_curvature_min = 1e-4, .seed = 2});
  const CheckReport report = check(q.problem(), {.dense_limit = 0, .max_products = 40, .max_gradients = 12});
  EXPECT_EQ(report.wrong, 0) << report.table();
  const CheckItem& solved = item_named(report, "y*(x) was found");
  EXPECT_EQ(solved.verdict, Verdict::unsure);
  EXPECT_GT(report.unsure, 0);
  EXPECT_CONTAINS(report.table(), "cannot tell");
  EXPECT_CONTAINS(report.table(), "cannot be told");
}

TEST(CheckAccuracy, NothingIsWrongWithTheKnownProblems) {
  for (const KnownProblemEntry& entry : known_problem_registry()) {
    for (const uint64_t seed : {1, 2}) {
      const std::unique_ptr<KnownProblem> known = entry.make();
      known->build(seed);
      const CheckReport report =
          check(known->problem(), {.rows = 60, .directions = 1, .max_products = 300, .seed = seed});
      EXPECT_TRUE(report.ok) << entry.name << "\n" << report.table();
    }
  }
}

TEST(CheckAccuracy, ErrorsOfNumbersNearZeroAreAbsolute) {
  // Phi = x^2 at 0: nothing to be relative to. x^2 - 2 x y + y^2 at y = x: the terms cancel.
  const Tensor x = leaf({0.0, 1.0}), y = leaf({0.5, 0.5});
  const CheckReport report =
      check({.upper = {.parameters = {{"x", x}},
                       .loss = [=](const Batch&) { return (x - y).square().sum() + 3 * (x - y).sum(); },
                       .batches = no_data()},
             .lower = {.parameters = {{"y", y}},
                       .loss = [=](const Batch&) { return (y - x).square().sum(); },
                       .batches = no_data()}},
            {.estimators = {"cg"}});
  EXPECT_TRUE(report.ok) << report.table();
  const EstimatorCheck& cg = estimator_named(report, "cg");
  EXPECT_TRUE(cg.absolute);
  EXPECT_LT(cg.against_differences, 1e-8);
  EXPECT_CONTAINS(report.table(), " abs");
  EXPECT_EQ(report.to_json().at("estimators")[0].at("absolute"), true);
  const Quadratic q({});
  const CheckReport other = check(q.problem(), {.estimators = {"cg"}});
  EXPECT_FALSE(estimator_named(other, "cg").absolute);
  EXPECT_EQ(other.table().find(" abs"), std::string::npos) << other.table();
}

}  // namespace check_accuracy_test
}  // namespace bilevel
