// The heads of all tasks of a meta-batch, solved together, and the implicit gradient through their solutions.
#pragma once

#include <torch/types.h>

#include "bilevel/core/names.h"

namespace bilevel {

/// What a task's lower level is. Both heads are linear maps W [F, C] of the features h, centred at the mean of the
/// task's support rows, and both lower objectives are strongly convex with modulus lambda:
/// - `ridge`:   g(W) = 1/(2S) sum_s ||W' h_s + mean(y) - y_s||^2 + lambda/2 ||W||^2. The intercept is free (centring
///   solves it); it has a closed form.
/// - `softmax`: g(W) = 1/S sum_s CE(W' [h_s, 1], y_s) + lambda/2 ||W||^2, by Newton's method.
/// with S support rows whose targets y_s are one-hot.
/// `shared` is no head of a task, but one linear head for all, the lower variable of the problem (see MetaModel).
enum class HeadKind { ridge, softmax, shared };
template <>
struct NamesOf<HeadKind> {
  static constexpr const char* value[] = {"ridge", "softmax", "shared"};
};

/// Scores [T, Q, C] of the query rows under each task's own optimal head, all T tasks in batched linear algebra:
/// scale * W*' h. Differentiable in features, lambda and scale, by the implicit function theorem: the backward pass
/// solves one linear system H z = b per task, with the factor or the matrix of the forward pass, and never
/// differentiates the iterations of a solver.
///
/// With S <= F the head is solved in its dual, W = H' A with A [S, C], so that the cost is that of matrices over rows
/// of a task: T S^3 for ridge, T (S C)^3 a Newton step for softmax (always dual); with S > F the ridge system is the
/// F x F one.
///
/// @param support [T, S, F], query [T, Q, F]: features of one dtype, @param targets [T, S, C] one-hot,
/// @param lambda > 0, 0-dim. @param scale 0-dim.
/// A task without a finite solution gives NaN, never an exception.
torch::Tensor head_scores(HeadKind kind, const torch::Tensor& support, const torch::Tensor& targets,
                          const torch::Tensor& query, const torch::Tensor& lambda,
                          const torch::Tensor& scale);

/// A [T, n, C] with (M + shift I) A = B for symmetric positive semidefinite M [T, n, n] and shift > 0 (0-dim); one
/// Cholesky factor serves both directions.
torch::Tensor regularized_solve(const torch::Tensor& m, const torch::Tensor& b, const torch::Tensor& shift);

/// A [T, S, C] with lambda S A + softmax(K A) = Y: the dual solution of the softmax head, for K [T, S, S] (the inner
/// products of the rows, symmetric positive semidefinite) and one-hot Y [T, S, C]. Newton's method with step halving,
/// until the residual is below 1e-5 (float32) or 1e-11 (float64); a task that does not get there in 50 steps gives
/// NaN.
torch::Tensor softmax_dual(const torch::Tensor& k, const torch::Tensor& y, const torch::Tensor& lambda);

/// Features [T, n, F] with a constant one behind, [T, n, F + 1].
torch::Tensor with_one(const torch::Tensor& features);

/// W [T, F + 1, C] (the last row is the bias) after `steps` of gradient descent from (`weight` [C, F], `bias` [C]) on
/// CE(support) + l2 (||W||^2 + ||b||^2), for all tasks together, without graph; the step size of a task is
/// 1/L with L a bound of its curvature, or `step_size` where that is positive. The given head stays as it is.
torch::Tensor adapted_heads(const torch::Tensor& weight, const torch::Tensor& bias,
                            const torch::Tensor& support, const torch::Tensor& targets, int64_t steps,
                            double l2, double step_size = 0);

/// [T, ways * count, classes] of one-hot targets in the layout of `Episodes`, with the dtype and device of `like`.
torch::Tensor one_hot_targets(int64_t tasks, int64_t ways, int64_t count, const torch::Tensor& like);

}  // namespace bilevel
