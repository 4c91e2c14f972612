#include "bilevel/model/bert.h"

#include <fmt/format.h>
#include <torch/utils.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"

namespace bilevel {
namespace {

/// Tensors by name, each of the shape that is asked for.
class BertTensors {
 public:
  BertTensors(const std::map<std::string, torch::Tensor>& all, const torch::Device& device)
      : all_(all),
        device_(device),
        prefix_(all.contains("bert.embeddings.word_embeddings.weight") ? "bert." : "") {}

  torch::Tensor take(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto found = all_.find(prefix_ + name);
    if (found == all_.end()) throw InputError(fmt::format("the tensor {}{} is missing", prefix_, name));
    if (found->second.sizes() != shape || !found->second.is_floating_point()) {
      throw InputError(fmt::format("the tensor {}{} has the shape {}, not {}", prefix_, name,
                                   c10::str(found->second.sizes()), c10::str(at::IntArrayRef(shape))));
    }
    return found->second.to(device_, torch::kFloat32).contiguous();
  }

 private:
  const std::map<std::string, torch::Tensor>& all_;
  torch::Device device_;
  std::string prefix_;
};

}  // namespace

BertConfig BertConfig::of_folder(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "config.json").string();
  if (!std::filesystem::exists(path)) throw InputError(fmt::format("{}: there is no config.json", folder));
  BertConfig config;
  try {
    const nlohmann::json given = nlohmann::json::parse(read_file(path));
    if (const std::string type = given.value("model_type", ""); type != "bert")
      throw InputError(fmt::format("{}: the model is of type '{}'; only 'bert' is read", path, type));
    if (const std::string kind = given.value("position_embedding_type", "absolute"); kind != "absolute")
      throw InputError(
          fmt::format("{}: position_embedding_type is '{}'; only 'absolute' is read", path, kind));
    config.vocabulary = given.at("vocab_size");
    config.positions = given.at("max_position_embeddings");
    config.token_types = given.at("type_vocab_size");
    config.hidden = given.at("hidden_size");
    config.layers = given.at("num_hidden_layers");
    config.heads = given.at("num_attention_heads");
    config.intermediate = given.at("intermediate_size");
    config.epsilon = given.value("layer_norm_eps", config.epsilon);
    config.activation = given.value("hidden_act", config.activation);
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("{}: is not the configuration of a BERT encoder: {}", path, error.what()));
  }
  for (const int64_t size : {config.vocabulary, config.positions, config.token_types, config.hidden,
                             config.layers, config.heads, config.intermediate}) {
    if (size < 1) throw InputError(fmt::format("{}: a size is {}; all must be at least 1", path, size));
  }
  if (config.hidden % config.heads != 0)
    throw InputError(fmt::format("{}: hidden_size {} is no multiple of num_attention_heads {}", path,
                                 config.hidden, config.heads));
  if (config.activation != "gelu" && config.activation != "gelu_new" && config.activation != "relu")
    throw InputError(
        fmt::format("{}: hidden_act is '{}'; gelu, gelu_new and relu are read", path, config.activation));
  return config;
}

Bert::Bert(const BertConfig& config, const std::map<std::string, torch::Tensor>& tensors,
           const torch::Device& device)
    : config_(config), device_(device) {
  const BertTensors given(tensors, device);
  const int64_t h = config.hidden, i = config.intermediate;
  const auto affine = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    return Affine{given.take(name + ".weight", {outputs, inputs}), given.take(name + ".bias", {outputs})};
  };
  const auto norm = [&](const std::string& name) {
    return Affine{given.take(name + ".weight", {h}), given.take(name + ".bias", {h})};
  };
  words_ = given.take("embeddings.word_embeddings.weight", {config.vocabulary, h});
  places_ = given.take("embeddings.position_embeddings.weight", {config.positions, h}) +
            given.take("embeddings.token_type_embeddings.weight", {config.token_types, h})[0];
  norm_ = norm("embeddings.LayerNorm");
  for (int64_t number = 0; number < config.layers; ++number) {
    const std::string layer = fmt::format("encoder.layer.{}.", number);
    const Affine query = affine(layer + "attention.self.query", h, h),
                 key = affine(layer + "attention.self.key", h, h),
                 value = affine(layer + "attention.self.value", h, h);
    layers_.push_back({.projections = {torch::cat({query.weight, key.weight, value.weight}),
                                       torch::cat({query.bias, key.bias, value.bias})},
                       .attended = affine(layer + "attention.output.dense", h, h),
                       .attended_norm = norm(layer + "attention.output.LayerNorm"),
                       .intermediate = affine(layer + "intermediate.dense", i, h),
                       .output = affine(layer + "output.dense", h, i),
                       .output_norm = norm(layer + "output.LayerNorm")});
  }
}

torch::Tensor Bert::Affine::operator()(const torch::Tensor& x) const { return at::linear(x, weight, bias); }

torch::Tensor Bert::normalized(const Affine& norm, const torch::Tensor& x) const {
  return at::layer_norm(x, {config_.hidden}, norm.weight, norm.bias, config_.epsilon);
}

torch::Tensor Bert::attention(const Layer& layer, const torch::Tensor& x) const {
  const int64_t texts = x.size(0), length = x.size(1);
  const torch::Tensor parts = layer.projections(x)
                                  .view({texts, length, 3, config_.heads, config_.hidden / config_.heads})
                                  .permute({2, 0, 3, 1, 4});  // [3, texts, heads, length, hidden / heads]
  return at::scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2).reshape(x.sizes());
}

torch::Tensor Bert::activated(const torch::Tensor& x) const {
  if (config_.activation == "relu") return at::relu(x);
  return at::gelu(x, config_.activation == "gelu" ? "none" : "tanh");
}

torch::Tensor Bert::mean_vectors(const torch::Tensor& tokens, int64_t layers) const {
  const torch::NoGradGuard no_grad;
  const torch::Tensor there = tokens.to(device_);
  torch::Tensor x = normalized(norm_, at::embedding(words_, there) + places_.slice(0, 0, there.size(1)));
  std::vector<torch::Tensor> means;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    x = normalized(layer.attended_norm, layer.attended(attention(layer, x)) + x);
    x = normalized(layer.output_norm, layer.output(activated(layer.intermediate(x))) + x);
    if (static_cast<int64_t>(layers_.size() - i) <= layers) means.insert(means.begin(), x.mean(1));
  }
  return torch::stack(means, 1);
}

}  // namespace bilevel
