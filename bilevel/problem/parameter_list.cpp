#include "bilevel/problem/parameter_list.h"

#include <torch/nn/module.h>

namespace bilevel {

ParameterList::ParameterList(std::initializer_list<std::pair<std::string, torch::Tensor>> tensors) {
  for (const auto& [name, tensor] : tensors) add(name, tensor);
}

void ParameterList::add(std::string name, torch::Tensor tensor) {
  push_back(std::move(tensor));
  names.push_back(std::move(name));
}

ParameterList named(const torch::nn::Module& module) {
  ParameterList list;
  for (const auto& parameter : module.named_parameters()) {
    if (parameter.value().requires_grad()) list.add(parameter.key(), parameter.value());
  }
  return list;
}

}  // namespace bilevel
