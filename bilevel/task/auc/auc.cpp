// The job behind `bilevel auc`: from files to a classifier that maximizes AUC, its figures and a report.
//
// Options: AucJobOptions. A run writes options.json, the checkpoints of its passes, trace.jsonl, and at the end summary.json,
// model.safetensors, model.json (of trees that are kept trees.ubj), predictions.tsv, explain.tsv, loss.svg, auc.svg, roc.svg, report.html. `predict` is
// `predict_auc`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "bilevel/core/files.h"
#include "bilevel/core/json_file.h"
#include "bilevel/report/escape.h"
#include "bilevel/task/auc/auc_kept.h"
#include "bilevel/task/auc/auc_predict.h"
#include "bilevel/task/auc/auc_report.h"
#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/job/boosting.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

Json metrics_json(const ScoredRows& rows, double loss) {
  return {{"auc", auc(rows)}, {"average_precision", average_precision(rows)}, {"loss", loss}};
}

/// Measures the baselines on the test rows, and says so where one ranks the validation rows better; into the summary.
void measure_baselines(const AucSetup& setup, const AucOutcome& outcome, AucFigures& figures, Json& summary) {
  const AucParts& parts = setup.parts();
  const double own_valid = summary.at("metrics").at("valid").at("auc");
  const std::vector<int64_t> units = setup.unit_numbers(parts.test);
  for (const AucBaseline& baseline : outcome.baselines) {
    const ScoredRows rows(baseline.scores, setup.labels_of(parts.test));
    const AucEstimate estimate = auc_estimate(rows, units);
    const AucDifference difference = auc_difference(figures.test, rows, units);
    Json& entry = summary["baselines"][baseline.key];
    const double valid = auc(ScoredRows(baseline.valid, setup.labels_of(parts.valid)));
    entry = {{"name", baseline.name},
             {"valid_auc", valid},
             {"test_auc", estimate.auc},
             {"test_auc_interval", {estimate.low, estimate.high}}};
    entry.update(difference_json(difference.paired()));
    if (outcome.judging == parts.valid && valid > own_valid)
      summary["warnings"].push_back(
          fmt::format("{} ranks the validation rows better (AUC {:.4f}) than this model ({:.4f}){}",
                      baseline.name, valid, own_valid,
                      setup.options().folds       ? ""
                      : setup.options().keep_best ? "; the best of these is saved (--keep-best)"
                                                  : "; --keep-best saves the best of these in its place"));
    figures.baselines.push_back({baseline.key, baseline.name, estimate, difference});
    figures.baseline_rows.push_back(rows);
  }
  summary["verdict"] = verdicts_of(summary.at("baselines"));
  if (const std::string lacks = lacks_boosting(setup.options()); !lacks.empty())
    summary["not_compared"] = lacks;
}

/// Measures on the test rows; metrics and baselines go into the summary.
AucFigures measure(AucSetup& setup, const AucOutcome& outcome, Json& summary) {
  const AucParts& parts = setup.parts();
  const AucModel& model = *outcome.model;
  const auto score = [&](const std::vector<int64_t>& rows) {
    return model.scores(outcome.features.read.inputs, rows);
  };
  const torch::Tensor train_labels = setup.labels_of(parts.train), test_labels = setup.labels_of(parts.test);
  const torch::Tensor train_scores = score(parts.train), test_scores = score(parts.test);
  const ScoredRows valid(outcome.valid_scores, setup.labels_of(outcome.judging));
  const ScoredRows test(test_scores, test_labels);
  summary["metrics"] = {
      {"train", metrics_json(ScoredRows(train_scores, train_labels), model.loss(train_scores, train_labels))},
      {"valid", metrics_json(valid, outcome.valid_loss)},
      {"test", metrics_json(test, model.loss(test_scores, test_labels))}};
  const AucEstimate estimate = auc_estimate(test, setup.unit_numbers(parts.test));
  summary["test_auc_interval"] = {estimate.low, estimate.high};
  if (const std::string unfit = warning_of_scores(test); !unfit.empty()) summary["warnings"].push_back(unfit);
  AucFigures figures{.test = test, .kept = test, .estimate = estimate};
  measure_baselines(setup, outcome, figures, summary);
  return figures;
}

