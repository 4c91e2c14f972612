// What `bilevel meta` is asked for.
#pragma once

#include <cstdint>
#include <string>

#include "bilevel/task/job/job_options.h"
#include "bilevel/task/meta/heads.h"

namespace bilevel {

/// `train` is the file of --data.
struct MetaJobOptions : JobOptions {
  std::string pair;             ///< second text column
  std::string domain;           ///< column with the domain
  std::optional<int64_t> ways;  ///< classes of a task
  int64_t shots = 5, queries = 10;
  std::string train_classes, valid_classes, test_classes;  ///< see `meta_parts`
  HeadKind head = HeadKind::ridge;                         ///< ridge | softmax | shared
  int64_t meta_batch = 20;                                 ///< tasks a step
  int64_t episodes = 20000;                                ///< different training tasks
  int64_t valid_episodes = 200, test_episodes = 600;
  int64_t adapt_steps = 5;  ///< steps of a copy of the shared head on a new task
  int64_t max_length = 64;  ///< words of a text
  bool token_mean = true;
  std::string baselines = "nearest-class-mean,logistic-regression,untrained,anil,maml";  ///< list, or none

  MetaJobOptions() {
    text_encoder = "rnn";
    column_encoders = {"mlp"};
    vector_encoder = "residual";
    sentence_layers = 1;  // the one whose distances the encoder was trained for, which few shots rest on
  }
  void fields(Fields& fields) override;
  ClassLabels strata(const JobFiles& files) const override;  ///< the domains, or the classes
  bool holds_out_classes() const override { return true; }
  /// Whether `test` has the classes of the training file; the test file of a fold has others.
  bool tests_file() const { return !test.empty() && !fold; }
};

}  // namespace bilevel
