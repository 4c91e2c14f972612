#include "bilevel/glm/mixture_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

constexpr int kEntropyHalvings = 60;  // of the factor of the logits

class MixtureDerivatives : public Derivatives {
 public:
  explicit MixtureDerivatives(const MixtureLoss& of) : loss(of) {
    for (size_t k = 0; k < loss.models.size(); ++k) models.push_back(derivatives_of(loss.loss_of(k))());
  }
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override;

  const MixtureLoss loss;
  std::vector<std::unique_ptr<Derivatives>> models;
};

class MixturePoint : public PointDerivatives {
 public:
  MixturePoint(MixtureDerivatives& level, const Batch& batch, const torch::Tensor& x, const torch::Tensor& y)
      : l_(level.loss), x_(x.detach()), p_(x_.narrow(0, 0, l_.sources()).softmax(0)) {
    for (size_t k = 0; k < level.models.size(); ++k) {
      points_.push_back(level.models[k]->at(batch, l_.units_of(k, x_), of_model(y.detach(), k)));
    }
  }

  double value() override {
    double sum = 0;
    for (const auto& point : points_) sum += point->value();
    if (l_.centre.defined()) sum += l_.prior / 2 * distance().square().sum().item<double>();
    return sum;
  }

  void gradient(const Into& x, const Into& y) override {
    each_model(x, y, [](PointDerivatives& point, const Into& units, const Into& own) {
      point.gradient(units, own);
    });
    if (x.out != nullptr && l_.centre.defined()) x.out->add_(distance(), x.scale * l_.prior);
  }

  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    size_t k = 0;
    each_model(cross_vjp, hvp, [&](PointDerivatives& point, const Into& units, const Into& own) {
      point.products(of_model(v, k++), units, own);
    });
  }

 private:
  torch::Tensor of_model(const torch::Tensor& flat, size_t k) const {
    return flat.narrow(0, static_cast<int64_t>(k) * l_.model_size(), l_.model_size());
  }
  torch::Tensor distance() const { return x_ - l_.centre.to(x_.options()); }

  /// Adds what `derive(point, units, own)` gives of every model: in its part of y as it is, in its units through the softmax.
  template <typename Derive>
  void each_model(const Into& x, const Into& y, const Derive& derive) {
    const int64_t m = l_.sources();
    const bool in_x = x.out != nullptr && (l_.weighed || l_.penalty_factors.defined());
    torch::Tensor in_p = torch::zeros({m}, x_.options());
    for (size_t k = 0; k < points_.size(); ++k) {
      const torch::Tensor units = torch::zeros({m + 2}, x_.options());
      torch::Tensor own;
      if (y.out != nullptr) own = of_model(*y.out, k);
      derive(*points_[k], {in_x ? &units : nullptr}, {y.out != nullptr ? &own : nullptr, y.scale});
      if (!in_x) continue;
      in_p += l_.models[k].factors.to(x_.options()) * units.narrow(0, 0, m);
      x.out->narrow(0, m, 1).add_(units.narrow(0, m + 1, 1), x.scale);
    }
    if (in_x && l_.weighed) x.out->narrow(0, 0, m).add_(p_ * (in_p - p_.dot(in_p)), x.scale);
  }

  const MixtureLoss& l_;
  const torch::Tensor x_, p_;
  std::vector<std::unique_ptr<PointDerivatives>> points_;
};

std::unique_ptr<PointDerivatives> MixtureDerivatives::at(const Batch& batch, const torch::Tensor& x,
                                                         const torch::Tensor& y) {
  const int64_t size = static_cast<int64_t>(models.size()) * loss.model_size();
  if (x.numel() != loss.sources() + 1 || y.numel() != size) {
    throw InputError(fmt::format("x and y have {} and {} numbers, but this mixture takes {} and {}",
                                 x.numel(), y.numel(), loss.sources() + 1, size));
  }
  return std::make_unique<MixturePoint>(*this, batch, x, y);
}

}  // namespace

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const MixtureLoss& loss) {
  if (loss.models.empty() || !loss.rows.bias)
    throw InputError("a mixture takes at least one model, with biases");
  for (const MixedRows& model : loss.models) {
    if (model.factors.dim() != 1 || model.factors.size(0) != loss.sources())
      throw InputError("the models of a mixture must have one factor for each of the same sources");
  }
  if (loss.centre.defined() && loss.centre.numel() != loss.sources() + 1)
    throw InputError(fmt::format("the centre of a mixture's prior has {} numbers in place of {}",
                                 loss.centre.numel(), loss.sources() + 1));
  return [loss]() -> std::unique_ptr<Derivatives> { return std::make_unique<MixtureDerivatives>(loss); };
}

// The sources are units, and one more has the rows that the model does not see.
LinearLoss MixtureLoss::loss_of(size_t k) const {
  LinearLoss own = rows;
  own.unit_of = models[k].source_of;
  own.weight = RowWeight::plain;
  if (penalty_factors.defined()) {
    const int64_t weights = own.rows.width() * own.outputs;
    own.strength_of = torch::cat({torch::full({weights}, sources() + 1, torch::kInt64),
                                  torch::full({own.outputs}, -1, torch::kInt64)});
    own.strength_factor =
        torch::cat({penalty_factors, torch::zeros({own.outputs}, penalty_factors.options())});
  }
  return own;
}

// The weight of each source, 0 for what the model does not see, the strength's logarithm.
torch::Tensor MixtureLoss::units_of(size_t k, const torch::Tensor& x) const {
  const int64_t m = sources();
  const torch::Tensor factors = models[k].factors.to(x.options().requires_grad(false));
  const torch::Tensor weights = weighed ? x.narrow(0, 0, m).softmax(0) * factors : factors;
  return torch::cat({weights, torch::zeros({1}, factors.options()), x.narrow(0, m, 1)});
}

torch::Tensor MixtureLoss::value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const {
  torch::Tensor sum = torch::zeros({}, y.options().requires_grad(false));
  for (size_t k = 0; k < models.size(); ++k) {
    const torch::Tensor own = y.narrow(0, static_cast<int64_t>(k) * model_size(), model_size());
    sum = sum + loss_of(k).value(batch, units_of(k, x), own);
  }
  if (centre.defined()) sum = sum + prior / 2 * (x - centre.to(x.options())).square().sum();
  return sum;
}

torch::Tensor with_entropy(const torch::Tensor& logits, double floor) {
  const torch::Tensor centred = (logits - logits.mean()).to(torch::kFloat64);
  const double least = floor * std::log(static_cast<double>(logits.numel()));
  const auto entropy = [&](double factor) {
    const torch::Tensor log_p = (factor * centred).log_softmax(0);
    return -(log_p.exp() * log_p).sum().item<double>();
  };
  if (logits.numel() < 2 || entropy(1) >= least) return logits;
  double low = 0, high = 1;
  for (int i = 0; i < kEntropyHalvings; ++i) {
    const double middle = (low + high) / 2;
    (entropy(middle) >= least ? low : high) = middle;
  }
  return (low * centred).to(logits.options());
}

}  // namespace bilevel
