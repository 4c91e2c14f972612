// A classifier whose regularization is learned: x holds the hyperparameters, y the weights.
//
//   lower:  g(x, y) = mean over training rows of w_c(x) l_eps(x)(y; row) + 1/2 sum_i lambda_i(x) w_i^2
//   upper:  f(x, y) = mean over validation rows of l(y; row) + sum_j (x_j - c_j)^2 / (2 s^2 n_valid)
//
// l: cross-entropy of the softmax; l_eps: against targets smoothed by eps; w_i: the weights (biases, norms and
// token vectors are free, but see l2-per-feature). Of x, the first number m is the logarithm of a strength that
// all weights share; the others are deviations from it, or belong to another hyperparameter:
//   l2              lambda_i = exp(m)
//   l2-per-feature  lambda_i = exp(m + d_j), j the feature that weight i multiplies
//   l2-per-class    lambda_i = exp(m + d_c), c the class whose output weight i belongs to
//   elastic-net     lambda_i = (1 - r) exp(m), and the lower level has r exp(m) sum_i |w_i| more, r = sigmoid(s)
//   label-smoothing lambda_i = exp(m), eps = sigmoid(s)
//   class-weights   lambda_i = exp(m), w_c = exp(a_c) / sum_k p_k exp(a_k), p_k the share of class k
//   l2-by-evidence  lambda_i = exp(m + sum_q a_q e_qj), j the feature that weight i multiplies, e_qj what the training rows say of
//                   it (linear and bag; see tune_evidence.h)
// The second term of f is the negative logarithm of a normal prior for everything but m, in the units of a mean
// over n_valid rows: s is the spread that one expects before seeing the validation rows. It is what keeps
// thousands of strengths from fitting a few hundred rows: a strength that they say little about stays near the
// common one.
//
// With folds (linear and bag) the upper level is cross-fitted: y holds, side by side, the weights of a model for each fold k, trained on
// the rows outside of it, and those of one trained on all rows, which predicts,
//   lower:  sum_k g_k(x, y_k) + g(x, y_all)
//   upper:  mean over all rows of l(y_k; row), k the fold of the row, + the prior
// and n_valid is the number of all rows. What a model sees of the classes, and e, are those of its own training rows.
//
// For the encoders `linear` and `bag` the variable y_i stands for the weight w_i = y_i / sqrt(h_j + lambda_i),
// h_j a quarter of the mean square of feature j over the training rows, and twice the bias: then no curvature
// of g in y is much below or above 1, whatever the strengths are and however rare a feature is, and step sizes
// need no change while x moves. y*(x) is the same model, so the problem is the same. (Of elastic-net h_j + exp(m).)
//
// |w_i| is |y_i| / sqrt(h_j + exp(m)), and has no derivative at 0, while the theory of the solvers asks for two: what is learned on has
// sqrt(y_i^2 + delta^2) - delta in the place of |y_i|, delta = `TunedLoss::kBend` (K. Kunisch, T. Pock, SIAM J. Imaging Sci. 2013, smooth
// the norms of a bilevel problem likewise). Weights that are trained at a given x are minimizers of the norm itself (`proximal_fit`).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bilevel/glm/linear_loss.h"
#include "bilevel/model/network.h"
#include "bilevel/problem/problem.h"
#include "bilevel/task/inputs.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

struct TunedLoss;

/// l2-by-evidence, l2-per-feature, l2-per-class, l2, elastic-net, label-smoothing, class-weights.
enum class TuneKind {
  l2_by_evidence,
  l2_per_feature,
  l2_per_class,
  l2,
  elastic_net,
  label_smoothing,
  class_weights
};
template <>
struct NamesOf<TuneKind> {
  static constexpr const char* value[] = {"l2-by-evidence", "l2-per-feature",  "l2-per-class", "l2",
                                          "elastic-net",    "label-smoothing", "class-weights"};
};

struct TuneModelOptions {
  NetworkOptions network;
  TuneKind kind = TuneKind::l2_per_feature;
  double l2 = 1e-3;   ///< exp(m) at the start, > 0
  double spread = 2;  ///< s, > 0
  uint64_t seed = 0;  ///< of the initial weights
  torch::Device device = torch::kCPU;
};

/// Rows with classes, and which of them serve which level.
struct TuneData {
  Inputs inputs;
  std::vector<int64_t> classes;  ///< of all rows, from 0
  std::vector<int64_t> train, valid;
  /// Of a cross-fitted model: where `valid` and `train` are the same rows, each in one fold's `judged`, of two at least.
  std::vector<Fold> folds = {};
};

class TuneModel {
 public:
  /// Throws InputError for options that the network refuses, an unknown kind, l2-per-feature with token
  /// vectors that are not trained, and l2-by-evidence, elastic-net or folds with an encoder that is not linear.
  TuneModel(const TuneModelOptions& options, const InputShape& shape, TuneData data);

  /// Batches are stratified by class, and their rows count with the batch's weights. `upper_batch`: rows of an upper
  /// one; 0: as many as of a lower one. Shares this model's tensors. x stays in the range of `strength_range`.
  Problem problem(int64_t batch_size, int64_t upper_batch = 0) const;

  /// Whether g is strongly convex in y up to a shift of all biases, which changes no probability: linear and
  /// bag.
  bool convex() const { return convex_; }
  /// The strengths that the model can have: {1e-9, 1e4} if convex, else {1e-9, 1}: there the step size on
  /// weights does not adapt to the strength.
  std::pair<double, double> strength_range() const;

