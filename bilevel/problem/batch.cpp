#include "bilevel/problem/batch.h"

namespace bilevel {

Batch Batch::to(const torch::Device& device) const {
  Batch moved{{}, rows, weights.defined() ? weights.to(device) : weights};
  moved.tensors.reserve(tensors.size());
  for (const torch::Tensor& tensor : tensors) moved.tensors.push_back(tensor.to(device));
  return moved;
}

torch::Tensor weighted_mean(const torch::Tensor& values, const torch::Tensor& weights) {
  return weights.defined() ? (weights.to(values.options()) * values).mean() : values.mean();
}

}  // namespace bilevel
