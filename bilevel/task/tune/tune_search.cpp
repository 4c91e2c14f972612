#include "bilevel/task/tune/tune_search.h"

#include <torch/autograd.h>
#include <torch/optim/lbfgs.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "bilevel/core/streams.h"
#include "bilevel/core/tensor_json.h"
#include "bilevel/glm/linear_fit.h"
#include "bilevel/glm/proximal_fit.h"
#include "bilevel/oracle/oracles.h"
#include "bilevel/solver/parts/lower_rule.h"
#include "bilevel/task/job/costs.h"

namespace bilevel {
namespace {

constexpr double kPassesAPoint = 15;

double share(const TuneData& data) {
  return static_cast<double>(data.valid.size()) / static_cast<double>(data.train.size());
}

double valid_loss(const TuneModel& model) {
  return class_scores(model.held_out(), classes_at(model.data().classes, model.data().valid)).loss;
}

/// Passes of one training of a model that is not convex, its measurements included.
double training_passes(const WeightTraining& t, double train_rows, double valid_rows) {
  const double batch = std::min(static_cast<double>(t.batch_size), train_rows);
  return (static_cast<double>(t.steps) * batch + static_cast<double>(t.measurements) * valid_rows) /
         train_rows;
}

/// Adam from the initial weights; leaves the best weights and returns their validation loss.
double train_by_steps(TuneModel& model, const WeightTraining& t, const std::function<void(double)>& advance) {
  model.reset_y();
  Oracles oracles(model.problem(t.batch_size), t.seed);
  LowerRule rule(LowerStep::adam, 1, {}, oracles.y().flat());
  const int64_t every = std::max<int64_t>(1, t.steps / t.measurements);
  double best = std::numeric_limits<double>::infinity();
  torch::Tensor best_y = model.flat_y();
  for (int64_t k = 0; k < t.steps; ++k) {
    const double course =
        0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(k) / static_cast<double>(t.steps)));
    rule.step(oracles.y(), course * t.step_size,
              oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches")));
    if ((k + 1) % every != 0 && k + 1 != t.steps) continue;
    advance(static_cast<double>(k + 1) / static_cast<double>(t.steps));
    const double loss = valid_loss(model);
    if (loss < best) {
      best = loss;
      best_y = model.flat_y();
    }
  }
  model.set_y(best_y);
  return best;
}

/// From where the norm that bends is least to where the norm itself is. Returns the passes.
double onto_the_norm(TuneModel& model, int64_t evaluations, double tolerance) {
  torch::Tensor thresholds;
  const std::unique_ptr<Derivatives> smooth = model.smooth_part(thresholds);
  if (!smooth) return 0;
  const ProximalFit fitted = proximal_fit(*smooth, model.training_batch(), model.x().detach(), model.flat_y(),
                                          thresholds, {.evaluations = evaluations, .tolerance = tolerance});
  model.set_y(fitted.y);
  return static_cast<double>(fitted.evaluations);
}

}  // namespace

double passes_of(const OracleLedger& calls, int64_t lower_batch, int64_t upper_batch, int64_t train_rows) {
  OracleCounts sum = calls.steps;
  sum += calls.warm_start;
  sum += calls.automatic;
  sum += calls.evaluation;
  return static_cast<double>(rows_derived(sum, lower_batch, upper_batch)) / static_cast<double>(train_rows);
}

double minimize_weights(TuneModel& model, int64_t evaluations, double tolerance) {
  if (const std::unique_ptr<Derivatives> own = model.lower_derivatives()) {
    const torch::Tensor y = model.flat_y();
    const FittedModels fitted = fit_models(
        *own, model.training_batch(), model.x().detach(), y, torch::ones_like(y), model.models(),
        model.network_options().outputs, {.evaluations = evaluations, .gradient_tolerance = tolerance});
    model.set_y(fitted.y);
    return static_cast<double>(fitted.evaluations) + onto_the_norm(model, evaluations, tolerance);
  }
  int64_t spent = 0;
  const Batch rows = model.training_batch();
  torch::optim::LBFGS optimizer(model.y(), torch::optim::LBFGSOptions(1)
                                               .max_iter(evaluations)
                                               .max_eval(evaluations)
                                               .history_size(10)
                                               .tolerance_grad(1e-7)
                                               .tolerance_change(1e-12)
                                               .line_search_fn("strong_wolfe"));
  optimizer.step([&] {
    ++spent;
    const torch::Tensor loss = model.lower_loss(rows);
    const std::vector<torch::Tensor> y = model.y(), gradients = torch::autograd::grad({loss}, y);
    for (size_t i = 0; i < y.size(); ++i) y[i].mutable_grad() = gradients[i];
    return loss.detach();
  });
  for (const torch::Tensor& parameter : model.y()) parameter.mutable_grad() = torch::Tensor();
  return static_cast<double>(spent);
}

