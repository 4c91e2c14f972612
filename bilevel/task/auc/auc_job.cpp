#include "bilevel/task/auc/auc_job.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "bilevel/core/files.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/model/logistic_regression.h"
#include "bilevel/report/html.h"
#include "bilevel/report/metrics.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// ---- small helpers ----

int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

torch::Tensor pick(const torch::Tensor& values, const std::vector<int64_t>& rows) {
  return values.index_select(0, torch::tensor(rows, torch::kInt64));
}

// ---- figures ----

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

class Job {
 public:
  Job(AucJobOptions options, std::string out, const AucJobCallbacks& callbacks, bool resume)
      : o_(std::move(options)), out_(std::move(out)), callbacks_(callbacks), resume_(resume) {}

  AucJobResult run() {
    const std::unique_ptr<Solver> probe = make_solver(o_.solver);  // impossible options are refused now
    for (const std::string& assignment : o_.set) fields_of(*probe).set_text(assignment);
    check_single_precision(*probe);
    setup_ = std::make_unique<AucSetup>(o_, callbacks_.message);
    o_ = setup_->options();
    training_ = setup_->training();
    training_.checkpoint = path("checkpoint.safetensors");
    training_.trace = path("trace.jsonl");
    training_.resume = resume_ && fs::exists(training_.checkpoint);
    training_.interrupt = callbacks_.interrupt;
    const auto fit_inputs = [&](const std::vector<int64_t>& rows) {
      auto [features, inputs] = setup_->fit(rows);
      if (rows == setup_->parts().train) setup_->forget_first();
      features_ = std::move(features);
      return inputs;
    };

    const FolderLock lock = prepare_folder();
    AucOutcome outcome = train_auc(
        setup_->parts(), fit_inputs, [&] { return solver(); }, training_, callbacks_.progress);
    return finish(std::move(outcome));
  }

