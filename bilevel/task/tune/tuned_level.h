// A level of a convex TuneModel: what its derivatives need of x alone. Of tune_derivatives.cpp only.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "bilevel/task/tune/tune_derivatives.h"

namespace bilevel {

/// What follows from x alone, for weight (j, m, c) of model m at (j models + m) k + c.
template <typename T>
struct AtX {
  std::vector<T> x;
  std::vector<T> scale;         // s = 1 / sqrt(h + lambda)
  std::vector<T> penalty;       // p = lambda / (h + lambda)
  std::vector<char> moves;      // of a strength: whether x moves it
  torch::Tensor class_weights;  // [models, k]
};

template <typename T>
struct TunedDerivatives : Derivatives {
  explicit TunedDerivatives(const TunedLoss& of)
      : loss(of), k(of.rows.outputs), models(of.rows.models), width(of.rows.rows.width()) {
    if (loss.strengths == StrengthOf::evidence)
      evidence = loss.evidence.to(torch::kFloat64).flatten(1).contiguous();
    LinearLoss weighted = loss.rows;
    if (loss.class_shares.defined()) {  // number m k + c of the units is the weight of class c in model m
      weighted.unit_of = weighted.targets.to(torch::kInt64) + k * torch::arange(models).unsqueeze(1);
      weighted.weight = RowWeight::plain;
    }
    rows = derivatives_of(weighted)();
  }
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override;
  int64_t least_size_of_x() const {
    return 1 + deviations() + (loss.smoothed || elastic() ? 1 : 0) + (loss.class_shares.defined() ? k : 0);
  }
  bool elastic() const { return loss.penalized && loss.l1 != TunedLoss::Norm::none; }
  /// Numbers of x that the logarithms of strengths deviate by.
  int64_t deviations() const {
    return evidence.defined() ? evidence.size(0) : loss.strengths == StrengthOf::all ? 0 : groups();
  }
  /// Strengths that weights have in common.
  int64_t groups() const {
    switch (loss.strengths) {
      case StrengthOf::feature:
        return width;
      case StrengthOf::output:
        return k;
      case StrengthOf::evidence:
        return width * models;
      default:
        return 1;
    }
  }
  /// That of weight (j, m, c).
  int64_t group(int64_t j, int64_t m, int64_t c) const {
    switch (loss.strengths) {
      case StrengthOf::feature:
        return j;
      case StrengthOf::output:
        return c;
      case StrengthOf::evidence:
        return j * models + m;
      default:
        return 0;
    }
  }
  /// f(number, feature, model, output) for each weight.
  template <typename F>
  void each_weight(const F& f) const {
    int64_t i = 0;
    for (int64_t j = 0; j < width; ++j)
      for (int64_t m = 0; m < models; ++m)
        for (int64_t c = 0; c < k; ++c) f(i++, j, m, c);
  }
  std::shared_ptr<const AtX<T>> at_x(const torch::Tensor& x);

  const TunedLoss loss;
  const int64_t k, models, width;
  torch::Tensor evidence;  // float64 [slopes, groups]
  std::unique_ptr<Derivatives> rows;

 private:
  std::shared_ptr<const AtX<T>> last_;
};

template <typename T>
std::shared_ptr<const AtX<T>> TunedDerivatives<T>::at_x(const torch::Tensor& x) {
  const T* value = x.const_data_ptr<T>();
  if (last_ && std::equal(value, value + x.numel(), last_->x.begin(), last_->x.end())) return last_;
  auto made = std::make_shared<AtX<T>>();
  made->x.assign(value, value + x.numel());
  torch::Tensor apart = x.narrow(0, 1, deviations()).to(torch::kFloat64);
  if (evidence.defined()) apart = apart.unsqueeze(0).mm(evidence).squeeze(0);
  if (deviations() == 0) apart = torch::zeros({1}, torch::kFloat64);
  const torch::Tensor log_strengths = apart + static_cast<double>(value[0]);
  const auto* log_strength = log_strengths.const_data_ptr<double>();
  std::vector<double> strength;
  for (int64_t u = 0; u < groups(); ++u) {
    made->moves.push_back(log_strength[u] >= loss.least && log_strength[u] <= loss.most ? 1 : 0);
    strength.push_back(std::exp(std::clamp(log_strength[u], loss.least, loss.most)));
  }
  const torch::Tensor squares = loss.squares.to(torch::kFloat64).contiguous();
  const auto* h = squares.const_data_ptr<double>();
  each_weight([&](int64_t, int64_t j, int64_t m, int64_t c) {
    const double lambda = strength[static_cast<size_t>(group(j, m, c))], whole = h[j * models + m] + lambda;
    made->scale.push_back(static_cast<T>(1 / std::sqrt(whole)));
    made->penalty.push_back(static_cast<T>(lambda / whole));
  });
  if (loss.class_shares.defined()) {
    const torch::Tensor w = x.slice(0, 1).exp();
    made->class_weights = w / loss.class_shares.mv(w).unsqueeze(1);
  }
  return last_ = made;
}

}  // namespace bilevel
