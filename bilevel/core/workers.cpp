#include "bilevel/core/workers.h"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace bilevel {
namespace {

using Json = Workers::Json;
using Bytes = std::vector<uint8_t>;

constexpr int kInterruptMilliseconds =
    50;                              // between two looks at the flag, which may be set without a signal
constexpr int64_t kMostJobs = 1000;  // more is a mistake that a machine does not forgive

int worker_socket = -1;  // of a worker, to the process that made it

/// A message is its length and its CBOR, which keeps the bits of numbers, infinities and NaN too.
bool send_message(int socket, const Json& message) {
  const Bytes content = Json::to_cbor(message);
  const uint64_t size = content.size();
  Bytes bytes(sizeof(size));
  std::memcpy(bytes.data(), &size, sizeof(size));
  bytes.insert(bytes.end(), content.begin(), content.end());
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

/// Takes what has come; `flags` 0 waits for it. False at the end of the stream.
bool receive_some(int socket, int flags, Bytes& received) {
  uint8_t buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::recv(socket, buffer, sizeof(buffer), flags);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (n <= 0) return false;
    received.insert(received.end(), buffer, buffer + n);
    if (flags == 0) return true;
  }
}

/// The message at the beginning of `received`, once it is whole.
std::optional<Json> take_message(Bytes& received) {
  uint64_t size = 0;
  if (received.size() < sizeof(size)) return std::nullopt;
  std::memcpy(&size, received.data(), sizeof(size));
  if (received.size() - sizeof(size) < size) return std::nullopt;
  const auto begin = received.begin() + sizeof(size), end = begin + static_cast<ptrdiff_t>(size);
  Json message = Json::from_cbor(begin, end);
  received.erase(received.begin(), end);
  return message;
}

Json answered(const std::function<Json(const Json&)>& work, const Json& request) {
  try {
    return {{"result", work(request)}};
  } catch (const InputError& error) {
    return {{"error", "input"}, {"what", error.what()}};
  } catch (const FileError& error) {
    return {{"error", "file"}, {"what", error.what()}};
  } catch (const std::exception& error) {
    return {{"error", "other"}, {"what", error.what()}};
  }
}

/// A worker's life. It ends without the exit handlers of the process it is a copy of.
[[noreturn]] void serve(int socket, const std::function<Json(const Json&)>& work) noexcept {
  worker_socket = socket;
  Bytes received;
  while (receive_some(socket, 0, received)) {
    const std::optional<Json> request = take_message(received);
    if (request && !send_message(socket, answered(work, *request))) break;
  }
  ::_exit(0);
}

[[noreturn]] void fail_to_start() {
  throw Error("cannot start another process: " + std::generic_category().message(errno));
}

std::string end_text(int status) {
  if (!WIFSIGNALED(status)) return fmt::format("with code {}", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  return fmt::format("by signal {} ({}){}", signal, ::strsignal(signal),
                     signal == SIGKILL ? ", as the system does where memory runs out" : "");
}

}  // namespace

int64_t usable_cores() {
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof(cores), &cores) == 0) return std::max(1, CPU_COUNT(&cores));
  return std::max(1U, std::thread::hardware_concurrency());
}

int64_t jobs_at_a_time(const std::optional<int64_t>& jobs, int64_t threads, bool ended_by_clock) {
  if (jobs && *jobs < 1) throw InputError(fmt::format("jobs = {}: must be >= 1", *jobs));
  if (jobs && *jobs > kMostJobs) throw InputError(fmt::format("jobs = {}: must be <= {}", *jobs, kMostJobs));
  if (jobs) return *jobs;
  return ended_by_clock ? 1 : std::max<int64_t>(1, usable_cores() / std::max<int64_t>(1, threads));
}

void Workers::tell(const Json& message) {
  if (worker_socket >= 0) send_message(worker_socket, {{"told", message}});
}

