// What every encoder must do, checked for each of them in float64.
#include "bilevel/model/encoder.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <functional>

#include "bilevel/core/error.h"
#include "bilevel/model/linear.h"
#include "bilevel/model/mlp.h"
#include "bilevel/model/recurrent.h"
#include "bilevel/model/transformer.h"

namespace bilevel {
namespace {

using torch::Tensor;
using Inputs = std::vector<Tensor>;

constexpr int64_t kVocabulary = 11, kColumns = 7;

struct Case {
  std::string name;
  InputKind kind;
  std::function<std::shared_ptr<Encoder>()> make;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Case recurrent(std::string name, RecurrentOptions options) {
  options.vocabulary = kVocabulary;
  options.embedding_size = 3;
  options.hidden = 4;
  return {std::move(name), InputKind::tokens,
          [options] { return std::make_shared<RecurrentEncoder>(options); }};
}

Case transformer(std::string name, TransformerOptions options) {
  options.vocabulary = kVocabulary;
  options.hidden = 4;
  options.heads = 2;
  options.feed_forward = 2;
  options.max_length = 8;
  return {std::move(name), InputKind::tokens,
          [options] { return std::make_shared<TransformerEncoder>(options); }};
}

Case linear(std::string name, InputKind kind) {
  return {std::move(name), kind, [kind] {
            auto encoder = std::make_shared<LinearEncoder>(kind, kColumns, 2);
            encoder->reset_uniform(1.0);
            return encoder;
          }};
}

Case mlp(std::string name, InputKind kind, Activation activation) {
  return {std::move(name), kind, [=] {
            return std::make_shared<MlpEncoder>(
                MlpOptions{.input = kind, .width = kColumns, .hidden = 4, .activation = activation});
          }};
}

std::vector<Case> cases() {
  using C = RecurrentCell;
  return {
      recurrent("rnn", {.cell = C::rnn}),
      recurrent("lstm", {.cell = C::lstm}),
      recurrent("gru", {.cell = C::gru}),
      recurrent("rnn_both_ways_2_layers", {.cell = C::rnn, .layers = 2, .bidirectional = true}),
      recurrent("lstm_both_ways_2_layers_last",
                {.cell = C::lstm, .layers = 2, .bidirectional = true, .pooling = Pooling::last}),
      recurrent("gru_both_ways_mean", {.cell = C::gru, .bidirectional = true, .pooling = Pooling::mean}),
      recurrent("lstm_frozen", {.cell = C::lstm, .freeze_embedding = true, .pooling = Pooling::last}),
      transformer("transformer", {.embedding_size = 4}),
      transformer("transformer_projected_sinusoidal",
                  {.embedding_size = 3, .layers = 1, .positions = Positions::sinusoidal}),
      linear("linear_dense", InputKind::dense),
      linear("linear_sparse", InputKind::sparse),
      mlp("mlp_dense", InputKind::dense, Activation::gelu),
      mlp("mlp_sparse", InputKind::sparse, Activation::silu),
      mlp("mlp_tanh", InputKind::dense, Activation::tanh),
  };
}

/// Four rows of one kind; row 2 is empty (zero for dense).
Inputs four_rows(InputKind kind) {
  if (kind == InputKind::tokens) {
    return {torch::tensor({3, 1, 10, 4, 5, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 3, 3, 6, 0}, torch::kLong)
                .view({4, 5}),
            torch::tensor({5, 2, 0, 4}, torch::kLong)};
  }
  if (kind == InputKind::dense) {
    Tensor x = torch::linspace(-1.5, 2, 4 * kColumns, torch::kDouble).sin().view({4, kColumns}).clone();
    x[2].zero_();
    return {x};
  }
  return {torch::tensor({0, 3, 6, 2, 2, 5, 1, 4}, torch::kLong),
          torch::tensor({0.5, -1.0, 2.0, 0.3, 0.4, 1.0, -0.7, 0.9}, torch::kDouble),
          torch::tensor({0, 3, 5, 5, 8}, torch::kLong)};
}

/// The given rows of `inputs`, in that order; tokens keep the padding that the longest of them needs, plus
/// `padding`.
Inputs select(InputKind kind, const Inputs& inputs, const std::vector<int64_t>& rows, int64_t padding = 0) {
  const Tensor index = torch::tensor(rows, torch::kLong);
  if (kind == InputKind::dense) return {inputs[0].index_select(0, index)};
  if (kind == InputKind::tokens) {
    const Tensor lengths = inputs[1].index_select(0, index);
    const int64_t longest = lengths.max().item<int64_t>();
    const Tensor ids = inputs[0].index_select(0, index).narrow(1, 0, longest);
    return {torch::constant_pad_nd(ids, {0, padding}), lengths};
  }
  std::vector<Tensor> indices, values;
  std::vector<int64_t> offsets{0};
  for (const int64_t row : rows) {
    const int64_t begin = inputs[2][row].item<int64_t>(), end = inputs[2][row + 1].item<int64_t>();
    indices.push_back(inputs[0].slice(0, begin, end));
    values.push_back(inputs[1].slice(0, begin, end));
    offsets.push_back(offsets.back() + end - begin);
  }
  return {torch::cat(indices), torch::cat(values), torch::tensor(offsets, torch::kLong)};
}

class EncoderTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    torch::set_num_threads(1);
    encoder = make();
  }

