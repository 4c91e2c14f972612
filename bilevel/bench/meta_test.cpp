#include "bilevel/bench/meta.h"

#include <gtest/gtest.h>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

TEST(MetaBench, MeasuresEveryCase) {
  const nlohmann::ordered_json found = meta_bench({.shots = 1, .tasks = 2, .hidden = 4, .pairs = 1});
  ASSERT_EQ(found.at("cases").size(), 4U);
  for (const auto& one : found.at("cases")) {
    EXPECT_EQ(one.at("rows"), 2 * 5 * 11) << one;
    EXPECT_GT(one.at("step_milliseconds"), 0) << one;
    EXPECT_GT(one.at("passes_milliseconds"), 0) << one;
    EXPECT_GT(one.at("ratio"), 0) << one;
  }
  EXPECT_GT(found.at("peak_rss_bytes"), 0);
  EXPECT_NE(meta_bench_text(found).find("transformer"), std::string::npos);
}

TEST(MetaBench, TakesOneCaseAndRefusesOthers) {
  const nlohmann::ordered_json found =
      meta_bench({.encoder = "gru", .head = "ridge", .shots = 2, .tasks = 1, .hidden = 2, .pairs = 2});
  ASSERT_EQ(found.at("cases").size(), 1U);
  EXPECT_EQ(found.at("cases")[0].at("encoder"), "gru");
  EXPECT_EQ(found.at("cases")[0].at("rows"), 5 * 12);
  EXPECT_THROW(meta_bench({.encoder = "mlp"}), InputError);
  EXPECT_THROW(meta_bench({.head = "shared"}), InputError);
  EXPECT_THROW(meta_bench({.pairs = 0}), InputError);
}

}  // namespace
}  // namespace bilevel
