#include "bilevel/task/compare/auc_contest.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <filesystem>

#include "bilevel/report/metrics.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

class AucAttempt : public Attempt {
 public:
  AucAttempt(const AucParts& parts, const FittedInputs& features, const AucTrainingOptions& options,
             uint64_t seed)
      : parts_(parts),
        inputs_(features.inputs),
        options_(options),
        model_(options.network, features.shape, AucLoss{.form = options.loss, .margin = options.margin},
               options.l2, seed, options.device) {}

  Problem problem() override {
    return model_.problem({.inputs = inputs_,
                           .labels = parts_.labels,
                           .upper = options_.papers ? parts_.valid : parts_.train,
                           .lower = parts_.train},
                          options_.batch_size);
  }

  Json measure(int64_t step) override {
    const std::optional<ScoredRows> valid = scored(parts_.valid), test = scored(parts_.test);
    if (!valid || !test) return {{"test_auc", nullptr}, {"valid_auc", nullptr}};
    const AucEstimate estimate = auc_estimate(*valid);
    const double test_auc = auc(*test);
    if (rule_.consider({estimate.auc, estimate.standard_error})) {
      result_ = {{"test_auc", test_auc}, {"valid_auc", estimate.auc}, {"chosen_step", step}};
    }
    return {{"test_auc", test_auc}, {"valid_auc", estimate.auc}};
  }

  Json result(const std::vector<Json>&) const override { return result_; }

 private:
  /// None when a score is not a number.
  std::optional<ScoredRows> scored(const std::vector<int64_t>& rows) const {
    const torch::Tensor scores = model_.scores(inputs_, rows);
    if (!scores.isfinite().all().item<bool>()) return std::nullopt;
    return ScoredRows(scores, parts_.labels.index_select(0, torch::tensor(rows, torch::kInt64)));
  }

  const AucParts& parts_;
  const Inputs& inputs_;
  const AucTrainingOptions& options_;
  AucModel model_;
  StepRule rule_;
  Json result_ = {{"test_auc", nullptr}, {"valid_auc", nullptr}, {"chosen_step", nullptr}};
};

}  // namespace

AucContest::AucContest(AucJobOptions options, const std::function<void(const std::string&)>& message)
    : setup_(std::move(options), message) {}

ContestFacts AucContest::facts() const {
  const AucJobOptions& o = setup_.options();
  const AucParts& parts = setup_.parts();
  const auto auc_of = [](const char* key, const char* name) {
    return Measure{.key = key, .name = name, .higher_is_better = true};
  };
  const auto rows = [&](const std::vector<int64_t>& part) {
    const double positives =
        parts.labels.index_select(0, torch::tensor(part, torch::kInt64)).sum().item<double>();
    return fmt::format("{} rows, {:.0f} positive", part.size(), positives);
  };
  return {.task = "auc",
          .title = fmt::format("auc on {}, {} encoder", std::filesystem::path(o.train).filename().string(),
                               o.encoder),
          .metric = auc_of("test_auc", "test AUC"),
          .tuning_metric = auc_of("valid_auc", "validation AUC"),
          .further = {auc_of("valid_auc", "validation AUC")},
          .traits = {.noise = Noise::finite_sum},
          .seeds_mean =
              "The seeds change initial weights and batches; data, parts and features are the same in "
              "all runs. So the intervals say how much the training varies, not how much another "
              "sample of test rows would change.",
          .last_tenth = false,
          .data = {{"training file", o.train},
                   {"encoder", o.encoder},
                   {"batch size", std::to_string(setup_.training().batch_size)},
                   {"training rows", rows(parts.train)},
                   {"validation rows", rows(parts.valid)},
                   {"test rows", rows(parts.test)},
                   {"upper level", o.levels == "papers" ? "on the validation rows" : "on the training rows"},
                   {"threads", std::to_string(at::get_num_threads())},
                   {"device", o.device},
                   {"seed of the parts", std::to_string(o.seed)}}};
}

std::unique_ptr<Attempt> AucContest::attempt(uint64_t seed) {
  return std::make_unique<AucAttempt>(setup_.parts(), setup_.first(), setup_.training(), seed);
}

Json AucContest::to_json() const {
  Json options = nlohmann::json(setup_.options());
  options["threads"] = at::get_num_threads();
  return {{"kind", "auc"}, {"options", options}};
}

std::unique_ptr<Contest> AucContest::from_json(const Json& saved,
                                               const std::function<void(const std::string&)>& message) {
  return std::make_unique<AucContest>(nlohmann::json(saved.at("options")).get<AucJobOptions>(), message);
}

}  // namespace bilevel
