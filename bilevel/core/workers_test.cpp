#include "bilevel/core/workers.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <thread>

#include "tests/support.h"

namespace bilevel {
namespace workers_test {

using Json = Workers::Json;

/// All answers, by task.
std::map<int64_t, Json> answers(Workers& workers, const std::vector<Json>& requests) {
  std::map<int64_t, Json> results;
  const auto take = [&] {
    const auto answer = workers.next();
    results[answer->task] = answer->result;
  };
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!workers.any_idle()) take();
    workers.start(static_cast<int64_t>(i), "task " + std::to_string(i), requests[i]);
  }
  while (results.size() < requests.size()) take();
  return results;
}

TEST(Workers, AnswerEveryRequestInProcessesOfTheirOwn) {
  Workers workers(3, [seen = 0](const Json& request) mutable {
    return Json{
        {"square", request.get<int>() * request.get<int>()}, {"seen", ++seen}, {"process", ::getpid()}};
  });
  EXPECT_EQ(workers.count(), 3);
  const std::vector<Json> requests{1, 2, 3, 4, 5, 6, 7};
  std::map<int64_t, int> served;  // by process
  for (const auto& [task, result] : answers(workers, requests)) {
    EXPECT_EQ(result.at("square"), (task + 1) * (task + 1));
    served[result.at("process")] += 1;
  }
  EXPECT_EQ(served.count(::getpid()), 0U);
  EXPECT_EQ(served.size(), 3U);
  workers.keep(1);
  std::set<int> left;
  for (const auto& [task, result] : answers(workers, requests)) left.insert(result.at("process").get<int>());
  EXPECT_EQ(left.size(), 1U);
}

TEST(Workers, KeepBitsOrderAndLongAnswers) {
  Workers workers(1, [](const Json& request) { return Json{{"again", request}}; });
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> numbers{0.1, 1e300, -0.0, 1.0 / 3, inf, -inf, 5e-324, std::nan("")};
  Json request{{"z", numbers}, {"a", std::string(3'000'000, 'x')}, {"m", uint64_t{1} << 63}, {"n", -7}};
  const Json answer = answers(workers, {request}).at(0).at("again");
  EXPECT_EQ(answer.dump(), request.dump());
  const auto back = answer.at("z").get<std::vector<double>>();
  ASSERT_EQ(back.size(), numbers.size());
  for (size_t i = 0; i + 1 < back.size(); ++i)
    EXPECT_EQ(std::memcmp(&back[i], &numbers[i], sizeof(double)), 0) << numbers[i];
  EXPECT_TRUE(std::isnan(back.back()));
}

TEST(Workers, TellBeforeTheyAnswer) {
  Workers::tell("nobody listens");  // in no worker
  Workers workers(2, [](const Json& request) {
    for (int i = 0; i < 3; ++i) Workers::tell({{"of", request}, {"at", i}});
    return request;
  });
  for (int task = 0; task < 2; ++task) workers.start(task, "task", 10 * task);
  std::map<int64_t, int> told;
  for (int answered = 0; answered < 2; ++answered) {
    const auto answer = workers.next(nullptr, [&](int64_t task, const Json& message) {
      EXPECT_EQ(message, (Json{{"of", 10 * task}, {"at", told[task]++}}));
    });
    EXPECT_EQ(answer->result, 10 * answer->task);
    EXPECT_EQ(told[answer->task], 3);
  }
}

TEST(Workers, HowManyAtATime) {
  EXPECT_EQ(jobs_at_a_time(5, 4, true), 5);
  EXPECT_EQ(jobs_at_a_time(std::nullopt, 1, false), usable_cores());
  EXPECT_EQ(jobs_at_a_time(std::nullopt, usable_cores() + 1, false), 1);
  EXPECT_EQ(jobs_at_a_time(std::nullopt, 1, true), 1);
}

TEST(Workers, ErrorsKeepTheirKindAndNameTheTask) {
  Workers workers(1, [](const Json& request) -> Json {
    if (request == "input") throw InputError("no such option");
    if (request == "file") throw FileError("disk full");
    if (request == "other") throw std::bad_alloc();
    return request;
  });
  const auto ask = [&](const char* request) { answers(workers, {request}); };
  EXPECT_EQ(message_of<InputError>([&] { ask("input"); }), "task 0: no such option");
  EXPECT_EQ(message_of<FileError>([&] { ask("file"); }), "task 0: disk full");
  EXPECT_CONTAINS(message_of<std::runtime_error>([&] { ask("other"); }), "task 0: ");
  EXPECT_EQ(answers(workers, {"goes on"}).at(0), "goes on");
}

TEST(Workers, OneThatIsKilledIsNamedAndOthersAnswer) {
  Workers workers(2, [](const Json& request) {
    if (request == "die") ::raise(SIGKILL);
    return request;
  });
  workers.start(0, "first", "die");
  workers.start(1, "second", "well");
  std::optional<Workers::Answer> answer;
  while (!answer) {
    try {
      answer = workers.next();
    } catch (const WorkerError&) {  // it was first
    }
  }
  EXPECT_EQ(answer->task, 1);
  const std::string message = message_of<WorkerError>([&] { workers.next(); });
  EXPECT_CONTAINS(message, "first: its process was ended by signal 9");
  EXPECT_CONTAINS(message, "memory");
}

TEST(Workers, InterruptionLeavesThemToTheirEnd) {
  const auto start = std::chrono::steady_clock::now();
  pid_t process = 0;
  {
    std::atomic<bool> interrupt{false};
    Workers workers(2, [](const Json& request) {
      if (request == "sleep") ::sleep(600);
      return Json(::getpid());
    });
    workers.start(0, "asleep", "sleep");
    workers.start(1, "awake", "answer");
    process = workers.next(&interrupt)->result.get<pid_t>();
    EXPECT_EQ(::kill(process, 0), 0);
    ::kill(process, SIGINT);  // as a terminal does; ignored
    interrupt = true;
    EXPECT_FALSE(workers.next(&interrupt).has_value());
    workers.start(1, "awake", "answer");
    interrupt = false;
    EXPECT_EQ(workers.next(&interrupt)->task, 1);
  }
  EXPECT_NE(::kill(process, 0), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::minutes(1));
}

}  // namespace workers_test
}  // namespace bilevel
