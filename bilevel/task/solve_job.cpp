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
#include "bilevel/core/number.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/core/threads.h"
#include "bilevel/report/page.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/job.h"
#include "bilevel/task/known_metrics.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int64_t kMostShown = 200;  // coordinates of x and y in the summary

/// "1,-2,0.5" as numbers.
std::vector<double> numbers_of(const std::string& text) {
  std::vector<double> numbers;
  for (const std::string& part : split_list(text)) {
    const Number number = read_number(part);
    if (number.kind != CellKind::number)
      throw InputError(fmt::format("start = {}: '{}' is not a finite number", text, part));
    numbers.push_back(number.value);
  }
  return numbers;
}

Json values_of(const torch::Tensor& variable) {
  if (variable.numel() > kMostShown) return nullptr;
  const torch::Tensor flat = variable.detach().flatten().contiguous();
  const auto* value = flat.data_ptr<double>();
  return std::vector<double>(value, value + flat.numel());
}

/// What is known about a point, by exact computation on all rows and without noise.
class Metrics {
 public:
  explicit Metrics(const KnownProblem& known)
      : known_(known),
        problem_(known.problem()),
        solution_(known.solution()),
        upper_batch_(problem_.upper.batches.all()),
        lower_batch_(problem_.lower.batches.all()) {}

  /// At the present x and y.
  Json at_present() const {
    const torch::NoGradGuard no_grad;
    const KnownMetrics known = known_metrics(known_, problem_.upper.project, solution_);
    Json metrics{{"distance", nullptr}, {"gradient_norm", known.gradient_norm}};
    if (known.distance) metrics["distance"] = *known.distance;
    metrics["upper"] = problem_.upper.loss(upper_batch_).item<double>();
    metrics["lower"] = problem_.lower.loss(lower_batch_).item<double>();
    if (known.projected_gradient_norm) metrics["projected_gradient_norm"] = *known.projected_gradient_norm;
    return metrics;
  }

  /// What `tolerance` speaks of.
  static double stationarity(const Json& metrics) {
    return metrics.value("projected_gradient_norm", metrics.at("gradient_norm").get<double>());
  }

 private:
  const KnownProblem& known_;
  Problem problem_;
  torch::Tensor solution_;
  Batch upper_batch_, lower_batch_;
};

/// What a person reads at the end.
std::string solution_text(const Json& summary) {
  const auto& metrics = summary.at("metrics");
  std::string out = fmt::format("{} on {}: {} steps in {} ({})\n", summary.at("solver").get<std::string>(),
                                summary.at("problem").get<std::string>(), summary.at("steps").get<int64_t>(),
                                duration_text(summary.at("seconds").get<double>()),
                                summary.at("stop_reason").get<std::string>());
  const auto line = [&](const char* what, const char* key) {
    out +=
        fmt::format("  {:<32} {}\n", what, metrics.at(key).is_null() ? "unknown" : text_of(metrics.at(key)));
  };
  line("distance to x* / sqrt(dim x)", "distance");
  line("norm of the true hypergradient", "gradient_norm");
  if (metrics.contains("projected_gradient_norm")) line("  projected", "projected_gradient_norm");
  line("upper objective f(x, y)", "upper");
  line("lower objective g(x, y)", "lower");
  for (const auto& warning : summary.at("warnings")) {
    out += fmt::format("warning: {}\n", warning.get<std::string>());
  }
  if (summary.at("out").is_string()) {
    out += fmt::format("trace: {0}/trace.jsonl, report: {0}/report.html\n",
                       summary.at("out").get<std::string>());
  }
  return out;
}

class SolveRun {
 public:
  SolveRun(SolveJobOptions options, std::string out, const JobCallbacks& callbacks, bool resume)
      : o_(std::move(options)), out_(std::move(out)), callbacks_(callbacks), resume_(resume) {}

