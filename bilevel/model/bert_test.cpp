#include "bilevel/model/bert.h"

#include <gtest/gtest.h>

#include "bilevel/core/error.h"
#include "tests/support.h"
#include "tests/tiny_bert.h"

namespace bilevel {
namespace {

using torch::Tensor;

// The mean of the last hidden states of `transformers` 5.24 (BertModel, float32) with the same weights.
struct Reference {
  std::string activation;
  std::vector<std::vector<double>> means;
};
const Reference kReferences[] = {
    {"gelu",
     {{1.47581, 0.898904, 1.74473, -1.282006, 1.083918, -0.568025, 0.777438, 1.954417},
      {1.476765, 0.901015, 1.786421, -1.295714, 1.002523, -0.611017, 0.760488, 1.908608},
      {1.382984, 0.914066, 1.79201, -1.326879, 1.079723, -0.556249, 0.757497, 1.906176},
      {1.60041, 0.878241, 1.71279, -1.231862, 0.989412, -0.647539, 0.783959, 1.961609}}},
    {"gelu_new",
     {{1.475785, 0.898866, 1.744798, -1.282006, 1.083937, -0.568147, 0.777409, 1.954403},
      {1.476797, 0.900972, 1.786485, -1.295686, 1.002526, -0.611207, 0.760477, 1.908592},
      {1.38295, 0.91403, 1.792077, -1.326889, 1.07971, -0.55639, 0.757471, 1.906165},
      {1.600394, 0.878205, 1.712887, -1.231849, 0.989425, -0.647729, 0.783934, 1.961565}}},
    {"relu",
     {{1.448706, 0.897137, 1.73987, -1.240379, 1.095671, -0.599058, 0.781425, 2.07815},
      {1.430949, 0.899567, 1.781201, -1.25756, 1.04659, -0.623805, 0.764151, 2.04058},
      {1.365242, 0.909766, 1.785999, -1.27324, 1.100699, -0.587666, 0.76237, 2.049176},
      {1.549836, 0.881084, 1.709277, -1.204617, 1.010955, -0.648304, 0.784331, 2.081391}}}};

const std::vector<int64_t> kFour{2, 5, 7, 3}, kTwoTexts{2, 3, 11, 4}, kEight{2, 9, 8, 1, 6, 10, 4, 3};

TEST(Bert, MeansAreThoseOfTheReference) {
  for (const auto& [activation, means] : kReferences) {
    BertConfig config = tiny_bert_config();
    config.activation = activation;
    const Bert bert(config, tiny_bert_tensors(config));
    const Tensor found = torch::cat({bert.mean_vectors(torch::tensor(kFour).view({1, 4})).squeeze(1),
                                     bert.mean_vectors(torch::tensor(kTwoTexts).view({2, 2})).squeeze(1),
                                     bert.mean_vectors(torch::tensor(kEight).view({1, 8})).squeeze(1)});
    ASSERT_EQ(found.sizes(), (std::vector<int64_t>{4, 8}));
    EXPECT_EQ(found.scalar_type(), torch::kFloat32);
    for (int64_t row = 0; row < 4; ++row) {
      const Tensor expected = torch::tensor(means[static_cast<size_t>(row)]);
      EXPECT_LT(distance(found[row], expected), 5e-6) << activation << ", text " << row;
    }
  }
}

TEST(Bert, MeansOfEarlierLayersFollowThoseOfTheLast) {
  const BertConfig config = tiny_bert_config();
  BertConfig shorter = config;
  shorter.layers = config.layers - 1;
  const auto tensors = tiny_bert_tensors(config);
  const Tensor tokens = torch::tensor(kEight).view({1, 8});
  const Tensor found = Bert(config, tensors).mean_vectors(tokens, 2);
  ASSERT_EQ(found.sizes(), (std::vector<int64_t>{1, 2, 8}));
  EXPECT_TRUE(found.select(1, 0).equal(Bert(config, tensors).mean_vectors(tokens).select(1, 0)));
  EXPECT_TRUE(found.select(1, 1).equal(Bert(shorter, tensors).mean_vectors(tokens).select(1, 0)));
}

TEST(Bert, TensorsMayHaveAPrefixAndOtherTypes) {
  const BertConfig config = tiny_bert_config();
  const auto plain = tiny_bert_tensors(config);
  std::map<std::string, Tensor> prefixed;
  for (const auto& [name, tensor] : plain) prefixed["bert." + name] = tensor.to(torch::kFloat64);
  const Tensor tokens = torch::tensor(kFour).view({1, 4});
  EXPECT_TRUE(Bert(config, prefixed).mean_vectors(tokens).equal(Bert(config, plain).mean_vectors(tokens)));
}

TEST(Bert, NamesTheTensorThatDoesNotFit) {
  const BertConfig config = tiny_bert_config();
  auto tensors = tiny_bert_tensors(config);
  tensors["encoder.layer.1.output.dense.bias"] = torch::zeros({9});
  EXPECT_EQ(message_of<InputError>([&] { Bert(config, tensors); }),
            "the tensor encoder.layer.1.output.dense.bias has the shape [9], not [8]");
  tensors.erase("encoder.layer.1.output.dense.bias");
  EXPECT_EQ(message_of<InputError>([&] { Bert(config, tensors); }),
            "the tensor encoder.layer.1.output.dense.bias is missing");
}

TEST(Bert, ReadsTheConfigurationOrTellsWhyNot) {
  const TemporaryFolder folder;
  const auto refusal = [&](const char* name, const nlohmann::json& value) {
    nlohmann::json given = tiny_bert_json(tiny_bert_config());
    given[name] = value;
    folder.write("config.json", given.dump());
    return message_of<InputError>([&] { BertConfig::of_folder(folder.path("")); });
  };
  EXPECT_CONTAINS(message_of<InputError>([&] { BertConfig::of_folder(folder.path("")); }), "no config.json");
  EXPECT_CONTAINS(refusal("model_type", "roberta"),
                  "config.json: the model is of type 'roberta'; only 'bert' is read");
  EXPECT_CONTAINS(refusal("hidden_act", "swish"), "hidden_act is 'swish'");
  EXPECT_CONTAINS(refusal("num_attention_heads", 3), "hidden_size 8 is no multiple of num_attention_heads 3");
  EXPECT_CONTAINS(refusal("num_hidden_layers", 0), "a size is 0");
  EXPECT_CONTAINS(refusal("hidden_size", nullptr), "is not the configuration of a BERT encoder");
  EXPECT_CONTAINS(refusal("position_embedding_type", "relative_key"), "only 'absolute' is read");
  folder.write("config.json", tiny_bert_json(tiny_bert_config()).dump());
  EXPECT_EQ(BertConfig::of_folder(folder.path("")).intermediate, 12);
}

}  // namespace
}  // namespace bilevel
