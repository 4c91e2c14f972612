#include "bilevel/task/tune/tune_setup.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "bilevel/core/streams.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/tune/tune_evidence.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {
namespace {

// s where none is given. Of a slope, whose evidence has the standard deviation 1: on 22 tables of KEEL slopes that were freer (about 1)
// lost on three of a few hundred rows, and such as here on none.
constexpr double kSlopeSpread = 0.4, kDeviationSpread = 2;
constexpr int64_t kCrossFolds = 5;  // of a cross-fitted model, as scikit-learn's LogisticRegressionCV has
// Training rows from which on one cut is made: its validation rows say enough, and six models' outputs of all rows take 200 bytes a row.
constexpr size_t kOneCutFrom = 1'000'000;
// Rows of a batch, of either level: with as many a step's noise is far below what the strengths leave to choose, and more take time alone.
constexpr int64_t kMostRows = 65'536;
// Validation rows for each learned number from which on it fits them by less than 1e-4 of a loss too well (Akaike: 1/2 over the rows).
constexpr double kPlenty = 25'000;

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
            .batch_size = std::clamp<int64_t>(rows / 16, 64, kMostRows),
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

}  // namespace

void TuneJobOptions::fields(Fields& f) {
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
  cut_fields(f);
  f.heading(kModelGroup);
  f.optional_choice("tune", tune, names_of<TuneKind>(), "what is learned")
      .as("NAME")
      .or_else("l2-by-evidence for linear and bag; l2-per-feature for mlp; l2 for token encoders");
  model_fields(f, "common L2 strength to start from; bag and linear find their own where none is given");
  f.number("spread", spread, kPositive,
           "how far, in natural logarithms, strengths are expected to lie from the common one")
      .as("S")
      .or_else("0.4 a kind of evidence for l2-by-evidence; 2 otherwise");
  f.integer("upper_batch_size", upper_batch_size, kAtLeastOne, "validation rows a batch")
      .as("N")
      .or_else("batch_size where that is given, else for bag and linear all, 65,536 at most");
  training_fields(f);
  f.flag("cross_fit", cross_fit,
         "learn on all rows but the test rows, each judged by a model trained without its fold (linear and "
         "bag)")
      .or_else("true without --valid and --time, below a million rows");
  f.flag("keep_best", keep_best, "save what a search found instead where its validation loss is lower");
  f.number("baseline_passes", baseline_passes, kNonNegative,
           "passes of grid and random search, in multiples of those that learning took; 0: no baselines")
      .as("N");
}

TuneSetup::TuneSetup(TuneJobOptions options, const JobContext& context)
    : JobSetup(context), o_(std::move(options)) {
  o_.check();
  if (o_.l2 == 0) refuse_option("l2", "0", "must be positive: its logarithm is where learning starts");
  read(o_, {{"train", o_.train}, {"valid", o_.valid}, {"test", o_.test}});
  if (o_.tune.empty()) {
    const bool words = encoder_registry().at(o_.encoder).reads == Reads::words;
    o_.tune = words ? "l2" : convex() ? "l2-by-evidence" : "l2-per-feature";
  }
  if (!o_.cross_fit)
    o_.cross_fit =
        convex() && o_.valid.empty() && o_.time.empty() && files_.rows_of_role("train").size() < kOneCutFrom;
  if (!o_.spread) o_.spread = o_.tune == "l2-by-evidence" ? kSlopeSpread : kDeviationSpread;
  cut();
  NetworkOptions network = resolve_all();
  const auto [features, fitted] =
      files_.fit(feature_options(o_, o_.encoder, network.set.value("max_length", 256)), data_.train, o_.seed);
  features_ = features;
  data_.inputs = placed(fitted.inputs);
  shape_ = fitted.shape;
  note_unseen(*features_);
  model_options_ = {.network = std::move(network),
                    .kind = value_named<TuneKind>(o_.tune, "tune"),
                    .l2 = o_.l2.value_or(defaults_.l2),
                    .spread = *o_.spread,
                    .device = o_.torch_device()};
  o_.note(model(o_.seed).network_options());
}

void TuneSetup::cut() {
  labels_ = files_.classes(o_.label);
  data_.classes = labels_.classes;
  Streams streams(o_.seed);
  // A third of the rest for validation, since many numbers are learned there.
  RowParts parts = cut_parts(o_, o_.split, 1.0 / 3, labels_.classes, streams.stream("split"), labels_.names);
  data_.train = std::move(parts.train);
  data_.valid = std::move(parts.valid);
  test_ = std::move(parts.test);
  cut_ = {.judged = data_.valid, .others = data_.train};
  if (*o_.cross_fit) cross_fit();
  if (cross_fitted()) {
    context_.say(fmt::format("{} rows to learn on, in {} folds, {} to test; classes: {}", data_.train.size(),
                             data_.folds.size(), test_.size(), describe_classes(labels_)));
    return;
  }
  context_.say(fmt::format("{} rows to train, {} to validate, {} to test; classes: {}", data_.train.size(),
                           data_.valid.size(), test_.size(), describe_classes(labels_)));
}

