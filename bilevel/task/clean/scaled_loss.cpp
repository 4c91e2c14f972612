#include "bilevel/task/clean/scaled_loss.h"

#include <torch/types.h>

#include <cmath>

namespace bilevel {
namespace {

class ScaledPoint : public PointDerivatives {
 public:
  /// @param y scaled by beta
  ScaledPoint(std::unique_ptr<PointDerivatives> linear, torch::Tensor y, double beta, int64_t unit)
      : linear_(std::move(linear)), y_(std::move(y)), beta_(beta), unit_(unit) {}

  double value() override { return linear_->value(); }
  void gradient(const Into& x, const Into& y) override {
    linear_->gradient(x, {y.out, y.scale * beta_});
    if (x.out != nullptr) add_to_scale(x, gradient_at_scaled().dot(y_));
  }
  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    const torch::Tensor along = beta_ * v;
    linear_->products(along, cross_vjp, {hvp.out, hvp.scale * beta_});
    if (cross_vjp.out == nullptr) return;
    const torch::Tensor curved = torch::zeros_like(y_);  // H beta v
    linear_->products(along, {}, {&curved});
    add_to_scale(cross_vjp, gradient_at_scaled().dot(along) + curved.dot(y_));
  }

 private:
  /// In beta y.
  torch::Tensor gradient_at_scaled() {
    const torch::Tensor gradient = torch::zeros_like(y_);
    linear_->gradient({}, {&gradient});
    return gradient;
  }
  void add_to_scale(const Into& x, const torch::Tensor& derivative) const {
    torch::Tensor out = *x.out;
    out[unit_] += derivative * x.scale;
  }

  const std::unique_ptr<PointDerivatives> linear_;
  const torch::Tensor y_;
  const double beta_;
  const int64_t unit_;
};

class ScaledDerivatives : public Derivatives {
 public:
  explicit ScaledDerivatives(const ScaledLoss& loss)
      : unit_(loss.unit), linear_(derivatives_of(loss.linear)()) {}
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override {
    const double beta = std::exp(x[unit_].item<double>());
    torch::Tensor scaled = y * beta;
    auto linear = linear_->at(batch, x, scaled);
    return std::make_unique<ScaledPoint>(std::move(linear), std::move(scaled), beta, unit_);
  }

 private:
  const int64_t unit_;
  const std::unique_ptr<Derivatives> linear_;
};

}  // namespace

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const ScaledLoss& loss) {
  return [loss]() -> std::unique_ptr<Derivatives> { return std::make_unique<ScaledDerivatives>(loss); };
}

}  // namespace bilevel
