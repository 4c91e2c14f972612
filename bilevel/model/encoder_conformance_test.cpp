// What every registered encoder must do, within a network and for every input that it reads, in float64: as it is by
// default, with every truth value turned, with every choice, and with all of them at once. A new encoder is tested here
// without a change.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>

#include "bilevel/core/error.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/model/network.h"
#include "tests/parameter_name.h"

namespace bilevel {
namespace encoder_conformance_test {
namespace {

using nlohmann::json;
using torch::Tensor;
using Inputs = std::vector<Tensor>;

constexpr int64_t kWidth = 11, kOutputs = 3;
constexpr double kDifferenceError = 1e-8;

struct Case {
  std::string name;
  NetworkOptions options;
  InputKind kind;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<std::string> choices_of(const Field& field) {
  std::vector<std::string> choices{""};
  for (const char c : field.type) {
    if (c == '|') {
      choices.emplace_back();
    } else {
      choices.back() += c;
    }
  }
  return field.is_flag() || choices.size() == 1 ? std::vector<std::string>{} : choices;
}

std::vector<Case> cases() {
  std::vector<Case> found;
  for (const EncoderEntry& entry : encoder_registry()) {
    NetworkOptions small{.encoder = entry.name, .outputs = kOutputs};
    for (const auto& [name, value] :
         {std::pair{"hidden", 6}, {"embedding_size", 3}, {"heads", 2}, {"feed_forward", 2}})
      small.prefer(name, value);
    std::map<std::string, NetworkOptions> variants{{"default", small}};
    NetworkOptions all = small;
    all.prefer("layers", 2);
    const std::shared_ptr<Encoder> made = entry.make();
    const Fields fields = fields_of(*made);
    for (const Field& field : fields.list()) {
      if (field.is_flag()) {
        all.set[field.name] = field.get() != true;
        (variants[field.name] = small).set[field.name] = field.get() != true;
      }
      for (const std::string& choice : choices_of(field)) {
        all.set[field.name] = choice;
        (variants[field.name + "_" + choice] = small).set[field.name] = choice;
      }
    }
    variants["all"] = all;
    for (const InputKind kind : entry.inputs) {
      for (const auto& [variant, options] : variants) {
        found.push_back({test_name(entry.name + "_" + name_of(kind) + "_" + variant), options, kind});
      }
    }
  }
  return found;
}

/// Four rows of one kind; row 2 is empty (zero for dense).
Inputs four_rows(InputKind kind) {
  if (kind == InputKind::tokens) {
    return {torch::tensor({3, 1, 10, 4, 5, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 3, 3, 6, 0}, torch::kLong)
                .view({4, 5}),
            torch::tensor({5, 2, 0, 4}, torch::kLong)};
  }
  if (kind == InputKind::dense) {
    Tensor x = torch::linspace(-1.5, 2, 4 * kWidth, torch::kDouble).sin().view({4, kWidth}).clone();
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

Inputs moved(Inputs inputs, const torch::TensorOptions& to) {
  for (Tensor& tensor : inputs) tensor = tensor.is_floating_point() ? tensor.to(to) : tensor.to(to.device());
  return inputs;
}

double largest(const Tensor& x) { return x.abs().max().item<double>(); }

class EncoderConformance : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    torch::set_num_threads(1);
    network = make();
  }

  const EncoderEntry& entry() const { return encoder_registry().at(GetParam().options.encoder); }
  InputKind kind() const { return GetParam().kind; }
  InputShape shape() const { return {.kind = kind(), .width = kWidth}; }
  Inputs inputs() const { return four_rows(kind()); }

  std::shared_ptr<Network> make() const {
    torch::manual_seed(3);
    const auto made = make_network(GetParam().options, shape());
    made->to(torch::kDouble);
    made->eval();
    const torch::NoGradGuard no_grad;
    for (auto& item :
         made->named_parameters()) {  // away from small initial values, where a mistake could hide
      item.value().mul_(2).add_(torch::randn_like(item.value()) * 0.3);
      if (item.key() == "encoder.embedding.weight") item.value()[0].zero_();  // padding
    }
    return made;
  }

  /// Every kernel that the encoder has.
  std::vector<bool> kernels() const {
    return entry().twice_differentiable ? std::vector<bool>{false, true} : std::vector<bool>{false};
  }

  /// A fixed nonlinear scalar of the logits.
  Tensor loss() {
    const Tensor logits = network->forward(inputs());
    const Tensor weights = torch::linspace(-1, 1.3, logits.numel(), torch::kDouble).view(logits.sizes());
    return (logits * weights).sum() + 0.5 * (logits * logits).sum();
  }

  Tensor flat_gradient(const Tensor& value, bool create_graph) {
    std::vector<Tensor> parts;
    for (const Tensor& part :
         torch::autograd::grad({value}, network->parameters(), {}, create_graph, create_graph))
      parts.push_back(part.flatten());
    return torch::cat(parts);
  }

  /// Largest relative difference between the derivative that `gradient` gives and fourth-order differences of
  /// `value`, over three directions in every parameter tensor: each by the first step that is neither too long for the
  /// curvature nor too short for rounding.
  double difference_error(const Tensor& gradient, const std::function<double()>& value) {
    const auto random = torch::make_generator<at::CPUGeneratorImpl>(11);
    double largest_error = 0;
    int64_t at = 0;
    for (auto& item : network->named_parameters()) {
      Tensor parameter = item.value().detach();
      const Tensor part = gradient.narrow(0, at, parameter.numel()).view(parameter.sizes());
      at += parameter.numel();
      const Tensor kept = parameter.clone();
      for (int repeat = 0; repeat < 3; ++repeat) {
        Tensor direction = torch::randn(parameter.sizes(), random, parameter.options());
        direction.div_(direction.norm());
        if (item.key() == "encoder.embedding.weight") {
          EXPECT_EQ(largest(part[0]), 0);  // padding
          direction[0].zero_();
        }
        const double exact = (part * direction).sum().item<double>();
        double error = HUGE_VAL;
        for (const double step : {2e-4, 5e-5, 1e-5}) {
          const auto after = [&](double steps) {
            parameter.copy_(kept + steps * step * direction);
            return value();
          };
          const double numeric = (8 * (after(1) - after(-1)) - (after(2) - after(-2))) / (12 * step);
          error = std::min(error, std::abs(numeric - exact) / std::max(1.0, std::abs(exact)));
          if (error < kDifferenceError) break;
        }
        parameter.copy_(kept);
        largest_error = std::max(largest_error, error);
      }
    }
    return largest_error;
  }

  std::shared_ptr<Network> network;
};

TEST_P(EncoderConformance, GivesFiniteOutputsToWhichEveryParameterMatters) {
  const Tensor logits = network->forward(inputs());
  EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{4, kOutputs}));
  EXPECT_EQ(logits.dtype(), torch::kDouble);
  EXPECT_TRUE(torch::isfinite(logits).all().item<bool>());
  EXPECT_GT(largest(logits[0] - logits[1]), 1e-3);
  EXPECT_TRUE(torch::equal(logits, network->head(network->encode(inputs()))));
  EXPECT_EQ(network->encoder_parameters().size() + network->head_parameters().size(),
            network->parameters().size());
  loss().backward();
  for (const auto& item : network->named_parameters())
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
}

TEST_P(EncoderConformance, ComputesInFloat32) {
  const Tensor expected = network->forward(inputs());
  network->to(torch::kFloat);
  const Tensor logits = network->forward(moved(inputs(), torch::kFloat));
  EXPECT_EQ(logits.dtype(), torch::kFloat);
  EXPECT_LT(largest(logits - expected), 1e-5 * (1 + largest(expected)));
}

// Products of numbers with 8 bits of fraction; the weights, the features and the gradients are float32.
TEST_P(EncoderConformance, ComputesInBfloat16) {
  network->to(torch::kFloat);
  NetworkOptions options = GetParam().options;
  options.precision = Precision::bf16;
  const auto rounded = make_network(options, shape());
  rounded->to(torch::kFloat);
  rounded->eval();
  {
    const torch::NoGradGuard no_grad;
    for (auto& item : rounded->named_parameters())
      item.value().copy_(network->named_parameters()[item.key()]);
    for (auto& item : rounded->named_buffers()) item.value().copy_(network->named_buffers()[item.key()]);
  }
  const Inputs given = moved(inputs(), torch::kFloat);
  for (const bool twice : kernels()) {
    network->set_twice_differentiable(twice);
    rounded->set_twice_differentiable(twice);
    const Tensor expected = network->encode(given), found = rounded->encode(given);
    EXPECT_EQ(found.dtype(), torch::kFloat);
    EXPECT_LT(largest(found - expected), 0.03 * (1 + largest(expected)));
    const double gap = largest(found - expected);
    if (kind() == InputKind::tokens || entry().linear) {  // an mlp may have one layer, of sparse rows
      EXPECT_EQ(gap > 0, !entry().linear);
    }
    const auto parameters = rounded->encoder_parameters();
    if (parameters.empty()) continue;
    for (const Tensor& part : torch::autograd::grad({found.square().sum()}, parameters)) {
      EXPECT_EQ(part.dtype(), torch::kFloat);
      EXPECT_TRUE(part.isfinite().all().item<bool>());
    }
    for (const Tensor& parameter : parameters) EXPECT_EQ(parameter.dtype(), torch::kFloat);
  }
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
}

TEST_P(EncoderConformance, ComputesOnTheDevice) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  const Tensor expected = network->forward(inputs()), gradient = flat_gradient(loss(), false);
  network->to(torch::kCUDA);
  const Inputs there = moved(inputs(), torch::TensorOptions(torch::kCUDA).dtype(torch::kDouble));
  for (const bool twice : kernels()) {
    network->set_twice_differentiable(twice);
    const Tensor logits = network->forward(there);
    EXPECT_TRUE(logits.is_cuda());
    EXPECT_LT(largest(logits.cpu() - expected), 1e-10);
  }
}

TEST_P(EncoderConformance, RowsDependNeitherOnEachOtherNorOnPadding) {
  for (const bool twice : kernels()) {
    network->set_twice_differentiable(twice);
    const Tensor together = network->forward(select(kind(), inputs(), {0, 1, 2, 3}, 3));
    for (int64_t row = 0; row < 4; ++row) {
      const Tensor alone = network->forward(select(kind(), inputs(), {row}));
      EXPECT_LT(largest(alone[0] - together[row]), 1e-10) << "row " << row;
    }
    const Tensor permuted = network->forward(select(kind(), inputs(), {3, 1, 0, 2}));
    const Tensor back = permuted.index_select(0, torch::tensor({2, 1, 3, 0}, torch::kLong));
    EXPECT_LT(largest(back - together), 1e-10);
  }
}

TEST_P(EncoderConformance, RowsWithoutTokensGiveZeros) {
  if (kind() != InputKind::tokens) return;  // that the other kinds give no NaN, is tested above
  for (const bool twice : kernels()) {
    network->set_twice_differentiable(twice);
    EXPECT_EQ(largest(network->encode(inputs())[2]), 0);
    for (const int64_t width : {0, 3}) {  // nothing but empty rows: still zeros, and a gradient that exists
      const Tensor features =
          network->encode({torch::zeros({2, width}, torch::kLong), torch::zeros({2}, torch::kLong)});
      EXPECT_EQ(features.size(0), 2);
      EXPECT_EQ(largest(features), 0);
      for (const Tensor& gradient : torch::autograd::grad({features.sum()}, network->encoder_parameters()))
        EXPECT_EQ(largest(gradient), 0);
    }
    EXPECT_EQ(network->encode({torch::zeros({0, 3}, torch::kLong), torch::zeros({0}, torch::kLong)}).size(0),
              0);
  }
}

TEST_P(EncoderConformance, GradientsEqualDifferences) {
  for (const bool twice : kernels()) {
    network->set_twice_differentiable(twice);
    const Tensor gradient = flat_gradient(loss(), false);
    EXPECT_GT(largest(gradient), 1e-2);
    EXPECT_LT(difference_error(gradient, [this] { return loss().item<double>(); }), kDifferenceError);
  }
}

TEST_P(EncoderConformance, SecondDerivativesEqualDifferencesOrAreRefused) {
  if (!entry().twice_differentiable) {
    EXPECT_THROW(network->set_twice_differentiable(true), InputError);
    return;
  }
  network->set_twice_differentiable(true);
  const Tensor gradient = flat_gradient(loss(), true);
  const Tensor direction = torch::linspace(1, -0.8, gradient.numel(), torch::kDouble).cos();
  const auto product = [&] { return flat_gradient(loss(), true).dot(direction); };
  // A parameter that enters linearly has no second derivative, so its part may be absent.
  const std::vector<Tensor> parameters = network->parameters();
  const auto found = torch::autograd::grad({product()}, parameters, {}, false, false, true);
  std::vector<Tensor> parts;
  for (size_t i = 0; i < found.size(); ++i)
    parts.push_back(found[i].defined() ? found[i].flatten() : torch::zeros_like(parameters[i]).flatten());
  EXPECT_LT(difference_error(torch::cat(parts), [&] { return product().item<double>(); }), kDifferenceError);
}

TEST_P(EncoderConformance, FastAndTwiceDifferentiableKernelsAgree) {
  if (!entry().twice_differentiable) return;
  const Tensor fast = network->forward(inputs()), fast_gradient = flat_gradient(loss(), false);
  network->set_twice_differentiable(true);
  EXPECT_LT(largest(network->forward(inputs()) - fast), 1e-10);
  EXPECT_LT(largest(flat_gradient(loss(), false) - fast_gradient), 1e-10);
}

TEST_P(EncoderConformance, IsLinearWhereItSaysSo) {
  EXPECT_EQ(network->head_parameters().empty(), entry().linear || entry().ensemble);
  if (!entry().linear) return;
  const auto fresh = make_network(GetParam().options, shape());
  EXPECT_EQ(largest(fresh->forward(moved(inputs(), torch::kFloat))), 0);
  const torch::NoGradGuard no_grad;
  const Tensor once = network->forward(inputs());
  for (Tensor& p : network->parameters()) p.mul_(2);
  EXPECT_LT(largest(network->forward(inputs()) - 2 * once), 1e-12);
  std::vector<Tensor> more;
  for (Tensor& p : network->parameters()) more.push_back(torch::randn_like(p));
  const auto parameters = network->parameters();
  const auto outputs_with = [&](const std::function<Tensor(size_t)>& value) {
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].detach().copy_(value(i));
    return network->forward(inputs());
  };
  std::vector<Tensor> own;
  for (const Tensor& p : parameters) own.push_back(p.detach().clone());
  const Tensor a = outputs_with([&](size_t i) { return own[i]; });
  const Tensor b = outputs_with([&](size_t i) { return more[i]; });
  EXPECT_LT(largest(outputs_with([&](size_t i) { return own[i] + more[i]; }) - a - b), 1e-12);
}

