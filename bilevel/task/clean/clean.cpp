#include "bilevel/task/clean/clean.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/report/metrics.h"
#include "bilevel/report/page.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/clean/clean_baselines.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/clean/clean_report.h"
#include "bilevel/task/clean/clean_setup.h"
#include "bilevel/task/clean/label_noise.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_run.h"
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
constexpr size_t kShownPairs = 2;  // of given and true label, on the terminal
constexpr size_t kShown = 40;
constexpr double kNoNoise = 0.025;  // p-value above which an interval reaches 0: one side of 95 %
constexpr double kDoubtful =
    0.05;  // lower end of the share below which the test is made: it costs two fits a fold
constexpr double kUnsure = 0.04;  // half-width of the share's interval from which it is said

/// Ends the work between two fits.
struct Interrupted {};

/// As a contest the bilevel run of the first fold. Ranked by the loss of the classifier y on the trusted rows that are held
/// back (without trusted rows: on those of the judging rows), tuned by that on the rows that judge. No step is chosen: the
/// held-back rows would do both.
class CleanRun : public JobRun {
 public:
  CleanRun(CleanOptions options, const JobContext& context) : JobRun(context), o_(std::move(options)) {}

  JobResult run() override {
    prepare();
    const FolderLock lock = context_.open(o_, setup_->paths());
    Passes passes = context_.passes();
    try {
      return clean(passes);
    } catch (const Interrupted&) {
      return interrupted(context_, o_, passes, "interrupted");
    }
  }

  void prepare_contest() override {
    prepare();
    Part& part = parts_.front();
    choose_judges(part);
    make_units(part);
    if (part.held.empty()) {
      throw InputError(fmt::format(
          "{}: too few trusted rows to hold some back; solvers are measured on these", o_.trusted));
    }
  }
  std::unique_ptr<Attempt> attempt(uint64_t seed) override { return std::make_unique<Try>(*this, seed); }
  std::unique_ptr<Solver> solver(const std::string& name) const override {
    return make_job_solver(name, clean_solver_defaults(name, parts_.front().units), convex());
  }
  int64_t default_steps() const override {
    return setup_->steps(static_cast<int64_t>(parts_.front().lower.size()));
  }
  std::vector<std::string> files() const override { return setup_->paths(); }

 protected:
  const JobOptions& options() const override { return o_; }
  void describe(ContestFacts& facts) const override {
    const Part& part = parts_.front();
    facts.metric = {.key = "held_loss", .name = "loss on the held-back rows"};
    facts.tuning_metric = {.key = "judging_loss", .name = "loss on the judging rows"};
    facts.further = {
        {.key = "held_accuracy", .name = "accuracy on the held-back rows", .higher_is_better = true},
        facts.tuning_metric};
    facts.traits = traits(problem_of(model_of(part, o_.seed), part));
    facts.last_tenth = true;
    facts.data.emplace_back(
        "rows to weigh, judging, held back",
        fmt::format("{}, {}, {}", part.lower.size(), part.upper.size(), part.held.size()));
  }

 private:
  /// All rows but those of one fold. What is learned on a part knows nothing of that fold: neither its training
  /// rows' labels nor its trusted rows.
  struct Part {
    std::vector<int64_t> train, trusted;
    std::vector<int64_t> fold_train, fold_trusted;  ///< the rows of the fold
    std::vector<int64_t> lower, upper, held;        ///< of the bilevel run
    torch::Tensor first_opinion;  ///< of `train`, before anything is weighed; undefined until needed
    torch::Tensor unit_of;        ///< int64 [all rows]
    int64_t units = 0;
    torch::Tensor learned;  ///< [units]
    torch::Tensor weights;  ///< [train]
  };

  class Try : public Attempt {
   public:
    Try(const CleanRun& run, uint64_t seed)
        : run_(run), part_(run.parts_.front()), model_(run.model_of(part_, seed)) {}

