#include "bilevel/task/auc/auc_training.h"

#include <torch/types.h>

#include <algorithm>

#include "bilevel/core/streams.h"
#include "bilevel/report/metrics.h"

namespace bilevel {
namespace {

class AucTraining {
 public:
  AucTraining(const AucParts& parts,
              const std::function<FittedInputs(const std::vector<int64_t>&)>& fit_inputs,
              const std::function<std::unique_ptr<Solver>()>& make_solver, const AucTrainingOptions& options,
              Passes& passes)
      : parts_(parts),
        fit_inputs_(fit_inputs),
        make_solver_(make_solver),
        options_(options),
        passes_(passes),
        refit_(options.refit && !options.papers),
        pool_(parts.train) {
    pool_.insert(pool_.end(), parts.valid.begin(), parts.valid.end());
    std::sort(pool_.begin(), pool_.end());
  }

  AucOutcome execute() {
    if (!select()) return std::move(outcome_);
    outcome_.valid_scores = passes_.kept.at("valid_scores");
    outcome_.valid_loss = passes_.kept.at("valid_loss").item<double>();
    outcome_.best_step = passes_.finished("select")->chosen_step;
    if (refit_) refit();
    return std::move(outcome_);
  }

 private:
  /// First pass; the model is then the one at the chosen step.
  bool select() {
    if (passes_.finished("select") != nullptr) return true;
    std::unique_ptr<AucModel> model = make_model(parts_.train, options_.seed);
    const std::vector<int64_t>& upper = options_.papers ? parts_.valid : parts_.train;
    const Problem problem = model->problem(data(upper, parts_.train), options_.batch_size);
    const PassPlan plan{.name = "select",
                        .shown = "training",
                        .steps = options_.steps,
                        .schedule_steps = options_.steps,
                        .evaluations = options_.evaluations,
                        // The second pass does at most as many steps as the first did.
                        .max_seconds = refit_ ? options_.max_seconds / 2 : options_.max_seconds,
                        .seed = options_.seed};
    const PassOutcome* chosen = passes_.run(plan, problem, *make_solver_(), [&] {
      const AucEstimate valid = auc_estimate(
          ScoredRows(model->scores(outcome_.features.inputs, parts_.valid), labels_of(parts_.valid)));
      return Evaluation{.score = valid.auc,
                        .standard_error = valid.standard_error,
                        .fields = {{"valid_auc", valid.auc}, {"valid_standard_error", valid.standard_error}}};
    });
    if (chosen == nullptr) return false;
    set_from_flat(problem.upper.parameters, chosen->upper);
    set_from_flat(problem.lower.parameters, chosen->lower);
    const torch::Tensor scores = model->scores(outcome_.features.inputs, parts_.valid);
    passes_.kept["valid_scores"] = scores;
    passes_.kept["valid_loss"] = torch::tensor(model->loss(scores, labels_of(parts_.valid)), torch::kFloat64);
    outcome_.model = std::move(model);
    return true;
  }

  /// Second pass: anew on training and validation rows.
  void refit() {
    outcome_.model.reset();  // an unfinished pass leaves no model, not that of the pass before
    const uint64_t seed = derive_seed(options_.seed, "refit");
    std::unique_ptr<AucModel> model = make_model(pool_, seed);
    const PassPlan plan{.name = "refit",
                        .shown = "refit on all training rows",
                        .steps = outcome_.best_step,
                        .schedule_steps = options_.steps,
                        .max_seconds = std::max(options_.max_seconds - passes_.seconds(), 1e-3),
                        .seed = seed};
    if (passes_.run(plan, model->problem(data(pool_, pool_), options_.batch_size), *make_solver_()) !=
        nullptr)
      outcome_.model = std::move(model);
  }

  std::unique_ptr<AucModel> make_model(const std::vector<int64_t>& rows, uint64_t seed) {
    outcome_.features = fit_inputs_(rows);
    return std::make_unique<AucModel>(options_.network, outcome_.features.shape,
                                      AucLoss{.form = options_.loss, .margin = options_.margin}, options_.l2,
                                      seed, options_.device);
  }

  AucData data(const std::vector<int64_t>& upper, const std::vector<int64_t>& lower) const {
    return {.inputs = outcome_.features.inputs, .labels = parts_.labels, .upper = upper, .lower = lower};
  }

  torch::Tensor labels_of(const std::vector<int64_t>& rows) const {
    return parts_.labels.index_select(0, torch::tensor(rows, torch::kInt64));
  }

  const AucParts& parts_;
  const std::function<FittedInputs(const std::vector<int64_t>&)>& fit_inputs_;
  const std::function<std::unique_ptr<Solver>()>& make_solver_;
  const AucTrainingOptions& options_;
  Passes& passes_;
  bool refit_;
  std::vector<int64_t> pool_;  // train and valid
  AucOutcome outcome_;
};

}  // namespace

AucOutcome train_auc(const AucParts& parts,
                     const std::function<FittedInputs(const std::vector<int64_t>&)>& fit_inputs,
                     const std::function<std::unique_ptr<Solver>()>& make_solver,
                     const AucTrainingOptions& options, Passes& passes) {
  return AucTraining(parts, fit_inputs, make_solver, options, passes).execute();
}

}  // namespace bilevel
