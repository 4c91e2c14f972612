#include "bilevel/model/network.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "bilevel/core/error.h"
#include "bilevel/model/mlp.h"

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

TEST(Network, BuildsEveryEncoderForEveryInputItReads) {
  for (const EncoderEntry& entry : encoder_registry()) {
    EXPECT_FALSE(entry.summary.empty());
    for (const InputKind kind : entry.inputs) {
      const auto network = make_network({.encoder = entry.name, .outputs = 3}, shape_of(kind));
      network->eval();
      const Tensor logits = network->forward(two_rows(kind));
      EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{2, 3})) << entry.name;
      EXPECT_TRUE(torch::equal(logits, network->head(network->encode(two_rows(kind)))));
      EXPECT_EQ(network->encoder_parameters().size() + network->head_parameters().size(),
                network->parameters().size());
      EXPECT_FALSE(network->twice_differentiable_note().empty());
      // Every parameter matters.
      const Tensor weights = torch::tensor({1.0f, -2.0f, 0.5f});
      (logits * weights).sum().backward();
      for (const auto& item : network->named_parameters())
        EXPECT_TRUE(item.value().grad().defined()) << item.key();
    }
  }
}

TEST(Network, IsWhatTheTraitsOfItsEncoderSay) {
  if (encoder_registry().find("once") == nullptr) {
    EncoderEntry once = encoder_registry().at("mlp");
    once.name = "once";
    once.twice_differentiable = false;
    encoder_registry().add(once);
  }
  for (const EncoderEntry& entry : encoder_registry()) {
    SCOPED_TRACE(entry.name);
    const InputKind kind = entry.inputs.at(0);
    EXPECT_EQ(entry.reads == Reads::words, kind == InputKind::tokens);
    const auto network = make_network({.encoder = entry.name, .outputs = 2}, shape_of(kind));
    EXPECT_EQ(network->head_parameters().empty(), entry.linear);
    if (!entry.twice_differentiable) {
      EXPECT_THROW(network->set_twice_differentiable(true), InputError);
      continue;
    }
    network->eval();
    network->set_twice_differentiable(true);
    const Tensor loss = network->forward(two_rows(kind)).sin().square().sum();
    Tensor squares = torch::zeros({});
    for (const Tensor& g : torch::autograd::grad({loss}, network->parameters(), {}, true, true, true)) {
      if (g.defined()) squares = squares + g.square().sum();
    }
    for (const Tensor& g : torch::autograd::grad({squares}, network->parameters(), {}, false, false, true)) {
      EXPECT_TRUE(!g.defined() || g.isfinite().all().item<bool>());
    }
    if (!entry.linear) continue;
    const torch::NoGradGuard no_grad;
    for (Tensor& p : network->parameters()) p.fill_(0.5);
    const Tensor half = network->forward(two_rows(kind));
    for (Tensor& p : network->parameters()) p.fill_(1);
    EXPECT_TRUE(torch::allclose(network->forward(two_rows(kind)), 2 * half));
  }
}

TEST(Network, LinearModelsStartAtZeroAndHaveNoHead) {
  for (const std::string name : {"linear", "bag"}) {
    const auto network = make_network({.encoder = name}, shape_of(InputKind::sparse));
    EXPECT_EQ(network->forward(two_rows(InputKind::sparse)).abs().max().item<double>(), 0);
    EXPECT_TRUE(network->head_parameters().empty());
  }
}

