#include "bilevel/task/tune/tune_derivatives.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"
#include "bilevel/task/tune/tuned_level.h"

namespace bilevel {
namespace {

template <typename T>
class TunedPoint : public PointDerivatives {
 public:
  TunedPoint(TunedDerivatives<T>& level, const Batch& batch, const torch::Tensor& x, const torch::Tensor& y)
      : level_(level),
        l_(level.loss),
        columns_(level.width * level.models * level.k),
        biases_(level.models * level.k),
        at_(level.at_x(x)),
        at_y_(y.contiguous()),
        y_(at_y_.const_data_ptr<T>()),
        w_(scaled(at_y_)),
        rows_(level.rows->at(batch, unit_weights(), w_)) {
    if (level_.elastic()) share_ = sigmoid(at_->x[1]);
    if (!l_.smoothed) return;
    eps_ = sigmoid(at_->x[1]);
    slope_of_eps_ = eps_ * (1 - eps_);
    in_eps_ = gradient_in_eps(batch);
  }

  double value() override {
    double sum = rows_->value();
    if (l_.smoothed) sum += eps_ * dot(in_eps_, w_);
    for (int64_t i = 0; l_.penalized && i < columns_; ++i)
      sum += static_cast<double>(rest() * quadratic(i, y_) * y_[i] / 2 + of_norm(i, bend(i).value));
    each_prior([&](int64_t, double distance) { sum += l_.prior / 2 * distance * distance; });
    return sum;
  }

  void gradient(const Into& x, const Into& y) override {
    const T* g = in_w();
    if (y.out != nullptr)
      add_in_y(y, g, [&](int64_t i) { return rest() * quadratic(i, y_) + of_norm(i, bend(i).slope); });
    if (x.out == nullptr) return;
    add_in_strengths(x, [&](int64_t i) {
      const T p = at_->penalty[at(i)];
      const T of_rows = -at_->scale[at(i)] * p * y_[i] * g[i];
      if (!l_.penalized) return of_rows / 2;
      return (of_rows + rest() * (1 - p) * quadratic(i, y_) * y_[i]) / 2 +
             (1 - p / 2) * of_norm(i, bend(i).value);
    });
    if (level_.elastic())
      add_in_share(x, [&](int64_t i) { return norm(i) * bend(i).value - quadratic(i, y_) * y_[i] / 2; });
    if (l_.smoothed) add(x, 1, slope_of_eps_ * dot(in_eps_, w_));
    if (l_.class_shares.defined()) add_in_class_weights(x, in_units_);
    each_prior([&](int64_t u, double distance) { add(x, u, l_.prior * distance); });
  }

  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    const torch::Tensor flat = v.contiguous(), along = scaled(flat), curved = zeros_of(w_),
                        in_units = units();
    const T* of_v = flat.const_data_ptr<T>();
    rows_->products(along, {l_.class_shares.defined() ? &in_units : nullptr}, {&curved});
    const T* hv = curved.const_data_ptr<T>();
    if (hvp.out != nullptr)
      add_in_y(hvp, hv, [&](int64_t i) {
        return rest() * quadratic(i, of_v) + of_norm(i, bend(i).curvature) * of_v[i];
      });
    if (cross_vjp.out == nullptr) return;
    const T* g = in_w();
    add_in_strengths(cross_vjp, [&](int64_t i) {
      const T p = at_->penalty[at(i)];
      const T of_rows = -at_->scale[at(i)] * p / 2 * (of_v[i] * g[i] + y_[i] * hv[i]);
      if (!l_.penalized) return of_rows;
      return of_rows +
             (rest() * (1 - p) * quadratic(i, y_) + (1 - p / 2) * of_norm(i, bend(i).slope)) * of_v[i];
    });
    if (level_.elastic())
      add_in_share(cross_vjp,
                   [&](int64_t i) { return (norm(i) * bend(i).slope - quadratic(i, y_)) * of_v[i]; });
    if (l_.smoothed) add(cross_vjp, 1, slope_of_eps_ * dot(in_eps_, along));
    if (l_.class_shares.defined()) add_in_class_weights(cross_vjp, in_units);
  }

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  static void add(const Into& into, int64_t j, double derivative) {
    into.out->data_ptr<T>()[j] += static_cast<T>(into.scale * derivative);
  }
  static double dot(const torch::Tensor& a, const torch::Tensor& b) {
    return a.dot(b).template item<double>();
  }
  torch::Tensor unit_weights() const {
    return l_.class_shares.defined() ? at_->class_weights.flatten() : torch::Tensor(at_y_.narrow(0, 0, 0));
  }
  torch::Tensor units() const {
    return l_.class_shares.defined() ? zeros_of(at_->class_weights.flatten()) : torch::Tensor();
  }

