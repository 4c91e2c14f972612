// What solvers are compared on.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/solver/registry.h"

namespace bilevel {

/// A number that is measured along a run.
struct Measure {
  std::string key;   ///< under "metrics" in a trace row, and in the result of a run
  std::string name;  ///< for people: "test AUC"
  bool higher_is_better = false;
  bool log_scale = false;  ///< how it is drawn
};
void to_json(nlohmann::ordered_json& json, const Measure& measure);
void from_json(const nlohmann::ordered_json& json, Measure& measure);

/// What is known about a contest before anybody has run.
struct ContestFacts {
  std::string task;       ///< the word on the command line: "auc", "quadratic"
  std::string title;      ///< for the report
  Measure metric;         ///< what the final runs are ranked by
  Measure tuning_metric;  ///< what the trials are ranked by; never of data that the metric is taken from
  std::vector<Measure> further;  ///< others worth a column and a curve
  ProblemTraits traits;          ///< what the problem is, for the theories of the solvers
  std::string seeds_mean;        ///< a sentence: what differs between two seeds
  /// Whether a run's result is the mean over its last tenth; else it is that of a step which the task chooses.
  bool last_tenth = true;
  std::vector<std::pair<std::string, std::string>> data = {};  ///< facts for the report, name and value
};
void to_json(nlohmann::ordered_json& json, const ContestFacts& facts);
void from_json(const nlohmann::ordered_json& json, ContestFacts& facts);

/// The problem at the start of one run, and the measurements along it.
class Attempt {
 public:
  virtual ~Attempt() = default;
  /// The problem over this attempt's variables, at their starts.
  virtual Problem problem() = 0;
  /// The same with about `rows` rows in each level at most (0: all), where a few at random would not do.
  virtual Problem problem_on(int64_t /*rows*/) { return problem(); }
  /// Measures at the present point; before step 1 (`step` 0) and then now and again. Values that do not exist
  /// are NaN. Uses no oracle of the run.
  virtual nlohmann::ordered_json measure(int64_t step) = 0;
  /// What the run came to, by the keys of the facts' measures; called after the last `measure`. `last` holds
  /// what was measured in the last tenth of the run: here their means, so that no single step decides.
  virtual nlohmann::ordered_json result(const std::vector<nlohmann::ordered_json>& last) const;
};

/// A task with its data: everything that all competitors have in common. A job has its
/// own (`Job::contest`).
class Contest {
 public:
  virtual ~Contest() = default;
  virtual ContestFacts facts() const = 0;
  /// A start that depends on `seed` alone, never on the solver.
  virtual std::unique_ptr<Attempt> attempt(uint64_t seed) = 0;
  /// A solver with this task's defaults. Throws InputError for an unknown name.
  virtual std::unique_ptr<Solver> solver(const std::string& name) const { return make_solver(name); }
  /// Refuses options that this task cannot run with (InputError).
  virtual void check(Solver&) const {}
  /// Steps of a run where no budget was given.
  virtual int64_t default_steps() const = 0;
  /// Measurements along a run, besides the first, evenly spread; the last tenth has at least 20 where it is what
  /// counts.
  virtual int64_t evaluations() const { return 100; }
  /// What `make_contest` makes it from again: {"kind": "known", ...} or {"kind": a job's name, "options"}.
  virtual nlohmann::ordered_json to_json() const = 0;
  /// Files that are read, to notice when one changed.
  virtual std::vector<std::string> files() const { return {}; }
};

/// The contest that a saved one was. `message` gets lines for a person. Throws InputError and FileError.
std::unique_ptr<Contest> make_contest(const nlohmann::ordered_json& saved,
                                      const std::function<void(const std::string&)>& message = nullptr);

}  // namespace bilevel
