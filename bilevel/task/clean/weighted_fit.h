// Training a classifier on weighted rows, and predicting rows that it has not seen.
#pragma once

#include <torch/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "bilevel/model/network.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// Rows and how much each counts.
struct WeightedRows {
  std::vector<int64_t> rows;
  std::vector<float> weights;

  void add(const std::vector<int64_t>& more, float weight);
  /// @param of_each [more]
  void add(const std::vector<int64_t>& more, const torch::Tensor& of_each);
};

struct WeightedFitOptions {
  NetworkOptions network;
  std::vector<double> l2 = {
      0};  ///< kappa of each block of inputs; of a network that is no linear map the first is for all
  torch::Tensor block_of = {};  ///< int64 [width]: of each input; undefined: all are of block 0
  double epochs = 0;            ///< of a classifier that is not convex
  double step_size = 1e-3;
  int64_t batch_size = 64;
  uint64_t seed = 0;
  torch::Device device = torch::kCPU;
  const std::atomic<bool>* interrupt = nullptr;         ///< ends a fit early; its result is then of no use
  std::function<void(double share)> advance = nullptr;  ///< called now and then with the share that is done
};

/// Minimizes  sum_i w_i loss_i(y) + kappa/2 |y|^2  over a classifier's parameters (see CleanModel), for each of several sets of rows.
/// Linear encoders are solved (see `fit_linear`) on the CPU, side by side; the others are trained with Adam on shuffled batches, with a
/// step size that falls to zero on a cosine. Deterministic.
/// @param classes int64 [all rows]
std::vector<std::shared_ptr<Network>> fit_weighted(const FittedInputs& inputs, const torch::Tensor& classes,
                                                   const std::vector<WeightedRows>& sets,
                                                   const WeightedFitOptions& options);
inline std::shared_ptr<Network> fit_weighted(const FittedInputs& inputs, const torch::Tensor& classes,
                                             const WeightedRows& rows, const WeightedFitOptions& options) {
  return fit_weighted(inputs, classes, std::vector{rows}, options).front();
}

/// About what a fit of such a network to so many rows costs.
double weighted_fit_cost(const WeightedFitOptions& options, const Network& network, const Inputs& inputs,
                         int64_t rows);

/// float64 [rows, classes]: for each row the probabilities of a classifier that was fitted on the rows of the other
/// folds. Cost: a fit for each number that occurs in `fold_of`.
/// @param fold_of of each row of `rows`
torch::Tensor out_of_fold(const FittedInputs& inputs, const torch::Tensor& classes, const WeightedRows& rows,
                          const std::vector<int64_t>& fold_of, const WeightedFitOptions& options);

}  // namespace bilevel
