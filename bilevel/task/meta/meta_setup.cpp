#include "bilevel/task/meta/meta_setup.h"

#include <fmt/format.h>

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"

namespace bilevel {
namespace {

bool reads_words(const std::string& encoder) { return encoder_registry().at(encoder).reads == Reads::words; }

JobDefaults meta_defaults(const std::string& encoder, HeadKind head, const std::string& solver) {
  const bool adaptive = solver_registry().at(solver).movement == Movement::adaptive;
  const EncoderEntry& entry = encoder_registry().at(encoder);
  JobDefaults defaults{.steps = entry.starts_at_input ? 60 : 300, .threads = 1};
  defaults.solver = {{"upper_step_size", adaptive ? (entry.delicate ? 1e-3 : 3e-3) : 0.1},
                     {"schedule", "cosine"},
                     {"lower_schedule", "constant"}};
  if (reads_words(encoder)) defaults.network = {{"layers", 1}};
  if (head == HeadKind::shared) {
    defaults.solver["neumann_terms"] = 5;
    defaults.solver["warm_start_steps"] = 20;
  }
  return defaults;
}

}  // namespace

double head_l2(int64_t support_rows) { return 2 / static_cast<double>(support_rows); }

nlohmann::ordered_json interval_json(const TaskAccuracy& accuracy) {
  return accuracy.has_interval() ? nlohmann::ordered_json{accuracy.low, accuracy.high}
                                 : nlohmann::ordered_json(nullptr);
}

MetaRows meta_rows(const Features& features, const std::vector<const DataFile*>& files, bool pair,
                   Inputs first) {
  if (!pair) return {.inputs = std::move(first)};
  const int64_t rows = first.rows();
  std::vector<Inputs> parts{std::move(first)};
  for (const DataFile* file : files) parts.push_back(features.apply_pair(*file));
  return {.inputs = Inputs::concatenate(parts), .pair_offset = rows};
}

MetaSetup::MetaSetup(MetaJobOptions options, const JobContext& context)
    : JobSetup(context), o_(std::move(options)) {
  check_options();
  ColumnChoice own;
  if (!o_.domain.empty()) own.excluded = {o_.domain};
  if (!o_.pair.empty()) own.texts = {o_.pair};
  read(o_, {{"train", o_.train}, {"valid", o_.valid}, {"test", o_.test}}, std::move(own));
  check_encoder();
  divide();
  fit();
  o_.note(model(o_.seed)->network()->options());
}

void MetaSetup::check_options() {
  o_.check();
  for (const auto& [list, flag] : {std::pair{&o_.train_classes, "train-classes"},
                                   {&o_.valid_classes, "valid-classes"},
                                   {&o_.test_classes, "test-classes"}}) {
    if (o_.folds && !list->empty())
      refuse_option("folds", fmt::format("{}", *o_.folds),
                    fmt::format("goes with no --{}: each fold in turn holds the test classes", flag));
  }
  if (!o_.pair.empty() && o_.text.empty())
    throw InputError("--pair names the second text, but --text names no first");
  if (o_.baselines != "none") {
    for (const std::string& name : split_list(o_.baselines)) {
      std::string one = name;
      Fields()
          .choice("baselines", one,
                  {"nearest-class-mean", "logistic-regression", "untrained", "anil", "maml"}, "")
          .set(name);
      baselines_.insert(name);
    }
  }
  if (o_.l2 == 0 && o_.head != HeadKind::shared)
    refuse_option("l2", "0", "must be > 0: it makes the head's problem strongly convex");
}

void MetaSetup::check_encoder() {
  if (!o_.pair.empty() && !reads_words(o_.encoder))
    throw InputError(
        fmt::format("encoder = {}: does not read pairs of texts; take {}", o_.encoder,
                    encoder_names([](const EncoderEntry& entry) { return entry.reads == Reads::words; })));
  defaults_ = meta_defaults(o_.encoder, o_.head, o_.solver);
}

void MetaSetup::divide() {
  const bool all_classes = !o_.domain.empty() || o_.tests_file();
  if (!o_.ways) o_.ways = all_classes ? static_cast<int64_t>(files_.classes(o_.label).names.size()) : 5;
  defaults_.l2 = o_.head == HeadKind::shared ? 1e-3 : head_l2(*o_.ways * o_.shots);
  defaults_.batch_size = o_.meta_batch;  // of tasks
  network_ = resolve(o_, defaults_);
  if (reads_words(o_.encoder)) {
    network_.prefer("token_mean", o_.token_mean);
    network_.prefer("max_length", o_.max_length);
  }
  if (o_.head == HeadKind::shared && !all_classes) {
    throw InputError(
        "head = shared: one head for all tasks needs classes that all tasks share; give --domain, or a test "
        "file (--test) with the same classes, or take --head ridge");
  }
  parts_ = meta_parts(o_, files_);
  const EpisodeOptions episodes{.ways = *o_.ways, .shots = o_.shots, .queries = o_.queries};
  train_ = EpisodeSource(parts_.train, episodes, "training", o_.seed);
  valid_ = EpisodeSource(parts_.valid, episodes, "validation", o_.seed);
  test_ = EpisodeSource(parts_.test, episodes, "test", o_.seed);
  steps_ = o_.steps_for(train_.rows(), o_.meta_batch * *o_.ways * (o_.shots + o_.queries));
  for (const auto& [name, source] :
       {std::pair{"training", &train_}, {"validation", &valid_}, {"test", &test_}}) {
    context_.say(fmt::format("{} tasks from {} rows, {} classes{}", name, source->rows(), source->classes(),
                             o_.domain.empty() ? "" : fmt::format(", {} domains", source->groups().size())));
  }
}

void MetaSetup::fit() {
  FeatureOptions options = feature_options(o_, o_.encoder, o_.max_length);
  options.pair = o_.pair;
  options.all_words = true;
  const auto [features, fitted] = files_.fit(options, parts_.train_rows(), o_.seed);
  features_ = features;
  note_unseen(*features_);
  shape_ = fitted.shape;
  std::vector<const DataFile*> tables;
  for (const JobFile& file : files_.files()) tables.push_back(&file.file);
  rows_ = meta_rows(*features, tables, !o_.pair.empty(), fitted.inputs);
  rows_.inputs = placed(rows_.inputs);
}

std::unique_ptr<MetaModel> MetaSetup::model(uint64_t seed) const {
  return make(o_.head, static_cast<int64_t>(parts_.classes.size()), *o_.l2, seed);
}

std::unique_ptr<MetaModel> MetaSetup::model(HeadKind head, int64_t outputs, double l2) const {
  return make(head, outputs, l2, o_.seed);
}

std::unique_ptr<MetaModel> MetaSetup::make(HeadKind head, int64_t outputs, double l2, uint64_t seed) const {
  const MetaModelOptions options{.network = network_, .head = head, .pair = !o_.pair.empty(), .l2 = l2};
  auto model = std::make_unique<MetaModel>(options, shape_, outputs, seed, o_.torch_device());
  model->set_head(rows_, train_);
  return model;
}

Problem MetaSetup::problem(const MetaModel& model) const {
  return model.problem(rows_, train_, o_.meta_batch, o_.episodes, parts_.labels);
}

ProblemTraits MetaSetup::traits(const Problem& problem) const {
  ProblemTraits traits{.noise = batch_noise(problem)};
  if (o_.head == HeadKind::shared && o_.l2 == 0) {
    traits.convexity = Convexity::mere;
    traits.caveat = "l2 = 0 leaves the shared head's loss merely convex";
  }
  return traits;
}

std::unique_ptr<Solver> MetaSetup::solver(const std::string& name) const {
  return make_job_solver(name, meta_defaults(o_.encoder, o_.head, name).solver, /*strongly_convex=*/true);
}

TaskAccuracy MetaSetup::accuracy(const MetaModel& model, const EpisodeSource& source, int64_t count) const {
  return model.evaluate(rows_, source, 0, count, parts_.labels, o_.adapt_steps);
}

Evaluation MetaSetup::evaluate(const MetaModel& model) const {
  const TaskAccuracy valid = accuracy(model, valid_, o_.valid_episodes);
  return {.score = valid.mean,
          .standard_error = valid.standard_error,
          .of_unit = o_.tests_file() ? std::vector<double>{} : valid.of_unit,  // none: nothing new is met
          .fields = {{"valid_accuracy", valid.mean}, {"valid_interval", interval_json(valid)}}};
}

namespace {

class MetaAttempt : public ChoosingAttempt {
 public:
  MetaAttempt(const MetaSetup& setup, uint64_t seed) : setup_(setup), model_(setup.model(seed)) {}
  Problem problem() override { return setup_.problem(*model_); }

 protected:
  Evaluation evaluate() override {
    const TaskAccuracy test = setup_.test_accuracy(*model_);
    Evaluation valid = setup_.evaluate(*model_);
    valid.fields = {{"test_accuracy", test.mean}, {"valid_accuracy", valid.score}};
    return valid;
  }

 private:
  const MetaSetup& setup_;
  std::unique_ptr<MetaModel> model_;
};

}  // namespace

std::unique_ptr<Attempt> MetaSetup::attempt(uint64_t seed) {
  return std::make_unique<MetaAttempt>(*this, seed);
}

void MetaSetup::describe(ContestFacts& facts) const {
  facts.metric = {.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true};
  facts.tuning_metric = {.key = "valid_accuracy", .name = "validation accuracy", .higher_is_better = true};
  facts.further = {facts.tuning_metric};
  facts.traits = traits(problem(*model(o_.seed)));
  facts.data.emplace_back("tasks",
                          fmt::format("{} ways, {} shots, {} a step", *o_.ways, o_.shots, o_.meta_batch));
}

}  // namespace bilevel
