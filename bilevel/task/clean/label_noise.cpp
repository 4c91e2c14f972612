#include "bilevel/task/clean/label_noise.h"

#include <ATen/ops/special_gammaincc.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/task/clean/noise_likelihood.h"

namespace bilevel {
namespace {

/// P(chi square with `freedom` degrees > value).
double tail(double value, int64_t freedom) {
  const auto at = [](double x) { return torch::full({}, x, torch::kFloat64); };
  return at::special_gammaincc(at(static_cast<double>(freedom) / 2), at(std::max(value, 0.0) / 2))
      .item<double>();
}

/// Of rows that nobody has checked.
LabelNoise unchecked_noise(const LabelledPredictions& train) {
  const int64_t classes = train.probabilities.size(1);
  NoiseLikelihood model(train,
                        {torch::zeros({0, classes}, torch::kFloat64), torch::zeros({0}, torch::kInt64)});
  LabelNoise result;
  result.calibration.bias = torch::zeros({classes}, torch::kFloat64);
  result.transition = confident_joint(
      {NoiseLikelihood::some_of(train.probabilities), NoiseLikelihood::some_of(train.labels)});
  model.set(result);
  model.fit_unchecked();
  result.calibration = model.calibration();
  result.transition = model.transition();
  result.class_shares = model.posterior().mean(0);
  result.share = 1 - judge(result, train).right.mean().item<double>();
  return result;
}

}  // namespace

torch::Tensor confident_joint(const LabelledPredictions& train) {
  const torch::Tensor& p = train.probabilities;
  const int64_t classes = p.size(1);
  const torch::Tensor labelled = torch::one_hot(train.labels, classes).to(torch::kFloat64);
  const torch::Tensor rows = labelled.sum(0);
  // A label without rows has no mean, and NaN is reached by none.
  const torch::Tensor confident = p >= (labelled * p).sum(0) / rows;
  const torch::Tensor likely = torch::where(confident, p, torch::zeros_like(p));
  const torch::Tensor counted =
      torch::one_hot(likely.argmax(1), classes) * confident.any(1, /*keepdim=*/true);
  const torch::Tensor counts =
      counted.to(torch::kFloat64).t().mm(labelled) + kPseudoRows / static_cast<double>(classes);
  const torch::Tensor joint = counts / counts.sum(0) * rows.clamp_min(kPseudoRows);
  return joint / joint.sum(1, /*keepdim=*/true);
}

LabelNoise fit_label_noise(const LabelledPredictions& train, const LabelledPredictions& trusted) {
  const auto fits = [](const LabelledPredictions& p) {
    return p.probabilities.dim() == 2 && p.labels.dim() == 1 && p.probabilities.size(0) == p.labels.size(0) &&
           p.probabilities.size(1) >= 2;
  };
  if (!fits(train) || train.labels.numel() == 0 ||
      (trusted.labels.defined() &&
       (!fits(trusted) || trusted.probabilities.size(1) != train.probabilities.size(1))))
    throw InputError("label noise: expected probabilities [n, classes >= 2] and labels [n], n >= 1");
  if (!trusted.labels.defined() || trusted.labels.numel() == 0) return unchecked_noise(train);
  NoiseLikelihood model(train, trusted);
  const double same = model.fit(NoiseLikelihood::Trusted::same);
  LabelNoise result;
  const auto take = [&] {
    result.calibration = model.calibration();
    result.transition = model.transition();
    result.class_shares = model.posterior().mean(0);
    result.share = model.share().item<double>();
  };
  take();
  const double own_shares = model.fit(NoiseLikelihood::Trusted::own_shares);
  result.same_shares = tail(2 * (own_shares - same), train.probabilities.size(1) - 1);
  const bool differ = result.same_shares < kContradiction;
  if (differ) {
    take();
    result.trusted_shift = model.shift();
  }
  const torch::Tensor counted = torch::bincount(trusted.labels, {}, train.probabilities.size(1));
  const torch::Tensor expected = trusted.labels.numel() * result.class_shares;
  // A class of less than one expected row counts as if it had one, so that a single such row is no contradiction.
  const torch::Tensor distance = (counted - expected).square() / expected.clamp_min(1);
  result.class_counts = tail(distance.sum().item<double>(), train.probabilities.size(1) - 1);
  result.same_beta = tail(2 * (model.fit(NoiseLikelihood::Trusted::own_shares_and_beta) - own_shares), 1);
  return result;
}

Calibration calibration_for(const LabelNoise& noise, const LabelledPredictions& trusted) {
  Calibration made = noise.calibration;
  const auto fewest =
      torch::bincount(trusted.labels, {}, trusted.probabilities.size(1)).min().item<int64_t>();
  // Trusted rows of other class shares than the training rows' have other odds.
  if (noise.trusted_shift.defined() || fewest < kFewRows) return made;
  made.curves = fit_curves(made.apply(trusted.probabilities), trusted.labels, Given::frequencies).curves;
  return made;
}

double no_noise_p_value(const LabelledPredictions& train, const LabelledPredictions& trusted,
                        bool own_shares) {
  const auto how = own_shares ? NoiseLikelihood::Trusted::own_shares : NoiseLikelihood::Trusted::same;
  NoiseLikelihood with(train, trusted), without(train, trusted);
  without.without_noise();
  const double gain = 2 * (with.fit(how) - with.of_pseudo_rows() - without.fit(how));
  const int64_t rates = train.probabilities.size(1) * (train.probabilities.size(1) - 1);
  // Each rate is as likely to end at 0 as above it.
  double p = 0;
  for (int64_t free = 1; free <= rates; ++free) {
    const double log_weight = std::lgamma(rates + 1) - std::lgamma(free + 1) - std::lgamma(rates - free + 1) -
                              static_cast<double>(rates) * std::log(2.0);
    if (log_weight > -40) p += std::exp(log_weight) * tail(gain, free);
  }
  return gain > 0 ? p : 1;
}

Judgement judge(const LabelNoise& noise, const LabelledPredictions& train) {
  const torch::Tensor given = train.labels.unsqueeze(1);
  // [rows, classes]: of true class j and recorded as given.
  const torch::Tensor both =
      noise.calibration.apply(train.probabilities) * noise.transition.index_select(1, train.labels).t();
  return {(both.gather(1, given) / both.sum(1, true).clamp_min(1e-300)).squeeze(1), both.argmax(1)};
}

torch::Tensor weight_of(const torch::Tensor& right, int64_t classes) {
  const double chance = 1 / static_cast<double>(classes);
  return torch::maximum((right - chance) / (1 - chance), right / 100);
}

torch::Tensor judged_weights(const torch::Tensor& right, const torch::Tensor& labels,
                             const torch::Tensor& trusted_labels, int64_t classes) {
  const torch::Tensor weights = weight_of(right, classes);
  if (trusted_labels.numel() == 0) return weights;
  const torch::Tensor judged = torch::bincount(trusted_labels, {}, classes).gt(0);
  return torch::where(judged.index_select(0, labels), weights, torch::ones_like(weights));
}

namespace {

constexpr double kDrop = 1.9207;      // of the log likelihood at the ends of a 95 % interval: 1.96^2 / 2
constexpr int64_t kMostClasses = 20;  // with intervals of single rates
constexpr double kAtZero = 1;         // row expected: a rate of less lies at 0 where the likelihood falls

/// One end of the profile interval, the lower for `side` -1, the upper for 1: the share is moved away from the most
/// likely one until the likelihood has dropped by kDrop.
double share_bound(const LabelNoise& noise, const LabelledPredictions& train,
                   const LabelledPredictions& trusted, double side) {
  NoiseLikelihood model(train, trusted);
  model.set(noise);
  const auto how =
      noise.trusted_shift.defined() ? NoiseLikelihood::Trusted::own_shares : NoiseLikelihood::Trusted::same;
  const double best = model.fit(how);
  const double most = side < 0 ? noise.share : 1 - noise.share;
  double inside = 0, outside = most, distance = std::min(0.01, most / 2);
  for (int i = 0; i < 30 && outside - inside > 1e-5; ++i) {
    const double drop = best - model.fit(how, noise.share + side * distance);
    if (std::abs(drop - kDrop) < 0.01) {
      outside = distance;
      break;
    }
    (drop < kDrop ? inside : outside) = distance;
    // Near the top the drop is a square of the distance.
    const double next = distance * std::clamp(std::sqrt(kDrop / std::max(drop, 1e-6)), 0.25, 4.0);
    distance = next > inside && next < outside ? next : (inside + outside) / 2;
  }
  const double bound = noise.share + side * outside;
  // Less than the pseudo rows is not told from nothing.
  const bool nothing = bound * static_cast<double>(train.labels.numel()) <
                       kPseudoRows * static_cast<double>(train.probabilities.size(1));
  return side < 0 && nothing ? 0 : bound;
}

/// Intervals of sums of rates, from the slope and the information of the likelihood at its maximum.
class RateIntervals {
 public:
  RateIntervals(const LabelNoise& noise, const LabelledPredictions& train, const LabelledPredictions& trusted)
      : noise_(noise), classes_(train.probabilities.size(1)) {
    NoiseLikelihood model(train, trusted);
    model.set(noise);
    const torch::Tensor scores = model.scores(noise.trusted_shift.defined());
    slope_ = scores.sum(0);
    information_ = scores.t().mm(scores) + model.prior_information(scores.size(1)).diag();
    held_.resize(static_cast<size_t>(scores.size(1)));
    const auto rows = static_cast<double>(train.labels.numel());
    for (int64_t j = 0; j < classes_; ++j) {
      for (int64_t k = 0; k < classes_; ++k) {
        held_[static_cast<size_t>(entry(j, k))] =
            j == k ||
            (rows * noise.class_shares[j].item<double>() * noise.transition[j][k].item<double>() < kAtZero &&
             slope_[entry(j, k)].item<double>() < 0);
      }
    }
  }

