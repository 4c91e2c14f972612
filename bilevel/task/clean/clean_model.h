// Data cleaning as a bilevel problem: how strongly classifiers are held back and how much trusted rows count, judged by those.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bilevel/glm/linear_fit.h"
#include "bilevel/model/network.h"
#include "bilevel/problem/problem.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// How classifiers are fitted to weighted rows and trusted ones: what x says.
struct FitStrengths {
  std::vector<double> l2 = {
      1};  ///< kappa of each block of inputs, in rows; of other networks than linear maps one for all
  double beta = 1;                    ///< what logits are multiplied by before they are judged
  double trusted = 1;                 ///< what a trusted row counts
  std::vector<double> of_units = {};  ///< what a row of each group or class pair counts
};

/// Rows with labels, and which of them serve which level. What is of all rows has one entry for each.
struct CleanData {
  FittedInputs inputs;
  torch::Tensor block_of = {};          ///< int64 [width]: of each input; undefined: all are of block 0
  torch::Tensor classes;                ///< int64 [rows], as given
  int64_t count = 2;                    ///< of classes
  std::vector<int64_t> train, trusted;  ///< rows of the lower level
  std::vector<int64_t> upper;           ///< those of the trusted rows that judge
  torch::Tensor fold_of;                ///< int64 [rows], of `train` and `trusted`
  torch::Tensor weights;  ///< float32 [folds, rows]: of the training rows, for the classifier without fold k
  torch::Tensor unit_of =
      {};  ///< int64 [folds, rows]: of training rows, or -1; undefined: there are no units
  double entropy_floor =
      0;  ///< least entropy of v_u / sum v_u, as a share of the largest, log(number of units)
};

/// Minimizes over x = (log kappa_b of each block b, log r, log beta, log v_u of each unit u), up to constants,
///   f(x, y*(x)) = mean over `upper` of loss_j(beta y*_k(j)(x)) + |x - x_0|^2 / (2 s^2 m),
///   y*_k(x) minimizes g_k(x, y_k) = 1/n [ sum over `train` without fold k of w_ki v_u(i) loss_i(y_k)
///                                         + r sum over `trusted` without fold k of loss_i(y_k) + sum_b kappa_b/2 |y_kb|^2 ],
/// with y_k the parameters of the classifier without fold k, k(j) the fold of row j, loss the cross-entropy of its softmax, n the rows
/// of `train` and `trusted` and m those of `upper`; y = (y_1, ..., y_K), g their sum. The last term of f is the logarithm of a normal
/// prior around the start x_0, with s = sqrt(2): m rows are few, and x stays where they do not say otherwise. The L2 term is over
/// matrices but token vectors (`weights_of`), and of a linear map a thousandth of it over the biases, so its g is strongly convex in y.
///
/// Linear maps have derivatives by hand, on the CPU; y then starts at y*(x_0), else at networks that are made from the seed.
class CleanModel {
 public:
  /// Throws InputError for options that the network refuses.
  CleanModel(CleanData data, const NetworkOptions& options, const FitStrengths& start, uint64_t seed,
             const torch::Device& device);

  /// The problem; shares this model's tensors. Batches of either level are shuffled, without replacement.
  Problem problem(int64_t batch_size) const;

  /// x [blocks + 2 + units].
  const torch::Tensor& x() const { return x_; }
  /// What a flat x says.
  FitStrengths strengths(const torch::Tensor& x) const;
  /// float64 [rows, classes]: probabilities of rows of the lower level, each by the classifier without its fold.
  torch::Tensor probabilities(const std::vector<int64_t>& rows) const;

  /// float64 [upper]: what f is the mean of, without its prior, with y*(x) of a linear map (the networks as they are otherwise) and the best
  /// beta for it. Moves y.
  torch::Tensor judging_losses(const torch::Tensor& x) const;
  const torch::Tensor& start() const { return start_; }
  /// Standard errors of log v_u at x, all else held, float64 [units]: the inverse of the information in the upper rows, whose losses are
  /// negative log-likelihoods (sum over them of the outer product of the gradient of `judging_losses`, by central differences), and in the
  /// prior. Of linear maps. Cost: two solutions a unit, each from the one before. Moves y.
  torch::Tensor standard_errors_of_units(const torch::Tensor& x) const;

  bool linear() const { return networks_.front()->is_linear_map(); }
  /// That of the first fold.
  const std::shared_ptr<Network>& network() const { return networks_.front(); }

 private:
  BatchSource lower_batches(int64_t batch_size) const;
  /// y <- y*(x) of linear maps, from where it is.
  void solve(const torch::Tensor& x, const LinearFitOptions& options = {}) const;
  /// x with v_u moved to their least entropy.
  torch::Tensor bounded(const torch::Tensor& x) const;
  Problem linear_problem(const BatchSource& upper, const BatchSource& lower) const;
  Problem network_problem(const BatchSource& upper, const BatchSource& lower) const;
  int64_t first_unit() const { return blocks_ + 2; }  // in x
  int64_t folds() const { return static_cast<int64_t>(networks_.size()); }
  int64_t rows() const { return static_cast<int64_t>(data_.train.size() + data_.trusted.size()); }

  CleanData data_;
  std::vector<std::shared_ptr<Network>> networks_;  // of each fold
  int64_t blocks_ = 1;
  torch::Tensor row_weights_, unit_of_;  // [folds, rows]: of training and trusted rows; where in x
  torch::Tensor x_, start_;
  LinearLoss lower_;  // g of linear maps, side by side
  torch::Tensor y_;   // theirs
  torch::Device device_;
};

/// Cross-entropy of each row, [rows]. @param beta a number that the logits are multiplied by; undefined: 1
torch::Tensor losses_of(Network& network, const std::vector<torch::Tensor>& inputs,
                        const torch::Tensor& classes, const torch::Tensor& beta = {});

}  // namespace bilevel
