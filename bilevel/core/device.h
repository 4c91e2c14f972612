// Where numbers are, and how they get there.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bilevel {

/// The device that an option names: "cpu", "cuda" (the first one) or "cuda:N". Throws InputError, which names the field, for
/// another text and for a device that is not there, and says which are.
torch::Device device_named(const std::string& name, const std::string& field = "device");

/// `tensor` on `device`. What comes from the host is on its way when this returns, and only later work of the device waits for
/// it; what goes to the host has arrived.
torch::Tensor to_device(const torch::Tensor& tensor, const torch::Device& device);

/// Numbers of rows as a tensor int64 [rows] on `device`.
torch::Tensor index_on(const torch::Device& device, const std::vector<int64_t>& rows);

/// Bytes that are free on a device; 0 on the CPU, where nothing needs to go, and where LibTorch (before 2.13) does not say.
int64_t free_bytes(const torch::Device& device);

}  // namespace bilevel
