#include "bilevel/task/auc/auc_training.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "bilevel/core/streams.h"
#include "bilevel/core/tensor_json.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/job/costs.h"
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *kSelect = "select", *kRefit = "refit";

std::string fold_name(int64_t k) { return fmt::format("fold {}", k + 1); }

std::unique_ptr<Solver> make_solver(const AucSetup& setup) {
  std::unique_ptr<Solver> solver = setup.solver(setup.options().solver);
  assign(*solver, setup.options().set);
  return solver;
}

/// All rows but the test rows, each judged in one fold; none where a fold would leave one class alone to train on.
std::vector<Fold> folds_of(const AucSetup& setup) {
  std::vector<Fold> folds = setup.cut_folds(setup.pool(), kAucFolds, setup.options().seed);
  for (const Fold& fold : folds) {
    const double share = setup.labels_of(fold.others).mean().item<double>();
    if (!(share > 0 && share < 1)) return {};
  }
  std::erase_if(folds, [](const Fold& fold) { return fold.judged.empty(); });
  return folds;
}

/// A model and its training on some rows.
class AucTraining {
 public:
  /// @param upper rows of f; @param lower rows of g, on which features are fitted
  AucTraining(AucSetup& setup, const std::vector<int64_t>& upper, const std::vector<int64_t>& lower,
              uint64_t seed)
      : setup_(setup), features_(setup.fit(lower)), model_(setup.model(features_.read.shape, seed)) {
    problem_ = model_->problem(
        {.inputs = features_.read.inputs, .labels = setup.parts().labels, .upper = upper, .lower = lower},
        *setup.options().batch_size);
  }

  /// The answer of a part: the pass, and scores of the judged rows where it came to an outcome, with their loss where they choose the
  /// step.
  Json execute(const Part& part, PassPlan plan, const std::vector<int64_t>& judged, bool choose) {
    plan.name = part.name;
    plan.shown = part.shown;
    plan.schedule_steps = setup_.default_steps();
    const torch::Tensor labels = setup_.labels_of(judged);
    const auto evaluate = [&] {
      const AucEstimate valid = auc_estimate(ScoredRows(scores(judged), labels));
      return Evaluation{.score = valid.auc,
                        .standard_error = valid.standard_error,
                        .fields = {{"valid_auc", valid.auc}, {"valid_standard_error", valid.standard_error}}};
    };
    Passes passes = setup_.context().passes(part.name);
    const std::unique_ptr<Solver> solver = make_solver(setup_);
    const PassOutcome* outcome =
        choose ? passes.run(plan, problem_, *solver, evaluate) : passes.run(plan, problem_, *solver);
    Json answer = answer_of(passes);
    if (outcome == nullptr || judged.empty()) return answer;
    set(*outcome);
    const torch::Tensor judging = scores(judged);
    answer["scores"] = tensor_json(judging);
    if (choose) answer["loss"] = model_->loss(judging, labels);
    return answer;
  }

  /// Gives the model what a pass of it came to.
  void set(const PassOutcome& outcome) {
    set_from_flat(problem_.upper.parameters, outcome.upper);
    set_from_flat(problem_.lower.parameters, outcome.lower);
  }

  std::unique_ptr<AucModel> model() && { return std::move(model_); }
  const AucFeatures& features() const { return features_; }

 private:
  torch::Tensor scores(const std::vector<int64_t>& rows) const {
    return model_->scores(features_.read.inputs, rows);
  }

  AucSetup& setup_;
  const AucFeatures features_;
  std::unique_ptr<AucModel> model_;
  Problem problem_;
};

/// The training of the first pass and of the second.
AucTraining first_pass(AucSetup& setup) {
  const AucParts& rows = setup.parts();
  return {setup, setup.papers() ? rows.valid : rows.train, rows.train, setup.options().seed};
}
AucTraining second_pass(AucSetup& setup) {
  const std::vector<int64_t> pool = setup.pool();
  return {setup, pool, pool, derive_seed(setup.options().seed, kRefit)};
}

/// The parts of the training and what becomes of them.
class AucParting {
 public:
  AucParting(AucSetup& setup, JobParts& parts, Passes& passes)
      : setup_(setup), o_(setup.options()), parts_(parts), passes_(passes) {}

  AucOutcome execute() {
    plan_phases();
    if (!begin()) return {};
    if (setup_.refit() && !refit()) return {};
    AucTraining training = setup_.refit() ? second_pass(setup_) : first_pass(setup_);
    training.set(*passes_.finished(setup_.refit() ? kRefit : kSelect));
    outcome_.features = training.features();
    outcome_.model = std::move(training).model();
    return std::move(outcome_);
  }

 private:
  /// The first pass and the baselines. False when it came to no outcome.
  bool begin() {
    std::vector<Part> parts{
        {.name = kSelect, .shown = "training", .request = Json::object(), .cost = training_}};
    for (const AucRival& rival : auc_rivals(setup_))
      parts.push_back(
          {.name = rival.part, .shown = rival.shown, .request = Json::object(), .cost = rival.cost(setup_)});
    return parts_.make(parts, [&](size_t i, const Json& answer) {
      if (i > 0) {
        outcome_.baselines.push_back(AucBaseline::from_json(answer));
        return true;
      }
      const PassOutcome* chosen = passes_.adopt(kSelect, answer.at("passes"));
      if (chosen == nullptr) return false;
      outcome_.best_step = chosen->chosen_step;
      outcome_.judging = setup_.parts().valid;
      outcome_.valid_scores = tensor_from(answer.at("scores"));
      outcome_.valid_loss = answer.at("loss");
      return true;
    });
  }

