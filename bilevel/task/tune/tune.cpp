#include "bilevel/task/tune/tune.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/core/threads.h"
#include "bilevel/report/page.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/job_run.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/job/seeded_network.h"
#include "bilevel/task/tune/tune_report.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

// A convex model: where learning may start, from strong to weak, with the evaluations of g spent on each, and those
// after learning, which make the weights those of the learned strengths. A rough start matters: at a strength far
// too weak, weights and hypergradients are slow to converge, and the common strength would wander.
constexpr double kStarts[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8};
constexpr int64_t kStart = 7, kFinish = 30;
constexpr int64_t kEvaluations = 10;

/// The options of `bilevel tune`.
struct TuneJobOptions : JobOptions {
  std::string tune;   ///< a name of `tune_kinds()`
  std::string split;  ///< "T,V,S" shares of training, validation and test rows
  double spread = 2;  ///< see TuneModel
  std::optional<int64_t> upper_batch_size;
  double baseline_passes =
      1;  ///< of each baseline, in multiples of those that learning took; 0: no baselines

  void fields(Fields& f) override {
    f.heading(kDataGroup);
    f.text("train", train, "training file: csv, tsv, jsonl, libsvm or idx, each also gzipped").as("FILE");
    f.text("valid", valid, "file whose loss the hyperparameters minimize")
        .as("FILE")
        .or_else("a share of the training rows");
    f.text("test", test, "test file").as("FILE").or_else("a share of the training rows");
    column_fields(f);
    f.text("split", split, "shares of training, validation and test rows cut from the training file")
        .as("T,V,S")
        .or_else("a fifth for testing, a third of the rest for validation");
    f.heading(kModelGroup);
    f.optional_choice("tune", tune, tune_kinds(), "what is learned")
        .as("NAME")
        .or_else("l2-per-feature; for token encoders l2");
    model_fields(f, "common L2 strength to start from; bag and linear find their own where none is given");
    f.number("spread", spread, kPositive,
             "how far, in natural logarithms, strengths are expected to lie from the common one")
        .as("S");
    f.integer("upper_batch_size", upper_batch_size, kAtLeastOne, "validation rows a batch")
        .as("N")
        .or_else("batch_size where that is given, else for bag and linear all");
    training_fields(f);
    f.number("baseline_passes", baseline_passes, kNonNegative,
             "passes of grid and random search, in multiples of those that learning took; 0: none")
        .as("N");
  }
};

constexpr double kNetworkStep = 1e-3;  // of Adam on the weights of a network

JobDefaults defaults_of(const std::string& encoder, const std::string& solver, int64_t rows) {
  std::map<std::string, nlohmann::json> options{{"schedule", "cosine"}, {"warm_start_steps", 0}};
  const EncoderEntry& entry = encoder_registry().at(encoder);
  const SolverEntry& moving = solver_registry().at(solver);
  const bool adaptive = moving.movement == Movement::adaptive;
  if (entry.linear) {
    options.insert({{"upper_step_size", 0.2}, {"neumann_terms", 20}, {"lower_steps", 5}});
    // The hypergradient of a log-strength shrinks with the strength: a long memory of its square would stall x.
    if (adaptive) options["second_moment_weight"] = 0.1;
    return {.l2 = 1e-3,
            .batch_size = std::max<int64_t>(64, rows / 16),
            .steps = 40,
            .threads = 1,
            .solver = options};
  }
  // The largest curvature of a network at its start may be negative, and then no step size follows from it. What is
  // carried along in H z = b grows without bound at larger steps.
  options.insert({{"upper_step_size", 0.01},
                  {"lower_step_size", 0.5},
                  {"linear_step_size", 0.01},
                  {"neumann_terms", 3},
                  {"neumann_step_size", 0.1}});
  const std::unique_ptr<Solver> made = moving.make();
  if (adaptive) {
    options["upper_step_size"] = 0.05;
    options["second_moment_weight"] = 0.01;
  }
  if (fields_of(*made).find("lower_rule") != nullptr) {
    options["lower_rule"] = "adam";
    options["lower_step_size"] = kNetworkStep;
  }
  if (entry.reads == Reads::columns)
    return {.network = {{"hidden", 64},
                        {"layers", 1},
                        {"dropout", 0.0},
                        {"activation", "gelu"},
                        {"linear_skip", true}},
            .l2 = 1e-4,
            .batch_size = 64,
            .epochs = 20,
            .threads = 1,
            .solver = options};
  return {.network = {{"max_length", 128}}, .l2 = 1e-4, .batch_size = 32, .epochs = 8, .solver = options};
}

