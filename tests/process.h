// The program `bilevel` in a process of its own, for tests that run it as a person does.
#pragma once

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bilevel/cli/program.h"
#include "tests/files.h"
#include "tests/support.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace bilevel {

using Arguments = std::vector<std::string>;
using Json = nlohmann::json;

inline Arguments operator+(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}
inline Arguments joined(const Arguments& first, const Arguments& second) { return first + second; }

struct Outcome {
  int code = -1;  // exit code, or minus the signal that ended the process
  std::string out, err;
};

/// `bilevel` in a process of its own, with its output in files: a copy of this process that carries out the command line,
/// since LibTorch takes half a second to load. Autograd must not have run in this process: it does not survive a copy.
class Process {
 public:
  explicit Process(const Arguments& arguments) {
    Arguments words{"bilevel"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const std::string out = folder_.path("out"), err = folder_.path("err");
    std::cout.flush();
    std::fflush(nullptr);  // what stands in a buffer is written once, here
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      ::dup2(::open("/dev/null", O_RDONLY), 0);
      ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
      ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
      ::_exit(run(std::move(words)));
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

  std::vector<pid_t> children() const { return children_of(pid_); }

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
  static int run(Arguments words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    at::set_num_threads(1);
    const int code = cli::run_program(static_cast<int>(words.size()), pointers.data());
    std::cout.flush();
    std::fflush(nullptr);
#ifdef __SANITIZE_ADDRESS__
    __lsan_do_leak_check();
#endif
    return code;
  }

  TemporaryFolder folder_;
  pid_t pid_ = 0;
  int status_ = 0;
};

inline Outcome bilevel_program(const Arguments& arguments) { return Process(arguments).wait(); }

/// The cells of a tab-separated file.
inline std::vector<std::vector<std::string>> read_tsv(const std::string& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(read_bytes(path));
  for (std::string line; std::getline(lines, line);) {
    rows.emplace_back();
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, '\t');) rows.back().push_back(cell);
  }
  return rows;
}

/// The rows of a trace, or of the one in a folder, without clock readings.
inline std::vector<Json> trace_of(const std::string& path) {
  std::vector<Json> rows;
  std::istringstream lines(read_bytes(std::filesystem::is_directory(path) ? path + "/trace.jsonl" : path));
  for (std::string line; std::getline(lines, line);) {
    rows.push_back(Json::parse(line));
    rows.back().erase("seconds");
  }
  return rows;
}

/// A summary less what differs between two runs that are the same, and less some more.
inline Json without_clock(Json summary, const std::vector<std::string>& more = {}) {
  for (const char* key : {"seconds", "training_seconds", "evaluation_seconds", "peak_rss_bytes", "out"})
    summary.erase(key);
  for (const std::string& key : more) summary.erase(key);
  return summary;
}

/// A baseline's "difference" must be `own` less `other`, and its interval hold it, or be null where few decide.
inline void expect_difference(const Json& baseline, double own, double other) {
  const double difference = baseline.at("difference");
  EXPECT_NEAR(difference, own - other, 1e-9);
  const Json& interval = baseline.at("difference_interval");
  if (interval.is_null()) return;
  EXPECT_LT(interval.at(0), difference);
  EXPECT_GT(interval.at(1), difference);
}

/// Tests of the program, with a folder for their files.
class ProgramTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }
  std::string out() const { return path("out"); }

  /// The program must succeed and say nothing else; returns the object of `--json`.
  static Json succeeds(const Arguments& arguments) {
    const Outcome run = bilevel_program(arguments + Arguments{"--json", "--quiet"});
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_EQ(run.err, "");
    return run.code == 0 ? Json::parse(run.out) : Json();
  }

  /// The program must refuse: exit code 2, a message with all `parts`, nothing on standard output and not one file
  /// touched.
  void refuses(const Arguments& arguments, const std::vector<std::string>& parts) const {
    const auto before = files_in(path("."));
    const Outcome run = bilevel_program(arguments);
    SCOPED_TRACE(testing::PrintToString(arguments));
    EXPECT_EQ(run.code, 2) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_NE(run.err, "");
    for (const std::string& part : parts) EXPECT_CONTAINS(run.err, part);
    EXPECT_EQ(files_in(path(".")), before);
    EXPECT_FALSE(std::filesystem::exists(out()));
  }

  TemporaryFolder folder_;
};

/// The numbers with a decimal point in a text, less signs, as they are written.
inline std::vector<std::string> decimals_of(const std::string& text) {
  static const std::regex number(R"(\d+\.\d+(e[-+]?\d+)?)");
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), number), end; it != end; ++it)
    found.push_back(it->str());
  return found;
}

}  // namespace bilevel
