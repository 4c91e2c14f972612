#include "bilevel/task/auc/auc_training.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "bilevel/core/safetensors.h"
#include "bilevel/report/metrics.h"
#include "bilevel/report/trace.h"

namespace bilevel {
namespace {

enum class Phase : int64_t { select = 0, refit = 1 };

/// What the first pass chose so far.
struct Choice {
  StepRule rule;
  int64_t step = 0;
  torch::Tensor upper, lower;  // x and y at the chosen step

  void state(State& state) {
    rule.state(state);
    state.value("step", step);
    for (torch::Tensor* t : {&upper, &lower}) {
      if (!t->defined()) *t = torch::empty({0});
    }
    state.tensor("upper", upper);
    state.tensor("lower", lower);
  }
};

class AucTraining {
 public:
  AucTraining(const AucParts& parts,
              const std::function<FittedInputs(const std::vector<int64_t>&)>& fit_inputs,
              const std::function<std::unique_ptr<Solver>()>& make_solver, const AucTrainingOptions& options,
              const std::function<void(const AucProgress&)>& progress)
      : parts_(parts),
        fit_inputs_(fit_inputs),
        make_solver_(make_solver),
        options_(options),
        progress_(progress) {
    refit_ = options.refit && !options.papers;
    pool_ = parts.train;
    pool_.insert(pool_.end(), parts.valid.begin(), parts.valid.end());
    std::sort(pool_.begin(), pool_.end());
    positive_share_ = positive_share(parts);
  }

  AucOutcome execute() {
    if (options_.resume) read_checkpoint();
    if (!options_.trace.empty()) {
      if (options_.resume)
        trace_.emplace(options_.trace.string(), trace_bytes_);
      else
        trace_.emplace(options_.trace.string());
    }
    if (phase_ == Phase::select && !pass(Phase::select)) return std::move(outcome_);
    finish_selection();
    if (refit_) {
      if (phase_ == Phase::select) options_.resume = false;  // the second pass starts now
      phase_ = Phase::refit;
      if (!pass(Phase::refit)) return std::move(outcome_);
    }
    outcome_.best_step = choice_.step;
    return std::move(outcome_);
  }

 private:
  /// One pass; false when it did not end as planned and there is no model.
  bool pass(Phase phase) {
    const bool select = phase == Phase::select;
    outcome_.model.reset();  // an unfinished pass leaves no model, not that of the pass before
    outcome_.features = fit_inputs_(select ? parts_.train : pool_);
    AucData data{.inputs = outcome_.features.inputs, .labels = parts_.labels, .upper = {}, .lower = {}};
    data.upper = !select ? pool_ : options_.papers ? parts_.valid : parts_.train;
    data.lower = select ? parts_.train : pool_;
    const uint64_t seed = select ? options_.seed : derive_seed(options_.seed, "refit");
    auto model = std::make_unique<AucModel>(options_.network, outcome_.features.shape,
                                            AucLoss{options_.loss, positive_share_, options_.margin},
                                            options_.l2, seed, options_.device);
    const std::unique_ptr<Solver> solver = make_solver_();
    const int64_t steps = select ? options_.steps : choice_.step;
    const int64_t every = std::max<int64_t>(1, steps / 2000);

    RunOptions run_options;
    run_options.max_steps = steps;
    run_options.schedule_steps = options_.steps;
    // The second pass does at most as many steps as the first did.
    const double available =
        refit_ && select ? options_.max_seconds / 2 : options_.max_seconds - earlier_seconds_;
    run_options.max_seconds = std::max(available, 1e-3);
    run_options.seed = seed;
    run_options.interrupt = options_.interrupt;
    run_options.trace_every = std::numeric_limits<int64_t>::max();
    run_options.checkpoint = options_.checkpoint;
    run_options.resume = options_.resume;
    run_options.checkpoint_metadata = {{"phase", select ? "select" : "refit"}};
    run_options.task_state = [&](State& state) { task_state(state); };
    run_options.callback = [&](const TraceRow& row, Oracles& oracles) {
      const bool last = row.step == steps;
      std::optional<AucEstimate> valid;
      if (select && (last || row.step % std::max<int64_t>(1, steps / options_.evaluations) == 0)) {
        valid = evaluate(*model, oracles, row.step);
      }
      if (trace_ && (valid || last || row.step % every == 0)) write(phase, row, valid);
      if (progress_) {
        progress_({.refit = !select,
                   .step = row.step,
                   .steps = steps,
                   .upper_loss = row.upper_loss,
                   .valid_auc = choice_.rule.best_auc,
                   .seconds = earlier_seconds_ + row.seconds});
      }
      return true;
    };

    Result result = run(model->problem(data, options_.batch_size), *solver, run_options);
    outcome_.reason = result.reason;
    outcome_.message = result.message;
    outcome_.steps += result.steps;
    outcome_.seconds = earlier_seconds_ + result.seconds;
    add(outcome_.oracle_calls, result.oracle_calls);
    outcome_.solver_options = result.options;
    outcome_.chosen = result.chosen;
    for (std::string& warning : result.warnings) outcome_.warnings.push_back(std::move(warning));
    if (trace_) trace_->flush();

    const bool usable = result.reason == StopReason::max_steps || result.reason == StopReason::max_seconds ||
                        result.reason == StopReason::converged;
    if (!usable) return false;
    if (select && choice_.step < result.steps && result.reason == StopReason::max_seconds) {
      // The time ended between two evaluations: the last step counts too.
      last_evaluation(*model, result.steps);
    }
    outcome_.model = std::move(model);
    if (select) {
      earlier_seconds_ = outcome_.seconds;
      earlier_steps_ = outcome_.steps;
      earlier_calls_ = outcome_.oracle_calls;
      select_reason_ = result.reason;
    } else if (select_reason_ == StopReason::max_seconds && result.reason == StopReason::max_steps) {
      outcome_.reason = select_reason_;
      outcome_.message = "the time was over in the first pass";
    }
    return true;
  }

