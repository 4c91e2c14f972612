#include "bilevel/task/clean/clean_baselines.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/tensor_json.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/job/boosting.h"
#include "bilevel/task/job/costs.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kReferenceFolds = 5;
constexpr const char* kDropNames[] = {"drop-self", "drop-trusted", "drop-product"};
constexpr const char* kBoosting = "boosting";
constexpr double kOfLinearFit = 0.4;  // of `linear_fit_cost`: fewer iterations

Part baseline_part(const CleanSetup& setup, const std::string& name, const std::string& shown,
                   const Json& more = Json::object()) {
  Json request{{"baseline", name}};
  request.update(more);
  const Phase phase = CleanBaselines::phase(setup, name);
  return {.name = phase.name, .shown = "fitting: baseline, " + shown, .request = request, .cost = phase.cost};
}

/// Of each training row the probability of its given label.
torch::Tensor of_given(const CleanSetup& setup, const torch::Tensor& probabilities) {
  return probabilities.gather(1, setup.classes_of(setup.train()).unsqueeze(1)).squeeze(1);
}

}  // namespace

UnseenRows CleanBaselines::unseen(const CleanSetup& setup, const std::vector<Json>& first) {
  UnseenRows unseen{.by_others = tensor_from(first[1].at("of_train"))};
  if (!setup.trusted().empty()) unseen.by_trusted = tensor_from(first[2].at("of_train"));
  return unseen;
}

CleanBaselines::CleanBaselines(CleanSetup& setup) : setup_(setup) {
  const bool tokens = setup.inputs().inputs.inputs.kind() == InputKind::tokens;
  const std::string encoder = tokens ? "bag" : "linear";
  own_ = tokens ? setup.fit(encoder) : CleanInputs{};
  options_ = setup.fit_options(setup.first_strengths());
  options_.interrupt = nullptr;  // seen between the parts
  options_.network = NetworkOptions{.encoder = encoder, .outputs = setup.classes()};
  options_.l2 = {*setup.options().baseline_l2};
  options_.block_of = torch::Tensor();
}

std::vector<Part> CleanBaselines::first_parts(const CleanSetup& setup) {
  std::vector<Part> parts{baseline_part(setup, "all", "noisy and trusted rows"),
                          baseline_part(setup, "self", "self-confidence")};
  if (!setup.trusted().empty()) parts.push_back(baseline_part(setup, "trusted", "trusted rows"));
  if (has_boosting(setup.options())) parts.push_back(baseline_part(setup, kBoosting, "gradient boosting"));
  return parts;
}

std::vector<const char*> CleanBaselines::dropping_names(const CleanSetup& setup) {
  if (setup.trusted().empty()) return {kDropNames[0]};
  return {std::begin(kDropNames), std::end(kDropNames)};
}

Phase CleanBaselines::phase(const CleanSetup& setup, const std::string& name) {
  const auto rows = static_cast<int64_t>(name == "trusted" ? setup.trusted().size() : setup.train().size());
  if (name == kBoosting)
    return {"baseline-" + name, boosting_cost(setup.inputs().inputs, rows, setup.classes())};
  const double fit = kOfLinearFit * linear_fit_cost(setup.inputs().inputs, rows);
  return {"baseline-" + name, name == "self" ? kReferenceFolds * fit : fit};
}

std::vector<Part> CleanBaselines::dropping_parts(const CleanSetup& setup, double drop,
                                                 const UnseenRows& known) {
  const auto part = [&](const char* name, const char* shown, const torch::Tensor& score) {
    return baseline_part(setup, name, shown, {{"drop", drop}, {"score", tensor_json(score)}});
  };
  const torch::Tensor self = of_given(setup, known.by_others);
  std::vector<Part> parts{part(kDropNames[0], "rows by self-confidence", self)};
  if (setup.trusted().empty()) return parts;
  const torch::Tensor by_trusted = of_given(setup, known.by_trusted);
  parts.push_back(part(kDropNames[1], "rows by the trusted model", by_trusted));
  parts.push_back(part(kDropNames[2], "rows by the product", self * by_trusted));
  return parts;
}

