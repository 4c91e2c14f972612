#include "bilevel/task/auc/auc_loss.h"

#include <ATen/ScalarOps.h>
#include <torch/autograd.h>

#include "bilevel/core/flat.h"
#include "bilevel/problem/batch.h"

namespace bilevel {
namespace {

using torch::Tensor;
using torch::autograd::variable_list;

/// What the loss is made of: sums over rows with the shares p of the positive and m of the negative rows.
struct AucSums {
  double spread = 0;          ///< sum p (s-a)^2 + m (s-b)^2
  double q = 0;               ///< sum (m-p) s
  double in_a = 0, in_b = 0;  ///< sum p (s-a), sum m (s-b)
};

template <typename T>
AucSums sums_of(const Tensor& scores, const Tensor& p, const Tensor& m, double a, double b) {
  const T *s = scores.const_data_ptr<T>(), *of_p = p.const_data_ptr<T>(), *of_m = m.const_data_ptr<T>();
  AucSums sums;
  for (int64_t i = 0; i < scores.numel(); ++i) {
    const double score = s[i], from_a = score - a, from_b = score - b, in_p = of_p[i], in_m = of_m[i];
    sums.in_a += in_p * from_a;
    sums.in_b += in_m * from_b;
    sums.spread += in_p * from_a * from_a + in_m * from_b * from_b;
    sums.q += (in_m - in_p) * score;
  }
  return sums;
}

template <typename T>
double number(const Tensor& one) {
  return static_cast<double>(*one.const_data_ptr<T>());
}

/// One number of a type; infinity where the type does not hold it.
Tensor number_of(torch::ScalarType type, double value) {
  if (type == torch::kFloat32) value = static_cast<double>(static_cast<float>(value));
  return at::detail::scalar_tensor_static(value, type, torch::kCPU);
}
/// The same in the form of `like`, which holds one too.
Tensor number_tensor(const Tensor& like, double value) {
  return number_of(like.scalar_type(), value).reshape(like.sizes());
}

/// 2 outer ((m-p) s + c - alpha curvature), which the lower level's gradient is and which is differentiated once more in every
/// step. For batches on the CPU.
class AucSlope : public torch::autograd::Function<AucSlope> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& s, const Tensor& alpha,
                        const Tensor& outer, const Tensor& p, const Tensor& m, double c, double curvature) {
    context->save_for_backward({s, alpha, outer, p, m});
    context->saved_data["c"] = c;
    context->saved_data["curvature"] = curvature;
    return with_type(s, [&](auto type) {
      using T = decltype(type);
      const double q = sums_of<T>(s, p, m, 0, 0).q;
      return number_tensor(alpha, 2 * number<T>(outer) * (q + c - curvature * number<T>(alpha)));
    });
  }

  static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& along) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &s = saved[0], &alpha = saved[1], &outer = saved[2], &p = saved[3], &m = saved[4];
    const double c = context->saved_data["c"].toDouble(),
                 curvature = context->saved_data["curvature"].toDouble();
    variable_list gradients(7);
    const auto needed = [&](size_t i) { return context->needs_input_grad(i); };
    if (torch::GradMode::is_enabled() || needed(2)) {
      const Tensor twice = 2 * along[0];
      if (needed(0)) gradients[0] = twice * outer * (m - p);
      if (needed(1)) gradients[1] = -curvature * twice * outer;
      if (needed(2)) gradients[2] = (twice * ((m - p).dot(s) + c - curvature * alpha)).reshape(outer.sizes());
      return gradients;
    }
    with_type(s, [&](auto type) {
      using T = decltype(type);
      const double twice = 2 * number<T>(along[0]) * number<T>(outer);
      if (needed(0)) {
        gradients[0] = zeros_of(s);
        T* out = gradients[0].template data_ptr<T>();
        const T *of_p = p.const_data_ptr<T>(), *of_m = m.const_data_ptr<T>();
        for (int64_t i = 0; i < s.numel(); ++i)
          out[i] = static_cast<T>(twice * (static_cast<double>(of_m[i]) - static_cast<double>(of_p[i])));
      }
      if (needed(1)) gradients[1] = number_tensor(alpha, -curvature * twice);
    });
    return gradients;
  }
};

