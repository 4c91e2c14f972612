#include "bilevel/task/mix/mix_setup.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/parts.h"

namespace bilevel {
namespace {

constexpr int64_t kFoldsOfTarget = 5;
// From strong to weak; a good start matters as in `tune`.
constexpr double kStrengths[] = {1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 1e-7};
constexpr int64_t kLeastBatch = 2048;

/// An adaptive step moves a logit by about its size; the hypergradient in a logit is a share of a loss, some hundredths at most.
double upper_step(const std::string& solver) {
  const Movement movement = solver_registry().at(solver).movement;
  return movement == Movement::adaptive ? 0.1 : movement == Movement::normalized ? 0.3 : 5;
}

JobDefaults mix_defaults(const std::string& solver, int64_t rows) {
  std::map<std::string, nlohmann::json> options{
      {"schedule", "cosine"},  {"warm_start_steps", 0}, {"upper_step_size", upper_step(solver)},
      {"neumann_terms", 20},   {"lower_steps", 5},      {"multiplier", 10},
      {"multiplier_growth", 0}};
  // The hypergradient falls while the weights settle: a long memory of its square would stall x.
  if (solver_registry().at(solver).movement == Movement::adaptive) options["second_moment_weight"] = 0.1;
  return {.l2 = 1e-3,
          .batch_size = std::max<int64_t>(kLeastBatch, rows / 16),
          .steps = 100,
          .threads = 1,
          .solver = options};
}

std::vector<std::pair<std::string, std::string>> files_of(const MixOptions& o) {
  std::vector<std::pair<std::string, std::string>> files{{"train", o.train}};
  for (size_t i = 0; i < o.sources.size(); ++i)
    files.emplace_back(i == 0 ? "source" : fmt::format("source {}", i + 1), o.sources[i]);
  files.emplace_back("test", o.test);
  return files;
}

}  // namespace

MixSetup::MixSetup(MixOptions options, const JobContext& context)
    : JobSetup(context), o_(std::move(options)) {
  o_.check();
  if (o_.sources.empty() || std::ranges::any_of(o_.sources, &std::string::empty))
    throw InputError("--sources FILE is missing: which rows may train beside the target's?");
  ColumnChoice own;
  if (!o_.source.empty()) own.excluded_if_there.push_back(o_.source);
  read(o_, files_of(o_), own);
  labels_ = files_.classes(o_.label);
  target_ = files_.rows_of_role("train");
  test_ = files_.rows_of_role("test");
  auto data = std::make_shared<MixData>();
  data->classes = labels_.classes;
  take_sources(*data);
  std::vector<int64_t> rows = target_;
  for (const std::vector<int64_t>& source : data->sources)
    rows.insert(rows.end(), source.begin(), source.end());
  std::sort(rows.begin(), rows.end());
  const auto count = static_cast<int64_t>(rows.size());
  const std::optional<double> l2 = o_.l2;
  network_ = resolve(o_, mix_defaults(o_.solver, count));
  o_.l2 = l2;  // none: found in `find_strength`
  steps_ = o_.steps_for(count, std::min(count, *o_.batch_size));
  network_.outputs = static_cast<int64_t>(labels_.names.size());
  const auto [features, fitted] =
      files_.fit(feature_options(o_, o_.encoder, network_.set.value("max_length", 256)), rows, o_.seed);
  features_ = features;
  if (!encoder_registry().at(o_.encoder).linear)
    refuse_option("encoder", o_.encoder,
                  "sources are weighed for a linear model: bag, linear or another linear one; "
                  "--sentence-encoder gives it "
                  "pretrained features");
  if (!o_.torch_device().is_cpu()) refuse_option("device", o_.device, "sources are weighed on the CPU");
  shape_ = fitted.shape;
  if (fitted.inputs.kind() == InputKind::sparse) columns_.emplace(fitted, rows);
  const FittedInputs read = columns_ ? columns_->apply(fitted) : fitted;
  data->inputs = read.inputs;
  data->shape = read.shape;
  note_unseen(*features_);
  prepare(*data, rows);
  data_ = std::move(data);
  context_.say(fmt::format("{} target rows, {} rows of {} sources, {} to test; classes: {}", target_.size(),
                           rows.size() - target_.size(), data_->sources.size(), test_.size(),
                           describe_classes(labels_)));
  check_rows();
  if (o_.intervals && !learns_without_folds())
    note(
        "the target rows without a fold of them are too few, or too alike, to be cut again: the weights have "
        "no "
        "intervals, and no target row is judged by weights that have not seen it");
  const MixModel made = model(all(), target_);
  { Oracles(problem(made), o_.seed); }
  o_.note(made.write_network()->options());
}

void MixSetup::check_rows() const {
  std::vector<int64_t> counts(labels_.names.size());
  for (const int64_t row : target_) ++counts[static_cast<size_t>(labels_.classes[static_cast<size_t>(row)])];
  for (size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] < 2)
      throw InputError(
          fmt::format("{}: the class '{}' has one row; a class of the target needs at least two, so that one "
                      "judges what the other trains",
                      o_.train, labels_.names[c]));
  }
  if (folds(target_).size() < 2)
    throw InputError(
        fmt::format("{}: {} rows are too few, or too alike, to cut them into two folds that judge each other",
                    o_.train, target_.size()));
  if (o_.target_trains || data_->sources.size() > 1) return;
  refuse_option("target_trains", "false", "one source alone leaves nothing to weigh");
}

