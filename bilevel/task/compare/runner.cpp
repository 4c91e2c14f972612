#include "bilevel/task/compare/runner.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <list>
#include <map>
#include <optional>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/streams.h"
#include "bilevel/report/page.h"
#include "bilevel/task/compare/player.h"
#include "bilevel/task/compare/random_search.h"
#include "bilevel/task/compare/runs.h"
#include "bilevel/task/compare/table.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// The seed of every trial: none of those of the runs.
uint64_t tuning_seed(const CompareOptions& o) {
  uint64_t seed = derive_seed(o.seed, "tuning") >> 11;  // 53 bits: whole in every JSON reader
  while (seed >= o.seed && seed - o.seed < static_cast<uint64_t>(o.seeds)) ++seed;
  return seed;
}

TrialScore score_of(const Trace& trace, const std::string& key) {
  const double score = result_of(trace, key);
  return {.usable = end_of(trace).at("end") == "finished" && std::isfinite(score), .score = score};
}

/// A run to make.
struct PlannedRun {
  size_t competitor = 0;
  bool is_trial = false;
  uint64_t number = 0;  // of the trial, or the seed
  std::string name() const { return is_trial ? trial_name(static_cast<int64_t>(number)) : seed_name(number); }
};

/// A run in the making.
struct BegunRun {
  PlannedRun run;
  int64_t trial = 0;  // whose options it has
  uint64_t seed = 0;
  Json options;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

/// The trials of a competitor that have ended.
struct Tried {
  std::vector<TrialScore> scores;
  std::vector<Json> options;
  int64_t best = 0;
  Json best_options = Json::object();
};

class Runner {
 public:
  Runner(Contest& contest, const CompareOptions& options, std::string out, const CompareCallbacks& callbacks,
         Workers* workers)
      : contest_(contest),
        o_(options),
        out_(std::move(out)),
        callbacks_(callbacks),
        workers_(workers),
        facts_(contest.facts()),
        total_(static_cast<int64_t>(o_.competitors.size()) * (o_.tune + o_.seeds)),
        tried_(o_.competitors.size()) {}

  /// Refuses options that no run of a competitor could have.
  void check_competitors() const {
    for (const Competitor& c : o_.competitors) {
      try {
        make_player(contest_, c, Json::object());
      } catch (const InputError& error) {
        throw InputError(fmt::format("{}: {}", c.label, error.what()));
      }
    }
  }

  /// False when it was interrupted.
  bool execute() {
    announce();
    std::list<PlannedRun> waiting = plan();
    while (!waiting.empty() || !begun_.empty()) {
      // In the plan's order, but for trials that wait for the one before. With one run at a time none does.
      for (auto next = waiting.begin();
           next != waiting.end() && (workers_ == nullptr || workers_->any_idle());) {
        if (!is_ready(*next)) {
          ++next;
          continue;
        }
        if (!begin(*next)) return false;
        next = waiting.erase(next);
      }
      if (begun_.empty()) continue;
      const std::optional<Workers::Answer> answer = workers_->next(callbacks_.interrupt);
      if (!answer) return false;
      const BegunRun run = std::move(begun_.extract(answer->task).mapped());
      keep(run, {.rows = answer->result.at("rows"), .end = answer->result.at("end")});
    }
    return true;
  }

 private:
  /// All runs. Competitors alternate, so that a machine that slows down slows all of them.
  std::list<PlannedRun> plan() const {
    std::list<PlannedRun> runs;
    const auto add = [&](bool is_trial, uint64_t number) {
      for (size_t i = 0; i < o_.competitors.size(); ++i)
        runs.push_back({.competitor = i, .is_trial = is_trial, .number = number});
    };
    for (int64_t t = 0; t < o_.tune; ++t) add(true, static_cast<uint64_t>(t));
    for (int64_t s = 0; s < o_.seeds; ++s) add(false, o_.seed + static_cast<uint64_t>(s));
    return runs;
  }

