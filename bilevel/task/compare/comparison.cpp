#include "bilevel/task/compare/comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "bilevel/core/files.h"
#include "bilevel/core/streams.h"
#include "bilevel/report/page.h"
#include "bilevel/task/compare/page.h"
#include "bilevel/task/compare/random_search.h"
#include "bilevel/task/compare/results.h"
#include "bilevel/task/compare/table.h"
#include "bilevel/task/job/job_options.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

bool is_label(const std::string& text) {
  return !text.empty() && text.find_first_not_of(
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                              "0123456789-_") == std::string::npos;
}

std::string key_of(const std::string& assignment) { return assignment.substr(0, assignment.find('=')); }

bool has_option(const std::string& solver, const std::string& name) {
  const std::unique_ptr<Solver> made = make_solver(solver);
  return fields_of(*made).find(name) != nullptr;
}

void check(const CompareOptions& o) {
  const auto refuse = [](const char* field, double value, const char* rule) {
    throw InputError(fmt::format("{} = {:g}: {}", field, value, rule));
  };
  if (o.competitors.empty()) throw InputError("--solvers NAME,... is missing: whom shall I compare?");
  if (o.seeds < 1) refuse("seeds", static_cast<double>(o.seeds), "must be >= 1");
  if (o.tune < 0) refuse("tune", static_cast<double>(o.tune), "must be >= 0");
  const Budget& b = o.budget;
  if (b.steps < 0) refuse("steps", static_cast<double>(b.steps), "must be >= 1");
  if (b.samples < 0) refuse("samples", static_cast<double>(b.samples), "must be >= 1");
  if (b.oracle_calls < 0) refuse("oracle_calls", static_cast<double>(b.oracle_calls), "must be >= 1");
  if (!(b.max_seconds >= 0) || !std::isfinite(b.max_seconds))
    refuse("max_seconds", b.max_seconds, "must be > 0");
}

Json to_json(const CompareOptions& o) {
  Json competitors = Json::array();
  for (const Competitor& c : o.competitors) {
    competitors.push_back({{"label", c.label}, {"solver", c.solver}, {"set", c.set}});
  }
  return {{"competitors", competitors},
          {"seeds", o.seeds},
          {"seed", o.seed},
          {"tune", o.tune},
          {"budget", o.budget}};
}

CompareOptions options_from(const Json& json) {
  CompareOptions o{.competitors = {},
                   .seeds = json.at("seeds"),
                   .seed = json.at("seed"),
                   .tune = json.at("tune"),
                   .budget = json.at("budget").get<Budget>()};
  for (const Json& c : json.at("competitors")) {
    o.competitors.push_back({c.at("label"), c.at("solver"), c.at("set").get<std::vector<std::string>>()});
  }
  return o;
}

fs::path trace_path(const std::string& out, const std::string& label, const std::string& run) {
  return fs::path(out) / "runs" / label / run / "trace.jsonl";
}
std::string trial_name(int64_t trial) { return fmt::format("trial-{}", trial); }
std::string seed_name(uint64_t seed) { return fmt::format("seed-{}", seed); }

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

/// Everything that a complete comparison holds.
Comparison read_comparison(const std::string& out, const Json& saved) {
  Comparison c{.options = options_from(saved.at("compare")),
               .facts = saved.at("facts").get<ContestFacts>(),
               .competitors = {}};
  const auto read = [&](const std::string& label, const std::string& run) {
    const fs::path path = trace_path(out, label, run);
    if (!fs::exists(path)) {
      throw InputError(
          fmt::format("{}: the comparison is not complete ({} of {} is missing); finish it with "
                      "'bilevel compare --resume {}'",
                      out, run, label, out));
    }
    return read_trace(path.string());
  };
  for (const Competitor& competitor : c.options.competitors) {
    CompetitorRuns runs{.competitor = competitor, .trials = {}, .runs = {}};
    const std::string& label = runs.competitor.label;
    for (int64_t t = 0; t < c.options.tune; ++t) runs.trials.push_back(read(label, trial_name(t)));
    for (int64_t s = 0; s < c.options.seeds; ++s)
      runs.runs.push_back(read(label, seed_name(c.options.seed + static_cast<uint64_t>(s))));
    c.competitors.push_back(std::move(runs));
  }
  return c;
}

/// Table, pictures and page, from files alone; summary.json last.
CompareResult write_results(const std::string& out, const Json& saved) {
  const Comparison comparison = read_comparison(out, saved);
  CompareResult result;
  result.summary = summarize(comparison);
  result.summary["out"] = out;
  for (const Json& entry : result.summary.at("table"))
    result.any_finished = result.any_finished || entry.at("finished").get<int64_t>() > 0;
  const std::vector<NamedFigure> figures = curves(comparison, result.summary);
  const auto write = [&](const std::string& name, const std::string& content) {
    write_file_atomically((fs::path(out) / name).string(), content);
  };
  for (const NamedFigure& figure : figures) {
    if (!figure.figure.plot.svg.empty()) write(figure.name + ".svg", figure.figure.plot.svg);
  }
  write("table.tsv", table_tsv(result.summary));
  write("report.html", compare_report_html(comparison, result.summary, figures));
  write("summary.json", result.summary.dump(2) + "\n");
  return result;
}

