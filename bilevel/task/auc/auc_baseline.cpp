#include "bilevel/task/auc/auc_baseline.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/core/tensor_json.h"
#include "bilevel/model/logistic_regression.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/job/boosting.h"
#include "bilevel/task/job/costs.h"

namespace bilevel {
namespace {

// Of the baseline's time, after the fits at weaker and weaker penalties; the rest is the refit.
constexpr double kFitted[] = {0.07, 0.15, 0.25, 0.42, 0.77};

/// At most as many rows as a fit holds in memory, by part.
struct FittedRows {
  FittedRows(AucSetup& setup, const FittedInputs& read) {
    const AucParts& parts = setup.parts();
    const int64_t most = rows_in_memory(read.inputs);
    train = evenly(parts.train, most);
    valid = evenly(parts.valid, most);
    pool = evenly(setup.pool(), most);
    if (train.size() < parts.train.size())
      setup.note(
          fmt::format("logistic regression is fitted on {} of the {} training rows: it keeps them in memory",
                      train.size(), parts.train.size()));
  }

  std::vector<int64_t> train, valid, pool;
};

AucBaseline fit_linear(AucSetup& setup, const FittedInputs& read, const std::string& name) {
  const Inputs& inputs = read.inputs;
  const int64_t width = read.shape.width;
  const FittedRows rows(setup, read);
  const torch::Tensor valid = setup.labels_of(rows.valid);
  Phases& phases = *setup.context().phases;
  size_t fits = 0;
  LogisticRegression chosen =
      select_logistic_regression(inputs.gather(rows.train), width, setup.labels_of(rows.train),
                                 inputs.gather(rows.valid), [&](const torch::Tensor& scores) {
                                   phases.advance(kFitted[fits++] / (setup.refit() ? 1 : kFitted[4]));
                                   return auc(ScoredRows(scores, valid));
                                 });
  const auto score = [&](const std::vector<torch::Tensor>& of) { return chosen.scores(of); };
  const AucParts& parts = setup.parts();
  AucBaseline made{.key = "logistic_regression",
                   .name = name,
                   .valid = scores_in_parts(inputs, parts.valid, score),
                   .scores = {}};
  if (setup.refit()) {
    chosen = fit_logistic_regression(inputs.gather(rows.pool), width, setup.labels_of(rows.pool),
                                     {.inverse_regularization = chosen.inverse_regularization}, &chosen);
  }
  made.scores = scores_in_parts(inputs, parts.test, score);
  if (setup.options().keep_best)
    made.saved = {{"weight", chosen.weight},
                  {"intercept", torch::tensor({chosen.intercept}, torch::kFloat64)}};
  return made;
}

bool reads_tokens(const AucSetup& setup) {
  return encoder_registry().at(setup.options().encoder).reads == Reads::words;
}

double linear_fits_cost(AucSetup& setup) {
  const FittedInputs& read = setup.fit(setup.parts().train).read;
  const auto rows = static_cast<int64_t>(setup.parts().train.size());
  return (setup.refit() ? 6 : 5) * linear_fit_cost(read, rows);
}

double linear_cost(AucSetup& setup) {
  const double fits = linear_fits_cost(setup);
  return reads_tokens(setup) ? fits + ngrams_cost(setup.fit(setup.parts().train).read.inputs) : fits;
}

AucBaseline linear_baseline(AucSetup& setup) {
  if (!reads_tokens(setup))
    return fit_linear(setup, linear_features(setup).read, "logistic regression on the same features");
  Phases& phases = *setup.context().phases;
  const double of_fits = linear_fits_cost(setup) / linear_cost(setup);
  phases.stretch(1 - of_fits);
  const FittedInputs inputs = linear_features(setup).read;
  phases.stretch(of_fits);
  return fit_linear(setup, inputs, "logistic regression on word and character n-grams");
}

double boosting_baseline_cost(AucSetup& setup) {
  const std::vector<int64_t>& rows = setup.parts().train;
  return boosting_cost(setup.fit(rows).read, static_cast<int64_t>(rows.size()));
}

AucBaseline boosting_baseline(AucSetup& setup) {
  const AucParts& parts = setup.parts();
  BoostedParts rows{parts.train, parts.valid};
  if (setup.refit()) rows.refit = setup.pool();
  const FittedInputs& read = setup.fit(setup.refit() ? setup.pool() : parts.train).read;
  const Boosted made = boost(setup, read, parts.labels.to(torch::kInt64), 2, rows,
                             [](const torch::Tensor& scores, const torch::Tensor& classes) {
                               return auc(ScoredRows(scores, classes));
                             });
  AucBaseline baseline{.key = "gradient_boosting",
                       .name = "gradient boosting of trees (XGBoost) on the same features",
                       .valid = made.valid,
                       .scores = made.scores(read.inputs, parts.test)};
  if (setup.options().keep_best) {
    const std::string bytes = made.trees.bytes();
    baseline.saved = {
        {"trees", torch::tensor(std::vector<uint8_t>(bytes.begin(), bytes.end()), torch::kUInt8)},
        {"rounds", torch::tensor({made.trees.rounds()}, torch::kInt64)}};
  }
  return baseline;
}

}  // namespace

nlohmann::ordered_json AucBaseline::to_json() const {
  return {{"key", key},
          {"name", name},
          {"valid", tensor_json(valid)},
          {"scores", tensor_json(scores)},
          {"saved", tensors_json(saved)}};
}

AucBaseline AucBaseline::from_json(const nlohmann::ordered_json& json) {
  return {.key = json.at("key"),
          .name = json.at("name"),
          .valid = tensor_from(json.at("valid")),
          .scores = tensor_from(json.at("scores")),
          .saved = tensors_from(json.at("saved"))};
}

AucFeatures linear_features(AucSetup& setup) {
  if (!reads_tokens(setup)) return setup.fit(setup.refit() ? setup.pool() : setup.parts().train);
  FeatureOptions options = feature_options(setup.options(), "bag", 256);
  options.embedding.clear();
  return setup.fit(options, setup.parts().train);
}

std::vector<AucRival> auc_rivals(const AucSetup& setup) {
  std::vector<AucRival> rivals{
      {.part = "baseline", .shown = "linear baseline", .cost = linear_cost, .make = linear_baseline}};
  if (has_boosting(setup.options())) {
    rivals.push_back({.part = "boosting",
                      .shown = "gradient boosting",
                      .cost = boosting_baseline_cost,
                      .make = boosting_baseline});
  }
  return rivals;
}

}  // namespace bilevel