 private:
  template <typename... Arguments>
  void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (callbacks_.message) callbacks_.message(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  fs::path path(const char* name) const { return fs::path(out_) / name; }

  std::unique_ptr<Solver> solver() const {
    std::unique_ptr<Solver> made = setup_->solver(o_.solver);
    const Fields fields = fields_of(*made);
    for (const std::string& assignment : o_.set) fields.set_text(assignment);
    check_single_precision(*made);
    return made;
  }

  /// Makes or takes the folder: nothing of another run is touched.
  FolderLock prepare_folder() const {
    const Json files = fingerprints(setup_->files());
    if (resume_) return continue_run_folder(out_, files);
    Json options = nlohmann::json(o_);
    options["threads"] = at::get_num_threads();
    return new_run_folder(out_, "auc", {{"options", options}, {"files", files}});
  }

  AucJobResult finish(AucOutcome outcome) {
    AucJobResult result;
    result.reason = outcome.reason;
    result.message = outcome.message;
    Json& summary = result.summary;
    summary = {{"command", "auc"},
               {"solver", o_.solver},
               {"encoder", o_.encoder},
               {"seed", o_.seed},
               {"steps", outcome.steps},
               {"seconds", outcome.seconds},
               {"stop_reason", to_string(outcome.reason)},
               {"best_step", outcome.best_step},
               {"metrics", nullptr},
               {"oracle_calls", outcome.oracle_calls.steps.to_json()},
               {"oracle_calls_apart",
                {{"warm_start", outcome.oracle_calls.warm_start.to_json()},
                 {"automatic", outcome.oracle_calls.automatic.to_json()},
                 {"evaluation", outcome.oracle_calls.evaluation.to_json()}}},
               {"samples",
                {{"upper", outcome.oracle_calls.steps.upper_samples},
                 {"lower", outcome.oracle_calls.steps.lower_samples}}},
               {"solver_options", outcome.solver_options},
               {"chosen_step_sizes", outcome.chosen},
               {"warnings", outcome.warnings},
               {"peak_rss_bytes", peak_rss_bytes()},
               {"out", out_}};
    if (!outcome.model) return result;

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

    say("fitting the linear baseline");
    const auto [baseline, baseline_name] = make_baseline(outcome);
    const AucEstimate baseline_estimate = auc_estimate(baseline);
    const AucDifference difference = auc_difference(test, baseline);
    summary["baseline"] = {{"name", baseline_name},
                           {"test_auc", baseline_estimate.auc},
                           {"test_auc_interval", {baseline_estimate.low, baseline_estimate.high}},
                           {"difference", difference.difference},
                           {"difference_interval", {difference.low, difference.high}}};
    result.baseline = fmt::format("{}: test AUC {:.4f}", baseline_name, baseline_estimate.auc);

    for (size_t i = 0; i < std::min<size_t>(8, parts.test.size()); ++i) {
      const auto at = static_cast<size_t>(test.order()[i]);
      result.best_ranked.push_back(
          {setup_->row_text(parts.test[at]), test.positive(test.order()[i]), test.scores()[at]});
    }

    write_model(*outcome.model, on_valid.threshold);
    write_predictions(test, on_valid.threshold);
    write_report(summary, outcome, estimate, {baseline_name, baseline_estimate, difference},
                 {on_valid, on_test}, test, baseline);
    summary["peak_rss_bytes"] = peak_rss_bytes();
    write_file_atomically(path("summary.json").string(),
                          summary.dump(2) + "\n");  // last: the run is finished
    result.finished = true;
    return result;
  }

  /// Token encoders are compared with logistic regression on hashed n-grams, all others on the features they
  /// read.
  std::pair<ScoredRows, std::string> make_baseline(const AucOutcome& outcome) const {
    const AucParts& parts = setup_->parts();
    const bool refit = training_.refit && !training_.papers;
    const auto rated = [&](const Inputs& inputs, int64_t width) {
      return ScoredRows(baseline_scores(inputs, width, parts, refit), pick(parts.labels, parts.test));
    };
    if (outcome.features.inputs.kind() != InputKind::tokens) {
      return {rated(outcome.features.inputs, outcome.features.shape.width),
              "logistic regression on the same features"};
    }
    FeatureOptions options = setup_->feature_options("bag", 256);
    options.embedding.clear();
    const auto [features, inputs] = setup_->fit(options, parts.train);
    return {rated(inputs.inputs, inputs.shape.width), "logistic regression on word and character n-grams"};
  }

  void write_model(const AucModel& model, double threshold) const {
    std::map<std::string, torch::Tensor> tensors = model.tensors();
    tensors.merge(features_->tensors());
    save_safetensors(path("model.safetensors").string(), tensors,
                     {{"format", "pt"}, {"made_by", "bilevel auc"}});
    Json description{{"made_by", "bilevel auc"},
                     {"version", BILEVEL_VERSION},
                     {"network", nlohmann::json(model.network()->options())},
                     {"features", features_->to_json()},
                     {"label", o_.label},
                     {"positive", o_.positive},
                     {"threshold", threshold},
                     {"loss", o_.loss},
                     {"format", o_.format},
                     {"header", o_.header}};
    write_file_atomically(path("model.json").string(), description.dump(1) + "\n");
  }

  void write_predictions(const ScoredRows& test, double threshold) const {
    std::string table = "file\tline\tlabel\tscore\tpredicted\n";
    for (size_t i = 0; i < setup_->parts().test.size(); ++i) {
      const auto [source, local] = setup_->source_of(setup_->parts().test[i]);
      const double s = test.scores()[i];
      table += fmt::format("{}\t{}\t{}\t{:.9g}\t{}\n", source->path, position_of(source->file, local).line,
                           test.positive(static_cast<int64_t>(i)) ? 1 : 0, s, s >= threshold ? 1 : 0);
    }
    write_file_atomically(path("predictions.tsv").string(), table);
  }

  void write_report(const Json& summary, const AucOutcome& outcome, const AucEstimate& estimate,
                    const ReportBaseline& baseline, const ReportThreshold& threshold, const ScoredRows& test,
                    const ScoredRows& baseline_rows) const {
    const Trace trace = read_trace(path("trace.jsonl").string());
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
      if (!plot->svg.empty()) write_file_atomically(path(name).string(), plot->svg);
    }

    AucReport report;
    report.title =
        fmt::format("{}: {}", fs::path(o_.train).filename().string(),
                    o_.label.empty() ? o_.positive : fmt::format("{} = {}", o_.label, o_.positive));
    report.positive = o_.positive;
    report.summary = summary;
    report.options = nlohmann::json(o_);
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
    report.data_facts = features_->facts();
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
    report.notes = outcome.warnings;
    write_file_atomically(path("report.html").string(), auc_report_html(report));
  }

