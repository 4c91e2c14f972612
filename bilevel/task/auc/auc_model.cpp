#include "bilevel/task/auc/auc_model.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "bilevel/core/error.h"
#include "bilevel/core/parameters.h"
#include "bilevel/core/streams.h"

namespace bilevel {
namespace {

torch::Tensor squash(const torch::Tensor& u) { return u / (1 + u.square()).sqrt(); }

}  // namespace

AucModel::AucModel(const NetworkOptions& options, const InputShape& shape, const AucLoss& loss, double l2,
                   uint64_t seed, const torch::Device& device)
    : loss_(loss), l2_(l2), device_(device) {
  {
    const DefaultGeneratorScope randomness(derive_seed(seed, "init"));
    network_ = make_network(options, shape);
  }
  if (options.encoder == "mlp") {  // starts near its linear part, which starts at zero
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& weight : network_->head_parameters()) weight.mul_(0.1);
  }
  network_->to(device_);
  const auto scalar = [&] { return torch::zeros({1}, torch::device(device_)).requires_grad_(); };
  a_ = scalar();
  b_ = scalar();
  alpha_ = scalar();
}

std::vector<std::string> AucModel::upper_names() const {
  std::vector<std::string> names;
  for (const auto& parameter : network_->named_parameters()) names.push_back(parameter.key());
  names.insert(names.end(), {"auc.a", "auc.b"});
  return names;
}

std::vector<torch::Tensor> AucModel::upper_parameters() const {
  std::vector<torch::Tensor> parameters = network_->parameters();
  parameters.insert(parameters.end(), {a_, b_});
  return parameters;
}

torch::Tensor AucModel::encode(const std::vector<torch::Tensor>& inputs) const {
  return squash(network_->forward(inputs).squeeze(-1));
}

Problem AucModel::problem(const AucData& data, int64_t batch_size) const {
  const auto gather = [data](const std::vector<int64_t>& rows) {
    Batch batch{data.inputs.gather(rows), rows};
    batch.tensors.push_back(data.labels.index_select(0, torch::tensor(rows, torch::kInt64)));
    return batch;
  };
  const auto source = [&](const std::vector<int64_t>& rows) {
    std::vector<int64_t> classes;
    const auto* label = data.labels.data_ptr<float>();
    for (const int64_t row : rows) classes.push_back(label[row] > 0 ? 1 : 0);
    return BatchSource(rows, gather, {.batch_size = batch_size}, classes);
  };

  std::vector<torch::Tensor> linear_weights, hidden_weights;
  const bool direct = network_->head_parameters().empty();
  for (const auto& parameter : network_->named_parameters()) {
    const std::string& name = parameter.key();
    if (parameter.value().dim() < 2 || name.find("embedding") != std::string::npos) continue;
    (direct || name.starts_with("skip") ? linear_weights : hidden_weights).push_back(parameter.value());
  }
  const double strength = loss_.lower_curvature() / 2 * l2_ / static_cast<double>(data.upper.size());
  const auto penalty = [=] {
    torch::Tensor sum;
    for (const auto& [weights, factor] : {std::pair{&linear_weights, 1.0}, std::pair{&hidden_weights, 0.5}}) {
      if (weights->empty()) continue;
      const torch::Tensor part = strength * factor * squared_norm(*weights);
      sum = sum.defined() ? sum + part : part;
    }
    return sum;
  };

  const auto value = [loss = loss_, a = a_, b = b_, alpha = alpha_](const torch::Tensor& scores,
                                                                    const Batch& batch) {
    return loss.value(scores, batch.tensors.back(), a, b, alpha);
  };
  const AucModel model = *this;
  return {
      .upper = {.parameters = upper_parameters(),
                .feature_loss =
                    [=, l2 = l2_](const torch::Tensor& scores, const Batch& batch) {
                      return l2 > 0 ? value(scores, batch) + penalty() : value(scores, batch);
                    },
                .batches = source(data.upper),
                .names = upper_names()},
      .lower = {.parameters = {alpha_},
                .feature_loss = [=](const torch::Tensor& scores,
                                    const Batch& batch) { return -value(scores, batch); },
                .batches = source(data.lower),
                .names = {"alpha"}},
      .encode =
          [model](const Batch& batch) {
            return model.encode({batch.tensors.begin(), batch.tensors.end() - 1});
          },
      .join =
          [gather](const Batch& upper, const Batch& lower) {
            std::vector<int64_t> rows = upper.rows;
            rows.insert(rows.end(), lower.rows.begin(), lower.rows.end());
            return gather(rows);
          },
      .lower_hessian = [h = loss_.lower_curvature()](const torch::Tensor& v) { return h * v; },
  };
}

torch::Tensor AucModel::scores(const Inputs& inputs, const std::vector<int64_t>& rows) const {
  constexpr size_t kChunk = 1024;
  const torch::NoGradGuard no_grad;
  const bool training = network_->is_training();
  network_->eval();
  std::vector<torch::Tensor> parts;
  for (size_t begin = 0; begin < rows.size(); begin += kChunk) {
    const size_t end = std::min(rows.size(), begin + kChunk);
    std::vector<torch::Tensor> chunk = inputs.gather(
        {rows.begin() + static_cast<std::ptrdiff_t>(begin), rows.begin() + static_cast<std::ptrdiff_t>(end)});
    for (torch::Tensor& tensor : chunk) tensor = tensor.to(device_);
    parts.push_back(encode(chunk).to(torch::kCPU));
  }
  network_->train(training);
  return torch::cat(parts);
}

double AucModel::loss(const torch::Tensor& scores, const torch::Tensor& labels) const {
  const torch::NoGradGuard no_grad;
  const auto number = [](const torch::Tensor& t) { return t.to(torch::kCPU, torch::kFloat64); };
  return loss_.value(number(scores), number(labels), number(a_), number(b_), number(alpha_)).item<double>();
}

std::map<std::string, torch::Tensor> AucModel::tensors() const {
  std::map<std::string, torch::Tensor> tensors;
  const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
    tensors[name] = tensor.detach().to(torch::kCPU).contiguous();
  };
  for (const auto& parameter : network_->named_parameters()) add(parameter.key(), parameter.value());
  for (const auto& buffer : network_->named_buffers()) add(buffer.key(), buffer.value());
  add("auc.a", a_);
  add("auc.b", b_);
  add("auc.alpha", alpha_);
  return tensors;
}

void AucModel::load(const std::map<std::string, torch::Tensor>& tensors) {
  const torch::NoGradGuard no_grad;
  const auto set = [&](const std::string& name, torch::Tensor target) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw FileError(fmt::format("the model's weights do not hold '{}'", name));
    if (found->second.sizes() != target.sizes())
      throw FileError(fmt::format("the model's '{}' has another shape", name));
    target.copy_(found->second);
  };
  for (const auto& parameter : network_->named_parameters()) set(parameter.key(), parameter.value());
  for (const auto& buffer : network_->named_buffers()) set(buffer.key(), buffer.value());
  set("auc.a", a_);
  set("auc.b", b_);
  set("auc.alpha", alpha_);
}

}  // namespace bilevel
