#include "bilevel/core/streams.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Utils.h>

namespace bilevel {

uint64_t derive_seed(uint64_t seed, const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const unsigned char c : name) hash = (hash ^ c) * 0x100000001b3ULL;
  uint64_t z = hash + 0x9e3779b97f4a7c15ULL * (seed + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

at::Generator& Streams::stream(const std::string& name) {
  auto found = generators_.find(name);
  if (found == generators_.end()) {
    found =
        generators_.emplace(name, at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed_, name))).first;
  }
  return found->second;
}

uint64_t Streams::draw(const std::string& name) { return random_bits(stream(name)); }

uint64_t random_bits(at::Generator& generator) {
  return at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
}

void Streams::state(State& state) {
  state.value("seed", seed_);
  state.scope("streams", [&](State& inner) {
    for (const std::string& name : inner.names(generators_)) {
      torch::Tensor generator = stream(name).get_state();
      inner.tensor(name, generator);
      if (inner.loading()) stream(name).set_state(generator);
    }
  });
}

namespace {

std::recursive_mutex default_generators;

at::CPUGeneratorImpl& default_cpu() {
  return *at::check_generator<at::CPUGeneratorImpl>(at::detail::getDefaultCPUGenerator());
}

}  // namespace

DefaultGeneratorScope::DefaultGeneratorScope(uint64_t seed, const torch::Device& device)
    : alone_(default_generators), device_(device) {
  at::CPUGeneratorImpl& cpu = default_cpu();
  {
    const std::lock_guard<std::mutex> lock(cpu.mutex_);
    cpu_engine_ = cpu.engine();
    cpu_float_ = cpu.next_float_normal_sample();
    cpu_double_ = cpu.next_double_normal_sample();
    cpu.set_current_seed(seed);
  }
  if (device_.is_cuda()) {
    at::Generator cuda = at::globalContext().defaultGenerator(device_);
    const std::lock_guard<std::mutex> lock(cuda.mutex());
    device_state_ = cuda.get_state();
    cuda.set_current_seed(seed);
  }
}

DefaultGeneratorScope::~DefaultGeneratorScope() {
  at::CPUGeneratorImpl& cpu = default_cpu();
  {
    const std::lock_guard<std::mutex> lock(cpu.mutex_);
    cpu.set_engine(cpu_engine_);
    cpu.set_next_float_normal_sample(cpu_float_);
    cpu.set_next_double_normal_sample(cpu_double_);
  }
  if (device_.is_cuda()) {
    at::Generator cuda = at::globalContext().defaultGenerator(device_);
    const std::lock_guard<std::mutex> lock(cuda.mutex());
    cuda.set_state(device_state_);
  }
}

}  // namespace bilevel
