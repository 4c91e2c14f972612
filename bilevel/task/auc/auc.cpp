// The job behind `bilevel auc`: from files to a classifier that maximizes AUC, its figures and a report.
//
// Options: AucJobOptions. A run writes options.json and a checkpoint before step 1, trace.jsonl, and at the end summary.json,
// model.safetensors, model.json, predictions.tsv, explain.tsv, loss.svg, auc.svg, roc.svg, report.html. `predict` is
// `predict_auc`.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "bilevel/model/logistic_regression.h"
#include "bilevel/report/escape.h"
#include "bilevel/task/auc/auc_predict.h"
#include "bilevel/task/auc/auc_report.h"
#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

// Of the baseline's time, after the fits at weaker and weaker penalties; the rest is the refit.
constexpr double kFitted[] = {0.07, 0.15, 0.25, 0.42, 0.77};

Json metrics_json(const ScoredRows& rows, double loss) {
  return {{"auc", auc(rows)}, {"average_precision", average_precision(rows)}, {"loss", loss}};
}

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

/// Test rows scored by L2-regularized logistic regression on the same rows: C chosen on the validation rows, then refitted
/// on both parts.
ScoredRows baseline_on(AucSetup& setup, const Inputs& inputs, int64_t width) {
  const AucParts& parts = setup.parts();
  const int64_t most = rows_in_memory(inputs);
  const std::vector<int64_t> train = evenly(parts.train, most), judges = evenly(parts.valid, most);
  if (train.size() < parts.train.size())
    setup.note(fmt::format("the baseline is fitted on {} of the {} training rows: it keeps them in memory",
                           train.size(), parts.train.size()));
  const torch::Tensor valid = setup.labels_of(judges);
  Phases& phases = *setup.context().phases;
  phases.begin(kLinearFits, "linear baseline");
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
  return {torch::cat(scores), setup.labels_of(parts.test)};
}

/// Token encoders are compared with logistic regression on hashed n-grams, all others on the features they
/// read.
std::pair<ScoredRows, std::string> make_baseline(AucSetup& setup, const FittedInputs& read) {
  if (read.inputs.kind() != InputKind::tokens)
    return {baseline_on(setup, read.inputs, read.shape.width), "logistic regression on the same features"};
  FeatureOptions options = feature_options(setup.options(), "bag", 256);
  options.embedding.clear();
  setup.context().phases->begin(kNgrams, "n-grams of the baseline");
  const FittedInputs inputs = setup.fit(options, setup.parts().train).second;
  return {baseline_on(setup, inputs.inputs, inputs.shape.width),
          "logistic regression on word and character n-grams"};
}

/// Measures on the test rows; metrics, threshold and baseline go into the summary.
AucFigures measure(AucSetup& setup, const AucOutcome& outcome, Json& summary) {
  const AucParts& parts = setup.parts();
  const AucModel& model = *outcome.model;
  const auto score = [&](const std::vector<int64_t>& rows) {
    return model.scores(outcome.features.inputs, rows);
  };
  const torch::Tensor train_labels = setup.labels_of(parts.train), test_labels = setup.labels_of(parts.test);
  const torch::Tensor train_scores = score(parts.train), test_scores = score(parts.test);
  const ScoredRows valid(outcome.valid_scores, setup.labels_of(outcome.judging));
  const ScoredRows test(test_scores, test_labels);
  summary["metrics"] = {
      {"train", metrics_json(ScoredRows(train_scores, train_labels), model.loss(train_scores, train_labels))},
      {"valid", metrics_json(valid, outcome.valid_loss)},
      {"test", metrics_json(test, model.loss(test_scores, test_labels))}};
  const AucEstimate estimate = auc_estimate(test);
  const ThresholdCounts on_valid = best_f1(valid);
  const ThresholdCounts on_test = counts_at(test, on_valid.threshold);
  summary["test_auc_interval"] = {estimate.low, estimate.high};
  summary["threshold"] = {{"value", on_valid.threshold},
                          {"test_precision", on_test.precision()},
                          {"test_recall", on_test.recall()},
                          {"test_f1", on_test.f1()}};

  setup.context().say("fitting the linear baseline");
  const auto [baseline, name] = make_baseline(setup, outcome.features);
  const AucEstimate of_baseline = auc_estimate(baseline);
  const AucDifference difference = auc_difference(test, baseline);
  summary["baseline"] = {{"name", name},
                         {"test_auc", of_baseline.auc},
                         {"test_auc_interval", {of_baseline.low, of_baseline.high}}};
  summary["baseline"].update(difference_json(difference.paired()));
  if (const std::string unfit = warning_of_scores(test); !unfit.empty()) summary["warnings"].push_back(unfit);
  return {test, baseline, estimate, {name, of_baseline, difference}, {on_valid, on_test}};
}

