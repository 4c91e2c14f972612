// What few-shot learning is compared with, on the same tasks.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "bilevel/task/meta/meta_model.h"

namespace bilevel {

/// Nearest class mean: a query row gets the class whose support rows have the nearest mean in `table` [all rows, d]
/// (Euclidean). On the tasks begin .. begin + count - 1, all together.
TaskAccuracy nearest_class_mean(const torch::Tensor& table, const EpisodeSource& source, int64_t begin,
                                int64_t count);

/// Logistic regression on the support rows of each task: CE summed over them + |W|^2 / 2 (C = 1), solved, on `table` [all rows, d];
/// the vectors are centred at the mean of these rows, and the intercept is part of W. On the tasks begin .. begin + count - 1.
TaskAccuracy logistic_regression(const torch::Tensor& table, const EpisodeSource& source, int64_t begin,
                                 int64_t count);

/// Training by gradient steps in each task. The outer gradient is first order: that of the query loss at the adapted
/// values (Finn et al. 2017), with Adam.
struct InnerLoopOptions {
  /// anil: only the head adapts (Raghu et al. 2020), all tasks of a meta-batch together. maml: the encoder
  /// adapts too, all but its token vectors; every task then has an encoder of its own, and tasks follow each other.
  std::string method = "anil";
  int64_t steps = 100;      ///< outer steps
  int64_t meta_batch = 20;  ///< tasks a step
  int64_t inner_steps = 5;  ///< in training and in testing
  double inner_step_size = 0.1;
  double step_size = 1e-3;  ///< of Adam
  int64_t evaluations = 5;  ///< on validation tasks, of which the best gives the tested step
  int64_t valid_tasks = 100;
  const std::atomic<bool>* interrupt = nullptr;
  std::function<void(double share)> advance =
      nullptr;  ///< called after every step with the share of all work, about
};

/// Trains `model` (with a shared head of as many outputs as a task has ways) and measures it on the test tasks 0 ..
/// `test_tasks` - 1, with copies of the parameters: the model is left at the chosen step. Returns the accuracy;
/// nothing (no task) when it was interrupted.
TaskAccuracy train_inner_loop(MetaModel& model, const MetaRows& rows, const EpisodeSource& train,
                              const EpisodeSource& valid, const EpisodeSource& test, int64_t test_tasks,
                              const InnerLoopOptions& options, uint64_t seed);

}  // namespace bilevel
