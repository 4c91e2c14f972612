#include "bilevel/solver/run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "bilevel/core/flat.h"
#include "bilevel/core/safetensors.h"

namespace bilevel {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check(const RunOptions& options) {
  const auto refuse = [](const char* field, double value, const char* rule) {
    throw InputError(fmt::format("{} = {:g}: {}", field, value, rule));
  };
  if (options.max_steps < 0) refuse("max_steps", static_cast<double>(options.max_steps), "must be >= 0");
  if (!(options.max_seconds > 0)) refuse("max_seconds", options.max_seconds, "must be > 0");
  if (!(options.hypergradient_tolerance >= 0)) {
    refuse("hypergradient_tolerance", options.hypergradient_tolerance, "must be >= 0");
  }
  if (options.trace_every < 1)
    refuse("trace_every", static_cast<double>(options.trace_every), "must be >= 1");
  if (options.schedule_steps < 0)
    refuse("schedule_steps", static_cast<double>(options.schedule_steps), "must be >= 0");
  if (!(options.checkpoint_seconds >= 0)) {
    refuse("checkpoint_seconds", options.checkpoint_seconds, "must be >= 0");
  }
  if (options.resume && options.checkpoint.empty()) throw InputError("resume needs the path of a checkpoint");
}

}  // namespace

/// A run in progress: what the checkpoint holds.
class SteppedRun::Progress {
 public:
  Progress(const Problem& problem, Solver& solver, const RunOptions& options)
      : solver_(solver), options_(options), oracles_(problem, options.seed) {
    result_.solver = solver_.name();
    result_.options = fields_of(solver_).to_json();
    if (options_.resume) {
      load();
    } else {
      begin();
    }
    result_.chosen = solver_.chosen();
    last_checkpoint_ = Clock::now();
  }

  bool advance() {
    if (stopped()) return false;
    step();
    return true;
  }

  Result finish() {
    if (!stopped()) stop_by_caller();
    if (result_.reason != StopReason::nonfinite && result_.reason != StopReason::linear_solve_failed) save();
    result_.steps = step_;
    result_.seconds = seconds();
    if (result_.reason != StopReason::nonfinite) result_.end = objectives();
    result_.oracle_calls = oracles_.ledger();
    return std::move(result_);
  }

 private:
  double seconds() const { return earlier_seconds_ + seconds_since(start_); }

  void begin() {
    result_.warnings = oracles_.probe(options_.unused_parameters);
    result_.start = objectives();
    solver_.start(oracles_, options_.schedule_steps > 0 ? options_.schedule_steps : options_.max_steps);
    {
      const auto purpose = oracles_.counting(Purpose::warm_start);
      solver_.warm_start(oracles_);
    }
    save();
  }

  /// On a sample that follows from the seed alone, or on the first batches of an iterator.
  Objectives objectives() {
    const auto sample = [&](const std::string& name, const Level& level, std::optional<Sample>& kept) {
      if (kept) return *kept;
      at::Generator generator =
          at::make_generator<at::CPUGeneratorImpl>(derive_seed(options_.seed, name + ".objectives"));
      Sample one{Sampler(level.batches, generator).next().to(oracles_.x().flat().device()), 0};
      if (!level.batches.draws_again()) kept = one;
      return one;
    };
    const Problem& problem = oracles_.problem();
    const auto [upper, lower] = oracles_.losses(sample("upper", problem.upper, kept_upper_),
                                                sample("lower", problem.lower, kept_lower_));
    return {upper, lower};
  }

  bool stop(StopReason reason, std::string message) {
    result_.reason = reason;
    result_.message = std::move(message);
    return stopped_ = true;
  }

  void stop_by_caller() {
    stop(StopReason::stopped_by_callback, fmt::format("stopped by the caller after step {}", step_));
  }

