#include "bilevel/solver/saba/saba.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/solver/soba/soba.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/separable.h"
#include "tests/support.h"

namespace bilevel {
namespace saba_test {

using torch::Tensor;

const std::vector<double> kStart{2.0, -1.0, 0.5};
constexpr int kSteps = 60;

/// SABA with one slot in plain scalar arithmetic: the memory drops out of the directions.
void scalar_step(const SABAOptions& o, const Separable& p, ScalarState& s, int k) {
  const double rate = scalar_course(o.schedule, 0.5, k, kSteps);
  for (size_t i = 0; i < s.size(); ++i) {
    const double x = s.x[i], z = s.z[i];
    const double y_next = s.y[i] - rate * *o.lower_step_size.value * p.gy(x, s.y[i]);
    const double y = o.order == Order::gauss_seidel ? y_next : s.y[i];
    s.z[i] = z - rate * *o.linear_step_size.value * (p.gyy(x, y) * z - p.fy(x, y));
    s.x[i] = x - rate * o.upper_step_size * (p.fx(x, y) - p.gxy(x, y) * z);
    s.y[i] = y_next;
  }
}

double difference(const SABAOptions& options, const Separable& p, const Problem& problem) {
  ScalarState scalar(kStart);
  SABA solver(options);
  return worst_difference(problem, solver, scalar, kSteps,
                          [&](int k) { scalar_step(options, p, scalar, k); });
}

TEST(SABA, EqualsScalarComputationOnP1) {
  EXPECT_LE(difference({.upper_step_size = 0.008, .lower_step_size = 0.2, .linear_step_size = 0.3}, {},
                       P1(kStart).problem()),
            1e-10);
}

TEST(SABA, EqualsScalarComputationInEveryVariant) {
  const Separable p{.c = 1.5, .a = 0.7, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    for (const SagaStart memory : {SagaStart::zero, SagaStart::full}) {
      for (const std::string schedule : {"constant", "polynomial", "cosine"}) {
        SCOPED_TRACE(name_of(order) + " " + name_of(memory) + " " + schedule);
        EXPECT_LE(difference({.upper_step_size = 0.02,
                              .lower_step_size = 0.15,
                              .linear_step_size = 0.1,
                              .memory = memory,
                              .order = order,
                              .schedule = schedule},
                             p, p.problem(kStart)),
                  1e-10);
      }
    }
  }
}

/// Ridge regression with one regularization exp(x_j) per feature and a small pull of x towards 0, on 11 lower
/// and 7 upper rows in batches of `batch`: slots of different sizes.
struct FiniteSum {
  Tensor x = torch::tensor({0.3, -0.4}, torch::kFloat64).requires_grad_();
  Tensor y = torch::tensor({0.1, 0.2}, torch::kFloat64).requires_grad_();
  Tensor train, train_target, valid, valid_target;
  std::vector<std::vector<int64_t>> lower_rows, upper_rows;  // of every evaluation

  FiniteSum() {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(17);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64);
    };
    const Tensor truth = torch::tensor({1.0, -1.0}, torch::kFloat64);
    train = random({11, 2});
    train_target = train.mv(truth) + random({11});
    valid = random({7, 2});
    valid_target = valid.mv(truth) + random({7});
  }
  FiniteSum(const FiniteSum&) = delete;  // the problem's losses point here

  Problem problem(int64_t batch) {
    return {.upper = {.parameters = {x},
                      .loss =
                          [this](const Batch& b) {
                            upper_rows.push_back(b.rows());
                            return (b.input().mv(y) - b.targets()).square().mean() + 0.05 * x.square().sum();
                          },
                      .batches = shuffled({valid}, valid_target, {.batch_size = batch})},
            .lower = {.parameters = {y},
                      .loss =
                          [this](const Batch& b) {
                            lower_rows.push_back(b.rows());
                            return (b.input().mv(y) - b.targets()).square().mean() +
                                   (x.exp() * y.square()).sum();
                          },
                      .batches = shuffled({train}, train_target, {.batch_size = batch})}};
  }

  // Derivatives on some rows, by hand.
  static Tensor pick(const Tensor& t, const std::vector<int64_t>& rows) {
    return t.index_select(0, torch::tensor(rows, torch::kInt64));
  }
  Tensor gy(const std::vector<int64_t>& rows, const Tensor& at_x, const Tensor& at_y) const {
    const Tensor a = pick(train, rows);
    return 2 * a.t().mv(a.mv(at_y) - pick(train_target, rows)) / static_cast<double>(rows.size()) +
           2 * at_x.exp() * at_y;
  }
  Tensor hessian(const std::vector<int64_t>& rows, const Tensor& at_x) const {
    const Tensor a = pick(train, rows);
    return 2 * a.t().mm(a) / static_cast<double>(rows.size()) + 2 * torch::diag(at_x.exp());
  }
  static Tensor jz(const Tensor& at_x, const Tensor& at_y, const Tensor& z) {
    return 2 * at_x.exp() * at_y * z;
  }
  Tensor fy(const std::vector<int64_t>& rows, const Tensor& at_y) const {
    const Tensor a = pick(valid, rows);
    return 2 * a.t().mv(a.mv(at_y) - pick(valid_target, rows)) / static_cast<double>(rows.size());
  }
  static Tensor fx(const Tensor& at_x) { return 0.1 * at_x; }

