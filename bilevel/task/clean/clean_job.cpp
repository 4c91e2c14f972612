#include "bilevel/task/clean/clean_job.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/report/metrics.h"
#include "bilevel/report/page.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/clean/agreement.h"
#include "bilevel/task/clean/clean_baselines.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/clean/clean_report.h"
#include "bilevel/task/clean/clean_setup.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kFirstLogit = -2;  // sigma = 0.12: a noisy row counts less than a trusted one at first
constexpr double kJudging = 0.7;  // share of the trusted rows in the upper level; the others choose the step
constexpr int64_t kFewTrusted = 10;  // with fewer, none is held back
constexpr double kAgreeing = 0.15;   // share of each class that judges where nothing is trusted
constexpr int64_t kFolds = 4;
constexpr int kRounds = 2;
constexpr size_t kShown = 40;

/// Ends the work between two fits.
struct Interrupted {};

class Job {
 public:
  Job(CleanOptions options, const JobContext& context) : o_(std::move(options)), context_(context) {}

  JobResult run() {
    assign(*make_solver(o_.solver), o_.set);  // impossible options are refused now
    setup_ = std::make_unique<CleanSetup>(o_, context_.callbacks.message);
    o_ = setup_->options();
    check_groups();
    fit_ = setup_->fit_options();
    fit_.interrupt = context_.callbacks.interrupt;
    const FolderLock lock = context_.open(nlohmann::json(o_), setup_->paths());
    Passes passes = context_.passes();
    try {
      return clean(passes);
    } catch (const Interrupted&) {
      JobResult result = unfinished(context_, o_, passes);
      result.reason = StopReason::interrupted;
      result.message = "interrupted";
      result.summary["stop_reason"] = to_string(result.reason);
      return result;
    }
  }

 private:
  JobResult clean(Passes& passes) {
    choose_judges();
    if (!weigh(passes)) return unfinished(context_, o_, passes);
    cross_fit();
    step("the cleaned model");
    WeightedRows all = weighted_train();
    all.add(setup_->trusted(), 1);
    model_ = fit(all);
    return finish(passes);
  }

  // ---- parts of the method ----

  void step(const std::string& what) const {
    if (context_.interrupted()) throw Interrupted{};
    context_.say("fitting: " + what);
  }

  std::shared_ptr<Network> fit(const WeightedRows& rows) const {
    const auto network = fit_weighted(setup_->inputs().inputs, setup_->given(), rows, fit_);
    if (context_.interrupted()) throw Interrupted{};
    return network;
  }

  torch::Tensor predict_folds(const WeightedRows& rows, const std::string& what) const {
    step(what);
    WeightedRows trusted;
    trusted.add(setup_->trusted(), 1);
    const torch::Tensor probabilities =
        out_of_fold(setup_->inputs().inputs, setup_->given(), rows, trusted, kFolds, fit_);
    if (context_.interrupted()) throw Interrupted{};
    return probabilities;
  }

  /// Out-of-fold probabilities of the training rows before anything is weighed.
  const torch::Tensor& first_opinion() {
    if (!first_opinion_.defined()) {
      WeightedRows rows;
      rows.add(setup_->train(), static_cast<float>(1 / (1 + std::exp(-kFirstLogit))));
      first_opinion_ = predict_folds(rows, "a first opinion on every label");
    }
    return first_opinion_;
  }

  /// The trusted rows; without any, the training rows whose labels have the most agreement.
  void choose_judges() {
    const std::vector<int64_t>& train = setup_->train();
    std::vector<int64_t> judges = setup_->trusted();
    lower_ = train;
    if (judges.empty()) {
      const torch::Tensor given = classes_of(train);
      const torch::Tensor agreement = first_opinion().gather(1, given.unsqueeze(1)).squeeze(1).contiguous();
      const auto* p = agreement.const_data_ptr<double>();
      const auto* c = given.const_data_ptr<int64_t>();
      std::vector<std::vector<size_t>> by_class(static_cast<size_t>(setup_->classes()));
      for (size_t i = 0; i < train.size(); ++i) by_class[static_cast<size_t>(c[i])].push_back(i);
      std::vector<bool> judging(train.size());
      for (std::vector<size_t>& rows : by_class) {
        std::stable_sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
        const auto count = std::clamp<size_t>(
            static_cast<size_t>(std::ceil(kAgreeing * static_cast<double>(rows.size()))), 1, rows.size() - 1);
        for (size_t k = 0; k < count; ++k) judging[rows[k]] = true;
      }
      lower_.clear();
      for (size_t i = 0; i < train.size(); ++i) (judging[i] ? judges : lower_).push_back(train[i]);
      context_.say(
          fmt::format("no --trusted file: the {} training rows whose labels an out-of-fold model agrees with "
                      "most judge the others; "
                      "this assumes that labels are right more often than wrong, and not wrong in a way that "
                      "a model can learn",
                      judges.size()));
    }
    const auto count = static_cast<int64_t>(judges.size());
    const int64_t upper = count < kFewTrusted ? count : std::llround(kJudging * static_cast<double>(count));
    Streams streams(o_.seed);
    const torch::Tensor order = torch::randperm(count, streams.stream("judges"), torch::kInt64);
    const auto* at = order.const_data_ptr<int64_t>();
    for (int64_t k = 0; k < count; ++k)
      (k < upper ? upper_ : held_).push_back(judges[static_cast<size_t>(at[k])]);
    std::sort(upper_.begin(), upper_.end());
    std::sort(held_.begin(), held_.end());
  }

