// The job behind `bilevel clean`: from files to weights, a cleaned model, its figures and a report, in one folder.
//
// Options: CleanOptions. A run writes options.json and a checkpoint of the bilevel run, and at the end trace.jsonl,
// summary.json, weights.tsv, suspicious.tsv, cleaned.<format>, odd_rows.tsv, explain.tsv, model.safetensors, model.json, predictions.tsv (with a test file), out_of_fold.tsv (with baselines),
// weights.svg, loss.svg, report.html. `predict` is `predict_classes`.
//
// The method, which docs/clean.md explains:
// 1. Four folds of the training and of the trusted rows. Steps 2 and 4 are done without each of them in turn.
// 2. An opinion, in two rounds: classifiers of the rows of two of the three folds that are left predict the third; `fit_label_noise` and
//    `judge` turn that into the probability that a label is right, `weight_of` into weights. At first all rows count alike.
// 3. The bilevel run, over all folds: x = the strengths of the L2 term for each kind of features, and what a trusted row counts; lower
//    level, of each fold, a classifier of the weighted training rows and the trusted rows without that fold; upper level the
//    trusted rows, each by the classifier without its fold. See CleanModel.
// 4. A round of step 2 with x; classifiers with the weights that follow predict the fold that was left out: its trusted rows with the
//    other trusted rows, its training rows with all trusted rows.
// 5. `fit_label_noise`, with `noise_intervals`, on the predictions of all folds; the cleaned model: one fit on the rows with the
//    weights that follow and all trusted rows, calibrated as in `fit_label_noise`.
// Without trusted rows step 3 is left out, and nothing is calibrated.
#include <torch/types.h>

#include <cmath>

#include "bilevel/report/metrics.h"
#include "bilevel/task/clean/clean_files.h"
#include "bilevel/task/clean/clean_method.h"
#include "bilevel/task/clean/clean_report.h"
#include "bilevel/task/clean/clean_work.h"
#include "bilevel/task/clean/odd_rows.h"
#include "bilevel/task/job/boosting.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostCleanParts = kFolds + 3;  // at a time: the folds, and baselines beside them

Json flips_found(const CleanSetup& setup, const Cleaned& cleaned) {
  const torch::Tensor& flipped = setup.flips()->flipped;
  const torch::Tensor suspicious = cleaned.suspicious();
  const double flips = flipped.sum().item<double>();
  const double called = suspicious.sum().item<double>();
  const double hit = (flipped * suspicious.to(torch::kFloat64)).sum().item<double>();
  Json found{{"auroc", nullptr}, {"precision", nullptr}, {"recall", nullptr}};
  if (flips > 0 && flips < static_cast<double>(flipped.numel()))
    found["auroc"] = auc(ScoredRows(-cleaned.judgement.right, flipped));
  if (called > 0) found["precision"] = hit / called;
  if (flips > 0) found["recall"] = hit / flips;
  return found;
}

/// "label_noise": for each true class and each class that it is recorded as, the rate and its interval.
Json rates(const CleanSetup& setup, const Cleaned& cleaned) {
  Json result = Json::object();
  const auto& intervals = cleaned.intervals;
  for (int64_t j = 0; j < setup.classes(); ++j) {
    for (int64_t k = 0; k < setup.classes(); ++k) {
      Json entry{{"rate", cleaned.noise.transition[j][k].item<double>()}, {"interval", nullptr}};
      if (intervals && std::isfinite(intervals->low[j][k].item<double>()))
        entry["interval"] = {intervals->low[j][k].item<double>(), intervals->high[j][k].item<double>()};
      result[setup.name_of(j)][setup.name_of(k)] = entry;
    }
  }
  return result;
}

/// "learned": strengths by block of features, what a trusted row counts, weights of units; each at first and in the end.
Json learned(const Weighing& setup, const Cleaned& cleaned) {
  const FitStrengths first = setup.first_strengths();
  const FitStrengths& last = cleaned.strengths;
  const auto both = [](double at_first, double in_the_end) {
    return Json{{"first", at_first}, {"learned", in_the_end}};
  };
  Json result{{"l2", Json::object()}};
  const std::vector<std::string>& blocks = setup.inputs().blocks;
  for (size_t b = 0; b < blocks.size(); ++b) result["l2"][blocks[b]] = both(first.l2[b], last.l2[b]);
  if (!setup.trusted().empty()) result["trusted_weight"] = both(first.trusted, last.trusted);
  if (cleaned.best_step)
    result["gain"] = {{"trusted_loss", cleaned.gain.first},
                      {"standard_error", cleaned.gain.second},
                      {"taken", cleaned.takes_learned}};
  for (size_t u = 0; u < last.of_units.size(); ++u) {
    result["weights"][setup.unit_names()[u]] = last.of_units[u];
    if (!cleaned.unit_errors.defined()) continue;
    const auto [low, high] = cleaned.unit_interval(u);
    result["weight_intervals"][setup.unit_names()[u]] = {low, high};
  }
  return result;
}

