#include "bilevel/task/job/classifier.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"
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

Column label_column(const std::vector<std::string>& names, const torch::Tensor& classes) {
  Column column{"label"};
  for (int64_t i = 0; i < classes.numel(); ++i)
    column.cells.push_back(names[static_cast<size_t>(classes[i].item<int64_t>())]);
  return column;
}

std::vector<Column> class_columns(const torch::Tensor& probabilities, const std::vector<std::string>& names) {
  std::vector<Column> columns{label_column(names, probabilities.argmax(1))};
  columns[0].name = "predicted";
  for (size_t c = 0; c < names.size(); ++c) {
    columns.push_back(
        number_column(fmt::format("p({})", names[c]), probabilities.select(1, static_cast<int64_t>(c))));
  }
  return columns;
}

void write_test_predictions(const JobContext& context, const JobFiles& files,
                            const std::vector<int64_t>& rows, const torch::Tensor& probabilities,
                            const std::vector<std::string>& names, const torch::Tensor& classes) {
  std::vector<Column> columns = files.places(rows);
  columns.push_back(label_column(names, classes));
  for (Column& column : class_columns(probabilities, names)) columns.push_back(std::move(column));
  write_tsv(context.path("predictions.tsv").string(), columns);
}

Json write_class_predictions(const std::string& path, const torch::Tensor& probabilities,
                             const std::vector<std::string>& names,
                             const std::optional<ClassLabels>& labels) {
  const int64_t rows = probabilities.size(0);
  std::vector<Column> columns = class_columns(probabilities, names);
  columns.insert(columns.begin(), row_column(rows));
  if (labels) columns.push_back(label_column(names, torch::tensor(labels->classes, torch::kInt64)));
  write_tsv(path, columns);
  const torch::Tensor counts =
      torch::bincount(probabilities.argmax(1), {}, static_cast<int64_t>(names.size()));
  Json result{{"command", "predict"}, {"rows", rows}, {"predicted", Json::object()}, {"out", path}};
  for (size_t c = 0; c < names.size(); ++c)
    result["predicted"][names[c]] = counts[static_cast<int64_t>(c)].item<int64_t>();
  return result;
}

std::optional<ClassLabels> find_classes(const DataFile& file, const std::string& column,
                                        const std::vector<std::string>& known, const std::string& origin) {
  const auto* table = std::get_if<Table>(&file);
  return table != nullptr ? find_classes(*table, column, known, origin)
                          : find_classes(std::get<SparseTable>(file), known, origin);
}

Prediction predict_classes(const PredictRequest& request) {
  const SavedModel model = load_model(request.model);
  const auto names = model.at<std::vector<std::string>>("classes");
  std::optional<Calibration> calibration;
  try {
    if (const Json found = model.description.value("calibration", Json()); !found.is_null())
      calibration = Calibration::from_json(found);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", model.path, error.what()));
  }
  const torch::Device device = device_named(request.device);
  const std::shared_ptr<Network> network = model.load_network();
  network->to(device);
  const DataFile file = read_input(model, request.input, request.read);
  const std::optional<ClassLabels> labels =
      find_classes(file, model.at<std::string>("label"), names, "the model");
  const int64_t rows = rows_of(file);
  torch::Tensor probabilities =
      probabilities_of(*network, model.features.apply(file), all_rows(rows), device);
  if (calibration) probabilities = calibration->apply(probabilities);
  Json result = write_class_predictions(request.out, probabilities, names, labels);
  result["warnings"] = Json::array();
  if (model.description.contains("calibration") && !calibration)
    result["warnings"].push_back("trained without trusted rows: the probabilities are not calibrated");
  if (labels) result.update(class_scores(probabilities, torch::tensor(labels->classes)).to_json());
  std::string text = fmt::format("{} rows, classified; written to {}\n", rows, request.out);
  if (labels) text += fmt::format("accuracy on their labels: {:.4f}\n", result.at("accuracy").get<double>());
  return {result, text};
}

}  // namespace bilevel
