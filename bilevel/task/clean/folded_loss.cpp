#include "bilevel/task/clean/folded_loss.h"

#include <torch/types.h>

#include <cmath>

namespace bilevel {
namespace {

using Points = std::vector<std::unique_ptr<PointDerivatives>>;

class FoldedPoint : public PointDerivatives {
 public:
  /// @param y scaled by beta
  FoldedPoint(const FoldedLoss& loss, Points points, torch::Tensor from_centre, torch::Tensor y, double beta)
      : loss_(loss),
        points_(std::move(points)),
        from_centre_(std::move(from_centre)),
        y_(std::move(y)),
        beta_(beta),
        length_(y_.numel() / static_cast<int64_t>(points_.size())) {}

  double value() override {
    double sum =
        from_centre_.defined() ? loss_.precision / 2 * from_centre_.square().sum().item<double>() : 0;
    for (const auto& point : points_) sum += point->value();
    return sum;
  }
  void gradient(const Into& x, const Into& y) override {
    if (x.out != nullptr && from_centre_.defined()) {
      torch::Tensor out = *x.out;
      out.add_(from_centre_, x.scale * loss_.precision);
    }
    each(y, beta_, [&](PointDerivatives& point, size_t, const Into& of_y) { point.gradient(x, of_y); });
    if (x.out != nullptr && loss_.scale >= 0) add_to_scale(x, gradient_at_scaled().dot(y_));
  }
  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    const torch::Tensor along = beta_ == 1 ? v : beta_ * v;
    const auto part = [&](size_t k) { return along.narrow(0, static_cast<int64_t>(k) * length_, length_); };
    each(hvp, beta_, [&](PointDerivatives& point, size_t k, const Into& of_y) {
      point.products(part(k), cross_vjp, of_y);
    });
    if (cross_vjp.out == nullptr || loss_.scale < 0) return;
    const torch::Tensor curved = torch::zeros_like(y_);  // H beta v
    each({&curved, 1}, 1,
         [&](PointDerivatives& point, size_t k, const Into& of_y) { point.products(part(k), {}, of_y); });
    add_to_scale(cross_vjp, gradient_at_scaled().dot(along) + curved.dot(y_));
  }

 private:
  /// f(point, k, where its derivative in y_k goes, times `factor`).
  template <typename F>
  void each(const Into& y, double factor, const F& f) {
    for (size_t k = 0; k < points_.size(); ++k) {
      const torch::Tensor part =
          y.out == nullptr ? torch::Tensor() : y.out->narrow(0, static_cast<int64_t>(k) * length_, length_);
      f(*points_[k], k, y.out == nullptr ? Into{} : Into{&part, y.scale * factor});
    }
  }
  /// In beta y.
  torch::Tensor gradient_at_scaled() {
    const torch::Tensor gradient = torch::zeros_like(y_);
    each({&gradient, 1}, 1,
         [&](PointDerivatives& point, size_t, const Into& of_y) { point.gradient({}, of_y); });
    return gradient;
  }
  void add_to_scale(const Into& x, const torch::Tensor& derivative) const {
    torch::Tensor out = *x.out;
    out[loss_.scale] += derivative * x.scale;
  }

  const FoldedLoss& loss_;
  Points points_;
  torch::Tensor from_centre_;  // undefined: no such term
  torch::Tensor y_;
  double beta_;
  int64_t length_;  // of y_k
};

class FoldedDerivatives : public Derivatives {
 public:
  explicit FoldedDerivatives(const FoldedLoss& loss) : loss_(loss) {
    for (const LinearLoss& part : loss.parts) parts_.push_back(derivatives_of(part)());
  }
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override {
    const auto count = static_cast<int64_t>(parts_.size());
    const int64_t length = y.numel() / count;
    const double beta = loss_.scale < 0 ? 1 : std::exp(x[loss_.scale].item<double>());
    torch::Tensor scaled = loss_.scale < 0 ? y : y * beta;
    Points points;
    for (int64_t k = 0; k < count; ++k)
      points.push_back(parts_[static_cast<size_t>(k)]->at(batch, x, scaled.narrow(0, k * length, length)));
    return std::make_unique<FoldedPoint>(loss_, std::move(points),
                                         loss_.precision > 0 ? x - loss_.centre : torch::Tensor(),
                                         std::move(scaled), beta);
  }

 private:
  const FoldedLoss loss_;
  std::vector<std::unique_ptr<Derivatives>> parts_;
};

}  // namespace

torch::Tensor FoldedLoss::value(const Batch& batch, const torch::Tensor& x,
                                const std::vector<torch::Tensor>& y) const {
  const auto part = [&](size_t k) {
    return parts[k].value(batch, x, scale < 0 ? y[k] : x[scale].exp() * y[k]);
  };
  torch::Tensor sum = part(0);
  for (size_t k = 1; k < parts.size(); ++k) sum = sum + part(k);
  return precision > 0 ? sum + precision / 2 * (x - centre).square().sum() : sum;
}

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const FoldedLoss& loss) {
  return [loss]() -> std::unique_ptr<Derivatives> { return std::make_unique<FoldedDerivatives>(loss); };
}

}  // namespace bilevel
