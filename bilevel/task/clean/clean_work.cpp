#include "bilevel/task/clean/clean_work.h"

#include <torch/types.h>

#include "bilevel/core/tensor_json.h"
#include "bilevel/task/clean/clean_baselines.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {

using Json = nlohmann::ordered_json;

namespace {

/// Predicts the rows of a part's fold by classifiers of the part's rows: its training rows by one that knows all trusted
/// rows, which are few, its trusted rows by one that knows those of the other folds. [fold's training and trusted rows,
/// classes].
torch::Tensor predict_fold(const Weighing& setup, const CleanPart& part, const torch::Tensor& weights,
                           const FitStrengths& strengths) {
  std::vector<WeightedRows> sets;
  std::vector<const std::vector<int64_t>*> predicted_by;
  const auto predict_with = [&](const std::vector<int64_t>& trusted, const std::vector<int64_t>& rows) {
    if (rows.empty()) return;
    sets.emplace_back();
    sets.back().add(part.train, setup.counted(weights));
    sets.back().add(trusted, static_cast<float>(strengths.trusted));
    predicted_by.push_back(&rows);
  };
  predict_with(setup.trusted(), part.fold_train);
  predict_with(part.trusted, part.fold_trusted);
  std::vector<torch::Tensor> predicted{torch::zeros({0, setup.classes()}, torch::kFloat64)};
  if (sets.empty()) return predicted.front();
  const auto networks = setup.fit(sets, strengths);
  for (size_t m = 0; m < networks.size(); ++m)
    predicted.push_back(setup.probabilities(*networks[m], *predicted_by[m]));
  return torch::cat(predicted);
}

Json to_json(const Opinion& opinion) {
  return {{"weights", tensor_json(opinion.weights)}, {"predicted", tensor_json(opinion.predicted)}};
}
Opinion opinion_from(const Json& json) {
  return {tensor_from(json.at("weights")), tensor_from(json.at("predicted"))};
}

Json answer_of_learning(Weighing& setup, const Part& work) {
  std::vector<Opinion> opinions;
  for (const Json& opinion : work.request.at("opinions")) opinions.push_back(opinion_from(opinion));
  Passes passes = setup.context().passes(work.name);
  const CleanModel model = setup.model(opinions, setup.trusted(), setup.options().seed);
  const PassOutcome* outcome = setup.learn(model, passes);
  Json answer = answer_of(passes);
  if (outcome == nullptr) return answer;
  const Settled settled = setup.settle(model, outcome->upper);
  answer["strengths"] = to_json(settled.strengths);
  answer["gain"] = settled.gain;
  answer["standard_error"] = settled.standard_error;
  answer["taken"] = settled.taken;
  if (settled.unit_errors.defined()) answer["unit_errors"] = tensor_json(settled.unit_errors);
  return answer;
}

/// With weights that come from classifiers of a part, those that predict its fold; see `clean_labels`.
Json answer_of_fold(const Weighing& setup, const Json& request) {
  const CleanPart part = setup.part(request.at("fold").get<size_t>());
  const Opinion opinion = opinion_from(request.at("opinion"));
  const FitStrengths strengths = strengths_from(request.at("strengths"));
  const CleanCosts cost = setup.costs();
  const double all = cost.weights + 2 * cost.fit;
  setup.context().phases->stretch(cost.weights / all);
  const torch::Tensor weights = setup.last_weights(part, opinion, strengths);
  setup.context().phases->stretch(2 * cost.fit / all);
  return {{"predicted", tensor_json(predict_fold(setup, part, weights, strengths))}};
}

/// What a part comes to, but for the baselines.
Json answer_of_part(Weighing& setup, const Part& work) {
  const Json& request = work.request;
  if (request.contains("opinion_on"))
    return to_json(setup.opinion(setup.part(request.at("opinion_on").get<size_t>())));
  if (request.contains("opinions")) return answer_of_learning(setup, work);
  if (request.contains("fold")) return answer_of_fold(setup, request);
  const FitStrengths strengths = strengths_from(request.at("strengths"));
  if (request.contains("even")) {
    const CleanPart part = setup.part(request.at("even").get<size_t>());
    const torch::Tensor ones = torch::ones({static_cast<int64_t>(part.train.size())});
    return {{"predicted", tensor_json(predict_fold(setup, part, ones, strengths))}};
  }
  WeightedRows all;
  all.add(setup.unrepeated(), setup.counted(tensor_from(request.at("weights"))));
  all.add(setup.trusted(), static_cast<float>(strengths.trusted));
  return {{"model", tensors_json(tensors_of(*setup.fit({all}, strengths).front()))}};
}

}  // namespace

Json to_json(const FitStrengths& strengths) {
  return {{"l2", strengths.l2},
          {"trusted", strengths.trusted},
          {"beta", strengths.beta},
          {"of_units", strengths.of_units}};
}
FitStrengths strengths_from(const Json& json) {
  return {json.at("l2"), json.at("beta"), json.at("trusted"), json.at("of_units").get<std::vector<double>>()};
}

PartWork clean_work(Weighing& setup) {
  return [&setup, baselines = std::shared_ptr<CleanBaselines>()](const Part& part) mutable {
    if (!part.request.contains("baseline")) return answer_of_part(setup, part);
    if (!baselines) baselines = std::make_shared<CleanBaselines>(setup);
    return baselines->answer(part.request);
  };
}

}  // namespace bilevel