TEST_P(EncoderConformance, WeightsOfInputsHaveARowForEach) {
  const std::map<InputKind, std::vector<int64_t>> absent{
      {InputKind::tokens, {8}}, {InputKind::dense, {0, 7}}, {InputKind::sparse, {7, 8, 9, 10}}};
  Inputs rows = inputs();
  if (kind() == InputKind::dense) rows[0].index_fill_(1, torch::tensor(absent.at(kind()), torch::kLong), 0);
  network->forward(rows).square().sum().backward();
  for (const auto& item : network->named_parameters()) {
    const WeightKind what = network->kind_of(item.value());
    if (what != WeightKind::vectors && what != WeightKind::direct && what != WeightKind::input) continue;
    EXPECT_EQ(what == WeightKind::vectors, kind() == InputKind::tokens) << item.key();
    ASSERT_EQ(item.value().size(0), kWidth) << item.key();
    EXPECT_GT(largest(item.value().grad()), 0) << item.key();
    for (const int64_t row : absent.at(kind())) EXPECT_EQ(largest(item.value().grad()[row]), 0) << item.key();
  }
}

TEST_P(EncoderConformance, SameSeedSameParameters) {
  const auto drawn = [this](uint64_t seed) {
    torch::manual_seed(seed);
    return make_network(GetParam().options, shape())->parameters();
  };
  const auto first = drawn(5), second = drawn(5), third = drawn(6);
  bool differs = entry().linear;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(torch::equal(first[i], second[i]));
    differs = differs || !torch::equal(first[i], third[i]);
  }
  EXPECT_TRUE(differs);
}

