#include "bilevel/task/meta/meta.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/streams.h"
#include "bilevel/core/threads.h"
#include "bilevel/data/glove.h"
#include "bilevel/report/page.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_run.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/meta/baselines.h"
#include "bilevel/task/meta/meta_model.h"
#include "bilevel/task/meta/meta_parts.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

/// --l2 of heads that are solved (see MetaModel::set_head): the same share of the fit for any number of rows.
double head_l2(int64_t support_rows) { return 2 / static_cast<double>(support_rows); }

bool reads_words(const std::string& encoder) { return encoder_registry().at(encoder).reads == Reads::words; }

JobDefaults meta_defaults(const std::string& encoder, const std::string& head, const std::string& solver) {
  const bool adaptive = solver_registry().at(solver).movement == Movement::adaptive;
  const bool delicate = encoder_registry().at(encoder).delicate;
  JobDefaults defaults{.steps = 300, .threads = 1};
  defaults.solver = {{"upper_step_size", adaptive ? (delicate ? 1e-3 : 3e-3) : 0.1},
                     {"schedule", "cosine"},
                     {"lower_schedule", "constant"}};
  if (reads_words(encoder)) defaults.network = {{"layers", 1}};
  if (head == "shared") {
    defaults.solver["neumann_terms"] = 5;
    defaults.solver["warm_start_steps"] = 20;
  }
  return defaults;
}

constexpr const char* kUncalibrated =
    "the probabilities of 'predict --shots' are not calibrated: they order the classes of a row, but are not "
    "the share of rows that are right";

Json interval_json(const TaskAccuracy& accuracy) {
  return accuracy.has_interval() ? Json{accuracy.low, accuracy.high} : Json(nullptr);
}

Json accuracy_json(const TaskAccuracy& accuracy) {
  return {{"accuracy", accuracy.mean},
          {"interval", interval_json(accuracy)},
          {"episodes", accuracy.of_task.size()}};
}

std::string accuracy_text(const Json& measured) {
  const Json& interval = measured.at("interval");
  if (interval.is_null()) {
    return fmt::format("{:.4f} (no interval: the tasks do not differ)",
                       measured.at("accuracy").get<double>());
  }
  return fmt::format("{:.4f} (95 % interval {:.4f} to {:.4f})", measured.at("accuracy").get<double>(),
                     interval[0].get<double>(), interval[1].get<double>());
}

/// Both texts' inputs of all rows of some files, the second ones behind.
MetaRows meta_rows(const Features& features, const std::vector<const DataFile*>& files, bool pair,
                   Inputs first) {
  if (!pair) return {.inputs = std::move(first)};
  const int64_t rows = first.rows();
  std::vector<Inputs> parts{std::move(first)};
  for (const DataFile* file : files) parts.push_back(features.apply_pair(*file));
  return {.inputs = Inputs::concatenate(parts), .pair_offset = rows};
}

/// [texts, dimension]: the mean GloVe vector of each text's words; words without one are left out.
torch::Tensor word_means(const std::vector<std::string_view>& texts, const Glove& glove) {
  torch::Tensor means = torch::zeros({static_cast<int64_t>(texts.size()), glove.dimension()});
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<int64_t> known;
    for (const std::string& word : tokenize(texts[i])) {
      const auto found = glove.index.find(word);
      if (found != glove.index.end()) known.push_back(found->second);
    }
    if (!known.empty()) {
      means[static_cast<int64_t>(i)] =
          glove.vectors.index_select(0, torch::tensor(known, torch::kInt64)).mean(0);
    }
  }
  return means;
}

/// As a contest ranked by the accuracy over test tasks at the step that is chosen on validation tasks, tuned by the accuracy
/// over those.
class MetaRun : public JobRun {
 public:
  MetaRun(MetaJobOptions options, const JobContext& context) : JobRun(context), o_(std::move(options)) {}