  std::optional<AucEstimate> evaluate(const AucModel& model, Oracles& oracles, int64_t step) {
    const auto purpose = oracles.counting(Purpose::evaluation);
    const AucEstimate estimate = measure(model);
    consider(estimate, step, oracles.x().flat(), oracles.y().flat());
    return estimate;
  }

  AucEstimate measure(const AucModel& model) const {
    return auc_estimate(
        ScoredRows(model.scores(outcome_.features.inputs, parts_.valid), labels_of(parts_.valid)));
  }

  void consider(const AucEstimate& estimate, int64_t step, const torch::Tensor& upper,
                const torch::Tensor& lower) {
    if (!choice_.rule.consider(estimate)) return;
    choice_.step = step;
    choice_.upper = upper.detach().to(torch::kCPU, upper.scalar_type(), false, /*copy=*/true);
    choice_.lower = lower.detach().to(torch::kCPU, lower.scalar_type(), false, /*copy=*/true);
  }

  void last_evaluation(const AucModel& model, int64_t step) {
    std::vector<torch::Tensor> parts;
    for (const torch::Tensor& t : model.upper_parameters()) parts.push_back(t.detach().reshape({-1}));
    consider(measure(model), step, torch::cat(parts), model.alpha().detach());
  }

  /// After the first pass: the model at the chosen step and its validation scores.
  void finish_selection() {
    if (phase_ == Phase::refit) {  // resumed in the second pass: made in the first
      return;
    }
    set_flat(*outcome_.model);
    valid_scores_ = outcome_.model->scores(outcome_.features.inputs, parts_.valid);
    valid_loss_ = outcome_.model->loss(valid_scores_, labels_of(parts_.valid));
    publish();
  }

  void publish() {
    outcome_.valid_scores = valid_scores_;
    outcome_.valid_loss = valid_loss_;
    outcome_.best_step = choice_.step;
  }

  void set_flat(AucModel& model) const {
    const torch::NoGradGuard no_grad;
    int64_t offset = 0;
    for (torch::Tensor& t : model.upper_parameters()) {
      t.copy_(choice_.upper.narrow(0, offset, t.numel()).view(t.sizes()));
      offset += t.numel();
    }
    model.alpha().copy_(choice_.lower);
  }

  torch::Tensor labels_of(const std::vector<int64_t>& rows) const {
    return parts_.labels.index_select(0, torch::tensor(rows, torch::kInt64));
  }

  static void add(OracleLedger& sum, const OracleLedger& more) {
    sum.steps += more.steps;
    sum.warm_start += more.warm_start;
    sum.automatic += more.automatic;
    sum.evaluation += more.evaluation;
  }