/// A sentence where the probabilities [rows, 2] of the test rows are, in the mean, far from the share of positive rows among those that
/// the probabilities come from: the objective does not see a shift of all scores, and the refit may bring one. Without labels of the test
/// rows. Else empty.
std::string warning_of_shift(const AucSetup& setup, const torch::Tensor& labels,
                             const torch::Tensor& probabilities) {
  const double share = labels.to(torch::kFloat64).mean().item<double>(),
               mean = probabilities.select(1, 1).mean().item<double>();
  const double rows =
      1 / (1 / static_cast<double>(labels.numel()) + 1 / static_cast<double>(probabilities.size(0)));
  const bool near = std::abs(mean - share) < 0.05 + 2.5 * std::sqrt(share * (1 - share) / rows);
  if (near || setup.options().positive_fraction) return "";
  return fmt::format(
      "threshold and probabilities may be wrong: by them {:.2g} of the test rows are {}, and {:.2g} of the "
      "rows that they were fitted "
      "on. Unless the test rows are of another kind, the refit has shifted all scores; --no-refit keeps them "
      "where they were",
      mean, setup.options().positive, share);
}

/// What the model that is saved makes of its scores: threshold and calibration, into the summary.
Calibration decide(const AucSetup& setup, const AucKept& kept, const std::vector<int64_t>& judging,
                   AucFigures& figures, Json& summary) {
  const torch::Tensor labels = setup.labels_of(judging);
  const ScoredRows valid(kept.valid, labels);
  figures.kept = ScoredRows(kept.test, setup.labels_of(setup.parts().test));
  const ThresholdCounts on_valid = best_f1(valid), on_test = counts_at(figures.kept, on_valid.threshold);
  figures.threshold = {on_valid, on_test};
  summary["kept"] = {{"model", kept.key},
                     {"name", kept.name},
                     {"why", kept.why},
                     {"valid_auc", auc(valid)},
                     {"test_auc", auc(figures.kept)}};
  summary["threshold"] = {{"value", on_valid.threshold},
                          {"test_precision", on_test.precision()},
                          {"test_recall", on_test.recall()},
                          {"test_f1", on_test.f1()}};
  Calibration calibration = fit_curves(auc_probabilities(kept.valid), labels.to(torch::kInt64));
  summary["calibration"] = calibration.to_json();
  if (const std::string flat = calibration.warning(); !flat.empty()) summary["warnings"].push_back(flat);
  if (const std::string far =
          warning_of_shift(setup, labels, calibration.apply(auc_probabilities(kept.test)));
      !far.empty())
    summary["warnings"].push_back(far);
  return calibration;
}

void write_predictions(const AucSetup& setup, const AucFigures& figures, const AucKept& kept,
                       const Calibration& calibration) {
  std::vector<Column> columns = setup.data_files().places(setup.parts().test);
  columns.push_back(label_column(setup.class_names(), setup.labels_of(setup.parts().test).to(torch::kInt64)));
  for (Column& column : auc_columns(torch::tensor(figures.kept.scores(), torch::kFloat64),
                                    figures.threshold.valid.threshold, setup.class_names(), calibration))
    columns.push_back(std::move(column));
  if (!kept.trained())
    columns.push_back(number_column("score_trained", torch::tensor(figures.test.scores(), torch::kFloat64)));
  for (size_t i = 0; i < figures.baselines.size(); ++i)
    columns.push_back(number_column("score_" + figures.baselines[i].key,
                                    torch::tensor(figures.baseline_rows[i].scores(), torch::kFloat64)));
  write_tsv(setup.path("predictions.tsv"), columns);
}

void explain(const AucSetup& setup, const AucKept& kept, Json& summary) {
  summary["explanation"] = nullptr;
  if (!kept.model) return;  // trees
  const std::vector<int64_t>& rows = setup.parts().train;
  explain_model(setup.context(),
                {.network = *kept.model->network(),
                 .inputs = kept.features.read.inputs,
                 .rows = rows,
                 .input_names = explained_names(*kept.features.fitted, setup.data_files(), rows),
                 .outputs = {setup.options().positive},
                 .device = setup.options().torch_device()},
                summary);
}

