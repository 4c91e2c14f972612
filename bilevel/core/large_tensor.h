// Tensors in a LargeMemory.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "bilevel/core/large_array.h"

namespace bilevel {

/// A contiguous tensor of undefined values, which may be larger than the memory (see `LargeMemory`).
torch::Tensor large_empty(const std::vector<int64_t>& sizes, torch::ScalarType dtype);

/// A tensor that takes over the memory of `values`.
torch::Tensor adopt(LargeArray<int64_t> values);
torch::Tensor adopt(LargeArray<float> values);
torch::Tensor adopt(LargeArray<double> values);
torch::Tensor adopt(std::vector<int64_t> values);
torch::Tensor adopt(std::vector<float> values);
torch::Tensor adopt(std::vector<double> values);

}  // namespace bilevel