  /// Which logit each training row has.
  void make_units() {
    const std::vector<int64_t>& train = setup_->train();
    unit_of_ = torch::zeros({setup_->files().rows()}, torch::kInt64);
    auto* unit = unit_of_.data_ptr<int64_t>();
    if (o_.weight_per == "row") {
      for (size_t i = 0; i < lower_.size(); ++i) unit[lower_[i]] = static_cast<int64_t>(i);
      units_ = static_cast<int64_t>(lower_.size());
    } else if (o_.weight_per == "group") {
      std::map<std::string, int64_t> numbers;
      for (const int64_t row : train) {
        const auto [found, fresh] = numbers.emplace(group_of(row), static_cast<int64_t>(unit_names_.size()));
        if (fresh) unit_names_.push_back(found->first);
        unit[row] = found->second;
      }
      units_ = static_cast<int64_t>(unit_names_.size());
    } else {
      const torch::Tensor predicted = first_opinion().argmax(1).contiguous();
      const auto* p = predicted.const_data_ptr<int64_t>();
      const auto* given = setup_->given().const_data_ptr<int64_t>();
      for (size_t i = 0; i < train.size(); ++i) unit[train[i]] = given[train[i]] * setup_->classes() + p[i];
      for (const std::string& label : setup_->class_names()) {
        for (const std::string& other : setup_->class_names())
          unit_names_.push_back(label + " (predicted " + other + ")");
      }
      units_ = setup_->classes() * setup_->classes();
    }
  }

  std::string group_of(int64_t row) const {
    const auto [file, local] = setup_->files().source_of(row);
    const auto& table = std::get<Table>(file->file);
    return std::string(table.cell(static_cast<size_t>(local), table.column(o_.group)));
  }

  void check_groups() const {
    if (o_.group.empty()) return;
    const auto* table = std::get_if<Table>(&setup_->files().files().front().file);
    if (table == nullptr) refuse_option("group", o_.group, "libsvm and idx files have no columns by name");
    table->column(o_.group);
  }

  /// The bilevel run. False when it came to no outcome.
  bool weigh(Passes& passes) {
    make_units();
    CleanModel model(setup_->network(o_.encoder), setup_->inputs().inputs.shape, fit_.l2, units_, kFirstLogit,
                     o_.seed, fit_.device);
    const Problem problem = model.problem({.inputs = setup_->inputs().inputs.inputs,
                                           .classes = setup_->given(),
                                           .lower = lower_,
                                           .upper = upper_,
                                           .unit_of = unit_of_,
                                           .units = units_},
                                          setup_->batch_size());
    const bool convex = is_convex(o_.encoder) && fit_.l2 > 0;
    const std::unique_ptr<Solver> solver =
        make_job_solver(o_.solver, clean_solver_defaults(o_.solver, units_), convex);
    assign(*solver, o_.set);
    ProblemTraits traits{.noise = batch_noise(problem)};
    if (!is_convex(o_.encoder)) {
      traits.convexity = Convexity::none;
      traits.caveat = fmt::format("the loss of the classifier '{}' is not convex in its weights", o_.encoder);
    } else if (!convex) {
      traits.convexity = Convexity::mere;
      traits.caveat = "--l2 0 leaves the classifier's loss merely convex";
    }
    if (const std::string line = out_of_theory(*solver, traits); !line.empty()) {
      context_.say(line);
      notes_.push_back(line);
    }
    const int64_t steps = setup_->steps(static_cast<int64_t>(lower_.size()));
    const PassPlan plan{
        .name = "weigh",
        .shown = "weighing the rows",
        .steps = steps,
        .schedule_steps = steps,
        .max_seconds = o_.max_seconds > 0 ? o_.max_seconds : std::numeric_limits<double>::infinity(),
        .seed = o_.seed};
    std::function<Evaluation()> evaluate;
    if (!held_.empty()) {
      evaluate = [&] {
        const ClassScores scores = class_scores(
            probabilities_of(*model.network(), setup_->inputs().inputs.inputs, held_, fit_.device),
            classes_of(held_));
        return Evaluation{.score = -scores.loss,
                          .standard_error = scores.standard_error_of_loss,
                          .fields = {{"held_loss", scores.loss}, {"held_accuracy", scores.accuracy}}};
      };
    }
    const PassOutcome* outcome = passes.run(plan, problem, *solver, evaluate);
    if (outcome == nullptr) return false;
    best_step_ = outcome->chosen_step;
    learned_ = torch::sigmoid(outcome->upper);
    weights_ = torch::ones({static_cast<int64_t>(setup_->train().size())});  // those that judge count fully
    const torch::Tensor rows = torch::tensor(lower_, torch::kInt64);
    weights_.index_copy_(0, rows, learned_.index_select(0, unit_of_.index_select(0, rows)));
    return true;
  }

