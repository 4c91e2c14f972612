// What the hand-written recurrent layer gains over LibTorch's own and over elementary operations, for one layer over packed
// rows of 10 to 20 tokens: a forward and a backward pass, and the same with a product of second derivatives. The three are
// timed in turn on the same rows; medians.
//
//   OMP_NUM_THREADS=1 build/benchmarks/recurrent_benchmark [HIDDEN [ROWS [ROUNDS]]]
#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "bilevel/model/encoder/recurrent/recurrent_kernel.h"

namespace bilevel {
namespace {

using torch::Tensor;

constexpr int64_t kWidth = 50, kShortest = 10, kLongest = 20;

Tensor library_layer(RecurrentCell cell, const Tensor& x, const Tensor& sizes, const Tensor& zeros,
                     const std::vector<Tensor>& weights) {
  if (cell == RecurrentCell::rnn)
    return std::get<0>(torch::rnn_tanh(x, sizes, zeros, weights, true, 1, 0.0, true, false));
  if (cell == RecurrentCell::lstm)
    return std::get<0>(torch::lstm(x, sizes, {zeros, zeros}, weights, true, 1, 0.0, true, false));
  return std::get<0>(torch::gru(x, sizes, zeros, weights, true, 1, 0.0, true, false));
}

double milliseconds(const std::function<void()>& body) {
  const std::clock_t start = std::clock();
  body();
  return 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

void measure(const char* name, RecurrentCell cell, int64_t hidden, int64_t rows, int rounds) {
  std::vector<int64_t> sizes;
  for (int64_t step = 0; step < kLongest; ++step) {
    const int64_t left = step < kShortest ? rows : rows * (kLongest - step) / (kLongest - kShortest + 1);
    if (left > 0) sizes.push_back(left);
  }
  int64_t tokens = 0;
  for (const int64_t size : sizes) tokens += size;
  const int64_t gates = gate_count(cell) * hidden;
  const auto weight = [](at::IntArrayRef shape) { return (torch::randn(shape) * 0.05).requires_grad_(); };
  const std::vector<Tensor> weights{weight({gates, kWidth}), weight({gates, hidden}), weight({gates}),
                                    weight({gates})};
  const RecurrentWeights ours{weights[0], weights[1], weights[2], weights[3]};
  const Tensor x = torch::randn({tokens, kWidth}), direction = torch::randn({tokens, hidden}),
               zeros = torch::zeros({1, rows, hidden}), sizes_tensor = torch::tensor(sizes, torch::kInt64);
  const std::function<Tensor()> layers[] = {
      [&] { return recurrent_layer(cell, x, sizes, {ours}, false); },
      [&] { return library_layer(cell, x, sizes_tensor, zeros, weights); },
      [&] { return recurrent_layer(cell, x, sizes, {ours}, true); }};
  std::vector<double> first[3], second[3];
  for (int round = -2; round < rounds; ++round) {
    for (int k = 0; k < 3; ++k) {
      const double one = milliseconds([&] { torch::autograd::grad({layers[k]()}, weights, {direction}); });
      const double two = milliseconds([&] {
        const auto gradient = torch::autograd::grad({layers[k]()}, weights, {direction}, true, true);
        std::vector<Tensor> along;
        for (const Tensor& w : weights) along.push_back(w.detach());
        torch::autograd::grad(gradient, weights, along);
      });
      if (round < 0) continue;
      first[k].push_back(one);
      second[k].push_back(two);
    }
  }
  const auto median = [](std::vector<double>& values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
  };
  fmt::print("{:<6}{:>10.2f}{:>10.2f}{:>12.2f}{:>14.2f}{:>10.2f}{:>12.2f}\n", name, median(first[0]),
             median(first[1]), median(first[2]), median(second[0]), median(second[1]), median(second[2]));
}

}  // namespace
}  // namespace bilevel

int main(int argc, char** argv) {
  const int64_t hidden = argc > 1 ? std::atoi(argv[1]) : 256, rows = argc > 2 ? std::atoi(argv[2]) : 32;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 101;
  at::set_num_threads(1);
  fmt::print("hidden {}, {} rows, {} rounds; milliseconds of processor time\n", hidden, rows, rounds);
  fmt::print("{:<6}{:>32}{:>36}\n", "", "forward, backward", "with a second derivative");
  fmt::print("{:<6}{:>10}{:>10}{:>12}{:>14}{:>10}{:>12}\n", "", "by hand", "LibTorch", "elementary",
             "by hand", "LibTorch", "elementary");
  bilevel::measure("rnn", bilevel::RecurrentCell::rnn, hidden, rows, rounds);
  bilevel::measure("lstm", bilevel::RecurrentCell::lstm, hidden, rows, rounds);
  bilevel::measure("gru", bilevel::RecurrentCell::gru, hidden, rows, rounds);
  return 0;
}
