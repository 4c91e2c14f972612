// Work in several processes, side by side.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {

/// The cores that this process may run on.
int64_t usable_cores();

/// How many tasks with `threads` threads each are done at a time: `jobs` where that is given, else as many as there are cores
/// for, but one where the clock ends a task, which would go more slowly beside others. Throws InputError for jobs below 1 or
/// above 1000.
int64_t jobs_at_a_time(const std::optional<int64_t>& jobs, int64_t threads, bool ended_by_clock);

/// A worker ended before it had answered; `what()` names the task and the reason.
class WorkerError : public Error {
 public:
  using Error::Error;
};

/// Copies of this process, each of which answers one request at a time. Runs in threads of one process would wait for each
/// other, since LibTorch's default generators and its number of threads belong to the process.
///
/// Make it before anything has computed with LibTorch: neither its threads nor autograd survive a copy. The workers ignore
/// SIGINT and SIGTERM, and end with this object, or with the thread that made it, however that ends.
class Workers {
 public:
  using Json = nlohmann::ordered_json;

  /// `work` makes an answer of a request; it is called in the workers, whose copies of what it holds are their own. Numbers
  /// keep their bits both ways. Throws Error when the system starts no more processes.
  Workers(int64_t count, const std::function<Json(const Json& request)>& work);
  ~Workers();

  int64_t count() const { return static_cast<int64_t>(workers_.size()); }
  /// Ends all but `count` of them. Before the first request.
  void keep(int64_t count);
  bool any_idle() const;

  /// Hands a request to an idle worker, of which there must be one. `name` stands before messages.
  void start(int64_t task, const std::string& name, const Json& request);

  struct Answer {
    int64_t task = 0;
    Json result;
  };
  using Told = std::function<void(int64_t task, const Json& message)>;
  /// Waits until a task has been answered; nothing once `interrupt` is set. What `work` threw is thrown here: InputError and
  /// FileError as such, anything else as std::runtime_error. Answers go before errors, and before a WorkerError. `told` gets
  /// what workers `tell` meanwhile.
  std::optional<Answer> next(const std::atomic<bool>* interrupt = nullptr, const Told& told = nullptr);

  /// In a worker at work: sends a message before the answer. Elsewhere nothing.
  static void tell(const Json& message);

 private:
  class Worker;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace bilevel