  WeightedRows weighted_train() const {
    const torch::Tensor weights = weights_.to(torch::kFloat32).contiguous();
    const auto* w = weights.const_data_ptr<float>();
    return {setup_->train(), {w, w + weights.numel()}};
  }

  void cross_fit() {
    for (int round = 1; round <= kRounds; ++round) {
      const WeightedRows rows = weighted_train();
      const torch::Tensor given = classes_of(setup_->train());
      torch::Tensor probabilities =
          predict_folds(rows, fmt::format("{} folds, round {} of {}", kFolds, round, kRounds));
      if (round == kRounds) probabilities = calibrated(probabilities, calibration(rows));
      agreement_ = agreement_of(probabilities, given);
      weights_ = weight_of(agreement_.right, setup_->classes());
    }
  }

  /// Of a classifier trained as those of the folds are, measured on held-back trusted rows; 1 without such rows
  /// (training rows that were chosen because a model agrees with them are no measure of one).
  double calibration(WeightedRows rows) const {
    if (setup_->trusted().empty() || held_.empty()) return 1;
    step("calibration");
    rows.add(upper_, 1);
    const auto network = fit(rows);
    return calibration_of(probabilities_of(*network, setup_->inputs().inputs.inputs, held_, fit_.device),
                          classes_of(held_));
  }

  torch::Tensor classes_of(const std::vector<int64_t>& rows) const {
    return setup_->given().index_select(0, torch::tensor(rows, torch::kInt64));
  }

  // ---- figures and files ----

  JobResult finish(const Passes& passes) {
    const int64_t rows = agreement_.right.numel();
    Json summary = summary_of(context_, o_, passes);
    for (const std::string& note : notes_) summary["warnings"].push_back(note);
    const torch::Tensor suspicious = agreement_.right < 0.5;
    summary["best_step"] = best_step_;
    summary["rows"] = rows;
    summary["suspicious"] = suspicious.sum().item<int64_t>();
    const CleanDefaults& used = setup_->defaults();
    summary["l2"] = {{"classifier", used.l2}, {"baselines", used.baseline_l2}};
    summary["estimated_noise"] = agreement_.noise;
    summary["metrics"] = {{"train", scores_of(setup_->train())},
                          {"trusted", scores_of(setup_->trusted())},
                          {"test", scores_of(setup_->test())}};
    if (setup_->flips()) summary["metrics"]["flips"] = flips_found(suspicious);
    if (o_.weight_per != "row") {
      Json& learned = summary["learned_weights"];
      for (int64_t u = 0; u < units_; ++u)
        learned[unit_names_[static_cast<size_t>(u)]] = learned_[u].item<double>();
    }
    if (o_.baselines) {
      // With injected noise the usual methods are told its share, which nobody knows in earnest.
      const double drop = setup_->flips() ? setup_->flips()->flipped.mean().item<double>() : agreement_.noise;
      summary["baselines"] =
          measure_baselines(*setup_, drop, [&](const char* what) { step(std::string("baseline, ") + what); });
    }
    write_weights(suspicious);
    write_model();
    if (!setup_->test().empty()) write_predictions();
    write_report(summary);
    return finished(context_, passes, summary, text_of_result(summary));
  }

  Json scores_of(const std::vector<int64_t>& rows) const {
    if (rows.empty()) return nullptr;
    return class_scores(probabilities_of(*model_, setup_->inputs().inputs.inputs, rows, fit_.device),
                        classes_of(rows))
        .to_json();
  }

