// Losses of a linear model's outputs on rows, with their derivatives in the outputs.
#pragma once

#include <cstdint>

#include "bilevel/core/names.h"

namespace bilevel {

/// The loss of a row with outputs u [k] and target t.
enum class RowLoss {
  logistic,  ///< log(1 + exp(-t u)), t = +-1, k = 1
  squared,   ///< (u - t)^2 / 2, k = 1
  softmax,   ///< log sum_c exp(u_c) - u_t, t = 0 ... k - 1
};
template <>
struct NamesOf<RowLoss> {
  static constexpr const char* value[] = {"logistic", "squared", "softmax"};
};

// For T float or double and `rows` rows, one after the other: u, r, h, d [rows, k], t, values [rows].

/// values <- the losses.
template <typename T>
void row_values(RowLoss loss, const T* u, const T* t, int64_t rows, int64_t k, T* values);

/// r <- the gradients in u; h <- what `row_curvatures` makes products with their Hessians from.
template <typename T>
void row_gradients(RowLoss loss, const T* u, const T* t, int64_t rows, int64_t k, T* r, T* h);

/// d <- (d2 loss/du2) d.
template <typename T>
void row_curvatures(RowLoss loss, const T* h, int64_t rows, int64_t k, T* d);

}  // namespace bilevel
