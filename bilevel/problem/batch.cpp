#include "bilevel/problem/batch.h"

namespace bilevel {

Batch Batch::to(const torch::Device& device) const {
  Batch moved{{}, rows};
  moved.tensors.reserve(tensors.size());
  for (const torch::Tensor& tensor : tensors) moved.tensors.push_back(tensor.to(device));
  return moved;
}

}  // namespace bilevel