    Problem problem() override { return run_.problem_of(model_, part_); }
    Json measure(int64_t) override {
      const ClassScores held = run_.scores_on(model_, part_.held),
                        judging = run_.scores_on(model_, part_.upper);
      return {{"held_loss", held.loss}, {"held_accuracy", held.accuracy}, {"judging_loss", judging.loss}};
    }

   private:
    const CleanRun& run_;
    const Part& part_;
    CleanModel model_;
  };

  void prepare() {
    setup_ = std::make_unique<CleanSetup>(o_, context_.callbacks.message);
    o_ = setup_->options();
    check_groups();
    fit_ = setup_->fit_options();
    fit_.interrupt = context_.callbacks.interrupt;
    draw_parts();
  }

  JobResult clean(Passes& passes) {
    for (int64_t k = 0; k < kFolds; ++k) {
      if (!weigh(k, passes)) return unfinished(context_, o_, passes);
    }
    const torch::Tensor probabilities = predict();
    judge_labels(probabilities);
    step("the cleaned model");
    WeightedRows all;
    all.add(setup_->train(), weights_);
    all.add(setup_->trusted(), 1);
    model_ = fit(all);
    return finish(passes);
  }

  // ---- parts of the method ----

  void step(const std::string& what) const {
    if (context_.interrupted()) throw Interrupted{};
    context_.say("fitting: " + what);
  }

  void say_and_note(const std::string& line) {
    if (std::find(notes_.begin(), notes_.end(), line) != notes_.end()) return;
    context_.say(line);
    notes_.push_back(line);
  }

  std::shared_ptr<Network> fit(const WeightedRows& rows) const {
    const auto network = fit_weighted(setup_->inputs().inputs, setup_->given(), rows, fit_);
    if (context_.interrupted()) throw Interrupted{};
    return network;
  }

  void draw_parts() {
    fold_of_.resize(static_cast<size_t>(setup_->files().rows()), kFolds);
    for (const auto& [rows, seed] : {std::pair{&setup_->train(), o_.seed},
                                     std::pair{&setup_->trusted(), derive_seed(o_.seed, "trusted")}}) {
      const std::vector<int64_t> folds = draw_folds(static_cast<int64_t>(rows->size()), kFolds, seed);
      for (size_t i = 0; i < rows->size(); ++i) fold_of_[static_cast<size_t>((*rows)[i])] = folds[i];
    }
    for (int64_t k = 0; k < kFolds; ++k) {
      Part part;
      for (const int64_t row : setup_->train())
        (fold_of(row) == k ? part.fold_train : part.train).push_back(row);
      for (const int64_t row : setup_->trusted())
        (fold_of(row) == k ? part.fold_trusted : part.trusted).push_back(row);
      parts_.push_back(std::move(part));
    }
  }

  int64_t fold_of(int64_t row) const { return fold_of_[static_cast<size_t>(row)]; }

  /// float64 [train + trusted rows of the part, classes]: each row's probabilities by a classifier fitted on the rows
  /// of the other folds of the part, the trusted ones with weight 1.
  torch::Tensor predict_within(const Part& part, const torch::Tensor& weights) const {
    WeightedRows rows;
    rows.add(part.train, weights);
    rows.add(part.trusted, 1);
    std::vector<int64_t> folds;
    for (const int64_t row : rows.rows) folds.push_back(fold_of(row));
    const torch::Tensor result = out_of_fold(setup_->inputs().inputs, setup_->given(), rows, folds, fit_);
    if (context_.interrupted()) throw Interrupted{};
    return result;
  }

  const torch::Tensor& first_opinion(Part& part) const {
    if (!part.first_opinion.defined()) {
      step("a first opinion on every label");
      const auto count = static_cast<int64_t>(part.train.size());
      part.first_opinion =
          predict_within(part, torch::full({count}, 1 / (1 + std::exp(-kFirstLogit)))).narrow(0, 0, count);
    }
    return part.first_opinion;
  }

