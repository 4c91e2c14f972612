#include "bilevel/task/compare/runner.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/streams.h"
#include "bilevel/report/page.h"
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

class Runner {
 public:
  Runner(Contest& contest, const CompareOptions& options, std::string out, const CompareCallbacks& callbacks)
      : contest_(contest),
        o_(options),
        out_(std::move(out)),
        callbacks_(callbacks),
        facts_(contest.facts()),
        total_(static_cast<int64_t>(o_.competitors.size()) * (o_.tune + o_.seeds)) {}

  /// Refuses options that no run of a competitor could have.
  void check_competitors() const {
    for (const Competitor& c : o_.competitors) {
      try {
        make(c, Json::object());
      } catch (const InputError& error) {
        throw InputError(fmt::format("{}: {}", c.label, error.what()));
      }
    }
  }

  /// False when it was interrupted. Competitors alternate, so that a machine that slows down slows all of
  /// them.
  bool execute() const {
    announce();
    struct Tried {
      std::vector<TrialScore> scores;
      std::vector<Json> options;
      int64_t best = 0;
      Json best_options = Json::object();
    };
    std::vector<Tried> tried(o_.competitors.size());
    for (int64_t t = 0; t < o_.tune; ++t) {
      for (size_t i = 0; i < tried.size(); ++i) {
        const Competitor& c = o_.competitors[i];
        Tried& own = tried[i];
        if (!run_one(c, trial_name(t), "trial", t, tuning_seed(o_), drawn(c, t, own.best_options)))
          return false;
        const Trace trace = read_trace(trace_path(out_, c.label, trial_name(t)).string());
        own.scores.push_back(score_of(trace, facts_.tuning_metric.key));
        own.options.push_back(head_of(trace).at("options"));
        own.best = best_trial(own.scores, facts_.tuning_metric.higher_is_better);
        own.best_options = own.options[static_cast<size_t>(own.best)];
      }
    }
    for (int64_t s = 0; s < o_.seeds; ++s) {
      const uint64_t seed = o_.seed + static_cast<uint64_t>(s);
      for (size_t i = 0; i < tried.size(); ++i) {
        if (!run_one(o_.competitors[i], seed_name(seed), "run", tried[i].best, seed, tried[i].best_options))
          return false;
      }
    }
    return true;
  }

 private:
  std::unique_ptr<Solver> make(const Competitor& c, const Json& drawn) const {
    std::unique_ptr<Solver> solver = contest_.solver(c.solver);
    const Fields fields = fields_of(*solver);
    for (const std::string& assignment : c.set) fields.set_text(assignment);
    fields.from_json(nlohmann::json(drawn));
    contest_.check(*solver);
    return solver;
  }

  Json drawn(const Competitor& c, int64_t trial, const Json& best) const {
    const std::unique_ptr<Solver> solver = contest_.solver(c.solver);
    std::set<std::string> fixed;
    for (const std::string& assignment : c.set) fixed.insert(assignment.substr(0, assignment.find('=')));
    return draw_options(fields_of(*solver), fixed, o_.seed, trial, o_.tune, best);
  }

  /// Makes a run unless its trace is there already; false when it was interrupted.
  bool run_one(const Competitor& c, const std::string& name, const char* kind, int64_t trial, uint64_t seed,
               const Json& options) const {
    ++number_;
    const fs::path path = trace_path(out_, c.label, name);
    if (fs::exists(path)) return true;
    if (callbacks_.interrupt != nullptr && callbacks_.interrupt->load()) return false;
    if (callbacks_.begins) {
      callbacks_.begins(
          fmt::format("{}, {} {} (run {} of {})", c.label, std::string(kind) == "run" ? "seed" : "trial",
                      std::string(kind) == "run" ? seed : static_cast<uint64_t>(trial), number_, total_));
    }
    const auto start = std::chrono::steady_clock::now();
    const Played played = play(contest_, solver_registry().at(c.solver), [&] { return make(c, options); },
                               {.seed = seed,
                                .budget = o_.budget,
                                .interrupt = callbacks_.interrupt,
                                .progress = callbacks_.progress});
    if (played.interrupted) return false;
    const Json head{{"run",
                     {{"competitor", c.label},
                      {"solver", c.solver},
                      {"random_estimate", solver_registry().at(c.solver).random_estimate},
                      {"kind", kind},
                      {"trial", trial},
                      {"seed", seed},
                      {"options", options},
                      {"theory_gaps", theory_gaps(*make(c, options), facts_.traits)}}}};
    create_folder(path.parent_path().string());
    std::vector<Json> lines{head};
    lines.insert(lines.end(), played.rows.begin(), played.rows.end());
    lines.push_back(played.end);
    write_trace(path.string(), lines);
    if (callbacks_.ended) callbacks_.ended(outcome(played.end, std::string(kind) == "run"));
    made_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ++made_;
    tell_pace();
    return true;
  }

  void say(const std::string& line) const {
    if (callbacks_.message) callbacks_.message(line);
  }

  /// How many runs there will be.
  void announce() const {
    for (const Competitor& c : o_.competitors) {
      const auto is_there = [&](const std::string& name) {
        return fs::exists(trace_path(out_, c.label, name));
      };
      for (int64_t t = 0; t < o_.tune; ++t) there_ += is_there(trial_name(t)) ? 1 : 0;
      for (int64_t s = 0; s < o_.seeds; ++s)
        there_ += is_there(seed_name(o_.seed + static_cast<uint64_t>(s))) ? 1 : 0;
    }
    const auto several = [](int64_t n, const char* what) {
      return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
    };
    const std::string seeds = several(o_.seeds, "seed");
    say(fmt::format("{}: {}, {} each{}; a run has {}", several(total_, "run"),
                    several(static_cast<int64_t>(o_.competitors.size()), "solver"),
                    o_.tune > 0 ? fmt::format("{} and {}", several(o_.tune, "trial"), seeds) : seeds,
                    there_ > 0 ? fmt::format(" ({} done already)", there_) : "", o_.budget.describe()));
  }

  /// After the first run, and after one of each competitor, how long the rest takes.
  void tell_pace() const {
    const auto solvers = static_cast<int64_t>(o_.competitors.size());
    const int64_t left = total_ - there_ - made_;
    if (left <= 0 || (made_ != 1 && made_ != solvers)) return;
    say(fmt::format("{} took {}; {} more at that pace: about {}",
                    made_ == 1 ? "the first run" : fmt::format("the first {} runs", made_),
                    duration_text(made_seconds_), left,
                    duration_text(made_seconds_ / static_cast<double>(made_) * static_cast<double>(left))));
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
  ContestFacts facts_;
  int64_t total_;
  mutable int64_t number_ = 0;            // of the run at hand, from 1
  mutable int64_t there_ = 0, made_ = 0;  // runs found in the folder; made here
  mutable double made_seconds_ = 0;
};

}  // namespace

fs::path trace_path(const std::string& out, const std::string& label, const std::string& run) {
  return fs::path(out) / "runs" / label / run / "trace.jsonl";
}
std::string trial_name(int64_t trial) { return fmt::format("trial-{}", trial); }
std::string seed_name(uint64_t seed) { return fmt::format("seed-{}", seed); }

void check_competitors(Contest& contest, const CompareOptions& options) {
  const CompareCallbacks none;
  Runner(contest, options, "", none).check_competitors();
}

bool make_runs(Contest& contest, const CompareOptions& options, const std::string& out,
               const CompareCallbacks& callbacks) {
  return Runner(contest, options, out, callbacks).execute();
}

}  // namespace bilevel
