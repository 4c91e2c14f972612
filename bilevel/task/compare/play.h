// One run of one solver on a contest.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/solver/run.h"
#include "bilevel/task/compare/contest.h"

namespace bilevel {

/// What a run may use; 0: no limit. The limit that is reached first ends it. No run uses more: a step that went
/// beyond a limit is undone.
struct Budget {
  int64_t steps = 0;
  int64_t samples = 0;       ///< rows drawn for both levels, warm start and automatic step sizes included
  int64_t oracle_calls = 0;  ///< stochastic derivatives of all kinds, each counted as one; included as above
  double max_seconds = 0;    ///< clock time without the measurements

  bool empty() const { return steps == 0 && samples == 0 && oracle_calls == 0 && max_seconds == 0; }
  /// "1000 steps or 20 s, whichever is first".
  std::string describe() const;
};
void to_json(nlohmann::ordered_json& json, const Budget& budget);
void from_json(const nlohmann::ordered_json& json, Budget& budget);

/// Where a run stands.
struct PlayProgress {
  int64_t step = 0;
  int64_t steps = 0;  ///< about what the budget allows
  double upper_loss = 0;
};

struct PlayOptions {
  uint64_t seed = 0;
  Budget budget;
  const std::atomic<bool>* interrupt = nullptr;
  std::function<void(const PlayProgress&)> progress = nullptr;
};

/// One run, as its trace file keeps it.
struct Played {
  /// {"step", "seconds", "samples": {upper, lower, all}, "oracle_calls": {by kind, all}, "upper_loss",
  /// "hypergradient_norm", "linear_residual", "metrics": {...}}, from step 0 on.
  std::vector<nlohmann::ordered_json> rows;
  /// {"end": "finished" | "diverged" | "failed", "reason", "message", "steps", "seconds", "samples",
  /// "oracle_calls", "result", "start", "swing", "rise", "schedule_steps", "solver_options", "chosen",
  /// "warnings"}. Diverged: a number was not finite, or a linear system could not be solved; "result" is then
  /// null. Failed: the solver refused to start, or not one step fits into the budget, with a message. Of the
  /// contest's metric: "start", its value before step 1; in the last tenth of the run "swing", highest less
  /// lowest value, and "rise", by how much it became worse from an earlier to a later measurement, at most.
  nlohmann::ordered_json end;
  bool interrupted = false;
};

/// Runs a solver on a fresh attempt until the budget is used. The length of step-size schedules is the number
/// of steps that the budget allows: given, or, for samples, oracle calls and seconds, planned from the solver's
/// documented cost and a short run apart that counts what the documents do not say. Whoever refuses to start is
/// reported, not thrown.
Played play(Contest& contest, const SolverEntry& entry,
            const std::function<std::unique_ptr<Solver>()>& make_solver, const PlayOptions& options);

}  // namespace bilevel
