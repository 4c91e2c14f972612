#include "bilevel/bench/step.h"

#include <gtest/gtest.h>

#include "bilevel/core/error.h"
#include "bilevel/core/threads.h"

namespace bilevel {
namespace step_test {

StepBenchOptions small(const std::string& problem) {
  return {.problem = problem, .hidden = 8, .batch_size = 4, .pairs = 2, .vocabulary = 9, .vector_size = 3};
}

TEST(StepBench, MeasuresEveryEncoderOfWords) {
  const ThreadCountScope one_thread(1);
  for (const std::string problem : {"auc", "clean"}) {
    const nlohmann::ordered_json found = step_bench(small(problem));
    ASSERT_EQ(found.at("steps").size(), problem == "auc" ? 8U : 4U);
    for (const auto& one : found.at("steps")) {
      EXPECT_GT(one.at("step_ms"), 0) << one;
      EXPECT_GT(one.at("bare_ms"), 0) << one;
      EXPECT_LE(one.at("low"), one.at("ratio")) << one;
      EXPECT_GE(one.at("high"), one.at("ratio")) << one;
    }
    EXPECT_NE(step_bench_text(found).find("transformer"), std::string::npos);
  }
}

TEST(StepBench, TakesOneEncoderAndRefusesOthers) {
  const ThreadCountScope one_thread(1);
  StepBenchOptions options = small("clean");
  options.encoder = "mlp";
  EXPECT_EQ(step_bench(options).at("steps").size(), 1U);
  options.samples = "independent";
  EXPECT_THROW(step_bench(options), InputError);
  options.problem = "auc";
  EXPECT_EQ(step_bench(options).at("steps").size(), 1U);
  for (const char* refused : {"linear", "nosuch"}) {
    options.encoder = refused;
    EXPECT_THROW(step_bench(options), InputError) << refused;
  }
}

TEST(StepBench, TrainedVectorsAreParameters) {
  const ThreadCountScope one_thread(1);
  StepBenchOptions options = small("auc");
  options.encoder = "rnn";
  options.samples = "shared";
  const auto parameters = [&] { return step_bench(options).at("steps")[0].at("parameters").get<int64_t>(); };
  const int64_t frozen = parameters();
  options.train_vectors = true;
  EXPECT_EQ(parameters(), frozen + 9 * 3);
}

}  // namespace step_test
}  // namespace bilevel
