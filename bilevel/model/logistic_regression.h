// L2-regularized logistic regression: the linear baseline that reports show beside a model.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

#include "bilevel/model/encoder.h"

namespace bilevel {

struct LogisticRegressionOptions {
  /// Weight of the loss against the penalty, > 0: small values regularize more.
  double inverse_regularization = 1.0;
  /// The fit has converged when the largest gradient component is at most this share of the largest one at
  /// zero.
  double gradient_tolerance = 1e-6;
  int64_t max_iterations = 1000;
};

/// A fitted model; all tensors float64 on the CPU.
struct LogisticRegression {
  torch::Tensor weight;  ///< [width]
  double intercept = 0;  ///< not penalized
  double inverse_regularization = 1.0;
  int64_t iterations = 0;
  bool converged = false;
  double gradient_norm = 0;  ///< largest gradient component of the objective at the solution

  /// x w + intercept, [rows] float64: the log-odds of the positive class. `inputs` dense or sparse, see
  /// InputKind.
  torch::Tensor scores(const std::vector<torch::Tensor>& inputs) const;
};

/// Minimizes  C sum_i log(1 + exp(-t_i (x_i w + b))) + 0.5 ||w||^2  over w and b, the objective of
/// scikit-learn's LogisticRegression, by `newton`. `inputs`: dense {x [n,d]} or sparse {indices, values,
/// offsets} rows (see InputKind), any floating dtype and device (copied to float64 on the CPU); `width` = d,
/// the number of columns; `labels` [n]: positive where > 0. `start`: where to begin, for instance the
/// solution for a nearby C; nullptr: zero. Reaching `max_iterations` is no error: `converged` is false. Cost:
/// 5 to 20 iterations, each with some ten products with the inputs or, of at most 500 dense columns, one with their transpose. Throws InputError for shapes
/// that do not fit, values that are not finite, or one class only.
LogisticRegression fit_logistic_regression(const std::vector<torch::Tensor>& inputs, int64_t width,
                                           const torch::Tensor& labels,
                                           const LogisticRegressionOptions& options = {},
                                           const LogisticRegression* start = nullptr);

/// Fits for every `inverse_regularizations` in ascending order, each from the solution before it, and returns
/// the fit whose `score(scores on validation)` is highest; of equals the one with the strongest penalty. A
/// score that is NaN loses.
LogisticRegression select_logistic_regression(const std::vector<torch::Tensor>& inputs, int64_t width,
                                              const torch::Tensor& labels,
                                              const std::vector<torch::Tensor>& validation_inputs,
                                              const std::function<double(const torch::Tensor&)>& score,
                                              std::vector<double> inverse_regularizations = {0.01, 0.1, 1, 10,
                                                                                             100},
                                              const LogisticRegressionOptions& options = {});

}  // namespace bilevel
