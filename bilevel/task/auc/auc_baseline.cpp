#include "bilevel/task/auc/auc_baseline.h"

#include <fmt/format.h>

#include <algorithm>

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

/// Scores of the test rows.
torch::Tensor scores_on(AucSetup& setup, const FittedInputs& read) {
  const AucParts& parts = setup.parts();
  const Inputs& inputs = read.inputs;
  const int64_t most = rows_in_memory(inputs), width = read.shape.width;
  const std::vector<int64_t> train = evenly(parts.train, most), judges = evenly(parts.valid, most);
  if (train.size() < parts.train.size())
    setup.note(fmt::format("the baseline is fitted on {} of the {} training rows: it keeps them in memory",
                           train.size(), parts.train.size()));
  const torch::Tensor valid = setup.labels_of(judges);
  Phases& phases = *setup.context().phases;
  size_t fits = 0;
  LogisticRegression chosen =
      select_logistic_regression(inputs.gather(train), width, setup.labels_of(train), inputs.gather(judges),
                                 [&](const torch::Tensor& scores) {
                                   phases.advance(kFitted[fits++] / (setup.refit() ? 1 : kFitted[4]));
                                   return auc(ScoredRows(scores, valid));
                                 });
  if (setup.refit()) {
    std::vector<int64_t> pool = parts.train;
    pool.insert(pool.end(), parts.valid.begin(), parts.valid.end());
    pool = evenly(pool, most);
    chosen = fit_logistic_regression(inputs.gather(pool), width, setup.labels_of(pool),
                                     {.inverse_regularization = chosen.inverse_regularization}, &chosen);
  }
  std::vector<torch::Tensor> scores;
  for (size_t begin = 0; begin < parts.test.size(); begin += static_cast<size_t>(most)) {
    const size_t end = std::min(parts.test.size(), begin + static_cast<size_t>(most));
    scores.push_back(chosen.scores(inputs.gather({parts.test.begin() + static_cast<std::ptrdiff_t>(begin),
                                                  parts.test.begin() + static_cast<std::ptrdiff_t>(end)})));
  }
  return torch::cat(scores);
}

bool reads_tokens(const AucSetup& setup) {
  return encoder_registry().at(setup.options().encoder).reads == Reads::words;
}

double linear_fits_cost(AucSetup& setup) {
  const auto rows = static_cast<int64_t>(setup.parts().train.size());
  return (setup.refit() ? 6 : 5) * linear_fit_cost(setup.fit(setup.parts().train).read, rows);
}

}  // namespace

double baseline_cost(AucSetup& setup) {
  const double fits = linear_fits_cost(setup);
  return reads_tokens(setup) ? fits + ngrams_cost(setup.fit(setup.parts().train).read.inputs) : fits;
}

AucBaseline make_baseline(AucSetup& setup) {
  if (!reads_tokens(setup)) {
    const std::vector<int64_t> rows = setup.refit() ? setup.pool() : setup.parts().train;
    return {"logistic regression on the same features", scores_on(setup, setup.fit(rows).read)};
  }
  Phases& phases = *setup.context().phases;
  const double of_fits = linear_fits_cost(setup) / baseline_cost(setup);
  phases.stretch(1 - of_fits);
  FeatureOptions options = feature_options(setup.options(), "bag", 256);
  options.embedding.clear();
  const FittedInputs inputs = setup.fit(options, setup.parts().train).read;
  phases.stretch(of_fits);
  return {"logistic regression on word and character n-grams", scores_on(setup, inputs)};
}

}  // namespace bilevel
