#include "bilevel/task/auc/auc_loss.h"

#include <ATen/ScalarOps.h>
#include <torch/autograd.h>

#include "bilevel/core/flat.h"
#include "bilevel/problem/batch.h"

namespace bilevel {
namespace {

using torch::Tensor;
using torch::autograd::variable_list;

/// What the loss of one member is made of: sums over rows with the shares p of the positive and m of the negative rows.
struct AucSums {
  double spread = 0;          ///< sum p (s-a)^2 + m (s-b)^2
  double q = 0;               ///< sum (m-p) s
  double in_a = 0, in_b = 0;  ///< sum p (s-a), sum m (s-b)
};

/// What the functions below take: scores [B] or [B,M], and of each member a, b and alpha [M]; p and m [B].
struct AucArguments {
  Tensor s, a, b, alpha, p, m;

  int64_t rows() const { return p.numel(); }
  int64_t members() const { return alpha.numel(); }
  /// Whether loops over the rows are fastest.
  bool by_rows() const {
    return short_alike({p, m}) && short_alike({s.reshape({-1})}) && s.scalar_type() == p.scalar_type();
  }
  /// [B,M], for LibTorch's operations.
  Tensor scores() const { return s.reshape({rows(), members()}); }
  /// sum (m-p) s of each member, [M].
  Tensor q() const { return scores().t().mv(m - p); }
  /// Of member `k`, at its a and b.
  template <typename T>
  AucSums sums(int64_t k) const {
    const T *score = s.const_data_ptr<T>() + k, *of_p = p.const_data_ptr<T>(), *of_m = m.const_data_ptr<T>();
    const double at_a = at<T>(a, k), at_b = at<T>(b, k);
    AucSums sums;
    for (int64_t i = 0; i < rows(); ++i, score += members()) {
      const double from_a = *score - at_a, from_b = *score - at_b, in_p = of_p[i], in_m = of_m[i];
      sums.in_a += in_p * from_a;
      sums.in_b += in_m * from_b;
      sums.spread += in_p * from_a * from_a + in_m * from_b * from_b;
      sums.q += (in_m - in_p) * *score;
    }
    return sums;
  }
  template <typename T>
  static double at(const Tensor& numbers, int64_t k) {
    return static_cast<double>(numbers.const_data_ptr<T>()[k]);
  }
};

/// One number of a type; infinity where the type does not hold it.
Tensor number_of(torch::ScalarType type, double value) {
  if (type == torch::kFloat32) value = static_cast<double>(static_cast<float>(value));
  return at::detail::scalar_tensor_static(value, type, torch::kCPU);
}
template <typename T>
void put(const Tensor& into, int64_t k, double value) {
  into.data_ptr<T>()[k] = static_cast<T>(value);
}

/// 2 outer ((m-p) s + c - alpha curvature) of each member, which the lower level's gradient is and which is differentiated once
/// more in every step. For batches on the CPU.
class AucSlope : public torch::autograd::Function<AucSlope> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& s, const Tensor& alpha,
                        const Tensor& outer, const Tensor& p, const Tensor& m, double c, double curvature) {
    context->save_for_backward({s, alpha, outer, p, m});
    context->saved_data["c"] = c;
    context->saved_data["curvature"] = curvature;
    const AucArguments of{s, alpha, alpha, alpha, p, m};
    Tensor slope = zeros_of(alpha);
    with_type(s, [&](auto type) {
      using T = decltype(type);
      const double twice = 2 * of.at<T>(outer, 0);
      for (int64_t k = 0; k < of.members(); ++k)
        put<T>(slope, k, twice * (of.sums<T>(k).q + c - curvature * of.at<T>(alpha, k)));
    });
    return slope.reshape(alpha.sizes());
  }

