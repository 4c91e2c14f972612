#include "bilevel/task/clean/clean_weighing.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/clean/label_noise.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

constexpr size_t kMostErrors = 25;  // of weights of units: each takes two fits

}  // namespace

Weighing::Weighing(CleanOptions options, const JobContext& context)
    : CleanSetup(std::move(options), context) {
  deal_folds();
  name_units();
  measured_ = seeded_network(network(o_.encoder), inputs().inputs.shape, o_.seed, torch::kCPU);
  if (o_.weight_per != WeightPer::none && !learns()) {
    refuse_option(
        "weight_per", bilevel::name_of(o_.weight_per),
        "is learned by the bilevel run: give --trusted FILE, and --learn where the encoder is not linear");
  }
  if (!trusted().empty()) return;
  if (learns()) throw InputError("learn = true: needs --trusted FILE, whose rows judge what is learned");
  note(
      "no --trusted file: labels are judged by the other labels alone; this assumes that labels are right "
      "more "
      "often than wrong, and not wrong in a way that a model can learn; nothing is learned, and the "
      "probabilities "
      "and the share of wrong labels are not calibrated");
}

void Weighing::deal_folds() {
  fold_of_.resize(static_cast<size_t>(files_.rows()), kFolds);
  for (const auto& [rows, seed] :
       {std::pair{&train(), o_.seed}, std::pair{&trusted(), derive_seed(o_.seed, "trusted")}}) {
    const std::vector<int64_t> folds = folds_of(*rows, kFolds, seed);
    for (size_t i = 0; i < rows->size(); ++i)
      fold_of_[static_cast<size_t>((*rows)[i])] = static_cast<int8_t>(folds[i]);
  }
  for (size_t k = 0; k < static_cast<size_t>(kFolds); ++k) {
    if (part(k).train.empty())
      throw InputError(
          fmt::format("{}: too few training rows; those that look like trusted rows do not train", o_.train));
  }
  if (trusted().empty()) check_unjudged();
}

// What judges a fold is fitted without it, from an opinion on each fold that is left.
void Weighing::check_unjudged() {
  std::vector<int64_t> folds;
  folds.reserve(train().size());
  for (const int64_t row : train()) folds.push_back(fold_of(row));
  const torch::Tensor has_rows =
      torch::bincount(classes_of(train()) * kFolds + torch::tensor(folds, torch::kInt64), {},
                      classes() * kFolds)
          .view({classes(), kFolds})
          .gt(0);
  const auto filled = has_rows.any(0).sum().item<int64_t>();
  if (filled < 3)
    throw InputError(fmt::format(
        "{}: its rows lie in {} of {} folds{}, and without --trusted FILE it takes three to judge a label: "
        "give more rows{}",
        o_.train, filled, kFolds,
        o_.group.empty() ? " (rows that are the same lie in one)" : " (those of a group lie in one)",
        o_.group.empty() ? "" : " or groups"));
  for (int64_t c = 0; c < classes(); ++c) {
    const auto of_class = has_rows[c].sum().item<int64_t>();
    if (of_class > 2 || of_class == 0) continue;
    note(fmt::format(
        "class '{}': its rows lie in {} of {} folds ({}), so that what judges them hardly knows the "
        "class, and is likely to call them wrong: look at them before cleaned labels are used",
        name_of(c), of_class, kFolds,
        o_.group.empty() ? "they are few, or the same" : "those of a group lie in one"));
  }
}

CleanPart Weighing::part(size_t k) const {
  const auto in_fold = [&](int64_t row) { return fold_of(row) == static_cast<int64_t>(k); };
  CleanPart part;
  part.train.reserve(unrepeated().size());
  for (const int64_t row : unrepeated()) {
    if (!in_fold(row)) part.train.push_back(row);
  }
  for (const int64_t row : train()) {
    if (in_fold(row)) part.fold_train.push_back(row);
  }
  for (const int64_t row : trusted()) (in_fold(row) ? part.fold_trusted : part.trusted).push_back(row);
  return part;
}

torch::Tensor Weighing::predict_within(const CleanPart& part, const torch::Tensor& weights,
                                       const FitStrengths& strengths) const {
  WeightedRows rows;
  rows.add(part.train, counted(weights));
  rows.add(part.trusted, static_cast<float>(strengths.trusted));
  std::vector<int64_t> folds;
  for (const int64_t row : rows.rows) folds.push_back(fold_of(row));
  return out_of_fold(rows, folds, strengths);
}

torch::Tensor Weighing::weights_within(const CleanPart& part, const torch::Tensor& probabilities) const {
  const auto count = static_cast<int64_t>(part.train.size());
  const LabelledPredictions train{probabilities.narrow(0, 0, count), classes_of(part.train)};
  const LabelledPredictions trusted{probabilities.narrow(0, count, probabilities.size(0) - count),
                                    classes_of(part.trusted)};
  return weights_for(judge(fit_label_noise(train, trusted), train).right, train.labels);
}

Opinion Weighing::opinion(const CleanPart& part) const {
  const auto count = static_cast<int64_t>(part.train.size());
  Opinion opinion{.weights = torch::ones({count}), .predicted = torch::empty({0}, torch::kInt64)};
  for (int64_t round = 0; round < kOpinionRounds; ++round) {
    context_.phases->stretch(1.0 / kOpinionRounds);
    const torch::Tensor probabilities = predict_within(part, opinion.weights, first_strengths());
    opinion.weights = weights_within(part, probabilities).to(torch::kFloat32);
    if (o_.weight_per == WeightPer::class_pair)
      opinion.predicted = probabilities.narrow(0, 0, count).argmax(1);
  }
  return opinion;
}