  /// Of class j recorded as k.
  std::pair<double, double> of_rate(int64_t j, int64_t k) const {
    return interval({entry(j, k)}, noise_.transition[j][k].item<double>());
  }

  /// Of class j recorded as any other.
  std::pair<double, double> of_wrong(int64_t j) const {
    std::vector<int64_t> free, all;
    for (int64_t k = 0; k < classes_; ++k) {
      if (k == j) continue;
      all.push_back(entry(j, k));
      if (!held_[static_cast<size_t>(entry(j, k))]) free.push_back(entry(j, k));
    }
    return interval(free.empty() ? all : free, 1 - noise_.transition[j][j].item<double>());
  }

 private:
  int64_t entry(int64_t j, int64_t k) const { return j * classes_ + k; }

  /// From `value`, how far a sum of rates can rise or fall until the likelihood has dropped by kDrop.
  std::pair<double, double> interval(const std::vector<int64_t>& summed, double value) const {
    const int64_t parameters = slope_.numel();
    std::vector<int64_t> free;
    torch::Tensor direction = torch::zeros({parameters}, torch::kFloat64);
    for (const int64_t i : summed) direction[i] = 1;
    for (int64_t i = 0; i < parameters; ++i) {
      if (!held_[static_cast<size_t>(i)] || direction[i].item<double>() > 0) free.push_back(i);
    }
    const torch::Tensor at = torch::tensor(free, torch::kInt64);
    const torch::Tensor along = direction.index_select(0, at);
    const torch::Tensor inverse =
        torch::linalg_pinv(information_.index_select(0, at).index_select(1, at), 1e-14, /*hermitian=*/true);
    const torch::Tensor moved = inverse.mv(along);
    const double variance = along.dot(moved).item<double>();
    // At an optimum inside, the slope is 0; at the boundary it is negative.
    const double rise = std::min(0.0, moved.dot(slope_.index_select(0, at)).item<double>());
    const double root = std::sqrt(rise * rise + 2 * kDrop * variance);
    return {std::max(0.0, value - rise - root), std::min(1.0, value + rise + root)};
  }

