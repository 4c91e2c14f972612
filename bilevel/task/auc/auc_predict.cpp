#include <fmt/format.h>

#include <optional>

#include "bilevel/data/labels.h"
#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {

std::vector<Column> score_columns(const torch::Tensor& scores, double threshold) {
  return {number_column("score", scores),
          number_column("predicted", scores.to(torch::kFloat64).ge(threshold))};
}

Prediction predict_auc(const PredictRequest& request) {
  const SavedModel saved = load_model(request.model);
  AucModel model(saved.network, saved.features.shape(), AucLoss{}, 0, 0, torch::kCPU);
  model.load(saved.tensors);
  const auto positive = saved.at<std::string>("positive"), label = saved.at<std::string>("label");
  const auto threshold = saved.at<double>("threshold");
  const DataFile file = read_input(saved, request.input, request.read);
  const int64_t rows = rows_of(file);
  const torch::Tensor scores =
      model.scores(saved.features.apply(file), all_rows(rows)).to(torch::kFloat64).contiguous();
  const std::optional<BinaryLabels> labels = std::holds_alternative<Table>(file)
                                                 ? find_labels(std::get<Table>(file), label, positive)
                                                 : find_labels(std::get<SparseTable>(file), positive);
  std::vector<Column> columns = score_columns(scores, threshold);
  columns.insert(columns.begin(), row_column(rows));
  torch::Tensor is_positive;
  if (labels) {
    is_positive = torch::tensor(std::vector<int64_t>(labels->is_positive.begin(), labels->is_positive.end()),
                                torch::kInt64);
    columns.push_back(number_column("label", is_positive));
  }
  write_tsv(request.out, columns);
  const auto predicted = scores.ge(threshold).sum().item<int64_t>();
  nlohmann::ordered_json result{
      {"command", "predict"}, {"rows", rows}, {"predicted_positive", predicted}, {"out", request.out}};
  std::string text =
      fmt::format("{} rows, {} called positive; written to {}\n", rows, predicted, request.out);
  if (labels && labels->positives > 0 && labels->positives < labels->rows()) {
    const double measured = auc(ScoredRows(scores, is_positive));
    result["auc"] = measured;
    text += fmt::format("AUC on their labels: {:.4f}\n", measured);
  }
  return {result, text};
}

}  // namespace bilevel