  /// The trusted rows; without any, the training rows whose labels have the most agreement.
  void choose_judges(Part& part) {
    const std::vector<int64_t>& train = part.train;
    std::vector<int64_t> judges = part.trusted;
    part.lower = train;
    if (judges.empty()) {
      const torch::Tensor given = classes_of(train);
      const torch::Tensor agreement =
          first_opinion(part).gather(1, given.unsqueeze(1)).squeeze(1).contiguous();
      const auto* p = agreement.const_data_ptr<double>();
      const auto* c = given.const_data_ptr<int64_t>();
      std::vector<std::vector<size_t>> by_class(static_cast<size_t>(setup_->classes()));
      for (size_t i = 0; i < train.size(); ++i) by_class[static_cast<size_t>(c[i])].push_back(i);
      std::vector<bool> judging(train.size());
      for (std::vector<size_t>& rows : by_class) {
        if (rows.empty()) continue;
        std::stable_sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
        const auto count = static_cast<size_t>(std::ceil(kAgreeing * static_cast<double>(rows.size())));
        for (size_t k = 0; k < std::min(count, rows.size() - 1); ++k) judging[rows[k]] = true;
      }
      part.lower.clear();
      for (size_t i = 0; i < train.size(); ++i) (judging[i] ? judges : part.lower).push_back(train[i]);
      if (judges.empty()) {  // one row of each class
        judges.push_back(part.lower.back());
        part.lower.pop_back();
      }
      if (setup_->trusted().empty()) {
        say_and_note(
            "no --trusted file: the training rows whose labels an out-of-fold model agrees with most judge "
            "the others; this assumes that labels are right more often than wrong, and not wrong in a way "
            "that a model can learn; the probabilities and the share of wrong labels are not calibrated");
      }
    }
    const auto count = static_cast<int64_t>(judges.size());
    const int64_t upper = count < kFewTrusted ? count : std::llround(kJudging * static_cast<double>(count));
    Streams streams(o_.seed);
    const torch::Tensor order = torch::randperm(count, streams.stream("judges"), torch::kInt64);
    const auto* at = order.const_data_ptr<int64_t>();
    for (int64_t k = 0; k < count; ++k)
      (k < upper ? part.upper : part.held).push_back(judges[static_cast<size_t>(at[k])]);
    std::sort(part.upper.begin(), part.upper.end());
    std::sort(part.held.begin(), part.held.end());
  }