  const LabelNoise& noise_;
  int64_t classes_;
  torch::Tensor slope_, information_;
  std::vector<bool> held_;  // at the boundary: they do not move with the others
};

}  // namespace

NoiseIntervals noise_intervals(const LabelNoise& noise, const LabelledPredictions& train,
                               const LabelledPredictions& trusted) {
  NoiseIntervals result;
  result.share = {share_bound(noise, train, trusted, -1), share_bound(noise, train, trusted, 1)};
  const int64_t classes = train.probabilities.size(1);
  result.low = torch::full({classes, classes}, std::nan(""), torch::kFloat64);
  result.high = result.low.clone();
  if (classes > kMostClasses) return result;
  const RateIntervals intervals(noise, train, trusted);
  for (int64_t j = 0; j < classes; ++j) {
    for (int64_t k = 0; k < classes; ++k) {
      if (k == j) continue;
      const auto [low, high] = intervals.of_rate(j, k);
      result.low[j][k] = low;
      result.high[j][k] = high;
    }
    const auto [low, high] = intervals.of_wrong(j);
    result.low[j][j] = 1 - high;
    result.high[j][j] = 1 - low;
  }
  return result;
}

std::string interval_text(double low, double high) {
  return std::isfinite(low) ? fmt::format(" ({:.1f} to {:.1f})", 100 * low, 100 * high) : "";
}

}  // namespace bilevel
