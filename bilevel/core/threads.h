// The number of threads of the numerical library.
#pragma once

#include <cstdint>
#include <thread>

namespace bilevel {

/// For its lifetime LibTorch computes with `threads` threads, afterwards with as many as before. The number belongs to the
/// whole process, and the digits of a result depend on it: while a scope of another thread asks for another number,
/// InputError.
class ThreadCountScope {
 public:
  /// 0: as many as now, kept from being changed by other threads' scopes.
  explicit ThreadCountScope(int64_t threads);
  ~ThreadCountScope();
  ThreadCountScope(const ThreadCountScope&) = delete;
  ThreadCountScope& operator=(const ThreadCountScope&) = delete;

 private:
  int threads_;
  std::thread::id thread_ = std::this_thread::get_id();
};

}  // namespace bilevel