  JobResult run() override {
    prepare();
    model_ = make_model_of(o_.seed);
    o_.note(model_->network()->options());
    const Problem problem = problem_of(*model_);
    const std::unique_ptr<Solver> method = solver(o_.solver);
    assign(*method, o_.set);
    if (const std::string note = out_of_theory(*method, traits(problem)); !note.empty())
      notes_.push_back(note);
    for (const std::string& note : notes_) context_.say(note);

    const FolderLock lock = context_.open(o_, files_.paths(o_));
    Passes passes = context_.passes();
    const PassOutcome* chosen = passes.run({.name = "train",
                                            .shown = "training",
                                            .steps = steps_,
                                            .schedule_steps = steps_,
                                            .evaluations = 10,
                                            .max_seconds = o_.seconds_allowed(),
                                            .seed = o_.seed},
                                           problem, *method, [&] { return evaluate_valid(*model_); });
    if (chosen == nullptr) return unfinished(context_, o_, passes);
    set_from_flat(problem.upper.parameters, chosen->upper);
    if (model_->shared()) set_from_flat(problem.lower.parameters, chosen->lower);
    return finish(*chosen, passes);
  }

  void prepare_contest() override {
    prepare();
    o_.note(make_model_of(o_.seed)->network()->options());
  }
  std::unique_ptr<Attempt> attempt(uint64_t seed) override { return std::make_unique<Try>(*this, seed); }
  std::unique_ptr<Solver> solver(const std::string& name) const override {
    return make_job_solver(name, meta_defaults(o_.encoder, o_.head, name).solver, true);
  }
  int64_t default_steps() const override { return steps_; }
  std::vector<std::string> files() const override { return files_.paths(o_); }

 protected:
  const JobOptions& options() const override { return o_; }
  void describe(ContestFacts& facts) const override {
    facts.metric = {.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true};
    facts.tuning_metric = {.key = "valid_accuracy", .name = "validation accuracy", .higher_is_better = true};
    facts.further = {facts.tuning_metric};
    facts.traits = traits(problem_of(*make_model_of(o_.seed)));
    facts.data.emplace_back("tasks",
                            fmt::format("{} ways, {} shots, {} a step", *o_.ways, o_.shots, o_.meta_batch));
  }

 private:
  class Try : public ChoosingAttempt {
   public:
    Try(const MetaRun& run, uint64_t seed) : run_(run), model_(run.make_model_of(seed)) {}
    Problem problem() override { return run_.problem_of(*model_); }

   protected:
    Evaluation evaluate() override {
      const TaskAccuracy test = run_.evaluate(*model_, run_.test_, run_.o_.test_episodes);
      Evaluation valid = run_.evaluate_valid(*model_);
      valid.fields = {{"test_accuracy", test.mean}, {"valid_accuracy", valid.score}};
      return valid;
    }

   private:
    const MetaRun& run_;
    std::unique_ptr<MetaModel> model_;
  };

  /// Everything up to the inputs of the networks.
  void prepare() {
    check_options();
    read();
    const auto [features, fitted] = files_.fit(features_of(), parts_.train_rows(), o_.seed);
    features_ = features;
    shape_ = fitted.shape;
    std::vector<const DataFile*> tables;
    for (const JobFile& file : files_.files()) tables.push_back(&file.file);
    rows_ = meta_rows(*features, tables, !o_.pair.empty(), fitted.inputs);
  }

  std::unique_ptr<MetaModel> make_model_of(uint64_t seed) const {
    return make_model(o_.head, static_cast<int64_t>(parts_.classes.size()), *o_.l2, seed);
  }

  Problem problem_of(const MetaModel& model) const {
    return model.problem(rows_, train_, o_.meta_batch, o_.episodes, parts_.labels);
  }

  ProblemTraits traits(const Problem& problem) const {
    ProblemTraits traits{.noise = batch_noise(problem)};
    if (o_.head == "shared" && o_.l2 == 0) {
      traits.convexity = Convexity::mere;
      traits.caveat = "l2 = 0 leaves the shared head's loss merely convex";
    }
    return traits;
  }

