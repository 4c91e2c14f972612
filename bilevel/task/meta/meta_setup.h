// What `bilevel meta` starts from: options, data, and the tasks that are drawn from them.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bilevel/task/job/job_run.h"
#include "bilevel/task/meta/meta_model.h"
#include "bilevel/task/meta/meta_options.h"
#include "bilevel/task/meta/meta_parts.h"

namespace bilevel {

/// Both texts' inputs of all rows of some files, the second ones behind. @param first those of the first texts
MetaRows meta_rows(const Features& features, const std::vector<const DataFile*>& files, bool pair,
                   Inputs first);

/// Tasks, ready to train on. As a contest ranked by the accuracy over test tasks at the step that is chosen on validation
/// tasks, tuned by the accuracy over those.
class MetaSetup : public JobSetup {
 public:
  MetaSetup(MetaJobOptions options, const JobContext& context);

  const MetaJobOptions& options() const override { return o_; }
  const MetaRows& rows() const { return rows_; }
  const MetaParts& parts() const { return parts_; }
  const EpisodeSource& train() const { return train_; }
  const EpisodeSource& valid() const { return valid_; }
  const EpisodeSource& test() const { return test_; }
  const Features& features() const { return *features_; }
  int64_t default_steps() const override { return steps_; }
  bool measures(const std::string& baseline) const { return baselines_.count(baseline) > 0; }

  /// The job's own, and any other on the same inputs.
  std::unique_ptr<MetaModel> model(uint64_t seed) const;
  std::unique_ptr<MetaModel> model(HeadKind head, int64_t outputs, double l2) const;
  Problem problem(const MetaModel& model) const;
  ProblemTraits traits(const Problem& problem) const;
  /// With the job's defaults. Throws InputError for an unknown name.
  std::unique_ptr<Solver> solver(const std::string& name) const override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;

  TaskAccuracy accuracy(const MetaModel& model, const EpisodeSource& source, int64_t count) const;
  TaskAccuracy test_accuracy(const MetaModel& model) const {
    return accuracy(model, test_, o_.test_episodes);
  }
  /// On validation tasks.
  Evaluation evaluate(const MetaModel& model) const;

 private:
  void describe(ContestFacts& facts) const override;
  void check_options();
  void check_encoder();
  void divide();
  void fit();
  std::unique_ptr<MetaModel> make(HeadKind head, int64_t outputs, double l2, uint64_t seed) const;

  MetaJobOptions o_;
  JobDefaults defaults_;
  NetworkOptions network_;
  int64_t steps_ = 0;
  std::set<std::string> baselines_;
  MetaParts parts_;
  EpisodeSource train_, valid_, test_;
  std::shared_ptr<const Features> features_;
  InputShape shape_;
  MetaRows rows_;
};

/// --l2 of heads that are solved (see MetaModel::set_head): the same share of the fit for any number of rows.
double head_l2(int64_t support_rows);
/// Null where there is none.
nlohmann::ordered_json interval_json(const TaskAccuracy& accuracy);

}  // namespace bilevel