/// The runs of a comparison.
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
    for (const std::string& assignment : c.set) fixed.insert(key_of(assignment));
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

CompareResult finish(const Runner& runner, const std::string& out, const Json& saved) {
  if (!runner.execute()) {
    CompareResult result;
    result.interrupted = true;
    return result;
  }
  return write_results(out, saved);
}

/// Calls `body` and turns the JSON library's complaints about a file of ours into a FileError.
template <typename Body>
CompareResult with_saved(const std::string& out, Body body) {
  const Json saved = read_run_options(out, "compare");
  try {
    return body(saved);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: is not a comparison that can be read: {}", out, error.what()));
  }
}

}  // namespace

std::vector<Competitor> parse_competitors(const std::string& solvers, const std::vector<std::string>& set) {
  std::vector<Competitor> competitors;
  const auto no_names = [&] {
    throw InputError(fmt::format("solvers = {}: must be names, separated by commas, or all", solvers));
  };
  if (solvers.empty()) no_names();
  if (solvers == "all") {
    for (const SolverEntry& entry : solver_registry()) competitors.push_back({entry.name, entry.name, {}});
  } else {
    for (const std::string& word : split_list(solvers)) {
      const size_t equals = word.find('=');
      Competitor c{.label = word.substr(0, equals),
                   .solver = equals == std::string::npos ? word : word.substr(equals + 1),
                   .set = {}};
      if (c.solver.empty() && c.label.empty()) no_names();
      solver_registry().at(c.solver);
      if (!is_label(c.label)) {
        throw InputError(
            fmt::format("solvers: the name '{}' must consist of letters, digits, '-' and '_'", c.label));
      }
      competitors.push_back(std::move(c));
    }
  }
  std::set<std::string> labels;
  for (const Competitor& c : competitors) {
    if (!labels.insert(c.label).second) {
      throw InputError(
          fmt::format("solvers: '{}' stands there twice; give one of them a name of its own, as in "
                      "'other={}'",
                      c.label, c.solver));
    }
  }

  for (const std::string& given : set) {
    const std::string key = key_of(given);
    if (given.find('=') == std::string::npos || key.empty())
      throw InputError(fmt::format("'{}' is not of the form key=value or solver.key=value", given));
    const size_t dot = key.find('.');
    const std::string who = dot == std::string::npos ? "" : key.substr(0, dot);
    const std::string assignment = dot == std::string::npos ? given : given.substr(dot + 1);
    const auto is_meant = [&](const Competitor& c) {
      if (who.empty()) return has_option(c.solver, key);
      return c.label == who || (c.solver == who && labels.count(who) == 0);
    };
    bool used = false;
    for (Competitor& c : competitors) {
      if (!is_meant(c)) continue;
      used = true;
      const std::unique_ptr<Solver> solver = make_solver(c.solver);
      try {
        fields_of(*solver).set_text(assignment);
      } catch (const InputError& error) {
        throw InputError(fmt::format("{}: {}", c.label, error.what()));
      }
      c.set.push_back(assignment);
    }
    if (!used && who.empty())
      throw InputError(
          fmt::format("there is no option '{}' in any of the solvers {}", key, fmt::join(labels, ", ")));
    if (!used) {
      throw InputError(fmt::format("--set {}: there is no competitor '{}'; known: {}", given, who,
                                   fmt::join(labels, ", ")));
    }
  }
  return competitors;
}

CompareResult run_comparison(Contest& contest, const CompareOptions& given, const std::string& out,
                             const CompareCallbacks& callbacks) {
  check(given);
  CompareOptions options = given;
  if (options.budget.empty()) options.budget.steps = contest.default_steps();
  const Runner runner(contest, options, out, callbacks);
  runner.check_competitors();
  const FolderLock lock = new_run_folder(out, "compare",
                                         {{"contest", contest.to_json()},
                                          {"facts", contest.facts()},
                                          {"compare", to_json(options)},
                                          {"files", fingerprints(contest.files())}});
  return finish(runner, out, read_run_options(out, "compare"));
}

CompareResult resume_comparison(const std::string& out, const CompareCallbacks& callbacks) {
  return with_saved(out, [&](const Json& saved) {
    const std::unique_ptr<Contest> contest = make_contest(saved.at("contest"), callbacks.message);
    const FolderLock lock = continue_run_folder(out, fingerprints(contest->files()));
    const CompareOptions options = options_from(saved.at("compare"));
    return finish(Runner(*contest, options, out, callbacks), out, saved);
  });
}

CompareResult replot_comparison(const std::string& out) {
  return with_saved(out, [&](const Json& saved) {
    const FolderLock lock(out);
    return write_results(out, saved);
  });
}

}  // namespace bilevel
