#include "bilevel/task/auc/auc_baseline.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/core/tensor_json.h"
#include "bilevel/model/gradient_boosting.h"
#include "bilevel/model/logistic_regression.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/job/costs.h"

namespace bilevel {
namespace {

// Of the baseline's time, after the fits at weaker and weaker penalties; the rest is the refit.
constexpr double kFitted[] = {0.07, 0.15, 0.25, 0.42, 0.77};

/// Rows that a fit which keeps its inputs in memory, in float64, gets at most: about half a gigabyte of entries.
int64_t rows_in_memory(const Inputs& inputs) {
  const double most =
      inputs.kind() == InputKind::sparse ? 1e7 : 5e7;  // of entries; sparse ones have an index too
  double entries = 1;
  for (const torch::Tensor& part : inputs.matrix())
    entries = std::max(entries, static_cast<double>(part.numel()));
  const auto rows = static_cast<double>(inputs.rows());
  return std::max<int64_t>(1, static_cast<int64_t>(rows * std::min(1.0, most / entries)));
}

/// At most as many rows as a fit holds in memory, by part.
struct FittedRows {
  FittedRows(AucSetup& setup, const FittedInputs& read) : most(rows_in_memory(read.inputs)) {
    const AucParts& parts = setup.parts();
    train = evenly(parts.train, most);
    valid = evenly(parts.valid, most);
    pool = parts.train;
    pool.insert(pool.end(), parts.valid.begin(), parts.valid.end());
    pool = evenly(pool, most);
    if (train.size() < parts.train.size())
      setup.note(fmt::format("baselines are fitted on {} of the {} training rows: they keep them in memory",
                             train.size(), parts.train.size()));
  }

  int64_t most;
  std::vector<int64_t> train, valid, pool;
};

/// `score` of the rows' inputs, of so many rows at a time.
torch::Tensor scores_of(const std::vector<int64_t>& rows, const Inputs& inputs, int64_t most,
                        const std::function<torch::Tensor(const std::vector<torch::Tensor>&)>& score) {
  std::vector<torch::Tensor> scores;
  for (size_t begin = 0; begin < rows.size(); begin += static_cast<size_t>(most)) {
    const size_t end = std::min(rows.size(), begin + static_cast<size_t>(most));
    scores.push_back(score(inputs.gather({rows.begin() + static_cast<std::ptrdiff_t>(begin),
                                          rows.begin() + static_cast<std::ptrdiff_t>(end)})));
  }
  return torch::cat(scores);
}

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
                   .valid = scores_of(parts.valid, inputs, rows.most, score),
                   .scores = {}};
  if (setup.refit()) {
    chosen = fit_logistic_regression(inputs.gather(rows.pool), width, setup.labels_of(rows.pool),
                                     {.inverse_regularization = chosen.inverse_regularization}, &chosen);
  }
  made.scores = scores_of(parts.test, inputs, rows.most, score);
  return made;
}

bool reads_tokens(const AucSetup& setup) {
  return encoder_registry().at(setup.options().encoder).reads == Reads::words;
}
bool reads_columns(const AucSetup& setup) {
  return encoder_registry().at(setup.options().encoder).reads == Reads::columns;
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
  if (!reads_tokens(setup)) {
    const std::vector<int64_t> rows = setup.refit() ? setup.pool() : setup.parts().train;
    return fit_linear(setup, setup.fit(rows).read, "logistic regression on the same features");
  }
  Phases& phases = *setup.context().phases;
  const double of_fits = linear_fits_cost(setup) / linear_cost(setup);
  phases.stretch(1 - of_fits);
  FeatureOptions options = feature_options(setup.options(), "bag", 256);
  options.embedding.clear();
  const FittedInputs inputs = setup.fit(options, setup.parts().train).read;
  phases.stretch(of_fits);
  return fit_linear(setup, inputs, "logistic regression on word and character n-grams");
}

double boosting_baseline_cost(AucSetup& setup) {
  const std::vector<int64_t>& rows = setup.parts().train;
  return boosting_cost(setup.fit(rows).read, static_cast<int64_t>(rows.size()));
}

AucBaseline boosting_baseline(AucSetup& setup) {
  const FittedInputs& read = setup.fit(setup.refit() ? setup.pool() : setup.parts().train).read;
  const Inputs& inputs = read.inputs;
  const FittedRows rows(setup, read);
  const auto labelled = [&](const std::vector<int64_t>& part) {
    return BoostedRows{inputs.gather(part), setup.labels_of(part).to(torch::kInt64)};
  };
  GradientBoostingOptions options{.seed = setup.options().seed, .threads = *setup.options().threads};
  Phases& phases = *setup.context().phases;
  const BoostedRows valid = labelled(rows.valid);
  int64_t round = 0;
  const auto score_round = [&](const torch::Tensor& scores) {
    phases.advance(0.8 * static_cast<double>(++round) / static_cast<double>(options.most_rounds));
    return auc(ScoredRows(scores, valid.classes));
  };
  GradientBoosting trees =
      fit_gradient_boosting(labelled(rows.train), read.shape.width, 2, &valid, score_round, options);
  const auto score = [&](const std::vector<torch::Tensor>& of) { return trees.scores(of); };
  const AucParts& parts = setup.parts();
  AucBaseline made{.key = "gradient_boosting",
                   .name = "gradient boosting of trees (XGBoost) on the same features",
                   .valid = scores_of(parts.valid, inputs, rows.most, score),
                   .scores = {}};
  if (setup.refit()) {
    options.most_rounds = trees.rounds();
    trees = fit_gradient_boosting(labelled(rows.pool), read.shape.width, 2, nullptr, nullptr, options);
  }
  made.scores = scores_of(parts.test, inputs, rows.most, score);
  return made;
}

}  // namespace

nlohmann::ordered_json AucBaseline::to_json() const {
  return {{"key", key}, {"name", name}, {"valid", tensor_json(valid)}, {"scores", tensor_json(scores)}};
}

AucBaseline AucBaseline::from_json(const nlohmann::ordered_json& json) {
  return {.key = json.at("key"),
          .name = json.at("name"),
          .valid = tensor_from(json.at("valid")),
          .scores = tensor_from(json.at("scores"))};
}

std::vector<AucRival> auc_rivals(const AucSetup& setup) {
  std::vector<AucRival> rivals{
      {.part = "baseline", .shown = "linear baseline", .cost = linear_cost, .make = linear_baseline}};
  if (reads_columns(setup) && gradient_boosting_lacks().empty()) {
    rivals.push_back({.part = "boosting",
                      .shown = "gradient boosting",
                      .cost = boosting_baseline_cost,
                      .make = boosting_baseline});
  }
  return rivals;
}

std::string auc_lacks_rival(const AucSetup& setup) {
  const std::string lacks = reads_columns(setup) ? gradient_boosting_lacks() : "";
  return lacks.empty() ? "" : "not compared with gradient boosting: " + lacks;
}

}  // namespace bilevel
