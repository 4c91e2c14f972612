#include "bilevel/task/meta/heads.h"

#include <torch/autograd.h>

#include <limits>
#include <stdexcept>

#include "bilevel/core/device.h"
#include "bilevel/task/meta/episodes.h"

namespace bilevel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

torch::Tensor transposed(const torch::Tensor& m) { return m.transpose(-2, -1); }

torch::Tensor marked(const torch::Tensor& solution, const torch::Tensor& broken) {
  return solution.masked_fill(broken.view({-1, 1, 1}), std::numeric_limits<double>::quiet_NaN());
}

/// (M + shift I) A = B. With z = (M + shift I)^-1 dA: dB = z, dM = -z A', dshift = -<z, A>.
struct RegularizedSolve : torch::autograd::Function<RegularizedSolve> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& m, const torch::Tensor& b,
                               const torch::Tensor& shift) {
    const auto [factor, failed] =
        torch::linalg_cholesky_ex(m + shift * torch::eye(m.size(-1), m.options()), false, false);
    const torch::Tensor solution = marked(torch::cholesky_solve(b, factor), failed != 0);
    context->save_for_backward({factor, solution});
    return solution;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor z = torch::cholesky_solve(gradients[0], saved[0]);
    return {-z.matmul(transposed(saved[1])), z, -(z * saved[1]).sum()};
  }
};

/// The blocks diag(p) - p p' of the softmax, [T, S, C, C].
torch::Tensor softmax_blocks(const torch::Tensor& p) {
  return torch::diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2);
}

/// [T, S C, S C]: lambda S I + D K, which the residual of the dual has for its Jacobian; entry ((s, c), (s', c')) of
/// D K is D_s[c, c'] K[s, s'].
torch::Tensor dual_jacobian(const torch::Tensor& k, const torch::Tensor& p, double shift) {
  const int64_t tasks = k.size(0), size = p.size(1) * p.size(2);
  const torch::Tensor jacobian =
      (k.unsqueeze(2).unsqueeze(4) * softmax_blocks(p).unsqueeze(3)).reshape({tasks, size, size});
  jacobian.diagonal(0, 1, 2).add_(shift);
  return jacobian;
}

torch::Tensor dual_objective(const torch::Tensor& k, const torch::Tensor& y, const torch::Tensor& a,
                             double lambda) {
  const torch::Tensor scores = k.matmul(a);
  return -(y * scores.log_softmax(-1)).sum({1, 2}) / static_cast<double>(k.size(1)) +
         0.5 * lambda * (a * scores).sum({1, 2});
}

torch::Tensor newton(const torch::Tensor& k, const torch::Tensor& y, double lambda) {
  constexpr int kSteps = 50, kHalvings = 30;
  const bool single = k.scalar_type() == torch::kFloat32;
  const double tolerance = single ? 1e-5 : 1e-11, rounding = single ? 1e-6 : 1e-14;
  const double shift = lambda * static_cast<double>(k.size(1));
  torch::Tensor a = torch::zeros_like(y);
  torch::Tensor objective = dual_objective(k, y, a, lambda);
  torch::Tensor open;  // tasks that are not solved yet
  for (int step = 0; step <= kSteps; ++step) {
    const torch::Tensor p = k.matmul(a).softmax(-1);
    const torch::Tensor residual = shift * a + p - y;
    open = ~(residual.abs().amax({1, 2}) <= tolerance);
    if (step == kSteps || !open.any().item<bool>()) break;
    const torch::Tensor jacobian = dual_jacobian(k, p, shift);
    const torch::Tensor direction =
        -std::get<0>(torch::linalg_solve_ex(jacobian, residual.reshape({y.size(0), -1, 1})))
             .reshape(y.sizes());
    torch::Tensor size = open.to(k.dtype());  // step size of each task
    torch::Tensor next, value;
    for (int halving = 0; halving < kHalvings; ++halving) {
      next = a + size.view({-1, 1, 1}) * direction;
      value = dual_objective(k, y, next, lambda);
      const torch::Tensor worse = value > objective + rounding * objective.abs();
      if (!worse.any().item<bool>()) break;
      size = torch::where(worse, 0.5 * size, size);
    }
    a = next;
    objective = value;
  }
  return marked(a, open);
}

