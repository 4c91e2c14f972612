// A scoring network trained by bilevel AUC maximization.
#pragma once

#include <memory>

#include "bilevel/model/network.h"
#include "bilevel/problem/problem.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/auc/auc_loss.h"
#include "bilevel/task/inputs.h"

namespace bilevel {

/// Rows with labels, and which of them serve which level.
struct AucData {
  Inputs inputs;
  torch::Tensor labels;        ///< [n] float32, 1 for a positive row, 0 otherwise
  std::vector<int64_t> upper;  ///< rows of f
  std::vector<int64_t> lower;  ///< rows of g
};

/// The network's output u becomes the score s = u / sqrt(1 + u^2), in (-1, 1): with margin 1 a bounded score
/// that both classes can reach, with heavier tails than tanh. Each member of an ensemble has outputs, scores, a, b and alpha of its
/// own, and the levels are the sums of their objectives; the score of a row is the mean of theirs, by `Network::shares`:
/// unlike outputs, scores do not let one sure member outvote the others.
class AucModel {
 public:
  /// Initial values come from `seed` alone. Throws InputError for options that the network refuses.
  /// @param loss its form and margin; rho is always the share of positive rows among those that A is averaged over: of
  /// another share A would not be a loss of the classes' means, and could be small without telling them apart
  /// @param l2 kappa: the upper objective gets rho (1 - rho) kappa / n ||w||^2 over the weights of a linear
  /// map (n: rows of the upper level) and half of it over the weights of hidden layers; biases and token
  /// vectors are free.
  AucModel(const NetworkOptions& options, const InputShape& shape, const AucLoss& loss, double l2,
           uint64_t seed, const torch::Device& device);

  /// f = A + L2 on upper batches, g = -A on lower batches, both stratified and with the rows' weights; y = alpha;
  /// x = all weights, a and b. The constant lower Hessian is supplied, and both levels share the encoder. Shares this
  /// model's tensors. Throws InputError when the rows of a level are all of one class.
  Problem problem(const AucData& data, int64_t batch_size) const;

  /// Scores of rows, float32 [rows] on the CPU, in evaluation mode. Cost: forward passes without graph.
  torch::Tensor scores(const Inputs& inputs, const std::vector<int64_t>& rows) const;

  /// A on all the given rows with the present a, b and alpha (without the regularizer; of an ensemble their means), rho being their
  /// share of positive rows. Throws InputError when they are all of one class.
  double loss(const torch::Tensor& scores, const torch::Tensor& labels) const;

  const std::shared_ptr<Network>& network() const { return network_; }
  /// The upper variables, in their order in x: the network's parameters, "auc.a", "auc.b".
  ParameterList upper_parameters() const;

  /// y: a number for each member of the network.
  torch::Tensor alpha() const { return alpha_; }

  /// Copies of auc.a, auc.b and auc.alpha.
  std::map<std::string, torch::Tensor> loss_tensors() const;
  /// Sets these three and the network's parameters and buffers. Throws FileError for a missing name or another
  /// shape.
  void load(const std::map<std::string, torch::Tensor>& tensors);

 private:
  /// Scores with graph, [B] or, of an ensemble, [B,members].
  torch::Tensor encode(const std::vector<torch::Tensor>& inputs) const;

  std::shared_ptr<Network> network_;
  AucLoss loss_;
  double l2_;
  torch::Device device_;
  torch::Tensor a_, b_, alpha_;
};

/// A sentence about scores that cannot rank their rows: nine of ten beyond +-0.999, where s = u / sqrt(1 + u^2) has
/// less than 1e-4 of its slope at 0, or nine of ten the same, or all within 0.001. Empty: nothing of that.
std::string warning_of_scores(const ScoredRows& rows);

}  // namespace bilevel
