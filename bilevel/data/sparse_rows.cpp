#include "bilevel/data/sparse_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <stdexcept>

namespace bilevel {
SparseRows SparseRows::select(const std::vector<int64_t>& wanted) const {
  const auto* starts = offsets.const_data_ptr<int64_t>();
  std::vector<int64_t> new_offsets(wanted.size() + 1, 0);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] < 0 || wanted[i] >= rows()) {
      throw std::out_of_range(fmt::format("row {} of {} sparse rows", wanted[i], rows()));
    }
    new_offsets[i + 1] = new_offsets[i] + starts[wanted[i] + 1] - starts[wanted[i]];
  }
  SparseRows chosen{large_empty({new_offsets.back()}, torch::kInt64),
                    large_empty({new_offsets.back()}, values.scalar_type()),
                    {},
                    width};
  auto* to_indices = chosen.indices.mutable_data_ptr<int64_t>();
  auto* to_values = static_cast<std::byte*>(chosen.values.mutable_data_ptr());
  const auto* from_indices = indices.const_data_ptr<int64_t>();
  const auto* from_values = static_cast<const std::byte*>(values.const_data_ptr());
  const auto bytes = static_cast<int64_t>(values.element_size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const int64_t begin = starts[wanted[i]];
    const int64_t end = starts[wanted[i] + 1];
    std::copy(from_indices + begin, from_indices + end, to_indices + new_offsets[i]);
    std::copy(from_values + bytes * begin, from_values + bytes * end, to_values + bytes * new_offsets[i]);
  }
  chosen.offsets = adopt(std::move(new_offsets));
  return chosen;
}

torch::Tensor SparseRows::to_dense() const {
  torch::Tensor dense = torch::zeros({rows(), width}, values.options());
  const auto* starts = offsets.const_data_ptr<int64_t>();
  const auto* from_indices = indices.const_data_ptr<int64_t>();
  const auto fill = [&]<typename Value>(Value* to) {
    const auto* from_values = values.const_data_ptr<Value>();
    for (int64_t row = 0; row < rows(); ++row) {
      for (int64_t k = starts[row]; k < starts[row + 1]; ++k)
        to[row * width + from_indices[k]] = from_values[k];
    }
  };
  if (values.scalar_type() == torch::kFloat64) {
    fill(dense.mutable_data_ptr<double>());
  } else {
    fill(dense.mutable_data_ptr<float>());
  }
  return dense;
}

}  // namespace bilevel
