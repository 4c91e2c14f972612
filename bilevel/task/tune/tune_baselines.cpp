#include "bilevel/task/tune/tune_baselines.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <limits>

#include "bilevel/core/tensor_json.h"
#include "bilevel/task/job/boosting.h"
#include "bilevel/task/job/costs.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *kTreesKey = "gradient_boosting", *kLearnedKey = "learned";

SearchOptions search_options(const TuneSetup& setup, const TuneModel& model, double passes) {
  const TuneJobOptions& o = setup.options();
  return {.passes = passes,
          .training = {.steps = setup.default_steps(),
                       .batch_size = *o.batch_size,
                       .step_size = kNetworkStep,
                       .seed = o.seed},
          .high = setup.convex() ? 1e2 : model.strength_range().second,
          .seed = o.seed,
          .interrupt = setup.context().callbacks.interrupt,
          .advance = [&setup](double share) { setup.context().phases->advance(share); }};
}

std::vector<torch::Tensor> candidates_of(const std::string& name, const TuneModel& model,
                                         const TuneData& data, const SearchOptions& options) {
  return name == "grid" ? grid_candidates(model, data, options) : random_candidates(model, data, options);
}

/// Of a search that follows its points one part, else one for each point.
void add_search(const TuneSetup& setup, const TuneModel& model, const std::string& name, double passes,
                std::vector<Part>& parts) {
  const SearchOptions options = search_options(setup, model, passes);
  const int64_t points = search_points(model, options, setup.data().train.size(), setup.data().valid.size());
  Part part{.name = name,
            .shown = fmt::format("{} search with {:.0f} passes", name, passes),
            .request = {{"search", name}, {"passes", passes}, {"point", nullptr}},
            .cost = passes};
  if (setup.convex()) parts.push_back(part);
  part.cost = passes / static_cast<double>(points);
  for (int64_t i = 0; !setup.convex() && i < points; ++i) {
    part.name = fmt::format("{}-{}", name, i + 1);
    part.shown = fmt::format("{} search with {:.0f} passes, point {} of {}", name, passes, i + 1, points);
    part.request["point"] = i;
    parts.push_back(part);
  }
}

Json searched(const TuneSetup& setup, TuneModel& model, const Json& request) {
  const SearchOptions options = search_options(setup, model, request.at("passes"));
  std::vector<torch::Tensor> points = candidates_of(request.at("search"), model, setup.data(), options);
  if (!request.at("point").is_null()) points = {points.at(request.at("point"))};
  const SearchOutcome found = search(model, setup.data(), options, points);
  if (found.interrupted) throw Interrupted{};
  return found.to_json();
}

Json boosted_answer(TuneSetup& setup) {
  const TuneData& data = setup.data();
  const torch::Tensor classes = torch::tensor(data.classes, torch::kInt64);
  const auto count = static_cast<int64_t>(setup.class_names().size());
  const auto& [valid, train] = setup.cut_rows();
  const Boosted made = boost(setup, setup.fitted(), classes, count, {train, valid}, boosted_fit);
  return {{"rounds", made.trees.rounds()},
          {"valid", tensor_json(boosted_probabilities(made.valid))},
          {"test", tensor_json(boosted_probabilities(made.scores(data.inputs, setup.test())))}};
}

/// Of gradient boosting, in passes over the data.
double boosting_passes(const TuneSetup& setup, const TuneModel& model) {
  const auto rows = static_cast<int64_t>(setup.data().train.size());
  const auto count = static_cast<int64_t>(setup.class_names().size());
  const FittedInputs fitted = setup.fitted();
  return boosting_cost(fitted, rows, count) /
         derivatives_cost(1, rows, Network(model.network_options(), fitted.shape), fitted.inputs);
}

}  // namespace

std::vector<Part> baseline_parts(const TuneSetup& setup, const TuneModel& model, double passes) {
  std::vector<Part> parts;
  if (passes == 0) return parts;
  for (const char* name : {"grid", "random"}) add_search(setup, model, name, passes, parts);
  if (has_boosting(setup.options())) {
    parts.push_back({.name = kTreesKey,
                     .shown = "gradient boosting",
                     .request = {{kTreesKey, true}},
                     .cost = boosting_passes(setup, model)});
  }
  return parts;
}