  void write(Phase phase, const TraceRow& row, const std::optional<AucEstimate>& valid) {
    nlohmann::ordered_json line{
        {"phase", phase == Phase::select ? "select" : "refit"},
        {"step", row.step},
        {"seconds", earlier_seconds_ + row.seconds},
        {"upper_loss", row.upper_loss},
        {"hypergradient_norm", row.hypergradient_norm},
        {"linear_residual", row.linear_residual},
        {"oracle_calls", row.oracle_calls.to_json()},
        {"samples", {{"upper", row.oracle_calls.upper_samples}, {"lower", row.oracle_calls.lower_samples}}}};
    if (valid) {
      line["valid_auc"] = valid->auc;
      line["valid_standard_error"] = valid->standard_error;
    }
    trace_->append(line);
  }

  /// The job's part of the checkpoint.
  void task_state(State& state) {
    choice_.state(state);
    if (!valid_scores_.defined()) valid_scores_ = torch::empty({0});
    state.tensor("valid_scores", valid_scores_);
    state.value("valid_loss", valid_loss_);
    state.value("earlier_seconds", earlier_seconds_);
    state.value("earlier_steps", earlier_steps_);
    state.scope("earlier_calls", [&](State& inner) { earlier_calls_.state(inner); });
    auto reason = static_cast<int64_t>(select_reason_);
    state.value("select_reason", reason);
    select_reason_ = static_cast<StopReason>(reason);
    if (!state.loading()) trace_bytes_ = trace_ ? trace_->flush() : 0;
    state.value("trace_bytes", trace_bytes_);
    auto phase = static_cast<int64_t>(phase_);
    state.value("phase", phase);
  }

  /// Restores the job's part before the run restores its own.
  void read_checkpoint() {
    const auto [tensors, metadata] = load_safetensors(options_.checkpoint.string());
    const auto found = metadata.find("phase");
    if (found == metadata.end())
      throw FileError(options_.checkpoint.string() + ": is not a checkpoint of this job");
    phase_ = found->second == "refit" ? Phase::refit : Phase::select;
    State state(tensors);
    state.scope("task", [&](State& inner) { task_state(inner); });
    if (phase_ == Phase::refit) {
      outcome_.steps = earlier_steps_;
      outcome_.oracle_calls = earlier_calls_;
      publish();
    }
  }

  const AucParts& parts_;
  const std::function<FittedInputs(const std::vector<int64_t>&)>& fit_inputs_;
  const std::function<std::unique_ptr<Solver>()>& make_solver_;
  AucTrainingOptions options_;
  const std::function<void(const AucProgress&)>& progress_;

  bool refit_ = true;
  std::vector<int64_t> pool_;  // train and valid
  double positive_share_ = 0;
  Phase phase_ = Phase::select;
  Choice choice_;
  torch::Tensor valid_scores_;
  double valid_loss_ = 0;
  double earlier_seconds_ = 0;
  int64_t earlier_steps_ = 0;
  OracleLedger earlier_calls_;
  StopReason select_reason_ = StopReason::max_steps;
  std::optional<TraceWriter> trace_;
  int64_t trace_bytes_ = 0;
  AucOutcome outcome_;
};

}  // namespace

bool StepRule::consider(const AucEstimate& estimate) {
  if (estimate.auc > best_auc) {
    best_auc = estimate.auc;
    best_error = std::isfinite(estimate.standard_error) ? estimate.standard_error : 0;
  }
  return estimate.auc >= best_auc - best_error;
}

void StepRule::state(State& state) {
  state.value("best_auc", best_auc);
  state.value("best_error", best_error);
}

double positive_share(const AucParts& parts) {
  double positives = 0;
  const auto* label = parts.labels.data_ptr<float>();
  for (const auto* rows : {&parts.train, &parts.valid}) {
    for (const int64_t row : *rows) positives += label[row];
  }
  return positives / static_cast<double>(parts.train.size() + parts.valid.size());
}

AucOutcome train_auc(const AucParts& parts,
                     const std::function<FittedInputs(const std::vector<int64_t>&)>& fit_inputs,
                     const std::function<std::unique_ptr<Solver>()>& make_solver,
                     const AucTrainingOptions& options,
                     const std::function<void(const AucProgress&)>& progress) {
  return AucTraining(parts, fit_inputs, make_solver, options, progress).execute();
}

}  // namespace bilevel
