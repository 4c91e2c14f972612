// What learning the hyperparameters is compared with: a grid over one L2 strength, and random search.
#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "bilevel/oracle/counts.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/tune/tune_model.h"

namespace bilevel {

/// Passes over the data: one is a derivative (gradient, Hessian-vector product or cross product), or an evaluation
/// on validation rows, of as many rows as the training part has. Every product counts, also those that share
/// a graph. The calls of a run, with its batch sizes.
double passes_of(const OracleLedger& calls, int64_t lower_batch, int64_t upper_batch, int64_t train_rows);

/// How weights are trained where x does not move.
struct WeightTraining {
  /// Convex models: evaluations of `minimize_weights` at a point, at most, one pass each.
  int64_t evaluations = 100;
  /// Others: Adam on batches, its step size falling as a cosine to zero; the validation loss is measured
  /// `measurements` times and the best weights are kept.
  int64_t steps = 0, batch_size = 32;
  double step_size = 1e-3;
  int64_t measurements = 10;
  uint64_t seed = 0;
};

/// Minimizes g at the present x from the present y, in place, convex models only, and returns the passes: those that the slowest of
/// its models took, as all are fitted side by side. On the CPU by `fit_models`, until no component of the gradient is above the share
/// `tolerance` of the largest one at y = 0; elsewhere by L-BFGS (history 10, strong Wolfe line search), until it is below 1e-7; both for
/// about so many evaluations on all training rows at most. On the CPU elastic-net goes on by `proximal_fit` with |w_i| as it is, for as many
/// more at most: what it leaves out is 0.
double minimize_weights(TuneModel& model, int64_t evaluations, double tolerance = 1e-3);

struct SearchOptions {
  double passes = 0;  ///< for the whole search, measurements on validation rows included
  WeightTraining training;
  int64_t most_points = 50;
  double low = 1e-6, high = 1e2;  ///< of the common strength
  uint64_t seed = 0;              ///< of the random search
  const std::atomic<bool>* interrupt = nullptr;
  std::function<void(double share)> advance =
      nullptr;  ///< called with the share of the points that is searched
};

struct SearchOutcome {
  torch::Tensor x, y;   ///< of the point with the least validation loss, flat
  double strength = 0;  ///< its common strength
  double valid_loss = std::numeric_limits<double>::infinity();
  int64_t points = 0;
  double passes = 0;  ///< spent
  bool interrupted = false;

  /// Together with what was found at the points behind.
  void add(const SearchOutcome& next);
  nlohmann::ordered_json to_json() const;  ///< in binary forms of JSON only
  static SearchOutcome from_json(const nlohmann::ordered_json& json);
};

/// Points that a search tries: as many as leave each of them 15 passes (convex) or a whole training (others), at
/// least 1, at most `most_points`. A convex search goes from strong to weak and starts every point at the
/// weights of the one before; what a point leaves of its share goes to those after it.
int64_t search_points(const TuneModel& model, const SearchOptions& options, size_t train_rows,
                      size_t valid_rows);

/// x at the points of a search, in its order. Grid: the common strength at `search_points` points, evenly in its
/// logarithm; all other hyperparameters neutral. Random: as many points, all hyperparameters drawn at random
/// (TuneModel::random).
std::vector<torch::Tensor> grid_candidates(const TuneModel& model, const TuneData& data,
                                           const SearchOptions& options);
std::vector<torch::Tensor> random_candidates(const TuneModel& model, const TuneData& data,
                                             const SearchOptions& options);

/// Trains at the points and keeps the best. Of a model that is not convex no point needs the others: they may be searched
/// apart and added.
SearchOutcome search(TuneModel& model, const TuneData& data, const SearchOptions& options,
                     const std::vector<torch::Tensor>& candidates);

SearchOutcome grid_search(TuneModel& model, const TuneData& data, const SearchOptions& options);
SearchOutcome random_search(TuneModel& model, const TuneData& data, const SearchOptions& options);

}  // namespace bilevel
