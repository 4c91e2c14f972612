#include "bilevel/task/compare/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/task/compare/page.h"
#include "bilevel/task/compare/player.h"
#include "bilevel/task/compare/results.h"
#include "bilevel/task/compare/runner.h"
#include "bilevel/task/compare/table.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

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
  return {{"competitors", o.competitors},
          {"seeds", o.seeds},
          {"seed", o.seed},
          {"tune", o.tune},
          {"budget", o.budget}};
}

CompareOptions options_from(const Json& json) {
  return {.competitors = json.at("competitors").get<std::vector<Competitor>>(),
          .seeds = json.at("seeds"),
          .seed = json.at("seed"),
          .tune = json.at("tune"),
          .budget = json.at("budget").get<Budget>()};
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
          fmt::format("{}: the comparison is not complete ({} of {} is missing); finish it with 'bilevel "
                      "compare --resume {}'",
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
    if (!figure.figure.plot.svg.empty()) write(figure.file, figure.figure.plot.svg);
  }
  write("table.tsv", table_tsv(result.summary));
  Provenance made = provenance_of(out);
  made.options = {{"Comparison", saved.at("compare")}, {"Task", saved.at("contest")}};
  write("report.html", compare_report_html(comparison, result.summary, figures, std::move(made)));
  write("summary.json", result.summary.dump(2) + "\n");
  return result;
}

CompareResult run_in(Contest& contest, const CompareOptions& options, const std::string& out,
                     const Json& saved, const CompareCallbacks& callbacks, Workers* workers) {
  if (!make_runs(contest, options, out, callbacks, workers)) {
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

std::unique_ptr<Workers> workers_for(const CompareOptions& options, const std::optional<int64_t>& jobs) {
  const auto runs = static_cast<int64_t>(options.competitors.size()) * options.seeds;
  const int64_t count = std::min(runs, jobs_at_a_time(jobs, /*threads=*/1, options.budget.max_seconds > 0));
  return count > 1 ? std::make_unique<Workers>(count, play_requests()) : nullptr;
}

void share_cores(std::unique_ptr<Workers>& workers, const Contest& contest) {
  const auto threads = contest.to_json().value("/options/threads"_json_pointer, int64_t{1});
  const int64_t count = usable_cores() / std::max<int64_t>(1, threads);
  if (workers == nullptr || count >= workers->count()) return;
  if (count > 1)
    workers->keep(count);
  else
    workers.reset();
}

CompareResult run_comparison(Contest& contest, const CompareOptions& given, const std::string& out,
                             const CompareCallbacks& callbacks, Workers* workers, bool force) {
  check(given);
  CompareOptions options = given;
  if (options.budget.empty()) options.budget.steps = contest.default_steps();
  check_competitors(contest, options);
  const FolderLock lock = new_run_folder(out, "compare", callbacks.command_line,
                                         {{"contest", contest.to_json()},
                                          {"facts", contest.facts()},
                                          {"compare", to_json(options)},
                                          {"files", fingerprints(contest.files())}},
                                         force);
  return run_in(contest, options, out, read_run_options(out, "compare"), callbacks, workers);
}

CompareResult resume_comparison(const std::string& out, const CompareCallbacks& callbacks,
                                const std::optional<int64_t>& jobs) {
  return with_saved(out, [&](const Json& saved) {
    const CompareOptions options = options_from(saved.at("compare"));
    std::unique_ptr<Workers> workers = workers_for(options, jobs);
    const std::unique_ptr<Contest> contest = make_contest(saved.at("contest"), callbacks.message);
    if (!jobs) share_cores(workers, *contest);
    const FolderLock lock = continue_run_folder(out, fingerprints(contest->files()));
    return run_in(*contest, options, out, saved, callbacks, workers.get());
  });
}

CompareResult replot_comparison(const std::string& out) {
  return with_saved(out, [&](const Json& saved) {
    const FolderLock lock(out);
    return write_results(out, saved);
  });
}

}  // namespace bilevel