  static std::vector<int64_t> all(int64_t count) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < count; ++i) rows.push_back(i);
    return rows;
  }
  /// grad Phi at the present x.
  Tensor gradient() const {
    const Tensor at = x.detach();
    const Tensor h = hessian(all(11), at);
    const Tensor best = at::linalg_solve(h, 2 * train.t().mv(train_target) / 11);
    return fx(at) - jz(at, best, at::linalg_solve(h, fy(all(7), best)));
  }
};

/// SAGA's direction from its definition, the mean computed anew each time.
struct SlowMemory {
  std::map<std::vector<int64_t>, Tensor> rows;
  double total;
  Tensor exchange(const std::vector<int64_t>& slot, const Tensor& fresh) {
    Tensor mean = torch::zeros_like(fresh);
    for (const auto& [key, value] : rows) mean = mean + static_cast<double>(key.size()) / total * value;
    const auto found = rows.find(slot);
    const Tensor direction = fresh - (found == rows.end() ? torch::zeros_like(fresh) : found->second) + mean;
    rows[slot] = fresh;
    return direction;
  }
};

TEST(SABA, EqualsAComputationFromTheDefinitionOnSeveralSlots) {
  for (const SagaStart memory : {SagaStart::zero, SagaStart::full}) {
    FiniteSum sum;
    Tensor x = sum.x.detach().clone(), y = sum.y.detach().clone(), z = torch::zeros_like(y);
    SlowMemory of_gy{.rows = {}, .total = 11}, of_hz{of_gy}, of_jz{of_gy}, of_fy{.rows = {}, .total = 7},
        of_fx{of_fy};
    SABA solver(
        {.upper_step_size = 0.03, .lower_step_size = 0.08, .linear_step_size = 0.06, .memory = memory});
    double worst = 0;
    std::set<std::vector<int64_t>> lower_slots, upper_slots;
    const auto compare = [&](const MadeStep& row, Oracles& oracles) {
      if (row.step == 1 && memory == SagaStart::full) {  // probe, 3 lower and 2 upper slots, the first step
        EXPECT_EQ(sum.lower_rows.size(), 2u + 3u + 1u);  // the probe and the objective at the start first
        EXPECT_EQ(sum.upper_rows.size(), 2u + 2u + 1u);
        for (size_t i = 2; i <= 4; ++i) of_gy.rows[sum.lower_rows[i]] = sum.gy(sum.lower_rows[i], x, y);
        for (size_t j = 2; j <= 3; ++j) of_fy.rows[sum.upper_rows[j]] = sum.fy(sum.upper_rows[j], y);
        for (size_t j = 2; j <= 3; ++j) of_fx.rows[sum.upper_rows[j]] = FiniteSum::fx(x);
      }
      const std::vector<int64_t>&i = sum.lower_rows.back(), &j = sum.upper_rows.back();
      lower_slots.insert(i);
      upper_slots.insert(j);
      const Tensor d_y = of_gy.exchange(i, sum.gy(i, x, y));
      const Tensor d_z = of_hz.exchange(i, sum.hessian(i, x).mv(z)) - of_fy.exchange(j, sum.fy(j, y));
      const Tensor d_x = of_fx.exchange(j, FiniteSum::fx(x)) - of_jz.exchange(i, FiniteSum::jz(x, y, z));
      x = x - 0.03 * d_x;
      y = y - 0.08 * d_y;
      z = z - 0.06 * d_z;
      worst = std::max({worst, distance(oracles.x().flat(), x), distance(oracles.y().flat(), y)});
      return true;
    };
    run(sum.problem(4), solver, {.max_steps = 60, .seed = 2, .callback = compare});
    EXPECT_LT(worst, 1e-10) << name_of(memory);
    EXPECT_EQ(lower_slots.size(), 3u) << "slots of 4, 4 and 3 rows, the same throughout";
    EXPECT_EQ(upper_slots.size(), 2u);
  }
}