  JobResult run() {
    fields_of(o_).validate();
    const ThreadCountScope threads(o_.threads);
    const SolverEntry& entry = solver_registry().at(o_.solver);
    const std::unique_ptr<Solver> solver = entry.make();
    for (const std::string& assignment : o_.set) fields_of(*solver).set_text(assignment);
    known_ = make_known_problem(o_.problem);
    fields_of(*known_).from_json(o_.problem_options);
    known_->build(o_.seed);
    set_start(*known_, numbers_of(o_.start));
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

  std::vector<std::string> input_files() const {
    std::vector<std::string> paths;
    const Fields fields = fields_of(*known_);
    for (const Field& field : fields.list()) {
      if (field.type != "text") continue;
      if (const auto value = field.get(); value.is_string()) paths.push_back(value);
    }
    return paths;
  }

  std::optional<FolderLock> open_folder() {
    if (out_.empty()) {
      first_row();
      return std::nullopt;
    }
    const Json files = fingerprints(input_files());
    std::optional<FolderLock> lock =
        resume_ ? continue_run_folder(out_, files)
                : new_run_folder(out_, "solve", {{"options", saved_options()}, {"files", files}});
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

  Json saved_options() {
    Json saved{{"problem", o_.problem}, {"problem_options", o_.problem_options}};
    saved.update(fields_of(o_).to_json());
    return saved;
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
    options.callback = [this](const TraceRow& row, Oracles&) { return after_step(row); };
    return options;
  }

  /// After every step; false ends the run.
  bool after_step(const TraceRow& row) {
    last_ = row;
    last_.seconds -= evaluation_seconds_;
    if (row.step % every_ == 0 || row.step == o_.steps) {
      evaluate();
      write_row();
      if (o_.tolerance && Metrics::stationarity(latest_) <= *o_.tolerance) {
        early_end_ = StopReason::converged;
        early_message_ = fmt::format("the true hypergradient's norm is {:.3g} at step {}",
                                     Metrics::stationarity(latest_), row.step);
      }
    }
    if (callbacks_.progress) {
      callbacks_.progress({.pass = "solving",
                           .step = row.step,
                           .steps = o_.steps,
                           .upper_loss = latest_.at("upper").get<double>()});
    }
    if (!early_end_ && o_.max_seconds && last_.seconds >= *o_.max_seconds && row.step < o_.steps) {
      early_end_ = StopReason::max_seconds;
      early_message_ = fmt::format("the time of {:g} s was over after step {}", *o_.max_seconds, row.step);
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
    latest_ = metrics_->at_present();
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
    row["samples"] = {{"upper", last_.oracle_calls.upper_samples},
                      {"lower", last_.oracle_calls.lower_samples}};
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

    std::vector<std::string> warnings = run.warnings;
    if (!outside_theory_.empty()) warnings.insert(warnings.begin(), outside_theory_);
    const OracleLedger& calls = run.oracle_calls;
    result.summary = {
        {"command", "solve"},
        {"problem", o_.problem},
        {"solver", o_.solver},
        {"seed", o_.seed},
        {"steps", run.steps},
        {"seconds", seconds},
        {"evaluation_seconds", evaluation_seconds_},
        {"stop_reason", to_string(result.reason)},
        {"metrics", latest_},
        {"x", values_of(known_->x())},
        {"y", values_of(known_->y())},
        {"x_rows", rows_of_x()},
        {"problem_options", fields_of(*known_).to_json()},
        {"noise", o_.noise},
        {"oracle_calls", calls.steps.to_json()},
        {"oracle_calls_apart",
         {{"warm_start", calls.warm_start.to_json()},
          {"automatic", calls.automatic.to_json()},
          {"evaluation", calls.evaluation.to_json()}}},
        {"samples", {{"upper", calls.steps.upper_samples}, {"lower", calls.steps.lower_samples}}},
        {"solver_options", run.options},
        {"chosen_step_sizes", run.chosen},
        {"within_theory", outside_theory_.empty()},
        {"warnings", warnings},
        {"peak_rss_bytes", peak_rss_bytes()},
        {"out", out_.empty() ? Json(nullptr) : Json(out_)}};
    if (result.finished) result.text = solution_text(result.summary);
    if (!out_.empty() && result.finished) {
      write_report(result);
      if (const std::string table = known_->table_of_x(); !table.empty())
        write_file_atomically(path("weights.tsv"), table);
      result.summary["peak_rss_bytes"] = peak_rss_bytes();
      write_file_atomically(path("summary.json"),
                            result.summary.dump(2) + "\n");  // last: the run is finished
    }
    return result;
  }

  /// The rows that the coordinates of "x" belong to, where it has such and they are shown.
  Json rows_of_x() const {
    const std::vector<int64_t> rows = known_->rows_of_x();
    return rows.empty() || static_cast<int64_t>(rows.size()) > kMostShown ? Json(nullptr) : Json(rows);
  }

  void write_report(const JobResult& result) const {
    const Trace trace = read_trace(path("trace.jsonl"));
    const auto series = [&](const char* metric, const char* label) {
      return series_from_trace(trace, "step", std::string("/metrics/") + metric, label);
    };
    std::vector<Figure> figures;
    const auto add = [&](const char* file, const LinePlot& plot) {
      figures.push_back({draw(plot), ""});
      if (!figures.back().plot.svg.empty()) write_file_atomically(path(file), figures.back().plot.svg);
    };
    if (result.summary.at("metrics").at("distance").is_number()) {
      add("distance.svg", {.title = "Distance to the solution",
                           .x_label = "step",
                           .y_label = "|x - x*| / sqrt(dim x)",
                           .series = {series("distance", o_.solver.c_str())},
                           .log_y = true});
    }
    const bool projected = result.summary.at("metrics").contains("projected_gradient_norm");
    add("gradient_norm.svg",
        {.title = projected ? "True hypergradient, projected" : "True hypergradient",
         .x_label = "step",
         .y_label = "norm",
         .series = {series(projected ? "projected_gradient_norm" : "gradient_norm", o_.solver.c_str())},
         .log_y = true});
    add("objectives.svg", {.title = "Objectives at (x, y)",
                           .x_label = "step",
                           .y_label = "value",
                           .series = {series("upper", "upper, f"), series("lower", "lower, g")}});

    Json shown = result.summary;
    for (const char* key : {"metrics", "x", "x_rows", "y", "oracle_calls", "oracle_calls_apart",
                            "solver_options", "problem_options", "warnings"}) {
      shown.erase(key);
    }
    for (const char* key : {"seconds", "evaluation_seconds"})
      shown[key] = duration_text(shown.at(key).get<double>());
    std::string body = "<section>\n" + table_of("Result", result.summary.at("metrics"));
    for (const auto& warning : result.summary.at("warnings")) {
      body += "<p class=\"note\">" + text_of(warning) + "</p>\n";
    }
    body += "</section>\n" + figures_section("Curves", figures);
    body += "<section>\n" + table_of("Run", shown) +
            table_of("Problem", result.summary.at("problem_options")) +
            table_of("Solver", result.summary.at("solver_options")) +
            table_of("Oracle calls of the steps", result.summary.at("oracle_calls")) + "</section>\n";
    write_file_atomically(path("report.html"),
                          html_page(fmt::format("{} on {}", o_.solver, o_.problem), body));
  }

  SolveJobOptions o_;
  std::string out_;
  const JobCallbacks& callbacks_;
  bool resume_;

  std::unique_ptr<KnownProblem> known_;
  std::optional<Metrics> metrics_;
  std::string outside_theory_;  // a warning, or empty
  std::optional<TraceWriter> trace_;
  int64_t trace_bytes_ = 0;
  int64_t every_ = 1;          // steps between two evaluations
  Json latest_;                // the latest metrics
  TraceRow last_;              // the latest step; its seconds are without evaluations
  int64_t written_step_ = -1;  // the last one in the trace
  double evaluation_seconds_ = 0;
  std::optional<StopReason> early_end_;
  std::string early_message_;
};

}  // namespace

void SolveJobOptions::fields(Fields& f) {
  f.heading("Run");
  f.text("solver", solver, "see 'bilevel list solvers'").as("NAME");
  f.integer("steps", steps, kAtLeastOne, "steps of the solver, its warm start not counted").as("N");
  f.texts("set", set, "an option of the solver; may be repeated; see 'bilevel list options SOLVER'")
      .as("KEY=VALUE");
  f.number("noise", noise, kNonNegative,
           "standard deviation, per coordinate, of the noise in every gradient; 0: all oracles are exact")
      .as("S");
  f.text("start", start, "where x starts: one value for all coordinates, or one for each")
      .as("V,...")
      .or_else("by problem");
  f.integer("seed", seed, kNonNegative, "seed of all randomness").as("N");
  f.number("tolerance", tolerance, kPositive,
           "stop when the true hypergradient's norm (projected, where x is constrained) is at most this")
      .as("T");
  f.number("max_seconds", max_seconds, kPositive, "stop after this time, evaluations not counted").as("S");
  f.integer("threads", threads, kAtLeastOne, "threads of the numerical library").as("N");
}

JobResult run_solve_job(const SolveJobOptions& options, const std::string& out,
                        const JobCallbacks& callbacks) {
  return SolveRun(options, out, callbacks, false).run();
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
    SolveJobOptions options;
    nlohmann::json fields = saved.at("options");
    options.problem = fields.at("problem");
    options.problem_options = fields.at("problem_options");
    fields.erase("problem");
    fields.erase("problem_options");
    fields_of(options).from_json(fields);
    return SolveRun(options, out, callbacks, true).run();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", (fs::path(out) / "options.json").string(), error.what()));
  }
}

}  // namespace bilevel
