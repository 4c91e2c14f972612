#include "bilevel/task/solve_job.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/core/threads.h"
#include "bilevel/report/trace.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/known_metrics.h"
#include "bilevel/task/run_folder.h"
#include "bilevel/task/solve_report.h"

namespace bilevel {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int64_t kMostShown = 200;  // coordinates of x and y in the summary

Json values_of(const torch::Tensor& variable) {
  if (variable.numel() > kMostShown) return nullptr;
  const torch::Tensor flat = variable.detach().flatten().contiguous();
  const auto* value = flat.data_ptr<double>();
  return std::vector<double>(value, value + flat.numel());
}

class SolveRun {
 public:
  SolveRun(SolveJobOptions options, std::string out, const JobCallbacks& callbacks, bool resume,
           bool force = false)
      : o_(std::move(options)), out_(std::move(out)), callbacks_(callbacks), resume_(resume), force_(force) {}

  JobResult run() {
    fields_of(o_).validate();
    const ThreadCountScope threads(o_.threads);
    const SolverEntry& entry = solver_registry().at(o_.solver);
    const std::unique_ptr<Solver> solver = entry.make();
    set_options(*solver, o_.set);
    known_ = make_known_problem(o_.problem);
    fields_of(*known_).from_json(o_.problem_options);
    known_->build(o_.seed);
    set_start(*known_, start_values(o_.start));
    const Problem problem = with_noise(known_->problem(), o_.noise);
    outside_theory_ = out_of_theory(*solver, traits_of(*known_, o_.noise));
    if (!outside_theory_.empty()) say(outside_theory_);
    metrics_.emplace(*known_);
    const std::optional<FolderLock> lock = open_folder();
    const Result result = bilevel::run(problem, *solver, run_options());
    return finish(result);
  }

 private:
  void say(const std::string& line) const {
    if (callbacks_.message) callbacks_.message(line);
  }

  std::string path(const char* name) const { return (fs::path(out_) / name).string(); }

  std::optional<FolderLock> open_folder() {
    if (out_.empty()) {
      first_row();
      return std::nullopt;
    }
    const Json files = fingerprints(input_files(*known_));
    std::optional<FolderLock> lock =
        resume_ ? continue_run_folder(out_, files)
                : new_run_folder(out_, "solve", callbacks_.command_line,
                                 {{"options", o_.to_json()}, {"files", files}}, force_);
    resume_ = resume_ && fs::exists(path("checkpoint.safetensors"));
    if (resume_) {
      const auto [tensors, metadata] = load_safetensors(path("checkpoint.safetensors"));
      State state(tensors);
      state.scope("task", [&](State& inner) { task_state(inner); });
      trace_.emplace(path("trace.jsonl"), trace_bytes_);
    } else {
      trace_.emplace(path("trace.jsonl"));
      first_row();
    }
    return lock;
  }

  RunOptions run_options() {
    const int64_t evaluations = std::max<int64_t>(1, known_->evaluations());
    every_ = (o_.steps + evaluations - 1) / evaluations;
    RunOptions options;
    options.max_steps = o_.steps;
    options.seed = o_.seed;
    options.interrupt = callbacks_.interrupt;
    options.trace_every = std::numeric_limits<int64_t>::max();
    if (!out_.empty()) options.checkpoint = path("checkpoint.safetensors");
    options.resume = resume_;
    options.task_state = [this](State& state) { task_state(state); };
    options.callback = [this](const MadeStep& made, Oracles&) { return after_step(made); };
    return options;
  }

  /// After every step; false ends the run.
  bool after_step(const MadeStep& made) {
    const double seconds = made.seconds - evaluation_seconds_;
    if (made.step % every_ == 0 || made.step == o_.steps) {
      last_ = made.row();
      last_.seconds = seconds;
      evaluate();
      write_row();
      if (o_.tolerance && KnownMetrics::stationarity(latest_) <= *o_.tolerance) {
        early_end_ = StopReason::converged;
        early_message_ = fmt::format("the true hypergradient's norm is {:.3g} at step {}",
                                     KnownMetrics::stationarity(latest_), made.step);
      }
    }
    if (callbacks_.progress) {
      const auto steps = static_cast<double>(o_.steps);
      if (!earlier_share_) earlier_share_ = static_cast<double>(made.step - 1) / steps;
      callbacks_.progress({.phase = "solving",
                           .share = std::max(static_cast<double>(made.step) / steps,
                                             o_.max_seconds ? seconds / *o_.max_seconds : 0),
                           .earlier = *earlier_share_,
                           .step = made.step,
                           .steps = o_.steps,
                           .upper_loss = latest_.at("upper").get<double>()});
    }
    if (!early_end_ && o_.max_seconds && seconds >= *o_.max_seconds && made.step < o_.steps) {
      early_end_ = StopReason::max_seconds;
      early_message_ = fmt::format("the time of {:g} s was over after step {}", *o_.max_seconds, made.step);
    }
    return !early_end_;
  }

  void first_row() {
    evaluate();
    write_row();
    evaluation_seconds_ = 0;  // the run's clock does not tick yet
  }

  void evaluate() {
    const auto start = Clock::now();
    latest_ = metrics_->with_objectives();
    evaluation_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  }

