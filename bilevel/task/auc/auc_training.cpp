#include "bilevel/task/auc/auc_training.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <tuple>

#include "bilevel/core/streams.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/job/costs.h"
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

class AucTraining {
 public:
  AucTraining(AucSetup& setup, Passes& passes)
      : setup_(setup), o_(setup.options()), parts_(setup.parts()), passes_(passes), pool_(parts_.train) {
    pool_.insert(pool_.end(), parts_.valid.begin(), parts_.valid.end());
    std::sort(pool_.begin(), pool_.end());
  }

  AucOutcome execute() {
    if (!select() || !setup_.refit()) return std::move(outcome_);
    if (cross_fits() && !cross_fit()) return std::move(outcome_);
    refit();
    return std::move(outcome_);
  }

 private:
  /// First pass; the model is then the one at the chosen step. False when it came to no outcome.
  bool select() {
    std::unique_ptr<AucModel> model = make_model(parts_.train, o_.seed);
    const std::vector<int64_t>& upper = setup_.papers() ? parts_.valid : parts_.train;
    const Problem problem = model->problem(data(upper, parts_.train), *o_.batch_size);
    const PassPlan plan{.name = "select",
                        .shown = "training",
                        .steps = setup_.default_steps(),
                        .schedule_steps = setup_.default_steps(),
                        .evaluations = 10,
                        // The second pass does at most as many steps as the first did.
                        .max_seconds = o_.seconds_allowed() / (setup_.refit() ? 2 : 1),
                        .seed = o_.seed};
    const auto scores = [&] { return model->scores(outcome_.features.inputs, parts_.valid); };
    const torch::Tensor labels = setup_.labels_of(parts_.valid);
    const std::unique_ptr<Solver> solver = make_solver();
    plan_phases(*model, *solver, plan.steps);
    setup_.context().phases->begin(plan.name, plan.shown);
    const PassOutcome* chosen = passes_.run(plan, problem, *solver, [&] {
      const AucEstimate valid = auc_estimate(ScoredRows(scores(), labels));
      return Evaluation{.score = valid.auc,
                        .standard_error = valid.standard_error,
                        .fields = {{"valid_auc", valid.auc}, {"valid_standard_error", valid.standard_error}}};
    });
    if (chosen == nullptr) return false;
    set_from_flat(problem.upper.parameters, chosen->upper);
    set_from_flat(problem.lower.parameters, chosen->lower);
    outcome_.best_step = chosen->chosen_step;
    outcome_.judging = parts_.valid;
    outcome_.valid_scores = scores();
    outcome_.valid_loss = model->loss(outcome_.valid_scores, labels);
    outcome_.model = std::move(model);
    return true;
  }

  static constexpr int64_t kFolds = 5;
  static std::string fold_name(int64_t k) { return fmt::format("fold {}", k + 1); }

  /// Whether the validation rows were cut and hold few of a class.
  bool cross_fits() const {
    const auto positives = static_cast<int64_t>(setup_.labels_of(parts_.valid).sum().item<double>());
    const auto all = static_cast<int64_t>(parts_.valid.size());
    return setup_.refit() && o_.valid.empty() && std::min(positives, all - positives) < kFewRows;
  }

