#include "bilevel/data/number_scaler.h"

#include <torch/special.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/data/saved_state.h"

namespace bilevel {
namespace {

struct Moments {
  double mean = 0.0;
  double deviation = 0.0;  // of the population
};

Moments moments_of(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  Moments moments;
  for (const double value : values) moments.mean += value / count;
  // Distances are scaled down, so that values near the largest double do not overflow.
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::abs(value - moments.mean));
  if (largest == 0.0) return moments;
  double sum = 0.0;
  for (const double value : values) {
    const double distance = (value - moments.mean) / largest;
    sum += distance * distance;
  }
  moments.deviation = largest * std::sqrt(sum / count);
  return moments;
}

// Values y at x of the piecewise linear map through (knots, scores), constant outside.
double interpolate(const std::vector<double>& knots, const std::vector<double>& scores, double x) {
  const auto upper = std::upper_bound(knots.begin(), knots.end(), x);
  if (upper == knots.begin()) return scores.front();
  if (upper == knots.end()) return scores.back();
  const auto i = static_cast<size_t>(upper - knots.begin());
  const double share = (x - knots[i - 1]) / (knots[i] - knots[i - 1]);
  return scores[i - 1] + share * (scores[i] - scores[i - 1]);
}

}  // namespace

NumberScaler::NumberScaler(std::vector<double> values, const NumberOptions& options) {
  constexpr size_t kKnots = 1001;
  constexpr double kRounding = 1e-12;  // deviations this small beside the mean are rounding
  constexpr double kClip = 0.005;
  const Moments moments = moments_of(values);
  mean_ = moments.mean;
  if (moments.deviation <= kRounding * std::abs(moments.mean)) return;
  clip_ = options.clip;
  std::sort(values.begin(), values.end());
  std::vector<double> distinct;
  std::vector<double> shares;  // (less + less_or_equal + 1) / (2n + 2)
  for (size_t begin = 0, end = 0; begin < values.size(); begin = end) {
    while (end < values.size() && values[end] == values[begin]) ++end;
    distinct.push_back(values[begin]);
    shares.push_back(static_cast<double>(begin + end + 1) / static_cast<double>(2 * values.size() + 2));
  }
  const bool binary = distinct.size() == 2;
  shift_ = binary ? distinct.front() : mean_;
  scale_ = 1.0 / (binary ? distinct.back() - distinct.front() : moments.deviation);
  if (!std::isfinite(scale_)) scale_ = 0.0;  // a spread below the smallest normal double
  if (binary || constant() || !options.rank) return;

  if (distinct.size() <= kKnots) {
    knots_ = distinct;
    scores_ = shares;
  } else {  // the values at evenly spaced ranks
    for (size_t i = 0; i < kKnots; ++i) {
      const double value = values[i * (values.size() - 1) / (kKnots - 1)];
      if (!knots_.empty() && knots_.back() == value) continue;
      const auto at = std::lower_bound(distinct.begin(), distinct.end(), value) - distinct.begin();
      knots_.push_back(value);
      scores_.push_back(shares[static_cast<size_t>(at)]);
    }
  }
  torch::Tensor scores = torch::tensor(scores_, torch::kFloat64).clamp(kClip, 1.0 - kClip);
  scores = at::special_ndtri(scores);
  scores_.assign(scores.const_data_ptr<double>(), scores.const_data_ptr<double>() + scores.numel());

  for (double& value : values) value = interpolate(knots_, scores_, value);
  const Moments score_moments = moments_of(values);
  if (score_moments.deviation < 1e-6) {  // all but a few values are equal, and the clip hides those
    knots_.clear();
    scores_.clear();
    return;
  }
  for (double& score : scores_) score = (score - score_moments.mean) / score_moments.deviation;
}

float NumberScaler::scaled(double value) const {
  const double scaled = (value - shift_) * scale_;
  return static_cast<float>(clip_ > 0.0 ? std::clamp(scaled, -clip_, clip_) : scaled);
}

float NumberScaler::rank_score(double value) const {
  return static_cast<float>(interpolate(knots_, scores_, value));
}

nlohmann::json NumberScaler::to_json() const {
  nlohmann::json state = {{"mean", mean_}, {"shift", shift_}, {"scale", scale_}, {"clip", clip_}};
  if (has_rank()) {
    state["knots"] = knots_;
    state["scores"] = scores_;
  }
  return state;
}

NumberScaler NumberScaler::from_json(const nlohmann::json& state) {
  return read_state("number scaler", [&] {
    NumberScaler scaler;
    scaler.mean_ = state.at("mean").get<double>();
    scaler.shift_ = state.at("shift").get<double>();
    scaler.scale_ = state.at("scale").get<double>();
    scaler.clip_ = state.at("clip").get<double>();
    if (state.contains("knots")) {
      scaler.knots_ = state.at("knots").get<std::vector<double>>();
      scaler.scores_ = state.at("scores").get<std::vector<double>>();
      if (scaler.knots_.size() != scaler.scores_.size() ||
          !std::is_sorted(scaler.knots_.begin(), scaler.knots_.end())) {
        throw FileError("its knots do not match its scores");
      }
    }
    return scaler;
  });
}

}  // namespace bilevel
