#include "bilevel/glm/row_loss.h"

#include <cmath>

#include "bilevel/glm/functions.h"

namespace bilevel {
namespace {

/// h <- exp(u) / sum exp(u).
template <typename T>
BILEVEL_INLINE void softmax_of(const T* u, int64_t k, T* h) {
  T most = u[0];
  for (int64_t c = 1; c < k; ++c) most = most < u[c] ? u[c] : most;
  T sum = 0;
  for (int64_t c = 0; c < k; ++c) h[c] = glm::exp(u[c] - most);
  for (int64_t c = 0; c < k; ++c) sum += h[c];
  for (int64_t c = 0; c < k; ++c) h[c] /= sum;
}

template <typename T>
BILEVEL_INLINE void values_loop(RowLoss loss, const T* u, const T* t, int64_t rows, int64_t k, T* values) {
  if (loss == RowLoss::logistic) {
    for (int64_t i = 0; i < rows; ++i) values[i] = glm::softplus(-t[i] * u[i]);
  } else if (loss == RowLoss::squared) {
    for (int64_t i = 0; i < rows; ++i) values[i] = (u[i] - t[i]) * (u[i] - t[i]) / 2;
  } else {
    for (int64_t i = 0; i < rows; ++i, u += k) {
      T most = u[0], sum = 0;
      for (int64_t c = 1; c < k; ++c) most = most < u[c] ? u[c] : most;
      for (int64_t c = 0; c < k; ++c) sum += glm::exp(u[c] - most);
      values[i] = (most - u[static_cast<int64_t>(t[i])]) + std::log(sum);  // near zero it keeps its digits
    }
  }
}

template <typename T>
BILEVEL_INLINE void gradients_loop(RowLoss loss, const T* u, const T* t, int64_t rows, int64_t k,
                                   T* __restrict r, T* __restrict h) {
  if (loss == RowLoss::logistic) {
    for (int64_t i = 0; i < rows; ++i) {
      const T wrong = glm::sigmoid(-t[i] * u[i]);
      r[i] = -t[i] * wrong;
      h[i] = wrong * (1 - wrong);
    }
  } else if (loss == RowLoss::squared) {
    for (int64_t i = 0; i < rows; ++i) {
      r[i] = u[i] - t[i];
      h[i] = 1;
    }
  } else {
    for (int64_t i = 0; i < rows; ++i, u += k, r += k, h += k) {
      softmax_of(u, k, h);
      for (int64_t c = 0; c < k; ++c) r[c] = h[c];
      r[static_cast<int64_t>(t[i])] -= 1;
    }
  }
}

template <typename T>
BILEVEL_INLINE void curvatures_loop(RowLoss loss, const T* h, int64_t rows, int64_t k, T* __restrict d) {
  if (loss != RowLoss::softmax) {
    for (int64_t i = 0; i < rows; ++i) d[i] *= h[i];
    return;
  }
  for (int64_t i = 0; i < rows; ++i, h += k, d += k) {
    T mean = 0;
    for (int64_t c = 0; c < k; ++c) mean += h[c] * d[c];
    for (int64_t c = 0; c < k; ++c) d[c] = h[c] * (d[c] - mean);
  }
}

BILEVEL_CLONES void values_of(RowLoss loss, const float* u, const float* t, int64_t rows, int64_t k,
                              float* values) {
  values_loop(loss, u, t, rows, k, values);
}
BILEVEL_CLONES void values_of(RowLoss loss, const double* u, const double* t, int64_t rows, int64_t k,
                              double* values) {
  values_loop(loss, u, t, rows, k, values);
}
BILEVEL_CLONES void gradients_of(RowLoss loss, const float* u, const float* t, int64_t rows, int64_t k,
                                 float* r, float* h) {
  gradients_loop(loss, u, t, rows, k, r, h);
}
BILEVEL_CLONES void gradients_of(RowLoss loss, const double* u, const double* t, int64_t rows, int64_t k,
                                 double* r, double* h) {
  gradients_loop(loss, u, t, rows, k, r, h);
}
BILEVEL_CLONES void curvatures_of(RowLoss loss, const float* h, int64_t rows, int64_t k, float* d) {
  curvatures_loop(loss, h, rows, k, d);
}
BILEVEL_CLONES void curvatures_of(RowLoss loss, const double* h, int64_t rows, int64_t k, double* d) {
  curvatures_loop(loss, h, rows, k, d);
}

}  // namespace

template <typename T>
void row_values(RowLoss loss, const T* u, const T* t, int64_t rows, int64_t k, T* values) {
  values_of(loss, u, t, rows, k, values);
}
template <typename T>
void row_gradients(RowLoss loss, const T* u, const T* t, int64_t rows, int64_t k, T* r, T* h) {
  gradients_of(loss, u, t, rows, k, r, h);
}
template <typename T>
void row_curvatures(RowLoss loss, const T* h, int64_t rows, int64_t k, T* d) {
  curvatures_of(loss, h, rows, k, d);
}

template void row_values(RowLoss, const float*, const float*, int64_t, int64_t, float*);
template void row_values(RowLoss, const double*, const double*, int64_t, int64_t, double*);
template void row_gradients(RowLoss, const float*, const float*, int64_t, int64_t, float*, float*);
template void row_gradients(RowLoss, const double*, const double*, int64_t, int64_t, double*, double*);
template void row_curvatures(RowLoss, const float*, int64_t, int64_t, float*);
template void row_curvatures(RowLoss, const double*, int64_t, int64_t, double*);

}  // namespace bilevel
