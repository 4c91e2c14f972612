// The parameters of a variable and their names.
#pragma once

#include <torch/types.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace torch::nn {
class Module;
}

namespace bilevel {

/// The tensors of a variable, with their names for messages or without: `{w, b}`, `{{"w", w}, {"b", b}}`,
/// `named(*module)`.
class ParameterList : public std::vector<torch::Tensor> {
 public:
  using vector::vector;
  ParameterList() = default;
  ParameterList(std::vector<torch::Tensor> tensors, std::vector<std::string> names_of_tensors = {})
      : vector(std::move(tensors)), names(std::move(names_of_tensors)) {}
  ParameterList(std::initializer_list<std::pair<std::string, torch::Tensor>> tensors);

  void add(std::string name, torch::Tensor tensor);

  std::vector<std::string> names;  ///< one for each tensor, or none
};

/// The parameters of a module that require gradients, named as the module names them ("0.weight").
ParameterList named(const torch::nn::Module& module);

}  // namespace bilevel
