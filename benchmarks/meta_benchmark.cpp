// What a meta-batch of `bilevel meta` costs beyond the encoder: the time of forward pass, heads, hypergradient and
// backward pass over the time of one encoder pass forward and backward over the same rows taken as one batch, in pairs
// within one process.
//
//   build/benchmarks/meta_benchmark [PAIRS [THREADS]]
#include <fmt/format.h>
#include <torch/autograd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>

#include "bilevel/core/streams.h"
#include "bilevel/oracle/oracles.h"
#include "bilevel/task/meta/meta_model.h"

namespace bilevel {
namespace {

constexpr int64_t kTasks = 20, kWays = 5, kQueries = 10, kClasses = 20, kRowsOfClass = 100;
constexpr int64_t kWords = 8000, kDimension = 50, kHidden = 128;

/// Processor time with one thread, since other programs of the machine do not count in it; else wall time.
double seconds(const std::function<void()>& body) {
  if (at::get_num_threads() == 1) {
    const std::clock_t start = std::clock();
    body();
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  }
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Rows of 6 to 18 tokens (headlines) in classes.
std::pair<MetaRows, TaskGroup> random_rows() {
  const DefaultGeneratorScope randomness(1);
  std::vector<int64_t> offsets{0};
  TaskGroup group;
  for (int64_t c = 0; c < kClasses; ++c) {
    group.classes.push_back({std::to_string(c), {}});
    for (int64_t i = 0; i < kRowsOfClass; ++i) {
      group.classes.back().rows.push_back(c * kRowsOfClass + i);
      offsets.push_back(offsets.back() + torch::randint(6, 19, {1}, torch::kInt64).item<int64_t>());
    }
  }
  return {{.inputs = Inputs::tokens({torch::randint(2, kWords, {offsets.back()}, torch::kInt64), offsets})},
          group};
}

void measure(const std::string& encoder, HeadKind head, int64_t shots, int pairs) {
  const auto [rows, group] = random_rows();
  const EpisodeSource source({group}, {.ways = kWays, .shots = shots, .queries = kQueries}, "training", 1);
  const InputShape shape{
      .kind = InputKind::tokens, .width = kWords, .pretrained = torch::randn({kWords, kDimension})};
  const NetworkOptions network{.encoder = encoder,
                               .set = {{"hidden", kHidden}, {"layers", 1}, {"token_mean", true}}};
  MetaModel model({.network = network, .head = head}, shape, 0, 1, torch::kCPU);
  model.set_head(rows, source);
  Oracles oracles(model.problem(rows, source, kTasks, 10000), 1);
  const auto parameters = model.network()->encoder_parameters();

  Sample sample;
  const auto bare = [&] {
    const torch::Tensor h = model.encode(sample.batch.inputs());
    torch::autograd::grad({(h * h).mean()}, parameters);
  };
  const auto whole = [&] { oracles.upper().point(sample).grad_x(); };
  std::vector<double> ratios, times;
  for (int k = -2; k < pairs; ++k) {
    sample = oracles.upper().draw("benchmark");
    const bool first = k % 2 == 0;
    double w = first ? seconds(whole) : 0;
    const double b = seconds(bare);
    if (!first) w = seconds(whole);
    if (k < 0) continue;
    ratios.push_back(w / b);
    times.push_back(b);
  }
  std::sort(ratios.begin(), ratios.end());
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return ratios[static_cast<size_t>(share * static_cast<double>(pairs - 1))];
  };
  fmt::print(
      "{:<12} {:<8} {} shots, {} rows: meta-batch / encoder pass: median {:.3f} (quartiles {:.3f} to "
      "{:.3f}), "
      "encoder pass {:.1f} ms\n",
      encoder, name_of(head), shots, sample.batch.size(), at(0.5), at(0.25), at(0.75),
      1e3 * times[times.size() / 2]);
}

}  // namespace
}  // namespace bilevel

int main(int argc, char** argv) {
  const int pairs = argc > 1 ? std::atoi(argv[1]) : 21;
  at::set_num_threads(argc > 2 ? std::atoi(argv[2]) : 1);
  fmt::print("{} tasks, {} ways, {} queries, hidden {}, {} pairs, {} thread(s)\n", bilevel::kTasks,
             bilevel::kWays, bilevel::kQueries, bilevel::kHidden, pairs, at::get_num_threads());
  for (const char* encoder : {"rnn", "transformer"}) {
    for (const auto head : {bilevel::HeadKind::ridge, bilevel::HeadKind::softmax}) {
      for (const int64_t shots : {1, 5}) bilevel::measure(encoder, head, shots, pairs);
    }
  }
  return 0;
}