  /// What multiplies rows and stands beside them, of what has the place of y.
  torch::Tensor scaled(const torch::Tensor& flat) const {
    const torch::Tensor result = torch::empty_like(flat);
    const T* from = flat.const_data_ptr<T>();
    T* to = result.data_ptr<T>();
    for (int64_t i = 0; i < columns_; ++i) to[i] = at_->scale[at(i)] * from[i];
    for (int64_t c = columns_; c < columns_ + biases_; ++c) to[c] = static_cast<T>(l_.bias_scale) * from[c];
    return result;
  }
  /// The gradient of the mean loss in W and the biases, made once; `in_units_` with it.
  const T* in_w() {
    if (!in_w_.defined()) {
      in_w_ = zeros_of(w_);
      in_units_ = units();
      rows_->gradient({l_.class_shares.defined() ? &in_units_ : nullptr}, {&in_w_});
      if (l_.smoothed) axpy(eps_, in_eps_, in_w_);
    }
    return in_w_.const_data_ptr<T>();
  }
  static double sigmoid(T value) { return 1 / (1 + std::exp(-static_cast<double>(value))); }

  // ---- of the penalty, for weight i ----

  /// sqrt(y^2 + delta^2) - delta and its derivatives.
  struct Bend {
    T value, slope, curvature;
  };
  Bend bend(int64_t i) const {
    if (!level_.elastic() || l_.l1 == TunedLoss::Norm::left_out) return {0, 0, 0};
    constexpr T delta = static_cast<T>(TunedLoss::kBend);
    const T root = std::sqrt(y_[i] * y_[i] + delta * delta);
    // y^2 / (root + delta) is root - delta, without their cancelling near 0.
    return {y_[i] * y_[i] / (root + delta), y_[i] / root, delta * delta / (root * root * root)};
  }
  /// 1 - r.
  T rest() const { return static_cast<T>(1 - share_); }
  /// p v, the product of the whole quadratic penalty's Hessian.
  T quadratic(int64_t i, const T* v) const { return at_->penalty[at(i)] * v[i]; }
  /// lambda / sqrt(h + lambda).
  T norm(int64_t i) const { return at_->penalty[at(i)] / at_->scale[at(i)]; }
  T of_norm(int64_t i, T bent) const {
    return level_.elastic() ? static_cast<T>(share_) * norm(i) * bent : 0;  // elsewhere no division a weight
  }
  /// A derivative in r, of every weight, as one in its logit.
  template <typename F>
  void add_in_share(const Into& into, const F& derivative) const {
    double sum = 0;
    for (int64_t i = 0; i < columns_; ++i) sum += static_cast<double>(derivative(i));
    add(into, 1, share_ * (1 - share_) * sum);
  }

