// What a model looks at: how much each input of a row adds to an output.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/data/table_writer.h"
#include "bilevel/task/job/job.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// An input by its number, and its share.
using InputShare = std::pair<int64_t, double>;

/// What the inputs of rows add to a network's outputs. Of several outputs each counts less the mean of all, which a softmax does
/// not notice. An input's share is x_i d(output)/d(x_i), through the matrix that has a row for each input (`Encoder::input_weight`)
/// as <W_i, d(output)/d(W_i)>. Of a linear map that is exactly what the input adds: shares and bias sum up to the output. Of a fixed
/// encoder and of an ensemble (see `EncoderEntry`) it is the output less that with x_i = 0.
class Explainer {
 public:
  /// The network is in evaluation mode from now on. @param device where it lies
  Explainer(Network& network, const torch::Device& device);

  /// Whether the encoder tells which parameters read single inputs.
  bool possible() const { return !matrices_.empty(); }
  /// Whether shares are exact, the network being a linear map.
  bool exact() const { return network_.is_linear_map(); }
  /// Whether shares are by occlusion: fixed features may wave so fast that gradients say nothing, and the members of an ensemble read
  /// codes of the inputs.
  bool occludes() const {
    const EncoderEntry& entry = encoder_registry().at(network_.options().encoder);
    return entry.fixed || entry.ensemble;
  }
  /// "contributions", "occlusion" or "gradient times input".
  std::string method() const {
    return exact() ? "contributions" : occludes() ? "occlusion" : "gradient times input";
  }
  int64_t outputs() const { return network_.options().outputs; }

  /// The inputs of one row with their shares in `output`; those of share 0 may be left out. Cost: a forward and a backward pass;
  /// of a linear map the row's entries.
  std::vector<InputShare> shares(const Inputs& inputs, int64_t row, int64_t output);

  /// Over rows, float64 [width]: the mean size of the shares in an output, and whether more of the input makes the output
  /// larger (1) or smaller (-1). Cost: `shares` for each row; of a linear map one pass over the entries.
  std::pair<torch::Tensor, torch::Tensor> overall(const Inputs& inputs, const std::vector<int64_t>& rows,
                                                  int64_t output);

 private:
  /// [rows]: an output, of several less the mean of all
  torch::Tensor counted(const torch::Tensor& logits, int64_t output) const;
  /// float64 [width], of one row; of a batch
  torch::Tensor by_occlusion(const torch::Tensor& row, int64_t output);
  torch::Tensor through_matrices(const std::vector<torch::Tensor>& inputs, int64_t output);
  /// float64 [width]: of a linear map
  const torch::Tensor& weights_of(int64_t output);

  Network& network_;
  torch::Device device_;
  std::vector<torch::Tensor> matrices_;  // [width, any]
  std::map<int64_t, torch::Tensor> weights_;
};

/// What a model is explained by.
struct ExplainedModel {
  Network& network;
  const Inputs& inputs;
  const std::vector<int64_t>& rows;  ///< training rows, of which a sample is looked at
  std::vector<std::string> input_names;
  std::vector<std::string> outputs;  ///< what each stands for
  torch::Device device;
};

/// Names of the inputs, from a sample of the given training rows where names come from texts (see `Features::names`).
std::vector<std::string> explained_names(const Features& features, const JobFiles& files,
                                         const std::vector<int64_t>& rows);

/// Writes explain.tsv into the job's folder: class, input, direction (+: more of it speaks for the class), effect (the mean size of
/// what it adds), the strongest first, at most 200 a class. The summary gets "explanation": {method, rows, classes: {NAME:
/// [[input, effect with the direction's sign, and "+-" where it has none], ... 24]}}; null where the encoder does not tell of single inputs.
void explain_model(const JobContext& context, const ExplainedModel& model, nlohmann::ordered_json& summary);

/// That as the content of a report's section; empty for null.
std::string explanation_markup(const nlohmann::ordered_json& summary);

/// For a table of predictions: what speaks most for and against the output of each row, "free (+1.2), call (-0.3)", `most` inputs at
/// most; called by `Explainer::method`. Throws InputError where the encoder does not tell of single inputs.
/// @param outputs per row
Column explanation_column(Explainer& explainer, const Inputs& inputs, const std::vector<std::string>& names,
                          const std::vector<int64_t>& outputs, int64_t most);

}  // namespace bilevel
