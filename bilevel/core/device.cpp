#include "bilevel/core/device.h"

#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <algorithm>

#include "bilevel/core/error.h"

#define BILEVEL_KNOWS_FREE_MEMORY \
  (TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 13))
#if BILEVEL_KNOWS_FREE_MEMORY
#include <c10/core/CachingDeviceAllocator.h>
#endif

namespace bilevel {

torch::Device device_named(const std::string& name, const std::string& field) {
  if (name == "cpu") return torch::kCPU;
  const std::string prefix = "cuda:",
                    number = name == "cuda" ? "0" : name.substr(std::min<size_t>(5, name.size()));
  const bool digits = !number.empty() && number.size() <= 2 &&
                      std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; });
  if (!(name == "cuda" || name.starts_with(prefix)) || !digits)
    throw InputError(fmt::format("{} = {}: must be cpu, cuda or cuda:N", field, name));
  const int index = std::stoi(number), count = torch::cuda::device_count();
  if (index < count) return {torch::kCUDA, static_cast<torch::DeviceIndex>(index)};
  throw InputError(fmt::format(
      "{} = {}: {}", field, name,
      count == 0   ? "this LibTorch has no CUDA device; use cpu"
      : count == 1 ? "there is one CUDA device, cuda:0"
                   : fmt::format("there are {} CUDA devices, cuda:0 to cuda:{}", count, count - 1)));
}

torch::Tensor to_device(const torch::Tensor& tensor, const torch::Device& device) {
  return tensor.to(device, tensor.scalar_type(), /*non_blocking=*/tensor.is_cpu());
}

torch::Tensor index_on(const torch::Device& device, const std::vector<int64_t>& rows) {
  return to_device(torch::tensor(rows, torch::kInt64), device);
}

int64_t free_bytes(const torch::Device& device) {
  if (device.is_cpu()) return 0;
#if BILEVEL_KNOWS_FREE_MEMORY
  return static_cast<int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first);
#else
  return 0;
#endif
}

}  // namespace bilevel
