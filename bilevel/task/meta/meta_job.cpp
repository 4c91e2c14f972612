#include "bilevel/task/meta/meta_job.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/glove.h"
#include "bilevel/report/page.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/meta/baselines.h"
#include "bilevel/task/meta/meta_model.h"
#include "bilevel/task/meta/meta_parts.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

const std::set<std::string> kBaselines{"nearest-class-mean", "untrained", "anil", "maml"};

/// --l2 of heads that are solved (see MetaModel::set_head): the same share of the fit for any number of rows.
double head_l2(int64_t support_rows) { return 2 / static_cast<double>(support_rows); }

bool reads_words(const std::string& encoder) { return encoder_registry().at(encoder).reads == Reads::words; }

/// What the options do not say.
struct MetaDefaults {
  int64_t steps = 300;
  std::map<std::string, nlohmann::json> solver;
};

MetaDefaults meta_defaults(const std::string& encoder, const std::string& head, const std::string& solver) {
  const bool adaptive = solver_registry().at(solver).movement == Movement::adaptive;
  const bool delicate = encoder_registry().at(encoder).delicate;
  MetaDefaults defaults;
  defaults.solver = {{"upper_step_size", adaptive ? (delicate ? 1e-3 : 3e-3) : 0.1},
                     {"schedule", "cosine"},
                     {"lower_schedule", "constant"}};
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

class Job {
 public:
  Job(MetaJobOptions options, const JobContext& context) : o_(std::move(options)), context_(context) {}

  JobResult run() {
    check();
    read();
    assign(*make_solver(o_.solver), o_.set);
    const auto [features, fitted] = files_.fit(features_of(), parts_.train_rows(), o_.seed);
    features_ = features;
    shape_ = fitted.shape;
    std::vector<const DataFile*> tables;
    for (const JobFile& file : files_.files()) tables.push_back(&file.file);
    rows_ = meta_rows(*features, tables, !o_.pair.empty(), fitted.inputs);
    model_ = make_model(o_.head, static_cast<int64_t>(parts_.classes.size()), o_.l2);
    const Problem problem = model_->problem(rows_, train_, o_.meta_batch, o_.episodes, parts_.labels);
    const std::unique_ptr<Solver> solver = make_job_solver(o_.solver, defaults_.solver, true);
    assign(*solver, o_.set);
    ProblemTraits traits{.noise = batch_noise(problem)};
    if (o_.head == "shared" && o_.l2 == 0) {
      traits.convexity = Convexity::mere;
      traits.caveat = "l2 = 0 leaves the shared head's loss merely convex";
    }
    if (const std::string note = out_of_theory(*solver, traits); !note.empty()) notes_.push_back(note);
    for (const std::string& note : notes_) context_.say(note);

    const FolderLock lock = context_.open(nlohmann::json(o_), paths());
    Passes passes = context_.passes();
    const PassOutcome* chosen = passes.run(
        {.name = "train",
         .shown = "training",
         .steps = o_.steps,
         .schedule_steps = o_.steps,
         .evaluations = 10,
         .max_seconds = o_.max_seconds > 0 ? o_.max_seconds : std::numeric_limits<double>::infinity(),
         .seed = o_.seed},
        problem, *solver, [&] {
          const TaskAccuracy valid = evaluate(*model_, valid_, o_.valid_episodes);
          return Evaluation{
              .score = valid.mean,
              .standard_error = valid.standard_error,
              .of_unit = o_.test.empty() ? valid.of_unit : std::vector<double>{},  // else nothing new is met
              .fields = {{"valid_accuracy", valid.mean}, {"valid_interval", interval_json(valid)}}};
        });
    if (chosen == nullptr) return unfinished(context_, o_, passes);
    set_from_flat(problem.upper.parameters, chosen->upper);
    if (model_->shared()) set_from_flat(problem.lower.parameters, chosen->lower);
    return finish(*chosen, passes);
  }

 private:
  void check() {
    check_job_options(o_);
    if (o_.train.empty()) throw InputError("there is no data file (--data)");
    if (o_.batch_size > 0) throw InputError("batch_size: a step takes meta_batch tasks; give --meta-batch");
    if (!o_.pair.empty() && o_.text.empty())
      throw InputError("--pair names the second text, but --text names no first");
    if (o_.encoder.empty()) o_.encoder = o_.text.empty() ? "mlp" : "rnn";
    check_one_of("head", o_.head, {"ridge", "softmax", "shared"});
    if (!reads_words(o_.encoder) && !o_.embedding.empty())
      throw InputError(fmt::format("embedding: the encoder {} reads no words", o_.encoder));
    if (!o_.pair.empty() && !reads_words(o_.encoder))
      throw InputError(fmt::format(
          "encoder = {}: does not read pairs of texts; take rnn, lstm, gru or transformer", o_.encoder));
    for (const auto& [name, value] : {std::pair{"shots", o_.shots},
                                      {"queries", o_.queries},
                                      {"meta_batch", o_.meta_batch},
                                      {"episodes", o_.episodes},
                                      {"valid_episodes", o_.valid_episodes},
                                      {"test_episodes", o_.test_episodes},
                                      {"max_length", o_.max_length}}) {
      if (value < 1) refuse_option(name, std::to_string(value), "must be at least 1");
    }
    if (o_.ways != 0 && o_.ways < 2) refuse_option("ways", std::to_string(o_.ways), "must be at least 2");
    check_not_negative("adapt_steps", static_cast<double>(o_.adapt_steps));
    if (o_.baselines != "none") {
      for (const std::string& name : split_list(o_.baselines)) {
        check_one_of("baselines", name, kBaselines);
        baselines_.insert(name);
      }
    }
    defaults_ = meta_defaults(o_.encoder, o_.head, o_.solver);
    if (o_.l2 == 0 && o_.head != "shared")
      refuse_option("l2", "0", "must be > 0: it makes the head's problem strongly convex");
    threads_ = set_up_device(o_, 1);
  }

  void read() {
    const TableOptions table = table_options(o_);
    context_.say("reading " + o_.train);
    files_.add("train", o_.train, table);
    if (!o_.valid.empty()) files_.add("valid", o_.valid, table);
    if (!o_.test.empty()) files_.add("test", o_.test, table);
    const bool all_classes = !o_.domain.empty() || !o_.test.empty();
    if (o_.ways == 0) o_.ways = all_classes ? static_cast<int64_t>(files_.classes(o_.label).names.size()) : 5;
    if (o_.l2 < 0) o_.l2 = o_.head == "shared" ? 1e-3 : head_l2(o_.ways * o_.shots);
    if (o_.head == "shared" && !all_classes) {
      throw InputError(
          "head = shared: one head for all tasks needs classes that all tasks share; give --domain, or a "
          "test file "
          "(--test) with the same classes, or take --head ridge");
    }
    parts_ = meta_parts(o_, files_);
    const EpisodeOptions episodes{.ways = o_.ways, .shots = o_.shots, .queries = o_.queries};
    train_ = EpisodeSource(parts_.train, episodes, "training", o_.seed);
    valid_ = EpisodeSource(parts_.valid, episodes, "validation", o_.seed);
    test_ = EpisodeSource(parts_.test, episodes, "test", o_.seed);
    const double rows = static_cast<double>(o_.meta_batch * o_.ways * (o_.shots + o_.queries));
    if (o_.epochs > 0)
      o_.steps = std::max<int64_t>(1, std::llround(o_.epochs * static_cast<double>(train_.rows()) / rows));
    if (o_.steps == 0) o_.steps = defaults_.steps;
    for (const auto& [name, source] :
         {std::pair{"training", &train_}, {"validation", &valid_}, {"test", &test_}}) {
      context_.say(
          fmt::format("{} tasks from {} rows, {} classes{}", name, source->rows(), source->classes(),
                      o_.domain.empty() ? "" : fmt::format(", {} domains", source->groups().size())));
    }
  }

  std::vector<std::string> paths() const {
    std::vector<std::string> paths = files_.paths();
    if (!o_.embedding.empty()) paths.push_back(o_.embedding);
    return paths;
  }

  FeatureOptions features_of() const {
    FeatureOptions features = feature_options(o_, o_.encoder, o_.max_length);
    features.pair = o_.pair;
    features.all_words = true;
    if (!o_.domain.empty()) features.excluded.push_back(o_.domain);
    return features;
  }

  std::unique_ptr<MetaModel> make_model(const std::string& head, int64_t outputs, double l2) const {
    MetaModelOptions options{
        .network = {.encoder = o_.encoder}, .head = head, .pair = !o_.pair.empty(), .l2 = l2};
    if (o_.hidden > 0) options.network.hidden = o_.hidden;
    if (reads_words(o_.encoder)) {
      options.network.layers = 1;
      options.network.token_mean = !o_.no_token_mean;
      options.network.max_length = o_.max_length;
      if (!o_.embedding.empty()) options.network.freeze_embedding = !o_.train_embedding;
    }
    if (o_.layers > 0) options.network.layers = o_.layers;
    auto model = std::make_unique<MetaModel>(options, shape_, outputs, o_.seed, device_of(o_));
    model->set_head(rows_, train_);
    return model;
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
          shared ? make_model("ridge", 0, head_l2(o_.ways * o_.shots)) : make_model(o_.head, 0, o_.l2);
      baselines["untrained"] = accuracy_json(evaluate(*model, test_, o_.test_episodes));
    }
    for (const char* method : {"anil", "maml"}) {
      if (baselines_.count(method) == 0) continue;
      context_.say(fmt::format("training {}", method == std::string("anil") ? "ANIL" : "first-order MAML"));
      const std::unique_ptr<MetaModel> model = make_model("shared", o_.ways, 0);
      const bool maml = method == std::string("maml");
      InnerLoopOptions inner{.method = method,
                             .steps = o_.steps,
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
      JobResult result = unfinished(context_, o_, passes);
      result.reason = StopReason::interrupted;
      result.summary["stop_reason"] = to_string(result.reason);
      result.message = "interrupted while the baselines were trained";
      return result;
    }
    Json summary = summary_of(context_, o_, passes);
    summary["best_step"] = chosen.chosen_step;
    summary["metrics"] = {{"valid", accuracy_json(valid)}, {"test", accuracy_json(test)}};
    summary["baselines"] = baselines;
    summary["tasks"] = {{"ways", o_.ways},
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
      summary["head"]["l2"] = o_.l2;
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
    save_model(context_.out, context_.command, *model_->network(), *features_, head,
               {{"label", o_.label},
                {"head", o_.head},
                {"pair", !o_.pair.empty()},
                {"l2", o_.l2},
                {"adapt_steps", o_.adapt_steps},
                {"classes", model_->shared() ? parts_.classes : std::vector<std::string>{}},
                {"format", o_.format},
                {"header", o_.header}});
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
    body += "<section>\n" + table_of("Options", Json(nlohmann::json(o_))) + "</section>\n";
    write_file_atomically(context_.path("report.html").string(),
                          html_page("Few-shot learning: " + o_.train, body));
  }

  MetaJobOptions o_;
  const JobContext& context_;
  MetaDefaults defaults_;
  std::unique_ptr<ThreadCountScope> threads_;
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

}  // namespace

JobResult run_meta_job(const MetaJobOptions& options, const std::string& out, const JobCallbacks& callbacks) {
  return Job(options, {.command = "meta", .out = out, .callbacks = callbacks}).run();
}

JobResult resume_meta_job(const std::string& out, const JobCallbacks& callbacks) {
  return resume_job("meta", out, callbacks, [](const nlohmann::json& options, const JobContext& context) {
    return Job(options.get<MetaJobOptions>(), context).run();
  });
}

Json predict_meta(const std::string& model_folder, const std::string& shots, const std::string& input,
                  const std::string& output, const std::string& format, const std::string& header) {
  const SavedModel saved = load_model(model_folder);
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

  const auto read = [&](const std::string& path) { return read_input(saved, path, format, header); };
  const auto rows_of_file = [&](const DataFile& file) {
    return meta_rows(saved.features, {&file}, options.pair, saved.features.apply(file));
  };
  const DataFile labelled = read(shots);
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
  const DataFile file = read(input);
  const MetaRows rows = rows_of_file(file);
  const auto count = static_cast<int64_t>(classes.names.size());
  const torch::Tensor probabilities =
      torch::softmax(model.adapted_scores(rows_of_file(labelled), classes.classes, count, rows, adapt_steps)
                         .to(torch::kFloat64),
                     1)
          .contiguous();
  const std::optional<ClassLabels> truth =
      std::holds_alternative<Table>(file) ? find_classes(std::get<Table>(file), label, classes.names, shots)
                                          : find_classes(std::get<SparseTable>(file), classes.names, shots);

  std::string table = "row\tpredicted";
  for (const std::string& name : classes.names) table += fmt::format("\tp({})", name);
  table += truth ? "\tlabel\n" : "\n";
  std::vector<int64_t> predicted(classes.names.size());
  int64_t right = 0;
  double stated = 0;  // sum of the predicted classes' probabilities
  const auto* p = probabilities.const_data_ptr<double>();
  for (int64_t row = 0; row < probabilities.size(0); ++row) {
    const double* of_row = p + row * count;
    const auto best = static_cast<size_t>(std::max_element(of_row, of_row + count) - of_row);
    ++predicted[best];
    stated += of_row[best];
    table += fmt::format("{}\t{}", row + 1, classes.names[best]);
    for (int64_t c = 0; c < count; ++c) table += fmt::format("\t{:.9g}", of_row[c]);
    if (truth) {
      const auto label_of_row = static_cast<size_t>(truth->classes[static_cast<size_t>(row)]);
      table += "\t" + classes.names[label_of_row];
      right += label_of_row == best ? 1 : 0;
    }
    table += "\n";
  }
  write_file_atomically(output, table);
  Json result{{"command", "predict"},          {"shots", classes.rows()},     {"classes", classes.names},
              {"rows", probabilities.size(0)}, {"predicted", Json::object()}, {"out", output}};
  for (size_t c = 0; c < predicted.size(); ++c) result["predicted"][classes.names[c]] = predicted[c];
  const auto all = static_cast<double>(probabilities.size(0));
  result["mean_probability"] = stated / all;
  if (truth) result["accuracy"] = static_cast<double>(right) / all;
  result["warnings"] = Json::array({kUncalibrated});
  return result;
}

}  // namespace bilevel
