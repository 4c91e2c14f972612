// A BERT encoder of a few made weights, which a test can compute elsewhere too.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/core/files.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/model/bert.h"

namespace bilevel {

inline BertConfig tiny_bert_config() {
  return {.vocabulary = 12, .positions = 16, .hidden = 8, .layers = 2, .heads = 2, .intermediate = 12};
}

/// Its weights: entry j of the n-th tensor by name is sin(.37 j^2 + n + `phase`).
inline std::map<std::string, torch::Tensor> tiny_bert_tensors(const BertConfig& c, double phase = 0) {
  std::map<std::string, std::vector<int64_t>> shapes{
      {"embeddings.word_embeddings.weight", {c.vocabulary, c.hidden}},
      {"embeddings.position_embeddings.weight", {c.positions, c.hidden}},
      {"embeddings.token_type_embeddings.weight", {c.token_types, c.hidden}}};
  const auto affine = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    shapes[name + ".weight"] =
        inputs > 0 ? std::vector<int64_t>{outputs, inputs} : std::vector<int64_t>{outputs};
    shapes[name + ".bias"] = {outputs};
  };
  affine("embeddings.LayerNorm", c.hidden, 0);
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = "encoder.layer." + std::to_string(i) + ".";
    for (const char* part :
         {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"})
      affine(layer + part, c.hidden, c.hidden);
    affine(layer + "intermediate.dense", c.intermediate, c.hidden);
    affine(layer + "output.dense", c.hidden, c.intermediate);
    affine(layer + "attention.output.LayerNorm", c.hidden, 0);
    affine(layer + "output.LayerNorm", c.hidden, 0);
  }
  std::map<std::string, torch::Tensor> tensors;
  double n = phase;
  for (const auto& [name, shape] : shapes) {
    int64_t entries = 1;
    for (const int64_t size : shape) entries *= size;
    const torch::Tensor j = torch::arange(entries, torch::kFloat64);
    tensors[name] = (0.37 * j * j + n).sin().to(torch::kFloat32).view(shape);
    n += 1;
  }
  return tensors;
}

inline nlohmann::json tiny_bert_json(const BertConfig& c) {
  return {{"model_type", "bert"},
          {"vocab_size", c.vocabulary},
          {"max_position_embeddings", c.positions},
          {"type_vocab_size", c.token_types},
          {"hidden_size", c.hidden},
          {"num_hidden_layers", c.layers},
          {"num_attention_heads", c.heads},
          {"intermediate_size", c.intermediate},
          {"hidden_act", c.activation}};
}

/// A folder with that encoder, which reads a few words of `rows_of_eight_classes` and letters, and makes vectors of length 1.
inline std::string write_tiny_encoder(const std::filesystem::path& folder, double phase = 0) {
  std::filesystem::create_directories(folder / "1_Pooling");
  const BertConfig config = tiny_bert_config();
  const auto write = [&](const char* name, const std::string& bytes) {
    write_file_atomically((folder / name).string(), bytes);
  };
  write("config.json", tiny_bert_json(config).dump());
  write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nwords\nof\nspam\nha\n##m\nnews\nwork\n");
  write("modules.json",
        R"([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"},
            {"path": "2", "type": "a.Normalize"}])");
  write("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false})");
  save_safetensors((folder / "model.safetensors").string(), tiny_bert_tensors(config, phase));
  return folder.string();
}

}  // namespace bilevel