class TuneAttempt : public ChoosingAttempt {
 public:
  TuneAttempt(std::unique_ptr<TuneModel> model, const TuneJobOptions& options, const TuneData& data,
              const std::vector<int64_t>& test)
      : model_(std::move(model)), o_(options), data_(data), test_(test) {}

  Problem problem() override { return model_->problem(*o_.batch_size, *o_.upper_batch_size); }

 protected:
  Evaluation evaluate() override {
    const auto scores = [&](const std::vector<int64_t>& part) {
      return class_scores(model_->probabilities(part), classes_at(data_.classes, part));
    };
    const ClassScores valid = scores(data_.valid), test = scores(test_);
    return {
        .score = -valid.loss,
        .fields = {{"test_loss", test.loss}, {"test_accuracy", test.accuracy}, {"valid_loss", valid.loss}}};
  }

 private:
  std::unique_ptr<TuneModel> model_;
  const TuneJobOptions& o_;
  const TuneData& data_;
  const std::vector<int64_t>& test_;
};

/// As a contest learning alone, from the strength at which `bilevel tune` starts; the weights are not trained further at
/// what was learned. Ranked by the test loss at the step of least validation loss, tuned by that.
class TuneRun : public JobRun {
 public:
  TuneRun(TuneJobOptions options, const JobContext& context) : JobRun(context), o_(std::move(options)) {}

  JobResult run() override {
    prepare();
    const std::unique_ptr<Solver> method = solver(o_.solver);
    assign(*method, o_.set);
    const Problem problem = model_->problem(*o_.batch_size, *o_.upper_batch_size);
    { Oracles(problem, o_.seed); }  // what is impossible is refused before there is a folder

    const FolderLock lock = context_.open(o_, files_.paths(o_));
    if (const std::string note = out_of_theory(*method, traits(problem)); !note.empty())
      notes_.push_back(note);
    if (!model_->convex() && solver_registry().at(o_.solver).lower_descends_upper) {
      notes_.push_back(fmt::format(
          "{} moves the weights down the validation loss too: the validation figures are those of rows "
          "that were fitted",
          o_.solver));
    }
    for (const std::string& note : notes_) context_.say(note);
    Passes passes = context_.passes();
    if (model_->convex()) {
      start();
    }
    const PassOutcome* learned = passes.run({.name = "learn",
                                             .shown = "learning",
                                             .steps = steps_,
                                             .evaluations = kEvaluations,
                                             .max_seconds = o_.seconds_allowed(),
                                             .seed = o_.seed},
                                            problem, *method, [&] { return evaluate(); });
    if (learned == nullptr) return unfinished(context_, o_, passes);
    model_->set_x(learned->upper);
    model_->set_y(learned->lower);
    spent_.learn =
        passes_of(passes.oracle_calls(), std::min(*o_.batch_size, static_cast<int64_t>(data_.train.size())),
                  std::min(*o_.upper_batch_size, static_cast<int64_t>(data_.valid.size())),
                  static_cast<int64_t>(data_.train.size())) +
        static_cast<double>(kEvaluations) * rows(data_.valid) / rows(data_.train);
    if (model_->convex()) spent_.finish = minimize_weights(*model_, kFinish);
    return finish(passes, *learned);
  }