  void check_options() {
    o_.check();
    if (!o_.pair.empty() && o_.text.empty())
      throw InputError("--pair names the second text, but --text names no first");
    if (!o_.pair.empty() && !reads_words(o_.encoder))
      throw InputError(fmt::format(
          "encoder = {}: does not read pairs of texts; take rnn, lstm, gru or transformer", o_.encoder));
    if (o_.baselines != "none") {
      for (const std::string& name : split_list(o_.baselines)) {
        std::string one = name;
        Fields().choice("baselines", one, {"nearest-class-mean", "untrained", "anil", "maml"}, "").set(name);
        baselines_.insert(name);
      }
    }
    defaults_ = meta_defaults(o_.encoder, o_.head, o_.solver);
    if (o_.l2 == 0 && o_.head != "shared")
      refuse_option("l2", "0", "must be > 0: it makes the head's problem strongly convex");
  }

  void read() {
    context_.say("reading " + o_.train);
    files_.add({{"train", o_.train}, {"valid", o_.valid}, {"test", o_.test}}, o_);
    const bool all_classes = !o_.domain.empty() || !o_.test.empty();
    if (!o_.ways) o_.ways = all_classes ? static_cast<int64_t>(files_.classes(o_.label).names.size()) : 5;
    defaults_.l2 = o_.head == "shared" ? 1e-3 : head_l2(*o_.ways * o_.shots);
    defaults_.batch_size = o_.meta_batch;  // of tasks
    network_ = o_.resolve(defaults_);
    threads_.emplace(*o_.threads);
    if (reads_words(o_.encoder)) {
      network_.prefer("token_mean", o_.token_mean);
      network_.prefer("max_length", o_.max_length);
    }
    if (o_.head == "shared" && !all_classes) {
      throw InputError(
          "head = shared: one head for all tasks needs classes that all tasks share; give --domain, or a "
          "test file "
          "(--test) with the same classes, or take --head ridge");
    }
    parts_ = meta_parts(o_, files_);
    const EpisodeOptions episodes{.ways = *o_.ways, .shots = o_.shots, .queries = o_.queries};
    train_ = EpisodeSource(parts_.train, episodes, "training", o_.seed);
    valid_ = EpisodeSource(parts_.valid, episodes, "validation", o_.seed);
    test_ = EpisodeSource(parts_.test, episodes, "test", o_.seed);
    steps_ = o_.steps_for(train_.rows(), o_.meta_batch * *o_.ways * (o_.shots + o_.queries));
    for (const auto& [name, source] :
         {std::pair{"training", &train_}, {"validation", &valid_}, {"test", &test_}}) {
      context_.say(
          fmt::format("{} tasks from {} rows, {} classes{}", name, source->rows(), source->classes(),
                      o_.domain.empty() ? "" : fmt::format(", {} domains", source->groups().size())));
    }
  }

  FeatureOptions features_of() const {
    FeatureOptions features = feature_options(o_, o_.encoder, o_.max_length);
    features.pair = o_.pair;
    features.all_words = true;
    if (!o_.domain.empty()) features.excluded.push_back(o_.domain);
    return features;
  }

  std::unique_ptr<MetaModel> make_model(const std::string& head, int64_t outputs, double l2,
                                        uint64_t seed) const {
    const MetaModelOptions options{.network = network_, .head = head, .pair = !o_.pair.empty(), .l2 = l2};
    auto model = std::make_unique<MetaModel>(options, shape_, outputs, seed, o_.torch_device());
    model->set_head(rows_, train_);
    return model;
  }

  Evaluation evaluate_valid(const MetaModel& model) const {
    const TaskAccuracy valid = evaluate(model, valid_, o_.valid_episodes);
    return {.score = valid.mean,
            .standard_error = valid.standard_error,
            .of_unit = o_.test.empty() ? valid.of_unit : std::vector<double>{},  // else nothing new is met
            .fields = {{"valid_accuracy", valid.mean}, {"valid_interval", interval_json(valid)}}};
  }

  TaskAccuracy evaluate(const MetaModel& model, const EpisodeSource& source, int64_t count) const {
    return model.evaluate(rows_, source, 0, count, parts_.labels, o_.adapt_steps);
  }

