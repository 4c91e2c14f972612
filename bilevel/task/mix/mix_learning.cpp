#include "bilevel/task/mix/mix_learning.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/core/streams.h"
#include "bilevel/core/tensor_json.h"
#include "bilevel/solver/registry.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kStartCost = 60, kLearnCost = 200,
                 kReportCost = 10;  // in evaluations on all rows, of all models

Evaluation evaluate(const MixSetup& setup, MixModel& model) {
  const ClassScores target = setup.judged(model);
  return {.score = -target.loss,
          .standard_error = target.standard_error_of_loss,
          .fields = {{"target_loss", target.loss},
                     {"target_accuracy", target.accuracy},
                     {"largest_weight", model.weights().max().item<double>()},
                     {"strength", model.strength()}}};
}

std::vector<double> doubles_of(const torch::Tensor& of) {
  const torch::Tensor values = of.to(torch::kFloat64).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

}  // namespace

const PassOutcome* learn_mixture(const MixSetup& setup, MixModel& model, Passes& passes, const PassPlan& plan,
                                 double strength, bool choose) {
  if (strength > 0) {
    model.set_strength(strength);
    setup.minimize(model, 2 * kMixEffort.start);
  } else {
    setup.find_strength(model);
  }
  const std::unique_ptr<Solver> method = setup.solver(setup.options().solver);
  assign(*method, setup.options().set);
  const Problem problem = setup.problem(model);
  const auto measure = [&] { return evaluate(setup, model); };
  const PassOutcome* outcome =
      choose ? passes.run(plan, problem, *method, measure) : passes.run(plan, problem, *method);
  if (outcome == nullptr) return nullptr;
  model.set_x(outcome->upper);
  model.set_y(outcome->lower);
  setup.minimize(model, kMixEffort.finish);
  return outcome;
}

Json mixture_answer(const MixSetup& setup, MixModel& model, const std::vector<size_t>& sources) {
  setup.minimize(model, kMixEffort.finish);
  const torch::Tensor predicted = model.judged_probabilities();
  Json answer{{"weights", doubles_of(model.weights())},
              {"strength", model.strength()},
              {"target", scores_json(predicted, classes_at(setup.data().classes, model.judged()))},
              {"predicted", tensor_json(predicted)},
              {"test", nullptr}};
  if (setup.test().empty()) return answer;
  MixModel whole = setup.whole(sources);
  whole.set(model.weights(), model.strength());
  setup.minimize(whole, kMixEffort.finish);
  answer["test"] = tensor_json(whole.probabilities(setup.test()));
  return answer;
}

namespace {

Part mixture_part(const std::string& key, const std::string& shown, const std::vector<size_t>& sources,
                  const std::vector<double>& weights, double cost) {
  return {.name = fmt::format("mixture-{}", key),
          .shown = fmt::format("baseline: {}", shown),
          .request = {{"mixture", key}, {"sources", sources}, {"weights", weights}},
          .cost = cost};
}

}  // namespace

std::vector<Part> mix_parts(const MixSetup& setup) {
  std::vector<Part> parts;
  const MixOptions& o = setup.options();
  const std::vector<Fold> folds = setup.folds(setup.target());
  for (size_t k = 0; setup.learns_without_folds() && k < folds.size(); ++k) {
    parts.push_back({.name = fmt::format("fold-{}", k + 1),
                     .shown = fmt::format("learning without fold {} of {}", k + 1, folds.size()),
                     .request = {{"fold", k}},
                     .cost = kLearnCost});
  }
  const std::vector<size_t> all = setup.all();
  const size_t count = setup.data().sources.size();
  std::vector<double> equal(all.size(), 1), sizes;
  for (const size_t i : all)
    sizes.push_back(static_cast<double>(i < count ? setup.data().sources[i].size() : setup.target().size()));
  if (o.baselines) {
    parts.push_back(mixture_part("uniform", "equal weights", all, equal, kStartCost));
    parts.push_back(mixture_part("proportional", "weights by size", all, sizes, kStartCost));
    if (o.target_trains)
      parts.push_back(mixture_part("target", "the target alone", {count}, {1}, kStartCost / 10));
    for (size_t i = 0; i < count; ++i)
      parts.push_back(mixture_part(fmt::format("source-{}", i + 1), fmt::format("{} alone", setup.name_of(i)),
                                   {i}, {1}, kStartCost / static_cast<double>(count)));
  }
  for (size_t i = 0; o.leave_out && all.size() > 1 && i < all.size(); ++i) {
    parts.push_back({.name = fmt::format("without-{}", i + 1),
                     .shown = fmt::format("without {}", setup.name_of(all[i])),
                     .request = {{"without", i}},
                     .cost = kStartCost / 4});
  }
  return parts;
}

void hand_over(std::vector<Part>& parts, const MixModel& learned, int64_t steps) {
  const Json of_folds{{"start", learned.strength()}, {"steps", steps}},
      of_the_rest{{"weights", doubles_of(learned.weights())},
                  {"strength", learned.strength()},
                  {"y", tensor_json(learned.y()[0].detach())}};
  for (Part& part : parts) {
    if (part.request.contains("fold")) part.request.update(of_folds);
    if (part.request.contains("without")) part.request.update(of_the_rest);
  }
}