void write_predictions(const AucSetup& setup, const AucFigures& figures, const Calibration& calibration) {
  std::vector<Column> columns = setup.data_files().places(setup.parts().test);
  columns.push_back(label_column(setup.class_names(), setup.labels_of(setup.parts().test).to(torch::kInt64)));
  for (Column& column : auc_columns(torch::tensor(figures.test.scores(), torch::kFloat64),
                                    figures.threshold.valid.threshold, setup.class_names(), calibration))
    columns.push_back(std::move(column));
  write_tsv(setup.path("predictions.tsv"), columns);
}

void explain(const AucSetup& setup, const AucOutcome& outcome, Json& summary) {
  const std::vector<int64_t>& rows = setup.parts().train;
  explain_model(setup.context(),
                {.network = *outcome.model->network(),
                 .inputs = outcome.features.inputs,
                 .rows = rows,
                 .input_names = explained_names(*outcome.fitted, setup.data_files(), rows),
                 .outputs = {setup.options().positive},
                 .device = setup.options().torch_device()},
                summary);
}

std::string auc_text(const AucSetup& setup, const AucFigures& figures, const Json& summary) {
  const ScoredRows& test = figures.test;
  std::string text = fmt::format(
      "\ntest AUC {:.4f} (95 % score interval {:.4f} to {:.4f}), average precision {:.4f}\n{}: test AUC "
      "{:.4f}\n",
      figures.estimate.auc, figures.estimate.low, figures.estimate.high, average_precision(test),
      figures.baseline.name, figures.baseline.test.auc);
  for (const Json& warning : summary.at("warnings"))
    text += fmt::format("warning: {}\n", printable(warning.get<std::string>()));
  text += "\nthe best-ranked test rows ('*' marks a true positive):\n";
  const std::vector<int64_t>& rows = setup.parts().test;
  for (size_t i = 0; i < std::min<size_t>(8, rows.size()); ++i) {
    const auto at = static_cast<size_t>(test.order()[i]);
    text += fmt::format("  {} {:+.4g}  {}\n", test.positive(test.order()[i]) ? '*' : ' ', test.scores()[at],
                        shortened(printable(setup.row_text(rows[at])), 90));
  }
  return text + fmt::format("\nreport: {}/report.html\n", setup.context().out);
}

JobResult run_auc(AucSetup& setup) {
  const AucJobOptions& o = setup.options();
  const FolderLock lock = setup.context().open(o, setup.files());
  Passes passes = setup.context().passes();
  const AucOutcome outcome = train_auc(setup, passes);
  if (!outcome.model) return unfinished(setup.context(), o, passes);

  setup.context().phases->begin(kReportPhase, "measuring");
  Json summary = summary_of(setup.context(), o, passes);
  summary["best_step"] = outcome.best_step;
  for (const std::string& note : setup.notes()) summary["warnings"].push_back(note);
  const AucFigures figures = measure(setup, outcome, summary);
  setup.context().phases->begin(kReportPhase, "writing the report");
  const double threshold = figures.threshold.valid.threshold;
  const Calibration calibration =
      fit_platt(auc_probabilities(outcome.valid_scores), setup.labels_of(outcome.judging).to(torch::kInt64));
  summary["calibration"] = calibration.to_json();
  save_model(setup.context(), o, *outcome.model->network(), *outcome.fitted, outcome.model->loss_tensors(),
             {{"positive", o.positive},
              {"classes", setup.parts().values},
              {"threshold", threshold},
              {"calibration", calibration.to_json()},
              {"loss", o.loss}});
  write_predictions(setup, figures, calibration);
  explain(setup, outcome, summary);
  note_time(setup.context(), summary);
  write_auc_report(setup, outcome, figures, summary);
  std::string text = auc_text(setup, figures, summary);
  return finished(setup.context(), passes, std::move(summary), std::move(text));
}

/// Where there are two classes, or one is rare.
std::optional<Suggestion> suggest_auc(const DataDescription& d) {
  const LabelCount& rarest = d.classes.back();
  const double share = static_cast<double>(rarest.rows) / static_cast<double>(d.rows);
  if (rarest.rows < 3 || (d.classes.size() != 2 && share >= 0.1)) return std::nullopt;
  return Suggestion{
      " --positive " + shell_word(rarest.value),
      fmt::format("rank the rows by class {} ({:.1f} % of the rows)", rarest.value, 100 * share)};
}

}  // namespace

JobEntry auc_entry() {
  return {.name = "auc",
          .summary = "train a classifier that maximizes AUC on imbalanced text or tables",
          .first_try = "--train reviews.tsv --text text --label class --positive spam",
          .score = "AUC",
          .make = [] { return std::make_unique<JobOf<AucJobOptions, AucSetup>>(run_auc); },
          .predict = predict_auc,
          .suggest = suggest_auc};
}

}  // namespace bilevel