  /// A vector for every row that says what it is without any training, and its name; none where rows are texts
  /// and there are no word vectors.
  std::pair<torch::Tensor, std::string> plain_vectors() const {
    if (rows_.inputs.kind() == InputKind::dense) {
      std::vector<int64_t> all(static_cast<size_t>(rows_.inputs.rows()));
      std::iota(all.begin(), all.end(), 0);
      return {rows_.inputs.gather(all)[0], "columns"};
    }
    if (o_.embedding.empty() || o_.text.empty()) return {};
    const Glove glove = read_glove(o_.embedding);
    const auto means = [&](const std::string& column) {
      std::vector<torch::Tensor> parts;
      for (const JobFile& file : files_.files())
        parts.push_back(word_means(texts_of(std::get<Table>(file.file), column), glove));
      return torch::cat(parts);
    };
    const torch::Tensor u = means(o_.text);
    if (o_.pair.empty()) return {u, "averaged word vectors"};
    const torch::Tensor v = means(o_.pair);
    return {torch::cat({u, v, (u - v).abs(), u * v}, 1), "[u, v, |u-v|, u*v] of averaged word vectors"};
  }

  /// False when it was interrupted.
  bool measure_baselines(Json& baselines) {
    if (baselines_.count("nearest-class-mean") > 0) {
      const auto [vectors, what] = plain_vectors();
      if (vectors.defined()) {
        Json& found = baselines["nearest_class_mean"] = {{"vectors", what}};
        found.update(accuracy_json(nearest_class_mean(vectors, test_, 0, o_.test_episodes)));
      } else {
        notes_.push_back("no nearest class mean: it needs word vectors (--embedding)");
      }
    }
    if (baselines_.count("untrained") > 0) {
      // The head of the untrained encoder is solved in every case: a shared one would be of no use.
      const bool shared = o_.head == "shared";
      const std::unique_ptr<MetaModel> model =
          shared ? make_model("ridge", 0, head_l2(*o_.ways * o_.shots), o_.seed)
                 : make_model(o_.head, 0, *o_.l2, o_.seed);
      baselines["untrained"] = accuracy_json(evaluate(*model, test_, o_.test_episodes));
    }
    for (const char* method : {"anil", "maml"}) {
      if (baselines_.count(method) == 0) continue;
      context_.say(fmt::format("training {}", method == std::string("anil") ? "ANIL" : "first-order MAML"));
      const std::unique_ptr<MetaModel> model = make_model("shared", *o_.ways, 0, o_.seed);
      const bool maml = method == std::string("maml");
      InnerLoopOptions inner{.method = method,
                             .steps = steps_,
                             .meta_batch = maml ? 4 : o_.meta_batch,
                             .inner_step_size = 0.1,
                             .step_size = 1e-3,
                             .valid_tasks = std::min<int64_t>(o_.valid_episodes, maml ? 50 : 200),
                             .interrupt = context_.callbacks.interrupt};
      const TaskAccuracy accuracy =
          train_inner_loop(*model, rows_, train_, valid_, test_, o_.test_episodes, inner, o_.seed);
      if (accuracy.of_task.empty()) return false;
      baselines[method] = accuracy_json(accuracy);
      baselines[method]["steps"] = inner.steps;
      baselines[method]["meta_batch"] = inner.meta_batch;
    }
    return true;
  }