TEST(Network, LinearSkipAddsALinearMapThatStartsAtZero) {
  const std::vector<Tensor> inputs = two_rows(InputKind::dense);
  torch::manual_seed(1);
  const auto with =
      make_network({.encoder = "mlp", .outputs = 2, .linear_skip = true}, shape_of(InputKind::dense));
  torch::manual_seed(1);
  const auto without =
      make_network({.encoder = "mlp", .outputs = 2, .linear_skip = false}, shape_of(InputKind::dense));
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

TEST(Network, OptionsGoThroughJsonAndRebuildTheSameModel) {
  for (const EncoderEntry& entry : encoder_registry()) {
    const InputKind kind = entry.inputs[0];
    torch::manual_seed(3);
    const auto network = make_network({.encoder = entry.name, .outputs = 2}, shape_of(kind));
    const nlohmann::json saved = {{"network", network->options()}, {"input", network->input()}};
    const nlohmann::json loaded = nlohmann::json::parse(saved.dump());
    const auto options = loaded.at("network").get<NetworkOptions>();
    const auto input = loaded.at("input").get<InputShape>();
    EXPECT_EQ(options, network->options()) << saved;
    EXPECT_EQ(resolved(options, input), options) << "filling in defaults twice changed something";

    torch::manual_seed(3);
    const auto rebuilt = make_network(options, input);
    network->eval();
    rebuilt->eval();
    EXPECT_TRUE(torch::equal(network->forward(two_rows(kind)), rebuilt->forward(two_rows(kind))))
        << entry.name;
  }
}

TEST(Network, PretrainedVectorsAreFrozenUnlessAskedOtherwise) {
  InputShape input = shape_of(InputKind::tokens);
  input.pretrained = torch::randn({6, 7});
  const auto frozen = make_network({.encoder = "gru"}, input);
  EXPECT_EQ(frozen->options().embedding_size, 7);
  EXPECT_EQ(frozen->options().freeze_embedding, true);
  EXPECT_FALSE(frozen->named_parameters().contains("encoder.embedding.weight"));
  EXPECT_TRUE(torch::equal(frozen->named_buffers()["encoder.embedding.weight"][3], input.pretrained[3]));
  const auto trained = make_network({.encoder = "transformer", .freeze_embedding = false}, input);
  EXPECT_TRUE(trained->named_parameters().contains("encoder.embedding.weight"));
  // A saved model is rebuilt without the matrix; its tensors have the same names and shapes.
  const auto rebuilt = make_network(frozen->options(), frozen->input());
  EXPECT_EQ(rebuilt->named_buffers()["encoder.embedding.weight"].sizes(), (std::vector<int64_t>{6, 7}));
  EXPECT_EQ(rebuilt->parameters().size(), frozen->parameters().size());
}

TEST(Network, SwitchReachesTheEncoder) {
  // Only the switched transformer can be differentiated twice.
  const auto network = make_network({.encoder = "transformer", .hidden = 8}, shape_of(InputKind::tokens));
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
  EXPECT_TRUE(
      refusal({.encoder = "cnn"}, tokens)
          .starts_with("there is no encoder 'cnn'; known: bag, linear, mlp, rnn, lstm, gru, transformer"));
  EXPECT_EQ(refusal({.encoder = "lstm"}, dense), "encoder = 'lstm': does not read dense inputs.");
  EXPECT_EQ(refusal({.encoder = "lstm", .outputs = 0}, tokens), "outputs = 0: must be at least 1.");
  EXPECT_EQ(refusal({.encoder = "lstm", .hidden = 0}, tokens), "hidden = 0: must be at least 1.");
  EXPECT_EQ(refusal({.encoder = "lstm", .heads = 2}, tokens),
            "heads = 2: the encoder 'lstm' has no such option.");
  EXPECT_EQ(refusal({.encoder = "linear", .hidden = 8}, dense),
            "hidden = 8: the encoder 'linear' has no such option.");
  EXPECT_EQ(refusal({.encoder = "transformer", .heads = 3}, tokens), "heads = 3: must divide hidden = 128.");
  EXPECT_EQ(refusal({.encoder = "rnn", .pooling = "sum"}, tokens),
            "pooling = 'sum': must be max, mean or last.");
  EXPECT_EQ(refusal({.encoder = "mlp", .dropout = 1.5}, dense), "dropout = 1.5: must be in [0, 1).");
  EXPECT_EQ(refusal({.encoder = "mlp", .activation = "sin"}, dense),
            "activation = 'sin': must be gelu, silu, tanh or relu.");
  EXPECT_EQ(refusal({.encoder = "mlp"}, {.kind = InputKind::dense}), "width = 0: must be at least 1.");
  InputShape given = tokens;
  given.pretrained = torch::zeros({6, 7});
  EXPECT_EQ(refusal({.encoder = "rnn", .embedding_size = 5}, given),
            "embedding_size = 5: the pretrained vectors have width 7.");
  given.pretrained = torch::zeros({5, 7});
  EXPECT_EQ(refusal({.encoder = "rnn"}, given),
            "pretrained embedding: has shape [5, 7], but must be [6, 7] = [vocabulary, width].");
  EXPECT_THROW(nlohmann::json::parse(R"({"encoder": "rnn", "hiden": 3})").get<NetworkOptions>(), InputError);
  EXPECT_THROW(nlohmann::json::parse(R"({"hidden": 3})").get<NetworkOptions>(), nlohmann::json::exception);
}

TEST(Mlp, ComputesItsFormula) {
  torch::manual_seed(2);
  for (const Activation activation :
       {Activation::gelu, Activation::silu, Activation::tanh, Activation::relu}) {
    MlpEncoder mlp(
        {.input = InputKind::dense, .width = 6, .hidden = 3, .layers = 2, .activation = activation});
    const auto p = mlp.named_parameters();
    const auto act = [&](const Tensor& x) {
      if (activation == Activation::gelu) return 0.5 * x * (1 + torch::erf(x / std::sqrt(2.0)));
      if (activation == Activation::silu) return x / (1 + torch::exp(-x));
      return activation == Activation::tanh ? torch::tanh(x) : x.clamp_min(0);
    };
    const Tensor x = two_rows(InputKind::dense)[0];
    const Tensor inner = act(x.mm(p["layer0.weight"]) + p["layer0.bias"]);
    const Tensor expected = act(inner.mm(p["layer1.weight"].t()) + p["layer1.bias"]);
    EXPECT_TRUE(torch::allclose(mlp.forward({x}), expected, 1e-5, 1e-6)) << to_string(activation);
    EXPECT_EQ(activation_from_string(to_string(activation)), activation);
  }
  MlpEncoder dropping({.input = InputKind::dense, .width = 6, .dropout = 0.5});
  const std::vector<Tensor> inputs = two_rows(InputKind::dense);
  EXPECT_FALSE(torch::equal(dropping.forward(inputs), dropping.forward(inputs)));
  dropping.eval();
  EXPECT_TRUE(torch::equal(dropping.forward(inputs), dropping.forward(inputs)));
  EXPECT_THROW(dropping.forward({torch::zeros({2, 5})}), InputError);
}

}  // namespace
}  // namespace bilevel
