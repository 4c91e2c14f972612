// What a checkpoint holds, saved and restored by one function per class.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {

/// A set of named tensors that is either being filled (saving) or read back (loading). A class gives one
/// member function `void state(State&)` that names each of its variables once; the same lines serve both
/// directions, so they cannot disagree. Names are paths: `scope` prefixes them. Reading a name that is absent
/// throws FileError.
class State {
 public:
  /// A state to save into.
  State() = default;
  /// A state to load from.
  explicit State(std::map<std::string, torch::Tensor> tensors)
      : tensors_(std::move(tensors)), loading_(true) {}

  bool loading() const { return loading_; }
  const std::map<std::string, torch::Tensor>& tensors() const { return tensors_; }

  /// Saves a copy of `value`, or replaces `value` by what was saved, on the device that `value` was on (undefined: the
  /// CPU).
  void tensor(const std::string& name, torch::Tensor& value);

  /// Saves or restores a number, exactly.
  template <typename T>
  void value(const std::string& name, T& number) {
    static_assert(std::is_arithmetic_v<T>);
    static_assert(sizeof(T) <= 8);
    torch::Tensor holder;
    if (!loading_) {
      if constexpr (std::is_floating_point_v<T>) {
        holder = torch::tensor(static_cast<double>(number), torch::kFloat64);
      } else {
        holder = torch::tensor(static_cast<int64_t>(number), torch::kInt64);
      }
    }
    tensor(name, holder);
    if (!loading_) return;
    if constexpr (std::is_floating_point_v<T>) {
      number = static_cast<T>(holder.item<double>());
    } else {
      number = static_cast<T>(holder.item<int64_t>());
    }
  }

  /// Saves or restores a list of numbers, exactly.
  void values(const std::string& name, std::vector<double>& numbers);

  /// Everything that `body` does to the state happens under `name` + "/".
  template <typename Body>
  void scope(const std::string& name, Body&& body) {
    const std::string outer = prefix_;
    prefix_ += name + "/";
    body(*this);
    prefix_ = outer;
  }

  /// Saves or restores an object by its own `state`, under `name` + "/".
  template <typename Part>
  void part(const std::string& name, Part& part) {
    scope(name, [&](State& inner) { part.state(inner); });
  }

  /// The names directly under the current scope: those of `map` when saving, those that were saved when
  /// loading.
  template <typename Map>
  std::vector<std::string> names(const Map& map) const {
    if (loading_) return saved_names();
    std::vector<std::string> keys;
    for (const auto& [key, unused] : map) keys.push_back(key);
    return keys;
  }

 private:
  std::vector<std::string> saved_names() const;

  std::map<std::string, torch::Tensor> tensors_;
  std::string prefix_;
  bool loading_ = false;
};

}  // namespace bilevel