  void prepare_contest() override {
    prepare();
    if (model_->convex()) start();
  }
  std::unique_ptr<Attempt> attempt(uint64_t seed) override {
    TuneModelOptions options = model_options_;
    options.seed = seed;
    auto model = std::make_unique<TuneModel>(options, shape_, data_);
    if (model->convex()) {
      model->set_x(model_->x().detach().clone());
      model->set_y(model_->flat_y());
    }
    return std::make_unique<TuneAttempt>(std::move(model), o_, data_, test_);
  }
  std::unique_ptr<Solver> solver(const std::string& name) const override {
    return make_job_solver(name, defaults_of(o_.encoder, name, 0).solver, model_->convex());
  }
  int64_t default_steps() const override { return steps_; }
  std::vector<std::string> files() const override { return files_.paths(o_); }

 protected:
  const JobOptions& options() const override { return o_; }
  void describe(ContestFacts& facts) const override {
    facts.metric = {.key = "test_loss", .name = "test loss"};
    facts.tuning_metric = {.key = "valid_loss", .name = "validation loss"};
    facts.further = {{.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true},
                     facts.tuning_metric};
    facts.traits = traits(model_->problem(*o_.batch_size, *o_.upper_batch_size));
    facts.data.emplace_back("learned", o_.tune);
  }

 private:
  /// Everything up to the model as it is at first.
  void prepare() {
    check_options();
    read();
    NetworkOptions network = resolve();
    const auto [features, fitted] = files_.fit(
        feature_options(o_, o_.encoder, network.set.value("max_length", 256)), data_.train, o_.seed);
    features_ = features;
    data_.inputs = fitted.inputs;
    shape_ = fitted.shape;
    make_model(std::move(network));
  }

  ProblemTraits traits(const Problem& problem) const {
    ProblemTraits traits{.noise = batch_noise(problem)};
    if (!model_->convex()) {
      traits.convexity = Convexity::none;
      traits.caveat =
          fmt::format("the loss is not convex in the weights of a network (encoder {})", o_.encoder);
    }
    return traits;
  }

  static double rows(const std::vector<int64_t>& part) { return static_cast<double>(part.size()); }

  void check_options() {
    o_.check();
    if (o_.tune.empty()) {
      const bool words = encoder_registry().at(o_.encoder).reads == Reads::words;
      o_.tune = words ? "l2" : "l2-per-feature";
    }
    if (o_.l2 == 0) refuse_option("l2", "0", "must be positive: its logarithm is where learning starts");
  }

  void read() {
    context_.say("reading " + o_.train);
    files_.add({{"train", o_.train}, {"valid", o_.valid}, {"test", o_.test}}, o_);
    labels_ = files_.classes(o_.label);
    data_.classes = labels_.classes;
    Streams streams(o_.seed);
    // A third of the rest for validation, since many numbers are learned there.
    RowParts parts =
        cut_parts(files_, o_, o_.split, 1.0 / 3, labels_.classes, streams.stream("split"), labels_.names);
    data_.train = std::move(parts.train);
    data_.valid = std::move(parts.valid);
    test_ = std::move(parts.test);
    context_.say(fmt::format("{} rows to train, {} to validate, {} to test; classes: {}", data_.train.size(),
                             data_.valid.size(), test_.size(), describe_classes(labels_)));
  }

  NetworkOptions resolve() {
    const auto n = static_cast<int64_t>(data_.train.size());
    defaults_ = defaults_of(o_.encoder, o_.solver, n);
    const bool convex = encoder_registry().at(o_.encoder).linear;
    if (!o_.upper_batch_size && (o_.batch_size || !convex))
      o_.upper_batch_size = o_.batch_size.value_or(defaults_.batch_size);
    if (!o_.upper_batch_size) o_.upper_batch_size = static_cast<int64_t>(data_.valid.size());
    const std::optional<double> l2 = o_.l2;
    NetworkOptions network = o_.resolve(defaults_);
    threads_.emplace(*o_.threads);
    if (convex) o_.l2 = l2;  // none: found in `start`
    steps_ = o_.steps_for(n, std::min(n, *o_.batch_size));
    network.outputs = static_cast<int64_t>(labels_.names.size());
    return network;
  }

