#include "bilevel/task/clean/agreement.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

constexpr int kMostIterations = 1000;
constexpr double kLeastRate = 0.001;

}  // namespace

Agreement agreement_of(const torch::Tensor& probabilities, const torch::Tensor& given) {
  if (probabilities.dim() != 2 || given.dim() != 1 || probabilities.size(0) != given.size(0) ||
      probabilities.size(1) < 2 || given.size(0) == 0)
    throw InputError("agreement: expected probabilities [n, classes >= 2] and labels [n], n >= 1");
  const auto others = static_cast<double>(probabilities.size(1) - 1);
  const torch::Tensor p =
      probabilities.gather(1, given.unsqueeze(1)).squeeze(1).clamp(1e-6, 1 - 1e-6).to(torch::kFloat64);
  const auto right_at = [&](double e) {
    const torch::Tensor right = p * (1 - e);
    return right / (right + (1 - p) * (e / others));
  };
  Agreement result;
  result.noise = 0.3;
  for (int i = 0; i < kMostIterations; ++i) {
    const double next =
        std::clamp(1 - right_at(result.noise).mean().item<double>(), kLeastRate, 1 - kLeastRate);
    const bool settled = std::abs(next - result.noise) < 1e-9;
    result.noise = next;
    if (settled) break;
  }
  result.right = right_at(result.noise);
  const double e = result.noise;
  torch::Tensor posterior = probabilities.to(torch::kFloat64) * (e / others);
  posterior.scatter_(1, given.unsqueeze(1), (p * (1 - e)).unsqueeze(1));
  result.suggested = posterior.argmax(1);
  return result;
}

torch::Tensor calibrated(const torch::Tensor& probabilities, double beta) {
  return torch::softmax(beta * probabilities.to(torch::kFloat64).clamp_min(1e-12).log(), 1);
}

double calibration_of(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  if (probabilities.dim() != 2 || classes.dim() != 1 || probabilities.size(0) != classes.size(0) ||
      classes.size(0) == 0)
    throw InputError("calibration: expected probabilities [n, classes] and classes [n], n >= 1");
  const auto objective = [&](double log_beta) {
    const torch::Tensor p =
        calibrated(probabilities, std::exp(log_beta)).gather(1, classes.unsqueeze(1)).clamp_min(1e-300);
    return -p.log().sum().item<double>() + log_beta * log_beta / 2;
  };
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double low = -std::log(20.0), high = std::log(20.0);
  double left = high - golden * (high - low), right = low + golden * (high - low);
  double at_left = objective(left), at_right = objective(right);
  while (high - low > 1e-5) {
    if (at_left <= at_right) {
      high = std::exchange(right, left);
      at_right = at_left;
      left = high - golden * (high - low);
      at_left = objective(left);
    } else {
      low = std::exchange(left, right);
      at_left = at_right;
      right = low + golden * (high - low);
      at_right = objective(right);
    }
  }
  return std::exp((low + high) / 2);
}

torch::Tensor weight_of(const torch::Tensor& right, int64_t classes) {
  const double chance = 1 / static_cast<double>(classes);
  return torch::maximum((right - chance) / (1 - chance), right / 100);
}

}  // namespace bilevel