  const TuneData& data() const { return *data_; }
  torch::Tensor x() const { return x_; }
  std::vector<torch::Tensor> y() const { return lower_; }
  /// Sets x (and y) to flat values.
  void set_x(const torch::Tensor& flat);
  void set_y(const torch::Tensor& flat);
  torch::Tensor flat_y() const;
  /// y as it was at first.
  void reset_y();

  /// x where the common strength is `l2` and all else is neutral: no deviations, no smoothing (eps < 1e-6), equal
  /// weights.
  torch::Tensor neutral(double l2) const;
  /// x where the common strength is `l2` and all else at the centre of its prior: where learning starts.
  torch::Tensor centred(double l2) const;
  /// A random x: the common strength log-uniform in [low, high], all else normal about its centre with the
  /// spread s.
  torch::Tensor random(double low, double high, at::Generator& generator) const;

  /// One strength per group: per feature (for an mlp and for token encoders then one for each other matrix), per
  /// class (then likewise), or one. Float64 on the CPU, at the present x.
  torch::Tensor strengths() const;
  /// bool [width]: the features that some training row has (all of an encoder that is not convex).
  torch::Tensor used_features() const;
  /// eps of label-smoothing, else 0.
  double smoothing() const;
  /// r of elastic-net, else 0.
  double l1_share() const;
  /// Of the features that some training row has (linear models): those whose weights are all 0.
  int64_t features_left_out() const;
  /// w_c of class-weights, else ones; float64 [classes].
  torch::Tensor class_weights() const;
  /// Of the groups behind the features or classes: names of the matrices.
  const std::vector<std::string>& other_groups() const { return other_groups_; }

  /// All training rows as one batch, for `lower_loss`; gathered when its inputs are read.
  Batch training_batch() const { return Batch(set_, data_->train).to(options_.device); }
  /// g on a batch, with its graph.
  torch::Tensor lower_loss(const Batch& batch) const;
  /// Probabilities of the classes, float64 [rows, classes] on the CPU, in evaluation mode. Of a cross-fitted model by the one that
  /// is trained on all rows.
  torch::Tensor probabilities(const std::vector<int64_t>& rows) const;
  /// Those of the validation rows; of a cross-fitted model each by the one that was trained without its fold.
  torch::Tensor held_out() const;
  /// Models that y holds: 1, or one for each fold and one for all rows.
  int64_t models() const { return models_; }
  /// Of g, where a linear model lies on the CPU; else null.
  std::unique_ptr<Derivatives> lower_derivatives() const;
  /// Of g without |w_i|, and in `thresholds` [dim y] what |y_i| is multiplied with; null where it has none, or off the CPU.
  std::unique_ptr<Derivatives> smooth_part(torch::Tensor& thresholds) const;
  /// a of l2-by-evidence, float64; else empty.
  torch::Tensor slopes() const;

  /// Writes the weights w that y and x stand for into the model's network, which it returns.
  std::shared_ptr<Network> write_network();
  const NetworkOptions& network_options() const { return network_->options(); }

 private:
  /// Which strengths a matrix of a network has: `count` groups from `first` on, along its dimension `dim`.
  struct Penalty {
    torch::Tensor weight;
    int64_t first = 0, count = 1, dim = 0;

    /// Its own of one value per group, in a shape that broadcasts to the weight's.
    torch::Tensor of(const torch::Tensor& per_group) const;
  };
  void group_weights(const InputShape& shape);
  /// What linear models read of their rows: columns, squares, evidence, and which rows serve which of them.
  void read_rows();
  /// Those that train a model.
  const std::vector<int64_t>& training_rows(int64_t model) const;
  /// Of the columns that are read, among all columns.
  torch::Tensor widened(const torch::Tensor& of_columns, const torch::Scalar& other) const;
  torch::Tensor log_strengths() const;
  torch::Tensor weight_strengths() const;
  torch::Tensor scale() const;
  /// [rows, count, classes] of models from `first` on.
  torch::Tensor logits(const std::vector<torch::Tensor>& inputs, int64_t first, int64_t count) const;
  /// Of one model; see `probabilities`.
  torch::Tensor probabilities(const std::vector<int64_t>& rows, int64_t model) const;
  torch::Tensor mean_loss(const torch::Tensor& losses, const Batch& batch,
                          const torch::Tensor& counted) const;
  torch::Tensor upper_loss(const Batch& batch) const;
  double prior_strength() const;  ///< 1 / (s^2 n_valid)
  /// f and g of a linear model.
  TunedLoss tuned_upper() const;
  TunedLoss tuned_lower() const;
  torch::Tensor bounded(const torch::Tensor& x) const;

  TuneModelOptions options_;
  /// 1 / sqrt(1/4), as of a feature that is 1 everywhere.
  static constexpr double kBiasScale = 2;

  std::shared_ptr<const TuneData> data_;
  int64_t classes_ = 0;
  bool convex_ = false;
  std::shared_ptr<Network> network_;
  ParameterList lower_;
  torch::Tensor initial_;           // flat y
  torch::Tensor x_, centre_;        // centre_ of all but m
  torch::Tensor shares_;            // [models, classes], among the training rows
  std::vector<Penalty> penalties_;  // of a network
  std::vector<std::string> other_groups_;
  int64_t groups_ = 1;
  torch::Tensor targets_;  // the classes
  std::shared_ptr<const DataSet> set_;
  int64_t models_ = 1, width_ = 0;  // the width is that of all columns
  // Of linear models:
  DesignRows design_;               // on the CPU
  torch::Tensor columns_;           // that are read; undefined: all
  torch::Tensor squares_;           // h, [width, models]
  torch::Tensor evidence_;          // [3, width, models], of l2-by-evidence
  torch::Tensor trained_, judged_;  // [models, rows]: what a row counts in g and f; undefined: 1
};

}  // namespace bilevel
