#include "bilevel/core/threads.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// The scopes that live, in the order in which they began; the last one's number is in force.
struct ThreadCounts {
  std::mutex mutex;
  std::vector<const ThreadCountScope*> scopes;
  int outside = 0;  // the number before the first
};

ThreadCounts& thread_counts() {
  static ThreadCounts counts;
  return counts;
}

}  // namespace

ThreadCountScope::ThreadCountScope(int64_t threads)
    : threads_(threads > 0 ? static_cast<int>(threads) : at::get_num_threads()) {
  ThreadCounts& counts = thread_counts();
  const std::lock_guard<std::mutex> lock(counts.mutex);
  for (const ThreadCountScope* other : counts.scopes) {
    if (other->thread_ != thread_ && other->threads_ != threads_) {
      throw InputError(
          fmt::format("threads = {}: another run in this process computes with {}; give both the same number",
                      threads_, other->threads_));
    }
  }
  if (counts.scopes.empty()) counts.outside = at::get_num_threads();
  counts.scopes.push_back(this);
  if (threads > 0) at::set_num_threads(threads_);
}

ThreadCountScope::~ThreadCountScope() {
  ThreadCounts& counts = thread_counts();
  const std::lock_guard<std::mutex> lock(counts.mutex);
  counts.scopes.erase(std::find(counts.scopes.begin(), counts.scopes.end(), this));
  const int now = counts.scopes.empty() ? counts.outside : counts.scopes.back()->threads_;
  if (now != at::get_num_threads()) at::set_num_threads(now);
}

}  // namespace bilevel
