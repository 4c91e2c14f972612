#include "bilevel/solver/vr-adambo/vr-adambo.h"

#include "tests/noisy_p1.h"
#include "tests/support.h"

namespace bilevel {
namespace vr_adambo_test {

constexpr int64_t kSteps = 60;

/// VR-AdamBO on NoisyP1 in plain numbers, from the equations in the header.
struct ScalarVRAdamBO {
  VRAdamBOOptions o;
  double eta_n = 0;
  ScalarAveragedLower lower;
  Coordinates x, y, m, v, old_x, old_averaged;
  int64_t t = 0;

  ScalarVRAdamBO(const VRAdamBOOptions& options, double eta_y, double neumann_step_size)
      : o(options),
        eta_n(neumann_step_size),
        lower{.every_iteration = options.option == AveragedVariant::I,
              .period = options.period,
              .lower_steps = options.lower_steps,
              .warm_start_steps = options.warm_start_steps,
              .gamma = options.nesterov_momentum,
              .tau = options.averaging_weight,
              .eta = eta_y} {}
  void warm_start(NoisyP1Samples& samples) { lower.warm_start(samples, x, y); }
  void step(NoisyP1Samples& samples) {
    const NoisyP1Draw xi = samples.estimate(o.neumann_terms - 1);
    const double rate = o.schedule == "cosine" ? cosine(t, kSteps) : 1;
    const Coordinates averaged = lower.averaged, x_t = x;
    if (t == 0) m = v = Coordinates(x.size());
    lower.step(samples, t, rate, x, y);
    for (size_t i = 0; i < x.size(); ++i) {
      const double h = xi.hypergradient(x[i], averaged[i], eta_n);
      m[i] = t == 0
                 ? h
                 : h + (1 - o.momentum_weight) * (m[i] - xi.hypergradient(old_x[i], old_averaged[i], eta_n));
      v[i] = (1 - o.second_moment_weight) * v[i] + o.second_moment_weight * h * h;
      const double v_hat = v[i] / (1 - std::pow(1 - o.second_moment_weight, static_cast<double>(t + 1)));
      x[i] -= rate * o.upper_step_size * m[i] / (std::sqrt(v_hat) + o.epsilon);
    }
    old_x = x_t;
    old_averaged = averaged;
    ++t;
  }
};

void expect_scalar_path(VRAdamBOOptions options) {
  for (const double noise : {0.0, 0.3}) {
    options.lower_step_size = 0.4;
    options.neumann_step_size = 0.5;
    VRAdamBO solver(options);
    ScalarVRAdamBO reference(options, 0.4, 0.5);
    EXPECT_LE(largest_difference(solver, reference, noise, kSteps), 1e-10) << "noise " << noise;
  }
}

TEST(VRAdamBO, EqualsScalarComputation) { expect_scalar_path({.upper_step_size = 0.02, .neumann_terms = 4}); }

TEST(VRAdamBO, EqualsScalarComputationWhereEpsilonMatters) {
  expect_scalar_path({.upper_step_size = 0.05,
                      .neumann_terms = 1,
                      .warm_start_steps = 0,
                      .momentum_weight = 0.3,
                      .second_moment_weight = 0.02,
                      .epsilon = 2.0,
                      .nesterov_momentum = 0.8,
                      .averaging_weight = 0.2,
                      .schedule = "cosine"});
}

TEST(VRAdamBO, EqualsScalarComputationInOptionTwo) {
  expect_scalar_path({.upper_step_size = 0.02,
                      .neumann_terms = 3,
                      .option = AveragedVariant::II,
                      .period = 3,
                      .lower_steps = 2,
                      .averaging_weight = 0.4});
}

// f does not see y, g does not see x: what remains is single-level VRAdam.
TEST(VRAdamBO, WithoutALowerLevelIsVRAdam) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(8);
  const torch::Tensor rows = torch::randn({31, 2}, generator, torch::kFloat64);
  const auto problem_of = [&](const torch::Tensor& x, const torch::Tensor& y) -> Problem {
    return {
        .upper = {.parameters = {x},
                  .loss =
                      [x](const Batch& batch) {
                        const torch::Tensor r = batch.input()[0];
                        return (1 + 0.3 * r[0]) * torch::cosh(x).sum() + 0.5 * r[1] * x.sum();
                      },
                  .batches = shuffled({rows}, {.batch_size = 1})},
        .lower = {
            .parameters = {y}, .loss = [y](const Batch&) { return y.square().sum(); }, .batches = no_data()}};
  };
  const std::vector<double> start{1.5, -0.5, 0.2};
  const torch::Tensor x = torch::tensor(start, torch::kFloat64).requires_grad_();
  const torch::Tensor y = torch::zeros({2}, torch::kFloat64).requires_grad_();
  const torch::Tensor x2 = torch::tensor(start, torch::kFloat64).requires_grad_();
  const torch::Tensor y2 = torch::zeros({2}, torch::kFloat64).requires_grad_();
  Oracles samples(problem_of(x2, y2), 6);  // for its stream of batches

  std::vector<double> w = start, w_old = start, m(3), v(3);
  double worst = 0;
  const auto compare = [&](const MadeStep& row, Oracles& oracles) {
    const torch::Tensor r = samples.upper().draw("upper_batches").batch.input()[0];
    const double scale = 1 + 0.3 * r[0].item<double>(), shift = 0.5 * r[1].item<double>();
    const auto gradient = [&](double at) { return scale * std::sinh(at) + shift; };
    const auto t = static_cast<double>(row.step);
    for (size_t i = 0; i < w.size(); ++i) {
      const double g = gradient(w[i]);
      m[i] = row.step == 1 ? g : 0.2 * g + 0.8 * m[i] + 0.8 * (g - gradient(w_old[i]));
      v[i] = 0.99 * v[i] + 0.01 * g * g;
      w_old[i] = w[i];
      w[i] -= 0.05 * m[i] / (std::sqrt(v[i] / (1 - std::pow(0.99, t))) + 0.1);
      worst = std::max(worst, std::abs(oracles.x().flat()[static_cast<int64_t>(i)].item<double>() - w[i]));
    }
    return true;
  };
  VRAdamBO solver(
      {.upper_step_size = 0.05, .momentum_weight = 0.2, .second_moment_weight = 0.01, .epsilon = 0.1});
  run(problem_of(x, y), solver, {.max_steps = 100, .seed = 6, .callback = compare});
  EXPECT_LE(worst, 1e-12);
  EXPECT_GT(std::abs(w[0] - start[0]), 0.5);
}

TEST(VRAdamBO, SaysThatItIsAReconstruction) {
  EXPECT_CONTAINS(solver_registry().at("vr-adambo").summary, "reconstruction");
}

}  // namespace vr_adambo_test
}  // namespace bilevel
