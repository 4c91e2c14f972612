#include "bilevel/task/job/classifier.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <optional>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/data/classes.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {

using Json = nlohmann::ordered_json;

torch::Tensor probabilities_of(Network& network, const Inputs& inputs, const std::vector<int64_t>& rows,
                               const torch::Device& device) {
  return torch::softmax(logits_of(network, inputs, rows, device).to(torch::kFloat64), 1);
}

torch::Tensor Calibration::apply(const torch::Tensor& probabilities) const {
  return torch::softmax(beta * probabilities.to(torch::kFloat64).clamp_min(1e-12).log() + bias, 1);
}

Json Calibration::to_json() const {
  const torch::Tensor values = bias.contiguous();
  const auto* b = values.const_data_ptr<double>();
  return {{"temperature", 1 / beta}, {"bias", std::vector<double>(b, b + values.numel())}};
}

Calibration Calibration::from_json(const Json& json) {
  return {.beta = 1 / json.at("temperature").get<double>(),
          .bias = torch::tensor(json.at("bias").get<std::vector<double>>(), torch::kFloat64)};
}

Json ClassScores::to_json() const { return {{"accuracy", accuracy}, {"loss", loss}}; }

ClassScores class_scores(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  const auto rows = static_cast<double>(classes.numel());
  const torch::Tensor losses =
      -probabilities.gather(1, classes.unsqueeze(1)).squeeze(1).clamp_min(1e-12).log();
  ClassScores scores;
  scores.accuracy = probabilities.argmax(1).eq(classes).to(torch::kFloat64).mean().item<double>();
  scores.loss = losses.mean().item<double>();
  if (rows > 1) scores.standard_error_of_loss = losses.std().item<double>() / std::sqrt(rows);
  return scores;
}

torch::Tensor classes_at(const std::vector<int64_t>& classes, const std::vector<int64_t>& rows) {
  std::vector<int64_t> picked;
  picked.reserve(rows.size());
  for (const int64_t row : rows) picked.push_back(classes.at(static_cast<size_t>(row)));
  return torch::tensor(picked, torch::kInt64);
}

Json write_class_predictions(const std::string& path, const torch::Tensor& probabilities,
                             const std::vector<std::string>& names,
                             const std::optional<ClassLabels>& labels) {
  const torch::Tensor values = probabilities.contiguous(), predicted = values.argmax(1).contiguous();
  const auto* p = values.const_data_ptr<double>();
  const auto* best = predicted.const_data_ptr<int64_t>();
  std::string table = "row\tpredicted";
  for (const std::string& name : names) table += fmt::format("\tp({})", name);
  table += labels ? "\tlabel\n" : "\n";
  std::vector<int64_t> counts(names.size());
  const auto rows = static_cast<size_t>(values.size(0));
  for (size_t i = 0; i < rows; ++i) {
    const auto c = static_cast<size_t>(best[i]);
    ++counts[c];
    table += fmt::format("{}\t{}", i + 1, names[c]);
    for (size_t k = 0; k < names.size(); ++k) table += fmt::format("\t{:.9g}", p[i * names.size() + k]);
    if (labels) table += "\t" + names[static_cast<size_t>(labels->classes[i])];
    table += "\n";
  }
  write_file_atomically(path, table);
  Json result{{"command", "predict"}, {"rows", rows}, {"predicted", Json::object()}, {"out", path}};
  for (size_t c = 0; c < names.size(); ++c) result["predicted"][names[c]] = counts[c];
  return result;
}

Prediction predict_classes(const PredictRequest& request) {
  const SavedModel model = load_model(request.model);
  std::vector<std::string> names;
  std::string label;
  std::optional<Calibration> calibration;
  try {
    names = model.description.at("classes").get<std::vector<std::string>>();
    label = model.description.at("label").get<std::string>();
    if (const Json found = model.description.value("calibration", Json()); !found.is_null())
      calibration = Calibration::from_json(found);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", model.path, error.what()));
  }
  const std::shared_ptr<Network> network = model.load_network();
  const DataFile file = read_input(model, request.input, request.read);
  const std::string origin = "the model";
  const std::optional<ClassLabels> labels = std::holds_alternative<Table>(file)
                                                ? find_classes(std::get<Table>(file), label, names, origin)
                                                : find_classes(std::get<SparseTable>(file), names, origin);
  std::vector<int64_t> rows(static_cast<size_t>(rows_of(file)));
  std::iota(rows.begin(), rows.end(), 0);
  torch::Tensor probabilities =
      probabilities_of(*network, model.features.apply(file), rows, torch::kCPU).contiguous();
  if (calibration) probabilities = calibration->apply(probabilities).contiguous();
  Json result = write_class_predictions(request.out, probabilities, names, labels);
  result["warnings"] = Json::array();
  if (model.description.contains("calibration") && !calibration)
    result["warnings"].push_back("trained without trusted rows: the probabilities are not calibrated");
  if (labels) result.update(class_scores(probabilities, torch::tensor(labels->classes)).to_json());
  std::string text = fmt::format("{} rows, classified; written to {}\n", rows.size(), request.out);
  if (labels) text += fmt::format("accuracy on their labels: {:.4f}\n", result.at("accuracy").get<double>());
  return {result, text};
}

}  // namespace bilevel
