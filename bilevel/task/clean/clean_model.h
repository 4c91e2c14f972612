// Data hyper-cleaning as a bilevel problem: how much each training row should count, judged by trusted rows.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bilevel/model/network.h"
#include "bilevel/problem/problem.h"
#include "bilevel/task/inputs.h"

namespace bilevel {

/// Rows with labels, and which of them serve which level.
struct CleanData {
  Inputs inputs;
  torch::Tensor classes;       ///< int64 [rows], as given
  std::vector<int64_t> lower;  ///< rows to be weighted
  std::vector<int64_t> upper;  ///< trusted rows, which judge
  torch::Tensor unit_of;       ///< int64 [rows]: which weight logit a row of `lower` has; others are not read
  int64_t units = 0;           ///< logits
};

/// Minimizes over the logits x
///   f(x, y*(x)) = mean over `upper` of loss_j(y*(x)),
///   y*(x) minimizes g(x, y) = mean over `lower` of sigma(x_u(i)) loss_i(y) + kappa/(2 n) |y|^2,
/// with y the parameters of a classifier, loss the cross-entropy of its softmax and n the rows of `lower`. The L2
/// term is over all parameters but token vectors, so with the encoders `linear` and `bag` g is strongly
/// convex in y with modulus kappa/n.
class CleanModel {
 public:
  /// Initial values of y come from `seed` alone; all logits start at `logit`. Throws InputError for options that the
  /// network refuses.
  CleanModel(const NetworkOptions& options, const InputShape& shape, double l2, int64_t units, double logit,
             uint64_t seed, const torch::Device& device);

  /// The problem; shares this model's tensors. Batches of either level are shuffled, without replacement.
  Problem problem(const CleanData& data, int64_t batch_size) const;

  /// x [units].
  const torch::Tensor& logits() const { return logits_; }
  const std::shared_ptr<Network>& network() const { return network_; }

 private:
  std::shared_ptr<Network> network_;
  torch::Tensor logits_;
  double l2_;
  torch::Device device_;
};

/// The parameters that the L2 term is over: all but token vectors.
std::vector<torch::Tensor> penalized_parameters(const Network& network);

/// Cross-entropy of each row, [rows].
torch::Tensor losses_of(Network& network, const std::vector<torch::Tensor>& inputs,
                        const torch::Tensor& classes);

}  // namespace bilevel
