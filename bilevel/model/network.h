// A complete model by name: an encoder and the linear head that turns its features into outputs.
#pragma once

#include <torch/nn/modules/linear.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"
#include "bilevel/model/encoder.h"

namespace bilevel {

/// In which numbers encoders compute.
enum class Precision {
  float32,
  /// LibTorch's autocast inside `Network::encode`: matrix products and recurrent layers take their operands rounded to
  /// bfloat16 (8 bits of fraction) and accumulate in float32. Parameters, features, gradients and everything else stay
  /// float32. Linear encoders, ensembles and parameters in float64 are not affected.
  bf16,
};
template <>
struct NamesOf<Precision> {
  static constexpr const char* value[] = {"float32", "bf16"};
};

/// Which network.
struct NetworkOptions {
  std::string encoder{};  ///< a name of `encoder_registry()`
  int64_t outputs = 1;    ///< logits per row
  nlohmann::json set =
      nlohmann::json::object();              ///< options of the encoder by name; its defaults for the others
  Precision precision = Precision::float32;  ///< how it is trained; no part of what is saved

  /// Sets an option of the encoder from text such as "pooling=mean". Throws InputError.
  void set_text(const std::string& assignment);
  /// Sets an option of the encoder, where it has that one.
  void prefer(const std::string& option, const nlohmann::json& value);

  bool operator==(const NetworkOptions&) const = default;
};

/// `options` with every option set that the encoder has. Throws InputError as `prepared_encoder` does, and for less
/// than one output. Applying it twice changes nothing.
NetworkOptions resolved(const NetworkOptions& options, const InputShape& input);

/// One JSON object: encoder, outputs and the options that are set. `from_json` throws nlohmann::json::exception for
/// a missing encoder or outputs that are no number.
void to_json(nlohmann::json& json, const NetworkOptions& options);
void from_json(const nlohmann::json& json, NetworkOptions& options);

/// What a parameter of a network is for.
enum class WeightKind {
  other,    ///< no matrix: a bias, a norm
  vectors,  ///< vectors of tokens
  direct,   ///< from the inputs to the outputs, [width, outputs]: of a linear encoder, or the linear skip
  input,    ///< any other `Encoder::input_weight`
  hidden,   ///< any other matrix of an encoder
  head,     ///< [outputs, features], also of a member of an ensemble
};

/// An encoder and a head. Linear encoders give the outputs directly, and ensembles those of their members: the head then has no
/// parameters. With a linear skip the features end with the skip's `outputs` columns, which the head
/// adds unchanged.
class Network : public torch::nn::Module {
 public:
  /// See `make_network`.
  Network(const NetworkOptions& options, const InputShape& input);

  /// Logits [B, outputs] = head(encode(inputs)).
  torch::Tensor forward(const std::vector<torch::Tensor>& inputs);

  /// [B, features] of a batch; [B, outputs] of features.
  torch::Tensor encode(const std::vector<torch::Tensor>& inputs);
  torch::Tensor head(const torch::Tensor& features);

  /// Of an ensemble what each member gives, [B, members, outputs], whose mean by shares `head` is; else what `head` gives as one.
  torch::Tensor members(const torch::Tensor& features);
  /// `Encoder::multiplications`.
  double multiplications() const { return encoder_->multiplications(); }
  /// Of an ensemble how much each member counts, [members]; else undefined.
  const torch::Tensor& shares() const { return shares_; }
  int64_t members() const { return shares_.defined() ? shares_.numel() : 1; }

  /// Parameters that `encode` reads, and those that `head` reads (none for linear encoders and ensembles).
  std::vector<torch::Tensor> encoder_parameters() const;
  std::vector<torch::Tensor> head_parameters() const;

  /// Of one of the two.
  WeightKind kind_of(const torch::Tensor& parameter) const;

  /// Those that have one row for each input, as far as encoder and skip tell of them (`Encoder::input_matrix`).
  std::vector<torch::Tensor> input_matrices() const;

  /// Whether it is W'a + b for rows a and nothing else: its parameters are then W [width, outputs] and b [outputs].
  bool is_linear_map() const;

  /// See `Encoder`. Throws InputError for an encoder that has no second derivatives.
  void set_twice_differentiable(bool on);

  /// The options with all defaults filled in, and the input without its pretrained vectors: what rebuilds the
  /// network.
  const NetworkOptions& options() const { return options_; }
  const InputShape& input() const { return input_; }

 private:
  torch::Tensor encoded(const std::vector<torch::Tensor>& inputs);

  NetworkOptions options_;
  InputShape input_;
  std::shared_ptr<Encoder> encoder_;
  std::shared_ptr<Encoder> skip_;    // null without a linear skip
  torch::nn::Linear head_{nullptr};  // null if the encoder gives the outputs
  torch::Tensor shares_;             // of the members of an ensemble; else undefined
};

/// Builds the network in LibTorch's default dtype on the CPU (`to` moves it). All random initial values come
/// from LibTorch's default generator, which the caller seeds; the weights of linear encoders and of the linear
/// skip start at zero. Throws InputError as `resolved` does.
std::shared_ptr<Network> make_network(const NetworkOptions& options, const InputShape& input);

}  // namespace bilevel