bool TuneSetup::validates_plenty() const {
  const auto numbers = [&]() -> int64_t {
    switch (model_options_.kind) {
      case TuneKind::l2:
        return 1;
      case TuneKind::l2_by_evidence:
        return 1 + kEvidence;
      case TuneKind::elastic_net:
      case TuneKind::label_smoothing:
        return 2;
      case TuneKind::l2_per_feature:
        return 1 + shape_.width;
      default:
        return 1 + model_options_.network.outputs;  // a number for each class
    }
  };
  return static_cast<double>(data_.valid.size()) >= kPlenty * static_cast<double>(numbers());
}

void TuneSetup::cross_fit() {
  if (!convex()) {
    refuse_option("cross_fit", "true",
                  fmt::format("takes a linear model (encoder linear or bag), not {}", o_.encoder));
  }
  std::vector<int64_t> all = data_.train;
  all.insert(all.end(), data_.valid.begin(), data_.valid.end());
  std::ranges::sort(all);
  std::vector<Fold> folds = cut_folds(all, kCrossFolds, derive_seed(o_.seed, "cross-fit"));
  if (std::ranges::any_of(folds, [](const Fold& f) { return f.judged.empty() || f.others.empty(); })) {
    note("too few rows, or groups of rows that stay together, for folds: learned on one cut");
    return;
  }
  data_.folds = std::move(folds);
  data_.train = all;
  data_.valid = std::move(all);
}

NetworkOptions TuneSetup::resolve_all() {
  const auto n = static_cast<int64_t>(data_.train.size());
  defaults_ = defaults_of(o_.encoder, o_.solver, n);
  if (!o_.upper_batch_size && (o_.batch_size || !convex()))
    o_.upper_batch_size = o_.batch_size.value_or(defaults_.batch_size);
  if (!o_.upper_batch_size)
    o_.upper_batch_size = std::min(kMostRows, static_cast<int64_t>(data_.valid.size()));
  const std::optional<double> l2 = o_.l2;
  NetworkOptions network = resolve(o_, defaults_);
  if (convex()) o_.l2 = l2;  // none: found in `start`
  steps_ = o_.steps_for(n, std::min(n, *o_.batch_size));
  network.outputs = static_cast<int64_t>(labels_.names.size());
  return network;
}

TuneModel TuneSetup::model(uint64_t seed, const std::vector<int64_t>& valid) const {
  TuneData data = data_;
  data.valid = valid;
  return made(seed, std::move(data));
}

TuneModel TuneSetup::made(uint64_t seed, TuneData data) const {
  TuneModelOptions options = model_options_;
  options.seed = seed;
  return {options, shape_, std::move(data)};
}

ProblemTraits TuneSetup::traits(const Problem& problem) const {
  ProblemTraits traits{.noise = batch_noise(problem)};
  if (!convex()) {
    traits.convexity = Convexity::none;
    traits.caveat =
        fmt::format("the loss is not convex in the weights of a network (encoder {})", o_.encoder);
  }
  return traits;
}

std::unique_ptr<Solver> TuneSetup::solver(const std::string& name) const {
  return make_job_solver(name, defaults_of(o_.encoder, name, 0).solver, convex());
}

namespace {

class TuneAttempt : public ChoosingAttempt {
 public:
  TuneAttempt(const TuneSetup& setup, TuneModel model) : setup_(setup), model_(std::move(model)) {}

  Problem problem() override { return setup_.problem(model_); }

 protected:
  Evaluation evaluate() override {
    const ClassScores valid = setup_.valid_scores(model_), test = setup_.scores(model_, setup_.test());
    return {
        .score = -valid.loss,
        .fields = {{"test_loss", test.loss}, {"test_accuracy", test.accuracy}, {"valid_loss", valid.loss}}};
  }

 private:
  const TuneSetup& setup_;
  TuneModel model_;
};

}  // namespace

void TuneSetup::prepare_contest() {
  started_ = model(o_.seed);
  if (convex()) start(*started_);
}

std::unique_ptr<Attempt> TuneSetup::attempt(uint64_t seed) {
  TuneModel fresh = model(seed);
  if (convex()) {
    fresh.set_x(started_->x().detach().clone());
    fresh.set_y(started_->flat_y());
  }
  return std::make_unique<TuneAttempt>(*this, std::move(fresh));
}

void TuneSetup::describe(ContestFacts& facts) const {
  facts.metric = {.key = "test_loss", .name = "test loss"};
  facts.tuning_metric = {.key = "valid_loss", .name = "validation loss"};
  facts.further = {{.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true},
                   facts.tuning_metric};
  facts.traits = traits(problem(*started_));
  facts.data.emplace_back("learned", o_.tune);
}

}  // namespace bilevel