  static std::shared_ptr<Encoder> make(uint64_t seed = 3) {
    torch::manual_seed(seed);
    auto made = GetParam().make();
    made->to(torch::kDouble);
    for (Tensor& p : made->parameters()) {  // away from the small initial values, where a mistake could hide
      const torch::NoGradGuard no_grad;
      p.mul_(2).add_(torch::randn_like(p) * 0.3);
    }
    for (auto& item : made->named_parameters()) {
      const torch::NoGradGuard no_grad;
      if (item.key() == "embedding.weight") item.value()[0].zero_();
    }
    return made;
  }

  InputKind kind() const { return GetParam().kind; }
  Inputs inputs() const { return four_rows(kind()); }

  /// A fixed nonlinear scalar of the features.
  Tensor loss() {
    const Tensor features = encoder->forward(inputs());
    const Tensor weights = torch::linspace(-1, 1.3, features.numel(), torch::kDouble).view(features.sizes());
    return (features * weights).sum() + 0.5 * (features * features).sum();
  }

  Tensor flat_gradient(const Tensor& value, bool create_graph) {
    std::vector<Tensor> parts;
    for (const Tensor& part :
         torch::autograd::grad({value}, encoder->parameters(), {}, create_graph, create_graph)) {
      parts.push_back(part.flatten());
    }
    return torch::cat(parts);
  }

  /// Largest relative difference between the derivative that `gradient` gives and a fourth-order difference
  /// of `value`, over three directions in every parameter tensor.
  double difference_error(const Tensor& gradient, const std::function<double()>& value) {
    const double step = 2e-4;
    const auto random = torch::make_generator<at::CPUGeneratorImpl>(11);
    double error = 0;
    int64_t at = 0;
    for (auto& item : encoder->named_parameters()) {
      Tensor parameter = item.value().detach();
      const Tensor part = gradient.narrow(0, at, parameter.numel()).view(parameter.sizes());
      at += parameter.numel();
      const Tensor kept = parameter.clone();
      for (int repeat = 0; repeat < 3; ++repeat) {
        Tensor direction = torch::randn(parameter.sizes(), random, parameter.options());
        direction.div_(direction.norm());
        if (item.key() == "embedding.weight") {
          EXPECT_EQ(part[0].abs().max().item<double>(), 0);  // padding
          direction[0].zero_();
        }
        const auto moved = [&](double steps) {
          parameter.copy_(kept + steps * step * direction);
          return value();
        };
        const double numeric = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step);
        parameter.copy_(kept);
        const double exact = (part * direction).sum().item<double>();
        error = std::max(error, std::abs(numeric - exact) / std::max(1.0, std::abs(exact)));
      }
    }
    return error;
  }

