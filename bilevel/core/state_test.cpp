#include "bilevel/core/state.h"

#include <cmath>
#include <limits>
#include <map>

#include "tests/support.h"

namespace bilevel {
namespace {

struct Counter {
  int64_t n = 0;
  torch::Tensor t = torch::zeros({2});
  void state(State& state) {
    state.value("n", n);
    state.tensor("t", t);
  }
};

TEST(State, NumbersSurviveExactly) {
  double tiny = std::nextafter(0.0, 1.0), third = 1.0 / 3, nan = std::nan(""), infinite = -HUGE_VAL;
  float single = 0.1f;
  uint64_t large = std::numeric_limits<uint64_t>::max() - 1;
  int64_t least = std::numeric_limits<int64_t>::min();
  bool flag = true;
  std::vector<double> list{1, -0.0, 1.0 / 7}, empty;
  const auto all = [&](State& state) {
    state.value("tiny", tiny);
    state.value("third", third);
    state.value("nan", nan);
    state.value("infinite", infinite);
    state.value("single", single);
    state.value("large", large);
    state.value("least", least);
    state.value("flag", flag);
    state.values("list", list);
    state.values("empty", empty);
  };
  State saved;
  EXPECT_FALSE(saved.loading());
  all(saved);
  tiny = third = nan = infinite = 0;
  single = 0, large = 0, least = 0, flag = false;
  list = {}, empty = {1, 2};
  State loading(saved.tensors());
  EXPECT_TRUE(loading.loading());
  all(loading);
  EXPECT_EQ(tiny, std::nextafter(0.0, 1.0));
  EXPECT_EQ(third, 1.0 / 3);
  EXPECT_TRUE(std::isnan(nan));
  EXPECT_EQ(infinite, -HUGE_VAL);
  EXPECT_EQ(single, 0.1f);
  EXPECT_EQ(large, std::numeric_limits<uint64_t>::max() - 1);
  EXPECT_EQ(least, std::numeric_limits<int64_t>::min());
  EXPECT_TRUE(flag);
  EXPECT_EQ(list, (std::vector<double>{1, -0.0, 1.0 / 7}));
  EXPECT_TRUE(std::signbit(list[1]));
  EXPECT_TRUE(empty.empty());
}

TEST(State, SavedTensorsDoNotMoveWithTheVariable) {
  Counter counter;
  State saved;
  counter.state(saved);
  counter.t.add_(1);
  EXPECT_EQ(saved.tensors().at("t").sum().item<double>(), 0);
  State loading(saved.tensors());
  Counter first, second;
  first.state(loading);
  first.t.add_(1);
  second.state(loading);
  EXPECT_EQ(second.t.sum().item<double>(), 0) << "nor do restored ones share memory";
}

TEST(State, ScopesAreNestedPathsAndNamesAreThoseSaved) {
  std::map<std::string, Counter> counters;
  counters["b"].n = 2;
  counters["a"].n = 1;
  counters["a.x"].n = 3;
  const auto all = [](State& state, std::map<std::string, Counter>& map) {
    state.scope("outer", [&](State& outer) {
      outer.scope("map", [&](State& inner) {
        for (const std::string& name : inner.names(map)) {
          inner.scope(name, [&](State& one) { map[name].state(one); });
        }
      });
    });
    int64_t after = 9;
    state.value("after", after);
  };
  State saved;
  all(saved, counters);
  EXPECT_TRUE(saved.tensors().contains("outer/map/a/n"));
  EXPECT_TRUE(saved.tensors().contains("after")) << "the prefix ends with its scope";
  std::map<std::string, Counter> restored;
  restored["gone"].n = 5;
  State loading(saved.tensors());
  all(loading, restored);
  EXPECT_EQ(restored.at("a").n, 1);
  EXPECT_EQ(restored.at("b").n, 2);
  EXPECT_EQ(restored.at("a.x").n, 3);
  EXPECT_EQ(restored.at("gone").n, 5) << "what was not saved is left alone";
}

TEST(State, AnAbsentNameIsNamed) {
  State loading(std::map<std::string, torch::Tensor>{});
  Counter counter;
  EXPECT_CONTAINS(
      message_of<FileError>([&] { loading.scope("solver", [&](State& s) { counter.state(s); }); }),
      "does not hold 'solver/n'");
}

}  // namespace
}  // namespace bilevel