  /// The reasons that hold between two steps.
  bool stopped() {
    if (stopped_) return true;
    if (step_ >= options_.max_steps)
      return stop(StopReason::max_steps, fmt::format("all {} steps are done", step_));
    if (options_.interrupt != nullptr && options_.interrupt->load()) {
      return stop(StopReason::interrupted, step_ > 0 ? fmt::format("interrupted after step {}", step_)
                                                     : "interrupted before the first step");
    }
    if (seconds() >= options_.max_seconds) {
      return stop(StopReason::max_seconds,
                  fmt::format("the time of {:g} s was over after step {}", options_.max_seconds, step_));
    }
    return false;
  }

  void step() {
    const StepReport report = solver_.step(oracles_);
    ++step_;
    if (!report.failure.empty()) {
      if (report.upper_loss.defined() && !std::isfinite(report.upper_loss.item<double>())) {  // the cause
        stop(StopReason::nonfinite, fmt::format("the upper loss is not finite at step {}", step_));
      } else {
        stop(StopReason::linear_solve_failed, fmt::format("step {}: {}", step_, report.failure));
      }
      return;
    }
    MadeStep made(step_, seconds(), report, oracles_.ledger().steps);
    if (!finite(report, made)) return;
    made.seconds = seconds();  // after what was read of a device
    if (options_.hypergradient_tolerance > 0) {
      const double norm = made.hypergradient_norm();
      if (norm <= options_.hypergradient_tolerance) {
        stop(StopReason::converged,
             fmt::format("the hypergradient's norm fell to {:.3g} at step {}", norm, step_));
      }
    }
    const bool go_on = !options_.callback || options_.callback(made, oracles_);
    if (!go_on && !stopped_) stop_by_caller();
    if (step_ % options_.trace_every == 0 || stopped()) result_.trace.push_back(made.row());
    if (!stopped_ && seconds_since(last_checkpoint_) >= options_.checkpoint_seconds) {
      save();
      last_checkpoint_ = Clock::now();
    }
  }

  /// Whether the step's numbers and both iterates are finite; otherwise stops and says what is not.
  bool finite(const StepReport& report, MadeStep& made) {
    const torch::Tensor &x = oracles_.x().flat(), &y = oracles_.y().flat();
    const SeenLosses lower = oracles_.lower().take_seen(), upper = oracles_.upper().take_seen();
    const bool here = std::isfinite(lower.here) && std::isfinite(upper.here);
    if (x.is_cpu()) {
      if (here && all_finite({report.upper_loss, report.hypergradient, report.linear_residual, x, y}))
        return true;
    } else if (made.read_with(zero_if_finite(
                   {x, y, report.hypergradient, report.linear_residual, lower.there, upper.there})) &&
               here) {
      return true;
    }
    const char* loss =
        std::isfinite(upper.here) && all_finite({upper.there}) ? "the lower loss" : "the upper loss";
    const char* what = !all_finite({report.upper_loss})        ? "the upper loss"
                       : !all_finite({report.hypergradient})   ? "the hypergradient"
                       : !all_finite({report.linear_residual}) ? "the residual of the linear system"
                       : !all_finite({x})                      ? "the upper variable"
                       : !all_finite({y})                      ? "the lower variable"
                                                               : loss;
    stop(StopReason::nonfinite, fmt::format("{} is not finite at step {}", what, step_));
    result_.trace.push_back(made.row());
    return false;
  }

  void state(State& state) {
    oracles_.state(state);
    state.part("solver", solver_);
    state.value("step", step_);
    state.value("upper_at_start", result_.start.upper);
    state.value("lower_at_start", result_.start.lower);
    double elapsed = seconds();
    state.value("seconds", elapsed);
    if (state.loading()) earlier_seconds_ = elapsed;
    if (options_.task_state) state.scope("task", [&](State& inner) { options_.task_state(inner); });
  }

  void save() {
    if (options_.checkpoint.empty()) return;
    State saved;
    state(saved);
    std::map<std::string, std::string> metadata = options_.checkpoint_metadata;
    metadata["solver"] = solver_.name();
    metadata["options"] = result_.options.dump();
    metadata["device"] = oracles_.x().flat().device().str();
    metadata["threads"] = std::to_string(at::get_num_threads());
    save_safetensors(options_.checkpoint.string(), saved.tensors(), metadata);
  }

