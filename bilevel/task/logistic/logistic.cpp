// One regularization strength per feature of a logistic regression, chosen on validation rows.
//
// With rows a, labels t = +-1 and one y_j a feature (float64):
//   g = mean over training rows of log(1 + exp(-t a'y)) + sum_j exp(x_j) y_j^2/2
//   f = mean over validation rows of log(1 + exp(-t a'y))
// grad Phi_j = -exp(x_j) y*_j z_j with H z = grad_y f; y* by Newton's method with the exact Hessian, all by
// hand. This is the form of the ijcnn1 experiment. x starts at log U(0, 1), y at N(0, I), from the seed. The
// larger of the two labels is +1. Without files: 200 generated rows for each level, 10 features.
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/glm/linear_loss.h"
#include "bilevel/model/newton.h"
#include "bilevel/task/known_problem.h"
#include "bilevel/task/problem_data.h"

namespace bilevel {
namespace {

constexpr int64_t kMostFeatures = 5000;  // of the exact Hessian, which takes 8 bytes times the square
constexpr double kSparse =
    0.25;  // share of numbers that are not zero, below which rows are kept as sparse ones

/// Rows, of which the reference answers need three products; without the numbers that are zero where those are many.
class ReferenceRows {
 public:
  ReferenceRows() = default;
  explicit ReferenceRows(const torch::Tensor& dense) : dense_(dense) {
    const torch::Tensor places = dense.nonzero();
    if (static_cast<double>(places.size(0)) >= kSparse * static_cast<double>(dense.numel())) return;
    begin_ = torch::cat({torch::zeros({1}, torch::kInt64), (dense != 0).sum(1).cumsum(0)});
    column_ = places.select(1, 1).contiguous();
    value_ = dense.index({places.select(1, 0), column_});
  }
  /// A y and A' r.
  torch::Tensor times(const torch::Tensor& y) const {
    if (!sparse()) return dense_.mv(y);
    torch::Tensor product = torch::zeros({dense_.size(0)}, torch::kFloat64);
    auto* out = product.data_ptr<double>();
    const auto* in = y.const_data_ptr<double>();
    each([&](int64_t row, int64_t column, double value) { out[row] += value * in[column]; });
    return product;
  }
  torch::Tensor transposed_times(const torch::Tensor& r) const {
    if (!sparse()) return dense_.t().mv(r);
    torch::Tensor product = torch::zeros({dense_.size(1)}, torch::kFloat64);
    auto* out = product.data_ptr<double>();
    const auto* in = r.const_data_ptr<double>();
    each([&](int64_t row, int64_t column, double value) { out[column] += value * in[row]; });
    return product;
  }
  /// A' diag(w) A.
  torch::Tensor gram(const torch::Tensor& w) const {
    if (!sparse()) return dense_.t().mm(dense_ * w.unsqueeze(1));
    const auto *begin = begin_.const_data_ptr<int64_t>(), *j = column_.const_data_ptr<int64_t>();
    const auto *a = value_.const_data_ptr<double>(), *weight = w.const_data_ptr<double>();
    const int64_t width = dense_.size(1);
    torch::Tensor lower = torch::zeros({width, width}, torch::kFloat64);  // columns of a row rise
    auto* sums = lower.data_ptr<double>();
    for (int64_t i = 0; i < dense_.size(0); ++i) {
      for (int64_t p = begin[i]; p < begin[i + 1]; ++p) {
        auto* out = sums + j[p] * width;
        const double factor = weight[i] * a[p];
        for (int64_t q = begin[i]; q <= p; ++q) out[j[q]] += factor * a[q];
      }
    }
    return lower + lower.tril(-1).t();
  }

