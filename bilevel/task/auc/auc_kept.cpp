#include "bilevel/task/auc/auc_kept.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "bilevel/core/error.h"
#include "bilevel/model/gradient_boosting.h"
#include "bilevel/task/auc/auc_predict.h"

namespace bilevel {
namespace {

constexpr const char *kTreesFile = "trees.ubj", *kTreesEntry = "trees";

/// Logistic regression as the network of the first linear encoder that reads its features.
std::shared_ptr<AucModel> linear_model_of(const AucSetup& setup, const AucBaseline& baseline,
                                          const AucFeatures& features) {
  const InputShape& shape = features.read.shape;
  const bool own = encoder_registry().at(setup.options().encoder).linear;
  NetworkOptions network{.encoder = own ? setup.options().encoder : ""};
  for (const EncoderEntry& entry : encoder_registry()) {
    if (network.encoder.empty() && entry.linear && std::ranges::count(entry.inputs, shape.kind) > 0)
      network.encoder = entry.name;
  }
  auto model = std::make_shared<AucModel>(network, shape, AucLoss{}, 0, 0, setup.options().torch_device());
  const torch::NoGradGuard no_grad;
  const std::vector<torch::Tensor> parameters = model->network()->parameters();
  parameters.at(0).copy_(baseline.saved.at("weight").view({-1, 1}));
  parameters.at(1).copy_(baseline.saved.at("intercept"));
  return model;
}

/// The baseline that ranks the validation rows best, where it does so better than the model; else null.
const AucBaseline* better_baseline(const AucSetup& setup, const AucOutcome& outcome) {
  const torch::Tensor labels = setup.labels_of(setup.parts().valid);
  double best = auc(ScoredRows(outcome.valid_scores, labels));
  const AucBaseline* found = nullptr;
  for (const AucBaseline& baseline : outcome.baselines) {
    const double valid = auc(ScoredRows(baseline.valid, labels));
    if (valid > best) {
      best = valid;
      found = &baseline;
    }
  }
  return found;
}

std::shared_ptr<GradientBoosting> trees_of(const SavedModel& saved) {
  if (const std::string lacks = gradient_boosting_lacks(); !lacks.empty())
    throw InputError(fmt::format("{}: the model is gradient boosting of trees, but {}", saved.path, lacks));
  const auto file = std::filesystem::path(saved.path).parent_path() / kTreesFile;
  const auto rounds = saved.description.at(kTreesEntry).at("rounds").get<int64_t>();
  return std::make_shared<GradientBoosting>(
      GradientBoosting::from_bytes(read_file(file.string()), saved.features.shape().width, 2, rounds));
}

}  // namespace

AucKept keep_model(AucSetup& setup, AucOutcome& outcome) {
  const std::vector<int64_t>& test = setup.parts().test;
  AucKept kept{.key = AucKept::kTrained,
               .name = "the trained model",
               .why = "--keep-best was not given",
               .valid = outcome.valid_scores,
               .model = std::move(outcome.model),
               .features = outcome.features};
  kept.test = kept.model->scores(kept.features.read.inputs, test);
  if (!setup.options().keep_best) return kept;
  if (outcome.judging != setup.parts().valid) {
    kept.why = "the validation rows hold too few of a class to choose by";
    return kept;
  }
  const AucBaseline* best = better_baseline(setup, outcome);
  if (best == nullptr) {
    kept.why = "no baseline ranks the validation rows better";
    return kept;
  }
  kept = {.key = best->key,
          .name = best->name,
          .why = "it ranks the validation rows better than the trained model",
          .valid = auc_scores(best->valid),
          .test = auc_scores(best->scores),
          .features = outcome.features};
  if (best->saved.contains(kTreesEntry)) {
    kept.trees = best->saved;
    return kept;
  }
  kept.features = linear_features(setup);
  kept.model = linear_model_of(setup, *best, kept.features);
  kept.test = kept.model->scores(kept.features.read.inputs, test);
  return kept;
}

void save_kept(const AucSetup& setup, const AucKept& kept, const nlohmann::ordered_json& description) {
  if (kept.model) {
    return save_model(setup.context(), setup.options(), *kept.model->network(), *kept.features.fitted,
                      kept.model->loss_tensors(), description);
  }
  const torch::Tensor bytes = kept.trees.at(kTreesEntry).contiguous();
  write_file_atomically(
      setup.path(kTreesFile),
      std::string_view(reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>()), bytes.nbytes()));
  nlohmann::ordered_json all = description;
  all[kTreesEntry] = {{"rounds", kept.trees.at("rounds").item<int64_t>()}};
  save_model(setup.context(), setup.options(), *kept.features.fitted, {}, all);
}

torch::Tensor kept_scores(const SavedModel& saved, const Inputs& inputs, const torch::Device& device,
                          std::shared_ptr<AucModel>& model) {
  const std::vector<int64_t> rows = all_rows(inputs.rows());
  if (saved.description.contains(kTreesEntry))
    return auc_scores(trees_of(saved)->scores(inputs.gather(rows)));
  model = std::make_shared<AucModel>(saved.network, saved.features.shape(), AucLoss{}, 0, 0, device);
  model->load(saved.tensors);
  return model->scores(inputs, rows).to(torch::kFloat64).contiguous();
}

}  // namespace bilevel