  void check_second_derivative() {
    const Tensor gradient = flat_gradient(loss(), true);
    const Tensor direction = torch::linspace(1, -0.8, gradient.numel(), torch::kDouble).cos();
    const auto product = [&] { return flat_gradient(loss(), true).dot(direction); };
    const Tensor hessian_vector = product();
    // A parameter that enters linearly has no second derivative, so its part may be absent.
    std::vector<Tensor> parts;
    if (hessian_vector.requires_grad()) {
      const auto parameters = encoder->parameters();
      const auto found = torch::autograd::grad({hessian_vector}, parameters, {}, false, false, true);
      for (size_t i = 0; i < found.size(); ++i) {
        parts.push_back(found[i].defined() ? found[i].flatten() : torch::zeros_like(parameters[i]).flatten());
      }
    }
    EXPECT_FALSE(parts.empty());
    EXPECT_LT(difference_error(torch::cat(parts), [&] { return product().item<double>(); }), 1e-8);
  }

  std::shared_ptr<Encoder> encoder;
};

class TokenEncoderTest : public EncoderTest {};
class RecurrentEncoderTest : public EncoderTest {};

TEST_P(EncoderTest, GivesOneFiniteFeatureVectorPerRow) {
  const Tensor features = encoder->forward(inputs());
  EXPECT_EQ(features.sizes(), (std::vector<int64_t>{4, encoder->features()}));
  EXPECT_EQ(features.dtype(), torch::kDouble);
  EXPECT_TRUE(torch::isfinite(features).all().item<bool>());
  EXPECT_GT((features[0] - features[1]).abs().max().item<double>(), 1e-3);
  EXPECT_FALSE(encoder->twice_differentiable_note().empty());
}

TEST_P(EncoderTest, ComputesInFloat32) {
  const Tensor expected = encoder->forward(inputs());
  encoder->to(torch::kFloat);
  Inputs single = inputs();
  for (Tensor& tensor : single) {
    if (tensor.is_floating_point()) tensor = tensor.to(torch::kFloat);
  }
  const Tensor features = encoder->forward(single);
  EXPECT_EQ(features.dtype(), torch::kFloat);
  EXPECT_LT((features - expected).abs().max().item<double>(), 1e-5);
}

TEST_P(EncoderTest, RowsDependNeitherOnEachOtherNorOnPadding) {
  for (const bool twice : {false, true}) {
    encoder->set_twice_differentiable(twice);
    const Tensor together = encoder->forward(select(kind(), inputs(), {0, 1, 2, 3}, 3));
    for (int64_t row = 0; row < 4; ++row) {
      const Tensor alone = encoder->forward(select(kind(), inputs(), {row}));
      EXPECT_LT((alone[0] - together[row]).abs().max().item<double>(), 1e-10) << "row " << row;
    }
    const Tensor permuted = encoder->forward(select(kind(), inputs(), {3, 1, 0, 2}));
    const Tensor back = permuted.index_select(0, torch::tensor({2, 1, 3, 0}, torch::kLong));
    EXPECT_LT((back - together).abs().max().item<double>(), 1e-10);
  }
}

TEST_P(TokenEncoderTest, EmptyRowsGiveZeros) {
  for (const bool twice : {false, true}) {
    encoder->set_twice_differentiable(twice);
    EXPECT_EQ(encoder->forward(inputs())[2].abs().max().item<double>(), 0);
    for (const int64_t width : {0, 3}) {  // nothing but empty rows: still zeros, and a gradient that exists
      const Tensor features =
          encoder->forward({torch::zeros({2, width}, torch::kLong), torch::zeros({2}, torch::kLong)});
      EXPECT_EQ(features.sizes(), (std::vector<int64_t>{2, encoder->features()}));
      EXPECT_EQ(features.abs().max().item<double>(), 0);
      EXPECT_EQ(flat_gradient(features.sum(), false).abs().max().item<double>(), 0);
    }
    EXPECT_EQ(encoder->forward({torch::zeros({0, 3}, torch::kLong), torch::zeros({0}, torch::kLong)}).size(0),
              0);
  }
}

TEST_P(EncoderTest, GradientsEqualDifferences) {
  for (const bool twice : {false, true}) {
    encoder->set_twice_differentiable(twice);
    const Tensor gradient = flat_gradient(loss(), false);
    EXPECT_GT(gradient.abs().max().item<double>(), 1e-2);
    EXPECT_LT(difference_error(gradient, [this] { return loss().item<double>(); }), 1e-8);
  }
}

