#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "bilevel/report/metrics.h"
#include "bilevel/task/auc/auc_setup.h"

namespace bilevel {
namespace {

/// At most `most` rows, both classes in proportion, at least one of each.
std::vector<int64_t> some_of(const std::vector<int64_t>& rows, const torch::Tensor& labels, int64_t most) {
  const auto all = static_cast<int64_t>(rows.size());
  if (most == 0 || all <= most) return rows;
  const auto* label = labels.data_ptr<float>();
  const int64_t positives =
      std::count_if(rows.begin(), rows.end(), [&](int64_t row) { return label[row] > 0; });
  const int64_t of_positives =
      std::clamp<int64_t>(std::llround(static_cast<double>(most * positives) / static_cast<double>(all)), 1,
                          std::max<int64_t>(1, most - 1));
  int64_t room[2] = {most - of_positives, of_positives};
  std::vector<int64_t> chosen;
  for (const int64_t row : rows) {
    if (room[label[row] > 0 ? 1 : 0]-- > 0) chosen.push_back(row);
  }
  return chosen;
}

class AucAttempt : public ChoosingAttempt {
 public:
  AucAttempt(const AucSetup& setup, uint64_t seed)
      : setup_(setup), parts_(setup.parts()), model_(setup.model(setup.first().shape, seed)) {}

  Problem problem() override { return problem_on(0); }

  Problem problem_on(int64_t rows) override {
    AucData data{.inputs = setup_.first().inputs,
                 .labels = parts_.labels,
                 .upper = {},
                 .lower = some_of(parts_.train, parts_.labels, rows)};
    data.upper = setup_.papers() ? some_of(parts_.valid, parts_.labels, rows) : data.lower;
    return model_->problem(data, *setup_.options().batch_size);
  }

 protected:
  Evaluation evaluate() override {
    const std::optional<ScoredRows> valid = scored(parts_.valid), test = scored(parts_.test);
    if (!valid || !test)
      return {.score = std::nan(""), .fields = {{"test_auc", nullptr}, {"valid_auc", nullptr}}};
    const AucEstimate estimate = auc_estimate(*valid);
    return {.score = estimate.auc,
            .standard_error = estimate.standard_error,
            .fields = {{"test_auc", auc(*test)}, {"valid_auc", estimate.auc}}};
  }

 private:
  /// None when a score is not a number.
  std::optional<ScoredRows> scored(const std::vector<int64_t>& rows) const {
    const torch::Tensor scores = model_->scores(setup_.first().inputs, rows);
    if (!scores.isfinite().all().item<bool>()) return std::nullopt;
    return ScoredRows(scores, setup_.labels_of(rows));
  }

  const AucSetup& setup_;
  const AucParts& parts_;
  std::unique_ptr<AucModel> model_;
};

}  // namespace

std::unique_ptr<Attempt> AucSetup::attempt(uint64_t seed) {
  return std::make_unique<AucAttempt>(*this, seed);
}

void AucSetup::describe(ContestFacts& facts) const {
  const Measure valid{.key = "valid_auc", .name = "validation AUC", .higher_is_better = true};
  facts.metric = {.key = "test_auc", .name = "test AUC", .higher_is_better = true};
  facts.tuning_metric = valid;
  facts.further = {valid};
  facts.traits = {.noise = Noise::finite_sum};
  const auto add = [&](const char* part, const std::vector<int64_t>& rows) {
    facts.data.emplace_back(
        part, fmt::format("{} rows, {:.0f} positive", rows.size(), labels_of(rows).sum().item<double>()));
  };
  add("training rows", parts_.train);
  add("validation rows", parts_.valid);
  add("test rows", parts_.test);
  facts.data.emplace_back("upper level", papers() ? "on the validation rows" : "on the training rows");
}

}  // namespace bilevel