  /// Which logit each training row has.
  void make_units(Part& part) {
    part.unit_of = torch::zeros({setup_->files().rows()}, torch::kInt64);
    auto* unit = part.unit_of.data_ptr<int64_t>();
    if (o_.weight_per == "row") {
      for (size_t i = 0; i < part.lower.size(); ++i) unit[part.lower[i]] = static_cast<int64_t>(i);
      part.units = static_cast<int64_t>(part.lower.size());
      return;
    }
    unit_names_.clear();
    if (o_.weight_per == "group") {
      std::map<std::string, int64_t> numbers;
      for (const int64_t row : setup_->train()) {
        const auto [found, fresh] = numbers.emplace(group_of(row), static_cast<int64_t>(unit_names_.size()));
        if (fresh) unit_names_.push_back(found->first);
        unit[row] = found->second;
      }
    } else {
      const torch::Tensor predicted = first_opinion(part).argmax(1).contiguous();
      const auto* p = predicted.const_data_ptr<int64_t>();
      const auto* given = setup_->given().const_data_ptr<int64_t>();
      for (size_t i = 0; i < part.train.size(); ++i)
        unit[part.train[i]] = given[part.train[i]] * setup_->classes() + p[i];
      for (const std::string& label : setup_->class_names()) {
        for (const std::string& other : setup_->class_names())
          unit_names_.push_back(label + " (predicted " + other + ")");
      }
    }
    part.units = static_cast<int64_t>(unit_names_.size());
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

  CleanModel model_of(const Part& part, uint64_t seed) const {
    return {setup_->network(o_.encoder),
            setup_->inputs().inputs.shape,
            fit_.l2,
            part.units,
            kFirstLogit,
            seed,
            fit_.device};
  }

  Problem problem_of(const CleanModel& model, const Part& part) const {
    return model.problem({.inputs = setup_->inputs().inputs.inputs,
                          .classes = setup_->given(),
                          .lower = part.lower,
                          .upper = part.upper,
                          .unit_of = part.unit_of,
                          .units = part.units},
                         *o_.batch_size);
  }

  bool linear() const { return encoder_registry().at(o_.encoder).linear; }
  bool convex() const { return linear() && fit_.l2 > 0; }

  ProblemTraits traits(const Problem& problem) const {
    ProblemTraits traits{.noise = batch_noise(problem)};
    if (!linear()) {
      traits.convexity = Convexity::none;
      traits.caveat = fmt::format("the loss of the classifier '{}' is not convex in its weights", o_.encoder);
    } else if (!(fit_.l2 > 0)) {
      traits.convexity = Convexity::mere;
      traits.caveat = "--l2 0 leaves the classifier's loss merely convex";
    }
    return traits;
  }

  ClassScores scores_on(const CleanModel& model, const std::vector<int64_t>& rows) const {
    return class_scores(probabilities_of(*model.network(), setup_->inputs().inputs.inputs, rows, fit_.device),
                        classes_of(rows));
  }

  /// The bilevel run on all rows but those of fold k. False when it came to no outcome.
  bool weigh(int64_t k, Passes& passes) {
    Part& part = parts_[static_cast<size_t>(k)];
    choose_judges(part);
    make_units(part);
    const CleanModel model = model_of(part, o_.seed);
    const Problem problem = problem_of(model, part);
    const std::unique_ptr<Solver> method =
        make_job_solver(o_.solver, clean_solver_defaults(o_.solver, part.units), convex());
    assign(*method, o_.set);
    if (const std::string line = out_of_theory(*method, traits(problem)); !line.empty()) say_and_note(line);
    const int64_t steps = setup_->steps(static_cast<int64_t>(part.lower.size()));
    const PassPlan plan{.name = pass_name(k),
                        .shown = fmt::format("weighing the rows, {} of {}", k + 1, kFolds),
                        .steps = steps,
                        .schedule_steps = steps,
                        .max_seconds = o_.seconds_allowed() / kFolds,
                        .seed = o_.seed};
    std::function<Evaluation()> evaluate;
    if (!part.held.empty()) {
      evaluate = [&] {
        const ClassScores scores = scores_on(model, part.held);
        return Evaluation{.score = -scores.loss,
                          .standard_error = scores.standard_error_of_loss,
                          .fields = {{"held_loss", scores.loss}, {"held_accuracy", scores.accuracy}}};
      };
    }
    const PassOutcome* outcome = passes.run(plan, problem, *method, evaluate);
    if (outcome == nullptr) return false;
    best_steps_.push_back(outcome->chosen_step);
    part.learned = torch::sigmoid(outcome->upper);
    torch::Tensor of_row = torch::ones({setup_->files().rows()});  // training rows that judge count fully
    const torch::Tensor rows = torch::tensor(part.lower, torch::kInt64);
    of_row.index_copy_(0, rows, part.learned.index_select(0, part.unit_of.index_select(0, rows)));
    part.weights = of_row.index_select(0, torch::tensor(part.train, torch::kInt64));
    return true;
  }

  static std::string pass_name(int64_t k) { return fmt::format("weigh-{}", k + 1); }

  /// Predicts the rows of a part's fold by classifiers of the part's rows: its training rows by one that knows all
  /// trusted rows, its trusted rows by one that knows those of the other folds.
  void predict_fold(const Part& part, const torch::Tensor& weights, torch::Tensor& result) const {
    const auto predict_with = [&](const std::vector<int64_t>& trusted, const std::vector<int64_t>& rows) {
      if (rows.empty()) return;
      WeightedRows fitted;
      fitted.add(part.train, weights);
      fitted.add(trusted, 1);
      result.index_copy_(0, torch::tensor(rows, torch::kInt64),
                         probabilities_of(*fit(fitted), setup_->inputs().inputs.inputs, rows, fit_.device));
    };
    predict_with(setup_->trusted(), part.fold_train);
    predict_with(part.trusted, part.fold_trusted);
  }

  torch::Tensor no_predictions() const {
    return torch::zeros({setup_->files().rows(), setup_->classes()}, torch::kFloat64);
  }

  LabelledPredictions at(const torch::Tensor& of_all, const std::vector<int64_t>& rows) const {
    return {of_all.index_select(0, torch::tensor(rows, torch::kInt64)), classes_of(rows)};
  }

  /// float64 [all rows, classes], 0 but for training and trusted rows: each row's probabilities by a classifier that has
  /// not seen its label, nor anything made from it. Its weights come from the part's bilevel run and one round of
  /// cross-fitting within the part. Trusted rows are few: the fold's training rows are predicted with all of them.
  torch::Tensor predict() {
    torch::Tensor result = no_predictions();
    for (int64_t k = 0; k < kFolds; ++k) {
      Part& part = parts_[static_cast<size_t>(k)];
      step(fmt::format("fold {} of {}", k + 1, kFolds));
      const torch::Tensor within = predict_within(part, part.weights);
      const auto count = static_cast<int64_t>(part.train.size());
      const LabelledPredictions train{within.narrow(0, 0, count), classes_of(part.train)};
      const LabelledPredictions trusted{within.narrow(0, count, within.size(0) - count),
                                        classes_of(part.trusted)};
      part.weights = weight_of(judge(fit_label_noise(train, trusted), train).right, setup_->classes());
      predict_fold(part, part.weights, result);
    }
    return result;
  }

  /// Whether wrong labels can be told from none, by classifiers that take every label as right.
  bool noise_is_told() const {
    step("are there wrong labels at all?");
    torch::Tensor result = no_predictions();
    for (const Part& part : parts_)
      predict_fold(part, torch::ones({static_cast<int64_t>(part.train.size())}), result);
    return no_noise_p_value(at(result, setup_->train()), at(result, setup_->trusted()),
                            noise_.trusted_shift.defined()) < kNoNoise;
  }

  void judge_labels(const torch::Tensor& probabilities) {
    step("how labels go wrong");
    const LabelledPredictions train = at(probabilities, setup_->train());
    const LabelledPredictions trusted = at(probabilities, setup_->trusted());
    noise_ = fit_label_noise(train, trusted);
    if (!setup_->trusted().empty()) intervals_ = noise_intervals(noise_, train, trusted);
    if (intervals_ && intervals_->share.first < kDoubtful && !noise_is_told()) {
      intervals_->share.first = 0;
      intervals_->low.masked_fill_(torch::eye(setup_->classes(), torch::kBool).logical_not(), 0);
      intervals_->high.fill_diagonal_(1);
      say_and_note("wrong labels cannot be told from none here: the intervals reach down to 0 %");
    }
    if (intervals_ && intervals_->share.second - intervals_->share.first > 2 * kUnsure) {
      say_and_note(fmt::format(
          "the share of wrong labels is known within wide bounds only, {}{}; the probabilities follow "
          "the estimate, and are as far off as it is; more trusted rows tell more",
          percent_text(noise_.share), interval_text(intervals_->share.first, intervals_->share.second)));
    }
    judgement_ = judge(noise_, train);
    weights_ = weight_of(judgement_.right, setup_->classes());
    if (noise_.trusted_shift.defined() || noise_.class_counts < kContradiction)
      say_and_note(other_shares(trusted));
    if (noise_.same_beta < kContradiction) {
      say_and_note(fmt::format(
          "the trusted rows contradict the estimated noise: predictions that fit them do not fit the given "
          "labels (p = {:.1g}); do labels of some rows go wrong more often than others of their class, or "
          "are the trusted rows of another kind?",
          noise_.same_beta));
    }
  }

  /// What to say when the trusted rows have other class shares than the training rows can have.
  std::string other_shares(const LabelledPredictions& trusted) const {
    const torch::Tensor counted =
        torch::one_hot(trusted.labels, setup_->classes()).to(torch::kFloat64).mean(0);
    const auto c = (counted - noise_.class_shares).abs().argmax().item<int64_t>();
    return fmt::format(
        "the trusted rows contradict the estimated class shares: {} of them are '{}', of the training rows "
        "(wrong labels corrected) about {}; if they were picked class by class, that is no fault{}",
        percent_text(counted[c].item<double>()), name_of(c),
        percent_text(noise_.class_shares[c].item<double>()),
        noise_.trusted_shift.defined() ? "; the noise is estimated without their shares" : "");
  }

  torch::Tensor classes_of(const std::vector<int64_t>& rows) const {
    return setup_->given().index_select(0, torch::tensor(rows, torch::kInt64));
  }

  /// By the cleaned model, calibrated where there are trusted rows.
  torch::Tensor predictions(const std::vector<int64_t>& rows) const {
    const torch::Tensor p = probabilities_of(*model_, setup_->inputs().inputs.inputs, rows, fit_.device);
    return setup_->trusted().empty() ? p : noise_.calibration.apply(p);
  }

  // ---- figures and files ----

  JobResult finish(const Passes& passes) {
    const int64_t rows = judgement_.right.numel();
    Json summary = summary_of(context_, o_, passes);
    for (const std::string& note : notes_) summary["warnings"].push_back(note);
    const torch::Tensor suspicious = judgement_.right < 0.5;
    summary["best_steps"] = best_steps_;
    summary["rows"] = rows;
    summary["suspicious"] = suspicious.sum().item<int64_t>();
    summary["l2"] = {{"classifier", *o_.l2}, {"baselines", *o_.baseline_l2}};
    summary["estimated_noise"] = noise_.share;
    summary["estimated_noise_interval"] = nullptr;
    if (intervals_) summary["estimated_noise_interval"] = {intervals_->share.first, intervals_->share.second};
    summary["label_noise"] = rates();
    summary["calibration"] = nullptr;
    if (intervals_) summary["calibration"] = noise_.calibration.to_json();
    summary["metrics"] = {{"train", scores_of(setup_->train())},
                          {"trusted", scores_of(setup_->trusted())},
                          {"test", scores_of(setup_->test())}};
    if (setup_->flips()) summary["metrics"]["flips"] = flips_found(suspicious);
    if (o_.weight_per != "row") {
      Json& learned = summary["learned_weights"];
      for (size_t u = 0; u < unit_names_.size(); ++u) {
        double sum = 0;
        for (const Part& part : parts_) sum += part.learned[static_cast<int64_t>(u)].item<double>();
        learned[unit_names_[u]] = sum / static_cast<double>(parts_.size());
      }
    }
    if (o_.baselines) {
      // With injected noise the usual methods are told its share, which nobody knows in earnest.
      const double drop = setup_->flips() ? setup_->flips()->flipped.mean().item<double>() : noise_.share;
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
    return class_scores(predictions(rows), classes_of(rows)).to_json();
  }

  Json flips_found(const torch::Tensor& suspicious) const {
    const torch::Tensor& flipped = setup_->flips()->flipped;
    const double flips = flipped.sum().item<double>();
    const double called = suspicious.sum().item<double>();
    const double hit = (flipped * suspicious.to(torch::kFloat64)).sum().item<double>();
    Json found{{"auroc", nullptr}, {"precision", nullptr}, {"recall", nullptr}};
    if (flips > 0 && flips < static_cast<double>(flipped.numel()))
      found["auroc"] = auc(ScoredRows(-judgement_.right, flipped));
    if (called > 0) found["precision"] = hit / called;
    if (flips > 0) found["recall"] = hit / flips;
    return found;
  }

  /// "label_noise": for each true class and each class that it is recorded as, the rate and its interval.
  Json rates() const {
    Json result = Json::object();
    for (int64_t j = 0; j < setup_->classes(); ++j) {
      for (int64_t k = 0; k < setup_->classes(); ++k) {
        Json entry{{"rate", noise_.transition[j][k].item<double>()}, {"interval", nullptr}};
        if (intervals_ && std::isfinite(intervals_->low[j][k].item<double>()))
          entry["interval"] = {intervals_->low[j][k].item<double>(), intervals_->high[j][k].item<double>()};
        result[name_of(j)][name_of(k)] = entry;
      }
    }
    return result;
  }

  /// The pairs of classes that make the most wrong labels, in one line.
  std::string rates_text() const {
    const int64_t classes = setup_->classes();
    torch::Tensor expected = noise_.transition * noise_.class_shares.unsqueeze(1);
    expected.fill_diagonal_(0);
    const torch::Tensor order = expected.flatten().argsort(/*stable=*/true, 0, /*descending=*/true);
    std::vector<std::string> pairs;
    for (int64_t i = 0; i < std::min<int64_t>(kShownPairs, classes * (classes - 1)); ++i) {
      const auto entry = order[i].item<int64_t>();
      const int64_t j = entry / classes, k = entry % classes;
      std::string pair = fmt::format("'{}' as '{}' {}", name_of(j), name_of(k),
                                     percent_text(noise_.transition[j][k].item<double>()));
      if (intervals_)
        pair += interval_text(intervals_->low[j][k].item<double>(), intervals_->high[j][k].item<double>());
      pairs.push_back(pair);
    }
    return fmt::format("recorded wrongly{}: {}", classes > 2 ? ", most of all" : "", fmt::join(pairs, ", "));
  }

  std::string share_text() const {
    return percent_text(noise_.share) +
           (intervals_ ? interval_text(intervals_->share.first, intervals_->share.second) : "");
  }

  static std::string interval_text(double low, double high) {
    return std::isfinite(low) ? fmt::format(" ({:.1f} to {:.1f})", 100 * low, 100 * high) : "";
  }

  std::string path(const char* name) const { return context_.path(name).string(); }
  const std::string& name_of(int64_t c) const { return setup_->class_names()[static_cast<size_t>(c)]; }

  SuspiciousRow row_at(int64_t i) const {
    const int64_t row = setup_->train()[static_cast<size_t>(i)];
    return {.row = i + 1,
            .weight = weights_[i].item<double>(),
            .probability = judgement_.right[i].item<double>(),
            .given = name_of(setup_->given()[row].item<int64_t>()),
            .suggested = name_of(judgement_.suggested[i].item<int64_t>()),
            .text = setup_->row_text(row),
            .truth = setup_->flips() ? name_of(setup_->flips()->original[static_cast<size_t>(i)]) : ""};
  }

  void write_weights(const torch::Tensor& suspicious) const {
    std::string table = "row\tweight\tgiven_label\tsuggested_label\tprobability\tsuspicious\n";
    const torch::Tensor given = classes_of(setup_->train());
    const auto* w = weights_.const_data_ptr<double>();
    const auto* p = judgement_.right.const_data_ptr<double>();
    const auto* s = suspicious.const_data_ptr<bool>();
    for (int64_t i = 0; i < given.numel(); ++i) {
      table += fmt::format("{}\t{:.9g}\t{}\t{}\t{:.9g}\t{}\n", i + 1, w[i], name_of(given[i].item<int64_t>()),
                           name_of(judgement_.suggested[i].item<int64_t>()), p[i], s[i] ? 1 : 0);
    }
    write_file_atomically(path("weights.tsv"), table);
  }

  void write_model() const {
    const CleanInputs& inputs = setup_->inputs();
    const std::shared_ptr<Network> whole =
        inputs.columns ? inputs.columns->widen(*model_, inputs.shape) : model_;
    save_model(context_, o_, *whole, *inputs.features, {},
               {{"classes", setup_->class_names()},
                {"calibration", setup_->trusted().empty() ? Json(nullptr) : noise_.calibration.to_json()}});
  }

  void write_predictions() const {
    const torch::Tensor p = predictions(setup_->test());
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
    std::vector<Series> held_accuracy, upper_loss, held_loss;
    for (int64_t k = 0; k < kFolds; ++k) {
      Trace of_pass;
      for (const Json& row : trace.rows) {
        if (row.at("phase") == pass_name(k)) of_pass.rows.push_back(row);
      }
      const auto series = [&](const char* key, const char* what) {
        return series_from_trace(of_pass, "step", key, fmt::format("{}, run {}", what, k + 1));
      };
      held_accuracy.push_back(series("held_accuracy", "held-back rows"));
      held_loss.push_back(series("held_loss", "held-back rows"));
      upper_loss.push_back(series("upper_loss", "judging rows (batch)"));
    }
    upper_loss.insert(upper_loss.end(), held_loss.begin(), held_loss.end());
    const LinePlot accuracy{.title = "Accuracy on the held-back trusted rows",
                            .x_label = "step",
                            .y_label = "accuracy",
                            .series = held_accuracy};
    const LinePlot loss{
        .title = "Loss on trusted rows", .x_label = "step", .y_label = "cross-entropy", .series = upper_loss};
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
    report.data_facts = setup_->inputs().features->facts();
    report.notes = summary.at("warnings").get<std::vector<std::string>>();
    report.noise = fmt::format("Estimated share of wrong labels: {}; {}.", share_text(), rates_text());
    report.assumed = setup_->trusted().empty();
    for (const auto& [name, plot, caption] :
         {std::tuple{"accuracy.svg", &accuracy,
                     "The classifiers of the bilevel runs, each without one fold; the cleaned model is "
                     "fitted after them."},
          {"weights.svg", &weights, "Rows of low weight are suspicious."},
          {"loss.svg", &loss,
           "The chosen step of a run is the latest within one standard error of its best."}}) {
      const PlotResult drawn = draw(*plot);
      if (!drawn.svg.empty()) write_file_atomically(path(name), drawn.svg);
      report.figures.push_back({drawn, caption});
    }
    for (const int64_t i : most_suspicious(kShown)) report.suspicious.push_back(row_at(i));
    write_file_atomically(path("report.html"), clean_report_html(report));
  }

  std::vector<int64_t> most_suspicious(size_t count) const {
    const torch::Tensor order = judgement_.right.argsort(/*stable=*/true, 0, /*descending=*/false);
    const auto* at = order.const_data_ptr<int64_t>();
    return {at, at + std::min<int64_t>(static_cast<int64_t>(count), order.numel())};
  }

  std::string text_of_result(const Json& summary) const {
    const Json& metrics = summary.at("metrics");
    std::string text = fmt::format("\n{} of {} rows are suspicious; estimated share of wrong labels {}\n{}\n",
                                   summary.at("suspicious").get<int64_t>(), judgement_.right.numel(),
                                   share_text(), rates_text());
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
  std::unique_ptr<CleanSetup> setup_;
  WeightedFitOptions fit_;
  std::vector<int64_t> fold_of_;  // of each row of any file; kFolds: in none
  std::vector<Part> parts_;
  std::vector<std::string> unit_names_;
  LabelNoise noise_;
  std::optional<NoiseIntervals> intervals_;
  Judgement judgement_;
  torch::Tensor weights_;
  std::shared_ptr<Network> model_;
  std::vector<int64_t> best_steps_;
  std::vector<std::string> notes_;
};

}  // namespace

JobEntry clean_entry() {
  return {.name = "clean",
          .summary = "find wrong labels, and train a classifier that hardly heeds them",
          .first_try = "--train noisy.tsv --trusted checked.tsv --text text --label class",
          .score = "held-back loss",
          .score_is_loss = true,
          .make = [] { return std::make_unique<JobOf<CleanOptions, CleanRun>>(); },
          .predict = predict_classes,
          .suggest =
              [](const DataDescription&) {
                return Suggestion{" --trusted TRUSTED",
                                  "find wrong labels with the help of a small file of trusted rows"};
              }};
}

}  // namespace bilevel
