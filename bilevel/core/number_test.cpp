#include "bilevel/core/number.h"

#include <gtest/gtest.h>

#include <string>

namespace bilevel {
namespace {

TEST(Number, ReadsDecimalNumbers) {
  const std::pair<const char*, double> cases[] = {
      {"1", 1},  {"+1", 1}, {"-2.5", -2.5},   {" 3e2\t", 300}, {".5", 0.5},
      {"5.", 5}, {"-0", 0}, {"+.5E-1", 0.05}, {"1e-400", 0},   {"0.0e999", 0.0}};
  for (const auto& [text, value] : cases) {
    const Number number = read_number(text);
    EXPECT_EQ(number.kind, CellKind::number) << text;
    EXPECT_EQ(number.value, value) << text;
  }
}

TEST(Number, KnowsTheMarksOfMissingValues) {
  for (const char* text : {"", "  ", "NA", "na", "NaN", "nan", "-nan", "NULL", "null", "?", " ? "}) {
    EXPECT_EQ(read_number(text).kind, CellKind::missing) << "'" << text << "'";
  }
}

TEST(Number, KnowsInfinities) {
  const std::string long_number(400, '9');
  for (const std::string& text :
       {std::string("inf"), std::string("-INF"), std::string("+inf"), std::string("Infinity"),
        std::string("1e400"), std::string("-1e400"), long_number}) {
    EXPECT_EQ(read_number(text).kind, CellKind::infinite) << text;
  }
}

TEST(Number, EverythingElseIsAWord) {
  for (const char* text : {"abc", "1a", "0x10", "1,5", "1 2", "--1", "+-1", "++1", "+", "-", ".", "e5", "N/A",
                           "nan(1)", "??", "1_000", "12%"}) {
    EXPECT_EQ(read_number(text).kind, CellKind::word) << text;
  }
}

}  // namespace
}  // namespace bilevel
