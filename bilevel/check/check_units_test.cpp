// Verdicts do not depend on the units of x and y.
#include <ATen/CPUGeneratorImpl.h>

#include "tests/checks.h"

namespace bilevel {
namespace check_units_test {

using torch::Tensor;

enum class Mistake { none, factor, detached, sum, frozen_hessian };

/// A random quadratic or logistic regression with one strength exp(x_j) per weight, whose leaves are x and y times
/// the units, with a mistake put in.
struct Scaled {
  torch::ScalarType type = torch::kFloat64;
  double x_unit = 1, y_unit = 1;
  uint64_t seed = 1;
  Mistake mistake = Mistake::none;
  bool at_zero = false;  // the start

  Problem problem(bool logistic) const { return logistic ? regression() : quadratic(); }

 private:
  struct Draws {
    at::Generator generator;
    torch::ScalarType type;
    Tensor operator()(at::IntArrayRef shape, double size = 1) {
      return size * torch::randn(shape, generator, torch::kFloat64).to(type);
    }
    Tensor start(int64_t n, double unit, bool zero) {
      return ((*this)({n}, zero ? 0 : 1) * unit).requires_grad_();
    }
  };
  Draws draws() const { return {at::make_generator<at::CPUGeneratorImpl>(seed), type}; }

  /// A term of f, spoiled: its gradient is 1.5 times too large, or gone.
  Tensor spoiled(const Tensor& term) const {
    if (mistake == Mistake::factor) return 1.5 * term - 0.5 * term.detach();
    return mistake == Mistake::detached ? term.detach() : term;
  }

  Problem quadratic() const {
    Draws random = draws();
    const Tensor x = random.start(3, x_unit, at_zero), y = random.start(4, y_unit, at_zero);
    const Tensor root = random({4, 4});
    const Tensor h = root.mm(root.t()) / 4 + 0.3 * torch::eye(4, type), j = random({4, 3});
    const Tensor a = random({3}), b = random({4}), c = random({4});
    Problem problem{.upper = {.parameters = {x},
                              .loss =
                                  [=, *this](const Batch&) {
                                    return 0.5 * (y / y_unit - b).square().sum() +
                                           spoiled(0.2 * (x / x_unit - a).square().sum());
                                  },
                              .batches = no_data()},
                    .lower = {.parameters = {y},
                              .loss =
                                  [=, *this](const Batch&) {
                                    const Tensor v = y / y_unit;
                                    return 0.5 * v.dot(h.mv(v)) - v.dot(j.mv(x / x_unit) + c);
                                  },
                              .batches = no_data()}};
    if (mistake == Mistake::frozen_hessian) {
      problem.lower_hessian = [h, unit = y_unit](const Tensor& v) { return 1.5 * h.mv(v) / (unit * unit); };
    }
    return problem;
  }

  Problem regression() const {
    Draws random = draws();
    const Tensor x = random.start(3, x_unit, at_zero), y = random.start(3, y_unit, at_zero);
    const Tensor truth = random({3}), train = random({40, 3}), valid = random({30, 3});
    const auto labels = [&](const Tensor& rows) {
      return torch::sign(rows.mv(truth) + random({rows.size(0)})).to(type);
    };
    const Tensor train_labels = labels(train), valid_labels = labels(valid);
    const auto losses = [y, unit = y_unit](const Batch& b) {
      return -torch::log_sigmoid(b.targets() * b.input().mv(y / unit));
    };
    Problem problem{.upper = {.parameters = {x},
                              .loss =
                                  [=, *this](const Batch& b) {
                                    const Tensor l = losses(b);
                                    return (mistake == Mistake::sum ? l.sum() : l.mean()) +
                                           spoiled(0.05 * (x / x_unit).square().sum());
                                  },
                              .batches = shuffled({valid}, valid_labels, {.batch_size = 8})},
                    .lower = {.parameters = {y},
                              .loss =
                                  [=, *this](const Batch& b) {
                                    return losses(b).mean() +
                                           0.1 * ((x / x_unit).exp() * (y / y_unit).square()).sum();
                                  },
                              .batches = shuffled({train}, train_labels, {.batch_size = 8})}};
    if (mistake == Mistake::frozen_hessian) {  // of y = 0
      problem.lower_hessian = [=, unit = y_unit,
                               strengths = (x / x_unit).detach().exp().clone()](const Tensor& v) {
        return (train.t().mv(train.mv(v)) / (4 * 40.0) + 0.2 * strengths * v) / (unit * unit);
      };
    }
    return problem;
  }
};

/// Units of x and y: each far from 1 in both directions, and both far from one another.
constexpr std::pair<double, double> kUnits[] = {{1, 1}, {1e-6, 1e-6}, {1e-6, 1e6}, {1e6, 1e-6}, {1e6, 1e6}};

/// All tests once, cheaply.
CheckReport checked(const Scaled& scaled, bool logistic) {
  return check(scaled.problem(logistic), {.points = 1,
                                          .starts = 2,
                                          .directions = 1,
                                          .coordinate_limit = 1,
                                          .max_products = 100,
                                          .seed = scaled.seed});
}

TEST(CheckUnits, NothingIsWrongInAny) {
  int unsure = 0, all = 0;
  uint64_t seed = 0;
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    for (const bool logistic : {false, true}) {
      std::vector<std::pair<double, double>> units(std::begin(kUnits), std::end(kUnits));
      units.insert(units.end(), {{1e-3, 1}, {1, 1e3}, {1e3, 1e-3}});
      for (const auto& [x_unit, y_unit] : units) {
        const CheckReport report = checked(
            {.type = type, .x_unit = x_unit, .y_unit = y_unit, .seed = ++seed, .at_zero = seed % 2 == 0},
            logistic);
        EXPECT_TRUE(report.ok) << x_unit << " " << y_unit << "\n" << report.table();
        unsure += report.unsure;
        all += static_cast<int>(report.items.size() + report.estimators.size());
      }
    }
  }
  EXPECT_LE(unsure, 0.02 * all) << "of " << all << ": cannot tell is no way out";
}

TEST(CheckUnits, MistakesAreWrongInAny) {
  uint64_t seed = 0;
  for (const Mistake mistake : {Mistake::factor, Mistake::detached, Mistake::sum, Mistake::frozen_hessian}) {
    for (const auto type : {torch::kFloat64, torch::kFloat32}) {
      for (const bool logistic : {false, true}) {
        if (mistake == Mistake::sum && !logistic) continue;  // it has no rows
        for (const auto& [x_unit, y_unit] : kUnits) {
          const Scaled scaled{
              .type = type, .x_unit = x_unit, .y_unit = y_unit, .seed = ++seed, .mistake = mistake};
          const CheckReport report = check(
              scaled.problem(logistic),
              {.starts = 0, .directions = 1, .coordinate_limit = 1, .seed = seed, .estimators = {"cg"}});
          EXPECT_FALSE(report.ok) << static_cast<int>(mistake) << " " << x_unit << " " << y_unit << "\n"
                                  << report.table();
        }
      }
    }
  }
}

}  // namespace check_units_test
}  // namespace bilevel
