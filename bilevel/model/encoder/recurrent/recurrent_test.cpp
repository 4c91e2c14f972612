#include "bilevel/model/encoder/recurrent/recurrent.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/nn.h>

#include "bilevel/core/error.h"

namespace bilevel {
namespace recurrent_test {
namespace {

using torch::Tensor;

const std::vector<Tensor> kInputs{torch::tensor({1, 2, 3, 4, 5, 0, 2, 1, 0}, torch::kLong).view({3, 3}),
                                  torch::tensor({3, 2, 2}, torch::kLong)};

std::shared_ptr<Encoder> make(RecurrentCell cell, const std::string& pooling,
                              const nlohmann::json& more = nlohmann::json::object(),
                              const Tensor& pretrained = {}) {
  const InputShape input{.kind = InputKind::tokens, .width = 6, .pretrained = pretrained};
  const auto encoder = std::make_shared<RecurrentEncoder>(cell);
  const Fields fields = fields_of(*encoder);
  fields.from_json({{"embedding_size", 3},
                    {"hidden", 5},
                    {"layers", 2},
                    {"bidirectional", true},
                    {"pooling", pooling},
                    {"dropout", 0}});
  fields.from_json(more);
  encoder->resolve(input);
  encoder->build(input, 1);
  return encoder;
}

constexpr RecurrentCell kCells[] = {RecurrentCell::rnn, RecurrentCell::lstm, RecurrentCell::gru};

/// Copies the encoder's weights, by name, into LibTorch's own module and returns its padded output [B, T, 2
/// hidden].
template <typename Module>
Tensor reference_states(Encoder& encoder, Module module) {
  module->to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  const auto ours = encoder.named_parameters();
  for (auto& item : module->named_parameters()) item.value().copy_(ours[item.key()]);
  const Tensor vectors = torch::embedding(ours["embedding.weight"], kInputs[0]);
  const auto packed =
      torch::nn::utils::rnn::pack_padded_sequence(vectors, kInputs[1], /*batch_first=*/true, false);
  return std::get<0>(torch::nn::utils::rnn::pad_packed_sequence(
      std::get<0>(module->forward_with_packed_input(packed)), /*batch_first=*/true, -9.0));
}

Tensor reference(RecurrentCell cell, Encoder& encoder) {
  if (cell == RecurrentCell::rnn) {
    return reference_states(encoder,
                            torch::nn::RNN(torch::nn::RNNOptions(3, 5).num_layers(2).bidirectional(true)));
  }
  if (cell == RecurrentCell::lstm) {
    return reference_states(encoder,
                            torch::nn::LSTM(torch::nn::LSTMOptions(3, 5).num_layers(2).bidirectional(true)));
  }
  return reference_states(encoder,
                          torch::nn::GRU(torch::nn::GRUOptions(3, 5).num_layers(2).bidirectional(true)));
}

TEST(RecurrentEncoder, ComputesWhatLibTorchComputesWithTheSameWeights) {
  for (const RecurrentCell cell : kCells) {
    for (const std::string pooling : {"max", "mean", "last"}) {
      torch::manual_seed(1);
      const auto encoder = make(cell, pooling);
      encoder->to(torch::kDouble);
      const Tensor states = reference(cell, *encoder);
      std::vector<Tensor> rows;
      for (int64_t row = 0; row < 3; ++row) {
        const int64_t length = kInputs[1][row].item<int64_t>();
        const Tensor own = states[row].narrow(0, 0, length);
        if (pooling == "max") rows.push_back(own.amax(0));
        if (pooling == "mean") rows.push_back(own.mean(0));
        if (pooling == "last") {
          rows.push_back(torch::cat({own[length - 1].narrow(0, 0, 5), own[0].narrow(0, 5, 5)}));
        }
      }
      for (const bool twice : {false, true}) {
        encoder->set_twice_differentiable(twice);
        EXPECT_LT((encoder->forward(kInputs) - torch::stack(rows)).abs().max().item<double>(), 1e-12)
            << pooling;
      }
    }
  }
}

TEST(RecurrentLayer, LibraryKernelAgreesForOtherDtypes) {
  // bfloat16 takes LibTorch's own layer, the path of every device but the CPU; its values must be those of
  // the others.
  torch::manual_seed(2);
  const Tensor x = torch::randn({6, 3});
  for (const RecurrentCell cell : kCells) {
    std::vector<RecurrentWeights> exact(2), rounded(2);
    for (size_t i = 0; i < 2; ++i) {
      const int64_t gates = 4 * gate_count(cell);
      exact[i] = {torch::randn({gates, 3}), torch::randn({gates, 4}), torch::randn({gates}),
                  torch::randn({gates})};
      rounded[i] = {exact[i].input.to(torch::kBFloat16), exact[i].hidden.to(torch::kBFloat16),
                    exact[i].input_bias.to(torch::kBFloat16), exact[i].hidden_bias.to(torch::kBFloat16)};
    }
    const Tensor by_hand = recurrent_layer(cell, x, {3, 2, 1}, exact, false);
    const Tensor library = recurrent_layer(cell, x.to(torch::kBFloat16), {3, 2, 1}, rounded, false);
    EXPECT_EQ(library.dtype(), torch::kBFloat16);
    EXPECT_LT((by_hand - library.to(torch::kFloat)).abs().max().item<double>(), 0.08);
  }
}

TEST(RecurrentEncoder, FastKernelRecomputesForASecondDerivative) {
  for (const RecurrentCell cell : kCells) {
    const auto encoder = make(cell, "last");
    encoder->to(torch::kDouble);
    const auto products = [&](bool twice) {
      encoder->set_twice_differentiable(twice);
      const auto parameters = encoder->parameters();
      Tensor sum = torch::zeros({}, torch::kDouble);
      for (const Tensor& g :
           torch::autograd::grad({encoder->forward(kInputs).square().sum()}, parameters, {}, true, true))
        sum = sum + g.square().sum();
      return torch::autograd::grad({sum}, parameters);
    };
    const auto fast = products(false), exact = products(true);
    for (size_t i = 0; i < fast.size(); ++i) {
      EXPECT_GT(exact[i].abs().max().item<double>(), 1e-3);
      EXPECT_TRUE(torch::allclose(fast[i], exact[i], 1e-8, 1e-10)) << i;
    }
  }
}

TEST(RecurrentEncoder, FrozenVectorsAreNoParameter) {
  const auto encoder = make(RecurrentCell::gru, "max", {{"freeze_embedding", true}}, torch::randn({6, 3}));
  for (const auto& item : encoder->named_parameters()) EXPECT_NE(item.key(), "embedding.weight");
  encoder->forward(kInputs).sum().backward();
  EXPECT_FALSE(encoder->named_buffers()["embedding.weight"].requires_grad());
  EXPECT_FALSE(encoder->named_buffers()["embedding.weight"].grad().defined());
  EXPECT_THROW(make(RecurrentCell::gru, "max", {}, torch::zeros({6, 4})), InputError);
  EXPECT_THROW(make(RecurrentCell::gru, "max", {}, torch::zeros({5, 3})), InputError);
}

TEST(RecurrentEncoder, DropoutActsInTrainingOnlyAndFollowsTheSeed) {
  const auto encoder = make(RecurrentCell::lstm, "max", {{"dropout", 0.5}});
  torch::manual_seed(4);
  const Tensor first = encoder->forward(kInputs);
  EXPECT_FALSE(torch::equal(first, encoder->forward(kInputs)));
  torch::manual_seed(4);
  EXPECT_TRUE(torch::equal(first, encoder->forward(kInputs)));
  encoder->eval();
  EXPECT_TRUE(torch::equal(encoder->forward(kInputs), encoder->forward(kInputs)));
}

TEST(RecurrentEncoder, IgnoresTokensPastTheLargestLength) {
  const auto encoder = make(RecurrentCell::rnn, "max", {{"max_length", 2}});
  std::vector<Tensor> other{kInputs[0].clone(), kInputs[1]};
  other[0][0][2] = 5;
  EXPECT_TRUE(torch::equal(encoder->forward(kInputs), encoder->forward(other)));
  other[0][0][1] = 5;
  EXPECT_FALSE(torch::equal(encoder->forward(kInputs), encoder->forward(other)));
}

}  // namespace
}  // namespace recurrent_test
}  // namespace bilevel
