#include "bilevel/task/clean/clean_method.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "bilevel/core/tensor_json.h"
#include "bilevel/report/page.h"
#include "bilevel/task/clean/clean_baselines.h"
#include "bilevel/task/clean/clean_work.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNoNoise = 0.025;  // p-value above which an interval reaches 0: one side of 95 %
constexpr double kDoubtful = 0.05;  // the test, two fits a fold, is made below this lower end of the share
constexpr const char *kNoisePhase = "noise", *kModel = "model", *kOpinion = "opinion", *kWeigh = "weigh";
constexpr double kNoiseCost = 5e3;   // a row and pair of classes; see costs.h
constexpr double kReportCost = 2e4;  // a row
// Trusted rows from which on the intervals held the truth: of phoneme's columns with 10 % planted flips 0 of 12 with 5 trusted rows, 1 of 8
// with 30, 7 of 8 with 100; on texts also with fewer.
constexpr int64_t kEnoughTrusted = 100;
constexpr double kMostlyRight =
    0.5;  // P(recorded as its class) that every class is assumed to exceed without trusted rows
constexpr double kUnsure = 0.04;  // half-width of the share's interval from which it is said

class Cleaning {
 public:
  Cleaning(Weighing& setup, JobParts& parts, Passes& passes)
      : setup_(setup), parts_(parts), passes_(passes), probabilities_(no_predictions()) {}

