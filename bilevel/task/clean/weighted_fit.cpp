#include "bilevel/task/clean/weighted_fit.h"

#include <torch/optim/adam.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <span>

#include "bilevel/core/parameters.h"
#include "bilevel/core/streams.h"
#include "bilevel/glm/linear_fit.h"
#include "bilevel/problem/batches.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/costs.h"
#include "bilevel/task/job/linear_classifier.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

constexpr int64_t kFitEvaluations = 100;  // of a linear fit, at most
// Rows of all models that are fitted side by side: each keeps 32 bytes and more an output. So many that a row of n-grams is read once
// for all models up to a million rows or so.
constexpr int64_t kRowsTogether = int64_t{1} << 23;

/// How many sets of so many rows are fitted side by side.
size_t sets_together(int64_t rows) { return static_cast<size_t>(std::max<int64_t>(1, kRowsTogether / rows)); }

void advance(const WeightedFitOptions& o, int64_t done, int64_t all) {
  if (o.advance) o.advance(static_cast<double>(done) / static_cast<double>(all));
}

bool stopped(const WeightedFitOptions& o) { return o.interrupt != nullptr && *o.interrupt; }

/// (sum_i w_i loss_i + kappa/2 |weights|^2) / n on a batch, w of all rows.
torch::Tensor objective(Network& network, const Batch& b, const torch::Tensor& w, double strength) {
  const torch::Tensor losses = losses_of(network, b.inputs(), b.targets());
  const NetworkWeights weights = weights_of(network);
  return (w.index_select(0, b.numbers()) * losses).mean() +
         strength * (squared_norm(weights.linear) + squared_norm(weights.hidden));
}

/// All rows of some sets, each once, in their order.
std::vector<int64_t> rows_of(std::span<const WeightedRows> sets, int64_t all) {
  std::vector<bool> of_a_set(static_cast<size_t>(all));
  for (const WeightedRows& of : sets)
    for (const int64_t row : of.rows) of_a_set[static_cast<size_t>(row)] = true;
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < all; ++row) {
    if (of_a_set[static_cast<size_t>(row)]) rows.push_back(row);
  }
  return rows;
}

/// What each of all rows counts in some sets: [sets, all].
torch::Tensor weights_of(std::span<const WeightedRows> sets, int64_t all) {
  torch::Tensor weights = torch::zeros({static_cast<int64_t>(sets.size()), all});
  for (size_t m = 0; m < sets.size(); ++m)
    weights[static_cast<int64_t>(m)].index_copy_(0, torch::tensor(sets[m].rows, torch::kInt64),
                                                 torch::tensor(sets[m].weights));
  return weights;
}

using Networks = std::vector<std::shared_ptr<Network>>;

/// @param w [networks, all rows]
void solve(std::span<const std::shared_ptr<Network>> networks, const FittedInputs& inputs,
           const torch::Tensor& classes, const std::vector<int64_t>& rows, const torch::Tensor& w,
           const WeightedFitOptions& options) {
  const int64_t count = options.network.outputs;
  LinearLoss loss = classifier_loss(design_of(inputs.inputs, inputs.shape.width), classes, count,
                                    options.block_of, w.size(0));
  loss.row_weights = w;
  const Batch all(data_set({classes}), rows);
  const auto go_on = [&](int64_t evaluations) {
    advance(options, std::min(evaluations, kFitEvaluations), kFitEvaluations);
    return !stopped(options);
  };
  const torch::Tensor y =
      fit_linear(loss, all, log_strengths(options.l2, all.size(), count), torch::zeros({loss.size()}),
                 {.evaluations = kFitEvaluations, .go_on = go_on});
  for (size_t m = 0; m < networks.size(); ++m)
    set_classifier(*networks[m], loss.model_of(y, static_cast<int64_t>(m)));
}

void train(Network& network, const BatchSource& source, const torch::Tensor& w, double strength,
           const WeightedFitOptions& o) {
  const int64_t steps = std::max<int64_t>(1, std::llround(o.epochs * static_cast<double>(source.size()) /
                                                          static_cast<double>(source.batch_size())));
  Streams streams(o.seed);
  Sampler sampler(source, streams.stream("fit_batches"));
  torch::optim::Adam adam(network.parameters(), torch::optim::AdamOptions(o.step_size));
  const DefaultGeneratorScope randomness(derive_seed(o.seed, "fit_dropout"), o.device);
  for (int64_t k = 0; k < steps && !stopped(o); ++k) {
    const double course =
        0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(k) / static_cast<double>(steps)));
    static_cast<torch::optim::AdamOptions&>(adam.param_groups()[0].options()).lr(o.step_size * course);
    advance(o, k, steps);
    adam.zero_grad();
    objective(network, sampler.next().to(o.device), w, strength).backward();
    adam.step();
  }
}

}  // namespace