std::vector<size_t> MixSetup::all() const {
  std::vector<size_t> numbers(data_->sources.size() + (o_.target_trains ? 1 : 0));
  std::iota(numbers.begin(), numbers.end(), size_t{0});
  return numbers;
}

std::string MixSetup::name_of(size_t source) const {
  return source < data_->names.size() ? data_->names[source] : kTargetName;
}

std::vector<Fold> MixSetup::folds(const std::vector<int64_t>& target) const {
  const auto count = std::min(kFoldsOfTarget, static_cast<int64_t>(target.size()));
  if (count < 2) return {};
  std::vector<Fold> cut = cut_folds(target, count, o_.seed);
  std::erase_if(cut, [](const Fold& fold) { return fold.judged.empty() || fold.others.empty(); });
  return cut;
}

bool MixSetup::learns_without_folds() const {
  return o_.intervals && std::ranges::none_of(
                             folds(target_), [&](const Fold& fold) { return folds(fold.others).size() < 2; });
}

MixModel MixSetup::model(const std::vector<size_t>& sources, const std::vector<int64_t>& target) const {
  MixPlan plan{.sources = sources,
               .folds = folds(target),
               .spread = o_.spread,
               .entropy_floor = o_.entropy_floor,
               .network = network_};
  const bool trains = std::ranges::find(sources, data_->sources.size()) != sources.end();
  if (!trains) {  // one model for all: no row trains; the judged rows come in the same order
    Fold one;
    for (const Fold& fold : plan.folds)
      one.judged.insert(one.judged.end(), fold.judged.begin(), fold.judged.end());
    plan.folds = {std::move(one)};
  }
  return {data_, std::move(plan)};
}

MixModel MixSetup::whole(const std::vector<size_t>& sources) const {
  return {data_, {.sources = sources, .folds = {{{}, target_}}, .network = network_}};
}

std::shared_ptr<Network> MixSetup::whole_network(const MixModel& model) const {
  std::shared_ptr<Network> network = model.write_network();
  return columns_ ? columns_->widen(*network, shape_) : network;
}

ClassScores MixSetup::judged(MixModel& model) const {
  return class_scores(model.judged_probabilities(), classes_at(data_->classes, model.judged()));
}

void MixSetup::minimize(MixModel& model, int64_t evaluations) const {
  model.minimize(evaluations, [this] { return !context_.interrupted(); });
  if (context_.interrupted()) throw Interrupted{};
}

void MixSetup::find_strength(MixModel& model, double from, double to) const {
  std::vector<double> strengths(std::begin(kStrengths), std::end(kStrengths));
  if (o_.l2) strengths = {*o_.l2};
  double best = std::numeric_limits<double>::infinity(), found = strengths.front();
  torch::Tensor y;
  for (size_t i = 0; i < strengths.size(); ++i) {
    if (context_.interrupted()) throw Interrupted{};
    context_.phases->advance(from +
                             (to - from) * static_cast<double>(i) / static_cast<double>(strengths.size()));
    model.set_strength(strengths[i]);
    minimize(model, kMixEffort.start);
    const double loss = judged(model).loss;
    // Weights trained briefly at a weak strength look better than they are: being unfinished regularizes too.
    if (y.defined() && !(loss < best)) break;
    best = loss;
    found = strengths[i];
    y = model.y()[0].detach().clone();
  }
  model.set_strength(found);
  model.set_y(y);
}

std::unique_ptr<Solver> MixSetup::solver(const std::string& name) const {
  return make_job_solver(name, mix_defaults(name, 0).solver, /*strongly_convex=*/true);
}

namespace {

class MixAttempt : public ChoosingAttempt {
 public:
  MixAttempt(const MixSetup& setup, MixModel model) : setup_(setup), model_(std::move(model)) {}

  Problem problem() override { return setup_.problem(model_); }

 protected:
  Evaluation evaluate() override {
    const ClassScores target = setup_.judged(model_);
    ClassScores test = target;
    if (!setup_.test().empty())
      test =
          class_scores(model_.probabilities(setup_.test()), classes_at(setup_.data().classes, setup_.test()));
    return {
        .score = -target.loss,
        .fields = {{"test_loss", test.loss}, {"test_accuracy", test.accuracy}, {"target_loss", target.loss}}};
  }

 private:
  const MixSetup& setup_;
  MixModel model_;
};

}  // namespace

void MixSetup::prepare_contest() {
  started_ = std::make_shared<MixModel>(model(all(), target_));
  find_strength(*started_);
}

std::unique_ptr<Attempt> MixSetup::attempt(uint64_t) {
  MixModel fresh = model(all(), target_);
  fresh.set_x(started_->x().detach().clone());
  fresh.set_y(started_->y()[0].detach().clone());
  return std::make_unique<MixAttempt>(*this, std::move(fresh));
}

void MixSetup::describe(ContestFacts& facts) const {
  facts.metric = {.key = "test_loss", .name = "test loss"};
  facts.tuning_metric = {.key = "target_loss", .name = "loss of the target rows"};
  facts.further = {{.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true},
                   facts.tuning_metric};
  facts.traits = traits(problem(*started_));
  facts.data.emplace_back("sources", std::to_string(data_->sources.size()));
}

}  // namespace bilevel
