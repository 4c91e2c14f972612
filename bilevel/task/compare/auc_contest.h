// Comparison on AUC maximization over a data file.
#pragma once

#include <memory>

#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/compare/contest.h"
#include "bilevel/task/job/job.h"

namespace bilevel {

/// The first pass of `bilevel auc`: files are read and features fitted once, the parts are the same in all
/// runs; a run's seed draws initial weights and batches. A run is scored at the step that the rule of
/// `bilevel auc` chooses on the validation rows (`StepRule`); there is no second pass, no baseline and no
/// report. Metrics along a run: "test_auc" and "valid_auc" at that step. Ranked by the test AUC, tuned by the
/// validation AUC.
class AucContest : public Contest {
 public:
  /// Solver, set, steps, epochs, max_seconds and refit of the options are not used. Throws as AucSetup does.
  explicit AucContest(AucJobOptions options,
                      const std::function<void(const std::string&)>& message = nullptr);

  ContestFacts facts() const override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;
  std::unique_ptr<Solver> solver(const std::string& name) const override { return setup_.solver(name); }
  void check(Solver& solver) const override { check_single_precision(solver); }
  int64_t default_steps() const override { return setup_.training().steps; }
  int64_t evaluations() const override { return 20; }
  nlohmann::ordered_json to_json() const override;
  std::vector<std::string> files() const override { return setup_.paths(); }

  static std::unique_ptr<Contest> from_json(const nlohmann::ordered_json& saved,
                                            const std::function<void(const std::string&)>& message);

 private:
  AucSetup setup_;
};

}  // namespace bilevel