  static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& along) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &s = saved[0], &alpha = saved[1], &outer = saved[2], &p = saved[3], &m = saved[4];
    const AucArguments of{s, alpha, alpha, alpha, p, m};
    const double c = context->saved_data["c"].toDouble(),
                 curvature = context->saved_data["curvature"].toDouble();
    variable_list gradients(7);
    const auto needed = [&](size_t i) { return context->needs_input_grad(i); };
    if (torch::GradMode::is_enabled() || needed(2)) {
      const Tensor twice = 2 * along[0];
      if (needed(0)) gradients[0] = ((m - p).unsqueeze(1) * (twice * outer)).reshape(s.sizes());
      if (needed(1)) gradients[1] = -curvature * twice * outer;
      if (needed(2)) gradients[2] = (twice * (of.q() + c - curvature * alpha)).sum().reshape(outer.sizes());
      return gradients;
    }
    with_type(s, [&](auto type) {
      using T = decltype(type);
      const double twice = 2 * of.at<T>(outer, 0);
      if (needed(0)) {
        const Tensor in_s = zeros_of(s.reshape({-1}));
        T* out = in_s.template data_ptr<T>();
        const T *of_p = p.const_data_ptr<T>(), *of_m = m.const_data_ptr<T>();
        for (int64_t i = 0; i < of.rows(); ++i) {
          const double share = twice * (static_cast<double>(of_m[i]) - static_cast<double>(of_p[i]));
          for (int64_t k = 0; k < of.members(); ++k) *out++ = static_cast<T>(share * of.at<T>(along[0], k));
        }
        gradients[0] = in_s.reshape(s.sizes());
      }
      if (needed(1)) {
        gradients[1] = zeros_of(alpha);
        for (int64_t k = 0; k < of.members(); ++k)
          put<T>(gradients[1], k, -curvature * twice * of.at<T>(along[0], k));
      }
    });
    return gradients;
  }
};

/// The sum over the members of spread + 2 (alpha + k) (q + c) - alpha^2 curvature. Autograd through the formula would take some sixty
/// operations, which beside a small encoder can be seen; here a batch on the CPU takes a loop over its rows. Where the gradient will
/// be differentiated itself, it consists of ordinary operations.
class AucFunction : public torch::autograd::Function<AucFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& s, const Tensor& a,
                        const Tensor& b, const Tensor& alpha, const Tensor& p, const Tensor& m, double k,
                        double c, double curvature) {
    context->save_for_backward({s, a, b, alpha, p, m});
    context->saved_data["k"] = k;
    context->saved_data["c"] = c;
    context->saved_data["curvature"] = curvature;
    const AucArguments of{s, a, b, alpha, p, m};
    if (!of.by_rows()) {
      const Tensor scores = of.scores();
      const Tensor spread = (scores - a).square().t().mv(p) + (scores - b).square().t().mv(m);
      return (spread + 2 * (alpha + k) * (of.q() + c) - curvature * alpha.square()).sum();
    }
    return with_type(s, [&](auto type) {
      using T = decltype(type);
      double sum = 0;
      for (int64_t i = 0; i < of.members(); ++i) {
        const AucSums sums = of.sums<T>(i);
        const double at_alpha = of.at<T>(alpha, i);
        sum += sums.spread + 2 * (at_alpha + k) * (sums.q + c) - curvature * at_alpha * at_alpha;
      }
      return number_of(s.scalar_type(), sum);
    });
  }

  static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& outer) {
    const variable_list saved = context->get_saved_variables();
    const AucArguments of{saved[0], saved[1], saved[2], saved[3], saved[4], saved[5]};
    const auto& [s, a, b, alpha, p, m] = of;
    const double k = context->saved_data["k"].toDouble(), c = context->saved_data["c"].toDouble(),
                 curvature = context->saved_data["curvature"].toDouble();
    variable_list gradients(9);
    const auto needed = [&](size_t i) { return context->needs_input_grad(i); };
    const bool by_rows = of.by_rows();
    if (torch::GradMode::is_enabled() && by_rows && !needed(0) && !needed(1) && !needed(2)) {
      gradients[3] = AucSlope::apply(s, alpha, outer[0], p, m, c, curvature);
      return gradients;
    }
    if (torch::GradMode::is_enabled() || !by_rows) {
      const Tensor twice = 2 * outer[0], scores = of.scores();
      const Tensor of_p = p.unsqueeze(1), of_m = m.unsqueeze(1);
      if (needed(0)) {
        gradients[0] = (twice * (of_p * (scores - a) + of_m * (scores - b) + (of_m - of_p) * (alpha + k)))
                           .reshape(s.sizes());
      }
      if (needed(1)) gradients[1] = -(twice * (scores - a).t().mv(p)).reshape(a.sizes());
      if (needed(2)) gradients[2] = -(twice * (scores - b).t().mv(m)).reshape(b.sizes());
      if (needed(3)) gradients[3] = (twice * (of.q() + c - curvature * alpha)).reshape(alpha.sizes());
      return gradients;
    }
    with_type(s, [&](auto type) {
      using T = decltype(type);
      const double twice = 2 * of.template at<T>(outer[0], 0);
      if (needed(0)) gradients[0] = in_scores<T>(of, twice, k);
      for (size_t i = 1; i < 4; ++i)
        if (needed(i)) gradients[i] = zeros_of(alpha);
      for (int64_t i = 0; i < of.members() && (needed(1) || needed(2) || needed(3)); ++i) {
        const AucSums sums = of.template sums<T>(i);
        if (needed(1)) put<T>(gradients[1], i, -twice * sums.in_a);
        if (needed(2)) put<T>(gradients[2], i, -twice * sums.in_b);
        if (needed(3))
          put<T>(gradients[3], i, twice * (sums.q + c - curvature * of.template at<T>(alpha, i)));
      }
    });
    return gradients;
  }

 private:
  template <typename T>
  static Tensor in_scores(const AucArguments& of, double twice, double k) {
    const Tensor gradient = zeros_of(of.s.reshape({-1}));
    T* out = gradient.template data_ptr<T>();
    const T *score = of.s.const_data_ptr<T>(), *of_p = of.p.const_data_ptr<T>(),
            *of_m = of.m.const_data_ptr<T>();
    for (int64_t i = 0; i < of.rows(); ++i) {
      const double in_p = of_p[i], in_m = of_m[i];
      for (int64_t j = 0; j < of.members(); ++j) {
        const double at = *score++;
        *out++ = static_cast<T>(twice * (in_p * (at - of.at<T>(of.a, j)) + in_m * (at - of.at<T>(of.b, j)) +
                                         (of.at<T>(of.alpha, j) + k) * (in_m - in_p)));
      }
    }
    return gradient.reshape(of.s.sizes());
  }
};