  AucJobOptions o_;
  std::string out_;
  const AucJobCallbacks& callbacks_;
  bool resume_;
  std::unique_ptr<AucSetup> setup_;
  AucTrainingOptions training_;
  std::shared_ptr<const Features> features_;  // those of the latest fit
};

}  // namespace

AucJobResult run_auc_job(const AucJobOptions& options, const std::string& out,
                         const AucJobCallbacks& callbacks) {
  return Job(options, out, callbacks, false).run();
}

AucJobResult resume_auc_job(const std::string& out, const AucJobCallbacks& callbacks) {
  const Json saved = read_run_options(out, "auc");
  const fs::path summary = fs::path(out) / "summary.json";
  try {
    if (fs::exists(summary)) {
      AucJobResult result;
      result.summary = Json::parse(read_file(summary.string()));
      result.message = "this run had finished";
      result.finished = true;
      return result;
    }
    return Job(nlohmann::json(saved.at("options")).get<AucJobOptions>(), out, callbacks, true).run();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", out, error.what()));
  }
}

nlohmann::ordered_json predict_auc(const std::string& model_folder, const std::string& input,
                                   const std::string& output, const std::string& format,
                                   const std::string& header) {
  const fs::path folder(model_folder);
  if (!fs::exists(folder / "model.json")) {
    throw InputError(fmt::format("{}: there is no model (no model.json)", model_folder));
  }
  const auto [tensors, metadata] = load_safetensors((folder / "model.safetensors").string());
  Json description;
  std::optional<AucModel> model;
  std::optional<Features> features;
  try {
    description = Json::parse(read_file((folder / "model.json").string()));
    features = Features::from_json(nlohmann::json(description.at("features")), tensors);
    model.emplace(nlohmann::json(description.at("network")).get<NetworkOptions>(), features->shape(),
                  AucLoss{}, 0, 0, torch::kCPU);
    model->load(tensors);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", (folder / "model.json").string(), error.what()));
  }
  const auto choose = [&](const std::string& given, const char* key) {
    return given == "automatic" ? description.value(key, "automatic") : given;
  };
  // The format goes by the new file's own name; the header by what the training file had.
  const TableOptions options{.format = format_named(format),
                             .header = header_named(choose(header, "header"))};
  const DataFile file = read_data_file(input, options, /*labels_required=*/false);
  const Inputs inputs = features->apply(file);
  std::vector<int64_t> rows(static_cast<size_t>(rows_of(file)));
  std::iota(rows.begin(), rows.end(), 0);
  const torch::Tensor scores = model->scores(inputs, rows).to(torch::kFloat64).contiguous();
  const auto* score = scores.data_ptr<double>();

  const std::string positive = description.at("positive").get<std::string>();
  const std::optional<BinaryLabels> labels =
      std::holds_alternative<Table>(file)
          ? find_labels(std::get<Table>(file), description.at("label").get<std::string>(), positive)
          : find_labels(std::get<SparseTable>(file), positive);
  const double threshold = description.at("threshold").get<double>();
  std::string table = labels ? "row\tscore\tpredicted\tlabel\n" : "row\tscore\tpredicted\n";
  int64_t predicted = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool call = score[i] >= threshold;
    predicted += call ? 1 : 0;
    table += fmt::format("{}\t{:.9g}\t{}", i + 1, score[i], call ? 1 : 0);
    if (labels) table += fmt::format("\t{}", labels->is_positive[i]);
    table += "\n";
  }
  write_file_atomically(output, table);
  Json result{
      {"command", "predict"}, {"rows", rows.size()}, {"predicted_positive", predicted}, {"out", output}};
  if (labels && labels->positives > 0 && labels->positives < labels->rows()) {
    result["auc"] = auc(ScoredRows(
        scores, torch::tensor(std::vector<int64_t>(labels->is_positive.begin(), labels->is_positive.end()))));
  }
  return result;
}

}  // namespace bilevel