/// This process's end of a worker.
class Workers::Worker {
 public:
  Worker(const std::vector<std::unique_ptr<Worker>>& earlier, const std::function<Json(const Json&)>& work) {
    int sockets[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) fail_to_start();
    std::cout.flush();
    std::fflush(nullptr);  // what stands in a buffer is written once, here
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::signal(SIGINT, SIG_IGN);
      ::signal(SIGTERM, SIG_IGN);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(0);
      // Held by a sibling, a socket would not end with its worker's other end.
      for (const std::unique_ptr<Worker>& other : earlier) ::close(other->socket_);
      ::close(sockets[0]);
      serve(sockets[1], work);
    }
    ::close(sockets[1]);
    socket_ = sockets[0];
    if (pid_ < 0) {
      ::close(socket_);
      fail_to_start();
    }
  }
  ~Worker() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);  // whatever it is at has no effect but its answer
    wait();
    ::close(socket_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  bool idle() const { return !busy_; }
  int socket() const { return socket_; }
  const std::optional<Json>& answer() const { return answer_; }
  bool ended() const { return ended_; }

  void start(int64_t task, const std::string& name, const Json& request) {
    task_ = task;
    name_ = name;
    busy_ = true;
    ended_ = !send_message(socket_, request);
  }

  void receive(const Told& told) {
    if (answer_ || ended_) return;
    ended_ = !receive_some(socket_, MSG_DONTWAIT, received_);
    for (answer_ = take_message(received_); answer_ && answer_->contains("told");
         answer_ = take_message(received_)) {
      if (told) told(task_, answer_->at("told"));
    }
  }

  Answer take() {
    busy_ = false;
    Json message = std::move(*std::exchange(answer_, std::nullopt));
    if (message.contains("result")) return {.task = task_, .result = std::move(message.at("result"))};
    const std::string kind = message.at("error"), what = message.at("what");
    if (kind == "input") throw InputError(fmt::format("{}: {}", name_, what));
    if (kind == "file") throw FileError(fmt::format("{}: {}", name_, what));
    throw std::runtime_error(fmt::format("{}: {}", name_, what));
  }

  [[noreturn]] void fail() {
    throw WorkerError(fmt::format("{}: its process was ended {}", name_, end_text(wait())));
  }

 private:
  int wait() {
    if (pid_ > 0) {
      while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
      }
    }
    pid_ = 0;
    return status_;
  }

  pid_t pid_ = 0;
  int status_ = 0;
  int socket_ = -1;
  bool busy_ = false, ended_ = false;
  int64_t task_ = 0;
  std::string name_;
  Bytes received_;
  std::optional<Json> answer_;
};

Workers::Workers(int64_t count, const std::function<Json(const Json&)>& work) {
  for (int64_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>(workers_, work));
}

Workers::~Workers() = default;

void Workers::keep(int64_t count) { workers_.resize(static_cast<size_t>(count)); }

bool Workers::any_idle() const {
  return std::any_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->idle(); });
}

void Workers::start(int64_t task, const std::string& name, const Json& request) {
  for (const auto& worker : workers_) {
    if (worker->idle()) return worker->start(task, name, request);
  }
  throw std::logic_error("no worker is idle");
}

std::optional<Workers::Answer> Workers::next(const std::atomic<bool>* interrupt, const Told& told) {
  for (;;) {
    if (interrupt != nullptr && interrupt->load()) return std::nullopt;
    std::vector<pollfd> sockets;
    for (const auto& worker : workers_) {
      if (worker->idle()) continue;
      worker->receive(told);
      if (worker->answer() && worker->answer()->contains("result")) return worker->take();
      sockets.push_back({.fd = worker->socket(), .events = POLLIN, .revents = 0});
    }
    if (sockets.empty()) throw std::logic_error("no worker is at work");
    for (const auto& worker : workers_) {
      if (worker->answer()) return worker->take();  // throws
      if (!worker->idle() && worker->ended()) worker->fail();
    }
    ::poll(sockets.data(), sockets.size(), interrupt != nullptr ? kInterruptMilliseconds : -1);
  }
}

}  // namespace bilevel
