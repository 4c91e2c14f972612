#include "bilevel/task/job/classifier.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/job/predicted_rows.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {

using Json = nlohmann::ordered_json;

torch::Tensor probabilities_of(Network& network, const Inputs& inputs, const std::vector<int64_t>& rows,
                               const torch::Device& device) {
  return torch::softmax(logits_of(network, inputs, rows, device).to(torch::kFloat64), 1);
}

Json ClassScores::to_json() const { return {{"accuracy", accuracy}, {"loss", loss}}; }

Json scores_json(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  Json scores = class_scores(probabilities, classes).to_json();
  double sum = 0;
  int64_t count = 0;
  for (int64_t c = 0; c < probabilities.size(1); ++c) {
    const torch::Tensor member = classes.eq(c);
    const auto positives = member.sum().item<int64_t>();
    if (positives == 0 || positives == classes.numel()) continue;
    sum += auc(ScoredRows(probabilities.select(1, c), member.to(torch::kInt64)));
    ++count;
  }
  scores["auc"] = count == 0 ? Json(nullptr) : Json(sum / static_cast<double>(count));
  return scores;
}

torch::Tensor class_hits(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  return probabilities.argmax(1).eq(classes);
}

torch::Tensor class_losses(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  return -probabilities.gather(1, classes.unsqueeze(1)).squeeze(1).clamp_min(1e-12).log();
}

PairedDifference paired_difference(const torch::Tensor& own, const torch::Tensor& other,
                                   const std::vector<int64_t>& unit_of) {
  const auto list = [](const torch::Tensor& numbers) {
    const torch::Tensor values = numbers.to(torch::kFloat64).contiguous();
    const auto* first = values.const_data_ptr<double>();
    return std::vector<double>(first, first + values.numel());
  };
  return paired_difference(list(own), list(other), "rows", unit_of);
}

ClassScores class_scores(const torch::Tensor& probabilities, const torch::Tensor& classes) {
  const auto rows = static_cast<double>(classes.numel());
  const torch::Tensor losses = class_losses(probabilities, classes);
  ClassScores scores;
  scores.accuracy = class_hits(probabilities, classes).to(torch::kFloat64).mean().item<double>();
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
  const torch::Tensor numbers = classes.contiguous();
  for (int64_t i = 0; i < numbers.numel(); ++i)
    column.cells.push_back(names[static_cast<size_t>(numbers.const_data_ptr<int64_t>()[i])]);
  return column;
}

namespace {

/// "PREFIX(NAME)" per class.
void add_probabilities(const std::string& prefix, const torch::Tensor& probabilities,
                       const std::vector<std::string>& names, std::vector<Column>& columns) {
  for (size_t c = 0; c < names.size(); ++c) {
    columns.push_back(number_column(fmt::format("{}({})", prefix, names[c]),
                                    probabilities.select(1, static_cast<int64_t>(c))));
  }
}

}  // namespace

std::vector<Column> class_columns(const torch::Tensor& probabilities, const std::vector<std::string>& names) {
  std::vector<Column> columns{label_column(names, probabilities.argmax(1))};
  columns[0].name = "predicted";
  add_probabilities("p", probabilities, names, columns);
  return columns;
}

void write_class_predictions(const std::string& path, const JobFiles& files, const std::vector<int64_t>& rows,
                             const torch::Tensor& probabilities, const std::vector<std::string>& names,
                             const torch::Tensor& classes, const OtherPredictions& others) {
  std::vector<Column> columns = files.places(rows);
  columns.push_back(label_column(names, classes));
  for (Column& column : class_columns(probabilities, names)) columns.push_back(std::move(column));
  for (const auto& [key, of_other] : others) add_probabilities("p_" + key, of_other, names, columns);
  write_tsv(path, columns);
}

void write_test_predictions(const JobContext& context, const JobFiles& files,
                            const std::vector<int64_t>& rows, const torch::Tensor& probabilities,
                            const std::vector<std::string>& names, const torch::Tensor& classes,
                            const OtherPredictions& others) {
  write_class_predictions(context.path("predictions.tsv").string(), files, rows, probabilities, names,
                          classes, others);
}

Json predicted_counts(const torch::Tensor& probabilities, const std::vector<std::string>& names) {
  const torch::Tensor counts =
      torch::bincount(probabilities.argmax(1), {}, static_cast<int64_t>(names.size()));
  Json result = Json::object();
  for (size_t c = 0; c < names.size(); ++c)
    result[names[c]] = counts[static_cast<int64_t>(c)].item<int64_t>();
  return result;
}

std::optional<ClassLabels> find_classes(const DataFile& file, const std::string& column,
                                        const std::vector<std::string>& known, const std::string& origin) {
  const auto* table = std::get_if<Table>(&file);
  return table != nullptr ? find_classes(*table, column, known, origin)
                          : find_classes(std::get<SparseTable>(file), known, origin);
}

std::optional<Calibration> saved_calibration(const SavedModel& model) {
  const Json found = model.description.value("calibration", Json());
  if (found.is_null()) return std::nullopt;
  try {
    return Calibration::from_json(found);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", model.path, error.what()));
  }
}

Prediction predict_classes(const PredictRequest& request) {
  const SavedModel model = model_of(request);
  const auto names = model.at<std::vector<std::string>>("classes");
  const std::optional<Calibration> calibration = saved_calibration(model);
  const torch::Device device = device_named(request.device);
  const std::shared_ptr<Network> network = model.load_network();
  network->to(device);
  PredictedRows rows(model, request);
  const KnownLabels labels = rows.labels(names);
  const Inputs inputs = model.features.apply(rows.file());
  torch::Tensor probabilities = probabilities_of(*network, inputs, all_rows(rows.rows()), device);
  if (calibration) {
    probabilities = calibration->apply(probabilities);
  } else if (model.description.contains("calibration")) {
    rows.warn("trained without trusted rows: the probabilities are not calibrated");
  }
  Json result{{"command", "predict"},
              {"rows", rows.rows()},
              {"predicted", predicted_counts(probabilities, names)},
              {"out", request.out}};
  std::string text = fmt::format("{} rows, classified; written to {}\n", rows.rows(), request.out);
  if (!labels.rows.empty()) {
    const ClassScores scores =
        class_scores(at_rows(probabilities, labels.rows), classes_at(labels.classes, labels.rows));
    result.update(scores.to_json());
    text += fmt::format("accuracy on their labels: {:.4f}\n", scores.accuracy);
  }
  std::vector<Column> columns = class_columns(probabilities, names);
  const torch::Tensor predicted = probabilities.argmax(1).contiguous();
  const auto* first = predicted.const_data_ptr<int64_t>();
  rows.explain(*network, model.features, inputs, {first, first + predicted.numel()}, columns);
  return rows.finish(std::move(columns), labels, names, std::move(result), text);
}

}  // namespace bilevel
