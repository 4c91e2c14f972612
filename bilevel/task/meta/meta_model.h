// An encoder that few-shot tasks share, and the bilevel problems that train it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/model/network.h"
#include "bilevel/problem/problem.h"
#include "bilevel/task/inputs.h"
#include "bilevel/task/meta/episodes.h"
#include "bilevel/task/meta/heads.h"

namespace bilevel {

/// All rows that tasks are drawn from. For pairs of texts row i's second text is row `pair_offset` + i of `inputs`.
struct MetaRows {
  Inputs inputs;
  int64_t pair_offset = 0;  ///< 0: rows are single texts

  /// The input tensors of rows; of pairs the first texts, then the second ones, in one batch.
  std::vector<torch::Tensor> gather(const std::vector<int64_t>& rows) const;
};

struct MetaModelOptions {
  NetworkOptions network;
  HeadKind head = HeadKind::ridge;  ///< ridge | softmax | shared
  bool pair = false;                ///< features [u, v, |u - v|, u * v] of the two texts
  double l2 = 0.1;                  ///< see `MetaModel::set_head`
};

/// Accuracy over tasks.
struct TaskAccuracy {
  double mean = 0;
  /// 95 % by Student's t over tasks: what other tasks of the same classes would give, not other classes.
  double low = 0, high = 0;
  double standard_error = 0;  ///< 0 with fewer than two tasks
  std::vector<double> of_task;
  std::vector<double> of_unit;  ///< in each domain, without domains in each class; set by `evaluate`

  explicit TaskAccuracy(std::vector<double> accuracies);
  TaskAccuracy() = default;
  /// Not with fewer than two tasks, nor where all have the same accuracy: their spread then says nothing.
  bool has_interval() const { return standard_error > 0; }
};

/// Encoder and head. With `ridge` and `softmax`, y is not kept: each task's head is solved inside the objective
///   f(x) = E_task CE(scores of its query rows under its own W*(x)),
/// whose gradient is grad_x f - J z with H z = grad_W f solved for all tasks together (heads.h); x = (encoder, log
/// lambda, log scale). With `shared`, x = encoder and y = one linear head for all tasks (hyper-representation):
///   f(x, y) = E_task CE(query rows),  g(x, y) = E_task CE(support rows) + c ||y||^2.
class MetaModel {
 public:
  /// Initial values come from `seed` alone. Throws InputError as networks do, for encoders that give outputs instead
  /// of features (linear, bag), and an unknown head.
  /// @param outputs classes of a shared head.
  MetaModel(const MetaModelOptions& options, const InputShape& shape, int64_t outputs, uint64_t seed,
            const torch::Device& device);

  bool shared() const { return options_.head == HeadKind::shared; }
  const MetaModelOptions& options() const { return options_; }
  const std::shared_ptr<Network>& network() const { return network_; }

  /// [rows, features] from `MetaRows::gather`'s tensors.
  torch::Tensor encode(const std::vector<torch::Tensor>& inputs) const;

  /// Sets lambda = l2 * the mean squared length of the centred support features of some tasks, the scale to 10
  /// (ridge) or 1 (softmax). Nothing for `shared`.
  void set_head(const MetaRows& rows, const EpisodeSource& source);

  /// The problem for a solver: meta-batches of `meta_batch` of the training tasks 0 .. `tasks` - 1, all rows of a
  /// meta-batch in one encoder pass, which is differentiated once. Shares this model's tensors.
  /// @param labels class number of every row, of all classes; for `shared` alone.
  Problem problem(const MetaRows& rows, const EpisodeSource& source, int64_t meta_batch, int64_t tasks,
                  const std::vector<int64_t>& labels = {}) const;

  /// Accuracy on the query rows of the tasks begin .. begin + count - 1, without touching the model: evaluation mode,
  /// no graph; every row is encoded once, heads are solved together. For `shared` each task adapts a copy of y on its
  /// support rows with `adapt_steps` steps of gradient descent on its own g.
  TaskAccuracy evaluate(const MetaRows& rows, const EpisodeSource& source, int64_t begin, int64_t count,
                        const std::vector<int64_t>& labels = {}, int64_t adapt_steps = 5) const;

  /// Scores [Q, C] of rows for one task with any numbers of support rows of its C classes (`targets` [S] in 0 .. C-1,
  /// the order of `support`).
  torch::Tensor adapted_scores(const MetaRows& support, const std::vector<int64_t>& targets, int64_t classes,
                               const MetaRows& query, int64_t adapt_steps = 5) const;

  ParameterList upper_parameters() const;
  ParameterList lower_parameters() const;  ///< of the shared head; none for others
  double lambda() const;
  double scale() const;

  /// Every tensor by name: the network's, and "task_head.log_lambda" and "task_head.log_scale", or "task_head.weight"
  /// and "task_head.bias" of a shared head; and back. `load` throws FileError.
  std::map<std::string, torch::Tensor> tensors() const;
  void load(const std::map<std::string, torch::Tensor>& tensors);

 private:
  Problem solved_problem(const MetaRows& rows, const EpisodeSource& source, int64_t meta_batch,
                         int64_t tasks) const;
  Problem shared_problem(const MetaRows& rows, const EpisodeSource& source, int64_t meta_batch, int64_t tasks,
                         const std::vector<int64_t>& labels) const;
  /// Features of rows [n, F], in chunks, evaluation mode, no graph.
  torch::Tensor features(const MetaRows& rows, const std::vector<int64_t>& numbers) const;
  /// Scores [T, Q, C] of tasks under their own heads: solved, or adapted copies of the shared one.
  torch::Tensor task_scores(const torch::Tensor& support, const torch::Tensor& targets,
                            const torch::Tensor& query, int64_t adapt_steps) const;

  ParameterList head_parameters() const;

  MetaModelOptions options_;
  std::shared_ptr<Network> network_;
  torch::Device device_;
  torch::Tensor log_lambda_, log_scale_;  // [1]; of solved heads
  torch::Tensor weight_, bias_;           // [outputs, F], [outputs]; the shared head
};

}  // namespace bilevel
