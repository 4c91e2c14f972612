#include "bilevel/model/network.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <map>
#include <nlohmann/json.hpp>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using torch::Tensor;

InputShape shape_of(InputKind kind) { return {.kind = kind, .width = 6}; }

std::vector<Tensor> two_rows(InputKind kind) {
  if (kind == InputKind::tokens) {
    return {torch::tensor({1, 2, 3, 4, 5, 0}, torch::kLong).view({2, 3}),
            torch::tensor({3, 2}, torch::kLong)};
  }
  if (kind == InputKind::dense) return {torch::linspace(-1, 1, 12).view({2, 6})};
  return {torch::tensor({0, 3, 5}, torch::kLong), torch::tensor({1.0f, -1.0f, 0.5f}),
          torch::tensor({0, 2, 3}, torch::kLong)};
}

std::string refusal(const NetworkOptions& options, const InputShape& input) {
  try {
    make_network(options, input);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Network, RefusesSecondDerivativesThatItsEncoderLacks) {
  if (encoder_registry().find("once") == nullptr) {
    EncoderEntry once = encoder_registry().at("mlp");
    once.name = "once";
    once.twice_differentiable = false;
    encoder_registry().add(once);
  }
  const auto network = make_network({.encoder = "once"}, shape_of(InputKind::dense));
  network->set_twice_differentiable(false);
  EXPECT_THROW(network->set_twice_differentiable(true), InputError);
}

TEST(Network, TakesOptionsAsTextAndWhereTheEncoderHasThem) {
  NetworkOptions options{.encoder = "gru"};
  options.set_text("pooling=mean");
  options.set_text("dropout=.2");
  options.prefer("hidden", 8);
  options.prefer("activation", "tanh");
  EXPECT_EQ(options.set, (nlohmann::json{{"pooling", "mean"}, {"dropout", 0.2}, {"hidden", 8}}));
  EXPECT_THROW(options.set_text("pooling"), InputError);
  EXPECT_THROW(options.set_text("pooling=sum"), InputError);
  EXPECT_THROW(options.set_text("activation=tanh"), InputError);
}

TEST(Network, LinearSkipAddsALinearMapThatStartsAtZero) {
  const std::vector<Tensor> inputs = two_rows(InputKind::dense);
  torch::manual_seed(1);
  const auto with = make_network({.encoder = "mlp", .outputs = 2, .set = {{"linear_skip", true}}},
                                 shape_of(InputKind::dense));
  torch::manual_seed(1);
  const auto without = make_network({.encoder = "mlp", .outputs = 2, .set = {{"linear_skip", false}}},
                                    shape_of(InputKind::dense));
  with->eval();
  without->eval();
  // Equal but for rounding: the head of the first reads a slice of a wider matrix, and some processors' kernels then sum
  // in another order.
  EXPECT_TRUE(torch::allclose(with->forward(inputs), without->forward(inputs), 0, 1e-6));
  const torch::NoGradGuard no_grad;
  Tensor skip = with->named_parameters()["skip.weight"];
  skip.copy_(torch::linspace(-1, 1, 12).view({6, 2}));
  EXPECT_TRUE(torch::allclose(with->forward(inputs), without->forward(inputs) + inputs[0].mm(skip), 0, 1e-5));
}

TEST(Network, SaysWhatAParameterIsFor) {
  const auto kinds = [](const NetworkOptions& options, InputKind input) {
    const auto network = make_network(options, shape_of(input));
    std::map<std::string, WeightKind> found;
    for (const auto& item : network->named_parameters()) found[item.key()] = network->kind_of(item.value());
    return found;
  };
  using enum WeightKind;
  EXPECT_EQ(kinds({.encoder = "mlp"}, InputKind::dense),
            (std::map<std::string, WeightKind>{{"encoder.layer0.weight", input},
                                               {"encoder.layer0.bias", other},
                                               {"encoder.layer1.weight", hidden},
                                               {"encoder.layer1.bias", other},
                                               {"skip.weight", direct},
                                               {"head.weight", head},
                                               {"head.bias", other}}));
  EXPECT_EQ(kinds({.encoder = "linear"}, InputKind::sparse),
            (std::map<std::string, WeightKind>{{"encoder.weight", direct}, {"encoder.bias", other}}));
  EXPECT_EQ(kinds({.encoder = "rnn"}, InputKind::tokens),
            (std::map<std::string, WeightKind>{{"encoder.embedding.weight", vectors},
                                               {"encoder.weight_ih_l0", hidden},
                                               {"encoder.weight_hh_l0", hidden},
                                               {"encoder.bias_ih_l0", other},
                                               {"encoder.bias_hh_l0", other},
                                               {"head.weight", head},
                                               {"head.bias", other}}));
  EXPECT_EQ(make_network({.encoder = "rnn", .set = {{"freeze_embedding", true}}}, shape_of(InputKind::tokens))
                ->named_parameters()
                .contains("encoder.embedding.weight"),
            false);
  EXPECT_EQ(encoder_names([](const EncoderEntry& entry) { return entry.linear; }), "bag or linear");
  EXPECT_EQ(encoder_names([](const EncoderEntry& entry) { return entry.reads == Reads::ngrams; }), "bag");
  EXPECT_EQ(encoder_names([](const EncoderEntry& entry) { return entry.reads == Reads::words; }),
            "gru, lstm, rnn or transformer");
}

TEST(Network, PretrainedVectorsAreFrozenUnlessAskedOtherwise) {
  InputShape input = shape_of(InputKind::tokens);
  input.pretrained = torch::randn({6, 7});
  const auto frozen = make_network({.encoder = "gru"}, input);
  EXPECT_EQ(frozen->options().set.at("embedding_size"), 7);
  EXPECT_EQ(frozen->options().set.at("freeze_embedding"), true);
  EXPECT_FALSE(frozen->named_parameters().contains("encoder.embedding.weight"));
  EXPECT_TRUE(torch::equal(frozen->named_buffers()["encoder.embedding.weight"][3], input.pretrained[3]));
  const auto trained = make_network({.encoder = "transformer", .set = {{"freeze_embedding", false}}}, input);
  EXPECT_TRUE(trained->named_parameters().contains("encoder.embedding.weight"));
  // A saved model is rebuilt without the matrix; its tensors have the same names and shapes.
  const auto rebuilt = make_network(frozen->options(), frozen->input());
  EXPECT_EQ(rebuilt->named_buffers()["encoder.embedding.weight"].sizes(), (std::vector<int64_t>{6, 7}));
  EXPECT_EQ(rebuilt->parameters().size(), frozen->parameters().size());
}

TEST(Network, SwitchReachesTheEncoder) {
  // Only the switched transformer can be differentiated twice.
  const auto network =
      make_network({.encoder = "transformer", .set = {{"hidden", 8}}}, shape_of(InputKind::tokens));
  const auto twice = [&] {
    const Tensor loss = network->forward(two_rows(InputKind::tokens)).pow(2).sum();
    const Tensor parameter = network->named_parameters()["encoder.block0.attention_in.weight"];
    const Tensor gradient = torch::autograd::grad({loss}, {parameter}, {}, true, true)[0];
    return torch::autograd::grad({gradient.pow(2).sum()}, {parameter})[0];
  };
  EXPECT_ANY_THROW(twice());
  network->set_twice_differentiable(true);
  EXPECT_TRUE(torch::isfinite(twice()).all().item<bool>());
}

TEST(Network, NamesTheOptionThatIsImpossible) {
  const InputShape tokens = shape_of(InputKind::tokens), dense = shape_of(InputKind::dense);
  const auto with = [](const char* encoder, const char* option, const nlohmann::json& value) {
    NetworkOptions options{.encoder = encoder};
    options.set[option] = value;
    return options;
  };
  EXPECT_TRUE(
      refusal({.encoder = "cnn"}, tokens)
          .starts_with(
              "there is no encoder 'cnn'; known: bag, fourier, gru, linear, lstm, mlp, residual, rnn, tab, "
              "transformer"));
  EXPECT_EQ(refusal({.encoder = "lstm"}, dense), "encoder = 'lstm': does not read dense inputs.");
  EXPECT_EQ(refusal({.encoder = "lstm", .outputs = 0}, tokens), "outputs = 0: must be at least 1.");
  EXPECT_EQ(refusal(with("lstm", "hidden", 0), tokens), "hidden = 0: must be >= 1");
  EXPECT_EQ(refusal(with("lstm", "heads", 2), tokens), "heads = 2: the encoder 'lstm' has no such option.");
  EXPECT_EQ(refusal(with("linear", "hidden", 8), dense),
            "hidden = 8: the encoder 'linear' has no such option.");
  EXPECT_EQ(refusal(with("transformer", "heads", 3), tokens), "heads = 3: must divide hidden = 128.");
  EXPECT_EQ(refusal(with("rnn", "pooling", "sum"), tokens), "pooling = sum: must be one of max, mean, last");
  EXPECT_EQ(refusal(with("mlp", "dropout", 1.5), dense), "dropout = 1.5: must be in [0, 1)");
  EXPECT_EQ(refusal(with("mlp", "activation", "sin"), dense),
            "activation = sin: must be one of gelu, silu, tanh, relu");
  EXPECT_EQ(refusal({.encoder = "mlp"}, {.kind = InputKind::dense}), "width = 0: must be at least 1.");
  InputShape given = tokens;
  given.pretrained = torch::zeros({6, 7});
  EXPECT_EQ(refusal(with("rnn", "embedding_size", 5), given),
            "embedding_size = 5: the pretrained vectors have width 7.");
  given.pretrained = torch::zeros({5, 7});
  EXPECT_EQ(refusal({.encoder = "rnn"}, given),
            "pretrained embedding: has shape [5, 7], but must be [6, 7] = [vocabulary, width].");
  const auto misspelt = nlohmann::json::parse(R"({"encoder": "rnn", "hiden": 3})").get<NetworkOptions>();
  EXPECT_EQ(refusal(misspelt, tokens), "hiden = 3: the encoder 'rnn' has no such option.");
  EXPECT_THROW(nlohmann::json::parse(R"({"hidden": 3})").get<NetworkOptions>(), nlohmann::json::exception);
}

}  // namespace
}  // namespace bilevel