/// Shares of the rows in the two means, for labels 1 and 0.
std::pair<Tensor, Tensor> row_shares(const Tensor& labels, const Tensor& weights, double of_positive,
                                     double of_negative) {
  const torch::NoGradGuard no_grad;
  const double size = static_cast<double>(labels.size(0));
  if (weights.defined() || !short_alike({labels})) {
    const Tensor of_rows =
        weights.defined() ? weights.to(labels.options()) / size : torch::full_like(labels, 1 / size);
    return {labels * of_rows * of_positive, (1 - labels) * of_rows * of_negative};
  }
  const Tensor p = zeros_of(labels), m = zeros_of(labels);
  with_type(labels, [&](auto type) {
    using T = decltype(type);
    const T* label = labels.const_data_ptr<T>();
    T *of_p = p.data_ptr<T>(), *of_m = m.data_ptr<T>();
    for (int64_t i = 0; i < labels.numel(); ++i) {
      of_p[i] = static_cast<T>(of_positive / size) * label[i];
      of_m[i] = static_cast<T>(of_negative / size) * (1 - label[i]);
    }
  });
  return {p, m};
}

}  // namespace

Tensor AucLoss::value(const Tensor& scores, const Tensor& labels, const Tensor& a, const Tensor& b,
                      const Tensor& alpha, const Tensor& weights) const {
  const double rho = positive_share;
  const bool alike = labels.scalar_type() == scores.scalar_type();
  const auto [positive, negative] =
      row_shares(alike ? labels : labels.to(scores.scalar_type()), weights, 1 - rho, rho);
  return AucFunction::apply(scores, a, b, alpha, positive, negative, form == "libauc" ? 0.0 : 1.0,
                            form == "ppd" ? 0.0 : rho * (1 - rho) * margin, rho * (1 - rho));
}

}  // namespace bilevel