  Json flips_found(const torch::Tensor& suspicious) const {
    const torch::Tensor& flipped = setup_->flips()->flipped;
    const double flips = flipped.sum().item<double>();
    const double called = suspicious.sum().item<double>();
    const double hit = (flipped * suspicious.to(torch::kFloat64)).sum().item<double>();
    Json found{{"auroc", nullptr}, {"precision", nullptr}, {"recall", nullptr}};
    if (flips > 0 && flips < static_cast<double>(flipped.numel()))
      found["auroc"] = auc(ScoredRows(-agreement_.right, flipped));
    if (called > 0) found["precision"] = hit / called;
    if (flips > 0) found["recall"] = hit / flips;
    return found;
  }

  std::string path(const char* name) const { return context_.path(name).string(); }
  const std::string& name_of(int64_t c) const { return setup_->class_names()[static_cast<size_t>(c)]; }

  SuspiciousRow row_at(int64_t i) const {
    const int64_t row = setup_->train()[static_cast<size_t>(i)];
    return {.row = i + 1,
            .weight = weights_[i].item<double>(),
            .probability = agreement_.right[i].item<double>(),
            .given = name_of(setup_->given()[row].item<int64_t>()),
            .suggested = name_of(agreement_.suggested[i].item<int64_t>()),
            .text = setup_->row_text(row),
            .truth = setup_->flips() ? name_of(setup_->flips()->original[static_cast<size_t>(i)]) : ""};
  }

  void write_weights(const torch::Tensor& suspicious) const {
    std::string table = "row\tweight\tgiven_label\tsuggested_label\tprobability\tsuspicious\n";
    const torch::Tensor given = classes_of(setup_->train());
    const auto* w = weights_.const_data_ptr<double>();
    const auto* p = agreement_.right.const_data_ptr<double>();
    const auto* s = suspicious.const_data_ptr<bool>();
    for (int64_t i = 0; i < given.numel(); ++i) {
      table += fmt::format("{}\t{:.9g}\t{}\t{}\t{:.9g}\t{}\n", i + 1, w[i], name_of(given[i].item<int64_t>()),
                           name_of(agreement_.suggested[i].item<int64_t>()), p[i], s[i] ? 1 : 0);
    }
    write_file_atomically(path("weights.tsv"), table);
  }

  void write_model() const {
    const CleanInputs& inputs = setup_->inputs();
    const std::shared_ptr<Network> whole =
        inputs.columns ? inputs.columns->widen(*model_, inputs.shape) : model_;
    save_model(context_.out, context_.command, *whole, *inputs.features, {},
               {{"label", o_.label},
                {"classes", setup_->class_names()},
                {"format", o_.format},
                {"header", o_.header}});
  }

  void write_predictions() const {
    const torch::Tensor p =
        probabilities_of(*model_, setup_->inputs().inputs.inputs, setup_->test(), fit_.device);
    const torch::Tensor best = p.argmax(1), given = classes_of(setup_->test());
    std::string table = "file\tline\tlabel\tpredicted\tprobability\n";
    for (int64_t i = 0; i < best.numel(); ++i) {
      const auto [file, local] = setup_->files().source_of(setup_->test()[static_cast<size_t>(i)]);
      const auto c = best[i].item<int64_t>();
      table += fmt::format("{}\t{}\t{}\t{}\t{:.9g}\n", file->path, position_of(file->file, local).line,
                           name_of(given[i].item<int64_t>()), name_of(c), p[i][c].item<double>());
    }
    write_file_atomically(path("predictions.tsv"), table);
  }