  void make_model(NetworkOptions network) {
    model_options_ = {.network = std::move(network),
                      .kind = o_.tune,
                      .l2 = o_.l2.value_or(defaults_.l2),
                      .spread = o_.spread,
                      .seed = o_.seed,
                      .device = o_.torch_device()};
    model_.emplace(model_options_, shape_, data_);
    o_.note(model_->network()->options());
  }

  /// Trains the weights at weaker and weaker strengths, each from those of the one before, until the validation
  /// loss rises, and starts at the best.
  void start() {
    const std::vector<double> strengths =
        o_.l2 ? std::vector<double>{*o_.l2} : std::vector<double>(std::begin(kStarts), std::end(kStarts));
    const int64_t evaluations = o_.l2 ? 2 * kStart : kStart;
    double best = std::numeric_limits<double>::infinity();
    torch::Tensor x, y;
    for (const double strength : strengths) {
      model_->set_x(model_->centred(strength));
      spent_.start += minimize_weights(*model_, evaluations) + rows(data_.valid) / rows(data_.train);
      const double loss = scores(data_.valid).loss;
      // Weights trained briefly at a weak strength look better than they are: being unfinished regularizes too.
      if (x.defined() && !(loss < best)) break;
      best = loss;
      x = model_->centred(strength);
      y = model_->flat_y();
    }
    model_->set_x(x);
    model_->set_y(y);
    context_.say(fmt::format("learning starts at the strength {:.0e}", std::exp(x[0].item<double>())));
  }

  ClassScores scores(const std::vector<int64_t>& part) const {
    return class_scores(model_->probabilities(part), classes_at(data_.classes, part));
  }

  Evaluation evaluate() const {
    const ClassScores valid = scores(data_.valid);
    const torch::Tensor strengths = model_->strengths();
    return {.score = -valid.loss,
            .standard_error = 0,  // the same rows measure every step: their noise is common to all
            .fields = {{"valid_loss", valid.loss},
                       {"valid_accuracy", valid.accuracy},
                       {"median_strength", strengths.median().item<double>()}}};
  }

  JobResult finish(const Passes& passes, const PassOutcome& learned) {
    const double total = spent_.start + spent_.learn + spent_.finish;
    TuneReport report;
    Json& summary = report.summary;
    summary = summary_of(context_, o_, passes);
    summary["tune"] = o_.tune;
    summary["best_step"] = learned.chosen_step;
    summary["metrics"] = {{"train", scores(data_.train).to_json()},
                          {"valid", scores(data_.valid).to_json()},
                          {"test", scores(test_).to_json()}};
    summary["passes"] = total;
    summary["passes_apart"] = {{"start", spent_.start}, {"learn", spent_.learn}, {"finish", spent_.finish}};
    describe_learned(report);
    const torch::Tensor x = model_->x().detach().clone(), y = model_->flat_y();
    const torch::Tensor test = model_->probabilities(test_);
    summary["baselines"] = Json::object();
    if (o_.baseline_passes > 0) {
      for (const char* name : {"grid", "random"}) {
        context_.say(fmt::format("{} search with {:.0f} passes", name, o_.baseline_passes * total));
        if (!baseline(name, o_.baseline_passes * total, summary["baselines"])) {
          return interrupted(context_, o_, passes, "interrupted while the baselines were searched");
        }
      }
      model_->set_x(x);
      model_->set_y(y);
    }
    save_model(context_, o_, *model_->network(), *features_, {}, {{"classes", labels_.names}});
    write_predictions(test);
    write_hyperparameters(context_.path("hyperparameters.tsv"), report);
    report.title = fmt::format("{}: {}", std::filesystem::path(o_.train).filename().string(), o_.tune);
    report.parts = {
        {"training", data_.train.size()}, {"validation", data_.valid.size()}, {"test", test_.size()}};
    report.facts = features_->facts();
    report.notes = notes_;
    for (const auto& warning : passes.warnings()) report.notes.push_back(warning);
    write_tune_report(context_.out, report);
    return finished(context_, passes, summary, text_of(summary));
  }