std::vector<Phase> mix_phases(const MixSetup& setup, double side_by_side) {
  std::vector<Phase> phases{{"start", kStartCost * side_by_side},
                            {"learn", kLearnCost * side_by_side},
                            {kReportPhase, kReportCost * side_by_side}};
  for (const Part& part : mix_parts(setup)) phases.push_back({part.name, part.cost});
  return phases;
}

namespace {

Json fold_answer(MixSetup& setup, const Part& part) {
  const MixOptions& o = setup.options();
  const auto [judged, others] = setup.folds(setup.target()).at(part.request.at("fold").get<size_t>());
  MixModel model = setup.model(setup.all(), others);
  Passes passes = setup.context().passes(part.name);
  const PassPlan plan{.name = part.name,
                      .shown = part.shown,
                      .steps = part.request.at("steps"),
                      .schedule_steps = setup.default_steps(),
                      .evaluations = kMixEvaluations,
                      .max_seconds = o.seconds_allowed(),
                      .seed = derive_seed(o.seed, part.name)};
  const PassOutcome* outcome =
      learn_mixture(setup, model, passes, plan, part.request.at("start").get<double>(), /*choose=*/false);
  if (passes.reason() == StopReason::interrupted) throw Interrupted{passes.message()};
  if (outcome == nullptr) return Json::object();
  // One model on what is left: it has seen none of the fold's rows, and neither have its weights.
  MixModel last(setup.shared(),
                {.sources = setup.all(), .folds = {{judged, others}}, .network = setup.network()});
  last.set(model.weights(), model.strength());
  setup.minimize(last, kMixEffort.finish);
  return {{"weights", doubles_of(model.weights())},
          {"strength", model.strength()},
          {"predicted", tensor_json(last.probabilities(judged))}};
}

Json without_answer(MixSetup& setup, const Json& request) {
  std::vector<size_t> sources = setup.all();
  std::vector<double> weights = request.at("weights");
  const auto left_out = static_cast<std::ptrdiff_t>(request.at("without").get<size_t>());
  sources.erase(sources.begin() + left_out);
  weights.erase(weights.begin() + left_out);
  MixModel model = setup.model(sources, setup.target());
  model.set(torch::tensor(weights, torch::kFloat64), request.at("strength"));
  const torch::Tensor y = tensor_from(request.at("y"));
  if (y.numel() == model.y()[0].numel()) model.set_y(y);  // near where it ends
  setup.minimize(model, kMixEffort.finish);
  torch::Tensor losses =
      class_losses(model.judged_probabilities(), classes_at(setup.data().classes, model.judged()));
  return {{"losses", tensor_json(losses)}};
}

}  // namespace

Json mix_part(MixSetup& setup, const Part& part) {
  if (setup.context().interrupted()) throw Interrupted{};
  const Json& request = part.request;
  if (request.contains("fold")) return fold_answer(setup, part);
  if (request.contains("without")) return without_answer(setup, request);
  const std::vector<size_t> sources = request.at("sources");
  MixModel model = setup.model(sources, setup.target());
  model.set(torch::tensor(request.at("weights").get<std::vector<double>>(), torch::kFloat64), 1);
  setup.find_strength(model);
  return mixture_answer(setup, model, sources);
}

void MixAnswers::take(const Part& part, const Json& answer) {
  if (part.request.contains("fold"))
    folds.push_back(answer);
  else if (part.request.contains("without"))
    without.push_back(answer);
  else
    mixtures.emplace_back(part.request.at("mixture").get<std::string>(), answer);
}

std::vector<SourceWeight> source_weights(const MixSetup& setup, const MixModel& learned,
                                         const MixAnswers& answers) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> weights = doubles_of(learned.weights());
  const torch::Tensor own =
      class_losses(learned.judged_probabilities(), classes_at(setup.data().classes, learned.judged()));
  const std::vector<size_t> all = setup.all();
  const bool folds = answers.folds.size() > 1 &&
                     std::ranges::none_of(answers.folds, [](const Json& fold) { return fold.empty(); });
  std::vector<SourceWeight> found;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool source = all[i] < setup.data().sources.size();
    SourceWeight one{
        .name = setup.name_of(all[i]),
        .rows = static_cast<int64_t>(source ? setup.data().sources[all[i]].size() : setup.target().size()),
        .weight = weights[i],
        .low = none,
        .high = none,
        .without = {.difference = none, .low = none, .high = none, .no_interval = "it was not measured"}};
    if (folds) {
      const auto count = static_cast<double>(answers.folds.size());
      double mean = 0, squares = 0;
      for (const Json& fold : answers.folds) mean += fold.at("weights").at(i).get<double>() / count;
      for (const Json& fold : answers.folds)
        squares += std::pow(fold.at("weights").at(i).get<double>() - mean, 2);
      const double margin = student_t_quantile(0.975, count - 1) * std::sqrt((count - 1) / count * squares);
      one.low = std::max(0.0, one.weight - margin);
      one.high = std::min(1.0, one.weight + margin);
    }
    if (i < answers.without.size())
      one.without = paired_difference(tensor_from(answers.without[i].at("losses")), own,
                                      setup.unit_numbers(learned.judged()));
    found.push_back(one);
  }
  return found;
}

}  // namespace bilevel
