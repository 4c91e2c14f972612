#include "bilevel/glm/linear_loss.h"

#include <ATen/ops/cross_entropy_loss.h>

#include <algorithm>
#include <cstring>

namespace bilevel {
namespace {

/// What a run keeps: the targets in its dtype, and the strengths of the last x.
template <typename T>
class LinearDerivatives : public Derivatives {
 public:
  explicit LinearDerivatives(const LinearLoss& of)
      : loss(of), targets_(of.targets.to(torch::CppTypeToScalarType<T>::value).contiguous()) {
    if (of.unit_of.defined()) unit_of = of.unit_of.const_data_ptr<int64_t>();
    if (of.strength_of.defined()) strength_of = of.strength_of.const_data_ptr<int64_t>();
    targets = targets_.template const_data_ptr<T>();
    strengths_.assign(static_cast<size_t>((of.rows.width() + (of.bias ? 1 : 0)) * of.outputs),
                      static_cast<T>(of.strength));
  }
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override;

  /// s_j at x.
  const std::vector<T>& strengths(const torch::Tensor& x) {
    if (strength_of == nullptr) return strengths_;
    const auto size = static_cast<size_t>(x.numel());
    const T* value = x.const_data_ptr<T>();
    if (x_.size() == size && std::memcmp(x_.data(), value, size * sizeof(T)) == 0) return strengths_;
    x_.assign(value, value + size);
    exp_x_.resize(size);
    for (size_t u = 0; u < size; ++u) exp_x_[u] = std::exp(value[u]);
    for (size_t j = 0; j < strengths_.size(); ++j) {
      const int64_t u = strength_of[j];
      strengths_[j] = static_cast<T>(loss.strength) + (u >= 0 ? exp_x_[static_cast<size_t>(u)] : 0);
    }
    return strengths_;
  }
  /// exp(x) of the last call of `strengths`.
  const std::vector<T>& exp_x() const { return exp_x_; }

  const LinearLoss loss;
  const int64_t *unit_of = nullptr, *strength_of = nullptr;  // null: none
  const T* targets;

 private:
  torch::Tensor targets_;
  std::vector<T> strengths_, x_, exp_x_;
};

template <typename T>
class LinearPoint : public PointDerivatives {
 public:
  LinearPoint(LinearDerivatives<T>& level, const Batch& batch, const torch::Tensor& x, const torch::Tensor& y)
      : level_(level),
        loss_(level.loss),
        batch_(batch),
        count_(batch.rows().size()),
        k_(static_cast<size_t>(loss_.outputs)),
        x_(x.const_data_ptr<T>()),
        y_(y.const_data_ptr<T>()),
        strengths_(level.strengths(x)),
        buffer_(count_ * (1 + 4 * k_)),
        share_(buffer_.data()),
        u_(share_ + count_),
        r_(u_ + count_ * k_),
        h_(r_ + count_ * k_),
        scaled_(h_ + count_ * k_) {
    const torch::Tensor& weights = batch.weights();
    const double* weight = weights.defined() ? weights.const_data_ptr<double>() : nullptr;
    const auto count = static_cast<T>(count_);
    for (size_t i = 0; i < count_; ++i)
      share_[i] = (weight != nullptr ? static_cast<T>(weight[i]) : T{1}) / count;
  }

  double value() override {
    double sum = 0;
    by_blocks([&](size_t begin, size_t end) {
      outputs(begin, end);
      for (size_t i = begin; i < end; ++i) sum += static_cast<double>(share_[i] * weight(i) * row_loss(i));
    });
    has_outputs_ = true;
    if (!penalized()) return sum;
    for (size_t j = 0; j < strengths_.size(); ++j)
      sum += static_cast<double>(strengths_[j] * y_[j] * y_[j] / 2);
    return sum;
  }