void WeightedRows::add(const std::vector<int64_t>& more, float weight) {
  rows.insert(rows.end(), more.begin(), more.end());
  weights.insert(weights.end(), more.size(), weight);
}

void WeightedRows::add(const std::vector<int64_t>& more, const torch::Tensor& of_each) {
  const torch::Tensor values = of_each.to(torch::kFloat32).contiguous();
  const auto* w = values.const_data_ptr<float>();
  rows.insert(rows.end(), more.begin(), more.end());
  weights.insert(weights.end(), w, w + more.size());
}

Networks fit_weighted(const FittedInputs& inputs, const torch::Tensor& classes,
                      const std::vector<WeightedRows>& sets, const WeightedFitOptions& o) {
  Networks networks;
  for (size_t m = 0; m < sets.size(); ++m) {
    networks.push_back(seeded_network(o.network, inputs.shape, o.seed, o.device));
    networks.back()->train();
  }
  const bool linear = networks.front()->is_linear_map();
  const auto data = linear ? nullptr : data_set(inputs.inputs, classes);
  const size_t together = linear ? sets_together(inputs.inputs.rows()) : 1;
  WeightedFitOptions of_some = o;
  for (size_t begin = 0; begin < sets.size() && !stopped(o); begin += together) {
    const size_t count = std::min(together, sets.size() - begin);
    if (o.advance)
      of_some.advance = [&](double share) {
        o.advance((static_cast<double>(begin) + share * static_cast<double>(count)) /
                  static_cast<double>(sets.size()));
      };
    const std::span some(sets.data() + begin, count);
    const torch::Tensor weights = weights_of(some, inputs.inputs.rows());
    if (linear) {
      solve({networks.data() + begin, count}, inputs, classes, rows_of(some, weights.size(1)), weights,
            of_some);
      continue;
    }
    const std::vector<int64_t>& rows = some[0].rows;
    train(*networks[begin], BatchSource(data, rows, {.batch_size = o.batch_size}), weights[0].to(o.device),
          o.l2.front() / 2 / static_cast<double>(rows.size()), of_some);
  }
  return networks;
}

double weighted_fit_cost(const WeightedFitOptions& o, const Network& network, const Inputs& inputs,
                         int64_t rows) {
  if (network.is_linear_map())  // all rows at once
    return derivatives_cost(kFitEvaluations, rows, network, inputs);
  const int64_t batch = std::min(o.batch_size, rows);
  return derivatives_cost(o.epochs * static_cast<double>(rows) / static_cast<double>(batch), batch, network,
                          inputs);
}

torch::Tensor out_of_fold(const FittedInputs& inputs, const torch::Tensor& classes, const WeightedRows& rows,
                          const std::vector<int64_t>& fold_of, const WeightedFitOptions& options) {
  torch::Tensor result =
      torch::zeros({static_cast<int64_t>(rows.rows.size()), options.network.outputs}, torch::kFloat64);
  const std::set<int64_t> found(fold_of.begin(), fold_of.end());
  const std::vector<int64_t> folds(found.begin(), found.end());
  WeightedFitOptions of_some = options;
  for (size_t begin = 0, count = 0; begin < folds.size() && !stopped(options); begin += count) {
    count = std::min(sets_together(inputs.inputs.rows()), folds.size() - begin);
    if (options.advance)
      of_some.advance = [&](double share) {
        options.advance((static_cast<double>(begin) + share * static_cast<double>(count)) /
                        static_cast<double>(folds.size()));
      };
    std::vector<WeightedRows> others(count);
    for (size_t i = 0; i < rows.rows.size(); ++i) {
      for (size_t k = 0; k < count; ++k) {
        if (fold_of[i] == folds[begin + k]) continue;
        others[k].rows.push_back(rows.rows[i]);
        others[k].weights.push_back(rows.weights[i]);
      }
    }
    const Networks networks = fit_weighted(inputs, classes, others, of_some);
    others.clear();
    for (size_t k = 0; k < count && !stopped(options); ++k) {
      std::vector<int64_t> held, held_at;
      for (size_t i = 0; i < rows.rows.size(); ++i) {
        if (fold_of[i] != folds[begin + k]) continue;
        held.push_back(rows.rows[i]);
        held_at.push_back(static_cast<int64_t>(i));
      }
      result.index_copy_(0, torch::tensor(held_at, torch::kInt64),
                         probabilities_of(*networks[k], inputs.inputs, held, options.device));
    }
  }
  return result;
}

}  // namespace bilevel