int64_t search_points(const TuneModel& model, const SearchOptions& options, size_t train_rows,
                      size_t valid_rows) {
  const double one = model.convex() ? kPassesAPoint
                                    : training_passes(options.training, static_cast<double>(train_rows),
                                                      static_cast<double>(valid_rows));
  return std::clamp<int64_t>(static_cast<int64_t>(std::floor(options.passes / one)), 1, options.most_points);
}

void SearchOutcome::add(const SearchOutcome& next) {
  points += next.points;
  passes += next.passes;
  interrupted = interrupted || next.interrupted;
  if (!(next.valid_loss < valid_loss)) return;
  valid_loss = next.valid_loss;
  x = next.x;
  y = next.y;
  strength = next.strength;
}

nlohmann::ordered_json SearchOutcome::to_json() const {
  return {{"x", tensor_json(x)},      {"y", tensor_json(y)}, {"strength", strength},
          {"valid_loss", valid_loss}, {"points", points},    {"passes", passes}};
}

SearchOutcome SearchOutcome::from_json(const nlohmann::ordered_json& json) {
  return {.x = tensor_from(json.at("x")),
          .y = tensor_from(json.at("y")),
          .strength = json.at("strength"),
          .valid_loss = json.at("valid_loss"),
          .points = json.at("points"),
          .passes = json.at("passes")};
}

SearchOutcome search(TuneModel& model, const TuneData& data, const SearchOptions& options,
                     const std::vector<torch::Tensor>& candidates) {
  SearchOutcome best;
  model.reset_y();
  const auto advance = [&](size_t points, double of_point) {
    if (options.advance)
      options.advance((static_cast<double>(points) + of_point) / static_cast<double>(candidates.size()));
  };
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (options.interrupt != nullptr && *options.interrupt) {
      best.interrupted = true;
      return best;
    }
    model.set_x(candidates[i]);
    double loss = 0;
    if (model.convex()) {
      const double left = (options.passes - best.passes) / static_cast<double>(candidates.size() - i);
      const auto evaluations = static_cast<int64_t>(std::floor(left - share(data)));
      best.passes +=
          minimize_weights(model, std::clamp<int64_t>(evaluations, 1, options.training.evaluations));
      best.passes += share(data);
      loss = valid_loss(model);
    } else {
      loss = train_by_steps(model, options.training, [&](double share) { advance(i, share); });
      best.passes += training_passes(options.training, static_cast<double>(data.train.size()),
                                     static_cast<double>(data.valid.size()));
    }
    ++best.points;
    advance(i, 1);
    if (loss < best.valid_loss) {
      best.valid_loss = loss;
      best.x = candidates[i];
      best.y = model.flat_y();
      best.strength = std::exp(candidates[i][0].item<double>());
    }
  }
  return best;
}

std::vector<torch::Tensor> grid_candidates(const TuneModel& model, const TuneData& data,
                                           const SearchOptions& options) {
  const int64_t points = search_points(model, options, data.train.size(), data.valid.size());
  std::vector<torch::Tensor> candidates;
  for (int64_t i = points - 1; i >= 0; --i) {
    const double place = points == 1 ? 0.5 : static_cast<double>(i) / static_cast<double>(points - 1);
    candidates.push_back(model.neutral(options.low * std::pow(options.high / options.low, place)));
  }
  return candidates;
}

std::vector<torch::Tensor> random_candidates(const TuneModel& model, const TuneData& data,
                                             const SearchOptions& options) {
  const int64_t points = search_points(model, options, data.train.size(), data.valid.size());
  Streams streams(options.seed);
  std::vector<torch::Tensor> candidates;
  for (int64_t i = 0; i < points; ++i)
    candidates.push_back(model.random(options.low, options.high, streams.stream("random_search")));
  std::stable_sort(candidates.begin(), candidates.end(), [](const torch::Tensor& a, const torch::Tensor& b) {
    return a[0].item<double>() > b[0].item<double>();
  });
  return candidates;
}

SearchOutcome grid_search(TuneModel& model, const TuneData& data, const SearchOptions& options) {
  return search(model, data, options, grid_candidates(model, data, options));
}

SearchOutcome random_search(TuneModel& model, const TuneData& data, const SearchOptions& options) {
  return search(model, data, options, random_candidates(model, data, options));
}

}  // namespace bilevel