TEST(SABA, AFullMemoryGivesTheTrueGradientAtFirst) {
  FiniteSum sum;
  const Tensor x = sum.x.detach().clone(), y = sum.y.detach().clone();
  SABA solver({.upper_step_size = 0.03,
               .lower_step_size = 0.08,
               .linear_step_size = 0.06,
               .memory = SagaStart::full});
  const Result result = run(sum.problem(4), solver, {.max_steps = 1});
  EXPECT_EQ(result.oracle_calls.warm_start.lower_gradient, 3);
  EXPECT_EQ(result.oracle_calls.warm_start.upper_gradient, 2);
  EXPECT_LT(distance(sum.y, y - 0.08 * sum.gy(FiniteSum::all(11), x, y)), 1e-14);
  EXPECT_LT(distance(sum.x, x - 0.03 * FiniteSum::fx(x)), 1e-14);
  EXPECT_NEAR(result.trace[0].linear_residual, sum.fy(FiniteSum::all(7), y).norm().item<double>(), 1e-13);

  FiniteSum empty;
  SABA without({.upper_step_size = 0.03, .lower_step_size = 0.08, .linear_step_size = 0.06});
  run(empty.problem(4), without, {.max_steps = 1});
  EXPECT_GT(distance(empty.y, sum.y), 1e-3) << "with an empty memory the first step is that of one batch";
}

TEST(SABA, DrawsSlotsInProportionToTheirRows) {
  FiniteSum sum;
  SABA solver({.upper_step_size = 1e-6, .lower_step_size = 1e-3, .linear_step_size = 1e-3});
  constexpr int kDraws = 1500;
  run(sum.problem(4), solver, {.max_steps = kDraws, .seed = 5, .trace_every = kDraws});
  std::map<std::vector<int64_t>, int> counts;
  for (size_t i = 2; i + 1 < sum.lower_rows.size(); ++i) ++counts[sum.lower_rows[i]];
  for (const auto& [rows, count] : counts) {
    const double share = static_cast<double>(rows.size()) / 11;
    EXPECT_NEAR(count, kDraws * share, 4 * std::sqrt(kDraws * share * (1 - share))) << rows.size();
  }
}

// With constant step sizes the memory's noise dies at the solution, that of single batches does not.
TEST(SABA, ReachesTheSolutionOfAFiniteSumWhereSOBAStaysNoisy) {
  FiniteSum sum;
  SABA saba({.upper_step_size = 0.3, .lower_step_size = 0.05, .linear_step_size = 0.05});
  run(sum.problem(4), saba, {.max_steps = 2500, .seed = 1, .trace_every = 2500});
  EXPECT_LT(sum.gradient().norm().item<double>(), 1e-9);

  FiniteSum noisy;
  SOBA soba({.upper_step_size = 0.3, .lower_step_size = 0.05, .linear_step_size = 0.05});
  run(noisy.problem(4), soba, {.max_steps = 2500, .seed = 1, .trace_every = 2500});
  EXPECT_GT(noisy.gradient().norm().item<double>(), 1e-4);
}

// Section 4.5, on full batches.
TEST(SABA, WithOneSlotAndAnEmptyMemoryIsSOBA) {
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    FiniteSum first, second;
    SABA saba({.upper_step_size = 0.1, .order = order});
    SOBA soba({.upper_step_size = 0.1, .order = order});
    double worst = 0;
    std::vector<Tensor> path;
    const auto record = [&](const MadeStep&, Oracles& oracles) {
      path.push_back(torch::cat({oracles.x().flat(), oracles.y().flat()}));
      return true;
    };
    const auto compare = [&](const MadeStep& row, Oracles& oracles) {
      worst = std::max(worst, distance(torch::cat({oracles.x().flat(), oracles.y().flat()}),
                                       path[static_cast<size_t>(row.step - 1)]));
      return true;
    };
    run(first.problem(11), saba, {.max_steps = 100, .callback = record});
    run(second.problem(11), soba, {.max_steps = 100, .callback = compare});
    EXPECT_LT(worst, 1e-12);
    EXPECT_GT(distance(path.back(), path.front()), 0.05) << "they moved";
  }
}

TEST(SABA, RefusesAMemoryAboveItsLimit) {
  FiniteSum sum;
  // (3 + 1) (2 * 2 + 2) + (2 + 1) (2 + 2) numbers of 8 bytes: slots and means.
  SABA small({.memory_limit = 287});
  const std::string message = message_of<InputError>([&] { run(sum.problem(4), small, {.max_steps = 1}); });
  EXPECT_CONTAINS(message, "memory_limit = 287");
  EXPECT_CONTAINS(message, "288 bytes");
  SABA enough({.memory_limit = 288});
  EXPECT_NO_THROW(run(sum.problem(4), enough, {.max_steps = 1}));
}

}  // namespace saba_test
}  // namespace bilevel
