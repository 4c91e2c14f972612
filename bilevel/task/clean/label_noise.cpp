#include "bilevel/task/clean/label_noise.h"

#include <ATen/ops/special_gammaincc.h>

#include <algorithm>
#include <cmath>

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

}  // namespace

LabelNoise fit_label_noise(const LabelledPredictions& train, const LabelledPredictions& trusted) {
  const auto fits = [](const LabelledPredictions& p) {
    return p.probabilities.dim() == 2 && p.labels.dim() == 1 && p.probabilities.size(0) == p.labels.size(0) &&
           p.probabilities.size(1) >= 2;
  };
  if (!fits(train) || train.labels.numel() == 0 ||
      (trusted.labels.defined() &&
       (!fits(trusted) || trusted.probabilities.size(1) != train.probabilities.size(1))))
    throw InputError("label noise: expected probabilities [n, classes >= 2] and labels [n], n >= 1");
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
  if (!model.calibrates()) return result;
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

}  // namespace bilevel
