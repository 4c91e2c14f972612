#include "bilevel/glm/mixture_loss.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

constexpr int kEntropyHalvings = 60;  // of the factor of the logits

class MixturePoint : public PointDerivatives {
 public:
  MixturePoint(std::unique_ptr<PointDerivatives> linear, const torch::Tensor& x, int64_t sources)
      : linear_(std::move(linear)), size_(x.numel()), p_(x.detach().narrow(0, 0, sources).softmax(0)) {}

  double value() override { return linear_->value(); }
  void gradient(const Into& x, const Into& y) override {
    through_softmax(x, [&](const Into& units) { linear_->gradient(units, y); });
  }
  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    through_softmax(cross_vjp, [&](const Into& units) { linear_->products(v, units, hvp); });
  }

 private:
  /// Adds to x what `derive` gives for (p, x_m+1, ...).
  template <typename Derive>
  void through_softmax(const Into& x, const Derive& derive) {
    if (x.out == nullptr) return derive({});
    const int64_t m = p_.numel();
    const torch::Tensor units = torch::zeros({size_}, p_.options()), in_p = units.narrow(0, 0, m);
    derive({&units});
    x.out->narrow(0, 0, m).add_(p_ * (in_p - p_.dot(in_p)), x.scale);
    x.out->narrow(0, m, size_ - m).add_(units.narrow(0, m, size_ - m), x.scale);
  }

  const std::unique_ptr<PointDerivatives> linear_;
  const int64_t size_;
  const torch::Tensor p_;
};

class MixtureDerivatives : public Derivatives {
 public:
  explicit MixtureDerivatives(const MixtureLoss& loss)
      : loss_(loss), linear_(derivatives_of(loss.linear)()) {}
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override {
    if (x.numel() < loss_.sources)
      throw InputError(fmt::format("x has {} numbers, but the mixture {} sources", x.numel(), loss_.sources));
    return std::make_unique<MixturePoint>(linear_->at(batch, loss_.units(x.detach()), y), x, loss_.sources);
  }

 private:
  const MixtureLoss loss_;
  const std::unique_ptr<Derivatives> linear_;
};

}  // namespace

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const MixtureLoss& loss) {
  if (loss.sources < 1) throw InputError(fmt::format("a mixture of {} sources", loss.sources));
  if (loss.linear.weight != RowWeight::plain)
    throw InputError("a mixture weighs rows by what x says as it is: their weight must be plain");
  return [loss]() -> std::unique_ptr<Derivatives> { return std::make_unique<MixtureDerivatives>(loss); };
}

torch::Tensor MixtureLoss::units(const torch::Tensor& x) const {
  return torch::cat({x.narrow(0, 0, sources).softmax(0), x.narrow(0, sources, x.numel() - sources)});
}

torch::Tensor MixtureLoss::value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const {
  return linear.value(batch, units(x), y);
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
