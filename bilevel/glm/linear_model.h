// Linear models with hyperparameters to be learned, as bilevel problems.
#pragma once

#include <torch/types.h>

#include <vector>

#include "bilevel/glm/row_loss.h"
#include "bilevel/problem/problem.h"

namespace bilevel {

/// What x holds.
enum class LearnedBy {
  feature_strengths,  ///< x [width]: exp(x_j) is the strength of the penalty on the weights of feature j
  class_strengths,    ///< x [k]: of output c
  common_strength,    ///< x [1]: of all weights
  row_weights,        ///< x [training rows]: row i counts sigma(x_i)
};

/// Rows with their targets.
struct TargetedRows {
  std::vector<torch::Tensor> inputs;  ///< {x [n, width]}, or {indices [nnz], values [nnz], offsets [n+1]}
  torch::Tensor targets;              ///< [n], see RowLoss
};

struct LinearModelOptions {
  RowLoss loss = RowLoss::logistic;
  LearnedBy x = LearnedBy::feature_strengths;
  int64_t classes = 2;  ///< of softmax, k; the others have one output
  bool bias = false;    ///< one for each output, without a learned strength
  double strength = 0;  ///< of a penalty strength/2 |y|^2 beside what is learned, >= 0
  int64_t batch_size = 64;
  double x_start = 0;  ///< of every x_u; y starts at zero
  torch::ScalarType dtype = torch::kFloat32;
};

/// A problem and its variables.
struct LinearModel {
  torch::Tensor x;  ///< flat
  torch::Tensor y;  ///< flat: W [width, k] row by row, then the biases [k]
  Problem problem;
};

/// min over x of the mean loss of the validation rows at y*(x), which minimizes the weighted mean loss of the training rows
/// plus the penalty (see LinearLoss), with the derivatives of both by hand: on the CPU a step costs its products with the
/// batch's rows and little else. Rows are read where they lie. Throws InputError for shapes, targets and options that do not
/// fit together.
LinearModel linear_model(const TargetedRows& train, const TargetedRows& valid, int64_t width,
                         const LinearModelOptions& options);

}  // namespace bilevel
