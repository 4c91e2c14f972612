// P1 with noise in every oracle, and its arithmetic for one coordinate in plain numbers: independent
// computations of whole runs are written with it.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "bilevel/oracle/oracles.h"
#include "bilevel/solver/run.h"
#include "bilevel/solver/solver.h"

namespace bilevel {

/// F = sum cosh(c x_i) + u_0 sum x_i + (b + u_1) sum sin(y_i) and
/// G = (mu + l_0)/2 ||y - (a + l_1) x||^2 + l_2 sum y_i, float64,
/// with u and l one row of noise a batch, uniform in [-noise, noise]: noise in every derivative, the second
/// ones too. Every object of one noise has the same rows.
struct NoisyP1 {
  static constexpr double c = 2, a = 0.8, b = 1, mu = 1;
  torch::Tensor x, y;
  torch::Tensor upper_rows, lower_rows;

  /// x at four values that differ; y = 0.
  explicit NoisyP1(double noise = 0.3) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(17);
    upper_rows = noise * (2 * torch::rand({23, 2}, generator, torch::kFloat64) - 1);
    lower_rows = noise * (2 * torch::rand({29, 3}, generator, torch::kFloat64) - 1);
    x = torch::tensor({1.5, -1.25, 0.3, 0.0}, torch::kFloat64).requires_grad_();
    y = torch::zeros({4}, torch::kFloat64).requires_grad_();
  }

  Problem problem() const {
    return {.upper = {.parameters = {{"x", x}},
                      .loss =
                          [x = x, y = y](const Batch& batch) {
                            const torch::Tensor u = batch.input()[0];
                            return torch::cosh(c * x).sum() + u[0] * x.sum() +
                                   (b + u[1]) * torch::sin(y).sum();
                          },
                      .batches = shuffled({upper_rows}, {.batch_size = 1})},
            .lower = {.parameters = {{"y", y}},
                      .loss =
                          [x = x, y = y](const Batch& batch) {
                            const torch::Tensor l = batch.input()[0];
                            return 0.5 * (mu + l[0]) * (y - (a + l[1]) * x).square().sum() + l[2] * y.sum();
                          },
                      .batches = shuffled({lower_rows}, {.batch_size = 1})}};
  }
};

/// The derivatives of NoisyP1 in one coordinate, from the formulas above.
struct NoisyP1Draw {
  std::array<double, 2> u{};
  std::array<double, 3> l{};         ///< of the cross product
  std::vector<double> curvatures{};  ///< mu + l_0 of every factor

  static double lower_gradient(const std::array<double, 3>& l, double x, double y) {
    return (NoisyP1::mu + l[0]) * (y - (NoisyP1::a + l[1]) * x) + l[2];
  }
  /// grad_x F - J z with z = scale * (full sum, or the last summand alone times `single`).
  double hypergradient(double x, double y, double scale, double single = 0) const {
    double product = (NoisyP1::b + u[1]) * std::cos(y);
    double sum = product;
    for (const double h : curvatures) {
      product *= 1 - scale * h;
      sum += product;
    }
    const double z = scale * (single > 0 ? single * product : sum);
    const double cross = -(NoisyP1::mu + l[0]) * (NoisyP1::a + l[1]);
    return NoisyP1::c * std::sinh(NoisyP1::c * x) + u[0] - cross * z;
  }
};

/// The samples that a run with `seed` on NoisyP1(noise) draws, as plain numbers: the streams of a second
/// Oracles.
class NoisyP1Samples {
 public:
  NoisyP1Samples(double noise, uint64_t seed) : problem_(noise), oracles_(problem_.problem(), seed) {}

  std::array<double, 3> lower(const std::string& stream) {
    const torch::Tensor row = oracles_.lower().draw(stream).batch.input()[0];
    return {row[0].item<double>(), row[1].item<double>(), row[2].item<double>()};
  }
  /// An estimate with `factors` factors.
  NoisyP1Draw estimate(int64_t factors) {
    NoisyP1Draw draw;
    const torch::Tensor row = oracles_.upper().draw("upper_batches").batch.input()[0];
    draw.u = {row[0].item<double>(), row[1].item<double>()};
    draw.l = lower("cross_batches");
    for (int64_t j = 0; j < factors; ++j)
      draw.curvatures.push_back(NoisyP1::mu + lower("neumann_batches")[0]);
    return draw;
  }
  /// The random number of factors below `terms`.
  int64_t truncation(int64_t terms) {
    return static_cast<int64_t>(oracles_.streams().draw("truncation") % static_cast<uint64_t>(terms));
  }

 private:
  NoisyP1 problem_;
  Oracles oracles_;
};

using Coordinates = std::vector<double>;

/// The course `cosine`.
inline double cosine(int64_t t, int64_t total) {
  return 0.5 * (1 + std::cos(std::acos(-1.0) * static_cast<double>(t) / static_cast<double>(total)));
}

