#include "bilevel/task/job/calibration.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/rising_curve.h"

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

constexpr double kLeastSlope = 1e-6;  // of Platt's line: then it is flat

torch::Tensor logarithms(const torch::Tensor& probabilities) {
  return probabilities.to(torch::kFloat64).clamp_min(1e-12).log();
}

/// float64 [rows], of [rows, 2].
torch::Tensor log_odds(const torch::Tensor& probabilities) {
  const torch::Tensor log_p = logarithms(probabilities);
  return (log_p.select(1, 1) - log_p.select(1, 0)).contiguous();
}

/// Of class k and of all others.
torch::Tensor against_others(const torch::Tensor& probabilities, size_t k) {
  const torch::Tensor p = probabilities.to(torch::kFloat64).select(1, static_cast<int64_t>(k));
  return torch::stack({1 - p, p}, 1);
}

torch::Tensor on_curve(const Calibration::Curve& curve, const torch::Tensor& odds) {
  const torch::Tensor made = torch::empty_like(odds);
  for (int64_t i = 0; i < odds.numel(); ++i) {
    const double z = odds.const_data_ptr<double>()[i];
    const auto above = std::lower_bound(curve.begin() + 1, curve.end() - 1, std::pair{z, -HUGE_VAL});
    const auto& [x0, y0] = *(above - 1);
    const auto& [x1, y1] = *above;
    made.data_ptr<double>()[i] = y0 + (y1 - y0) / (x1 - x0) * (z - x0);
  }
  return made;
}

/// J. Platt's (1999): (n + 1) / (n + 2) for a class of n rows, and 1 / (n + 2).
torch::Tensor platt_targets(const torch::Tensor& classes) {
  const torch::Tensor positive = classes.to(torch::kFloat64);
  const auto positives = positive.sum().item<double>();
  const double negatives = static_cast<double>(classes.numel()) - positives, low = 1 / (negatives + 2);
  return low + positive * ((positives + 1) / (positives + 2) - low);
}

}  // namespace

torch::Tensor Calibration::apply(const torch::Tensor& probabilities) const {
  const torch::Tensor p = bias.defined() ? torch::softmax(beta * logarithms(probabilities) + bias, 1)
                                         : probabilities.to(torch::kFloat64);
  if (curves.empty()) return p;
  if (curves.size() == 1) {
    const torch::Tensor made = on_curve(curves[0], log_odds(p));
    return torch::stack({torch::sigmoid(-made), torch::sigmoid(made)}, 1);
  }
  std::vector<torch::Tensor> columns;
  for (size_t k = 0; k < curves.size(); ++k)
    columns.push_back(torch::sigmoid(on_curve(curves[k], log_odds(against_others(p, k)))));
  const torch::Tensor all = torch::stack(columns, 1);
  return all / all.sum(1, true);
}

std::string Calibration::warning() const {
  for (const Curve& curve : curves) {
    if ((curve.back().second - curve.front().second) / (curve.back().first - curve.front().first) >
        2 * kLeastSlope)
      continue;
    return "the rows that make probabilities honest do not support the order of the scores, or contradict "
           "it: all rows get nearly the "
           "same probability, the share of the class; are their labels those of the training rows?";
  }
  return {};
}

nlohmann::ordered_json Calibration::to_json() const {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (bias.defined()) {
    const torch::Tensor values = bias.contiguous();
    const auto* b = values.const_data_ptr<double>();
    json = {{"temperature", 1 / beta}, {"bias", std::vector<double>(b, b + values.numel())}};
  }
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Curve& curve : curves) {
    std::vector<double> odds, calibrated;
    for (const auto& [from, to] : curve) {
      odds.push_back(from);
      calibrated.push_back(to);
    }
    all.push_back({{"log_odds", odds}, {"calibrated", calibrated}});
  }
  if (!all.empty()) json["curves"] = all;
  return json;
}

Calibration Calibration::from_json(const nlohmann::ordered_json& json) {
  Calibration calibration;
  if (json.contains("bias") || !json.contains("curves")) {
    calibration.beta = 1 / json.at("temperature").get<double>();
    calibration.bias = torch::tensor(json.at("bias").get<std::vector<double>>(), torch::kFloat64);
  }
  if (!json.contains("curves")) return calibration;
  for (const auto& curve : json.at("curves")) {
    const auto odds = curve.at("log_odds").get<std::vector<double>>();
    Curve& made = calibration.curves.emplace_back();
    for (size_t i = 0; i < odds.size(); ++i)
      made.emplace_back(odds[i], curve.at("calibrated").at(i).get<double>());
  }
  return calibration;
}

