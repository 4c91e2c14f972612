// Data cleaning: weights for training rows with partly wrong labels, chosen on clean validation rows.
#pragma once

#include "bilevel/task/known_problem.h"

namespace bilevel {

/// With l_i the cross entropy of the linear classifier y [width, classes] on row i (float64):
///   g = mean over training rows of sigma(x_i) l_i + 0.2 ||y||^2,   f = mean over validation rows of l_i
/// Before, every training label is replaced with probability `corruption` by a uniformly drawn class, once
/// for all (so the share of wrong labels is smaller by 1/classes). grad Phi_i = -sigma'(x_i)/n <grad_y l_i,
/// z> with H z = grad_y f; y* by Newton's method, its systems by conjugate gradients, all by hand. This is
/// the form of the MNIST experiment. y starts at 0, x at -2. Files: LIBSVM with any number of classes, or IDX
/// examples and labels. Without files: 120 and 90 generated rows of 3 classes with 6 features.
KnownProblemEntry softmax_cleaning_entry();

}  // namespace bilevel