  std::optional<Cleaned> execute() {
    plan();
    form_opinions();
    if (!learn()) return std::nullopt;
    cross_fit();
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
                              {kModel, setup_.fit_cost(static_cast<int64_t>(setup_.train().size()))},
                              {kReportPhase, parts_.side_by_side() * kReportCost * rows}};
    if (setup_.learns()) phases.push_back({kLearn, parts_.side_by_side() * setup_.costs().learn});
    for (const Part& part : fold_parts(kWeigh, "", weighing_cost())) phases.push_back({part.name, part.cost});
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
    const CleanPart part = setup_.part(k);
    std::vector<int64_t> rows = part.fold_train;
    rows.insert(rows.end(), part.fold_trusted.begin(), part.fold_trusted.end());
    of_all.index_copy_(0, torch::tensor(rows, torch::kInt64), tensor_from(answer.at("predicted")));
  }

  double weighing_cost() const { return setup_.costs().weights + 2 * setup_.costs().fit; }

  /// One for each fold, without requests.
  static std::vector<Part> fold_parts(const std::string& name, const std::string& shown, double cost) {
    std::vector<Part> parts;
    for (int64_t k = 0; k < kFolds; ++k) {
      parts.push_back({.name = fmt::format("{}-{}", name, k + 1),
                       .shown = fmt::format("{} {} of {}", shown, k + 1, kFolds),
                       .request = Json::object(),
                       .cost = cost});
    }
    return parts;
  }

  /// The opinions, with what the baselines need of the rows as they are given.
  void form_opinions() {
    std::vector<Part> parts =
        fold_parts(kOpinion, "fitting: an opinion on every label", setup_.costs().opinion);
    for (size_t k = 0; k < parts.size(); ++k) parts[k].request["opinion_on"] = k;
    if (setup_.options().baselines) {
      for (Part& part : CleanBaselines::first_parts(setup_)) parts.push_back(std::move(part));
    }
    parts_.make(parts, [&](size_t i, const Json& answer) {
      (i < static_cast<size_t>(kFolds) ? opinions_ : baselines_).push_back(answer);
      return true;
    });
  }

  /// False when the bilevel run came to no outcome.
  bool learn() {
    result_.strengths = setup_.first_strengths();
    if (!setup_.learns()) return true;
    const Part part{.name = kLearn,
                    .shown = "learning from the trusted rows",
                    .request = {{"opinions", opinions_}},
                    .cost = setup_.costs().learn};
    return parts_.make({part}, [&](size_t, const Json& answer) {
      const PassOutcome* outcome = passes_.adopt(kLearn, answer.at("passes"));
      if (outcome == nullptr) return false;
      result_.best_step = outcome->chosen_step;
      result_.strengths = strengths_from(answer.at("strengths"));
      result_.gain = {answer.at("gain"), answer.at("standard_error")};
      result_.takes_learned = answer.at("taken");
      result_.unit_names = setup_.unit_names();
      if (answer.contains("unit_errors")) result_.unit_errors = tensor_from(answer.at("unit_errors"));
      return true;
    });
  }

  void cross_fit() {
    std::vector<Part> parts = fold_parts(kWeigh, "weighing the rows, fold", weighing_cost());
    for (size_t k = 0; k < parts.size(); ++k) {
      parts[k].request = {{"fold", k}, {"opinion", opinions_[k]}, {"strengths", to_json(result_.strengths)}};
    }
    parts_.make(parts, [&](size_t k, const Json& answer) {
      put(k, answer, probabilities_);
      return true;
    });
  }

  /// The cleaned model, beside the baselines that drop rows.
  void fit_model() {
    std::vector<Part> parts{{.name = kModel,
                             .shown = "fitting: the cleaned model",
                             .request = {{"weights", tensor_json(unrepeated(result_.weights))},
                                         {"strengths", to_json(result_.strengths)}},
                             .cost = setup_.fit_cost(static_cast<int64_t>(setup_.train().size()))}};
    if (setup_.options().baselines) {
      // With injected noise the usual methods are told its share, which nobody knows in earnest.
      const double drop =
          setup_.flips() ? setup_.flips()->flipped.mean().item<double>() : result_.noise.share;
      result_.unseen = CleanBaselines::unseen(setup_, baselines_);
      for (Part& part : CleanBaselines::dropping_parts(setup_, drop, result_.unseen))
        parts.push_back(std::move(part));
    }
    std::vector<Json> answers;
    parts_.make(parts, [&](size_t, const Json& answer) { return answers.push_back(answer), true; });
    const WeightedFitOptions options = setup_.fit_options(result_.strengths);
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
      const PairedDifference d =
          paired_difference(own, class_hits(predicted, classes), setup_.unit_numbers(setup_.test()));
      result_.baselines[name].update(difference_json(d));
      result_.differences.emplace(name, d);
    }
  }

  /// Whether wrong labels can be told from none, by classifiers that take every label as right.
  bool noise_is_told() const {
    torch::Tensor result = no_predictions();
    std::vector<Part> parts =
        fold_parts("even", "fitting: are there wrong labels at all?", 2 * setup_.costs().fit);
    for (size_t k = 0; k < parts.size(); ++k)
      parts[k].request = {{"even", k}, {"strengths", to_json(result_.strengths)}};
    parts_.make(parts, [&](size_t k, const Json& answer) {
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
    const auto [least_right, of_class] = result_.noise.transition.diagonal().min(0);
    if (setup_.trusted().empty() && least_right.item<double>() < kMostlyRight) {
      setup_.note(fmt::format(
          "labels of class '{}' would be wrong more often than right, which contradicts what is assumed: the "
          "labels hardly depend on the features, the rows are too few, or the L2 strength is too high; "
          "suspicious rows and the share of wrong labels tell nothing then",
          setup_.name_of(of_class.item<int64_t>())));
    }
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
    if (result_.intervals && trusted.labels.numel() < kEnoughTrusted) {
      setup_.note(fmt::format(
          "{} trusted rows are few (below {}): where the classifier is wrong about its own "
          "certainty, as linear ones often are on columns, the share of wrong labels, its interval and "
          "the probabilities are off by more than they say",
          trusted.labels.numel(), kEnoughTrusted));
    }
    result_.judgement = judge(result_.noise, at(probabilities, setup_.train()));
    result_.weights = setup_.weights_for(result_.judgement.right, setup_.classes_of(setup_.train()));
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
  std::vector<Json> opinions_;   // of the folds
  std::vector<Json> baselines_;  // answers of their first parts
  Cleaned result_;
};

}  // namespace

std::pair<double, double> Cleaned::unit_interval(size_t u) const {
  const double factor = std::exp(1.96 * unit_errors[static_cast<int64_t>(u)].item<double>());
  return {strengths.of_units.at(u) / factor, strengths.of_units.at(u) * factor};
}

torch::Tensor Cleaned::predictions(const CleanSetup& setup, const std::vector<int64_t>& rows) const {
  const torch::Tensor p = setup.probabilities(*model, rows);
  return setup.trusted().empty() ? p : calibration.apply(p);
}

std::optional<Cleaned> clean_labels(Weighing& setup, JobParts& parts, Passes& passes) {
  return Cleaning(setup, parts, passes).execute();
}

}  // namespace bilevel