  /// Searches and notes the result; false when interrupted.
  bool baseline(const std::string& name, double passes, Json& baselines) {
    const double cap = model_->convex() ? 1e2 : model_->strength_range().second;
    const SearchOptions options{.passes = passes,
                                .training = {.steps = steps_,
                                             .batch_size = *o_.batch_size,
                                             .step_size = kNetworkStep,
                                             .measurements = kEvaluations,
                                             .seed = o_.seed},
                                .high = cap,
                                .seed = o_.seed,
                                .interrupt = context_.callbacks.interrupt};
    const SearchOutcome found =
        name == "grid" ? grid_search(*model_, data_, options) : random_search(*model_, data_, options);
    if (found.interrupted) return false;
    if (!found.x.defined()) {  // no point gave a finite loss
      baselines[name] = {{"valid", {{"loss", nullptr}, {"accuracy", nullptr}}},
                         {"test", {{"loss", nullptr}, {"accuracy", nullptr}}},
                         {"points", found.points},
                         {"passes", found.passes}};
      return true;
    }
    model_->set_x(found.x);
    model_->set_y(found.y);
    baselines[name] = {{"valid", scores(data_.valid).to_json()},
                       {"test", scores(test_).to_json()},
                       {"strength", found.strength},
                       {"points", found.points},
                       {"passes", found.passes}};
    return true;
  }

  /// The learned values by name.
  void describe_learned(TuneReport& report) const {
    Json& summary = report.summary;
    const torch::Tensor strengths = model_->strengths().contiguous();
    const double common = std::exp(model_->x()[0].item<double>());
    summary["learned"] = {{"common_strength", common}};
    report.values.push_back({"strength", "common", common});
    const auto add = [&](const char* kind, const std::string& name, double value) {
      report.values.push_back({kind, name, value});
    };
    std::vector<std::string> names;
    if (o_.tune == "l2-per-feature") {
      names = features_->names(files_.by_file(data_.train));
      const torch::Tensor used = model_->used_features();
      for (size_t j = 0; j < names.size(); ++j) {
        if (used[static_cast<int64_t>(j)].item<bool>() && !names[j].empty())
          add("strength", names[j], strengths[static_cast<int64_t>(j)].item<double>());
      }
    } else if (o_.tune == "l2-per-class") {
      names = labels_.names;
      for (size_t c = 0; c < names.size(); ++c)
        add("strength", names[c], strengths[static_cast<int64_t>(c)].item<double>());
    }
    const auto offset = static_cast<int64_t>(names.size());
    for (size_t i = 0; i < model_->other_groups().size(); ++i)
      add("strength", model_->other_groups()[i], strengths[offset + static_cast<int64_t>(i)].item<double>());
    if (o_.tune == "label-smoothing") {
      summary["learned"]["smoothing"] = model_->smoothing();
      add("smoothing", "epsilon", model_->smoothing());
    }
    if (o_.tune == "class-weights") {
      const torch::Tensor w = model_->class_weights();
      summary["learned"]["class_weights"] = Json::object();
      for (size_t c = 0; c < labels_.names.size(); ++c) {
        const auto value = w[static_cast<int64_t>(c)].item<double>();
        summary["learned"]["class_weights"][labels_.names[c]] = value;
        add("class_weight", labels_.names[c], value);
      }
    }
    const auto [least, greatest] = extremes(report.values, 10);
    const auto list = [](const std::vector<LearnedValue>& values) {
      Json object = Json::object();
      for (const LearnedValue& v : values) object[v.name] = v.value;
      return object;
    };
    if (!least.empty()) {
      summary["learned"]["smallest"] = list(least);
      summary["learned"]["largest"] = list(greatest);
    }
  }