  /// Scores of all rows but the test rows, each by a model that was trained without its fold. False when a pass came to no
  /// outcome. Does nothing where a fold would leave one class alone to train on.
  bool cross_fit() {
    const std::vector<int64_t> fold_of = setup_.folds_of(pool_, kFolds, o_.seed);
    std::vector<std::vector<int64_t>> out(kFolds), rest(kFolds);
    for (size_t i = 0; i < pool_.size(); ++i) {
      for (int64_t k = 0; k < kFolds; ++k)
        (fold_of[i] == k ? out : rest)[static_cast<size_t>(k)].push_back(pool_[i]);
    }
    for (const auto& rows : rest) {
      const double share = setup_.labels_of(rows).mean().item<double>();
      if (!(share > 0 && share < 1)) return true;
    }
    AucOutcome whole = std::move(outcome_);
    outcome_ = {};
    std::vector<torch::Tensor> scores;
    std::vector<int64_t> judging;
    for (int64_t k = 0; k < kFolds; ++k) {
      const std::vector<int64_t>&judged = out[static_cast<size_t>(k)], &others = rest[static_cast<size_t>(k)];
      if (judged.empty()) continue;
      const PassPlan plan{.name = fold_name(k),
                          .shown = fmt::format("cross-fitting {} of {}", k + 1, kFolds),
                          .steps = whole.best_step,
                          .schedule_steps = setup_.default_steps(),
                          .max_seconds = std::max(o_.seconds_allowed() - passes_.seconds(), 1e-3),
                          .seed = derive_seed(o_.seed, fold_name(k))};
      const std::unique_ptr<AucModel> model = make_model(others, plan.seed);
      const Problem problem = model->problem(data(others, others), *o_.batch_size);
      setup_.context().phases->begin(plan.name, plan.shown);
      const PassOutcome* made = passes_.run(plan, problem, *make_solver());
      if (made == nullptr) return false;
      set_from_flat(problem.upper.parameters, made->upper);
      set_from_flat(problem.lower.parameters, made->lower);
      scores.push_back(model->scores(outcome_.features.inputs, judged));
      judging.insert(judging.end(), judged.begin(), judged.end());
    }
    outcome_ = std::move(whole);
    outcome_.judging = std::move(judging);
    outcome_.valid_scores = torch::cat(scores);
    outcome_.valid_loss = outcome_.model->loss(outcome_.valid_scores, setup_.labels_of(outcome_.judging));
    setup_.note(
        fmt::format("the validation rows hold few of a class: threshold, probabilities and validation "
                    "figures come from {} rows in "
                    "{} folds, each scored by a model that was trained without its fold",
                    outcome_.judging.size(), kFolds));
    return true;
  }

  /// Second pass: anew on training and validation rows.
  void refit() {
    outcome_.model.reset();  // an unfinished pass leaves no model, not that of the pass before
    const uint64_t seed = derive_seed(o_.seed, "refit");
    std::unique_ptr<AucModel> model = make_model(pool_, seed);
    const PassPlan plan{.name = "refit",
                        .shown = "refit on all training rows",
                        .steps = outcome_.best_step,
                        .schedule_steps = setup_.default_steps(),
                        .max_seconds = std::max(o_.seconds_allowed() - passes_.seconds(), 1e-3),
                        .seed = seed};
    const Problem problem = model->problem(data(pool_, pool_), *o_.batch_size);
    setup_.context().phases->begin(plan.name, plan.shown);
    if (passes_.run(plan, problem, *make_solver()) != nullptr) outcome_.model = std::move(model);
  }

  void plan_phases(const AucModel& model, Solver& solver, int64_t steps) const {
    const FittedInputs& read = outcome_.features;
    const auto rows = [](const std::vector<int64_t>& part) { return static_cast<int64_t>(part.size()); };
    const int64_t lower = std::min(*o_.batch_size, rows(parts_.train));
    const int64_t upper = setup_.papers() ? std::min(*o_.batch_size, rows(parts_.valid)) : lower;
    const Network& network = *model.network();
    const double training = training_cost(solver, steps, lower, upper, network, read.inputs);
    const auto all = static_cast<double>(read.inputs.rows());
    for (int64_t k = 0; k < (cross_fits() ? kFolds : 0); ++k)
      setup_.context().phases->plan({{fold_name(k), training}});
    setup_.context().phases->plan(
        {{"select", training},
         {"refit", setup_.refit() ? training : 0},
         {kReportPhase, all * row_cost(network, read.inputs)},
         {kNgrams, read.inputs.kind() == InputKind::tokens ? ngrams_cost(read.inputs) : 0},
         {kLinearFits, (setup_.refit() ? 6 : 5) * linear_fit_cost(read, rows(parts_.train))}});
  }

  std::unique_ptr<AucModel> make_model(const std::vector<int64_t>& rows, uint64_t seed) {
    std::tie(outcome_.fitted, outcome_.features) = setup_.fit(rows);
    setup_.forget_first();
    return setup_.model(outcome_.features.shape, seed);
  }

  std::unique_ptr<Solver> make_solver() const {
    std::unique_ptr<Solver> solver = setup_.solver(o_.solver);
    assign(*solver, o_.set);
    return solver;
  }

  AucData data(const std::vector<int64_t>& upper, const std::vector<int64_t>& lower) const {
    return {.inputs = outcome_.features.inputs, .labels = parts_.labels, .upper = upper, .lower = lower};
  }

  AucSetup& setup_;
  const AucJobOptions& o_;
  const AucParts& parts_;
  Passes& passes_;
  std::vector<int64_t> pool_;  // train and valid
  AucOutcome outcome_;
};

}  // namespace

AucOutcome train_auc(AucSetup& setup, Passes& passes) { return AucTraining(setup, passes).execute(); }

}  // namespace bilevel
