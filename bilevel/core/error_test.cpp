#include "bilevel/core/error.h"

#include <gtest/gtest.h>

namespace bilevel {
namespace {

TEST(Error, NamesWhatIsKnownOfAPosition) {
  EXPECT_EQ(describe({"a.csv", 3, 7}, "bad number"), "a.csv:3:7: bad number");
  EXPECT_EQ(describe({"a.csv", 3}, "ragged row"), "a.csv:3: ragged row");
  EXPECT_EQ(describe({"a.csv"}, "is empty"), "a.csv: is empty");
  EXPECT_EQ(describe({}, "is empty"), "is empty");
}

TEST(Error, FailAtThrowsInputError) { EXPECT_THROW(fail_at({"a", 1, 2}, "m"), InputError); }

}  // namespace
}  // namespace bilevel