 private:
  bool sparse() const { return begin_.defined(); }
  template <typename F>
  void each(const F& f) const {
    const auto *begin = begin_.const_data_ptr<int64_t>(), *column = column_.const_data_ptr<int64_t>();
    const auto* value = value_.const_data_ptr<double>();
    for (int64_t row = 0; row < dense_.size(0); ++row) {
      for (int64_t p = begin[row]; p < begin[row + 1]; ++p) f(row, column[p], value[p]);
    }
  }
  torch::Tensor dense_, begin_, column_, value_;  // begin_ undefined: dense
};

class Logistic : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.text("train", options_.train, "LIBSVM file of the lower level, two labels; none: generated rows");
    f.text("valid", options_.valid, "LIBSVM file of the upper level; none: a random part of train");
    f.integer("train_rows", options_.train_rows, kNonNegative, "use at most so many training rows; 0: all");
    f.integer("valid_rows", options_.valid_rows, kNonNegative,
              "use at most so many validation rows; 0: all, or a fifth of train");
    f.integer("batch_size", batch_size_, kNonNegative, "rows a batch; 0: all, every oracle is exact");
  }
  void make(uint64_t seed) override {
    options_.seed = seed;
    ProblemData data;
    if (options_.train.empty()) {
      if (!options_.valid.empty()) throw InputError("valid is given, but train is not");
      data = generated_problem_data(2, 10, 200, 200);
    } else {
      data = read_problem_data(options_);
    }
    if (data.labels.size() != 2) {
      throw InputError(
          fmt::format("{}: {} different labels, but logistic takes two", options_.train, data.labels.size()));
    }
    const int64_t width = data.train.features.size(1);
    if (width > kMostFeatures) {
      throw InputError(fmt::format("{}: {} features, but the exact Hessian of logistic takes at most {}",
                                   options_.train, width, kMostFeatures));
    }
    train_ = data.train.features;
    matrix_ = ReferenceRows(train_);
    train_sign_ = 2 * data.train.classes.to(torch::kFloat64) - 1;
    valid_ = data.valid.features;
    valid_sign_ = 2 * data.valid.classes.to(torch::kFloat64) - 1;
    at::Generator random = at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, "logistic.start"));
    x_ = torch::rand({width}, random, torch::kFloat64).clamp_min(1e-8).log().requires_grad_();
    y_ = torch::randn({width}, random, torch::kFloat64).requires_grad_();
  }
  Problem problem() const override {
    const SamplingOptions sampling{.batch_size =
                                       batch_size_ > 0 ? batch_size_ : std::numeric_limits<int64_t>::max()};
    const auto f = [y = y_](const Batch& b) {
      return torch::softplus(-b.targets() * b.input().mv(y)).mean();
    };
    const auto g = [x = x_, y = y_](const Batch& b) {
      return torch::softplus(-b.targets() * b.input().mv(y)).mean() + 0.5 * (x.exp() * y.square()).sum();
    };
    const DesignRows valid({valid_}, y_.numel(), torch::kFloat64),
        train({train_}, y_.numel(), torch::kFloat64);
    return {
        .upper = {.parameters = {{"x", x_}},
                  .loss = f,
                  .batches = shuffled({valid_}, valid_sign_, sampling),
                  .derivatives = derivatives_of({.rows = valid, .targets = valid_sign_})},
        .lower = {.parameters = {{"y", y_}},
                  .loss = g,
                  .batches = shuffled({train_}, train_sign_, sampling),
                  .derivatives = derivatives_of(
                      {.rows = train, .targets = train_sign_, .strength_of = torch::arange(y_.numel())})}};
  }
  torch::Tensor best_lower(const torch::Tensor& x) const override {
    // From where the run's y is, which is near: then a few steps suffice.
    const torch::Tensor found = minimize(lower(x), y_.detach());
    return found.isfinite().all().item<bool>() ? found : minimize(lower(x), torch::zeros_like(x));
  }
  torch::Tensor gradient(const torch::Tensor& x) const override {
    const torch::NoGradGuard no_grad;
    const torch::Tensor y = best_lower(x);
    if (!y.isfinite().all().item<bool>()) return torch::full_like(x, NAN);
    const torch::Tensor slope = -valid_sign_ * torch::sigmoid(-valid_sign_ * valid_.mv(y));
    const torch::Tensor b = valid_.t().mv(slope) / static_cast<double>(valid_.size(0));
    return -x.exp() * y * lower(x).solve(y, b, 0);
  }
  ProblemTraits traits() const override {
    return {
        .upper_curvature_min = 0,
        .upper_curvature_max = 0.25 * valid_.square().sum(1).mean().item<double>(),  // of the mean of a a'/4
        .lower_curvature_min = x_.detach().exp().min().item<double>()};
  }
  int64_t evaluations() const override { return train_.numel() <= 100'000 ? 500 : 25; }

 private:
  ConvexFunction lower(const torch::Tensor& x) const {
    const torch::Tensor strength = x.detach().exp();
    const auto rows = static_cast<double>(train_.size(0));
    const auto value_and_gradient = [this, strength, rows](const torch::Tensor& y) {
      const torch::Tensor margin = train_sign_ * matrix_.times(y);
      // log(1 + exp(-m)), exact for large |m| on either side
      const torch::Tensor loss = torch::log1p(torch::exp(-margin.abs())) + (-margin).clamp_min(0);
      const double value = (loss.mean() + 0.5 * (strength * y.square()).sum()).item<double>();
      const torch::Tensor slope = -train_sign_ * torch::sigmoid(-margin);
      return std::pair{value, matrix_.transposed_times(slope) / rows + strength * y};
    };
    const auto solve = [this, strength, rows](const torch::Tensor& y, const torch::Tensor& b, double) {
      const torch::Tensor p = torch::sigmoid(matrix_.times(y));
      return at::linalg_solve(matrix_.gram(p * (1 - p) / rows) + torch::diag(strength), b);
    };
    return {value_and_gradient, solve};
  }

  ProblemDataOptions options_;
  int64_t batch_size_ = 0;
  torch::Tensor train_, train_sign_, valid_, valid_sign_;
  ReferenceRows matrix_;  // of train_
};

}  // namespace

KnownProblemEntry logistic_entry() {
  return {"logistic", "logistic regression with one L2 strength a feature, on LIBSVM files or generated rows",
          [] { return std::make_unique<Logistic>(); }};
}

}  // namespace bilevel