Calibration fit_platt(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  const torch::Tensor odds = log_odds(probabilities);
  const auto positives = classes.sum().item<double>();
  const double negatives = static_cast<double>(classes.numel()) - positives;
  const torch::Tensor aims = platt_targets(classes);
  std::vector<double> targets(aims.const_data_ptr<double>(), aims.const_data_ptr<double>() + aims.numel());
  const auto* z = odds.const_data_ptr<double>();
  const double share = std::log((positives + 1) / (negatives + 1));
  auto [slope, intercept] = LogisticLine({z, z + odds.numel()}, std::move(targets)).minimize(0, share);
  if (slope < kLeastSlope) std::tie(slope, intercept) = std::pair{kLeastSlope, share};
  return {.beta = slope, .bias = torch::tensor({0.0, intercept}, torch::kFloat64)};
}

namespace {

/// Every so many-th of the rows, so that there are at most `most`.
torch::Tensor some_rows(int64_t rows, int64_t most) {
  return torch::arange(0, rows, (rows + most - 1) / most, torch::kInt64);
}

/// @param probabilities [rows, 2]
Calibration::Curve fit_curve(const torch::Tensor& probabilities, const torch::Tensor& classes, Given given) {
  constexpr int64_t kParts = 10, kMostRows = 20'000;
  // The spread that is expected between neighbouring slopes is a tenth, a sixth, ... in natural logarithms.
  constexpr double kStiffness[] = {HUGE_VAL, 100, 30, 10, 3, 1, 0.3};
  const Calibration platt = fit_platt(probabilities, classes);
  const torch::Tensor odds = log_odds(probabilities), targets = platt_targets(classes);
  const torch::Tensor used = some_rows(odds.numel(), kMostRows);
  const RisingCurve curve(odds.index_select(0, used));
  const double intercept = (platt.bias[1] - platt.bias[0]).item<double>();
  if (platt.beta <= kLeastSlope) return {{0, intercept}, {1, intercept + platt.beta}};
  const torch::Tensor start = curve.line(platt.beta, intercept);

  const torch::Tensor covered = curve.covered(odds.index_select(0, used));
  const torch::Tensor of_used = targets.index_select(0, used),
                      truth = classes.index_select(0, used).to(torch::kFloat64);
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(0);
  const torch::Tensor fold = torch::randperm(used.numel(), generator, torch::kInt64).remainder(kParts);
  std::vector<torch::Tensor> losses;  // of each row by a curve that was fitted without it
  const auto loss_of = [](const torch::Tensor& z, const torch::Tensor& t) {
    return torch::softplus(z) - t * z;
  };
  if (given == Given::frequencies) losses.push_back(loss_of(odds.index_select(0, used), truth));
  for (const double stiffness : kStiffness) {
    torch::Tensor loss = torch::zeros_like(truth);
    for (int64_t k = 0; k < kParts; ++k) {
      const torch::Tensor out = (fold == k).nonzero().squeeze(1), rest = (fold != k).nonzero().squeeze(1);
      if (out.numel() == 0 || rest.numel() == 0) continue;
      const torch::Tensor w = curve.fit(covered.index_select(0, rest), of_used.index_select(0, rest),
                                        std::min(stiffness, 1e6), start);
      const torch::Tensor judged = curve.values(covered.index_select(0, out), w);
      loss.index_copy_(0, out, loss_of(judged, truth.index_select(0, out)));
    }
    losses.push_back(loss);
  }
  const auto least = std::ranges::min_element(
      losses, {}, [](const torch::Tensor& loss) { return loss.mean().item<double>(); });
  size_t chosen = 0;
  for (; &losses[chosen] != &*least; ++chosen) {
    const torch::Tensor more = losses[chosen] - *least;
    const double error = more.std().item<double>() / std::sqrt(static_cast<double>(more.numel()));
    if (more.mean().item<double>() <= error) break;
  }
  if (given == Given::frequencies && chosen-- == 0) return {{0, 0}, {1, 1}};
  if (chosen == 0) return {{0, intercept}, {1, intercept + platt.beta}};
  const torch::Tensor w = curve.fit(curve.covered(odds), targets, kStiffness[chosen], start);
  return curve.points(w);
}

}  // namespace

Calibration fit_curves(const torch::Tensor& probabilities, const torch::Tensor& classes, Given given) {
  Calibration made;
  if (probabilities.size(1) == 2) {
    made.curves.push_back(fit_curve(probabilities, classes, given));
    return made;
  }
  for (int64_t k = 0; k < probabilities.size(1); ++k)
    made.curves.push_back(fit_curve(against_others(probabilities, static_cast<size_t>(k)),
                                    (classes == k).to(torch::kInt64), given));
  return made;
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

Calibration fit_judged(const torch::Tensor& probabilities, const torch::Tensor& classes, bool by_others,
                       Given given) {
  const auto fewest = torch::bincount(classes, {}, probabilities.size(1)).min().item<int64_t>();
  if (fewest == 0) return {.bias = torch::zeros({probabilities.size(1)}, torch::kFloat64)};
  return by_others && fewest >= kFewRows ? fit_curves(probabilities, classes, given)
                                         : fit_temperature(probabilities, classes);
}

}  // namespace bilevel