TEST_P(EncoderConformance, ReadsParametersWhereTheyAre) {
  // All parameters become views of one flat tensor; writing there must change the result as writing to them
  // does.
  const Tensor before = network->forward(inputs()).detach();
  std::vector<Tensor> parts;
  for (const Tensor& p : network->parameters()) parts.push_back(p.detach().flatten());
  const Tensor flat = torch::cat(parts);
  int64_t at = 0;
  for (Tensor& p : network->parameters()) {
    p.set_data(flat.narrow(0, at, p.numel()).view(p.sizes()));
    at += p.numel();
  }
  EXPECT_LT(largest(network->forward(inputs()) - before), 1e-12);
  const Tensor gradient = flat_gradient(loss(), false);
  const double loss_before = loss().item<double>();
  const double step = 1e-4 / gradient.norm().item<double>();
  flat.sub_(step * gradient);
  const double predicted = -step * gradient.dot(gradient).item<double>();
  EXPECT_NEAR((loss().item<double>() - loss_before) / predicted, 1, 0.05);
  // Every single parameter is read through its view.
  for (Tensor& p : network->parameters()) {
    const double value = loss().item<double>();
    Tensor view = p.detach();
    ASSERT_TRUE(view.is_alias_of(flat));
    const Tensor kept = view.clone();
    view.add_(0.1 * torch::linspace(1, 2, view.numel(), torch::kDouble).view(view.sizes()));
    EXPECT_NE(loss().item<double>(), value) << p.sizes();
    view.copy_(kept);
  }
}

