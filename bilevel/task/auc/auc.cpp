#include "bilevel/task/auc/auc.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "bilevel/core/files.h"
#include "bilevel/model/logistic_regression.h"
#include "bilevel/report/html.h"
#include "bilevel/report/metrics.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"
#include "bilevel/task/auc/auc_training.h"
#include "bilevel/task/job/job_run.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

torch::Tensor pick(const torch::Tensor& values, const std::vector<int64_t>& rows) {
  return values.index_select(0, torch::tensor(rows, torch::kInt64));
}

Json metrics_json(const ScoredRows& rows, double loss) {
  return {{"auc", auc(rows)}, {"average_precision", average_precision(rows)}, {"loss", loss}};
}

/// L2-regularized logistic regression on the same rows: C chosen on the validation rows, then refitted on
/// both parts.
torch::Tensor baseline_scores(const Inputs& inputs, int64_t width, const AucParts& parts, bool refit) {
  const torch::Tensor& labels = parts.labels;
  const auto by_auc = [&](const torch::Tensor& scores) {
    return auc(ScoredRows(scores, pick(labels, parts.valid)));
  };
  LogisticRegression chosen = select_logistic_regression(
      inputs.gather(parts.train), width, pick(labels, parts.train), inputs.gather(parts.valid), by_auc);
  if (refit) {
    std::vector<int64_t> pool = parts.train;
    pool.insert(pool.end(), parts.valid.begin(), parts.valid.end());
    chosen = fit_logistic_regression(inputs.gather(pool), width, pick(labels, pool),
                                     {.inverse_regularization = chosen.inverse_regularization}, &chosen);
  }
  return chosen.scores(inputs.gather(parts.test));
}

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
    return ScoredRows(scores, pick(parts_.labels, rows));
  }

  const AucSetup& setup_;
  const AucParts& parts_;
  std::unique_ptr<AucModel> model_;
};

/// As a contest the first pass: a run is scored at the step that the rule chooses on the validation rows; there is no
/// second pass, no baseline and no report. Ranked by the test AUC, tuned by the validation AUC.
class AucRun : public JobRun {
 public:
  AucRun(AucJobOptions options, const JobContext& context) : JobRun(context), o_(std::move(options)) {}

  JobResult run() override {
    prepare_contest();
    const FolderLock lock = context_.open(o_, setup_->paths());
    Passes passes = context_.passes();
    const AucOutcome outcome = train_auc(*setup_, passes);
    return outcome.model ? finish(outcome, passes) : unfinished(context_, o_, passes);
  }

  void prepare_contest() override {
    setup_ = std::make_unique<AucSetup>(o_, context_.callbacks.message);
    o_ = setup_->options();
  }
  std::unique_ptr<Attempt> attempt(uint64_t seed) override {
    return std::make_unique<AucAttempt>(*setup_, seed);
  }
  std::unique_ptr<Solver> solver(const std::string& name) const override { return setup_->solver(name); }
  int64_t default_steps() const override { return setup_->steps(); }
  std::vector<std::string> files() const override { return setup_->paths(); }

 protected:
  const JobOptions& options() const override { return o_; }
  void describe(ContestFacts& facts) const override {
    const Measure valid{.key = "valid_auc", .name = "validation AUC", .higher_is_better = true};
    facts.metric = {.key = "test_auc", .name = "test AUC", .higher_is_better = true};
    facts.tuning_metric = valid;
    facts.further = {valid};
    facts.traits = {.noise = Noise::finite_sum};
    const auto add = [&](const char* part, const std::vector<int64_t>& rows) {
      facts.data.emplace_back(part, fmt::format("{} rows, {:.0f} positive", rows.size(),
                                                pick(setup_->parts().labels, rows).sum().item<double>()));
    };
    add("training rows", setup_->parts().train);
    add("validation rows", setup_->parts().valid);
    add("test rows", setup_->parts().test);
    facts.data.emplace_back("upper level",
                            setup_->papers() ? "on the validation rows" : "on the training rows");
  }

 private:
  std::string path(const char* name) const { return context_.path(name).string(); }