  /// The folds, where there are any, and the second pass. False when one came to no outcome.
  bool refit() {
    const std::vector<Fold> folds = setup_.cross_fits() ? folds_of(setup_) : std::vector<Fold>();
    std::vector<Part> parts;
    Json request{{"steps", outcome_.best_step}, {"seconds", nullptr}};
    if (o_.max_seconds) request["seconds"] = *o_.max_seconds - passes_.seconds();
    for (size_t k = 0; k < folds.size(); ++k) {
      const auto number = static_cast<int64_t>(k);
      request["fold"] = number;
      parts.push_back({.name = fold_name(number),
                       .shown = fmt::format("cross-fitting {} of {}", k + 1, folds.size()),
                       .request = request,
                       .cost = training_});
    }
    request.erase("fold");
    parts.push_back(
        {.name = kRefit, .shown = "refit on all training rows", .request = request, .cost = training_});
    std::vector<torch::Tensor> scores;
    const bool made = parts_.make(parts, [&](size_t i, const Json& answer) {
      if (passes_.adopt(parts[i].name, answer.at("passes")) == nullptr) return false;
      if (i < folds.size()) scores.push_back(tensor_from(answer.at("scores")));
      return true;
    });
    if (made && !folds.empty()) take_folds(folds, torch::cat(scores));
    return made;
  }

  void take_folds(const std::vector<Fold>& folds, const torch::Tensor& scores) {
    outcome_.judging.clear();
    for (const Fold& fold : folds)
      outcome_.judging.insert(outcome_.judging.end(), fold.judged.begin(), fold.judged.end());
    outcome_.valid_scores = scores;
    AucTraining first = first_pass(setup_);  // whose a, b and alpha the loss has
    first.set(*passes_.finished(kSelect));
    outcome_.valid_loss = std::move(first).model()->loss(scores, setup_.labels_of(outcome_.judging));
    setup_.note(
        fmt::format("the validation rows hold few of a class: threshold, probabilities and validation "
                    "figures come from {} rows in "
                    "{} folds, each scored by a model that was trained without its fold",
                    outcome_.judging.size(), kAucFolds));
  }

  void plan_phases() {
    const AucParts& rows = setup_.parts();
    const FittedInputs& read = setup_.fit(rows.train).read;
    const auto batch = [&](const std::vector<int64_t>& part) {
      return std::min(*o_.batch_size, static_cast<int64_t>(part.size()));
    };
    const std::shared_ptr<Network> made = setup_.model(read.shape, o_.seed)->network();
    const Network& network = *made;
    training_ = training_cost(*make_solver(setup_), setup_.default_steps(), batch(rows.train),
                              setup_.papers() ? batch(rows.valid) : batch(rows.train), network, read.inputs);
    Phases& phases = *setup_.context().phases;
    for (int64_t k = 0; k < (setup_.cross_fits() ? kAucFolds : 0); ++k)
      phases.plan({{fold_name(k), training_}});
    phases.plan({{kRefit, setup_.refit() ? training_ : 0},
                 {kReportPhase, parts_.side_by_side() * static_cast<double>(read.inputs.rows()) *
                                    row_cost(network, read.inputs)}});
  }

  AucSetup& setup_;
  const AucJobOptions& o_;
  JobParts& parts_;
  Passes& passes_;
  double training_ = 0;  // cost of a pass
  AucOutcome outcome_;
};

}  // namespace

AucOutcome train_auc(AucSetup& setup, JobParts& parts, Passes& passes) {
  return AucParting(setup, parts, passes).execute();
}

PartWork auc_work(AucSetup& setup) {
  return [&setup](const Part& part) -> Json {
    const AucJobOptions& o = setup.options();
    for (const AucRival& rival : auc_rivals(setup)) {
      if (part.name == rival.part) return rival.make(setup).to_json();
    }
    if (part.name == kSelect) {
      // The second pass does at most as many steps as the first did.
      const PassPlan plan{.steps = setup.default_steps(),
                          .evaluations = 10,
                          .max_seconds = o.seconds_allowed() / (setup.refit() ? 2 : 1),
                          .seed = o.seed};
      return first_pass(setup).execute(part, plan, setup.parts().valid, /*choose=*/true);
    }
    PassPlan plan{.steps = part.request.at("steps"), .seed = derive_seed(o.seed, part.name)};
    const Json& seconds = part.request.at("seconds");
    if (!seconds.is_null()) plan.max_seconds = std::max(seconds.get<double>(), 1e-3);
    if (!part.request.contains("fold")) return second_pass(setup).execute(part, plan, {}, /*choose=*/false);
    const Fold fold = folds_of(setup).at(part.request.at("fold").get<size_t>());
    return AucTraining(setup, fold.others, fold.others, plan.seed)
        .execute(part, plan, fold.judged, /*choose=*/false);
  };
}

}  // namespace bilevel
