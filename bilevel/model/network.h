// A complete model by name: an encoder and the linear head that turns its features into outputs.
#pragma once

#include <torch/nn/modules/linear.h>

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/registry.h"
#include "bilevel/model/encoder.h"

namespace bilevel {

/// What the inputs of an encoder are made from.
enum class Reads {
  columns,  ///< numbers and categories of a table
  ngrams,   ///< the hashed n-grams of a text
  words,    ///< the words of a text, in their order
};

/// What the network reads. `width`: for tokens the vocabulary size (padding included), for dense and sparse
/// the columns.
struct InputShape {
  InputKind kind = InputKind::dense;
  int64_t width = 0;
  torch::Tensor
      pretrained{};  ///< optional, tokens only: token vectors [width, embedding_size], any floating dtype
};

/// Which network. A field that is not set takes the default of the encoder; a field that is set although the
/// encoder does not have it is an error. Defaults, where an encoder has the field:
/// - rnn, lstm, gru: hidden 128, layers 1, bidirectional false, pooling max;
/// - transformer: hidden 128, layers 2, heads 4, feed_forward 4, positions learned;
/// - these four: embedding_size 128 (with pretrained vectors: their width), freeze_embedding true with
/// pretrained vectors
///   and false without, max_length 256, dropout 0.1, token_mean false;
/// - mlp: hidden 128, layers 2, activation gelu, linear_skip true, dropout 0.1;
/// - linear, bag: none.
struct NetworkOptions {
  std::string encoder{};                    ///< a name of `encoder_registry()`
  int64_t outputs = 1;                      ///< logits per row
  std::optional<int64_t> hidden{};          ///< width of the encoder
  std::optional<int64_t> layers{};          ///< depth of the encoder
  std::optional<int64_t> embedding_size{};  ///< width of the token vectors
  std::optional<bool> freeze_embedding{};   ///< token vectors stay as they are (no parameters)
  std::optional<int64_t> max_length{};      ///< tokens of a row after this many are ignored
  std::optional<double> dropout{};          ///< in [0,1)
  std::optional<bool> bidirectional{};      ///< recurrent: read backward as well
  std::optional<std::string> pooling{};     ///< recurrent: max, mean or last
  std::optional<int64_t> heads{};           ///< transformer: attention heads; must divide hidden
  std::optional<int64_t>
      feed_forward{};  ///< transformer: width of the feed-forward part, in multiples of hidden
  std::optional<std::string> positions{};   ///< transformer: learned or sinusoidal
  std::optional<bool> token_mean{};         ///< tokens: the mean token vector is part of the features
  std::optional<std::string> activation{};  ///< mlp: gelu, silu, tanh or relu
  std::optional<bool> linear_skip{};  ///< mlp: add a linear map of the input, zero at first, to the outputs

  bool operator==(const NetworkOptions&) const = default;
};

/// One encoder, with the traits that jobs go by.
struct EncoderEntry {
  std::string name;
  std::string summary;  ///< one line
  Reads reads = Reads::columns;
  std::vector<InputKind> inputs = {};  ///< the layouts that it reads
  /// Whether its features are the outputs and linear in its parameters: the network then has no head, its weights start at
  /// zero, and a loss that is convex in the outputs is convex in the weights.
  bool linear = false;
  /// Whether it has second derivatives in its parameters, once `set_twice_differentiable(true)` is called.
  bool twice_differentiable = true;
  /// Whether it trains well with small steps only, of a half or a third of what others bear.
  bool delicate = false;
  /// The values that unset fields of `NetworkOptions` take; what stays unset is not a field of the encoder.
  std::function<NetworkOptions(const InputShape& input)> defaults = nullptr;
  /// The module, with every field set that it has.
  std::function<std::shared_ptr<Encoder>(const NetworkOptions& options, const InputShape& input)> make =
      nullptr;
};

/// All encoders: bag, linear, mlp, rnn, lstm, gru, transformer, and those that a program adds.
Registry<EncoderEntry>& encoder_registry();

/// `options` with every field set that the encoder has. Throws InputError naming field and value for an
/// unknown encoder, an input kind that it does not read, a field that it does not have, or an impossible
/// value. Applying it twice changes nothing.
NetworkOptions resolved(const NetworkOptions& options, const InputShape& input);

/// The set fields as a JSON object, and back. `from_json` throws nlohmann::json::exception for a missing
/// encoder or a wrong type, and InputError for an unknown key.
void to_json(nlohmann::json& json, const NetworkOptions& options);
void from_json(const nlohmann::json& json, NetworkOptions& options);

/// {"kind": ..., "width": ...}; the pretrained vectors are not part of it (a saved model's weights hold
/// them).
void to_json(nlohmann::json& json, const InputShape& input);
void from_json(const nlohmann::json& json, InputShape& input);

/// An encoder and a head. The encoders `linear` and `bag` give the outputs directly: then features are
/// outputs, and the head has no parameters. With a linear skip the features end with the skip's `outputs`
/// columns, which the head adds unchanged.
class Network : public torch::nn::Module {
 public:
  /// See `make_network`.
  Network(const NetworkOptions& options, const InputShape& input);

  /// Logits [B, outputs] = head(encode(inputs)).
  torch::Tensor forward(const std::vector<torch::Tensor>& inputs);

  /// [B, features] of a batch; [B, outputs] of features.
  torch::Tensor encode(const std::vector<torch::Tensor>& inputs);
  torch::Tensor head(const torch::Tensor& features);

  /// Parameters that `encode` reads, and those that `head` reads (none for linear and bag).
  std::vector<torch::Tensor> encoder_parameters() const;
  std::vector<torch::Tensor> head_parameters() const;

  /// See `Encoder`. Throws InputError for an encoder that has no second derivatives.
  void set_twice_differentiable(bool on);
  std::string twice_differentiable_note() const;

  /// The options with all defaults filled in, and the input without its pretrained vectors: what rebuilds the
  /// network.
  const NetworkOptions& options() const { return options_; }
  const InputShape& input() const { return input_; }

 private:
  NetworkOptions options_;
  InputShape input_;
  std::shared_ptr<Encoder> encoder_;
  std::shared_ptr<Encoder> skip_;    // null without a linear skip
  torch::nn::Linear head_{nullptr};  // null if the encoder gives the outputs
};

/// Builds the network in LibTorch's default dtype on the CPU (`to` moves it). All random initial values come
/// from LibTorch's default generator, which the caller seeds; the weights of `linear`, `bag` and the linear
/// skip start at zero. Throws InputError as `resolved` does.
std::shared_ptr<Network> make_network(const NetworkOptions& options, const InputShape& input);

}  // namespace bilevel