  /// out += scale (s d + what the penalty has) for a derivative d in W, and likewise for the biases.
  template <typename F>
  void add_in_y(const Into& into, const T* d, const F& of_penalty) const {
    T* out = into.out->data_ptr<T>();
    const T scale = static_cast<T>(into.scale);
    for (int64_t i = 0; i < columns_; ++i) {
      const T penalty = l_.penalized ? of_penalty(i) : 0;
      out[i] += scale * (at_->scale[at(i)] * d[i] + penalty);
    }
    // A shift of all biases of a model changes no probability, so that their derivatives sum to zero, but for rounding: along that
    // direction nothing would hold it back.
    for (int64_t first = columns_; first < columns_ + biases_; first += level_.k) {
      T mean = 0;
      for (int64_t c = first; c < first + level_.k; ++c) mean += d[c] / static_cast<T>(level_.k);
      for (int64_t c = first; c < first + level_.k; ++c)
        out[c] += scale * static_cast<T>(l_.bias_scale) * (d[c] - mean);
    }
  }
  /// A derivative in the logarithm of every weight's strength, summed over those that have it in common.
  template <typename F>
  void add_in_strengths(const Into& into, const F& derivative) const {
    std::vector<double> sums(at_->moves.size(), 0);
    level_.each_weight([&](int64_t i, int64_t j, int64_t m, int64_t c) {
      sums[at(level_.group(j, m, c))] += static_cast<double>(derivative(i));
    });
    double all = 0;
    for (size_t u = 0; u < sums.size(); ++u) {
      if (at_->moves[u] == 0) sums[u] = 0;
      all += sums[u];
    }
    add(into, 0, all);
    if (level_.deviations() == 0) return;
    torch::Tensor of_deviations = torch::from_blob(sums.data(), {level_.groups()}, torch::kFloat64);
    if (level_.evidence.defined()) of_deviations = level_.evidence.mv(of_deviations);
    const auto* in = of_deviations.const_data_ptr<double>();
    for (int64_t q = 0; q < of_deviations.numel(); ++q) add(into, 1 + q, in[q]);
  }
  /// Of derivatives d in the weights w_mc = exp(a_c) / sum_k p_mk exp(a_k), those in a.
  void add_in_class_weights(const Into& into, const torch::Tensor& d) const {
    const torch::Tensor weighted = at_->class_weights * d.view_as(at_->class_weights);
    const torch::Tensor in_a =
        (weighted - l_.class_shares * at_->class_weights * weighted.sum(1, /*keepdim=*/true)).sum(0);
    for (int64_t c = 0; c < level_.k; ++c) add(into, 1 + c, in_a[c].template item<double>());
  }
  template <typename F>
  void each_prior(const F& f) const {
    if (!l_.centre.defined()) return;
    const T* centre = l_.centre.const_data_ptr<T>();
    for (int64_t u = 0; u < l_.centre.numel(); ++u)
      f(1 + u, static_cast<double>(at_->x[at(1 + u)]) - static_cast<double>(centre[u]));
  }
  /// A smoothed loss is the plain one plus eps (u_t - mean of u), which is linear in W and the biases: the gradient of that mean.
  torch::Tensor gradient_in_eps(const Batch& batch) const {
    const Rows& rows = batch.rows();
    torch::Tensor counted = l_.rows.weights(batch, {});
    if (batch.weights().defined()) counted = counted * batch.weights().unsqueeze(1);
    counted = (counted / static_cast<double>(batch.size())).expand({batch.size(), level_.models});
    const torch::Tensor member =
        torch::one_hot(l_.rows.targets.index_select(0, batch.numbers()).to(torch::kInt64), level_.k);
    const torch::Tensor apart = (member - 1.0 / static_cast<double>(level_.k)).to(w_.scalar_type());
    const torch::Tensor factors =
        (counted.unsqueeze(2) * apart.unsqueeze(1)).to(w_.scalar_type()).flatten(1).contiguous();
    const torch::Tensor result = zeros_of(w_);
    result.narrow(0, columns_, biases_).add_(factors.sum(0));
    l_.rows.rows.add_transposed(RowSpan{rows.data(), batch.size(), rows.data() + rows.size()},
                                factors.const_data_ptr<T>(), biases_, result.data_ptr<T>());
    return result;
  }

  const TunedDerivatives<T>& level_;
  const TunedLoss& l_;
  const int64_t columns_, biases_;  // numbers of W and b
  const std::shared_ptr<const AtX<T>> at_;
  const torch::Tensor at_y_;
  const T* y_;
  const torch::Tensor w_;
  const std::unique_ptr<PointDerivatives> rows_;
  double eps_ = 0, slope_of_eps_ = 0;
  double share_ = 0;               // r
  torch::Tensor in_eps_;           // the derivative of the loss in eps is its product with w_
  torch::Tensor in_w_, in_units_;  // once asked for
};

}  // namespace

template <typename T>
std::unique_ptr<PointDerivatives> TunedDerivatives<T>::at(const Batch& batch, const torch::Tensor& x,
                                                          const torch::Tensor& y) {
  if (x.numel() < least_size_of_x() || y.numel() != loss.rows.size()) {
    throw InputError(fmt::format("x and y have {} and {} numbers, but this loss takes at least {} and {}",
                                 x.numel(), y.numel(), least_size_of_x(), loss.rows.size()));
  }
  return std::make_unique<TunedPoint<T>>(*this, batch, x.contiguous(), y);
}

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const TunedLoss& loss) {
  if (loss.rows.outputs < 2 || !loss.rows.bias)
    throw InputError("a tuned loss is a softmax of two classes or more, with biases");
  return [loss]() -> std::unique_ptr<Derivatives> {
    if (loss.rows.rows.dtype() == torch::kFloat32) return std::make_unique<TunedDerivatives<float>>(loss);
    return std::make_unique<TunedDerivatives<double>>(loss);
  };
}

}  // namespace bilevel
