// An ensemble for tables: perceptrons that share their weights, on piecewise-linear codes of the columns, beside a kernel machine.
#include <torch/special.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <string>

#include "bilevel/model/encoder.h"
#include "bilevel/model/encoder/fourier/fourier.h"

namespace bilevel {
namespace {

/// Dropout with a share p to the next 256th: a random byte a number, where LibTorch draws a random number each, which took half of the
/// time of a step.
torch::Tensor drop_out(const torch::Tensor& x, double p) {
  const auto dropped = static_cast<int64_t>(std::lround(256 * p));
  if (dropped == 0) return x;
  const torch::Tensor words =
      torch::empty({(x.numel() + 7) / 8}, x.options().dtype(torch::kInt64).requires_grad(false))
          .random_(std::numeric_limits<int64_t>::min(), std::optional<int64_t>());  // all 64 bits
  const torch::Tensor kept = words.view(torch::kUInt8).narrow(0, 0, x.numel()).view(x.sizes()).ge(dropped);
  return x * kept.to(x.scalar_type()).mul_(256 / static_cast<double>(256 - dropped));
}

/// K perceptrons after TabM (Y. Gorishniy, A. Kotelnikov, A. Babenko, ICLR 2025): their matrices are shared, and each has factors of
/// its own for what goes into the first and comes out of every one, biases and a head. They read each number as piecewise-linear
/// codes (Y. Gorishniy, I. Rubachev, A. Babenko, NeurIPS 2022): x becomes for every bin the share of it that lies below x; the other
/// columns as they are. One
/// more member is linear in random Fourier features (see fourier.h), which tables of few rows need. It counts as much as all
/// perceptrons together.
class TabEncoder : public Encoder {
 public:
  void fields(Fields& f) override {
    f.integer("perceptrons", perceptrons_, {.low = 1, .high = 1000}, "that share their matrices, K");
    f.integer("hidden", hidden_, {.low = 1, .high = 10'000}, "width of their two layers");
    f.integer("bins", bins_, {.low = 2, .high = 1000}, "of every number, with about as many rows each");
    f.number("input_dropout", input_dropout_, {.low = 0, .high = 0.99}, "of the codes");
    f.number("dropout", dropout_, {.low = 0, .high = 0.99}, "after each of the two layers");
    f.integer("waves", waves_, {.low = 1, .high = 1'000'000}, "random features of the kernel machine");
    f.number("sharpness", sharpness_, kPositive, "of its kernel exp(-s/d |x - x'|_1)");
  }

  void build(const InputShape& input, int64_t outputs) override {
    outputs_ = outputs;
    kernel_ = register_module("kernel", std::make_shared<FourierEncoder>(waves_, sharpness_));
    kernel_->build(input, outputs);
    kernel_weight_ = register_parameter("kernel_weight", torch::zeros({outputs, kernel_->features()}));
    kernel_bias_ = register_parameter("kernel_bias", torch::zeros({outputs}));

    numbers_ = input.numbers.value_or(std::vector<int64_t>());
    if (!input.numbers) {
      numbers_.resize(static_cast<size_t>(input.width));
      std::iota(numbers_.begin(), numbers_.end(), int64_t{0});
    }
    for (int64_t column = 0; column < input.width; ++column)
      if (!std::ranges::binary_search(numbers_, column)) others_.push_back(column);

    // The numbers are about standard normal (see NumberScaler), so that these edges hold about as many rows each. The first and the
    // last bin have no end and the width of their neighbours.
    const torch::Tensor inner =
        torch::special::ndtri(torch::arange(1, bins_, torch::kFloat64) / static_cast<double>(bins_));
    const torch::Tensor widths = bins_ > 2 ? inner.diff() : torch::ones({1}, torch::kFloat64);
    const torch::Tensor first = widths.narrow(0, 0, 1), last = widths.narrow(0, widths.numel() - 1, 1);
    const auto type = torch::get_default_dtype();
    edges_ = register_buffer("edges", torch::cat({inner.narrow(0, 0, 1) - first, inner}).to(type));
    slopes_ = register_buffer(
        "slopes",
        (bins_ > 2 ? torch::cat({first, widths, last}) : torch::cat({first, last})).reciprocal().to(type));

    const auto codes = static_cast<int64_t>(numbers_.size()) * bins_ + static_cast<int64_t>(others_.size());
    // Signs make the perceptrons differ from the start.
    input_factors_ = register_parameter(
        "input_factors", 2 * torch::randint(0, 2, {perceptrons_, codes}, torch::dtype(type)) - 1);
    for (const int64_t from : {codes, hidden_}) {
      const std::string layer = weights_.empty() ? "0" : "1";
      const double bound = 1 / std::sqrt(static_cast<double>(from));
      weights_.push_back(register_parameter("weight" + layer, uniform({from, hidden_}, bound)));
      factors_.push_back(register_parameter("factors" + layer, torch::ones({perceptrons_, hidden_})));
      biases_.push_back(register_parameter("bias" + layer, uniform({perceptrons_, hidden_}, bound)));
    }
    const double bound =
        0.1 / std::sqrt(static_cast<double>(hidden_));  // they start near 0, as the kernel machine does
    head_weights_ = register_parameter("heads", uniform({perceptrons_, hidden_, outputs}, bound));
    head_biases_ = register_parameter("head_biases", torch::zeros({perceptrons_, outputs}));
  }

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override {
    const torch::Tensor kernel =
        kStep * torch::addmm(kernel_bias_, kernel_->forward(inputs), kernel_weight_.t());
    const torch::Tensor codes = codes_of(inputs[0]);
    const int64_t rows = codes.size(0), all = perceptrons_ * hidden_;
    // The first layer of all perceptrons as one product: [B,codes] [codes, K hidden].
    const torch::Tensor first =
        (input_factors_.t().unsqueeze(2) * weights_[0].unsqueeze(1)).reshape({-1, all});
    torch::Tensor h = finish(codes.mm(first).view({rows, perceptrons_, hidden_}), 0);
    h = finish(h.matmul(weights_[1]), 1);
    const torch::Tensor perceptrons =
        torch::bmm(h.transpose(0, 1), head_weights_).transpose(0, 1) + head_biases_;
    return torch::cat({perceptrons, kernel.unsqueeze(1)}, 1).reshape({rows, features()});
  }

  int64_t features() const override { return (perceptrons_ + 1) * outputs_; }
  double multiplications() const override {
    const auto all = static_cast<double>(perceptrons_ * hidden_),
               codes = static_cast<double>(weights_[0].size(0));
    // The waves are read once, where a parameter is in three products.
    return all * (codes + static_cast<double>(hidden_)) +
           static_cast<double>(kernel_->input_matrix().numel()) / 3 +
           static_cast<double>(kernel_weight_.numel());
  }
  std::vector<double> shares() const override {
    std::vector<double> shares(static_cast<size_t>(perceptrons_), 0.5 / static_cast<double>(perceptrons_));
    shares.push_back(0.5);
    return shares;
  }
  torch::Tensor head_weight() const override { return kernel_weight_; }
  torch::Tensor input_matrix() const override { return kernel_->input_matrix(); }

 private:
  // The weights of the kernel machine bear steps ten times as long as those of the perceptrons.
  static constexpr double kStep = 10;

  static torch::Tensor uniform(at::IntArrayRef sizes, double bound) {
    return torch::empty(sizes).uniform_(-bound, bound);
  }

  static torch::Tensor columns_of(const torch::Tensor& x, const std::vector<int64_t>& columns) {
    return x.index_select(1, torch::tensor(columns, torch::dtype(torch::kInt64).device(x.device())));
  }

  /// [B, numbers bins + others]: bin t of number x_j holds (x_j - left edge) / width, between 0 and 1 except at the ends.
  torch::Tensor codes_of(const torch::Tensor& x) const {
    if (numbers_.empty()) return x;
    if (others_.empty()) return binned(x);
    return torch::cat({binned(columns_of(x, numbers_)), columns_of(x, others_)}, 1);
  }

  torch::Tensor binned(const torch::Tensor& x) const {
    const torch::Tensor raw = (x.unsqueeze(2) - edges_) * slopes_;
    const torch::Tensor codes =
        torch::cat({raw.narrow(2, 0, 1).clamp_max(1), raw.narrow(2, 1, bins_ - 2).clamp(0, 1),
                    raw.narrow(2, bins_ - 1, 1).clamp_min(0)},
                   2);
    const torch::Tensor flat = codes.reshape({x.size(0), x.size(1) * bins_});
    return is_training() ? drop_out(flat, input_dropout_) : flat;
  }

  torch::Tensor finish(const torch::Tensor& product, size_t layer) {
    const torch::Tensor h = torch::relu(torch::addcmul(biases_[layer], product, factors_[layer]));
    return is_training() ? drop_out(h, dropout_) : h;
  }

  int64_t perceptrons_ = 8, hidden_ = 64, bins_ = 12, waves_ = 1024, outputs_ = 1;
  std::vector<int64_t> numbers_, others_;  // columns
  double input_dropout_ = 0.4, dropout_ = 0.3, sharpness_ = 1;
  std::shared_ptr<FourierEncoder> kernel_;
  torch::Tensor edges_, slopes_, input_factors_, head_weights_, head_biases_, kernel_weight_, kernel_bias_;
  std::vector<torch::Tensor> weights_, factors_, biases_;
};

}  // namespace

EncoderEntry tab_entry() {
  return {.name = "tab",
          .summary =
              "ensemble of perceptrons that share weights, on piecewise-linear codes, and a kernel machine",
          .inputs = {InputKind::dense},
          .ensemble = true,
          .make = [] { return std::make_shared<TabEncoder>(); }};
}

}  // namespace bilevel
