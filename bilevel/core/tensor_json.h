// Tensors in JSON, for another process or a file of this program.
#pragma once

#include <torch/types.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace bilevel {

/// {type, shape, bytes}: keeps every bit; for binary forms of JSON (CBOR) only. An undefined tensor is null. Throws
/// std::logic_error for one that is not dense.
nlohmann::ordered_json tensor_json(const torch::Tensor& tensor);
nlohmann::ordered_json tensors_json(const std::map<std::string, torch::Tensor>& tensors);

/// The tensor, contiguous, on the CPU. Throws nlohmann::json::exception and FileError for what is none.
torch::Tensor tensor_from(const nlohmann::ordered_json& json);
std::map<std::string, torch::Tensor> tensors_from(const nlohmann::ordered_json& json);

}  // namespace bilevel
