#include "bilevel/task/auc/auc_predict.h"

#include <fmt/format.h>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"
#include "bilevel/data/classes.h"
#include "bilevel/task/auc/auc_kept.h"
#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/job/predicted_rows.h"

namespace bilevel {

torch::Tensor auc_scores(const torch::Tensor& outputs) {
  const torch::Tensor u = outputs.to(torch::kFloat64);
  return u / (1 + u * u).sqrt();
}

torch::Tensor auc_probabilities(const torch::Tensor& scores) {
  const torch::Tensor s = scores.to(torch::kFloat64);
  const torch::Tensor output = s / (1 - s * s).clamp_min(1e-12).sqrt();
  return torch::stack({torch::sigmoid(-output), torch::sigmoid(output)}, 1);
}

std::vector<Column> auc_columns(const torch::Tensor& scores, double threshold,
                                const std::vector<std::string>& names,
                                const std::optional<Calibration>& calibration) {
  std::vector<Column> columns{
      number_column("score", scores),
      label_column(names, scores.to(torch::kFloat64).ge(threshold).to(torch::kInt64))};
  columns[1].name = "predicted";
  if (calibration) {
    columns.push_back(number_column(fmt::format("p({})", names[1]),
                                    calibration->apply(auc_probabilities(scores)).select(1, 1)));
  }
  return columns;
}

Prediction predict_auc(const PredictRequest& request) {
  const SavedModel saved = model_of(request);
  const auto positive = saved.at<std::string>("positive");
  const auto threshold = saved.at<double>("threshold");
  const std::optional<Calibration> calibration = saved_calibration(saved);
  PredictedRows rows(saved, request);
  if (!calibration)
    rows.warn(
        "the model brings no calibration, as those of earlier versions: there is no column of probabilities");

  // A model of an earlier version does not know what its other rows were called: all that the file has.
  std::vector<std::string> known = saved.description.value("classes", std::vector<std::string>());
  std::vector<std::string> names = auc_class_names(positive, known);
  if (known.empty()) {
    known = rows.label_values();
    known.push_back(positive);
  }
  KnownLabels labels = rows.labels(known);
  const std::optional<int64_t> of_positive = ClassIndex(known).find_loosely(positive);
  for (int64_t& c : labels.classes)
    if (c >= 0) c = c == of_positive ? 1 : 0;

  const Inputs inputs = saved.features.apply(rows.file());
  std::shared_ptr<AucModel> model;
  const torch::Tensor scores = kept_scores(saved, inputs, device_named(request.device), model);
  if (!model && request.explain > 0)
    throw InputError("--explain: not offered for gradient boosting of trees, which the model is");
  const auto called = scores.ge(threshold).sum().item<int64_t>();
  nlohmann::ordered_json result{{"command", "predict"},
                                {"rows", rows.rows()},
                                {"predicted", {{names[0], rows.rows() - called}, {names[1], called}}},
                                {"predicted_positive", called},
                                {"out", request.out}};
  std::string text =
      fmt::format("{} rows, {} called positive; written to {}\n", rows.rows(), called, request.out);
  const torch::Tensor known_classes = classes_at(labels.classes, labels.rows);
  const auto positives = known_classes.sum().item<int64_t>();
  if (positives > 0 && positives < known_classes.numel()) {
    const double measured = auc(ScoredRows(at_rows(scores, labels.rows), known_classes));
    result["auc"] = measured;
    text += fmt::format("AUC on their labels: {:.4f}\n", measured);
  }
  std::vector<Column> columns = auc_columns(scores, threshold, names, calibration);
  if (model) {
    rows.explain(*model->network(), saved.features, inputs,
                 std::vector<int64_t>(static_cast<size_t>(rows.rows()), 0), columns);
  }
  return rows.finish(std::move(columns), labels, names, std::move(result), text);
}

}  // namespace bilevel