  void write_row() {
    written_step_ = last_.step;
    if (!trace_) return;
    Json row{{"step", last_.step}, {"seconds", last_.seconds}, {"metrics", latest_}};
    if (last_.step > 0) {
      row["upper_loss"] = last_.upper_loss;
      row["hypergradient_norm"] = last_.hypergradient_norm;
      row["linear_residual"] = last_.linear_residual;
    }
    row["oracle_calls"] = last_.oracle_calls.to_json();
    row["samples"] = last_.oracle_calls.samples();
    trace_->append(row);
  }

  void task_state(State& state) {
    if (!state.loading()) trace_bytes_ = trace_ ? trace_->flush() : 0;
    state.value("trace_bytes", trace_bytes_);
    state.value("evaluation_seconds", evaluation_seconds_);
    double upper = latest_.is_object() ? latest_.at("upper").get<double>() : NAN;
    state.value("upper", upper);
    if (state.loading()) latest_["upper"] = upper;  // what progress shows until the next evaluation
  }

  JobResult finish(const Result& run) {
    JobResult result;
    result.reason = run.reason;
    result.message = run.message;
    if (run.reason == StopReason::stopped_by_callback && early_end_) {
      result.reason = *early_end_;
      result.message = early_message_;
    }
    result.finished = result.reason == StopReason::max_steps || result.reason == StopReason::max_seconds ||
                      result.reason == StopReason::converged;
    const double seconds = run.seconds - evaluation_seconds_;
    if (run.steps > written_step_ || !latest_.contains("distance")) {
      evaluate();
      if (!run.trace.empty()) last_ = run.trace.back();
      last_.step = run.steps;
      last_.seconds = seconds;
      last_.oracle_calls = run.oracle_calls.steps;
      write_row();
    }
    if (trace_) trace_->flush();

    result.summary = summary_of(run, name_of(result.reason), seconds);
    if (result.finished) result.text = solution_text(result.summary);
    if (!out_.empty() && result.finished) {
      write_solve_report(out_, result.summary);
      if (const std::string table = known_->table_of_x(); !table.empty())
        write_file_atomically(path("weights.tsv"), table);
      result.summary["peak_rss_bytes"] = peak_rss_bytes();
      write_file_atomically(path("summary.json"),
                            result.summary.dump(2) + "\n");  // last: the run is finished
    }
    return result;
  }

  Json summary_of(const Result& run, const std::string& reason, double seconds) const {
    std::vector<std::string> warnings = run.warnings;
    if (!outside_theory_.empty()) warnings.insert(warnings.begin(), outside_theory_);
    const OracleLedger& calls = run.oracle_calls;
    return {{"command", "solve"},
            {"problem", o_.problem},
            {"solver", o_.solver},
            {"seed", o_.seed},
            {"steps", run.steps},
            {"seconds", seconds},
            {"evaluation_seconds", evaluation_seconds_},
            {"stop_reason", reason},
            {"metrics", latest_},
            {"x", values_of(known_->x())},
            {"y", values_of(known_->y())},
            {"x_rows", rows_of_x()},
            {"problem_options", fields_of(*known_).to_json()},
            {"noise", o_.noise},
            {"oracle_calls", calls.steps.to_json()},
            {"oracle_calls_apart", calls.apart()},
            {"samples", calls.steps.samples()},
            {"solver_options", run.options},
            {"chosen_step_sizes", run.chosen},
            {"within_theory", outside_theory_.empty()},
            {"warnings", warnings},
            {"peak_rss_bytes", peak_rss_bytes()},
            {"out", out_.empty() ? Json(nullptr) : Json(out_)}};
  }

  /// The rows that the coordinates of "x" belong to, where it has such and they are shown.
  Json rows_of_x() const {
    const std::vector<int64_t> rows = known_->rows_of_x();
    return rows.empty() || static_cast<int64_t>(rows.size()) > kMostShown ? Json(nullptr) : Json(rows);
  }

  SolveJobOptions o_;
  std::string out_;
  const JobCallbacks& callbacks_;
  bool resume_, force_;

  std::unique_ptr<KnownProblem> known_;
  std::optional<KnownMetrics> metrics_;
  std::string outside_theory_;  // a warning, or empty
  std::optional<TraceWriter> trace_;
  int64_t trace_bytes_ = 0;
  int64_t every_ = 1;          // steps between two evaluations
  Json latest_;                // the latest metrics
  TraceRow last_;              // the latest step that was evaluated; its seconds are without evaluations
  int64_t written_step_ = -1;  // the last one in the trace
  double evaluation_seconds_ = 0;
  std::optional<double> earlier_share_;  // before this process's first step
  std::optional<StopReason> early_end_;
  std::string early_message_;
};

}  // namespace

JobResult run_solve_job(const SolveJobOptions& options, const std::string& out, const JobCallbacks& callbacks,
                        bool force) {
  return SolveRun(options, out, callbacks, false, force).run();
}

JobResult resume_solve_job(const std::string& out, const JobCallbacks& callbacks) {
  const Json saved = read_run_options(out, "solve");
  const fs::path summary = fs::path(out) / "summary.json";
  try {
    if (fs::exists(summary)) {
      const Json found = Json::parse(read_file(summary.string()));
      return {.summary = found,
              .message = "this run had finished",
              .finished = true,
              .text = solution_text(found)};
    }
    const SolveJobOptions options = SolveJobOptions::from_json(saved.at("options"));
    return SolveRun(options, out, callbacks, true).run();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", (fs::path(out) / "options.json").string(), error.what()));
  }
}

}  // namespace bilevel
