// The program `bilevel` in a process of its own, for tests that run it as a person does.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bilevel/data/test_files.h"

namespace bilevel {

using Arguments = std::vector<std::string>;

struct Outcome {
  int code = -1;  // exit code, or minus the signal that ended the process
  std::string out, err;
};

/// `bilevel` in a process of its own, with its output in files.
class Process {
 public:
  explicit Process(const Arguments& arguments) {
    Arguments words{BILEVEL_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    const std::string out = folder_.path("out"), err = folder_.path("err");
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      ::dup2(::open("/dev/null", O_RDONLY), 0);
      ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
      ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
      ::setenv("OMP_NUM_THREADS", "1", 1);
      ::execv(pointers[0], pointers.data());
      ::_exit(127);
    }
  }
  ~Process() {
    if (pid_ > 0) {
      send(SIGKILL);
      wait();
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const { ::kill(pid_, signal); }

  /// Whether it has a handler for the signal by now (read from /proc).
  bool catches(int signal) const {
    std::istringstream status(read_bytes("/proc/" + std::to_string(pid_) + "/status"));
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("SigCgt:", 0) == 0)
        return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1U) != 0;
    }
    return false;
  }

  bool running() {
    if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
  }

  /// Waits until `reached`; false when the process ended before.
  bool wait_until(const std::function<bool()>& reached) {
    while (!reached()) {
      if (!running()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  Outcome wait() {
    if (pid_ > 0) ::waitpid(pid_, &status_, 0);
    pid_ = 0;
    return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_), read_bytes(folder_.path("out")),
            read_bytes(folder_.path("err"))};
  }

 private:
  TemporaryFolder folder_;
  pid_t pid_ = 0;
  int status_ = 0;
};

inline Outcome bilevel_program(const Arguments& arguments) { return Process(arguments).wait(); }

/// The numbers with a decimal point in a text, less signs, as they are written.
inline std::vector<std::string> decimals_of(const std::string& text) {
  static const std::regex number(R"(\d+\.\d+(e[-+]?\d+)?)");
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), number), end; it != end; ++it)
    found.push_back(it->str());
  return found;
}

}  // namespace bilevel