/// AccBO's lower level in plain numbers, from the paper's equations.
struct ScalarAveragedLower {
  bool every_iteration = true;  ///< option I
  int64_t period = 1, lower_steps = 1, warm_start_steps = 0;
  double gamma = 0, tau = 1, eta = 0;
  Coordinates y_before, averaged;

  void accelerated_step(const std::array<double, 3>& l, double step_size, const Coordinates& x,
                        Coordinates& y) {
    for (size_t i = 0; i < y.size(); ++i) {
      const double w = y[i] + gamma * (y[i] - y_before[i]);
      y_before[i] = y[i];
      y[i] = w - step_size * NoisyP1Draw::lower_gradient(l, x[i], w);
    }
  }
  void warm_start(NoisyP1Samples& samples, const Coordinates& x, Coordinates& y) {
    y_before = y;
    for (int64_t k = 0; k < warm_start_steps; ++k) accelerated_step(samples.lower("warm_start"), eta, x, y);
    y_before = averaged = y;
  }
  void step(NoisyP1Samples& samples, int64_t t, double rate, const Coordinates& x, Coordinates& y) {
    int64_t count = 1;
    if (!every_iteration) count = t % period == 0 ? lower_steps : 0;
    for (int64_t k = 0; k < count; ++k) accelerated_step(samples.lower("lower_batches"), rate * eta, x, y);
    for (size_t i = 0; i < y.size(); ++i) averaged[i] = (1 - tau) * averaged[i] + tau * y[i];
  }
};

/// SUSTAIN (`random`) and MRBO in plain numbers, from the papers' equations.
struct ScalarStorm {
  bool random = true;
  int64_t summands = 1;
  double eta_x = 0, eta_y = 0, eta_n = 0, theta_x = 1, theta_y = 1;
  bool paper_x = false, paper_y = false;  ///< whether a level has the schedule `paper`
  Coordinates x, y, old_x, old_y, d_x, d_y;
  int64_t t = 0;

  void warm_start(NoisyP1Samples&) {}
  void step(NoisyP1Samples& samples) {
    const auto zeta = samples.lower("lower_batches");
    const int64_t factors = random ? samples.truncation(summands) : summands - 1;
    const NoisyP1Draw xi = samples.estimate(factors);
    const double single = random ? static_cast<double>(summands) : 0;
    const double time = static_cast<double>(t) + 1;
    const double rate_x = paper_x ? std::cbrt(1 / time) : 1, rate_y = paper_y ? std::cbrt(1 / time) : 1;
    if (t == 0) {
      d_x = d_y = Coordinates(x.size());
      old_x = x;
      old_y = y;
    }
    for (size_t i = 0; i < x.size(); ++i) {
      const double g = NoisyP1Draw::lower_gradient(zeta, x[i], y[i]);
      const double h = xi.hypergradient(x[i], y[i], eta_n, single);
      const double g_old = NoisyP1Draw::lower_gradient(zeta, old_x[i], old_y[i]);
      const double h_old = xi.hypergradient(old_x[i], old_y[i], eta_n, single);
      d_y[i] = t == 0 ? g : g + (1 - theta_y * rate_y * rate_y) * (d_y[i] - g_old);
      d_x[i] =
          t == 0 ? h : theta_x * rate_x * rate_x * h + (1 - theta_x * rate_x * rate_x) * (d_x[i] + h - h_old);
    }
    old_x = x;
    old_y = y;
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] -= eta_y * rate_y * d_y[i];
      x[i] -= eta_x * rate_x * d_x[i];
    }
    ++t;
  }
};

/// Runs `solver` on NoisyP1(noise) and, beside it, `reference`, which must offer `Coordinates x, y` and
/// `void step(NoisyP1Samples&)`; returns the largest difference of an iterate, relative to 1 + its size.
template <typename Reference>
double largest_difference(Solver& solver, Reference& reference, double noise, int64_t steps,
                          uint64_t seed = 5) {
  const NoisyP1 problem(noise);
  NoisyP1Samples samples(noise, seed);
  const auto start = [](const torch::Tensor& t) {
    const torch::Tensor flat = t.detach();
    return Coordinates(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel());
  };
  reference.x = start(problem.x);
  reference.y = start(problem.y);
  reference.warm_start(samples);
  double worst = 0;
  const auto compare = [&](const MadeStep&, Oracles& oracles) {
    reference.step(samples);
    for (size_t i = 0; i < reference.x.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      const double x = oracles.x().flat()[at].item<double>();
      const double y = oracles.y().flat()[at].item<double>();
      worst = std::max({worst, std::abs(x - reference.x[i]) / (1 + std::abs(x)),
                        std::abs(y - reference.y[i]) / (1 + std::abs(y))});
    }
    return true;
  };
  const Result result =
      run(problem.problem(), solver, {.max_steps = steps, .seed = seed, .callback = compare});
  EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
  EXPECT_EQ(result.steps, steps);
  return worst;
}

}  // namespace bilevel
