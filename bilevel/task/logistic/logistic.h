// One regularization strength per feature of a logistic regression, chosen on validation rows.
#pragma once

#include "bilevel/task/known_problem.h"

namespace bilevel {

/// With rows a, labels t = +-1 and one y_j a feature (float64):
///   g = mean over training rows of log(1 + exp(-t a'y)) + sum_j exp(x_j) y_j^2/2
///   f = mean over validation rows of log(1 + exp(-t a'y))
/// grad Phi_j = -exp(x_j) y*_j z_j with H z = grad_y f; y* by Newton's method with the exact Hessian, all by
/// hand. This is the form of the ijcnn1 experiment. x starts at log U(0, 1), y at N(0, I), from the seed. The
/// larger of the two labels is +1. Without files: 200 generated rows for each level, 10 features.
KnownProblemEntry logistic_entry();

}  // namespace bilevel