std::vector<Phase> baseline_phases(const TuneSetup& setup, const TuneModel& model, double passes) {
  std::vector<Phase> phases{{"grid", passes}, {"random", passes}};
  if (passes > 0 && has_boosting(setup.options()))
    phases.push_back({kTreesKey, boosting_passes(setup, model)});
  return phases;
}

Json baseline_answer(TuneSetup& setup, TuneModel& model, const Part& part) {
  return part.request.contains(kTreesKey) ? boosted_answer(setup) : searched(setup, model, part.request);
}

void TuneBaselines::take(const Part& part, const Json& answer) {
  if (part.request.contains(kTreesKey))
    boosted = answer;
  else
    found[part.request.at("search")].add(SearchOutcome::from_json(answer));
}

namespace {

/// Measures baselines beside what was learned.
class BaselineMeasurement {
 public:
  explicit BaselineMeasurement(const TuneSetup& setup, const TuneModel& model)
      : setup_(setup), test_(classes_at(setup.data().classes, setup.test())) {
    result_.predictions[kLearnedKey] = model.probabilities(setup.test());
  }

  /// What a search found; the validation rows prefer the rival.
  void add(const std::string& key, TuneModel& model, const SearchOutcome& found) {
    const Json nothing{{"accuracy", nullptr}, {"loss", nullptr}, {"auc", nullptr}};
    Json& entry = result_.summary[key];
    entry = {{"name", key + " search"}, {"valid", nothing}, {"test", nothing}};
    if (found.x.defined()) {  // some point gave a finite loss
      model.set_x(found.x);
      model.set_y(found.y);
      const PairedDifference d =
          measure(key, {setup_.data().valid, model.held_out()}, model.probabilities(setup_.test()));
      entry["strength"] = found.strength;
      if (found.valid_loss < best_)
        result_.rivals = {{key, key + " search, which the validation rows prefer", d}};
      best_ = std::min(best_, found.valid_loss);
    }
    entry["points"] = found.points;
    entry["passes"] = found.passes;
  }

  void add_boosted(const Json& answer) {
    const std::string name = "gradient boosting of trees (XGBoost) on the same features";
    result_.summary[kTreesKey] = {{"name", name}};
    const PairedDifference d = measure(kTreesKey, {setup_.cut_rows().judged, tensor_from(answer.at("valid"))},
                                       tensor_from(answer.at("test")));
    result_.summary[kTreesKey]["rounds"] = answer.at("rounds");
    result_.rivals.push_back({kTreesKey, name, d});
  }

  MeasuredBaselines result() && { return std::move(result_); }

 private:
  /// `valid`: rows and what is predicted of them.
  PairedDifference measure(const std::string& key,
                           const std::pair<std::vector<int64_t>, torch::Tensor>& valid,
                           const torch::Tensor& test) {
    const PairedDifference d =
        paired_difference(class_losses(result_.predictions.at(kLearnedKey), test_), class_losses(test, test_),
                          setup_.unit_numbers(setup_.test()));
    Json& entry = result_.summary[key];
    entry["valid"] = scores_json(valid.second, classes_at(setup_.data().classes, valid.first));
    entry["test"] = scores_json(test, test_);
    entry.update(difference_json(d, /*lower_is_better=*/true));
    result_.predictions[key] = test;
    return d;
  }

  const TuneSetup& setup_;
  torch::Tensor test_;  // classes
  double best_ = std::numeric_limits<double>::infinity();
  MeasuredBaselines result_;
};

}  // namespace

MeasuredBaselines measure_baselines(const TuneSetup& setup, TuneModel& model,
                                    const TuneBaselines& baselines) {
  const torch::Tensor x = model.x().detach().clone(), y = model.flat_y();
  BaselineMeasurement measurement(setup, model);
  for (const auto& [key, outcome] : baselines.found) measurement.add(key, model, outcome);
  if (!baselines.boosted.is_null()) measurement.add_boosted(baselines.boosted);
  model.set_x(x);
  model.set_y(y);
  return std::move(measurement).result();
}

}  // namespace bilevel