  void write_predictions(const torch::Tensor& probabilities) const {
    std::string table = "file\tline\tlabel\tpredicted";
    for (const std::string& name : labels_.names) table += fmt::format("\tp({})", name);
    table += "\n";
    const torch::Tensor p = probabilities.contiguous(), best = p.argmax(1).contiguous();
    const size_t classes = labels_.names.size();
    for (size_t i = 0; i < test_.size(); ++i) {
      const auto [file, local] = files_.source_of(test_[i]);
      table += fmt::format("{}\t{}\t{}\t{}", file->path, position_of(file->file, local).line,
                           labels_.names[static_cast<size_t>(data_.classes[static_cast<size_t>(test_[i])])],
                           labels_.names[static_cast<size_t>(best.const_data_ptr<int64_t>()[i])]);
      for (size_t c = 0; c < classes; ++c)
        table += fmt::format("\t{:.9g}", p.const_data_ptr<double>()[i * classes + c]);
      table += "\n";
    }
    write_file_atomically(context_.path("predictions.tsv").string(), table);
  }

  std::string text_of(const Json& summary) const {
    std::string text = fmt::format("\n{:<24}{:>12}{:>12}{:>15}{:>9}\n", "", "valid loss", "test loss",
                                   "test accuracy", "passes");
    const auto line = [&](const std::string& name, const Json& metrics, double passes) {
      const auto number = [&](const char* part, const char* key) {
        const Json& value = metrics.at(part).at(key);
        return value.is_number() ? value.get<double>() : std::nan("");
      };
      text += fmt::format("{:<24}{:>12}{:>12}{:>15}{:>9}\n", name, metric_text(number("valid", "loss")),
                          metric_text(number("test", "loss")), percent_text(number("test", "accuracy")),
                          std::llround(passes));
    };
    line(summary.at("tune").get<std::string>() + ", learned", summary.at("metrics"),
         summary.at("passes").get<double>());
    for (const auto& [name, found] : summary.at("baselines").items())
      line(fmt::format("{}, {} points", name, found.at("points").get<int64_t>()), found,
           found.at("passes").get<double>());
    text +=
        fmt::format("\ncommon strength {:.3g}", summary.at("learned").at("common_strength").get<double>());
    for (const auto& [key, title] :
         {std::pair{"smallest", "least regularized"}, {"largest", "most regularized"}}) {
      if (!summary.at("learned").contains(key)) continue;
      text += fmt::format("\n{}:", title);
      int shown = 0;
      for (const auto& [name, value] : summary.at("learned").at(key).items()) {
        if (shown++ == 5) break;
        text += fmt::format("{} {} ({:.3g})", shown > 1 ? "," : "", shortened(name, 40), value.get<double>());
      }
    }
    if (summary.at("learned").contains("smoothing"))
      text += fmt::format("\nlabel smoothing {:.3g}", summary.at("learned").at("smoothing").get<double>());
    if (summary.at("learned").contains("class_weights")) {
      text += "\nclass weights:";
      for (const auto& [name, value] : summary.at("learned").at("class_weights").items())
        text += fmt::format(" {} {:.3g}", shortened(name, 40), value.get<double>());
    }
    return text + fmt::format("\n\nreport: {}/report.html\n", context_.out);
  }

  struct Spent {
    double start = 0, learn = 0, finish = 0;
  };

  TuneJobOptions o_;
  JobDefaults defaults_;
  std::optional<ThreadCountScope> threads_;
  JobFiles files_;
  ClassLabels labels_;
  TuneData data_;
  std::vector<int64_t> test_;
  std::shared_ptr<const Features> features_;
  InputShape shape_;
  TuneModelOptions model_options_;
  std::optional<TuneModel> model_;
  int64_t steps_ = 0;
  Spent spent_;
  std::vector<std::string> notes_;
};

}  // namespace

JobEntry tune_entry() {
  return {.name = "tune",
          .summary = "learn the regularization of a classifier by gradient",
          .first_try = "--train rows.csv --label class",
          .score = "loss",
          .score_is_loss = true,
          .make = [] { return std::make_unique<JobOf<TuneJobOptions, TuneRun>>(); },
          .predict = predict_classes,
          .suggest =
              [](const DataDescription&) {
                return Suggestion{"", "learn the regularization by gradient"};
              }};
}

}  // namespace bilevel