  /// Whether the trials that its options follow from have ended.
  bool is_ready(const PlannedRun& run) const {
    return tried_[run.competitor].scores.size() ==
           (run.is_trial ? run.number : static_cast<uint64_t>(o_.tune));
  }

  const Competitor& competitor_of(const PlannedRun& run) const { return o_.competitors[run.competitor]; }
  fs::path path_of(const PlannedRun& run) const {
    return trace_path(out_, competitor_of(run).label, run.name());
  }

  Json drawn(const Competitor& c, int64_t trial, const Json& best) const {
    const std::unique_ptr<Solver> solver = contest_.solver(c.solver);
    std::set<std::string> fixed;
    for (const std::string& assignment : c.set) fixed.insert(assignment.substr(0, assignment.find('=')));
    return draw_options(fields_of(*solver), fixed, o_.seed, trial, o_.tune, best);
  }

  /// Makes a run, or hands it to a worker, unless its trace is there already; false when it was interrupted.
  bool begin(const PlannedRun& run) {
    const Competitor& c = competitor_of(run);
    const Tried& tried = tried_[run.competitor];
    if (fs::exists(path_of(run))) {
      learn(run);
      return true;
    }
    if (callbacks_.interrupt != nullptr && callbacks_.interrupt->load()) return false;
    BegunRun begun{.run = run, .trial = tried.best, .seed = run.number, .options = tried.best_options};
    if (run.is_trial) {
      begun.trial = static_cast<int64_t>(run.number);
      begun.seed = tuning_seed(o_);
      begun.options = drawn(c, begun.trial, tried.best_options);
    }
    if (workers_ != nullptr) {
      workers_->start(number_, label(run), play_request(contest_, c, begun.options, begun.seed, o_.budget));
      begun_.emplace(number_++, std::move(begun));
      return true;
    }
    if (callbacks_.begins) callbacks_.begins(counted(run));
    const Played played = play_one(contest_, c, begun.options,
                                   {.seed = begun.seed,
                                    .budget = o_.budget,
                                    .interrupt = callbacks_.interrupt,
                                    .progress = callbacks_.progress});
    if (played.interrupted) return false;
    keep(begun, played);
    return true;
  }

  /// Writes the trace of a run.
  void keep(const BegunRun& begun, const Played& played) {
    const PlannedRun& run = begun.run;
    const Competitor& c = competitor_of(run);
    const SolverEntry& entry = solver_registry().at(c.solver);
    std::vector<Json> lines{
        {{"run",
          {{"competitor", c.label},
           {"solver", c.solver},
           {"random_estimate", entry.random_estimate},
           {"kind", run.is_trial ? "trial" : "run"},
           {"trial", begun.trial},
           {"seed", begun.seed},
           {"options", begun.options},
           {"theory_gaps", theory_gaps(*make_player(contest_, c, begun.options), facts_.traits)}}}}};
    lines.insert(lines.end(), played.rows.begin(), played.rows.end());
    lines.push_back(played.end);
    create_folder(path_of(run).parent_path().string());
    write_trace(path_of(run).string(), lines);
    if (callbacks_.ended) callbacks_.ended(counted(run), outcome(played.end, !run.is_trial));
    made_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begun.start).count();
    ++made_;
    if (workers_ != nullptr && callbacks_.counts) callbacks_.counts(there_ + made_, total_);
    tell_pace();
    learn(run);
  }

  /// Adds a trial that has ended to those of its competitor.
  void learn(const PlannedRun& run) {
    if (!run.is_trial) return;
    Tried& own = tried_[run.competitor];
    const Trace trace = read_trace(path_of(run).string());
    own.scores.push_back(score_of(trace, facts_.tuning_metric.key));
    own.options.push_back(head_of(trace).at("options"));
    own.best = best_trial(own.scores, facts_.tuning_metric.higher_is_better);
    own.best_options = own.options[static_cast<size_t>(own.best)];
  }

