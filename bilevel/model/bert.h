// A pretrained BERT encoder, evaluated: from tokens to one vector per text.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bilevel {

/// The sizes of a BERT encoder; the names of config.json are those of the usual layout.
struct BertConfig {
  int64_t vocabulary = 0;           ///< vocab_size
  int64_t positions = 512;          ///< max_position_embeddings: the most tokens of a text
  int64_t token_types = 2;          ///< type_vocab_size, of which the first is read
  int64_t hidden = 0;               ///< hidden_size, a multiple of `heads`
  int64_t layers = 0;               ///< num_hidden_layers
  int64_t heads = 1;                ///< num_attention_heads
  int64_t intermediate = 0;         ///< intermediate_size
  double epsilon = 1e-12;           ///< layer_norm_eps
  std::string activation = "gelu";  ///< hidden_act: gelu, gelu_new (its approximation by tanh) or relu

  /// Reads a folder's config.json. Throws InputError, naming the file, where there is none, for a model of another type than
  /// bert, and for sizes that are missing or do not fit each other.
  static BertConfig of_folder(const std::string& folder);
};

/// The encoder of BERT (Devlin et al. 2019), base or any other size, whose layers' vectors are averaged over the tokens, as
/// sentence encoders are trained with the last one (Reimers & Gurevych 2019). float32 on one device; nothing is differentiated.
class Bert {
 public:
  /// @param tensors by their usual names ("embeddings.word_embeddings.weight", ...), with or without "bert." in front; others
  /// are not read, and other floating types become float32. Throws InputError for a tensor that is missing or has another shape.
  Bert(const BertConfig& config, const std::map<std::string, torch::Tensor>& tensors,
       const torch::Device& device = torch::kCPU);

  /// The mean vectors of texts of one length, float32 [texts, layers, hidden]: of the last layer, then of the one before, ...
  /// @param layers 1 to `config().layers`
  /// @param tokens int64 [texts, length] on any device, each below `vocabulary`; 1 <= length <= `positions`.
  /// Cost: about 2 (4 h^2 + 2 h i) multiplications a token and layer, where h is `hidden` and i `intermediate`.
  torch::Tensor mean_vectors(const torch::Tensor& tokens, int64_t layers = 1) const;

  const BertConfig& config() const { return config_; }

 private:
  struct Affine {
    torch::Tensor weight, bias;
    torch::Tensor operator()(const torch::Tensor& x) const;
  };
  struct Layer {
    Affine projections, attended, attended_norm, intermediate, output,
        output_norm;  // projections: q, k and v, joined
  };

  torch::Tensor normalized(const Affine& norm, const torch::Tensor& x) const;
  torch::Tensor attention(const Layer& layer, const torch::Tensor& x) const;
  torch::Tensor activated(const torch::Tensor& x) const;

  BertConfig config_;
  torch::Device device_;
  torch::Tensor words_, places_;  // places: position and token type
  Affine norm_;
  std::vector<Layer> layers_;
};

}  // namespace bilevel
