#include "bilevel/task/job/calibration.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

namespace bilevel {
namespace {

/// sigmoid(slope z + intercept) against targets, at given values of both.
class LogisticLine {
 public:
  LogisticLine(std::vector<double> z, std::vector<double> targets)
      : z_(std::move(z)), targets_(std::move(targets)) {}

  double loss(double slope, double intercept) const {
    double sum = 0;
    for (size_t i = 0; i < z_.size(); ++i) {
      const double u = slope * z_[i] + intercept;
      sum += std::max(u, 0.0) + std::log1p(std::exp(-std::abs(u))) - targets_[i] * u;
    }
    return sum;
  }

  /// By Newton's method with halved steps.
  std::pair<double, double> minimize(double slope, double intercept) const {
    constexpr double kRidge = 1e-12, kFlat = 1e-8, kDescent = 1e-4;
    double value = loss(slope, intercept);
    for (int iteration = 0; iteration < 100; ++iteration) {
      double g[2] = {0, 0}, h[3] = {kRidge, 0, kRidge};
      for (size_t i = 0; i < z_.size(); ++i) {
        const double p = 1 / (1 + std::exp(-(slope * z_[i] + intercept))), r = p - targets_[i];
        const double weight = p * (1 - p);
        g[0] += r * z_[i];
        g[1] += r;
        h[0] += weight * z_[i] * z_[i];
        h[1] += weight * z_[i];
        h[2] += weight;
      }
      if (std::max(std::abs(g[0]), std::abs(g[1])) < kFlat) break;
      const double determinant = h[0] * h[2] - h[1] * h[1];
      const double step[2] = {-(h[2] * g[0] - h[1] * g[1]) / determinant,
                              -(h[0] * g[1] - h[1] * g[0]) / determinant};
      const double falls = g[0] * step[0] + g[1] * step[1];
      double size = 1;
      for (; size > 1e-10; size /= 2) {
        const double next = loss(slope + size * step[0], intercept + size * step[1]);
        if (next >= value + kDescent * size * falls) continue;
        value = next;
        break;
      }
      if (size <= 1e-10) break;
      slope += size * step[0];
      intercept += size * step[1];
    }
    return {slope, intercept};
  }

 private:
  std::vector<double> z_, targets_;
};

torch::Tensor logarithms(const torch::Tensor& probabilities) {
  return probabilities.to(torch::kFloat64).clamp_min(1e-12).log();
}

}  // namespace

torch::Tensor Calibration::apply(const torch::Tensor& probabilities) const {
  return torch::softmax(beta * logarithms(probabilities) + bias, 1);
}

nlohmann::ordered_json Calibration::to_json() const {
  const torch::Tensor values = bias.contiguous();
  const auto* b = values.const_data_ptr<double>();
  return {{"temperature", 1 / beta}, {"bias", std::vector<double>(b, b + values.numel())}};
}

Calibration Calibration::from_json(const nlohmann::ordered_json& json) {
  return {.beta = 1 / json.at("temperature").get<double>(),
          .bias = torch::tensor(json.at("bias").get<std::vector<double>>(), torch::kFloat64)};
}

Calibration fit_platt(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  constexpr double kLeast = 1e-6;
  const torch::Tensor log_p = logarithms(probabilities);
  const torch::Tensor odds = (log_p.select(1, 1) - log_p.select(1, 0)).contiguous();
  const auto positives = classes.sum().item<double>();
  const double negatives = static_cast<double>(classes.numel()) - positives;
  const torch::Tensor given = classes.contiguous();
  std::vector<double> targets;
  for (int64_t i = 0; i < given.numel(); ++i) {
    targets.push_back(given.const_data_ptr<int64_t>()[i] == 1 ? (positives + 1) / (positives + 2)
                                                              : 1 / (negatives + 2));
  }
  const auto* z = odds.const_data_ptr<double>();
  const double share = std::log((positives + 1) / (negatives + 1));
  auto [slope, intercept] = LogisticLine({z, z + odds.numel()}, std::move(targets)).minimize(0, share);
  if (slope < kLeast) std::tie(slope, intercept) = std::pair{kLeast, share};
  return {.beta = slope, .bias = torch::tensor({0.0, intercept}, torch::kFloat64)};
}

Calibration fit_temperature(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  constexpr double kRange = 5, kTold = 3.841 / 2;  // the 95 % quantile of chi-squared with one degree
  const torch::Tensor log_p = logarithms(probabilities);
  const torch::Tensor given = classes.unsqueeze(1);
  // Derivative by log beta of the loss of all rows and the penalty.
  const auto slope = [&](double log_beta) {
    const double beta = std::exp(log_beta);
    const torch::Tensor p = torch::softmax(beta * log_p, 1);
    return beta * ((p * log_p).sum() - log_p.gather(1, given).sum()).item<double>() + log_beta;
  };
  double low = -kRange, high = kRange;
  for (int i = 0; i < 50; ++i) (slope((low + high) / 2) > 0 ? high : low) = (low + high) / 2;
  const auto loss = [&](double beta) {
    return -torch::log_softmax(beta * log_p, 1).gather(1, given).sum().item<double>();
  };
  const double beta = std::exp((low + high) / 2);
  return {.beta = loss(1) - loss(beta) > kTold ? beta : 1,
          .bias = torch::zeros({probabilities.size(1)}, torch::kFloat64)};
}

}  // namespace bilevel