  std::string label(const PlannedRun& run) const {
    return fmt::format("{}, {} {}", competitor_of(run).label, run.is_trial ? "trial" : "seed", run.number);
  }
  std::string counted(const PlannedRun& run) const {
    return fmt::format("{} (run {} of {})", label(run), there_ + made_ + 1, total_);
  }

  void say(const std::string& line) const {
    if (callbacks_.message) callbacks_.message(line);
  }

  /// How many runs there will be.
  void announce() {
    for (const PlannedRun& run : plan()) there_ += fs::exists(path_of(run)) ? 1 : 0;
    const auto several = [](int64_t n, const char* what) {
      return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
    };
    const std::string seeds = several(o_.seeds, "seed");
    say(fmt::format("{}: {}, {} each{}; a run has {}; {} at a time", several(total_, "run"),
                    several(static_cast<int64_t>(o_.competitors.size()), "solver"),
                    o_.tune > 0 ? fmt::format("{} and {}", several(o_.tune, "trial"), seeds) : seeds,
                    there_ > 0 ? fmt::format(" ({} done already)", there_) : "", o_.budget.describe(),
                    workers_ != nullptr ? std::to_string(workers_->count()) : "one"));
    if (workers_ != nullptr && callbacks_.counts) callbacks_.counts(there_, total_);
  }

  /// After the first run, and after one of each competitor, how long the rest takes.
  void tell_pace() const {
    const auto solvers = static_cast<int64_t>(o_.competitors.size());
    const int64_t left = total_ - there_ - made_;
    if (left <= 0 || (made_ != 1 && made_ != solvers)) return;
    const auto side_by_side = static_cast<double>(workers_ != nullptr ? workers_->count() : 1);
    say(fmt::format("{} took {}; {} more at that pace: about {}",
                    made_ == 1 ? "the first run" : fmt::format("the first {} runs", made_),
                    duration_text(made_seconds_), left,
                    duration_text(made_seconds_ / static_cast<double>(made_) * static_cast<double>(left) /
                                  side_by_side)));
  }

  std::string outcome(const Json& end, bool final_run) const {
    const std::string status = end.at("end");
    if (status != "finished") return fmt::format("{}: {}", status, end.at("message").get<std::string>());
    const Measure& metric = final_run ? facts_.metric : facts_.tuning_metric;
    return fmt::format("{} {} after {} steps", metric.name,
                       shown(trace_number(end.at("result").at(metric.key)), metric),
                       end.at("steps").get<int64_t>());
  }

  Contest& contest_;
  const CompareOptions& o_;
  std::string out_;
  const CompareCallbacks& callbacks_;
  Workers* workers_;
  ContestFacts facts_;
  int64_t total_;
  std::vector<Tried> tried_;           // by competitor
  std::map<int64_t, BegunRun> begun_;  // at the workers, by the number of the task there
  int64_t number_ = 0;                 // of the next one
  int64_t there_ = 0, made_ = 0;       // runs found in the folder; made here
  double made_seconds_ = 0;            // of all, added
};

}  // namespace

fs::path trace_path(const std::string& out, const std::string& label, const std::string& run) {
  return fs::path(out) / "runs" / label / run / "trace.jsonl";
}
std::string trial_name(int64_t trial) { return fmt::format("trial-{}", trial); }
std::string seed_name(uint64_t seed) { return fmt::format("seed-{}", seed); }

void check_competitors(Contest& contest, const CompareOptions& options) {
  const CompareCallbacks none;
  Runner(contest, options, "", none, nullptr).check_competitors();
}

bool make_runs(Contest& contest, const CompareOptions& options, const std::string& out,
               const CompareCallbacks& callbacks, Workers* workers) {
  try {
    return Runner(contest, options, out, callbacks, workers).execute();
  } catch (const WorkerError& error) {
    throw WorkerError(fmt::format(
        "{}. The runs that had ended are kept; continue with: bilevel compare --resume {}, with fewer --jobs "
        "where memory is short",
        error.what(), out));
  }
}

}  // namespace bilevel
