#include "bilevel/task/tune/tune_settle.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "bilevel/report/intervals.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {
namespace {

constexpr int64_t kFirst = 200;   // evaluations of g at the first strength of a search, at most
constexpr int64_t kNext = 100;    // at the next ones, from the weights of a neighbour
constexpr int64_t kFinish = 500;  // at what is kept
// There its weights shall be those of its strength. With 1e-3, which is enough to search by, weak strengths end where rounding leads
// them: up to twice the loss of their minimum, on 200 texts of AG News.
constexpr double kFinishTolerance = 1e-5;
constexpr int64_t kMostSteps = 6;  // a factor of 1000
const double kStep = std::log(10.0) / 2;

/// A common strength, all else as it is, with the weights for it.
struct Tried {
  double log_strength = 0;
  torch::Tensor x, y, losses;  // losses of the held-out rows
  double loss = 0;
};

/// Searches the common strength at all other hyperparameters of an x.
class StrengthSearch {
 public:
  StrengthSearch(const TuneSetup& setup, TuneModel& model, torch::Tensor x, double& passes)
      : setup_(setup),
        model_(model),
        x_(std::move(x)),
        classes_(classes_at(setup.data().classes, model.data().valid)),
        passes_(passes) {}

  Tried best() {
    const double start = x_[0].item<double>();
    add(start, kFirst);
    add(start + kStep, kNext);
    add(start - kStep, kNext);
    for (int64_t k = 1; k < kMostSteps && lowest() == 0; ++k) add(tried_.front().log_strength - kStep, kNext);
    for (int64_t k = 1; k < kMostSteps && lowest() + 1 == tried_.size(); ++k)
      add(tried_.back().log_strength + kStep, kNext);
    const size_t i = lowest();
    if (i > 0 && i + 1 < tried_.size()) {
      const double left = tried_[i - 1].loss - tried_[i].loss, right = tried_[i + 1].loss - tried_[i].loss;
      const double vertex = tried_[i].log_strength + kStep / 2 * (left - right) / (left + right);
      if (left + right > 0) add(vertex, kNext);
    }
    return tried_[lowest()];
  }

 private:
  /// Keeps them in order.
  void add(double log_strength, int64_t evaluations) {
    const auto [low, high] = model_.strength_range();
    if (!(log_strength >= std::log(low) && log_strength <= std::log(high)) && !tried_.empty()) return;
    if (!tried_.empty()) {
      const auto nearest = std::ranges::min_element(
          tried_, {}, [&](const Tried& t) { return std::abs(t.log_strength - log_strength); });
      model_.set_y(nearest->y);
    }
    Tried next{.log_strength = log_strength, .x = x_.clone()};
    next.x[0] = log_strength;
    model_.set_x(next.x);
    passes_ += minimize_weights(model_, evaluations) + setup_.measurement();
    setup_.context().phases->advance(std::min(1.0, passes_ / settling_passes(x_.numel() == 1)));
    next.y = model_.flat_y();
    next.losses = class_losses(model_.held_out(), classes_);
    next.loss = next.losses.mean().item<double>();
    const auto place = std::ranges::upper_bound(tried_, log_strength, {}, &Tried::log_strength);
    tried_.insert(place, std::move(next));
  }
  size_t lowest() const {
    return static_cast<size_t>(std::ranges::min_element(tried_, {}, &Tried::loss) - tried_.begin());
  }

  const TuneSetup& setup_;
  TuneModel& model_;
  torch::Tensor x_, classes_;
  double& passes_;
  std::vector<Tried> tried_;  // from weak to strong
};

/// Akaike's: each number that was fitted to the held-out rows makes their summed loss lower by about one half, and that of new rows
/// higher by as much. Not of strengths for each feature, of which the prior leaves few free.
double optimism(const TuneSetup& setup, const TuneModel& model) {
  return setup.options().tune == "l2-per-feature" ? 0 : static_cast<double>(model.x().numel() - 1);
}

}  // namespace

nlohmann::ordered_json SettledStrengths::to_json() const {
  return {{"kept", common ? "common" : "learned"},
          {"common_strength", strength},
          {"difference", difference},
          {"standard_error", standard_error},
          {"optimism", optimism}};
}

double settling_passes(bool common) {
  constexpr double kUsed = 0.4;  // of what it may take, on tables and texts
  return kUsed * static_cast<double>((common ? 1 : 2) * (kFirst + 4 * kNext) + (common ? 0 : kFirst));
}

std::optional<SettledStrengths> settle(const TuneSetup& setup, TuneModel& model, double& passes) {
  std::optional<SettledStrengths> settled;
  Tried kept = StrengthSearch(setup, model, model.x().detach().clone(), passes).best();
  if (kept.x.numel() > 1) {
    passes += setup.start_neutral(model);
    const Tried common = StrengthSearch(setup, model, model.x().detach().clone(), passes).best();
    const torch::Tensor apart = (kept.losses - common.losses).contiguous();
    const auto* first = apart.const_data_ptr<double>();
    const std::vector<double> differences =
        by_unit({first, first + apart.numel()}, setup.unit_numbers(model.data().valid));
    const torch::Tensor of_units = torch::tensor(differences, torch::kFloat64);
    const auto units = static_cast<double>(of_units.numel());
    settled = SettledStrengths{.strength = std::exp(common.log_strength),
                               .difference = of_units.mean().item<double>(),
                               .standard_error = of_units.std().item<double>() / std::sqrt(units),
                               .optimism = optimism(setup, model) / units};
    settled->common = !(settled->difference + settled->optimism + settled->standard_error < 0);
    if (settled->common) kept = common;
  }
  model.set_x(kept.x);
  model.set_y(kept.y);
  passes += minimize_weights(model, kFinish, kFinishTolerance);
  return settled;
}

}  // namespace bilevel
