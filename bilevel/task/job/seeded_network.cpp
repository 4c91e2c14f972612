#include "bilevel/task/job/seeded_network.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"

namespace bilevel {

std::shared_ptr<Network> seeded_network(const NetworkOptions& options, const InputShape& shape, uint64_t seed,
                                        const torch::Device& device) {
  std::shared_ptr<Network> network;
  {
    const DefaultGeneratorScope randomness(derive_seed(seed, "init"));
    network = make_network(options, shape);
  }
  if (encoder_registry().at(options.encoder).reads == Reads::columns) {
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& weight : network->head_parameters()) weight.mul_(0.1);
  }
  network->to(device);
  return network;
}

torch::Tensor over_rows(Network& network, const std::vector<int64_t>& rows, const torch::Device& device,
                        const Gather& gather, const Apply& apply) {
  constexpr size_t kChunk = 1024;
  const torch::NoGradGuard no_grad;
  const bool training = network.is_training();
  network.eval();
  std::vector<torch::Tensor> parts;
  for (size_t begin = 0; begin < rows.size(); begin += kChunk) {
    const size_t end = std::min(rows.size(), begin + kChunk);
    std::vector<torch::Tensor> chunk = gather(
        {rows.begin() + static_cast<std::ptrdiff_t>(begin), rows.begin() + static_cast<std::ptrdiff_t>(end)});
    for (torch::Tensor& tensor : chunk) tensor = tensor.to(device);
    parts.push_back(apply(chunk).to(torch::kCPU));
  }
  network.train(training);
  return torch::cat(parts);
}

torch::Tensor over_rows(Network& network, const Inputs& inputs, const std::vector<int64_t>& rows,
                        const torch::Device& device, const Apply& apply) {
  return over_rows(
      network, rows, device, [&](const std::vector<int64_t>& some) { return inputs.gather(some); }, apply);
}

torch::Tensor logits_of(Network& network, const Inputs& inputs, const std::vector<int64_t>& rows,
                        const torch::Device& device) {
  return over_rows(network, inputs, rows, device,
                   [&](const std::vector<torch::Tensor>& chunk) { return network.forward(chunk); });
}

std::map<std::string, torch::Tensor> tensors_of(const Network& network) {
  std::map<std::string, torch::Tensor> tensors;
  const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
    tensors[name] = tensor.detach().to(torch::kCPU, tensor.scalar_type(), false, /*copy=*/true).contiguous();
  };
  for (const auto& parameter : network.named_parameters()) add(parameter.key(), parameter.value());
  for (const auto& buffer : network.named_buffers()) add(buffer.key(), buffer.value());
  return tensors;
}

void load_tensor(const std::map<std::string, torch::Tensor>& tensors, const std::string& name,
                 torch::Tensor target) {
  const torch::NoGradGuard no_grad;
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw FileError(fmt::format("the model's weights do not hold '{}'", name));
  if (found->second.sizes() != target.sizes())
    throw FileError(fmt::format("the model's '{}' has another shape", name));
  target.copy_(found->second);
}

void load_network(const std::map<std::string, torch::Tensor>& tensors, Network& network) {
  for (const auto& parameter : network.named_parameters())
    load_tensor(tensors, parameter.key(), parameter.value());
  for (const auto& buffer : network.named_buffers()) load_tensor(tensors, buffer.key(), buffer.value());
}

NetworkWeights weights_of(const Network& network) {
  NetworkWeights weights;
  for (const torch::Tensor& parameter : network.parameters()) {
    const WeightKind kind = network.kind_of(parameter);
    if (kind == WeightKind::other || kind == WeightKind::vectors) continue;
    (kind == WeightKind::direct ? weights.linear : weights.hidden).push_back(parameter);
  }
  return weights;
}

}  // namespace bilevel