/// What was learned and estimated, into the summary.
void describe(const Weighing& setup, const Cleaned& cleaned, Json& summary) {
  const CleanOptions& o = setup.options();
  for (const std::string& note : setup.notes()) summary["warnings"].push_back(note);
  summary["rows"] = cleaned.weights.numel();
  summary["suspicious"] = cleaned.suspicious().sum().item<int64_t>();
  summary["estimated_noise"] = cleaned.noise.share;
  summary["estimated_noise_interval"] = nullptr;
  if (const auto& intervals = cleaned.intervals)
    summary["estimated_noise_interval"] = {intervals->share.first, intervals->share.second};
  summary["label_noise"] = rates(setup, cleaned);
  summary["calibration"] = cleaned.intervals ? cleaned.calibration.to_json() : Json(nullptr);
  summary["noise_calibration"] = cleaned.intervals ? cleaned.noise.calibration.to_json() : Json(nullptr);
  const auto scores = [&](const std::vector<int64_t>& rows) {
    if (rows.empty()) return Json(nullptr);
    return Json(class_scores(cleaned.predictions(setup, rows), setup.classes_of(rows)).to_json());
  };
  summary["metrics"] = {
      {"train", scores(setup.train())}, {"trusted", scores(setup.trusted())}, {"test", scores(setup.test())}};
  if (setup.flips()) summary["metrics"]["flips"] = flips_found(setup, cleaned);
  summary["learned"] = learned(setup, cleaned);
  summary["verdict"] = Json::object();
  if (!o.baselines) return;
  summary["baselines"] = cleaned.baselines;
  summary["verdict"] = verdicts_of(cleaned.baselines);
  if (const std::string lacks = lacks_boosting(o); !lacks.empty()) summary["not_compared"] = lacks;
}

void explain(const CleanSetup& setup, const Cleaned& cleaned, Json& summary) {
  const CleanInputs& inputs = setup.inputs();
  std::vector<std::string> names = explained_names(*inputs.features, setup.data_files(), setup.train());
  if (inputs.columns) names = inputs.columns->names(names);
  explain_model(setup.context(),
                {.network = *cleaned.model,
                 .inputs = inputs.inputs.inputs,
                 .rows = setup.train(),
                 .input_names = std::move(names),
                 .outputs = setup.class_names(),
                 .device = setup.options().torch_device()},
                summary);
}

void write_files(const CleanSetup& setup, const Cleaned& cleaned, Json& summary) {
  Column suggested = label_column(setup.class_names(), cleaned.judgement.suggested),
         given = label_column(setup.class_names(), setup.classes_of(setup.train()));
  given.name = "given_label";
  suggested.name = "suggested_label";
  write_tsv(setup.path("weights.tsv"),
            {row_column(cleaned.weights.numel()), number_column("weight", cleaned.weights), given, suggested,
             number_column("probability", cleaned.judgement.right),
             number_column("suspicious", cleaned.suspicious()), setup.data_files().places(setup.train())[1]});
  write_suspicious(setup, cleaned);
  if (cleaned.unseen.by_others.defined()) {
    OtherPredictions others;
    if (cleaned.unseen.by_trusted.defined()) others["trusted_only"] = cleaned.unseen.by_trusted;
    write_class_predictions(setup.path("out_of_fold.tsv"), setup.data_files(), setup.train(),
                            cleaned.unseen.by_others, setup.class_names(), setup.classes_of(setup.train()),
                            others);
  }
  const CleanInputs& inputs = setup.inputs();
  const std::shared_ptr<Network> whole =
      inputs.columns ? inputs.columns->widen(*cleaned.model, inputs.shape) : cleaned.model;
  save_model(setup.context(), setup.options(), *whole, *inputs.features, {},
             {{"classes", setup.class_names()}, {"calibration", summary.at("calibration")}});
  if (const auto& test = setup.test(); !test.empty()) {
    write_test_predictions(setup.context(), setup.data_files(), test, cleaned.predictions(setup, test),
                           setup.class_names(), setup.classes_of(test), cleaned.baseline_predictions);
  }
  explain(setup, cleaned, summary);
  write_clean_report(setup, cleaned, summary);
}

JobResult run_clean(Weighing& setup, JobParts& parts) {
  const JobContext& context = setup.context();
  const FolderLock lock = context.open(setup.options(), setup.files());
  Passes passes({.trace = context.path("trace.jsonl")});
  try {
    const std::optional<Cleaned> cleaned = clean_labels(setup, parts, passes);
    if (!cleaned) return unfinished(context, setup.options(), passes);
    context.phases->begin(kReportPhase, "writing the report");
    Json summary = summary_of(context, setup.options(), passes);
    if (cleaned->best_step) summary["best_step"] = *cleaned->best_step;
    describe(setup, *cleaned, summary);
    summary["cleaned"] = write_cleaned(setup, *cleaned);
    summary["odd_rows"] = write_odd_rows(setup);
    note_time(context, summary);
    write_files(setup, *cleaned, summary);
    return finished(context, passes, summary, clean_text(setup, *cleaned, summary));
  } catch (const Interrupted& stop) {
    return interrupted(context, setup.options(), passes, stop.message);
  }
}

}  // namespace

JobEntry clean_entry() {
  return {.name = "clean",
          .summary = "find wrong labels, and train a classifier that hardly heeds them",
          .first_try = "--train noisy.tsv --trusted checked.tsv --text text --label class",
          .score = "held-back loss",
          .score_is_loss = true,
          .make =
              [] {
                return std::make_unique<JobInParts<CleanOptions, Weighing>>(run_clean, clean_work,
                                                                            kMostCleanParts);
              },
          .predict = predict_classes,
          .in_parts = true,
          .measure = JobMeasure{"/metrics/test/accuracy", "test accuracy"},
          .suggest = [](const DataDescription& d) -> std::optional<Suggestion> {
            if (d.classes.back().rows < 2) return std::nullopt;
            return Suggestion{" --trusted TRUSTED",
                              "find wrong labels with the help of a small file of trusted rows"};
          }};
}

}  // namespace bilevel
