#include "bilevel/glm/linear_fit.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace bilevel {
namespace {

// Relative residual of a Newton direction, at most; it falls with the gradient. On SST-2 a fit takes as long with .25.
constexpr double kMostForcing = 0.5;
// A step ends where the loss still falls, or rises by no more than this share of what it fell by at its start. (The loss is convex, so
// where it still falls it is lower than at the start. With .5, steps from where it hardly curves went ever further.)
constexpr double kMostRise = 0.1;
constexpr int kHalvings = 30;  // of a step

/// What y is divided by, so that the loss curves about alike along every number of it.
torch::Tensor scale_of(const LinearLoss& loss, const Batch& batch, const torch::Tensor& x) {
  constexpr double kLeast = 1e-10;  // of the largest curvature: for what no row has
  const torch::Tensor curvatures = loss.curvature_bounds(batch, x);
  const double most = curvatures.max().item<double>();
  return most > 0 ? curvatures.clamp_min(kLeast * most).rsqrt() : torch::ones_like(curvatures);
}

/// A number for each model.
using OfModels = std::vector<double>;

/// Newton's method in z = y / scale, for models side by side of which none knows of another: each has its own lengths and its own end.
class LinearFit {
 public:
  LinearFit(Derivatives& derivatives, const Batch& batch, const torch::Tensor& x, const torch::Tensor& start,
            const torch::Tensor& scale, int64_t models, int64_t columns, const LinearFitOptions& options)
      : derivatives_(derivatives),
        batch_(batch),
        x_(x),
        options_(options),
        models_(static_cast<size_t>(models)),
        columns_(columns),
        scale_(scale),
        z_(start.detach() / scale_),
        made_(models_) {}

  FittedModels execute() {
    auto point = at(torch::zeros_like(z_));
    torch::Tensor g = gradient(*point);
    const OfModels first = largest(g);
    if (z_.any().item<bool>()) {
      point.reset();  // two at a time would take twice the memory
      point = at(z_);
      g = gradient(*point);
    }
    std::vector<bool> fitting(models_, true);
    while (!options_.go_on || options_.go_on(most_made())) {
      const OfModels left = largest(g);
      OfModels forcing(models_);
      for (size_t m = 0; m < models_; ++m) {
        const double share = first[m] > 0 ? left[m] / first[m] : 0;
        fitting[m] = fitting[m] && share > options_.gradient_tolerance && made_[m] < options_.evaluations;
        forcing[m] = std::min(kMostForcing, std::sqrt(share));
      }
      if (!is_any(fitting)) break;
      const torch::Tensor step = direction(*point, g, forcing, fitting);
      move(step, fitting, point, g);
    }
    return {scale_ * z_, most_made()};
  }

 private:
  std::unique_ptr<PointDerivatives> at(const torch::Tensor& z) {
    return derivatives_.at(batch_, x_, scale_ * z);
  }
  torch::Tensor gradient(PointDerivatives& point) const {
    const torch::Tensor found = torch::zeros_like(z_);
    point.gradient({}, {&found});
    return found.mul_(scale_);
  }
  torch::Tensor product(PointDerivatives& point, const torch::Tensor& v) const {
    const torch::Tensor found = torch::zeros_like(z_);
    point.products(scale_ * v, {}, {&found});
    return found.mul_(scale_);
  }
  static bool is_any(const std::vector<bool>& of) { return std::ranges::find(of, true) != of.end(); }
  int64_t most_made() const { return *std::ranges::max_element(made_); }
  void count(const std::vector<bool>& of) {
    for (size_t m = 0; m < models_; ++m) made_[m] += of[m] ? 1 : 0;
  }

  /// About -H^-1 g of the models that are fitted, 0 of the others: conjugate gradients, each until its residual is `forcing` of g.
  torch::Tensor direction(PointDerivatives& point, const torch::Tensor& g, const OfModels& forcing,
                          std::vector<bool> active) {
    const torch::Tensor d = torch::zeros_like(g), r = -g, p = torch::zeros_like(g);
    OfModels rr = dots(r, r), goal = rr, beta(models_);
    for (size_t m = 0; m < models_; ++m) goal[m] *= forcing[m] * forcing[m];
    add(p, {active.begin(), active.end()}, r);
    while (is_any(active)) {
      const torch::Tensor hp = product(point, p);
      count(active);
      const OfModels curvature = dots(p, hp);
      OfModels alpha(models_), minus_alpha(models_);
      for (size_t m = 0; m < models_; ++m) {
        alpha[m] = active[m] && curvature[m] > 0 ? rr[m] / curvature[m] : 0;
        minus_alpha[m] = -alpha[m];
      }
      add(d, alpha, p);
      add(r, minus_alpha, hp);
      const OfModels next = dots(r, r);
      for (size_t m = 0; m < models_; ++m) {
        active[m] = active[m] && alpha[m] > 0 && next[m] > goal[m] && made_[m] < options_.evaluations;
        beta[m] = active[m] ? next[m] / rr[m] : 0;
      }
      rr = next;
      multiply(p, beta);
      add(p, {active.begin(), active.end()}, r);
    }
    return d;
  }