  void gradient(const Into& x, const Into& y) override {
    const T scale_x = static_cast<T>(x.scale), scale_y = static_cast<T>(y.scale);
    T* in_x = x.out != nullptr ? x.out->data_ptr<T>() : nullptr;
    T* in_y = y.out != nullptr ? y.out->data_ptr<T>() : nullptr;
    by_blocks([&](size_t begin, size_t end) {
      residuals(begin, end);
      for (size_t i = begin; in_x != nullptr && level_.unit_of != nullptr && i < end; ++i)
        in_x[unit(i)] += scale_x * share_[i] * slope(i) * row_loss(i);
      if (in_y == nullptr) return;
      for (size_t i = begin; i < end; ++i) {
        const T factor = scale_y * share_[i] * weight(i);
        for (size_t c = 0; c < k_; ++c) at(scaled_, i)[c] = factor * at(r_, i)[c];
      }
      add_transposed(begin, end, in_y);
    });
    has_outputs_ = has_residuals_ = true;
    if (in_x != nullptr) add_strength_products(y_, scale_x / 2, in_x);
    if (in_y != nullptr) add_penalty(y_, scale_y, in_y);
  }

  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    const T* along = v.const_data_ptr<T>();
    const T scale_x = static_cast<T>(cross_vjp.scale), scale_y = static_cast<T>(hvp.scale);
    T* in_x = cross_vjp.out != nullptr ? cross_vjp.out->data_ptr<T>() : nullptr;
    T* in_y = hvp.out != nullptr ? hvp.out->data_ptr<T>() : nullptr;
    const bool units = in_x != nullptr && level_.unit_of != nullptr;
    if (units || in_y != nullptr) {
      by_blocks([&](size_t begin, size_t end) {
        residuals(begin, end);
        multiply(begin, end, along, scaled_);  // A v
        for (size_t i = begin; units && i < end; ++i) {
          T product = 0;
          for (size_t c = 0; c < k_; ++c) product += at(r_, i)[c] * at(scaled_, i)[c];
          in_x[unit(i)] += scale_x * share_[i] * slope(i) * product;
        }
        if (in_y == nullptr) return;
        for (size_t i = begin; i < end; ++i) {
          row_curvature(loss_.loss, at(h_, i), loss_.outputs, at(scaled_, i));
          const T factor = scale_y * share_[i] * weight(i);
          for (size_t c = 0; c < k_; ++c) at(scaled_, i)[c] *= factor;
        }
        add_transposed(begin, end, in_y);
      });
      has_outputs_ = has_residuals_ = true;
    }
    if (in_x != nullptr) add_strength_products(along, scale_x, in_x);
    if (in_y != nullptr) add_penalty(along, scale_y, in_y);
  }

 private:
  T* at(T* of, size_t row) const { return of + row * k_; }
  T target(size_t i) const { return level_.targets[batch_.rows()[i]]; }
  size_t unit(size_t i) const { return static_cast<size_t>(level_.unit_of[batch_.rows()[i]]); }
  /// w_i and its derivative in x.
  T weight(size_t i) const { return level_.unit_of != nullptr ? sigmoid(x_[unit(i)]) : T{1}; }
  T slope(size_t i) const {
    const T w = sigmoid(x_[unit(i)]);
    return w * (1 - w);
  }
  template <typename Pointer>
  Pointer bias(Pointer of_y) const {
    return loss_.bias ? of_y + loss_.rows.width() * loss_.outputs : nullptr;
  }
  bool penalized() const { return loss_.strength != 0 || level_.strength_of != nullptr; }

  T row_loss(size_t i) const { return row_value(loss_.loss, at(u_, i), target(i), loss_.outputs); }