  JobResult finish(const PassOutcome& chosen, const Passes& passes) {
    context_.say("measuring on test tasks");
    const TaskAccuracy valid = evaluate(*model_, valid_, o_.valid_episodes);
    const TaskAccuracy test = evaluate(*model_, test_, o_.test_episodes);
    Json baselines = Json::object();
    if (!measure_baselines(baselines)) {
      return interrupted(context_, o_, passes, "interrupted while the baselines were trained");
    }
    Json summary = summary_of(context_, o_, passes);
    summary["best_step"] = chosen.chosen_step;
    summary["metrics"] = {{"valid", accuracy_json(valid)}, {"test", accuracy_json(test)}};
    summary["baselines"] = baselines;
    summary["tasks"] = {{"ways", *o_.ways},
                        {"shots", o_.shots},
                        {"queries", o_.queries},
                        {"divided_by", parts_.units},
                        {"meta_batch", o_.meta_batch}};
    Json names = Json::object();
    for (const auto& [name, source] : {std::pair{"train", &train_}, {"valid", &valid_}, {"test", &test_}}) {
      Json& list = names[name] = Json::array();
      for (const TaskGroup& group : source->groups()) {
        if (!group.name.empty()) {
          list.push_back(group.name);
        } else {
          for (const TaskClass& one : group.classes) list.push_back(one.name);
        }
      }
    }
    summary["parts"] = names;
    summary["head"] = {{"kind", o_.head}};
    if (model_->shared()) {
      summary["head"]["l2"] = *o_.l2;
    } else {
      summary["head"]["lambda"] = model_->lambda();
      summary["head"]["scale"] = model_->scale();
    }
    notes_.push_back(about_intervals());
    notes_.emplace_back(kUncalibrated);
    for (const std::string& note : notes_) summary["warnings"].push_back(note);

    write_model();
    write_episodes(test);
    write_report(summary, chosen);
    std::string text = fmt::format("\ntest accuracy {} over {} tasks of classes or domains never seen\n",
                                   accuracy_text(summary["metrics"]["test"]), test.of_task.size());
    if (parts_.units == "rows")
      text = fmt::format("\ntest accuracy {} over {} tasks\n", accuracy_text(summary["metrics"]["test"]),
                         test.of_task.size());
    for (const auto& [name, measured] : baselines.items())
      text += fmt::format("{:<19} {}\n", name, accuracy_text(measured));
    text += about_intervals() + "\n";
    text += fmt::format("\nreport: {}/report.html\n", context_.out);
    return finished(context_, passes, std::move(summary), std::move(text));
  }

  /// What the intervals are of, and what not.
  std::string about_intervals() const {
    const bool rows = parts_.units == "rows";
    const int64_t units = rows                        ? test_.rows()
                          : parts_.units == "domains" ? static_cast<int64_t>(test_.groups().size())
                                                      : test_.classes();
    return fmt::format(
        "the intervals are over more tasks from the same {} test {}: they say nothing about other {}", units,
        parts_.units, parts_.units);
  }

  void write_model() const {
    std::map<std::string, torch::Tensor> head = model_->tensors();
    std::erase_if(head, [](const auto& item) { return !item.first.starts_with("task_head."); });
    save_model(context_, o_, *model_->network(), *features_, head,
               {{"head", o_.head},
                {"pair", !o_.pair.empty()},
                {"l2", *o_.l2},
                {"adapt_steps", o_.adapt_steps},
                {"classes", model_->shared() ? parts_.classes : std::vector<std::string>{}}});
  }

  void write_episodes(const TaskAccuracy& test) const {
    std::string table = "episode\taccuracy\n";
    for (size_t i = 0; i < test.of_task.size(); ++i)
      table += fmt::format("{}\t{:.6g}\n", i + 1, test.of_task[i]);
    write_file_atomically(context_.path("episodes.tsv").string(), table);
  }

  void write_report(const Json& summary, const PassOutcome& outcome) const {
    const Trace trace = read_trace(context_.path("trace.jsonl").string());
    const Marker chosen{static_cast<double>(outcome.chosen_step), "chosen step"};
    const PlotResult accuracy =
        draw({.title = "Accuracy on validation tasks",
              .x_label = "step",
              .y_label = "accuracy",
              .series = {series_from_trace(trace, "step", "valid_accuracy", "validation")},
              .markers = {chosen}});
    const PlotResult loss =
        draw({.title = "Query loss of the step's meta-batch",
              .x_label = "step",
              .y_label = "loss",
              .series = {series_from_trace(trace, "step", "upper_loss", "training tasks")},
              .markers = {chosen}});
    for (const auto& [name, plot] : {std::pair{"accuracy.svg", &accuracy}, {"loss.svg", &loss}}) {
      if (!plot->svg.empty()) write_file_atomically(context_.path(name).string(), plot->svg);
    }
    Json measured = Json::object();
    measured["this model"] = accuracy_text(summary["metrics"]["test"]);
    for (const auto& [name, found] : summary["baselines"].items()) measured[name] = accuracy_text(found);
    std::string body =
        "<section>\n" + table_of("Accuracy on test tasks", measured) + table_of("Tasks", summary["tasks"]) +
        table_of("Classes or domains of the parts", summary["parts"]) + table_of("Head", summary["head"]);
    if (!summary["warnings"].empty()) body += table_of("Notes", {{"notes", summary["warnings"]}});
    Json facts = Json::object();
    for (const auto& [name, fact] : features_->facts()) facts[name] = fact;
    body += table_of("Features", facts) + "</section>\n";
    body += figures_section(
        "Training",
        {{accuracy, "The chosen step is the latest within one standard error of the best."}, {loss, ""}});
    body += "<section>\n" + table_of("Options", o_.to_json()) + "</section>\n";
    write_file_atomically(context_.path("report.html").string(),
                          html_page("Few-shot learning: " + o_.train, body));
  }