  JobResult finish(const AucOutcome& outcome, const Passes& passes) {
    Json summary = summary_of(context_, o_, passes);
    summary["best_step"] = outcome.best_step;
    const AucParts& parts = setup_->parts();
    const auto score = [&](const std::vector<int64_t>& rows) {
      return outcome.model->scores(outcome.features.inputs, rows);
    };
    const auto rated = [&](const torch::Tensor& scores, const std::vector<int64_t>& rows) {
      return ScoredRows(scores, pick(parts.labels, rows));
    };
    const torch::Tensor train_scores = score(parts.train);
    const torch::Tensor test_scores = score(parts.test);
    const ScoredRows train = rated(train_scores, parts.train);
    const ScoredRows valid = rated(outcome.valid_scores, parts.valid);
    const ScoredRows test = rated(test_scores, parts.test);
    summary["metrics"] = {
        {"train", metrics_json(train, outcome.model->loss(train_scores, pick(parts.labels, parts.train)))},
        {"valid", metrics_json(valid, outcome.valid_loss)},
        {"test", metrics_json(test, outcome.model->loss(test_scores, pick(parts.labels, parts.test)))}};
    const AucEstimate estimate = auc_estimate(test);
    const ThresholdCounts on_valid = best_f1(valid);
    const ThresholdCounts on_test = counts_at(test, on_valid.threshold);
    summary["test_auc_interval"] = {estimate.low, estimate.high};
    summary["threshold"] = {{"value", on_valid.threshold},
                            {"test_precision", on_test.precision()},
                            {"test_recall", on_test.recall()},
                            {"test_f1", on_test.f1()}};

    context_.say("fitting the linear baseline");
    const auto [baseline, baseline_name] = make_baseline(outcome);
    const AucEstimate baseline_estimate = auc_estimate(baseline);
    const AucDifference difference = auc_difference(test, baseline);
    summary["baseline"] = {
        {"name", baseline_name},
        {"test_auc", baseline_estimate.auc},
        {"test_auc_interval", {baseline_estimate.low, baseline_estimate.high}},
        {"difference", difference.difference},
        {"difference_interval",
         difference.has_interval() ? Json{difference.low, difference.high} : Json(nullptr)}};
    const std::string unfit = warning_of_scores(test);
    if (!unfit.empty()) summary["warnings"].push_back(unfit);
    write_model(outcome, on_valid.threshold);
    write_predictions(test, on_valid.threshold);
    write_report(summary, outcome, estimate, {baseline_name, baseline_estimate, difference},
                 {on_valid, on_test}, test, baseline);

    std::string text = fmt::format(
        "\ntest AUC {:.4f} (95 % score interval {:.4f} to {:.4f}), average precision "
        "{:.4f}\n{}: test AUC {:.4f}\n",
        estimate.auc, estimate.low, estimate.high, average_precision(test), baseline_name,
        baseline_estimate.auc);
    for (const Json& warning : summary.at("warnings"))
      text += fmt::format("warning: {}\n", warning.get<std::string>());
    text += "\nthe best-ranked test rows ('*' marks a true positive):\n";
    for (size_t i = 0; i < std::min<size_t>(8, parts.test.size()); ++i) {
      const auto at = static_cast<size_t>(test.order()[i]);
      text += fmt::format("  {} {:+.4g}  {}\n", test.positive(test.order()[i]) ? '*' : ' ', test.scores()[at],
                          shortened(setup_->row_text(parts.test[at]), 90));
    }
    text += fmt::format("\nreport: {}/report.html\n", context_.out);
    return finished(context_, passes, std::move(summary), std::move(text));
  }

