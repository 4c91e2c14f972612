#include "bilevel/task/job/passes.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/core/tensor_json.h"

namespace bilevel {
namespace {

constexpr int64_t kTraceRows = 2000;  // of a pass, about

torch::Tensor flat_copy(const std::vector<torch::Tensor>& parameters) {
  std::vector<torch::Tensor> parts;
  for (const torch::Tensor& t : parameters) parts.push_back(t.detach().reshape({-1}));
  return torch::cat(parts).to(torch::kCPU, parts[0].scalar_type(), false, /*copy=*/true);
}

void add(OracleLedger& sum, const OracleLedger& more) {
  sum.steps += more.steps;
  sum.warm_start += more.warm_start;
  sum.automatic += more.automatic;
  sum.evaluation += more.evaluation;
}

void tensor_or_empty(State& state, const std::string& name, torch::Tensor& tensor) {
  if (!tensor.defined()) tensor = torch::empty({0});
  state.tensor(name, tensor);
}

double share_of(int64_t step, int64_t steps) {
  return static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, steps));
}

std::string shown_name(const PassPlan& plan) { return plan.shown.empty() ? plan.name : plan.shown; }

}  // namespace

bool StepRule::consider(const Evaluation& evaluation) {
  const torch::Tensor of_unit = torch::tensor(evaluation.of_unit, torch::kFloat64);
  if (evaluation.score > best_score) {
    best_score = evaluation.score;
    best_error = std::isfinite(evaluation.standard_error) ? evaluation.standard_error : 0;
    best_of_unit = of_unit;
  }
  double error = best_error;
  if (const int64_t units = of_unit.numel(); units > 1 && std::isfinite(best_score))
    error = (of_unit - best_of_unit).std().item<double>() / std::sqrt(static_cast<double>(units));
  return evaluation.score >= best_score - error;
}

void StepRule::state(State& state) {
  state.value("best_score", best_score);
  state.value("best_error", best_error);
  tensor_or_empty(state, "best_of_unit", best_of_unit);
}

Passes::Passes(PassFiles files) : files_(std::move(files)), resuming_(files_.resume) {
  if (resuming_) {
    const auto [tensors, metadata] = load_safetensors(files_.checkpoint.string());
    const auto found = metadata.find("phase");
    if (found == metadata.end())
      throw FileError(files_.checkpoint.string() + ": is not a checkpoint of this job");
    State state(tensors);
    state.scope("task", [&](State& inner) { task_state(inner); });
    current_.name = found->second;
    total_ = earlier_;
  }
}

const PassOutcome* Passes::finished(const std::string& name) const {
  const auto found = finished_.find(name);
  return found == finished_.end() ? nullptr : &found->second;
}