  MetaJobOptions o_;
  JobDefaults defaults_;
  std::optional<ThreadCountScope> threads_;
  NetworkOptions network_;
  int64_t steps_ = 0;
  std::set<std::string> baselines_;
  std::vector<std::string> notes_;
  JobFiles files_;
  MetaParts parts_;
  EpisodeSource train_, valid_, test_;
  std::shared_ptr<const Features> features_;
  InputShape shape_;
  MetaRows rows_;
  std::unique_ptr<MetaModel> model_;
};

Prediction predict_meta(const PredictRequest& request) {
  const SavedModel saved = load_model(request.model);
  MetaModelOptions options{.network = saved.network};
  std::string label;
  std::vector<std::string> known;
  int64_t adapt_steps = 0;
  try {
    label = saved.description.at("label").get<std::string>();
    options.head = saved.description.at("head").get<std::string>();
    options.pair = saved.description.at("pair").get<bool>();
    options.l2 = saved.description.at("l2").get<double>();
    adapt_steps = saved.description.at("adapt_steps").get<int64_t>();
    known = saved.description.at("classes").get<std::vector<std::string>>();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", saved.path, error.what()));
  }
  MetaModel model(options, saved.features.shape(), static_cast<int64_t>(known.size()), 0, torch::kCPU);
  model.load(saved.tensors);

  const auto read = [&](const std::string& path) { return read_input(saved, path, request.read); };
  const auto rows_of_file = [&](const DataFile& file) {
    return meta_rows(saved.features, {&file}, options.pair, saved.features.apply(file));
  };
  const DataFile labelled = read(request.shots);
  const ClassLabels classes = std::visit(
      [&](const auto& file) {
        if constexpr (std::is_same_v<std::decay_t<decltype(file)>, Table>) {
          const size_t column = file.column(label);
          return model.shared() ? read_classes(file, column, known, "the model") : read_classes(file, column);
        } else {
          return model.shared() ? read_classes(file, known, "the model") : read_classes(file);
        }
      },
      labelled);
  const DataFile file = read(request.input);
  const MetaRows rows = rows_of_file(file);
  const auto count = static_cast<int64_t>(classes.names.size());
  const torch::Tensor probabilities =
      torch::softmax(model.adapted_scores(rows_of_file(labelled), classes.classes, count, rows, adapt_steps)
                         .to(torch::kFloat64),
                     1)
          .contiguous();
  const std::optional<ClassLabels> truth =
      std::holds_alternative<Table>(file)
          ? find_classes(std::get<Table>(file), label, classes.names, request.shots)
          : find_classes(std::get<SparseTable>(file), classes.names, request.shots);

  Json result = write_class_predictions(request.out, probabilities, classes.names, truth);
  result["shots"] = classes.rows();
  result["classes"] = classes.names;
  result["mean_probability"] = probabilities.amax(1).mean().item<double>();
  if (truth)
    result["accuracy"] = class_scores(probabilities, torch::tensor(truth->classes, torch::kInt64)).accuracy;
  result["warnings"] = Json::array({kUncalibrated});
  std::string text = fmt::format("adapted to {} rows of {} classes; {} rows classified, written to {}\n",
                                 classes.rows(), count, probabilities.size(0), request.out);
  if (truth) {
    text +=
        fmt::format("accuracy on their labels: {:.4f}, mean probability of the predicted classes: {:.4f}\n",
                    result["accuracy"].get<double>(), result["mean_probability"].get<double>());
  }
  return {result, text};
}

}  // namespace

