// What every model that turns a batch of inputs into feature vectors looks like. Encoders know no solver, no
// task and no file. A new one is a folder bilevel/model/encoder/<name>/ whose <name>.cpp defines
// `EncoderEntry <name>_entry()`.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"
#include "bilevel/core/names.h"
#include "bilevel/core/registry.h"

namespace bilevel {

/// How a batch of B inputs is laid out in tensors:
/// - `tokens`: {ids [B,T] int64, padded at the end of a row with 0; lengths [B] int64, each in [0,T]};
/// - `dense`:  {x [B,d], floating point};
/// - `sparse`: {indices [nnz] int64 in [0,d); values [nnz], floating point; offsets [B+1] int64}: compressed
/// sparse rows,
///   row i holds the entries offsets[i] .. offsets[i+1]-1. Indices may repeat within a row (their values add
///   up).
enum class InputKind { tokens, dense, sparse };

template <>
struct NamesOf<InputKind> {
  static constexpr const char* value[] = {"tokens", "dense", "sparse"};
};

/// What a network reads. `width`: for tokens the vocabulary size (padding included), for dense and sparse the
/// columns.
struct InputShape {
  InputKind kind = InputKind::dense;
  int64_t width = 0;
  torch::Tensor pretrained{};  ///< optional, tokens only: token vectors [width, any], any floating dtype
  /// Dense only: the columns of numbers with more than two values, one for each number, ascending; the others are 0 or 1, or the same
  /// number on another scale. Absent: all.
  std::optional<std::vector<int64_t>> numbers{};
};

/// {"kind": ..., "width": ..., "numbers": ... where they are known}; the pretrained vectors are not part of it (a saved model's weights hold
/// them).
void to_json(nlohmann::json& json, const InputShape& input);
void from_json(const nlohmann::json& json, InputShape& input);

/// What the inputs of an encoder are made from.
enum class Reads {
  columns,  ///< numbers and categories of a table
  ngrams,   ///< the hashed n-grams of a text
  words,    ///< the words of a text, in their order
};

/// A module that maps a batch of inputs to one feature vector per row. Computes in the dtype of its
/// parameters (float32 or float64) on their device. No copy of a parameter outlives a call, so parameters may
/// be re-pointed at any time (`set_data`), for instance to views of one flat buffer.
class Encoder : public torch::nn::Module {
 public:
  /// Its options, bound to variables that hold the defaults, with the rules on single values. None is called
  /// `encoder` or `outputs`.
  virtual void fields(Fields&) {}

  /// Sets what is not given and follows from the input. Throws InputError where options contradict each other
  /// or the input. Applying it twice changes nothing.
  virtual void resolve(const InputShape&) {}

  /// Makes the parameters, once, of options that are resolved: in LibTorch's default dtype on the CPU, random
  /// values from LibTorch's default generator. `outputs`: logits per row, which are the features of a linear
  /// encoder.
  virtual void build(const InputShape& input, int64_t outputs) = 0;

  /// [B, features()] from the tensors of one input kind. A row's result does not depend on the other rows or
  /// on padding (dropout aside); a row without entries gives what zeros give, a row without tokens zeros,
  /// never NaN.
  virtual torch::Tensor forward(const std::vector<torch::Tensor>& inputs) = 0;

  /// Width of the result.
  virtual int64_t features() const = 0;

  /// The parameter that has one row for each input, [width, any]: row i multiplies column i, or is the vector of token i.
  /// Undefined where there is none (or it is frozen): then nothing can be told of single inputs, as `tune` does.
  virtual torch::Tensor input_weight() const { return {}; }

  /// The same, of what is frozen too.
  virtual torch::Tensor input_matrix() const { return input_weight(); }

  /// Multiplications that a row takes in a forward pass; 0: about one for each number in the parameters.
  virtual double multiplications() const { return 0; }

  /// Of an ensemble: how much each member counts in the output, together 1. The features are member by member.
  virtual std::vector<double> shares() const { return {1}; }

  /// Of an ensemble: the parameter in which a member is linear; undefined where there is none.
  virtual torch::Tensor head_weight() const { return {}; }

  /// Whether the network adds a linear map of the input, zero at first, to the outputs.
  virtual bool linear_skip() const { return false; }

  /// Chooses between the fast kernels (false, the default) and kernels that are made for differentiating
  /// twice (true). The values are the same up to rounding.
  void set_twice_differentiable(bool on) { twice_differentiable_ = on; }
  bool twice_differentiable() const { return twice_differentiable_; }

 private:
  bool twice_differentiable_ = false;
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
  /// Whether its features have no parameters: a loss that is convex in the outputs is then convex in the weights of the head.
  bool fixed = false;
  /// Whether its features are the outputs of the members of an ensemble (`Encoder::shares`): the network then has no head, gives their
  /// mean, and a task may train each member on its own loss.
  bool ensemble = false;
  /// Whether its features are the input at first, so that few steps do.
  bool starts_at_input = false;
  /// Whether it has second derivatives in its parameters, once `set_twice_differentiable(true)` is called.
  bool twice_differentiable = true;
  /// Whether it trains well with small steps only, of a half or a third of what others bear.
  bool delicate = false;
  /// With its default options, before `build`.
  std::function<std::shared_ptr<Encoder>()> make = nullptr;
};

/// All encoders: the folders of bilevel/model/encoder/, and those that a program adds.
Registry<EncoderEntry>& encoder_registry();

/// "bag, gru or linear": the names of those that fit, for messages.
std::string encoder_names(const std::function<bool(const EncoderEntry&)>& fits);

/// An encoder before `build`, with its options `set` (an object: name -> value) and resolved. Throws InputError
/// naming field and value for an unknown encoder, an input that it does not read, an option that it does not
/// have, or an impossible value.
std::shared_ptr<Encoder> prepared_encoder(const std::string& name, const nlohmann::json& set,
                                          const InputShape& input);

}  // namespace bilevel
