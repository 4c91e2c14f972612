#include "bilevel/task/tune/tune_job.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/split.h"
#include "bilevel/report/page.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_data.h"
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

struct Defaults {
  NetworkOptions network = {};
  double l2 = 1e-4;
  int64_t batch_size = 32;  ///< 0: a sixteenth of the training rows, at least 64
  int64_t steps = 0;        ///< 0: by epochs
  double epochs = 8;
  int64_t threads = 0;
  std::map<std::string, nlohmann::json> solver = {};
};

constexpr double kNetworkStep = 1e-3;  // of Adam on the weights of a network

Defaults defaults_of(const std::string& encoder, const std::string& solver) {
  std::map<std::string, nlohmann::json> options{{"schedule", "cosine"}, {"warm_start_steps", 0}};
  const EncoderEntry& entry = encoder_registry().at(encoder);
  const SolverEntry& moving = solver_registry().at(solver);
  const bool adaptive = moving.movement == Movement::adaptive;
  if (entry.linear) {
    options.insert({{"upper_step_size", 0.2}, {"neumann_terms", 20}, {"lower_steps", 5}});
    // The hypergradient of a log-strength shrinks with the strength: a long memory of its square would stall x.
    if (adaptive) options["second_moment_weight"] = 0.1;
    return {.l2 = 1e-3, .batch_size = 0, .steps = 40, .threads = 1, .solver = options};
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
    return {.network = {.hidden = 64, .layers = 1, .dropout = 0.0, .activation = "gelu", .linear_skip = true},
            .batch_size = 64,
            .epochs = 20,
            .threads = 1,
            .solver = options};
  return {.network = {.max_length = 128}, .solver = options};
}

class Job {
 public:
  Job(TuneJobOptions options, JobContext context) : o_(std::move(options)), context_(std::move(context)) {}

  JobResult run() {
    check();
    read();
    const auto [features, fitted] = files_.fit(
        feature_options(o_, o_.encoder, defaults_.network.max_length.value_or(256)), data_.train, o_.seed);
    features_ = features;
    data_.inputs = fitted.inputs;
    make_model(fitted.shape);
    const std::unique_ptr<Solver> solver = make_job_solver(o_.solver, defaults_.solver, model_->convex());
    assign(*solver, o_.set);
    plan();
    const Problem problem = model_->problem(batch_size_, upper_batch_);
    { Oracles(problem, o_.seed); }  // what is impossible is refused before there is a folder

    std::vector<std::string> paths = files_.paths();
    if (!o_.embedding.empty()) paths.push_back(o_.embedding);
    nlohmann::json options = o_;
    options["threads"] = at::get_num_threads();
    const FolderLock lock = context_.open(options, paths);
    ProblemTraits traits{.noise = batch_noise(problem)};
    if (!model_->convex()) {
      traits.convexity = Convexity::none;
      traits.caveat =
          fmt::format("the loss is not convex in the weights of a network (encoder {})", o_.encoder);
    }
    if (const std::string note = out_of_theory(*solver, traits); !note.empty()) notes_.push_back(note);
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
    const PassOutcome* learned = passes.run(
        {.name = "learn",
         .shown = "learning",
         .steps = steps_,
         .evaluations = kEvaluations,
         .max_seconds = o_.max_seconds > 0 ? o_.max_seconds : std::numeric_limits<double>::infinity(),
         .seed = o_.seed},
        problem, *solver, [&] { return evaluate(); });
    if (learned == nullptr) return unfinished(context_, o_, passes);
    model_->set_x(learned->upper);
    model_->set_y(learned->lower);
    spent_.learn =
        passes_of(passes.oracle_calls(), std::min(batch_size_, static_cast<int64_t>(data_.train.size())),
                  std::min(upper_batch_, static_cast<int64_t>(data_.valid.size())),
                  static_cast<int64_t>(data_.train.size())) +
        static_cast<double>(kEvaluations) * rows(data_.valid) / rows(data_.train);
    if (model_->convex()) spent_.finish = minimize_weights(*model_, kFinish);
    return finish(passes, *learned);
  }

 private:
  static double rows(const std::vector<int64_t>& part) { return static_cast<double>(part.size()); }

  void check() {
    if (o_.train.empty()) throw InputError("--train FILE is missing");
    check_job_options(o_);
    if (o_.encoder.empty()) o_.encoder = o_.text.empty() ? "linear" : "bag";
    const bool words = encoder_registry().at(o_.encoder).reads == Reads::words;
    if (o_.tune.empty()) o_.tune = words ? "l2" : "l2-per-feature";
    const std::vector<std::string>& kinds = tune_kinds();
    check_one_of("tune", o_.tune, {kinds.begin(), kinds.end()});
    if (!(o_.spread > 0) || !std::isfinite(o_.spread))
      refuse_option("spread", fmt::format("{:g}", o_.spread), "must be a positive number");
    check_not_negative("baseline_passes", o_.baseline_passes);
    if (o_.l2 == 0) refuse_option("l2", "0", "must be positive: its logarithm is where learning starts");
    const std::unique_ptr<Solver> probe = make_solver(o_.solver);  // impossible options are refused now
    assign(*probe, o_.set);
    defaults_ = defaults_of(o_.encoder, o_.solver);
    defaults_.network.encoder = o_.encoder;
    if (o_.hidden > 0) defaults_.network.hidden = o_.hidden;
    if (o_.layers > 0) defaults_.network.layers = o_.layers;
    if (!o_.embedding.empty()) {
      if (o_.text.empty() || !words)
        refuse_option("embedding", o_.embedding, "only rnn, lstm, gru and transformer read word vectors");
      defaults_.network.freeze_embedding = !o_.train_embedding;
    }
    threads_ = set_up_device(o_, defaults_.threads);
  }

  /// A fifth for testing; a third of the rest for validation, since many numbers are learned there.
  std::string default_split() const {
    const double test = o_.test.empty() ? 0.2 : 0, valid = o_.valid.empty() ? (1 - test) / 3 : 0;
    return fmt::format("{},{},{}", 1 - test - valid, valid, test);
  }

  void read() {
    context_.say("reading " + o_.train);
    for (const auto& [role, path] :
         {std::pair{"train", o_.train}, std::pair{"valid", o_.valid}, std::pair{"test", o_.test}}) {
      if (!path.empty()) files_.add(role, path, table_options(o_));
    }
    labels_ = files_.classes(o_.label);
    data_.classes = labels_.classes;
    const std::vector<double> shares = part_shares(o_.split.empty() ? default_split() : o_.split, o_);
    std::vector<double> cut;
    for (const double share : shares) {
      if (share > 0) cut.push_back(share);
    }
    Streams streams(o_.seed);
    auto parts = stratified_split(files_.rows_of_role("train"), labels_.classes, cut, streams.stream("split"),
                                  labels_.names);
    size_t next = 0;
    data_.train = parts[next++];
    data_.valid = shares[1] > 0 ? parts[next++] : files_.rows_of_role("valid");
    test_ = shares[2] > 0 ? parts[next++] : files_.rows_of_role("test");
    context_.say(fmt::format("{} rows to train, {} to validate, {} to test; classes: {}", data_.train.size(),
                             data_.valid.size(), test_.size(), describe_classes(labels_)));
  }

  void make_model(const InputShape& shape) {
    defaults_.network.outputs = static_cast<int64_t>(labels_.names.size());
    model_.emplace(TuneModelOptions{.network = defaults_.network,
                                    .kind = o_.tune,
                                    .l2 = o_.l2 > 0 ? o_.l2 : defaults_.l2,
                                    .spread = o_.spread,
                                    .seed = o_.seed,
                                    .device = device_of(o_)},
                   shape, data_);
  }

  void plan() {
    const auto n = static_cast<int64_t>(data_.train.size());
    batch_size_ = o_.batch_size > 0          ? o_.batch_size
                  : defaults_.batch_size > 0 ? defaults_.batch_size
                                             : std::max<int64_t>(64, n / 16);
    upper_batch_ =
        model_->convex() && o_.batch_size == 0 ? static_cast<int64_t>(data_.valid.size()) : batch_size_;
    const double epochs = o_.epochs > 0 ? o_.epochs : defaults_.epochs;
    const double by_epochs = epochs * rows(data_.train) / static_cast<double>(std::min(batch_size_, n));
    steps_ = o_.steps > 0                            ? o_.steps
             : o_.epochs > 0 || defaults_.steps == 0 ? std::max<int64_t>(1, std::llround(by_epochs))
                                                     : defaults_.steps;
  }

  /// Trains the weights at weaker and weaker strengths, each from those of the one before, until the validation
  /// loss rises, and starts at the best.
  void start() {
    const std::vector<double> strengths =
        o_.l2 > 0 ? std::vector<double>{o_.l2} : std::vector<double>(std::begin(kStarts), std::end(kStarts));
    const int64_t evaluations = o_.l2 > 0 ? 2 * kStart : kStart;
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
          JobResult result = unfinished(context_, o_, passes);
          result.reason = StopReason::interrupted;
          result.summary["stop_reason"] = to_string(result.reason);
          result.message = "interrupted while the baselines were searched";
          return result;
        }
      }
      model_->set_x(x);
      model_->set_y(y);
    }
    save_model(
        context_.out, context_.command, *model_->network(), *features_, {},
        {{"classes", labels_.names}, {"label", o_.label}, {"format", o_.format}, {"header", o_.header}});
    write_predictions(test);
    write_hyperparameters(context_.path("hyperparameters.tsv"), report);
    report.title = fmt::format("{}: {}", std::filesystem::path(o_.train).filename().string(), o_.tune);
    report.options = nlohmann::json(o_);
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
                                             .batch_size = batch_size_,
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

  std::vector<FileRows> training_rows() const {
    std::vector<FileRows> parts;
    for (const JobFile& file : files_.files()) {
      FileRows part{&file.file, {}};
      for (const int64_t row : data_.train) {
        if (row >= file.offset && row < file.offset + rows_of(file.file))
          part.rows.push_back(row - file.offset);
      }
      if (!part.rows.empty()) parts.push_back(std::move(part));
    }
    return parts;
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
      names = features_->names(training_rows());
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
  JobContext context_;
  Defaults defaults_;
  std::unique_ptr<ThreadCountScope> threads_;
  JobFiles files_;
  ClassLabels labels_;
  TuneData data_;
  std::vector<int64_t> test_;
  std::shared_ptr<const Features> features_;
  std::optional<TuneModel> model_;
  int64_t batch_size_ = 0, upper_batch_ = 0, steps_ = 0;
  Spent spent_;
  std::vector<std::string> notes_;
};

}  // namespace

JobResult run_tune_job(const TuneJobOptions& options, const std::string& out, const JobCallbacks& callbacks) {
  return Job(options, {.command = "tune", .out = out, .callbacks = callbacks}).run();
}

JobResult resume_tune_job(const std::string& out, const JobCallbacks& callbacks) {
  return resume_job("tune", out, callbacks, [](const nlohmann::json& options, const JobContext& context) {
    return Job(options.get<TuneJobOptions>(), context).run();
  });
}

}  // namespace bilevel