const PassOutcome* Passes::run(const PassPlan& plan, const Problem& problem, Solver& solver,
                               const std::function<Evaluation()>& evaluate) {
  if (const PassOutcome* outcome = finished(plan.name)) {
    if (files_.phases) files_.phases->skip(1);
    return outcome;
  }
  if (resuming_ && current_.name != plan.name) {
    throw FileError(fmt::format("{}: was written in the pass '{}', but this run is in '{}'",
                                files_.checkpoint.string(), current_.name, plan.name));
  }
  if (!resuming_) current_ = {.name = plan.name};
  if (!trace_ && !files_.trace.empty()) open_trace();

  RunOptions options;
  options.max_steps = plan.steps;
  options.schedule_steps = plan.schedule_steps;
  options.max_seconds = plan.max_seconds;
  options.seed = plan.seed;
  options.interrupt = files_.interrupt;
  options.trace_every = std::numeric_limits<int64_t>::max();
  options.checkpoint = files_.checkpoint;
  options.resume = resumed_ = std::exchange(resuming_, false);
  options.checkpoint_metadata = {{"phase", plan.name}};
  options.task_state = [&](State& state) { task_state(state); };
  const int64_t every_row = std::max<int64_t>(1, plan.steps / kTraceRows);
  const int64_t every_evaluation = std::max<int64_t>(1, plan.steps / std::max<int64_t>(1, plan.evaluations));
  int64_t evaluated = 0;
  Pace pace;
  options.callback = [&](const MadeStep& made, Oracles& oracles) {
    const bool last = made.step == plan.steps;
    std::optional<Evaluation> evaluation;
    if (evaluate && (last || made.step % every_evaluation == 0)) {
      const auto purpose = oracles.counting(Purpose::evaluation);
      evaluation = evaluate();
      take(*evaluation, made.step, problem);
      evaluated = made.step;
    }
    if (trace_ && (evaluation || last || made.step % every_row == 0)) write(made.row(), evaluation);
    if (files_.phases && files_.phases->watched()) advance(plan, made, last || pace.due(made));
    return true;
  };

  const Result result = bilevel::run(problem, solver, options);
  count(plan, result);
  if (trace_) trace_->flush();
  const bool usable = result.reason == StopReason::max_steps || result.reason == StopReason::max_seconds ||
                      result.reason == StopReason::converged;
  if (!usable) return nullptr;
  // The time may end between two evaluations; the last step counts too.
  if (evaluate && evaluated < result.steps && result.steps < plan.steps)
    take(evaluate(), result.steps, problem);
  if (current_.chosen_step == 0) snapshot(result.steps, std::nan(""), problem);  // nothing chose a step
  earlier_ = total_;
  return &(finished_[plan.name] = {.reason = result.reason,
                                   .steps = result.steps,
                                   .chosen_step = current_.chosen_step,
                                   .score = current_.score,
                                   .upper = current_.upper,
                                   .lower = current_.lower});
}

std::string Passes::interruption(const PassPlan& plan, int64_t step) const {
  const std::string of_pass =
      finished_.empty() ? "" : fmt::format(" of '{}', {} steps in all", shown_name(plan), total_.steps);
  return fmt::format("interrupted {}{}",
                     step > 0 ? fmt::format("after step {}", step) : "before the first step", of_pass);
}

void Passes::count(const PassPlan& plan, const Result& result) {
  reason_ = result.reason;
  message_ = result.message;
  total_ = earlier_;
  total_.steps += result.steps;
  total_.seconds += result.seconds;
  add(total_.calls, result.oracle_calls);
  solver_options_ = result.options;
  chosen_ = result.chosen;
  warn(result.warnings);
  if (reason_ == StopReason::interrupted) message_ = interruption(plan, result.steps);
}

void Passes::warn(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) {
    if (std::find(warnings_.begin(), warnings_.end(), warning) == warnings_.end())
      warnings_.push_back(warning);
  }
}

nlohmann::ordered_json Passes::to_json() {
  State state;
  record(state, total_);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (trace_) rows = read_trace(files_.trace.string()).rows;
  return {{"state", tensors_json(state.tensors())},
          {"reason", name_of(reason_)},
          {"message", message_},
          {"solver_options", solver_options_},
          {"chosen", chosen_},
          {"warnings", warnings_},
          {"trace", rows}};
}

const PassOutcome* Passes::adopt(const std::string& name, const nlohmann::ordered_json& passes) {
  Total more;
  State state(tensors_from(passes.at("state")));
  record(state, more);
  if (!trace_ && !files_.trace.empty()) open_trace();
  for (nlohmann::ordered_json row : passes.at("trace")) {
    row["seconds"] = total_.seconds + row.at("seconds").get<double>();
    if (trace_) trace_->append(row);
  }
  if (trace_) trace_->flush();
  total_.steps += more.steps;
  total_.seconds += more.seconds;
  add(total_.calls, more.calls);
  earlier_ = total_;
  reason_ = value_named<StopReason>(passes.at("reason"), "reason");
  message_ = passes.at("message");
  solver_options_ = passes.at("solver_options");
  chosen_ = passes.at("chosen");
  warn(passes.at("warnings"));
  return finished(name);
}