std::string auc_text(const AucSetup& setup, const AucFigures& figures, const Json& summary) {
  const ScoredRows &test = figures.test, &kept_rows = figures.kept;
  std::string text =
      fmt::format("\ntest AUC {:.4f} (95 % score interval {:.4f} to {:.4f}), average precision {:.4f}\n",
                  figures.estimate.auc, figures.estimate.low, figures.estimate.high, average_precision(test));
  for (const ReportBaseline& baseline : figures.baselines)
    text += fmt::format("{}: test AUC {:.4f}\n", baseline.name, baseline.test.auc);
  for (const ReportBaseline& baseline : figures.baselines)
    text += verdict_on(baseline.difference.paired(), baseline.name, "test AUC") + "\n";
  if (summary.contains("not_compared")) text += summary.at("not_compared").get<std::string>() + "\n";
  if (const Json& kept = summary.at("kept"); setup.options().keep_best)
    text += fmt::format("saved is {} (test AUC {:.4f}): {}\n", kept.at("name").get<std::string>(),
                        kept.at("test_auc").get<double>(), kept.at("why").get<std::string>());
  for (const Json& warning : summary.at("warnings"))
    text += fmt::format("warning: {}\n", printable(warning.get<std::string>()));
  text += "\nthe best-ranked test rows ('*' marks a true positive):\n";
  const std::vector<int64_t>& rows = setup.parts().test;
  for (size_t i = 0; i < std::min<size_t>(8, rows.size()); ++i) {
    const auto at = static_cast<size_t>(kept_rows.order()[i]);
    text += fmt::format("  {} {:+.4g}  {}\n", kept_rows.positive(kept_rows.order()[i]) ? '*' : ' ',
                        kept_rows.scores()[at], shortened(printable(setup.row_text(rows[at])), 90));
  }
  return text + fmt::format("\nreport: {}/report.html\n", setup.context().out);
}

/// Which encoders were considered where none was given, kept in a file: a run that is resumed is given the one that was taken.
Json encoder_choice(AucSetup& setup) {
  const std::string file = setup.path("encoder_choice.json");
  Json choice = Json::array();
  for (const EncoderCandidate& candidate : setup.encoder_choice()) choice.push_back(candidate.to_json());
  if (!choice.empty()) {
    write_file_atomically(file, choice.dump(2) + "\n");
  } else if (std::filesystem::exists(file)) {
    choice = parse_json_file<Json>(file);
    std::vector<EncoderCandidate> considered;
    for (const Json& one : choice) considered.push_back(EncoderCandidate::from_json(one));
    for (const std::string& sentence : kept_by_budget(considered, setup.options().budget))
      setup.note(sentence);
  }
  return choice;
}

JobResult run_auc(AucSetup& setup, JobParts& parts) {
  const AucJobOptions& o = setup.options();
  const FolderLock lock = setup.context().open(o, setup.files());
  const Json choice = encoder_choice(setup);
  Passes passes({.trace = setup.context().path("trace.jsonl")});
  AucOutcome outcome;
  try {
    outcome = train_auc(setup, parts, passes);
  } catch (const Interrupted& stop) {
    return interrupted(setup.context(), o, passes, stop.message);
  }
  if (!outcome.model) return unfinished(setup.context(), o, passes);

  setup.context().phases->begin(kReportPhase, "measuring");
  Json summary = summary_of(setup.context(), o, passes);
  summary["best_step"] = outcome.best_step;
  if (!choice.empty()) summary["encoder_choice"] = choice;
  for (const std::string& note : setup.notes()) summary["warnings"].push_back(note);
  AucFigures figures = measure(setup, outcome, summary);
  setup.context().phases->begin(kReportPhase, "writing the report");
  const AucKept kept = keep_model(setup, outcome);
  const Calibration calibration = decide(setup, kept, outcome.judging, figures, summary);
  save_kept(setup, kept,
            {{"positive", o.positive},
             {"classes", setup.parts().values},
             {"threshold", figures.threshold.valid.threshold},
             {"calibration", calibration.to_json()},
             {"loss", o.loss}});
  write_predictions(setup, figures, kept, calibration);
  explain(setup, kept, summary);
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
          .make =
              [] {
                return std::make_unique<JobInParts<AucJobOptions, AucSetup>>(run_auc, auc_work,
                                                                             kMostAucParts);
              },
          .predict = predict_auc,
          .in_parts = true,
          .measure = JobMeasure{"/metrics/test/auc", "test AUC"},
          .suggest = suggest_auc};
}

}  // namespace bilevel