  /// Token encoders are compared with logistic regression on hashed n-grams, all others on the features they
  /// read.
  std::pair<ScoredRows, std::string> make_baseline(const AucOutcome& outcome) const {
    const AucParts& parts = setup_->parts();
    const bool refit = setup_->refit();
    const auto rated = [&](const Inputs& inputs, int64_t width) {
      return ScoredRows(baseline_scores(inputs, width, parts, refit), pick(parts.labels, parts.test));
    };
    if (outcome.features.inputs.kind() != InputKind::tokens) {
      return {rated(outcome.features.inputs, outcome.features.shape.width),
              "logistic regression on the same features"};
    }
    FeatureOptions options = feature_options(o_, "bag", 256);
    options.embedding.clear();
    const auto [features, inputs] = setup_->fit(options, parts.train);
    return {rated(inputs.inputs, inputs.shape.width), "logistic regression on word and character n-grams"};
  }

  void write_model(const AucOutcome& outcome, double threshold) const {
    save_model(context_, o_, *outcome.model->network(), *outcome.fitted, outcome.model->loss_tensors(),
               {{"positive", o_.positive}, {"threshold", threshold}, {"loss", o_.loss}});
  }

  void write_predictions(const ScoredRows& test, double threshold) const {
    std::string table = "file\tline\tlabel\tscore\tpredicted\n";
    for (size_t i = 0; i < setup_->parts().test.size(); ++i) {
      const auto [source, local] = setup_->files().source_of(setup_->parts().test[i]);
      const double s = test.scores()[i];
      table += fmt::format("{}\t{}\t{}\t{:.9g}\t{}\n", source->path, position_of(source->file, local).line,
                           test.positive(static_cast<int64_t>(i)) ? 1 : 0, s, s >= threshold ? 1 : 0);
    }
    write_file_atomically(path("predictions.tsv"), table);
  }

  void write_report(const Json& summary, const AucOutcome& outcome, const AucEstimate& estimate,
                    const ReportBaseline& baseline, const ReportThreshold& threshold, const ScoredRows& test,
                    const ScoredRows& baseline_rows) const {
    const Trace trace = read_trace(path("trace.jsonl"));
    const auto of_phase = [&](const char* phase) {
      Trace part;
      for (const Json& row : trace.rows) {
        if (row.at("phase") == phase) part.rows.push_back(row);
      }
      return part;
    };
    const Trace select = of_phase("select");
    const Trace refit = of_phase("refit");
    const Marker chosen{static_cast<double>(outcome.best_step), "chosen step"};
    LinePlot loss{.title = "Upper loss on the step's batch",
                  .x_label = "step",
                  .y_label = "loss",
                  .series = {series_from_trace(select, "step", "upper_loss", "training rows")},
                  .markers = {chosen}};
    if (!refit.rows.empty())
      loss.series.push_back(series_from_trace(refit, "step", "upper_loss", "training + validation rows"));
    LinePlot curve{.title = "AUC on the validation rows",
                   .x_label = "step",
                   .y_label = "AUC",
                   .series = {series_from_trace(select, "step", "valid_auc", "validation")},
                   .markers = {chosen}};
    const PlotResult loss_plot = draw(loss);
    const PlotResult auc_plot = draw(curve);
    const PlotResult roc_plot = draw_roc(
        "ROC on the test rows", {{o_.encoder, roc_curve(test)}, {"baseline", roc_curve(baseline_rows)}});
    for (const auto& [name, plot] :
         {std::pair{"loss.svg", &loss_plot}, {"auc.svg", &auc_plot}, {"roc.svg", &roc_plot}}) {
      if (!plot->svg.empty()) write_file_atomically(path(name), plot->svg);
    }

    AucReport report;
    report.title =
        fmt::format("{}: {}", fs::path(o_.train).filename().string(),
                    o_.label.empty() ? o_.positive : fmt::format("{} = {}", o_.label, o_.positive));
    report.positive = o_.positive;
    report.summary = summary;
    report.options = o_.to_json();
    report.test = estimate;
    report.baseline = baseline;
    report.threshold = threshold;
    const auto part = [&](const char* name, const std::vector<int64_t>& rows, const std::string& file) {
      const auto positives = static_cast<int64_t>(pick(setup_->parts().labels, rows).sum().item<double>());
      report.parts.push_back(
          {name, static_cast<int64_t>(rows.size()), positives, file.empty() ? "cut from " + o_.train : file});
    };
    part("training", setup_->parts().train, o_.train);
    part("validation", setup_->parts().valid, o_.valid);
    part("test", setup_->parts().test, o_.test);
    report.data_facts = outcome.fitted->facts();
    report.columns = {o_.text.empty() ? "row" : o_.text};
    const auto row = [&](int64_t at) {
      return ReportRow{{setup_->row_text(setup_->parts().test[static_cast<size_t>(at)])},
                       test.positive(at),
                       test.scores()[static_cast<size_t>(at)]};
    };
    const size_t shown = std::min<size_t>(12, setup_->parts().test.size());
    for (size_t i = 0; i < shown; ++i) report.best_ranked.push_back(row(test.order()[i]));
    std::vector<int64_t> nearest(test.order().begin(), test.order().end());
    const double at = threshold.valid.threshold;
    const auto distance = [&](int64_t i) { return std::abs(test.scores()[static_cast<size_t>(i)] - at); };
    std::partial_sort(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(shown), nearest.end(),
                      [&](int64_t i, int64_t j) {
                        return std::pair{distance(i), i} < std::pair{distance(j), j};
                      });
    for (size_t i = 0; i < shown; ++i) report.doubtful.push_back(row(nearest[i]));
    report.figures = {{roc_plot, ""},
                      {auc_plot, "The chosen step is the latest within one standard error of the best."},
                      {loss_plot, ""}};
    report.notes = summary.at("warnings").get<std::vector<std::string>>();
    write_file_atomically(path("report.html"), auc_report_html(report));
  }

