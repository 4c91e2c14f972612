// What LibTorch is asked for.
#pragma once

#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace bilevel {

/// Counts operations and allocations of this thread while it lives.
class LibTorchCounts {
 public:
  LibTorchCounts() {
    calls_.clear();
    operations_ = 0;
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& call)
                                       -> std::unique_ptr<at::ObserverContext> {
          ++calls_[call.name()];
          if (call.scope() == at::RecordScope::FUNCTION) ++operations_;
          return nullptr;
        }).scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
    allocations_ = std::make_shared<Allocations>();
    debug_.emplace(c10::DebugInfoKind::PROFILER_STATE, allocations_);
  }
  ~LibTorchCounts() { at::removeCallback(handle_); }
  LibTorchCounts(const LibTorchCounts&) = delete;
  LibTorchCounts& operator=(const LibTorchCounts&) = delete;

  double calls_a_step(int64_t steps) const {
    return static_cast<double>(operations_) / static_cast<double>(steps);
  }
  /// Of an operation such as "aten::mm", or a node of a backward pass such as "TanhBackward0".
  int64_t calls_of(const std::string& name) const {
    const auto found = calls_.find(name);
    return found == calls_.end() ? 0 : found->second;
  }
  double allocations_a_step(int64_t steps) const {
    return static_cast<double>(allocations_->count) / static_cast<double>(steps);
  }

 private:
  struct Allocations : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override { count += size > 0; }
    bool memoryProfilingEnabled() const override { return true; }
    int64_t count = 0;
  };
  static inline thread_local std::map<std::string, int64_t> calls_;
  static inline thread_local int64_t operations_ = 0;
  at::CallbackHandle handle_;
  std::shared_ptr<Allocations> allocations_;
  std::optional<c10::DebugInfoGuard> debug_;
};

}  // namespace bilevel
