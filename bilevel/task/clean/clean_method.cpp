#include "bilevel/task/clean/clean_method.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "bilevel/core/tensor_json.h"
#include "bilevel/report/page.h"
#include "bilevel/task/clean/clean_baselines.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNoNoise = 0.025;  // p-value above which an interval reaches 0: one side of 95 %
constexpr double kDoubtful = 0.05;  // the test, two fits a fold, is made below this lower end of the share
constexpr const char* kNoisePhase = "noise";
constexpr double kNoiseCost = 5e3;   // a row and pair of classes; see costs.h
constexpr double kReportCost = 2e4;  // a row
constexpr double kUnsure = 0.04;     // half-width of the share's interval from which it is said

/// Predicts the rows of a part's fold by classifiers of the part's rows: its training rows by one that knows all trusted
/// rows, which are few, its trusted rows by one that knows those of the other folds. [fold's training and trusted rows,
/// classes]. `of_fit`: the share of a fit in the phase.
torch::Tensor predict_fold(const Weighing& setup, const CleanPart& part, const torch::Tensor& weights,
                           double of_fit) {
  std::vector<torch::Tensor> predicted{torch::zeros({0, setup.classes()}, torch::kFloat64)};
  const auto predict_with = [&](const std::vector<int64_t>& trusted, const std::vector<int64_t>& rows) {
    if (rows.empty()) return;
    WeightedRows fitted;
    fitted.add(part.train, weights);
    fitted.add(trusted, 1);
    setup.context().phases->stretch(of_fit);
    predicted.push_back(setup.probabilities(*setup.fit(fitted), rows));
  };
  predict_with(setup.trusted(), part.fold_train);
  predict_with(part.trusted, part.fold_trusted);
  return torch::cat(predicted);
}

/// The bilevel run without a fold, and the probabilities of the fold's rows by classifiers that have not seen their labels,
/// nor anything made from them. Their weights come from the run and one round of cross-fitting within the part.
Json answer_of_fold(Weighing& setup, const Part& work) {
  const auto k = work.request.at("fold").get<int64_t>();
  Passes passes = setup.context().passes(work.name);
  const PassOutcome* outcome = setup.weigh(k, passes);
  Json answer = answer_of(passes);
  if (outcome == nullptr) return answer;
  CleanPart& part = setup.parts()[static_cast<size_t>(k)];
  answer["units"] = Json::object();
  for (size_t u = 0; u < setup.unit_names().size(); ++u)
    answer["units"][setup.unit_names()[u]] = part.learned[static_cast<int64_t>(u)].item<double>();
  const FoldCost cost = setup.fold_cost(k);
  setup.context().phases->stretch(cost.within / cost.all());
  const torch::Tensor within = setup.predict_within(part, part.weights);
  const auto count = static_cast<int64_t>(part.train.size());
  const LabelledPredictions train{within.narrow(0, 0, count), setup.classes_of(part.train)};
  const LabelledPredictions trusted{within.narrow(0, count, within.size(0) - count),
                                    setup.classes_of(part.trusted)};
  part.weights = weight_of(judge(fit_label_noise(train, trusted), train).right, setup.classes());
  answer["predicted"] = tensor_json(predict_fold(setup, part, part.weights, cost.fit / cost.all()));
  return answer;
}

/// What a part comes to.
Json answer_of_part(Weighing& setup, const Part& work) {
  const Json& request = work.request;
  if (request.contains("fold")) return answer_of_fold(setup, work);
  if (request.contains("even")) {
    const CleanPart& part = setup.parts()[request.at("even").get<size_t>()];
    const torch::Tensor ones = torch::ones({static_cast<int64_t>(part.train.size())});
    return {{"predicted", tensor_json(predict_fold(setup, part, ones, 0.5))}};
  }
  WeightedRows all;
  all.add(setup.unrepeated(), tensor_from(request.at("weights")));
  all.add(setup.trusted(), 1);
  return {{"model", tensors_json(tensors_of(*setup.fit(all)))}};
}

class Cleaning {
 public:
  Cleaning(Weighing& setup, JobParts& parts, Passes& passes)
      : setup_(setup), parts_(parts), passes_(passes), probabilities_(no_predictions()) {}

  std::optional<Cleaned> execute() {
    plan();
    if (!cross_fit()) return std::nullopt;
    judge_labels(probabilities_);
    fit_model();
    return std::move(result_);
  }

 private:
  /// What comes after the first parts.
  void plan() {
    const auto rows = static_cast<double>(setup_.train().size());
    const auto classes = static_cast<double>(setup_.classes());
    std::vector<Phase> phases{{kNoisePhase, parts_.side_by_side() * kNoiseCost * rows * classes * classes},
                              {"model", setup_.fit_cost(static_cast<int64_t>(setup_.train().size()))},
                              {kReportPhase, parts_.side_by_side() * kReportCost * rows}};
    if (setup_.options().baselines) {
      for (const char* name : CleanBaselines::dropping_names(setup_))
        phases.push_back(CleanBaselines::phase(setup_, name));
    }
    setup_.context().phases->plan(phases);
  }

