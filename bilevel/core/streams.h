// Named random streams: one seed, one generator per name, so that a new consumer shifts nobody else's draws.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/MT19937RNGEngine.h>
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "bilevel/core/state.h"

namespace bilevel {

/// A 64-bit seed that depends on `seed` and `name` alone (FNV-1a of the name, mixed with the seed by
/// splitmix64).
uint64_t derive_seed(uint64_t seed, const std::string& name);

/// The random streams of one run. Each name ("init", "upper_batches", "lower_batches", "estimator", ...) has
/// a Mersenne-Twister generator of its own on the CPU, made when it is first asked for.
class Streams {
 public:
  explicit Streams(uint64_t seed) : seed_(seed) {}

  uint64_t seed() const { return seed_; }

  /// The generator called `name`. The reference stays valid as long as the Streams.
  at::Generator& stream(const std::string& name);

  /// Draws a 64-bit number from the stream `name`.
  uint64_t draw(const std::string& name);

  /// Saves or restores every stream that was used so far.
  void state(State& state);

 private:
  uint64_t seed_;
  std::map<std::string, at::Generator> generators_;
};

/// The next 64 bits of a generator on the CPU.
uint64_t random_bits(at::Generator& generator);

/// For its lifetime, LibTorch's default generators (the CPU's, and CUDA's when `device` is a CUDA device)
/// start from `seed`; afterwards they are as they were. Dropout and the initializers of LibTorch read only
/// these.
///
/// The generators belong to the whole process. So only one thread holds scopes at a time, and another waits: runs in
/// several threads give what they give alone. What a thread draws from the default generators outside of any scope is
/// not protected from the scopes of others. A thread with a scope must not wait for one that asks for a scope.
class DefaultGeneratorScope {
 public:
  DefaultGeneratorScope(uint64_t seed, const torch::Device& device = torch::kCPU);
  ~DefaultGeneratorScope();
  DefaultGeneratorScope(const DefaultGeneratorScope&) = delete;
  DefaultGeneratorScope& operator=(const DefaultGeneratorScope&) = delete;

 private:
  std::unique_lock<std::recursive_mutex> alone_;
  torch::Device device_;
  at::mt19937 cpu_engine_;
  std::optional<float> cpu_float_;  // of a pair of normal numbers the second one
  std::optional<double> cpu_double_;
  torch::Tensor device_state_;
};

}  // namespace bilevel
