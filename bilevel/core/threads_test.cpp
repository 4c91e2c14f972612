#include "bilevel/core/threads.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <future>

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel {
namespace {

TEST(ThreadCountScope, SetsTheNumberWithinAndRestoresItAfterwards) {
  const int before = at::get_num_threads();
  {
    const ThreadCountScope outer(before + 2);
    EXPECT_EQ(at::get_num_threads(), before + 2);
    {
      const ThreadCountScope inner(before + 1);
      EXPECT_EQ(at::get_num_threads(), before + 1);
      const ThreadCountScope as_it_is(0);
      EXPECT_EQ(at::get_num_threads(), before + 1);
    }
    EXPECT_EQ(at::get_num_threads(), before + 2);
  }
  EXPECT_EQ(at::get_num_threads(), before);
}

TEST(ThreadCountScope, AnotherThreadMayAskForTheSameNumberOnly) {
  const ThreadCountScope scope(2);
  const auto elsewhere = [](int64_t threads) {
    std::async(std::launch::async, [threads] { const ThreadCountScope other(threads); }).get();
  };
  elsewhere(2);
  EXPECT_CONTAINS(message_of<InputError>([&] { elsewhere(3); }),
                  "threads = 3: another run in this process computes with 2");
  EXPECT_EQ(at::get_num_threads(), 2);
}

}  // namespace
}  // namespace bilevel
