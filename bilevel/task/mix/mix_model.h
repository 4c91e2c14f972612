// Weights of sources as a bilevel problem: linear classifiers on a mixture of sources, judged by rows of a target.
//
// x is one logit a source and the logarithm of an L2 strength; p = softmax(logits). The target rows are cut into K folds, and y holds
// K classifiers (W_k, b_k) side by side, of which the k-th sees the target rows of all folds but the k-th:
//   g(x, y) = sum_k [ sum_i p_i l_i^k(W_k, b_k) + lambda/2 |W_k|^2 ],   l_i^k the mean loss of what it sees of source i,
//   f(x, y) = mean over the target rows of the loss of the classifier that has not seen the row
//             + 1/(2 s^2 n) |logits - equal ones|^2,                    s = spread, n target rows.
// So the few target rows train and judge at once, and every one of them judges. The prior weighs as much as one target row of a
// loss of 1 where all logits together lie s sqrt(2) from equal ones: few rows leave the weights near equal, many do not.
#pragma once

#include <torch/types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/glm/mixture_loss.h"
#include "bilevel/model/network.h"
#include "bilevel/problem/problem.h"
#include "bilevel/task/job/classifier.h"

namespace bilevel {

/// The rows of all sources as linear models read them.
struct MixData {
  Inputs inputs;
  InputShape shape;              ///< of the inputs
  std::vector<int64_t> classes;  ///< of all rows
  std::vector<std::string> names;
  std::vector<std::vector<int64_t>> sources;  ///< rows of each
  torch::Tensor scale;    ///< [width]: features are multiplied by it, so that each has a curvature of about 1
  DesignRows design;      ///< of the inputs, scaled
  torch::Tensor targets;  ///< int64 [all rows]: the classes
  std::shared_ptr<const DataSet> set;
};

/// Fills in scale, design, targets and set from the rest. @param rows those that may train
void prepare(MixData& data, const std::vector<int64_t>& rows);

/// Which models there are.
struct MixPlan {
  std::vector<size_t> sources;  ///< numbers of sources; `MixData::sources.size()`: the target
  std::vector<Fold> folds;  ///< of the target rows: one model each, which sees `others` and judges `judged`
  double spread = 2;  ///< s: how far, in natural logarithms, weights are expected to lie from equal ones
  double entropy_floor = 0;  ///< least entropy of p, as a share of the largest, log(number of sources)
  NetworkOptions network;    ///< of a linear encoder
};

/// x, y and their problem, on the CPU.
class MixModel {
 public:
  /// Starts at equal weights and strength 1, y at zero. Throws InputError for a source without rows that any model would see.
  MixModel(std::shared_ptr<const MixData> data, MixPlan plan);

  Problem problem(int64_t batch_size) const;
  int64_t sources() const { return static_cast<int64_t>(plan_.sources.size()); }
  /// Rows that some model sees, each once.
  const std::vector<int64_t>& rows() const { return rows_; }
  /// The target rows that are judged, fold by fold.
  const std::vector<int64_t>& judged() const { return judged_; }

  torch::Tensor x() const { return x_; }
  std::vector<torch::Tensor> y() const { return {y_}; }
  void set_x(const torch::Tensor& flat);
  void set_y(const torch::Tensor& flat);
  /// Weights of the sources (positive, in the plan's order; any sum) and the strength; below 1e-9 it is taken as that.
  void set(const torch::Tensor& weights, double strength);
  void set_strength(double strength);
  /// p, float64 [sources]; lambda.
  torch::Tensor weights() const;
  double strength() const;

  /// Moves y to the minimum of g at the present x (`fit_linear`), from where it is.
  /// @param go_on asked before each evaluation on all rows; false ends the fit where it is
  void minimize(int64_t evaluations, const std::function<bool()>& go_on = nullptr);
  /// Of `judged()`, each row by the model that has not seen it: float64 [rows, classes].
  torch::Tensor judged_probabilities() const;
  /// Of any rows, by one of the models.
  torch::Tensor probabilities(const std::vector<int64_t>& rows, size_t model = 0) const;
  /// Writes one of the models into the network, which it returns.
  std::shared_ptr<Network> write_network(size_t model = 0) const;

 private:
  void make_losses();
  torch::Tensor bounded(const torch::Tensor& x) const;

  std::shared_ptr<const MixData> data_;
  MixPlan plan_;
  std::vector<int64_t> rows_, strata_, judged_;  // strata_: the source of each of rows_
  std::shared_ptr<Network> network_;
  MixtureLoss lower_;
  LinearLoss upper_;
  torch::Tensor x_, y_;
};

}  // namespace bilevel
