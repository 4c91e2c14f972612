#include <fmt/format.h>

#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/meta/meta_setup.h"

namespace bilevel {

Prediction predict_meta(const PredictRequest& request) {
  const SavedModel saved = load_model(request.model);
  const MetaModelOptions options{.network = saved.network,
                                 .head = value_named<HeadKind>(saved.at<std::string>("head"), "head"),
                                 .pair = saved.at<bool>("pair"),
                                 .l2 = saved.at<double>("l2")};
  const auto label = saved.at<std::string>("label");
  const auto known = saved.at<std::vector<std::string>>("classes");
  MetaModel model(options, saved.features.shape(), static_cast<int64_t>(known.size()), 0, torch::kCPU);
  model.load(saved.tensors);

  const auto read = [&](const std::string& path) { return read_input(saved, path, request.read); };
  const auto inputs_of = [&](const DataFile& file) {
    return meta_rows(saved.features, {&file}, options.pair, saved.features.apply(file));
  };
  const DataFile labelled = read(request.shots);
  const ClassLabels classes = std::visit(
      [&](const auto& file) {
        if constexpr (std::is_same_v<std::decay_t<decltype(file)>, Table>) {
          const size_t column = file.column(label);
          return model.shared() ? read_classes(file, column, known, "the model") : read_classes(file, column);
        } else {
          return model.shared() ? read_classes(file, known, "the model") : read_classes(file);
        }
      },
      labelled);
  const DataFile file = read(request.input);
  const MetaRows rows = inputs_of(file);
  const auto count = static_cast<int64_t>(classes.names.size());
  const torch::Tensor probabilities = torch::softmax(
      model
          .adapted_scores(inputs_of(labelled), classes.classes, count, rows, saved.at<int64_t>("adapt_steps"))
          .to(torch::kFloat64),
      1);
  const std::optional<ClassLabels> truth = find_classes(file, label, classes.names, request.shots);
  nlohmann::ordered_json result = write_class_predictions(request.out, probabilities, classes.names, truth);
  result["shots"] = classes.rows();
  result["classes"] = classes.names;
  result["mean_probability"] = probabilities.amax(1).mean().item<double>();
  if (truth)
    result["accuracy"] = class_scores(probabilities, torch::tensor(truth->classes, torch::kInt64)).accuracy;
  result["warnings"] = nlohmann::ordered_json::array();
  result["notes"] = nlohmann::ordered_json::array({kUncalibrated});
  std::string text = fmt::format("adapted to {} rows of {} classes; {} rows classified, written to {}\n",
                                 classes.rows(), count, probabilities.size(0), request.out);
  if (truth) {
    text +=
        fmt::format("accuracy on their labels: {:.4f}, mean probability of the predicted classes: {:.4f}\n",
                    result["accuracy"].get<double>(), result["mean_probability"].get<double>());
  }
  return {result, text + kUncalibrated + "\n"};
}

}  // namespace bilevel