void Weighing::name_units() {
  if (o_.weight_per == WeightPer::group) {
    std::set<std::string> names;
    for (const int64_t row : train()) names.insert(group_of(row));
    unit_names_.assign(names.begin(), names.end());
  } else if (o_.weight_per == WeightPer::class_pair) {
    for (const std::string& label : class_names()) {
      for (const std::string& other : class_names())
        unit_names_.push_back(label + " (predicted " + other + ")");
    }
  }
}

std::string Weighing::group_of(int64_t row) const {
  const auto [file, local] = files_.source_of(row);
  const auto& table = std::get<Table>(file->file);
  return std::string(table.cell(static_cast<size_t>(local), table.column(o_.group)));
}

torch::Tensor Weighing::units_of(const std::vector<int64_t>& rows, const torch::Tensor& predicted) const {
  if (o_.weight_per == WeightPer::class_pair) return classes_of(rows) * classes() + predicted;
  std::vector<int64_t> units;
  for (const int64_t row : rows)
    units.push_back(std::ranges::lower_bound(unit_names_, group_of(row)) - unit_names_.begin());
  return torch::tensor(units, torch::kInt64);
}

torch::Tensor Weighing::last_weights(const CleanPart& part, const Opinion& opinion,
                                     const FitStrengths& strengths) const {
  torch::Tensor weights = opinion.weights;
  if (!unit_names_.empty()) {
    weights = torch::tensor(strengths.of_units, torch::kFloat64)
                  .index_select(0, units_of(part.train, opinion.predicted));
  }
  return weights_within(part, predict_within(part, weights, strengths));
}

CleanModel Weighing::model(const std::vector<Opinion>& opinions, const std::vector<int64_t>& judges,
                           uint64_t seed) const {
  CleanData data{.inputs = inputs().inputs,
                 .block_of = inputs().block_of,
                 .classes = given(),
                 .count = classes(),
                 .train = unrepeated(),
                 .trusted = trusted(),
                 .upper = judges,
                 .fold_of = torch::tensor(fold_of_, torch::kInt8).to(torch::kInt64),
                 .weights = torch::zeros({kFolds, files_.rows()}),
                 .entropy_floor = o_.entropy_floor};
  FitStrengths start = first_strengths();
  if (!unit_names_.empty()) {
    data.unit_of = torch::full({kFolds, files_.rows()}, -1, torch::kInt64);
    start.of_units.assign(unit_names_.size(), 1);
  }
  for (size_t k = 0; k < static_cast<size_t>(kFolds); ++k) {
    const std::vector<int64_t> train = part(k).train;
    const torch::Tensor rows = torch::tensor(train, torch::kInt64);
    // With units their weights take the place of the rows' own.
    data.weights[static_cast<int64_t>(k)].index_copy_(
        0, rows, unit_names_.empty() ? opinions[k].weights : torch::ones({rows.size(0)}));
    if (data.unit_of.defined())
      data.unit_of[static_cast<int64_t>(k)].index_copy_(0, rows, units_of(train, opinions[k].predicted));
  }
  return {std::move(data), network(o_.encoder), start, seed, o_.torch_device()};
}

ProblemTraits Weighing::traits(const Problem& problem) const {
  ProblemTraits traits{.noise = batch_noise(problem)};
  if (!linear()) {
    traits.convexity = Convexity::none;
    traits.caveat = fmt::format("the loss of the classifier '{}' is not convex in its weights", o_.encoder);
  }
  return traits;
}

std::unique_ptr<Solver> Weighing::solver(const std::string& name) const {
  const auto size = static_cast<int64_t>(inputs().blocks.size() + 2 + unit_names_.size());
  return make_job_solver(name, clean_solver_defaults(name, size, linear()), linear());
}

int64_t Weighing::default_steps() const {
  const auto rows = static_cast<int64_t>(unrepeated().size() + trusted().size());
  return o_.steps_for(rows, std::min(rows, *o_.batch_size));
}

const PassOutcome* Weighing::learn(const CleanModel& model, Passes& passes) {
  const Problem task = model.problem(*o_.batch_size);
  const std::unique_ptr<Solver> method = solver(o_.solver);
  assign(*method, o_.set);
  note(out_of_theory(*method, traits(task)));
  const int64_t steps = default_steps();
  const PassPlan plan{.name = kLearn,
                      .shown = "learning from the trusted rows",
                      .steps = steps,
                      .schedule_steps = steps,
                      .max_seconds = o_.seconds_allowed(),
                      .seed = o_.seed};
  return passes.run(plan, task, *method, [&] {
    const ClassScores judging = class_scores(model.probabilities(trusted()), classes_of(trusted()));
    return Evaluation{.score = -judging.loss,
                      .standard_error = judging.standard_error_of_loss,
                      .fields = {{"judging_loss", judging.loss}, {"judging_accuracy", judging.accuracy}}};
  });
}

Settled Weighing::settle(const CleanModel& model, const torch::Tensor& learned) const {
  const torch::Tensor gains = model.judging_losses(model.start()) - model.judging_losses(learned);
  Settled settled{.strengths = model.strengths(learned), .gain = gains.mean().item<double>()};
  if (gains.numel() > 1) {
    settled.standard_error = gains.std().item<double>() / std::sqrt(static_cast<double>(gains.numel()));
  }
  const bool asked = !model.linear() || !unit_names_.empty();
  settled.taken = asked || settled.gain > settled.standard_error;
  if (!settled.taken) settled.strengths = first_strengths();
  if (model.linear() && !unit_names_.empty() && unit_names_.size() <= kMostErrors)
    settled.unit_errors = model.standard_errors_of_units(learned);
  return settled;
}

}  // namespace bilevel