  /// How many weights fall into each twentieth.
  Series histogram(const std::string& label, const torch::Tensor& weights) const {
    constexpr int kBins = 20;
    std::array<double, kBins> counts{};
    const torch::Tensor values = weights.contiguous();
    const auto* w = values.const_data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i)
      ++counts[static_cast<size_t>(std::min(kBins - 1, static_cast<int>(w[i] * kBins)))];
    Series series{.label = label, .x = {}, .y = {}};
    for (int bin = 0; bin < kBins; ++bin) {
      for (const int edge : {bin, bin + 1}) {
        series.x.push_back(static_cast<double>(edge) / kBins);
        series.y.push_back(counts[static_cast<size_t>(bin)]);
      }
    }
    return series;
  }

  void write_report(const Json& summary) const {
    const Trace trace = read_trace(path("trace.jsonl"));
    const Marker chosen{static_cast<double>(best_step_), "chosen step"};
    const LinePlot accuracy{.title = "Accuracy on the held-back trusted rows",
                            .x_label = "step",
                            .y_label = "accuracy",
                            .series = {series_from_trace(trace, "step", "held_accuracy", "held-back rows")},
                            .markers = {chosen}};
    const LinePlot loss{.title = "Loss on trusted rows",
                        .x_label = "step",
                        .y_label = "cross-entropy",
                        .series = {series_from_trace(trace, "step", "upper_loss", "judging rows (batch)"),
                                   series_from_trace(trace, "step", "held_loss", "held-back rows")},
                        .markers = {chosen}};
    LinePlot weights{
        .title = "Weights of the training rows", .x_label = "weight", .y_label = "rows", .series = {}};
    if (setup_->flips()) {
      const torch::Tensor flipped = setup_->flips()->flipped > 0;
      weights.series = {histogram("injected flips", weights_.masked_select(flipped)),
                        histogram("other rows", weights_.masked_select(flipped.logical_not()))};
    } else {
      weights.series = {histogram("rows", weights_)};
    }
    CleanReport report;
    report.title = fmt::format("{}: labels", fs::path(o_.train).filename().string());
    report.summary = summary;
    report.options = nlohmann::json(o_);
    report.data_facts = setup_->inputs().features->facts();
    report.notes = summary.at("warnings").get<std::vector<std::string>>();
    report.assumed = setup_->trusted().empty();
    for (const auto& [name, plot, caption] :
         {std::tuple{"accuracy.svg", &accuracy,
                     "The classifier of the bilevel run; the cleaned model is fitted after it."},
          {"weights.svg", &weights, "Rows of low weight are suspicious."},
          {"loss.svg", &loss, "The chosen step is the latest within one standard error of the best."}}) {
      const PlotResult drawn = draw(*plot);
      if (!drawn.svg.empty()) write_file_atomically(path(name), drawn.svg);
      report.figures.push_back({drawn, caption});
    }
    for (const int64_t i : most_suspicious(kShown)) report.suspicious.push_back(row_at(i));
    write_file_atomically(path("report.html"), clean_report_html(report));
  }

  std::vector<int64_t> most_suspicious(size_t count) const {
    const torch::Tensor order = agreement_.right.argsort(/*stable=*/true, 0, /*descending=*/false);
    const auto* at = order.const_data_ptr<int64_t>();
    return {at, at + std::min<int64_t>(static_cast<int64_t>(count), order.numel())};
  }

  std::string text_of_result(const Json& summary) const {
    const Json& metrics = summary.at("metrics");
    std::string text = fmt::format("\n{} of {} rows are suspicious; estimated share of wrong labels {}\n",
                                   summary.at("suspicious").get<int64_t>(), agreement_.right.numel(),
                                   percent_text(agreement_.noise));
    const auto accuracy = [](const Json& scores) {
      return percent_text(scores.at("accuracy").get<double>());
    };
    if (!metrics.at("test").is_null()) {
      text += fmt::format("test accuracy {}", accuracy(metrics.at("test")));
      if (o_.baselines)
        text += fmt::format("; trained on all rows as given {}",
                            accuracy(summary.at("baselines").at("noisy_and_trusted").at("test")));
      text += "\n";
    }
    if (metrics.contains("flips") && !metrics.at("flips").at("auroc").is_null())
      text += fmt::format("injected flips: AUROC {}\n",
                          metric_text(metrics.at("flips").at("auroc").get<double>()));
    text += "\nthe most suspicious rows:\n";
    for (const int64_t i : most_suspicious(8)) {
      const SuspiciousRow row = row_at(i);
      text += fmt::format("  row {}: '{}', rather '{}'  {}\n", row.row, row.given, row.suggested,
                          shortened(row.text, 80));
    }
    return text + fmt::format("\nall rows: {0}/weights.tsv\nreport: {0}/report.html\n", context_.out);
  }

  CleanOptions o_;
  const JobContext& context_;
  std::unique_ptr<CleanSetup> setup_;
  WeightedFitOptions fit_;
  std::vector<int64_t> lower_, upper_, held_;
  torch::Tensor unit_of_;
  int64_t units_ = 0;
  std::vector<std::string> unit_names_;
  torch::Tensor first_opinion_, learned_, weights_;
  Agreement agreement_;
  std::shared_ptr<Network> model_;
  int64_t best_step_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace

JobResult run_clean_job(const CleanOptions& options, const std::string& out, const JobCallbacks& callbacks) {
  return Job(options, {.command = "clean", .out = out, .callbacks = callbacks}).run();
}

JobResult resume_clean_job(const std::string& out, const JobCallbacks& callbacks) {
  return resume_job("clean", out, callbacks, [](const nlohmann::json& options, const JobContext& context) {
    return Job(options.get<CleanOptions>(), context).run();
  });
}

}  // namespace bilevel