/// R(A) = lambda S A + softmax(K A) - Y = 0. With z from (lambda S I + D K)' z = dA: dY = z, dK = -(D z) A',
/// dlambda = -S <z, A>.
struct SoftmaxDual : torch::autograd::Function<SoftmaxDual> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& k, const torch::Tensor& y,
                               const torch::Tensor& lambda) {
    const torch::Tensor a = newton(k, y, lambda.item<double>());
    context->save_for_backward({k, a, lambda});
    return a;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& k = saved[0];
    const torch::Tensor& a = saved[1];
    const auto rows = static_cast<double>(k.size(1));
    const torch::Tensor p = k.matmul(a).softmax(-1);
    const torch::Tensor jacobian = dual_jacobian(k, p, saved[2].item<double>() * rows);
    const torch::Tensor z =
        std::get<0>(torch::linalg_solve_ex(transposed(jacobian), gradients[0].reshape({a.size(0), -1, 1})))
            .reshape(a.sizes());
    const torch::Tensor dz = p * (z - (p * z).sum(-1, true));  // D z
    return {-dz.matmul(transposed(a)), z, -rows * (z * a).sum()};
  }
};

}  // namespace

torch::Tensor regularized_solve(const torch::Tensor& m, const torch::Tensor& b, const torch::Tensor& shift) {
  return RegularizedSolve::apply(m, b, shift);
}

torch::Tensor softmax_dual(const torch::Tensor& k, const torch::Tensor& y, const torch::Tensor& lambda) {
  return SoftmaxDual::apply(k, y, lambda);
}

torch::Tensor head_scores(HeadKind kind, const torch::Tensor& support, const torch::Tensor& targets,
                          const torch::Tensor& query, const torch::Tensor& lambda,
                          const torch::Tensor& scale) {
  if (kind == HeadKind::shared) throw std::logic_error("a shared head is not solved for each task");
  const torch::Tensor centre = support.mean(1, true);
  const torch::Tensor h = support - centre, q = query - centre;
  const int64_t rows = h.size(1), width = h.size(2);
  if (kind == HeadKind::softmax) {
    const torch::Tensor a = softmax_dual(h.matmul(transposed(h)) + 1, targets, lambda);
    return scale * (q.matmul(transposed(h)) + 1).matmul(a);
  }
  const torch::Tensor mean = targets.mean(1, true);
  const torch::Tensor shift = lambda * static_cast<double>(rows);
  if (rows <= width) {
    const torch::Tensor a = regularized_solve(h.matmul(transposed(h)), targets - mean, shift);
    return scale * (q.matmul(transposed(h)).matmul(a) + mean);
  }
  const torch::Tensor w =
      regularized_solve(transposed(h).matmul(h), transposed(h).matmul(targets - mean), shift);
  return scale * (q.matmul(w) + mean);
}

torch::Tensor with_one(const torch::Tensor& features) {
  return torch::cat({features, torch::ones({features.size(0), features.size(1), 1}, features.options())}, 2);
}

torch::Tensor one_hot_targets(int64_t tasks, int64_t ways, int64_t count, const torch::Tensor& like) {
  const torch::Tensor one = torch::one_hot(episode_labels(ways, count), ways).to(like.scalar_type());
  return to_device(one, like.device()).expand({tasks, -1, -1});
}

torch::Tensor adapted_heads(const torch::Tensor& weight, const torch::Tensor& bias,
                            const torch::Tensor& support, const torch::Tensor& targets, int64_t steps,
                            double l2, double step_size) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor h = with_one(support);
  const auto rows = static_cast<double>(h.size(1));
  torch::Tensor w = torch::cat({weight, bias.unsqueeze(1)}, 1).t().unsqueeze(0).expand({h.size(0), -1, -1});
  // The softmax's Hessian is at most half of the rows' second moment, and that at most its trace.
  const torch::Tensor size = step_size > 0 ? torch::full({h.size(0), 1, 1}, step_size, h.options())
                                           : 1 / (0.5 * h.square().sum({1, 2}, true).div(rows) + 2 * l2);
  for (int64_t step = 0; step < steps; ++step) {
    const torch::Tensor gradient =
        h.transpose(1, 2).matmul(h.matmul(w).softmax(-1) - targets) / rows + 2 * l2 * w;
    w = w - size * gradient;
  }
  return w;
}

}  // namespace bilevel
