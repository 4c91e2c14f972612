#include "bilevel/task/clean/clean_weighing.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/solver/registry.h"

namespace bilevel {
namespace {

constexpr double kFirstLogit = -2;  // sigma = 0.12: a noisy row counts less than a trusted one at first
constexpr double kJudging = 0.7;  // share of the trusted rows in the upper level; the others choose the step
constexpr int64_t kFewTrusted = 10;  // with fewer, none is held back
constexpr double kAgreeing = 0.15;   // share of each class that judges where nothing is trusted

}  // namespace

Weighing::Weighing(CleanOptions options, const JobContext& context)
    : CleanSetup(std::move(options), context) {
  fold_of_.resize(static_cast<size_t>(files_.rows()), kFolds);
  for (const auto& [rows, seed] :
       {std::pair{&train(), o_.seed}, std::pair{&trusted(), derive_seed(o_.seed, "trusted")}}) {
    const std::vector<int64_t> folds = folds_of(*rows, kFolds, seed);
    for (size_t i = 0; i < rows->size(); ++i) fold_of_[static_cast<size_t>((*rows)[i])] = folds[i];
  }
  for (int64_t k = 0; k < kFolds; ++k) {
    CleanPart part;
    for (const int64_t row : unrepeated()) {
      if (fold_of(row) != k) part.train.push_back(row);
    }
    for (const int64_t row : train()) {
      if (fold_of(row) == k) part.fold_train.push_back(row);
    }
    if (part.train.empty()) {
      throw InputError(
          fmt::format("{}: too few training rows; those that look like trusted rows do not train", o_.train));
    }
    for (const int64_t row : trusted()) (fold_of(row) == k ? part.fold_trusted : part.trusted).push_back(row);
    parts_.push_back(std::move(part));
  }
  measured_ = model(parts_.front(), o_.seed).network();
}

torch::Tensor Weighing::predict_within(const CleanPart& part, const torch::Tensor& weights) const {
  WeightedRows rows;
  rows.add(part.train, weights);
  rows.add(part.trusted, 1);
  std::vector<int64_t> folds;
  for (const int64_t row : rows.rows) folds.push_back(fold_of(row));
  return out_of_fold(rows, folds);
}

const torch::Tensor& Weighing::first_opinion(CleanPart& part) const {
  if (!part.first_opinion.defined()) {
    step("a first opinion on every label");
    const auto count = static_cast<int64_t>(part.train.size());
    part.first_opinion =
        predict_within(part, torch::full({count}, 1 / (1 + std::exp(-kFirstLogit)))).narrow(0, 0, count);
  }
  return part.first_opinion;
}

void Weighing::prepare(CleanPart& part) {
  choose_judges(part);
  make_units(part);
}

/// The training rows whose labels have the most agreement.
std::vector<int64_t> Weighing::judges_by_agreement(CleanPart& part) {
  const std::vector<int64_t>& train = part.train;
  std::vector<int64_t> judges;
  const torch::Tensor given = classes_of(train);
  const torch::Tensor agreement = first_opinion(part).gather(1, given.unsqueeze(1)).squeeze(1).contiguous();
  const auto* p = agreement.const_data_ptr<double>();
  const auto* c = given.const_data_ptr<int64_t>();
  std::vector<std::vector<size_t>> by_class(static_cast<size_t>(classes()));
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
  if (trusted().empty()) {
    note(
        "no --trusted file: the training rows whose labels an out-of-fold model agrees with most judge the "
        "others; this assumes that labels are right more often than wrong, and not wrong in a way that a "
        "model can learn; the probabilities and the share of wrong labels are not calibrated");
  }
  return judges;
}

void Weighing::choose_judges(CleanPart& part) {
  part.lower = part.train;
  const std::vector<int64_t> judges = part.trusted.empty() ? judges_by_agreement(part) : part.trusted;
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

void Weighing::make_units(CleanPart& part) {
  part.unit_of = torch::zeros({files_.rows()}, torch::kInt64);
  auto* unit = part.unit_of.data_ptr<int64_t>();
  if (o_.weight_per == WeightPer::row) {
    for (size_t i = 0; i < part.lower.size(); ++i) unit[part.lower[i]] = static_cast<int64_t>(i);
    part.units = static_cast<int64_t>(part.lower.size());
    return;
  }
  unit_names_.clear();
  if (o_.weight_per == WeightPer::group) {
    std::map<std::string, int64_t> numbers;
    for (const int64_t row : train()) {
      const auto [found, fresh] = numbers.emplace(group_of(row), static_cast<int64_t>(unit_names_.size()));
      if (fresh) unit_names_.push_back(found->first);
      unit[row] = found->second;
    }
  } else {
    const torch::Tensor predicted = first_opinion(part).argmax(1).contiguous();
    const auto* p = predicted.const_data_ptr<int64_t>();
    const auto* recorded = given().const_data_ptr<int64_t>();
    for (size_t i = 0; i < part.train.size(); ++i)
      unit[part.train[i]] = recorded[part.train[i]] * classes() + p[i];
    for (const std::string& label : class_names()) {
      for (const std::string& other : class_names())
        unit_names_.push_back(label + " (predicted " + other + ")");
    }
  }
  part.units = static_cast<int64_t>(unit_names_.size());
}

std::string Weighing::group_of(int64_t row) const {
  const auto [file, local] = files_.source_of(row);
  const auto& table = std::get<Table>(file->file);
  return std::string(table.cell(static_cast<size_t>(local), table.column(o_.group)));
}

CleanModel Weighing::model(const CleanPart& part, uint64_t seed) const {
  return {network(o_.encoder), inputs().inputs.shape, *o_.l2, part.units, kFirstLogit, seed,
          o_.torch_device()};
}

Problem Weighing::problem(const CleanModel& model, const CleanPart& part) const {
  return model.problem({.inputs = inputs().inputs.inputs,
                        .classes = given(),
                        .lower = part.lower,
                        .upper = part.upper,
                        .unit_of = part.unit_of,
                        .units = part.units},
                       *o_.batch_size);
}

ProblemTraits Weighing::traits(const Problem& problem) const {
  ProblemTraits traits{.noise = batch_noise(problem)};
  if (!linear()) {
    traits.convexity = Convexity::none;
    traits.caveat = fmt::format("the loss of the classifier '{}' is not convex in its weights", o_.encoder);
  } else if (!(*o_.l2 > 0)) {
    traits.convexity = Convexity::mere;
    traits.caveat = "--l2 0 leaves the classifier's loss merely convex";
  }
  return traits;
}

std::unique_ptr<Solver> Weighing::solver(const std::string& name, const CleanPart& part) const {
  const int64_t units = std::max<int64_t>(1, part.units);  // none yet before `prepare`
  return make_job_solver(name, clean_solver_defaults(name, units), linear() && *o_.l2 > 0);
}

ClassScores Weighing::scores(const CleanModel& model, const std::vector<int64_t>& rows) const {
  return class_scores(probabilities(*model.network(), rows), classes_of(rows));
}

int64_t Weighing::steps(const CleanPart& part) const {
  const auto rows = static_cast<int64_t>(part.lower.size());
  return o_.steps_for(rows, std::min(rows, *o_.batch_size));
}

std::string Weighing::pass_name(int64_t k) { return fmt::format("weigh-{}", k + 1); }

const PassOutcome* Weighing::weigh(int64_t k, Passes& passes) {
  CleanPart& part = parts_[static_cast<size_t>(k)];
  Phases& phases = *context_.phases;
  const FoldCost cost = fold_cost(k);
  phases.stretch(cost.opinion / cost.all());
  prepare(part);
  phases.stretch(cost.pass / cost.all());
  const CleanModel weighed = model(part, o_.seed);
  const Problem task = problem(weighed, part);
  const std::unique_ptr<Solver> method = solver(o_.solver, part);
  assign(*method, o_.set);
  note(out_of_theory(*method, traits(task)));
  const int64_t steps = this->steps(part);
  const PassPlan plan{.name = pass_name(k),
                      .shown = fmt::format("weighing the rows, {} of {}", k + 1, kFolds),
                      .steps = steps,
                      .schedule_steps = steps,
                      .max_seconds = o_.seconds_allowed() / kFolds,
                      .seed = o_.seed};
  std::function<Evaluation()> evaluate;
  if (!part.held.empty()) {
    evaluate = [&] {
      const ClassScores held = scores(weighed, part.held);
      return Evaluation{.score = -held.loss,
                        .standard_error = held.standard_error_of_loss,
                        .fields = {{"held_loss", held.loss}, {"held_accuracy", held.accuracy}}};
    };
  }
  const PassOutcome* outcome = passes.run(plan, task, *method, evaluate);
  if (outcome == nullptr) return nullptr;
  part.learned = torch::sigmoid(outcome->upper);
  torch::Tensor of_row = torch::ones({files_.rows()});  // training rows that judge count fully
  const torch::Tensor rows = torch::tensor(part.lower, torch::kInt64);
  of_row.index_copy_(0, rows, part.learned.index_select(0, part.unit_of.index_select(0, rows)));
  part.weights = of_row.index_select(0, torch::tensor(part.train, torch::kInt64));
  return outcome;
}

namespace {

class CleanAttempt : public Attempt {
 public:
  CleanAttempt(const Weighing& weighing, uint64_t seed)
      : weighing_(weighing), part_(weighing.parts().front()), model_(weighing.model(part_, seed)) {}

  Problem problem() override { return weighing_.problem(model_, part_); }
  nlohmann::ordered_json measure(int64_t) override {
    const ClassScores held = weighing_.scores(model_, part_.held),
                      judging = weighing_.scores(model_, part_.upper);
    return {{"held_loss", held.loss}, {"held_accuracy", held.accuracy}, {"judging_loss", judging.loss}};
  }

 private:
  const Weighing& weighing_;
  const CleanPart& part_;
  CleanModel model_;
};

}  // namespace

void Weighing::prepare_contest() {
  prepare(parts_.front());
  if (parts_.front().held.empty()) {
    throw InputError(
        fmt::format("{}: too few trusted rows to hold some back; solvers are measured on these", o_.trusted));
  }
}

std::unique_ptr<Attempt> Weighing::attempt(uint64_t seed) {
  return std::make_unique<CleanAttempt>(*this, seed);
}

void Weighing::describe(ContestFacts& facts) const {
  const CleanPart& part = parts_.front();
  facts.metric = {.key = "held_loss", .name = "loss on the held-back rows"};
  facts.tuning_metric = {.key = "judging_loss", .name = "loss on the judging rows"};
  facts.further = {
      {.key = "held_accuracy", .name = "accuracy on the held-back rows", .higher_is_better = true},
      facts.tuning_metric};
  facts.traits = traits(problem(model(part, o_.seed), part));
  facts.last_tenth = true;
  facts.data.emplace_back("rows to weigh, judging, held back",
                          fmt::format("{}, {}, {}", part.lower.size(), part.upper.size(), part.held.size()));
}

}  // namespace bilevel
