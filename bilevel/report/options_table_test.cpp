#include "bilevel/report/options_table.h"

#include <gtest/gtest.h>

namespace bilevel {
namespace {

TEST(OptionsTable, ShowsEveryKindOfField) {
  double weight = 0.25, any = -3;
  int64_t steps = 4;
  bool flag = true;
  std::string rule = "sgd", course = "cosine", file;
  StepSize automatic, given = 0.5;
  Fields f;
  f.number("weight", weight, kWeight, "share of a|b").search(0.01, 1);
  f.number("any", any, kAny, "any number");
  f.integer("steps", steps, kAtLeastOne, "how many");
  f.flag("flag", flag, "whether");
  f.choice("rule", rule, {"sgd", "adam"}, "which");
  f.step_size("automatic", automatic, "measured").search(1e-4, 10);
  f.step_size("given", given, "told");
  f.course("course", course, {"constant", "cosine"}, "shape");
  f.text("file", file, "name");
  EXPECT_EQ(options_table(f), R"(| option | meaning | values | default | random search |
|---|---|---|---|---|
| `weight` | share of a\|b | number in (0, 1] | 0.25 | 0.01 to 1 |
| `any` | any number | number | -3.0 |  |
| `steps` | how many | integer >= 1 | 4 |  |
| `flag` | whether | true\|false | true |  |
| `rule` | which | sgd\|adam | sgd |  |
| `automatic` | measured | number\|auto > 0 | auto | 0.0001 to 10 |
| `given` | told | number\|auto > 0 | 0.5 |  |
| `course` | shape | constant\|cosine; polynomial and warm-up may be followed by :number | cosine |  |
| `file` | name | text | none |  |
)");
}

TEST(OptionsTable, OfFlagsShowsThemAsTheyAreGiven) {
  std::optional<int64_t> hidden;
  std::optional<double> seconds;
  bool refit = true;
  std::vector<std::string> set;
  Fields f;
  f.heading("Model");
  f.integer("hidden_width", hidden, kAtLeastOne, "width").or_else("by encoder");
  f.number("max_seconds", seconds, kPositive, "time");
  f.flag("refit", refit, "train again");
  f.texts("set", set, "more");
  EXPECT_EQ(options_table(f), R"(| option | meaning | values | default |
|---|---|---|---|
| `--hidden-width` | width | integer >= 1 | by encoder |
| `--max-seconds` | time | number > 0 | none |
| `--[no-]refit` | train again | true\|false | true |
| `--set` | more | texts | none |
)");
}

}  // namespace
}  // namespace bilevel
