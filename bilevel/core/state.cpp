#include "bilevel/core/state.h"

#include <set>

namespace bilevel {

void State::tensor(const std::string& name, torch::Tensor& value) {
  const std::string path = prefix_ + name;
  if (!loading_) {
    // A clone, so that what is saved does not move with the variable.
    tensors_[path] =
        value.detach().to(torch::kCPU, value.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
    return;
  }
  const auto found = tensors_.find(path);
  if (found == tensors_.end()) throw FileError("the checkpoint does not hold '" + path + "'");
  value = found->second.to(value.defined() ? value.device() : torch::kCPU, found->second.scalar_type(),
                           /*non_blocking=*/false, /*copy=*/true);
}

void State::values(const std::string& name, std::vector<double>& numbers) {
  torch::Tensor holder = torch::tensor(numbers, torch::kFloat64);
  tensor(name, holder);
  if (loading_) numbers.assign(holder.data_ptr<double>(), holder.data_ptr<double>() + holder.numel());
}

std::vector<std::string> State::saved_names() const {
  std::set<std::string> names;
  for (auto it = tensors_.lower_bound(prefix_); it != tensors_.end() && it->first.starts_with(prefix_);
       ++it) {
    const std::string rest = it->first.substr(prefix_.size());
    const std::string name = rest.substr(0, rest.find('/'));
    names.insert(name);
  }
  return {names.begin(), names.end()};
}

}  // namespace bilevel
