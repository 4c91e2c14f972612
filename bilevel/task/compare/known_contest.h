// Comparison on a problem whose true hypergradient is known.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/threads.h"
#include "bilevel/task/compare/contest.h"
#include "bilevel/task/known_metrics.h"
#include "bilevel/task/known_problem.h"

namespace bilevel {

struct KnownContestOptions {
  std::string problem;                        ///< a name of `known_problem_registry`
  std::map<std::string, std::string> fields;  ///< its options, as text
  double noise = 0;                           ///< see `with_noise`
  std::vector<double> start;                  ///< x_0, see `set_start`; empty: the problem's own
  uint64_t seed = 0;                          ///< of the problem's data
};

/// One instance of the problem, made once. The seeds of the runs change the noise alone. Where every oracle is exact,
/// seeds other than that of the data move x_0 by about 1e-9 (1 + |x_0|), so that digits of a result which depend on
/// that much can be told from others. Metrics: "gradient_norm", the norm of the true hypergradient at x (ranked);
/// where x stays in a set, "projected_gradient_norm", ||x - P(x - grad Phi(x))|| (ranked instead); and
/// "distance", ||x - x*|| / sqrt(dim x), where x* is known.
class KnownContest : public Contest {
 public:
  /// Computes with one thread for its lifetime. Throws InputError for an unknown problem, impossible options, or a
  /// start of another length, FileError as the problem does.
  explicit KnownContest(KnownContestOptions options);

  ContestFacts facts() const override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;
  int64_t default_steps() const override { return 1000; }
  int64_t evaluations() const override;
  nlohmann::ordered_json to_json() const override;
  std::vector<std::string> files() const override;

  static std::unique_ptr<Contest> from_json(const nlohmann::ordered_json& saved);

 private:
  bool exact() const;

  ThreadCountScope threads_{1};  // small vectors: a second thread would only wait
  KnownContestOptions options_;
  std::unique_ptr<KnownProblem> problem_;
  std::optional<KnownMetrics> metrics_;
  torch::Tensor x_start_, y_start_;
};

}  // namespace bilevel
