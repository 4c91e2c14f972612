#include "bilevel/task/clean/clean_method.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/report/page.h"

namespace bilevel {
namespace {

constexpr double kNoNoise = 0.025;  // p-value above which an interval reaches 0: one side of 95 %
constexpr double kDoubtful =
    0.05;  // lower end of the share below which the test is made: it costs two fits a fold
constexpr double kUnsure = 0.04;  // half-width of the share's interval from which it is said

class Cleaning {
 public:
  explicit Cleaning(Weighing& setup) : setup_(setup) {}

  Cleaned execute() {
    judge_labels(predict());
    setup_.step("the cleaned model");
    WeightedRows all;
    all.add(setup_.train(), result_.weights);
    all.add(setup_.trusted(), 1);
    result_.model = setup_.fit(all);
    return std::move(result_);
  }

 private:
  /// Predicts the rows of a part's fold by classifiers of the part's rows: its training rows by one that knows all
  /// trusted rows, its trusted rows by one that knows those of the other folds.
  void predict_fold(const CleanPart& part, const torch::Tensor& weights, torch::Tensor& result) const {
    const auto predict_with = [&](const std::vector<int64_t>& trusted, const std::vector<int64_t>& rows) {
      if (rows.empty()) return;
      WeightedRows fitted;
      fitted.add(part.train, weights);
      fitted.add(trusted, 1);
      result.index_copy_(0, torch::tensor(rows, torch::kInt64),
                         setup_.probabilities(*setup_.fit(fitted), rows));
    };
    predict_with(setup_.trusted(), part.fold_train);
    predict_with(part.trusted, part.fold_trusted);
  }

  torch::Tensor no_predictions() const {
    return torch::zeros({setup_.data_files().rows(), setup_.classes()}, torch::kFloat64);
  }

  LabelledPredictions at(const torch::Tensor& of_all, const std::vector<int64_t>& rows) const {
    return {at_rows(of_all, rows), setup_.classes_of(rows)};
  }

  /// float64 [all rows, classes], 0 but for training and trusted rows: each row's probabilities by a classifier that has
  /// not seen its label, nor anything made from it. Its weights come from the part's bilevel run and one round of
  /// cross-fitting within the part. Trusted rows are few: the fold's training rows are predicted with all of them.
  torch::Tensor predict() {
    torch::Tensor result = no_predictions();
    for (int64_t k = 0; k < kFolds; ++k) {
      CleanPart& part = setup_.parts()[static_cast<size_t>(k)];
      setup_.step(fmt::format("fold {} of {}", k + 1, kFolds));
      const torch::Tensor within = setup_.predict_within(part, part.weights);
      const auto count = static_cast<int64_t>(part.train.size());
      const LabelledPredictions train{within.narrow(0, 0, count), setup_.classes_of(part.train)};
      const LabelledPredictions trusted{within.narrow(0, count, within.size(0) - count),
                                        setup_.classes_of(part.trusted)};
      part.weights = weight_of(judge(fit_label_noise(train, trusted), train).right, setup_.classes());
      predict_fold(part, part.weights, result);
    }
    return result;
  }

  /// Whether wrong labels can be told from none, by classifiers that take every label as right.
  bool noise_is_told() const {
    setup_.step("are there wrong labels at all?");
    torch::Tensor result = no_predictions();
    for (const CleanPart& part : setup_.parts())
      predict_fold(part, torch::ones({static_cast<int64_t>(part.train.size())}), result);
    return no_noise_p_value(at(result, setup_.train()), at(result, setup_.trusted()),
                            result_.noise.trusted_shift.defined()) < kNoNoise;
  }

  void judge_labels(const torch::Tensor& probabilities) {
    setup_.step("how labels go wrong");
    const LabelledPredictions train = at(probabilities, setup_.train());
    const LabelledPredictions trusted = at(probabilities, setup_.trusted());
    result_.noise = fit_label_noise(train, trusted);
    if (!setup_.trusted().empty()) result_.intervals = noise_intervals(result_.noise, train, trusted);
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
    result_.judgement = judge(result_.noise, train);
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
  Cleaned result_;
};

}  // namespace

torch::Tensor Cleaned::predictions(const CleanSetup& setup, const std::vector<int64_t>& rows) const {
  const torch::Tensor p = setup.probabilities(*model, rows);
  return setup.trusted().empty() ? p : noise.calibration.apply(p);
}

Cleaned clean_labels(Weighing& setup) { return Cleaning(setup).execute(); }

std::string interval_text(double low, double high) {
  return std::isfinite(low) ? fmt::format(" ({:.1f} to {:.1f})", 100 * low, 100 * high) : "";
}

}  // namespace bilevel