  void load() {
    const auto [tensors, metadata] = load_safetensors(options_.checkpoint.string());
    const auto expect = [&, &found = metadata](const std::string& key, const std::string& value) {
      const auto it = found.find(key);
      if (it == found.end() || it->second != value) {
        throw FileError(fmt::format("{}: cannot be continued exactly: its {} is {}, this run's is {}",
                                    options_.checkpoint.string(), key,
                                    it == found.end() ? "not known" : it->second, value));
      }
    };
    expect("solver", solver_.name());
    expect("options", result_.options.dump());
    expect("device", oracles_.x().flat().device().str());
    expect("threads", std::to_string(at::get_num_threads()));
    result_.warnings = oracles_.probe(options_.unused_parameters);
    solver_.start(oracles_, options_.schedule_steps > 0 ? options_.schedule_steps : options_.max_steps);
    State saved(tensors);
    state(saved);
    start_ = Clock::now();
  }

  Solver& solver_;
  const RunOptions options_;
  Oracles oracles_;
  Result result_;
  std::optional<Sample> kept_upper_, kept_lower_;  // of data that cannot be drawn again
  int64_t step_ = 0;
  bool stopped_ = false;
  double earlier_seconds_ = 0;
  Clock::time_point start_ = Clock::now(), last_checkpoint_ = start_;
};

bool MadeStep::read_with(const torch::Tensor& others) {
  const auto norm = [](const torch::Tensor& t) { return t.defined() ? t.norm() : t; };
  const std::vector<double> found =
      numbers_of({others, report_.upper_loss, norm(report_.hypergradient), norm(report_.linear_residual)});
  read_ = {.upper_loss = found[1], .hypergradient_norm = found[2], .linear_residual = found[3]};
  return found[0] == 0 && std::isfinite(found[1]);
}

double MadeStep::hypergradient_norm() const {
  if (read_) return read_->hypergradient_norm;
  return report_.hypergradient.defined() ? report_.hypergradient.norm().item<double>() : 0;
}

TraceRow MadeStep::row() const {
  const torch::Tensor& residual = report_.linear_residual;
  return {.step = step,
          .seconds = seconds,
          .upper_loss = upper_loss(),
          .hypergradient_norm = hypergradient_norm(),
          .linear_residual = read_                ? read_->linear_residual
                             : residual.defined() ? residual.norm().item<double>()
                                                  : 0,
          .oracle_calls = calls_};
}

bool Result::usable() const {
  return reason != StopReason::nonfinite && reason != StopReason::linear_solve_failed &&
         std::isfinite(end.upper) && std::isfinite(end.lower);
}

nlohmann::ordered_json Result::json() const {
  const auto of = [](const Objectives& o) {
    return nlohmann::ordered_json{{"upper", o.upper}, {"lower", o.lower}};
  };
  return {{"solver", solver},
          {"stop_reason", name_of(reason)},
          {"message", message},
          {"usable", usable()},
          {"steps", steps},
          {"seconds", seconds},
          {"start", of(start)},
          {"end", of(end)},
          {"oracle_calls", oracle_calls.to_json()},
          {"options", options},
          {"chosen", chosen},
          {"warnings", warnings}};
}

std::string Result::brief() const {
  const std::string loss = trace.empty() ? "" : fmt::format(", upper loss {:.6g}", trace.back().upper_loss);
  return fmt::format("{}: {} steps in {:.1f} s{} ({})", solver, steps, seconds, loss, name_of(reason));
}

SteppedRun::SteppedRun(const Problem& problem, Solver& solver, const RunOptions& options) {
  check(options);
  progress_ = std::make_unique<Progress>(problem, solver, options);
}
SteppedRun::~SteppedRun() = default;
bool SteppedRun::step() { return progress_->advance(); }
Result SteppedRun::finish() { return progress_->finish(); }

Result run(const Problem& problem, Solver& solver, const RunOptions& options) {
  SteppedRun one(problem, solver, options);
  while (one.step()) {
  }
  return one.finish();
}

}  // namespace bilevel
