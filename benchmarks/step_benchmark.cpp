// What an AdamBO step costs beyond the encoder passes that the mathematics needs, when y is a scalar (AUC):
// the step's time over the time of the bare passes, in pairs within one process. `shared` needs two forward
// and two backward passes over a batch, `independent` one more forward pass without graph.
//
//   build/benchmarks/step_benchmark [PAIRS [THREADS]]
#include <fmt/format.h>
#include <torch/autograd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>

#include "bilevel/core/streams.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/task/auc/auc_model.h"

namespace bilevel {
namespace {

constexpr int64_t kHidden = 256, kBatch = 32, kRows = 512, kLength = 20, kWords = 2000, kDimension = 50;

/// Processor time with one thread, since other programs of the machine do not count in it; wall time with
/// several.
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

/// Rows of 10 to 20 tokens with a class.
AucData random_rows(uint64_t seed) {
  const DefaultGeneratorScope randomness(seed);
  std::vector<int64_t> offsets{0};
  for (int64_t row = 0; row < kRows; ++row) {
    offsets.push_back(offsets.back() +
                      torch::randint(kLength / 2, kLength + 1, {1}, torch::kInt64).item<int64_t>());
  }
  AucData data;
  data.inputs = Inputs::tokens({torch::randint(2, kWords, {offsets.back()}, torch::kInt64), offsets});
  data.labels = (torch::rand({kRows}) < 0.2).to(torch::kFloat32);
  for (int64_t row = 0; row < kRows; ++row) data.lower.push_back(row);
  data.upper = data.lower;
  return data;
}

void measure(const std::string& encoder, Samples samples, int pairs) {
  const AucData data = random_rows(1);
  const InputShape shape{
      .kind = InputKind::tokens, .width = kWords, .pretrained = torch::randn({kWords, kDimension})};
  const NetworkOptions network{.encoder = encoder, .set = {{"hidden", kHidden}}};
  const AucModel model(network, shape, AucLoss{.positive_share = 0.2}, 0, 1, torch::kCPU);
  const AucModel bare(network, shape, AucLoss{.positive_share = 0.2}, 0, 1, torch::kCPU);
  Oracles oracles(model.problem(data, kBatch), 1);
  AdamBO solver({.samples = samples});
  solver.start(oracles, 1000);

  const std::vector<torch::Tensor> parameters = bare.network()->parameters();
  const auto batch = [&](int64_t k) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < kBatch; ++i) rows.push_back((k * kBatch + i) % kRows);
    return data.inputs.gather(rows);
  };
  int64_t next = 0;
  const auto passes = [&] {
    for (int k = 0; k < 2; ++k) {
      const torch::Tensor sum = bare.network()->forward(batch(next++)).sum();
      torch::autograd::grad({sum}, parameters);
    }
    if (samples == Samples::independent) {
      const torch::NoGradGuard no_grad;
      bare.network()->forward(batch(next++));
    }
  };
  const auto step = [&] { solver.step(oracles); };
  for (int k = 0; k < 3; ++k) {
    passes();
    step();
  }
  std::vector<double> ratios, bare_seconds;
  for (int k = 0; k < pairs; ++k) {
    const bool first = k % 2 == 0;
    double s = first ? seconds(step) : 0;
    const double p = seconds(passes);
    if (!first) s = seconds(step);
    ratios.push_back(s / p);
    bare_seconds.push_back(p);
  }
  std::sort(ratios.begin(), ratios.end());
  std::sort(bare_seconds.begin(), bare_seconds.end());
  const auto at = [&](double share) {
    return ratios[static_cast<size_t>(share * static_cast<double>(pairs - 1))];
  };
  fmt::print(
      "{:<12} {:<12} step / bare passes: median {:.3f} (quartiles {:.3f} to {:.3f}), bare passes {:.1f} ms\n",
      encoder, name_of(samples), at(0.5), at(0.25), at(0.75), 1e3 * bare_seconds[bare_seconds.size() / 2]);
}

}  // namespace
}  // namespace bilevel

int main(int argc, char** argv) {
  const int pairs = argc > 1 ? std::atoi(argv[1]) : 41;
  at::set_num_threads(argc > 2 ? std::atoi(argv[2]) : 1);
  fmt::print("hidden {}, batch {}, 10 to {} tokens, {} pairs, {} thread(s)\n", bilevel::kHidden,
             bilevel::kBatch, bilevel::kLength, pairs, at::get_num_threads());
  for (const char* encoder : {"rnn", "lstm", "gru", "transformer"}) {
    for (const auto samples : {bilevel::Samples::shared, bilevel::Samples::independent})
      bilevel::measure(encoder, samples, pairs);
  }
  return 0;
}