TEST_P(EncoderTest, SecondDerivativesEqualDifferences) {
  encoder->set_twice_differentiable(true);
  check_second_derivative();
}

TEST_P(EncoderTest, FastAndTwiceDifferentiableKernelsAgree) {
  const Tensor fast = encoder->forward(inputs()), fast_gradient = flat_gradient(loss(), false);
  encoder->set_twice_differentiable(true);
  EXPECT_TRUE(encoder->twice_differentiable());
  EXPECT_LT((encoder->forward(inputs()) - fast).abs().max().item<double>(), 1e-10);
  EXPECT_LT((flat_gradient(loss(), false) - fast_gradient).abs().max().item<double>(), 1e-10);
}

TEST_P(RecurrentEncoderTest, FastKernelRecomputesForASecondDerivative) { check_second_derivative(); }

TEST_P(EncoderTest, SameSeedSameParameters) {
  torch::manual_seed(5);
  const auto first = GetParam().make()->parameters();
  torch::manual_seed(5);
  const auto second = GetParam().make()->parameters();
  torch::manual_seed(6);
  const auto third = GetParam().make()->parameters();
  bool differs = false;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(torch::equal(first[i], second[i]));
    differs = differs || !torch::equal(first[i], third[i]);
  }
  EXPECT_TRUE(differs);
}

TEST_P(EncoderTest, ReadsParametersWhereTheyAre) {
  // All parameters become views of one flat tensor; writing there must change the result as writing to them
  // does.
  const Tensor before = encoder->forward(inputs()).detach();
  std::vector<Tensor> parts;
  for (const Tensor& p : encoder->parameters()) parts.push_back(p.detach().flatten());
  const Tensor flat = torch::cat(parts);
  int64_t at = 0;
  for (Tensor& p : encoder->parameters()) {
    p.set_data(flat.narrow(0, at, p.numel()).view(p.sizes()));
    at += p.numel();
  }
  EXPECT_LT((encoder->forward(inputs()) - before).abs().max().item<double>(), 1e-12);
  const Tensor gradient = flat_gradient(loss(), false);
  const double loss_before = loss().item<double>();
  const double step = 1e-3 / gradient.norm().item<double>();
  flat.sub_(step * gradient);
  const double predicted = -step * gradient.dot(gradient).item<double>();
  EXPECT_NEAR((loss().item<double>() - loss_before) / predicted, 1, 0.05);
  // Every single parameter is read through its view.
  for (Tensor& p : encoder->parameters()) {
    const double value = loss().item<double>();
    Tensor view = p.detach();
    ASSERT_TRUE(view.is_alias_of(flat));
    const Tensor kept = view.clone();
    view.add_(0.1 * torch::linspace(1, 2, view.numel(), torch::kDouble).view(view.sizes()));
    EXPECT_NE(loss().item<double>(), value) << p.sizes();
    view.copy_(kept);
  }
}

std::vector<Case> cases_where(const std::function<bool(const Case&)>& applies) {
  std::vector<Case> found;
  for (const Case& c : cases()) {
    if (applies(c)) found.push_back(c);
  }
  return found;
}

const auto kName = [](const auto& information) { return information.param.name; };

INSTANTIATE_TEST_SUITE_P(All, EncoderTest, testing::ValuesIn(cases()), kName);
INSTANTIATE_TEST_SUITE_P(All, TokenEncoderTest, testing::ValuesIn(cases_where([](const Case& c) {
                           return c.kind == InputKind::tokens;
                         })),
                         kName);
INSTANTIATE_TEST_SUITE_P(All, RecurrentEncoderTest, testing::ValuesIn(cases_where([](const Case& c) {
                           return std::dynamic_pointer_cast<RecurrentEncoder>(c.make()) != nullptr;
                         })),
                         kName);

TEST(InputKindTest, NamesGoBothWays) {
  for (const InputKind kind : {InputKind::tokens, InputKind::dense, InputKind::sparse}) {
    EXPECT_EQ(input_kind_from_string(to_string(kind)), kind);
  }
  EXPECT_THROW(input_kind_from_string("image"), InputError);
}

}  // namespace
}  // namespace bilevel
