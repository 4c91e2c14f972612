// What the numbers of x are to a TuneModel.
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/task/tune/tune_model.h"

namespace bilevel {
namespace {

constexpr double kNone = -14;  // logit of an eps or r below 1e-6

}  // namespace

/// Which group of strengths every weight of a network belongs to.
void TuneModel::group_weights(const InputShape& shape) {
  const bool by_feature = options_.kind == TuneKind::l2_per_feature,
             by_class = options_.kind == TuneKind::l2_per_class;
  const int64_t shared = by_feature ? shape.width : by_class ? classes_ : 1;
  groups_ = shared;
  bool found = false;
  for (size_t i = 0; i < lower_.size(); ++i) {
    const torch::Tensor& weight = lower_[i];
    const WeightKind kind = network_->kind_of(weight);
    if (kind == WeightKind::other || (kind == WeightKind::vectors && !by_feature)) continue;
    const bool direct = kind == WeightKind::direct;
    Penalty penalty{.weight = weight, .first = 0, .count = shared, .dim = 0};
    if (by_feature && (direct || kind == WeightKind::vectors || kind == WeightKind::input)) {
      found = true;
    } else if (by_class && (direct || kind == WeightKind::head)) {
      found = true;
      penalty.dim = direct ? 1 : 0;
    } else if (by_feature || by_class) {
      penalty.first = groups_++;
      penalty.count = 1;
      other_groups_.push_back(lower_.names[i]);
    }
    penalties_.push_back(penalty);
  }
  if (by_feature && !found) {
    throw InputError(
        "tune = l2-per-feature: this encoder has no trained weights of single features (token vectors are "
        "trained with --train-embedding); take l2 or l2-per-class");
  }
}

std::pair<double, double> TuneModel::strength_range() const {
  return convex_ ? std::pair{1e-9, 1e4} : std::pair{1e-9, 1.0};
}

torch::Tensor TuneModel::bounded(const torch::Tensor& x) const {
  const auto [low, high] = strength_range();
  constexpr double kMost = 16;  // deviations beyond this are the same
  return torch::cat(
      {x.narrow(0, 0, 1).clamp(std::log(low), std::log(high)), x.slice(0, 1).clamp(-kMost, kMost)});
}

torch::Tensor TuneModel::neutral(double l2) const {
  const bool logit = options_.kind == TuneKind::label_smoothing || options_.kind == TuneKind::elastic_net;
  const double rest = logit ? kNone : 0;
  return bounded(
      torch::cat({torch::full({1}, std::log(l2), centre_.options()), torch::full_like(centre_, rest)}));
}

torch::Tensor TuneModel::centred(double l2) const {
  return bounded(torch::cat({torch::full({1}, std::log(l2), centre_.options()), centre_}));
}

torch::Tensor TuneModel::random(double low, double high, at::Generator& generator) const {
  const torch::Tensor place = torch::rand({1}, generator, torch::kFloat64).to(centre_.options());
  const torch::Tensor rest =
      torch::randn({centre_.numel()}, generator, torch::kFloat64).to(centre_.options());
  return bounded(
      torch::cat({std::log(low) + place * std::log(high / low), centre_ + options_.spread * rest}));
}

/// [groups]; of l2-by-evidence [width, models].
torch::Tensor TuneModel::log_strengths() const {
  torch::Tensor found = x_.narrow(0, 0, 1);
  if (evidence_.defined())
    found = found + torch::tensordot(x_.slice(0, 1), evidence_, {0}, {0});
  else if (options_.kind == TuneKind::l2_per_feature || options_.kind == TuneKind::l2_per_class)
    found = found + x_.slice(0, 1);
  const auto [low, high] = strength_range();
  return found.clamp(std::log(low), std::log(high));
}

/// lambda of a linear model, in a shape that broadcasts to [width, models, classes].
torch::Tensor TuneModel::weight_strengths() const {
  const torch::Tensor strengths = log_strengths().exp();
  if (evidence_.defined()) return strengths.unsqueeze(2);
  return options_.kind == TuneKind::l2_per_feature ? strengths.view({-1, 1, 1}) : strengths;
}

torch::Tensor TuneModel::strengths() const {
  const torch::NoGradGuard no_grad;
  const torch::Tensor all = log_strengths().to(torch::kCPU, torch::kFloat64).exp();
  const torch::Tensor found = evidence_.defined() ? all.select(1, models_ - 1) : all;
  const bool by_feature = evidence_.defined() || options_.kind == TuneKind::l2_per_feature;
  return by_feature ? widened(found, x_[0].exp().item()) : found;
}

torch::Tensor TuneModel::used_features() const {
  if (!convex_) return torch::ones({groups_}, torch::kBool);
  return widened((squares_.select(1, models_ - 1) > 0).to(torch::kCPU), false);
}

double TuneModel::smoothing() const {
  if (options_.kind != TuneKind::label_smoothing) return 0;
  return 1 / (1 + std::exp(-x_[1].item<double>()));
}

double TuneModel::l1_share() const {
  if (options_.kind != TuneKind::elastic_net) return 0;
  return 1 / (1 + std::exp(-x_[1].item<double>()));
}

int64_t TuneModel::features_left_out() const {
  const torch::Tensor none = (lower_[0].detach().select(1, models_ - 1) == 0).all(1);
  return none.logical_and(squares_.select(1, models_ - 1) > 0).sum().item<int64_t>();
}

torch::Tensor TuneModel::class_weights() const {
  const torch::NoGradGuard no_grad;
  if (options_.kind != TuneKind::class_weights) return torch::ones({classes_}, torch::kFloat64);
  const torch::Tensor w = x_.slice(0, 1).to(torch::kCPU, torch::kFloat64).exp();
  return w / w.dot(shares_[models_ - 1].to(torch::kCPU, torch::kFloat64));
}

}  // namespace bilevel