  torch::Tensor no_predictions() const {
    return torch::zeros({setup_.data_files().rows(), setup_.classes()}, torch::kFloat64);
  }

  LabelledPredictions at(const torch::Tensor& of_all, const std::vector<int64_t>& rows) const {
    return {at_rows(of_all, rows), setup_.classes_of(rows)};
  }

  /// Of values of the training rows those of `CleanSetup::unrepeated`.
  torch::Tensor unrepeated(const torch::Tensor& of_train) const {
    return at_rows(of_train,
                   setup_.unrepeated());  // the training file comes first: a row's number is its place
  }

  /// What was predicted of the rows of fold k, into those of all rows.
  void put(size_t k, const Json& answer, torch::Tensor& of_all) const {
    const CleanPart& part = setup_.parts()[k];
    std::vector<int64_t> rows = part.fold_train;
    rows.insert(rows.end(), part.fold_trusted.begin(), part.fold_trusted.end());
    of_all.index_copy_(0, torch::tensor(rows, torch::kInt64), tensor_from(answer.at("predicted")));
  }

  static std::vector<Part> fold_parts(const char* key, const std::string& name, const std::string& shown,
                                      const std::function<double(int64_t k)>& cost) {
    std::vector<Part> parts;
    for (int64_t k = 0; k < kFolds; ++k) {
      parts.push_back({.name = fmt::format("{}-{}", name, k + 1),
                       .shown = fmt::format("{} {} of {}", shown, k + 1, kFolds),
                       .request = {{key, k}},
                       .cost = cost(k)});
    }
    return parts;
  }

  /// The folds, with what the baselines need of the rows as they are given. False when a bilevel run came to no outcome.
  bool cross_fit() {
    std::vector<Part> parts =
        fold_parts("fold", "weigh", "fold", [&](int64_t k) { return setup_.fold_cost(k).all(); });
    if (setup_.options().baselines) {
      for (Part& part : CleanBaselines::first_parts(setup_)) parts.push_back(std::move(part));
    }
    return parts_.make(parts, [&](size_t i, const Json& answer) {
      if (i < static_cast<size_t>(kFolds)) return take_fold(i, answer);
      baselines_.push_back(answer);
      return true;
    });
  }

  bool take_fold(size_t k, const Json& answer) {
    const PassOutcome* outcome =
        passes_.adopt(Weighing::pass_name(static_cast<int64_t>(k)), answer.at("passes"));
    if (outcome == nullptr) return false;
    result_.best_steps.push_back(outcome->chosen_step);
    for (const auto& [name, weight] : answer.at("units").items())
      result_.unit_weights[name] = result_.unit_weights.value(name, 0.0) + weight.get<double>();
    put(k, answer, probabilities_);
    return true;
  }

  /// The cleaned model, beside the baselines that drop rows.
  void fit_model() {
    for (auto& sum : result_.unit_weights.items())
      sum.value() = sum.value().get<double>() / static_cast<double>(kFolds);
    std::vector<Part> parts{{.name = "model",
                             .shown = "fitting: the cleaned model",
                             .request = {{"weights", tensor_json(unrepeated(result_.weights))}},
                             .cost = setup_.fit_cost(static_cast<int64_t>(setup_.train().size()))}};
    if (setup_.options().baselines) {
      // With injected noise the usual methods are told its share, which nobody knows in earnest.
      const double drop =
          setup_.flips() ? setup_.flips()->flipped.mean().item<double>() : result_.noise.share;
      for (Part& part : CleanBaselines::dropping_parts(setup_, drop, baselines_))
        parts.push_back(std::move(part));
    }
    std::vector<Json> answers;
    parts_.make(parts, [&](size_t, const Json& answer) { return answers.push_back(answer), true; });
    const WeightedFitOptions options = setup_.fit_options();
    result_.model =
        seeded_network(options.network, setup_.inputs().inputs.shape, options.seed, options.device);
    load_network(tensors_from(answers.front().at("model")), *result_.model);
    answers.erase(answers.begin());
    if (setup_.options().baselines) {
      result_.baselines = CleanBaselines::summary(setup_, baselines_, answers);
      compare_with_baselines();
    }
  }

  void compare_with_baselines() {
    result_.baseline_predictions = CleanBaselines::take_predictions(result_.baselines);
    if (result_.baseline_predictions.empty()) return;
    const torch::Tensor classes = setup_.classes_of(setup_.test()),
                        own = class_hits(result_.predictions(setup_, setup_.test()), classes);
    for (const auto& [name, predicted] : result_.baseline_predictions) {
      const PairedDifference d = paired_difference(own, class_hits(predicted, classes));
      result_.baselines[name].update(difference_json(d));
      result_.differences.emplace(name, d);
    }
  }

