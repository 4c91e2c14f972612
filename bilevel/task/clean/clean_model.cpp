#include "bilevel/task/clean/clean_model.h"

#include <ATen/ops/cross_entropy_loss.h>

#include "bilevel/core/parameters.h"
#include "bilevel/glm/linear_loss.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {

std::vector<torch::Tensor> penalized_parameters(const Network& network) {
  std::vector<torch::Tensor> parameters;
  for (const torch::Tensor& parameter : network.parameters()) {
    if (network.kind_of(parameter) != WeightKind::vectors) parameters.push_back(parameter);
  }
  return parameters;
}

torch::Tensor losses_of(Network& network, const std::vector<torch::Tensor>& inputs,
                        const torch::Tensor& classes) {
  return at::cross_entropy_loss(network.forward(inputs), classes, {}, at::Reduction::None);
}

CleanModel::CleanModel(const NetworkOptions& options, const InputShape& shape, double l2, int64_t units,
                       double logit, uint64_t seed, const torch::Device& device)
    : network_(seeded_network(options, shape, seed, device)),
      logits_(torch::full({units}, logit, torch::device(device)).requires_grad_()),
      l2_(l2),
      device_(device) {
  network_->set_twice_differentiable(true);
}

Problem CleanModel::problem(const CleanData& data, int64_t batch_size) const {
  const auto set = data_set(data.inputs, data.classes);
  const auto losses = [network = network_](const Batch& b) {
    return losses_of(*network, b.inputs(), b.targets());
  };
  const double strength = l2_ / 2 / static_cast<double>(data.lower.size());
  const auto f = [losses](const Batch& b) { return weighted_mean(losses(b), b.weights()); };
  const auto g = [losses, strength, x = logits_, unit_of = data.unit_of.to(device_),
                  penalized = penalized_parameters(*network_)](const Batch& b) {
    const torch::Tensor weights = torch::sigmoid(x.index_select(0, unit_of.index_select(0, b.numbers())));
    const torch::Tensor loss = weighted_mean(weights * losses(b), b.weights());
    return strength > 0 ? loss + strength * squared_norm(penalized) : loss;
  };
  const SamplingOptions sampling{.batch_size = batch_size};
  Problem problem{
      .upper = {.parameters = {{"weight logits", logits_}},
                .loss = f,
                .batches = BatchSource(set, data.upper, sampling)},
      .lower = {.parameters = named(*network_), .loss = g, .batches = BatchSource(set, data.lower, sampling)},
      .set_twice_differentiable = [network = network_](bool on) { network->set_twice_differentiable(on); }};
  if (device_.is_cpu() && network_->is_linear_map()) {
    const torch::Tensor& w = problem.lower.parameters[0];
    LinearLoss loss{.rows = DesignRows(data.inputs.matrix(), w.size(0), w.scalar_type()),
                    .targets = data.classes,
                    .loss = RowLoss::softmax,
                    .outputs = w.size(1),
                    .bias = true};
    problem.upper.derivatives = derivatives_of(loss);
    loss.unit_of = data.unit_of;
    loss.strength = 2 * strength;
    problem.lower.derivatives = derivatives_of(loss);
  }
  return problem;
}

}  // namespace bilevel
