// What several tests need.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "bilevel/core/parameters.h"
#include "tests/files.h"

namespace bilevel {

/// The text of the exception that `function` must throw.
template <typename Exception, typename Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const Exception& error) {
    return error.what();
  }
  ADD_FAILURE() << "no exception of the expected type";
  return {};
}

#define EXPECT_CONTAINS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << "in: " << (text) << "\nmissing: " << (part)

/// Every file of a folder but the lock, which names the latest process.
inline std::map<std::string, std::string> files_in(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().filename() != ".lock")
      files[entry.path().string()] = read_bytes(entry.path().string());
  }
  return files;
}

/// The processes that a process has started and that run.
inline std::vector<pid_t> children_of(pid_t process) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    // The process, its program in brackets, its state and its parent.
    const std::string stat = read_bytes(entry.path() / "stat");
    char state = ' ';
    pid_t parent = 0;
    if (std::istringstream(stat.substr(std::min(stat.size(), stat.rfind(')') + 1))) >> state >> parent &&
        parent == process && state != 'Z')
      found.push_back(std::stoi(name));
  }
  return found;
}

/// Largest absolute difference of two tensors.
inline double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.detach() - b.detach()).abs().max().item<double>();
}

/// Euclidean distance relative to `expected`.
inline double relative_error(const torch::Tensor& found, const torch::Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}

/// d value / d variable by central differences: [variable] for a scalar value, [value, variable] for a
/// vector. Every value is computed at a new point; the variable ends where it was. Error about h^2 f'''/6 +
/// 1e-16 |f|/h.
inline torch::Tensor numerical_derivative(Parameters& variable, const std::function<torch::Tensor()>& value,
                                          double h = 1e-5) {
  const torch::Tensor at = variable.flat().clone();
  std::vector<torch::Tensor> columns;
  for (int64_t i = 0; i < at.numel(); ++i) {
    torch::Tensor shifted = at.clone();
    shifted[i] += h;
    variable.assign(shifted);
    const torch::Tensor above = value().detach().clone();
    shifted[i] -= 2 * h;
    variable.assign(shifted);
    columns.push_back((above - value().detach()) / (2 * h));
  }
  variable.assign(at);
  return torch::stack(columns, -1);
}

}  // namespace bilevel