  /// Whether wrong labels can be told from none, by classifiers that take every label as right.
  bool noise_is_told() const {
    torch::Tensor result = no_predictions();
    parts_.make(fold_parts("even", "even", "fitting: are there wrong labels at all?",
                           [&](int64_t k) { return 2 * setup_.fold_cost(k).fit; }),
                [&](size_t k, const Json& answer) {
                  put(k, answer, result);
                  return true;
                });
    return no_noise_p_value(at(result, setup_.unrepeated()), at(result, setup_.trusted()),
                            result_.noise.trusted_shift.defined()) < kNoNoise;
  }

  void judge_labels(const torch::Tensor& probabilities) {
    setup_.step("how labels go wrong");
    setup_.context().phases->begin(kNoisePhase, "how labels go wrong");
    const LabelledPredictions train = at(probabilities, setup_.unrepeated());
    const LabelledPredictions trusted = at(probabilities, setup_.trusted());
    result_.noise = fit_label_noise(train, trusted);
    if (!setup_.trusted().empty()) {
      result_.intervals = noise_intervals(result_.noise, train, trusted);
      result_.calibration = calibration_for(result_.noise, trusted);
      setup_.note(result_.calibration.warning());
    }
    if (result_.intervals && result_.intervals->share.first < kDoubtful && !noise_is_told()) {
      result_.intervals->share.first = 0;
      result_.intervals->low.masked_fill_(torch::eye(setup_.classes(), torch::kBool).logical_not(), 0);
      result_.intervals->high.fill_diagonal_(1);
      setup_.note("wrong labels cannot be told from none here: the intervals reach down to 0 %");
    }
    if (result_.intervals && result_.intervals->share.second - result_.intervals->share.first > 2 * kUnsure) {
      setup_.note(
          fmt::format("the share of wrong labels is known within wide bounds only, {}{}; the probabilities "
                      "follow the estimate, and are as far off as it is; more trusted rows tell more",
                      percent_text(result_.noise.share),
                      interval_text(result_.intervals->share.first, result_.intervals->share.second)));
    }
    result_.judgement = judge(result_.noise, at(probabilities, setup_.train()));
    result_.weights = weight_of(result_.judgement.right, setup_.classes());
    if (result_.noise.trusted_shift.defined() || result_.noise.class_counts < kContradiction)
      setup_.note(other_shares(trusted));
    if (result_.noise.same_beta < kContradiction) {
      setup_.note(
          fmt::format("the trusted rows contradict the estimated noise: predictions that fit them do not fit "
                      "the given labels (p = {:.1g}); do labels of some rows go wrong more often than others "
                      "of their class, or are the trusted rows of another kind?",
                      result_.noise.same_beta));
    }
  }

  /// What to say when the trusted rows have other class shares than the training rows can have.
  std::string other_shares(const LabelledPredictions& trusted) const {
    const torch::Tensor counted =
        torch::one_hot(trusted.labels, setup_.classes()).to(torch::kFloat64).mean(0);
    const auto c = (counted - result_.noise.class_shares).abs().argmax().item<int64_t>();
    return fmt::format(
        "the trusted rows contradict the estimated class shares: {} of them are '{}', of the training rows "
        "(wrong labels corrected) about {}; if they were picked class by class, that is no fault{}",
        percent_text(counted[c].item<double>()), setup_.name_of(c),
        percent_text(result_.noise.class_shares[c].item<double>()),
        result_.noise.trusted_shift.defined() ? "; the noise is estimated without their shares" : "");
  }

  Weighing& setup_;
  JobParts& parts_;
  Passes& passes_;
  torch::Tensor probabilities_;  // [all rows, classes], 0 but for training and trusted rows
  std::vector<Json> baselines_;  // answers of their first parts
  Cleaned result_;
};

}  // namespace

torch::Tensor Cleaned::predictions(const CleanSetup& setup, const std::vector<int64_t>& rows) const {
  const torch::Tensor p = setup.probabilities(*model, rows);
  return setup.trusted().empty() ? p : calibration.apply(p);
}

std::optional<Cleaned> clean_labels(Weighing& setup, JobParts& parts, Passes& passes) {
  return Cleaning(setup, parts, passes).execute();
}

PartWork clean_work(Weighing& setup) {
  return [&setup, baselines = std::shared_ptr<CleanBaselines>()](const Part& part) mutable {
    if (!part.request.contains("baseline")) return answer_of_part(setup, part);
    if (!baselines) baselines = std::make_shared<CleanBaselines>(setup);
    return baselines->answer(part.request);
  };
}

}  // namespace bilevel