TEST_P(EncoderConformance, SavesAndLoads) {
  const json saved = {{"network", network->options()}, {"input", network->input()}};
  const json loaded = json::parse(saved.dump());
  const auto options = loaded.at("network").get<NetworkOptions>();
  const auto input = loaded.at("input").get<InputShape>();
  EXPECT_EQ(options, network->options()) << saved;
  EXPECT_EQ(resolved(options, input), options) << "filling in defaults twice changed something";
  EXPECT_FALSE(network->options().set.contains("encoder") || network->options().set.contains("outputs"));

  std::map<std::string, Tensor> tensors;
  for (const auto& item : network->named_parameters()) tensors[item.key()] = item.value().detach();
  for (const auto& item : network->named_buffers()) tensors[item.key()] = item.value();
  const std::string file = testing::TempDir() + "/" + GetParam().name + ".safetensors";
  save_safetensors(file, tensors, {});
  const auto read = load_safetensors(file).tensors;
  std::filesystem::remove(file);
  torch::manual_seed(99);
  const auto rebuilt = make_network(options, input);
  rebuilt->to(torch::kDouble);
  rebuilt->eval();
  const torch::NoGradGuard no_grad;
  for (auto& item : rebuilt->named_parameters()) item.value().copy_(read.at(item.key()));
  for (auto& item : rebuilt->named_buffers()) item.value().copy_(read.at(item.key()));
  EXPECT_TRUE(torch::equal(network->forward(inputs()), rebuilt->forward(inputs())));
}

TEST_P(EncoderConformance, RefusesImpossibleValues) {
  const auto refusal = [this](const std::string& name, const json& value) -> std::string {
    NetworkOptions options = GetParam().options;
    options.set[name] = value;
    try {
      resolved(options, shape());
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_TRUE(refusal("no_such_option", 1).starts_with("no_such_option = 1: "))
      << refusal("no_such_option", 1);
  for (const auto& [name, value] : network->options().set.items()) {
    EXPECT_TRUE(refusal(name, json::object()).starts_with(name + " = {}: ")) << refusal(name, json::object());
    const std::string other = value.is_number() ? refusal(name, -1) : refusal(name, "no such value");
    EXPECT_TRUE(other.starts_with(name + " = ")) << other;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EncoderConformance, testing::ValuesIn(cases()),
                         [](const auto& information) { return information.param.name; });

}  // namespace
}  // namespace encoder_conformance_test
}  // namespace bilevel