  /// Block after block of rows, so that what a derivative needs of a row is done while the row is near.
  template <typename F>
  void by_blocks(const F& f) const {
    const size_t block = std::min(static_cast<size_t>(loss_.rows.block(loss_.outputs)), count_);
    for (size_t begin = 0; begin < count_; begin += block) f(begin, std::min(count_, begin + block));
  }
  RowSpan rows(size_t begin, size_t end) const {
    const int64_t* numbers = batch_.rows().data();
    return {numbers + begin, static_cast<int64_t>(end - begin), numbers + count_};
  }
  void multiply(size_t begin, size_t end, const T* by, T* out) const {
    loss_.rows.multiply(rows(begin, end), by, bias(by), loss_.outputs, at(out, begin));
  }
  void add_transposed(size_t begin, size_t end, T* out) const {
    loss_.rows.add_transposed(rows(begin, end), at(scaled_, begin), loss_.outputs, out, bias(out));
  }
  void outputs(size_t begin, size_t end) {
    if (!has_outputs_) multiply(begin, end, y_, u_);
  }
  void residuals(size_t begin, size_t end) {
    outputs(begin, end);
    if (has_residuals_) return;
    for (size_t i = begin; i < end; ++i)
      row_gradient(loss_.loss, at(u_, i), target(i), loss_.outputs, at(r_, i), at(h_, i));
  }
  /// out_j += scale s_j v_j.
  void add_penalty(const T* v, T scale, T* out) const {
    if (!penalized()) return;
    for (size_t j = 0; j < strengths_.size(); ++j) out[j] += scale * strengths_[j] * v[j];
  }
  /// out_u += scale ds_j/dx_u y_j v_j.
  void add_strength_products(const T* v, T scale, T* out) const {
    if (level_.strength_of == nullptr) return;
    const int64_t* of = level_.strength_of;
    for (size_t j = 0; j < strengths_.size(); ++j) {
      if (of[j] < 0) continue;
      const auto u = static_cast<size_t>(of[j]);
      out[u] += scale * level_.exp_x()[u] * y_[j] * v[j];
    }
  }

  LinearDerivatives<T>& level_;
  const LinearLoss& loss_;
  const Batch batch_;
  size_t count_, k_;
  const T *x_, *y_;
  const std::vector<T>& strengths_;
  std::vector<T> buffer_;
  T *share_, *u_, *r_, *h_, *scaled_;  // c_i / rows; outputs; residuals; curvatures; what is multiplied next
  bool has_outputs_ = false, has_residuals_ = false;
};

template <typename T>
std::unique_ptr<PointDerivatives> LinearDerivatives<T>::at(const Batch& batch, const torch::Tensor& x,
                                                           const torch::Tensor& y) {
  return std::make_unique<LinearPoint<T>>(*this, batch, x, y);
}

}  // namespace

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const LinearLoss& loss) {
  return [loss]() -> std::unique_ptr<Derivatives> {
    if (loss.rows.dtype() == torch::kFloat32) return std::make_unique<LinearDerivatives<float>>(loss);
    return std::make_unique<LinearDerivatives<double>>(loss);
  };
}

torch::Tensor LinearLoss::value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const {
  const int64_t width = rows.width();
  const torch::Tensor w = y.narrow(0, 0, width * outputs).view({width, outputs});
  torch::Tensor u = rows.product(batch.numbers(), w);
  if (bias) u = u + y.narrow(0, width * outputs, outputs);
  const torch::Tensor target = targets.index_select(0, batch.numbers());
  torch::Tensor losses;
  if (loss == RowLoss::softmax) {
    losses = at::cross_entropy_loss(u, target.to(torch::kInt64), {}, at::Reduction::None);
  } else {
    u = u.squeeze(1);
    const torch::Tensor t = target.to(u.scalar_type());
    losses = loss == RowLoss::logistic ? torch::softplus(-t * u) : (u - t).square() / 2;
  }
  if (unit_of.defined())
    losses = losses * torch::sigmoid(x.index_select(0, unit_of.index_select(0, batch.numbers())));
  torch::Tensor sum = weighted_mean(losses, batch.weights());
  if (strength != 0) sum = sum + strength / 2 * y.square().sum();
  if (!strength_of.defined()) return sum;
  const torch::Tensor learned = (strength_of >= 0).nonzero().squeeze(1);
  const torch::Tensor strengths = x.index_select(0, strength_of.index_select(0, learned)).exp();
  return sum + (strengths * y.index_select(0, learned).square()).sum() / 2;
}

}  // namespace bilevel