  AucJobOptions o_;
  std::unique_ptr<AucSetup> setup_;
};

Prediction predict_auc(const PredictRequest& request) {
  const SavedModel saved = load_model(request.model);
  const Json& description = saved.description;
  AucModel model(saved.network, saved.features.shape(), AucLoss{}, 0, 0, torch::kCPU);
  model.load(saved.tensors);
  std::string positive, label;
  double threshold = 0;
  try {
    positive = description.at("positive").get<std::string>();
    label = description.at("label").get<std::string>();
    threshold = description.at("threshold").get<double>();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", saved.path, error.what()));
  }
  const DataFile file = read_input(saved, request.input, request.read);
  const Inputs inputs = saved.features.apply(file);
  std::vector<int64_t> rows(static_cast<size_t>(rows_of(file)));
  std::iota(rows.begin(), rows.end(), 0);
  const torch::Tensor scores = model.scores(inputs, rows).to(torch::kFloat64).contiguous();
  const auto* score = scores.data_ptr<double>();

  const std::optional<BinaryLabels> labels = std::holds_alternative<Table>(file)
                                                 ? find_labels(std::get<Table>(file), label, positive)
                                                 : find_labels(std::get<SparseTable>(file), positive);
  std::string table = labels ? "row\tscore\tpredicted\tlabel\n" : "row\tscore\tpredicted\n";
  int64_t predicted = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool call = score[i] >= threshold;
    predicted += call ? 1 : 0;
    table += fmt::format("{}\t{:.9g}\t{}", i + 1, score[i], call ? 1 : 0);
    if (labels) table += fmt::format("\t{}", labels->is_positive[i]);
    table += "\n";
  }
  write_file_atomically(request.out, table);
  Json result{
      {"command", "predict"}, {"rows", rows.size()}, {"predicted_positive", predicted}, {"out", request.out}};
  if (labels && labels->positives > 0 && labels->positives < labels->rows()) {
    result["auc"] = auc(ScoredRows(
        scores, torch::tensor(std::vector<int64_t>(labels->is_positive.begin(), labels->is_positive.end()))));
  }
  std::string text =
      fmt::format("{} rows, {} called positive; written to {}\n", rows.size(), predicted, request.out);
  if (result.contains("auc"))
    text += fmt::format("AUC on their labels: {:.4f}\n", result.at("auc").get<double>());
  return {result, text};
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
          .make = [] { return std::make_unique<JobOf<AucJobOptions, AucRun>>(); },
          .predict = predict_auc,
          .suggest = suggest_auc};
}

}  // namespace bilevel