void Passes::advance(const PassPlan& plan, const MadeStep& made, bool read_loss) {
  if (std::exchange(resumed_, false)) files_.phases->skip(share_of(made.step - 1, plan.steps));
  if (read_loss) shown_loss_ = made.upper_loss();
  const double best = current_.rule.best_score;
  files_.phases->advance(std::max(share_of(made.step, plan.steps), made.seconds / plan.max_seconds),
                         {.phase = shown_name(plan),
                          .step = made.step,
                          .steps = plan.steps,
                          .upper_loss = shown_loss_,
                          .best = std::isfinite(best) ? best : std::nan("")});
}

void Passes::take(const Evaluation& evaluation, int64_t step, const Problem& problem) {
  if (current_.rule.consider(evaluation)) snapshot(step, evaluation.score, problem);
}

void Passes::snapshot(int64_t step, double score, const Problem& problem) {
  current_.chosen_step = step;
  current_.score = score;
  current_.upper = flat_copy(problem.upper.parameters);
  current_.lower = flat_copy(problem.lower.parameters);
}

void Passes::open_trace() {
  if (files_.resume)
    trace_.emplace(files_.trace.string(), trace_bytes_);
  else
    trace_.emplace(files_.trace.string());
}

void Passes::write(const TraceRow& row, const std::optional<Evaluation>& evaluation) {
  nlohmann::ordered_json line{{"phase", current_.name},
                              {"step", row.step},
                              {"seconds", earlier_.seconds + row.seconds},
                              {"upper_loss", row.upper_loss},
                              {"hypergradient_norm", row.hypergradient_norm},
                              {"linear_residual", row.linear_residual},
                              {"oracle_calls", row.oracle_calls.to_json()},
                              {"samples", row.oracle_calls.samples()}};
  if (evaluation && evaluation->fields.is_object()) line.update(evaluation->fields);
  trace_->append(line);
}

void Passes::record(State& state, Total& total) {
  state.scope("finished", [&](State& all) {
    for (const std::string& name : all.names(finished_)) {
      all.scope(name, [&](State& inner) {
        PassOutcome& outcome = finished_[name];
        auto reason = static_cast<int64_t>(outcome.reason);
        inner.value("reason", reason);
        outcome.reason = static_cast<StopReason>(reason);
        inner.value("steps", outcome.steps);
        inner.value("chosen_step", outcome.chosen_step);
        inner.value("score", outcome.score);
        tensor_or_empty(inner, "upper", outcome.upper);
        tensor_or_empty(inner, "lower", outcome.lower);
      });
    }
  });
  state.value("earlier_steps", total.steps);
  state.value("earlier_seconds", total.seconds);
  state.part("earlier_calls", total.calls);
}

/// The job's part of the checkpoint.
void Passes::task_state(State& state) {
  record(state, earlier_);
  state.scope("current", [&](State& inner) {
    current_.rule.state(inner);
    inner.value("chosen_step", current_.chosen_step);
    inner.value("score", current_.score);
    tensor_or_empty(inner, "upper", current_.upper);
    tensor_or_empty(inner, "lower", current_.lower);
  });
  if (!state.loading()) trace_bytes_ = trace_ ? trace_->flush() : 0;
  state.value("trace_bytes", trace_bytes_);
  double run_seconds = files_.clock ? files_.clock->seconds() : 0;
  state.value("run_seconds", run_seconds);
  if (state.loading() && files_.clock) files_.clock->at_least(run_seconds);
}

void set_from_flat(const std::vector<torch::Tensor>& parameters, const torch::Tensor& flat) {
  const torch::NoGradGuard no_grad;
  int64_t offset = 0;
  for (const torch::Tensor& t : parameters) {
    t.copy_(flat.narrow(0, offset, t.numel()).view(t.sizes()));
    offset += t.numel();
  }
}

}  // namespace bilevel