void MetaJobOptions::fields(Fields& f) {
  const char* tasks = "Tasks";
  const auto count = [&](const char* name, auto& value, const char* meaning) -> Field& {
    return f.integer(name, value, kAtLeastOne, meaning).as("N");
  };
  f.heading(kDataGroup);
  f.text("data", train, "file with the rows of all classes: csv, tsv, jsonl or libsvm, also gzipped")
      .as("FILE");
  f.text("valid", valid, "validation file; only beside --test")
      .as("FILE")
      .or_else("classes, domains or a tenth of the texts of data");
  f.text("test", test, "test file with the same classes").as("FILE").or_else("classes or domains of data");
  column_fields(f);
  f.text("pair", pair, "the column that holds the second text of a pair").as("COL");
  f.text("domain", domain,
         "the column that holds the domain; a task then is one domain, and its classes are the labels")
      .as("COL");
  f.heading(tasks);
  f.integer("ways", ways, {.low = 2}, "classes of a task")
      .as("N")
      .or_else("5; with a domain or a test file all labels");
  count("shots", shots, "labelled (support) rows of a class");
  count("queries", queries, "rows of a class to classify");
  f.text("train_classes", train_classes,
         "classes (with a domain: domains) of training tasks, such as 0-19,sport")
      .as("LIST")
      .or_else("those that are left");
  f.text("valid_classes", valid_classes, "those of validation tasks")
      .as("LIST")
      .or_else("a fifth, drawn from the seed");
  f.text("test_classes", test_classes, "those of test tasks")
      .as("LIST")
      .or_else("a fifth, drawn from the seed");
  f.choice(
       "head", head, {"ridge", "softmax", "shared"},
       "ridge or softmax: a head per task, solved inside; shared: one head of all tasks, the lower variable")
      .as("NAME");
  count("meta_batch", meta_batch, "tasks a step");
  count("episodes", episodes, "different training tasks");
  count("valid_episodes", valid_episodes, "validation tasks");
  count("test_episodes", test_episodes, "test tasks");
  f.integer("adapt_steps", adapt_steps, kNonNegative,
            "gradient steps of a copy of the shared head on a new task")
      .as("N");
  model_fields(
      f,
      "curvature that the L2 term gives a head: for ridge and softmax relative to the mean square of the "
      "features, where it starts (it is learned too); for shared c in c ||y||^2",
      /*batches=*/false);
  count("max_length", max_length, "words of a text; the rest is left out");
  f.flag("token_mean", token_mean, "add the mean of the word vectors to the features");
  training_fields(f);
  f.text("baselines", baselines,
         "what else is measured: a list of nearest-class-mean, untrained, anil, maml; or none")
      .as("LIST");
}

namespace {

/// Where there are texts in several domains, or of many classes.
std::optional<Suggestion> suggest_meta(const DataDescription& d) {
  if (d.texts.empty()) return std::nullopt;
  const auto large = std::ranges::count_if(d.classes, [](const LabelCount& c) { return c.rows >= 20; });
  const auto domain = std::ranges::find_if(d.columns, [&](const DescribedColumn& column) {
    return column.name != d.label && column.type == ColumnType::category && column.label_like &&
           column.distinct >= 4;
  });
  const bool domains = domain != d.columns.end();
  if (!domains && large < 9) return std::nullopt;
  const auto classes = static_cast<int64_t>(d.classes.size());
  return Suggestion{
      (d.texts.size() == 2 ? " --pair " + shell_word(d.texts[1]) : "") +
          (domains ? " --domain " + shell_word(domain->name) : "") +
          fmt::format(" --ways {} --shots 5", domains ? std::min<int64_t>(5, classes) : 5),
      domains ? fmt::format("learn an encoder that adapts to new values of '{}'", domain->name)
              : fmt::format("learn to tell new classes apart from few examples ({} classes)", large)};
}

}  // namespace

JobEntry meta_entry() {
  return {
      .name = "meta",
      .summary = "learn an encoder for tasks with few labelled rows",
      .first_try = "--data headlines.tsv --text text --label topic --ways 5 --shots 5 --embedding glove.txt",
      .score = "accuracy",
      .make = [] { return std::make_unique<JobOf<MetaJobOptions, MetaRun>>(); },
      .predict = predict_meta,
      .predicts_from_shots = true,
      .suggest = suggest_meta};
}

}  // namespace bilevel
