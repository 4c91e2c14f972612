#include "bilevel/core/tensor_json.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {

using Json = nlohmann::ordered_json;

Json tensor_json(const torch::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  if (tensor.layout() != torch::kStrided) throw std::logic_error("only dense tensors can be sent");
  const torch::Tensor whole = tensor.detach().cpu().contiguous();
  std::vector<uint8_t> bytes(whole.nbytes());
  if (!bytes.empty()) std::memcpy(bytes.data(), whole.const_data_ptr(), bytes.size());
  return {{"type", static_cast<int>(whole.scalar_type())},
          {"shape", whole.sizes().vec()},
          {"bytes", Json::binary(std::move(bytes))}};
}

Json tensors_json(const std::map<std::string, torch::Tensor>& tensors) {
  Json all = Json::object();
  for (const auto& [name, tensor] : tensors) all[name] = tensor_json(tensor);
  return all;
}

torch::Tensor tensor_from(const Json& json) {
  if (json.is_null()) return {};
  const std::vector<uint8_t>& bytes = json.at("bytes").get_binary();
  torch::Tensor tensor = torch::empty(json.at("shape").get<std::vector<int64_t>>(),
                                      static_cast<torch::ScalarType>(json.at("type").get<int>()));
  if (tensor.nbytes() != bytes.size()) throw FileError("a tensor is cut");
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

std::map<std::string, torch::Tensor> tensors_from(const Json& json) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [name, tensor] : json.items()) tensors[name] = tensor_from(tensor);
  return tensors;
}

}  // namespace bilevel