Json CleanBaselines::summary(const CleanSetup& setup, const std::vector<Json>& first,
                             const std::vector<Json>& dropping) {
  Json result = Json::object();
  const auto add = [&](const char* key, const char* name, const Json& answer) {
    result[key] = {{"name", name}};
    result[key].update(answer.at("measured"));
  };
  const bool trusted = !setup.trusted().empty();
  add("noisy_and_trusted", "logistic regression on all rows as given", first[0]);
  if (trusted) add("trusted_only", "logistic regression on the trusted rows alone", first[2]);
  add("self_confidence", "logistic regression, rows dropped by out-of-fold self-confidence", dropping[0]);
  if (trusted) {
    add("trusted_model", "logistic regression, rows dropped by a model of the trusted rows", dropping[1]);
    add("product", "logistic regression, rows dropped by the product of both", dropping[2]);
  }
  if (has_boosting(setup.options()))
    add("gradient_boosting", "gradient boosting of trees (XGBoost) on all rows as given", first.back());
  return result;
}

Json CleanBaselines::answer(const Json& request) const {
  const std::string what = request.at("baseline");
  if (what == "all") return {{"measured", fitted(setup_.train())}};
  if (what == "self") return {{"of_train", tensor_json(predicted_by_others())}};
  if (what == "trusted") return trusted_only();
  if (what == kBoosting) return {{"measured", boosted()}};
  return {{"measured", dropping(request.at("drop"), tensor_from(request.at("score")))}};
}

OtherPredictions CleanBaselines::take_predictions(Json& summary) {
  OtherPredictions predicted;
  for (auto& [name, measured] : summary.items()) {
    if (measured.contains("predicted")) predicted[name] = tensor_from(measured["predicted"]);
    measured.erase("predicted");
  }
  return predicted;
}

Json CleanBaselines::test(
    const std::function<torch::Tensor(const std::vector<int64_t>& rows)>& predict) const {
  if (setup_.test().empty()) return {{"test", nullptr}};
  const torch::Tensor probabilities = predict(setup_.test());
  return {{"test", class_scores(probabilities, setup_.classes_of(setup_.test())).to_json()},
          {"predicted", tensor_json(probabilities)}};
}

Json CleanBaselines::test(Network& network) const {
  return test([&](const std::vector<int64_t>& rows) {
    return probabilities_of(network, inputs().inputs, rows, options_.device);
  });
}

Json CleanBaselines::boosted() const {
  BoostedParts rows{setup_.unrepeated(), setup_.trusted(), setup_.train()};
  if (setup_.trusted().empty()) {
    const Fold fold = setup_.cut_folds(setup_.train(), kReferenceFolds, options_.seed).front();
    rows.train = fold.others;
    rows.valid = fold.judged;
  }
  rows.refit.insert(rows.refit.end(), setup_.trusted().begin(), setup_.trusted().end());
  const Boosted made = boost(setup_, inputs(), setup_.given(), setup_.classes(), rows, boosted_fit);
  Json result = test([&](const std::vector<int64_t>& of) {
    return boosted_probabilities(made.scores(inputs().inputs, of));
  });
  result["rounds"] = made.trees.rounds();
  return result;
}

Json CleanBaselines::fitted(const std::vector<int64_t>& rows) const {
  WeightedRows both;
  both.add(rows, 1);
  both.add(setup_.trusted(), 1);
  return test(*fit_weighted(inputs(), setup_.given(), both, options_));
}

Json CleanBaselines::trusted_only() const {
  WeightedRows trusted;
  trusted.add(setup_.trusted(), 1);
  const auto network = fit_weighted(inputs(), setup_.given(), trusted, options_);
  return {{"measured", test(*network)},
          {"of_train",
           tensor_json(probabilities_of(*network, inputs().inputs, setup_.train(), options_.device))}};
}

torch::Tensor CleanBaselines::predicted_by_others() const {
  const std::vector<int64_t>& train = setup_.train();
  WeightedRows all;
  all.add(train, 1);
  return out_of_fold(inputs(), setup_.given(), all, setup_.folds_of(train, kReferenceFolds, options_.seed),
                     options_);
}

Json CleanBaselines::dropping(double drop, const torch::Tensor& score) const {
  const std::vector<int64_t>& train = setup_.train();
  const torch::Tensor order = score.argsort(/*stable=*/true, 0, /*descending=*/false);
  const auto* at = order.const_data_ptr<int64_t>();
  const auto first = static_cast<size_t>(std::llround(drop * static_cast<double>(train.size())));
  std::vector<int64_t> kept;
  for (size_t i = first; i < train.size(); ++i) kept.push_back(train[static_cast<size_t>(at[i])]);
  std::sort(kept.begin(), kept.end());
  Json result = fitted(kept);
  if (setup_.flips()) result["flips"] = {{"auroc", auc(ScoredRows(-score, setup_.flips()->flipped))}};
  return result;
}

}  // namespace bilevel