  /// Takes the step, or half of it, a quarter, ..., for each model as the slope at its end asks; `point` and `g` follow. (The point is
  /// given up before the next is made: two would take twice the memory.)
  void move(const torch::Tensor& step, std::vector<bool>& fitting, std::unique_ptr<PointDerivatives>& point,
            torch::Tensor& g) {
    const OfModels slope = dots(g, step);
    std::vector<bool> open = fitting;
    OfModels length(fitting.begin(), fitting.end());
    for (int i = 0; is_any(open) || i == 0; ++i) {
      const torch::Tensor z = z_.clone();
      add(z, length, step);
      point.reset();
      point = at(z);
      const torch::Tensor found = gradient(*point);
      const OfModels end = dots(found, step);
      count(open);
      for (size_t m = 0; m < models_; ++m) {
        open[m] = open[m] && i <= kHalvings && !(end[m] <= -kMostRise * slope[m]);  // NaN ends, too
        if (open[m]) length[m] = i < kHalvings ? length[m] / 2 : 0;
      }
      if (is_any(open)) continue;
      z_ = z;
      g = found;
    }
    for (size_t m = 0; m < models_; ++m) fitting[m] = fitting[m] && length[m] > 0;
  }

  // Of numbers [dim y] that belong to models as those of y do:

  /// f(number, model) for each number.
  template <typename F>
  void each(const F& f) const {
    const int64_t rows = z_.numel() / (static_cast<int64_t>(models_) * columns_);
    int64_t j = 0;
    for (int64_t row = 0; row < rows; ++row)
      for (size_t m = 0; m < models_; ++m)
        for (int64_t c = 0; c < columns_; ++c) f(j++, m);
  }
  OfModels dots(const torch::Tensor& a, const torch::Tensor& b) const {
    OfModels sums(models_);
    AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "dots", [&] {
      const auto *u = a.const_data_ptr<scalar_t>(), *v = b.const_data_ptr<scalar_t>();
      each([&](int64_t j, size_t m) { sums[m] += static_cast<double>(u[j]) * static_cast<double>(v[j]); });
    });
    return sums;
  }
  /// The largest absolute value.
  OfModels largest(const torch::Tensor& a) const {
    OfModels found(models_);
    AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "largest", [&] {
      const auto* u = a.const_data_ptr<scalar_t>();
      each([&](int64_t j, size_t m) { found[m] = std::max(found[m], std::abs(static_cast<double>(u[j]))); });
    });
    return found;
  }
  /// to += factor from.
  void add(const torch::Tensor& to, const OfModels& factor, const torch::Tensor& from) const {
    AT_DISPATCH_FLOATING_TYPES(to.scalar_type(), "add", [&] {
      auto* out = to.data_ptr<scalar_t>();
      const auto* v = from.const_data_ptr<scalar_t>();
      const std::vector<scalar_t> by(factor.begin(), factor.end());
      each([&](int64_t j, size_t m) {
        if (by[m] != 0) out[j] += by[m] * v[j];  // what is not finite stays where it is
      });
    });
  }
  void multiply(const torch::Tensor& to, const OfModels& factor) const {
    AT_DISPATCH_FLOATING_TYPES(to.scalar_type(), "multiply", [&] {
      auto* out = to.data_ptr<scalar_t>();
      const std::vector<scalar_t> by(factor.begin(), factor.end());
      each([&](int64_t j, size_t m) { out[j] *= by[m]; });
    });
  }

  Derivatives& derivatives_;
  const Batch& batch_;
  const torch::Tensor& x_;
  const LinearFitOptions& options_;
  const size_t models_;
  const int64_t columns_;
  const torch::Tensor scale_;
  torch::Tensor z_;
  std::vector<int64_t> made_;  // evaluations of each model
};

}  // namespace

FittedModels fit_models(Derivatives& loss, const Batch& batch, const torch::Tensor& x,
                        const torch::Tensor& start, const torch::Tensor& scale, int64_t models,
                        int64_t columns, const LinearFitOptions& options) {
  return LinearFit(loss, batch, x, start, scale, models, columns, options).execute();
}

torch::Tensor fit_linear(const LinearLoss& loss, const Batch& batch, const torch::Tensor& x,
                         const torch::Tensor& start, const LinearFitOptions& options) {
  const std::unique_ptr<Derivatives> derivatives = derivatives_of(loss)();
  return fit_models(*derivatives, batch, x, start, scale_of(loss, batch, x), loss.models, loss.outputs,
                    options)
      .y;
}

}  // namespace bilevel
