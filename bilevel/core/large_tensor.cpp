#include "bilevel/core/large_tensor.h"

#include <cstddef>
#include <memory>
#include <utility>

namespace bilevel {
namespace {

template <typename T>
torch::Tensor adopt_vector(std::vector<T> values) {
  if (values.empty()) return torch::empty({0}, c10::CppTypeToScalarType<T>::value);
  auto owner = std::make_shared<std::vector<T>>(std::move(values));
  return torch::from_blob(
      owner->data(), {static_cast<int64_t>(owner->size())}, [owner](void*) mutable { owner.reset(); },
      torch::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value));
}

torch::Tensor tensor_in(LargeMemory memory, const std::vector<int64_t>& sizes, torch::ScalarType dtype) {
  auto owner = std::make_shared<LargeMemory>(std::move(memory));
  return torch::from_blob(
      owner->data(), sizes, [owner](void*) mutable { owner.reset(); }, torch::TensorOptions().dtype(dtype));
}

template <typename T>
torch::Tensor adopt_array(LargeArray<T> values) {
  constexpr torch::ScalarType kType = c10::CppTypeToScalarType<T>::value;
  if (values.empty()) return torch::empty({0}, kType);
  const auto size = static_cast<int64_t>(values.size());
  return tensor_in(std::move(values).memory(), {size}, kType);
}

}  // namespace

torch::Tensor large_empty(const std::vector<int64_t>& sizes, torch::ScalarType dtype) {
  int64_t bytes = static_cast<int64_t>(torch::elementSize(dtype));
  for (const int64_t size : sizes) bytes *= size;
  if (bytes <= static_cast<int64_t>(LargeMemory::kKept)) return torch::empty(sizes, dtype);
  LargeMemory memory;
  memory.resize(static_cast<size_t>(bytes));
  return tensor_in(std::move(memory), sizes, dtype);
}

torch::Tensor adopt(LargeArray<int64_t> values) { return adopt_array(std::move(values)); }
torch::Tensor adopt(LargeArray<float> values) { return adopt_array(std::move(values)); }
torch::Tensor adopt(LargeArray<double> values) { return adopt_array(std::move(values)); }
torch::Tensor adopt(std::vector<int64_t> values) { return adopt_vector(std::move(values)); }
torch::Tensor adopt(std::vector<float> values) { return adopt_vector(std::move(values)); }
torch::Tensor adopt(std::vector<double> values) { return adopt_vector(std::move(values)); }

}  // namespace bilevel