/// spread + 2 (alpha + k) (q + c) - alpha^2 curvature. Autograd through the formula would take some sixty operations, which
/// beside a small encoder can be seen; here a batch on the CPU takes a loop over its rows. Where the gradient will be
/// differentiated itself, it consists of ordinary operations.
class AucFunction : public torch::autograd::Function<AucFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& s, const Tensor& a,
                        const Tensor& b, const Tensor& alpha, const Tensor& p, const Tensor& m, double k,
                        double c, double curvature) {
    context->save_for_backward({s, a, b, alpha, p, m});
    context->saved_data["k"] = k;
    context->saved_data["c"] = c;
    context->saved_data["curvature"] = curvature;
    if (!short_alike({s, p, m})) {
      const Tensor spread = p.dot((s - a).square()) + m.dot((s - b).square());
      return (spread + 2 * (alpha + k) * ((m - p).dot(s) + c) - curvature * alpha.square()).reshape({});
    }
    return with_type(s, [&](auto type) {
      using T = decltype(type);
      const AucSums sums = sums_of<T>(s, p, m, number<T>(a), number<T>(b));
      const double at_alpha = number<T>(alpha);
      return number_of(s.scalar_type(),
                       sums.spread + 2 * (at_alpha + k) * (sums.q + c) - curvature * at_alpha * at_alpha);
    });
  }

  static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& outer) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &s = saved[0], &a = saved[1], &b = saved[2], &alpha = saved[3], &p = saved[4], &m = saved[5];
    const double k = context->saved_data["k"].toDouble(), c = context->saved_data["c"].toDouble(),
                 curvature = context->saved_data["curvature"].toDouble();
    variable_list gradients(9);
    const auto needed = [&](size_t i) { return context->needs_input_grad(i); };
    const bool by_rows = short_alike({s, p, m});
    if (torch::GradMode::is_enabled() && by_rows && !needed(0) && !needed(1) && !needed(2)) {
      gradients[3] = AucSlope::apply(s, alpha, outer[0], p, m, c, curvature);
      return gradients;
    }
    if (torch::GradMode::is_enabled() || !by_rows) {
      const Tensor twice = 2 * outer[0];
      if (needed(0)) gradients[0] = twice * (p * (s - a) + m * (s - b) + (alpha + k) * (m - p));
      if (needed(1)) gradients[1] = -(twice * p.dot(s - a)).reshape(a.sizes());
      if (needed(2)) gradients[2] = -(twice * m.dot(s - b)).reshape(b.sizes());
      if (needed(3)) gradients[3] = twice * ((m - p).dot(s) + c - curvature * alpha);
      return gradients;
    }
    with_type(s, [&](auto type) {
      using T = decltype(type);
      const double at_a = number<T>(a), at_b = number<T>(b), at_alpha = number<T>(alpha),
                   twice = 2 * number<T>(outer[0]);
      if (needed(0)) {
        gradients[0] = zeros_of(s);
        T* out = gradients[0].template data_ptr<T>();
        const T *score = s.const_data_ptr<T>(), *of_p = p.const_data_ptr<T>(), *of_m = m.const_data_ptr<T>();
        for (int64_t i = 0; i < s.numel(); ++i) {
          const double in_p = of_p[i], in_m = of_m[i];
          out[i] = static_cast<T>(
              twice * (in_p * (score[i] - at_a) + in_m * (score[i] - at_b) + (at_alpha + k) * (in_m - in_p)));
        }
      }
      const AucSums sums = sums_of<T>(s, p, m, at_a, at_b);
      if (needed(1)) gradients[1] = number_tensor(a, -twice * sums.in_a);
      if (needed(2)) gradients[2] = number_tensor(b, -twice * sums.in_b);
      if (needed(3)) gradients[3] = number_tensor(alpha, twice * (sums.q + c - curvature * at_alpha));
    });
    return gradients;
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
